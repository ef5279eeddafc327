"""Where the keys come from, and that each request is signed with the newest ones."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import stat
import sys
import threading
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.credentials import Credentials, RefreshableCredentials

from proxy.origin.errors import Failure, OriginError
from proxy.origin.signing import ChainCredentials, FixedCredentials
from proxy.origin.sigv4 import signature

if TYPE_CHECKING:
    from pathlib import Path

ASKED = ("127.0.0.1:9000", "/bucket/a")


@pytest.fixture(autouse=True)
def _own_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


async def test_anonymous_signs_nothing() -> None:
    assert await FixedCredentials(None).current() is None
    assert signature(*ASKED, None, "us-east-1") == ""


async def test_static_keys_with_a_session_token() -> None:
    source = FixedCredentials(Credentials("AKID", "SECRET", "TOKEN"))
    lines = signature(*ASKED, await source.current(), "eu-west-1")
    assert "X-Amz-Security-Token: TOKEN\r\n" in lines
    assert "Authorization: AWS4-HMAC-SHA256 Credential=AKID/" in lines
    assert "/eu-west-1/s3/aws4_request" in lines
    assert "SECRET" not in lines


async def test_what_a_forward_proxy_may_change_is_not_signed() -> None:
    source = FixedCredentials(Credentials("AKID", "SECRET"))
    lines = signature(*ASKED, await source.current(), "us-east-1")
    assert "SignedHeaders=host;x-amz-content-sha256;x-amz-date," in lines


async def test_chain_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "FROM-ENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    found = await ChainCredentials().current()
    assert found is not None
    assert (found.access_key, found.token) == ("FROM-ENV", "token")


async def test_chain_reads_a_credentials_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = FROM-FILE\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    found = await ChainCredentials().current()
    assert found is not None
    assert found.access_key == "FROM-FILE"


async def test_chain_without_keys_names_the_variable() -> None:
    with pytest.raises(OriginError) as caught:
        await ChainCredentials().current()
    assert caught.value.failure is Failure.MISCONFIGURED
    assert caught.value.variable == "S3_CREDENTIALS"


class Issuer:
    """Gives numbered keys that live for ``lifetime`` seconds."""

    def __init__(self, lifetime: float) -> None:
        self.lifetime = lifetime
        self.issued = 0
        self.threads: set[int] = set()

    def __call__(self) -> dict[str, str]:
        self.issued += 1
        self.threads.add(threading.get_ident())
        expiry = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.lifetime)
        return {
            "access_key": f"KEY-{self.issued}",
            "secret_key": "secret",
            "token": "token",
            "expiry_time": expiry.isoformat(),
        }


def chain_of(issuer: Issuer) -> ChainCredentials:
    source = ChainCredentials()
    source._credentials = RefreshableCredentials.create_from_metadata(issuer(), issuer, "test")
    source._renew()
    issuer.threads.clear()
    return source


async def access_key(source: ChainCredentials) -> str:
    found = await source.current()
    assert found is not None
    return str(found.access_key)


async def test_keys_that_live_long_are_not_renewed() -> None:
    issuer = Issuer(3600)
    source = chain_of(issuer)
    assert [await access_key(source) for _ in range(3)] == ["KEY-1"] * 3


async def test_expired_keys_are_renewed_outside_the_event_loop() -> None:
    issuer = Issuer(3600)
    source = chain_of(issuer)
    assert isinstance(source._credentials, RefreshableCredentials)
    vars(source._credentials)["_expiry_time"] = dt.datetime.now(dt.UTC)
    keys = await asyncio.gather(*(access_key(source) for _ in range(10)))
    assert set(keys) == {"KEY-2"}
    assert issuer.issued == 2
    assert threading.get_ident() not in issuer.threads


async def test_keys_that_live_for_minutes_are_not_renewed_at_each_request() -> None:
    # botocore wants to renew what lives for less than 15 minutes: always, with 10-minute keys.
    issuer = Issuer(600)
    source = chain_of(issuer)
    issued = issuer.issued
    for _ in range(20):
        signature(*ASKED, await source.current(), "us-east-1")
    assert issuer.issued == issued
    assert issuer.threads == set()


async def test_keys_near_their_expiry_are_renewed_after_a_while() -> None:
    issuer = Issuer(600)
    source = chain_of(issuer)
    issued = issuer.issued
    source._renewed_at -= 11
    assert await access_key(source) == f"KEY-{issued + 1}"
    assert threading.get_ident() not in issuer.threads


async def test_keys_that_cannot_be_renewed_name_the_variable() -> None:
    issuer = Issuer(-1)
    source = ChainCredentials()
    source._credentials = RefreshableCredentials.create_from_metadata(issuer(), issuer, "test")
    with pytest.raises(OriginError) as caught:
        await source.current()
    assert caught.value.variable == "S3_CREDENTIALS"


async def test_chain_runs_a_credential_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer = {
        "Version": 1,
        "AccessKeyId": "FROM-PROCESS",
        "SecretAccessKey": "secret",
        "SessionToken": "token",
        "Expiration": "2099-01-01T00:00:00Z",
    }
    program = tmp_path / "issue"
    program.write_text(f"#!{sys.executable}\nprint('''{json.dumps(answer)}''')\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    assert await access_key(ChainCredentials()) == "FROM-PROCESS"
