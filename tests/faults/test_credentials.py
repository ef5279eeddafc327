"""Keys of S3_CREDENTIALS=chain that expire, are withdrawn, or cannot be had for a while."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from proxy.origin.signing import ChainCredentials
from tests.gateway.subject import Proxy
from tests.origins import (
    Answer,
    RecordedRequest,
    ScriptedOrigin,
    black_hole,
    per_request,
    respond,
    s3_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class Issuer:
    """The endpoint that a container gets its keys from, on loopback as botocore wants it."""

    def __init__(self) -> None:
        self.server = ScriptedOrigin("credentials")
        self.issued = 0
        self.lifetime = 3600.0
        self.until: dict[str, datetime] = {}
        self.answers()

    def answers(self) -> None:
        self.server.on("keys", per_request(self._issue))

    def _issue(self, request: RecordedRequest) -> Answer:
        self.issued += 1
        until = datetime.now(UTC) + timedelta(seconds=self.lifetime)
        self.until[f"KEY-{self.issued}"] = until
        document = {
            "AccessKeyId": f"KEY-{self.issued}",
            "SecretAccessKey": "secret",
            "Token": f"token-{self.issued}",
            "Expiration": until.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        return respond(200, json.dumps(document), {"Content-Type": "application/json"})

    def fails(self) -> None:
        self.server.on("keys", respond(500))

    def hangs(self) -> None:
        self.server.on("keys", black_hole())


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    issuer = Issuer()
    with issuer.server as server:
        monkeypatch.setenv(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.endpoint}/credentials/keys"
        )
        yield issuer


class Guard:
    """An origin that takes only some keys."""

    def __init__(self, *accepted: str) -> None:
        self.accepted = set(accepted)
        self.code = "ExpiredToken"

    def __call__(self, request: RecordedRequest) -> Answer:
        if key_of(request) in self.accepted:
            return respond(body=b"x", headers={"Cache-Control": "no-store"})
        return s3_error(400, self.code)


def key_of(request: RecordedRequest) -> str:
    return (request.header("Authorization") or "").partition("Credential=")[2].partition("/")[0]


def keys_used(origin: ScriptedOrigin) -> list[str]:
    return [key_of(request) for request in origin.requests]


async def test_keys_that_expire_are_renewed_before_the_next_request(
    origin: ScriptedOrigin, issuer: Issuer
) -> None:
    def until_they_expire(request: RecordedRequest) -> Answer:
        if datetime.now(UTC) < issuer.until[key_of(request)]:
            return respond(body=b"x", headers={"Cache-Control": "no-store"})
        return s3_error(400, "ExpiredToken")

    issuer.lifetime = 1.5
    origin.default(per_request(until_they_expire))
    async with Proxy(origin.endpoint, credentials=ChainCredentials()) as proxy:
        assert (await proxy.get("a")).status == 200
        issuer.lifetime = 3600.0
        await asyncio.sleep(1.6)
        assert (await proxy.get("a")).status == 200
    first, last = keys_used(origin)
    assert first != last


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId", "InvalidToken"])
async def test_keys_that_s3_holds_to_be_outdated_are_looked_up_anew_and_the_request_repeated(
    origin: ScriptedOrigin, issuer: Issuer, code: str
) -> None:
    guard = Guard("KEY-1")
    guard.code = code
    origin.default(per_request(guard))
    source = ChainCredentials()
    async with Proxy(origin.endpoint, credentials=source, retries=0) as proxy:
        assert (await proxy.get("a")).status == 200
        issued = issuer.issued
        guard.accepted = {f"KEY-{issued + 1}"}
        source._renewed_at -= 11
        assert (await proxy.get("a")).status == 200
        assert issuer.issued == issued + 1


async def test_keys_refused_again_are_not_looked_up_with_every_request(
    origin: ScriptedOrigin, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    origin.default(per_request(Guard()))
    async with Proxy(origin.endpoint, credentials=ChainCredentials()) as proxy:
        for _ in range(5):
            assert (await proxy.get("a")).status == 502
    assert issuer.issued == 1
    told = [record for record in caplog.records if record.name == "s3proxy.origin"]
    assert {vars(record)["variable"] for record in told} == {"S3_CREDENTIALS"}


async def test_keys_that_are_good_for_minutes_are_used_while_new_ones_cannot_be_had(
    origin: ScriptedOrigin, issuer: Issuer
) -> None:
    issuer.lifetime = 300.0  # less than botocore wants to have left
    origin.default(respond(body=b"x", headers={"Cache-Control": "no-store"}))
    source = ChainCredentials()
    async with Proxy(origin.endpoint, credentials=source, timeout=20) as proxy:
        assert (await proxy.get("a")).status == 200
        issuer.fails()
        source._renewed_at -= 11
        assert (await proxy.get("a")).status == 200
        assert (await proxy.get("a")).status == 200
    assert len(set(keys_used(origin))) == 1


async def test_no_keys_for_a_while_is_an_error_that_names_the_variable_and_passes(
    origin: ScriptedOrigin, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.fails()
    origin.default(respond(body=b"x"))
    source = ChainCredentials()
    async with Proxy(origin.endpoint, credentials=source, timeout=20) as proxy:
        replies = await asyncio.gather(*(proxy.get(f"a-{number}") for number in range(20)))
        assert {reply.status for reply in replies} == {502}
        # All of them waited for one look-up, which botocore repeats twice by itself.
        assert issuer.server.count("keys") <= 3
        told = [record for record in caplog.records if record.name == "s3proxy.origin"]
        assert {vars(record)["variable"] for record in told} == {"S3_CREDENTIALS"}
        assert proxy.store.entries == 0
        issuer.answers()
        await asyncio.sleep(1.1)
        assert (await proxy.get("a")).status == 200


async def test_a_source_of_keys_that_hangs_costs_one_thread_and_request_timeout(
    origin: ScriptedOrigin, issuer: Issuer
) -> None:
    issuer.hangs()
    origin.default(respond(body=b"x"))
    async with Proxy(origin.endpoint, credentials=ChainCredentials(), timeout=0.3) as proxy:
        for batch in range(3):
            began = time.monotonic()
            replies = await asyncio.gather(
                *(proxy.get(f"{batch}-{number}") for number in range(20))
            )
            assert time.monotonic() - began < 1.5
            assert {reply.status for reply in replies} == {504}
        blocking = [t for t in threading.enumerate() if t.name == "s3proxy-blocking"]
        assert len(blocking) == 1
        # So that the thread ends with the test.
        issuer.server.go_down()
