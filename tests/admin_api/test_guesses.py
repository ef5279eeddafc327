"""Wrong tokens, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from admin_api.guesses import ALLOWED, WINDOW_SECONDS

if TYPE_CHECKING:
    from tests.origins import ScriptedOrigin
    from tests.served.process import Serve, Served

PATH = "/cache/stats"
SHORT = "short-token"


@pytest.fixture
def strong(serve: Serve, origin: ScriptedOrigin) -> Served:
    """Its token has 16 characters, and it believes any client where a request is from."""
    return serve(origin, AUTH_TOKEN="0123456789abcdef", TRUSTED_PROXIES="127.0.0.1")


@pytest.fixture
def weak(serve: Serve, origin: ScriptedOrigin) -> Served:
    """Its token could be found by guessing."""
    return serve(origin, AUTH_TOKEN=SHORT, TRUSTED_PROXIES="127.0.0.1")


def guess(served: Served, client: str, token: str = "wrong-wrong-wrong") -> int:
    headers = {"X-Auth-Token": token, "X-Forwarded-For": client}
    return served.get(PATH, headers=headers).status_code


def guess_until_refused(served: Served, client: str) -> int:
    """How many guesses were answered 401 before the first 429."""
    for count in range(3 * ALLOWED):
        if guess(served, client) == 429:
            return count
    raise AssertionError("never refused")


def test_wrong_tokens_are_refused_after_a_few(strong: Served) -> None:
    # A window may end under the test, once.
    assert ALLOWED <= guess_until_refused(strong, "192.0.2.1") <= 2 * ALLOWED
    response = strong.get(
        PATH, headers={"Authorization": "Bearer guess", "X-Forwarded-For": "192.0.2.1"}
    )
    assert response.status_code == 429
    assert 1 <= int(response.headers["Retry-After"]) <= WINDOW_SECONDS
    assert response.headers["Cache-Control"] == "no-store"


def test_clients_are_refused_apart(strong: Served) -> None:
    guess_until_refused(strong, "192.0.2.1")
    assert guess(strong, "192.0.2.2") == 401
    guess_until_refused(strong, "2001:db8:0:1::1")
    assert guess(strong, "2001:db8:0:1:ffff::2") == 429
    assert guess(strong, "2001:db8:0:2::1") == 401


def test_a_long_right_token_is_accepted_from_a_client_that_is_refused(strong: Served) -> None:
    guess_until_refused(strong, "192.0.2.1")
    assert guess(strong, "192.0.2.1", strong.token) == 200
    # Having it right once is no licence for the guesser behind the same address.
    assert guess(strong, "192.0.2.1") == 429


def test_a_short_token_is_not_compared_while_a_client_is_refused(weak: Served) -> None:
    assert guess(weak, "192.0.2.1", SHORT) == 200
    guess_until_refused(weak, "192.0.2.1")
    assert guess(weak, "192.0.2.1", SHORT) == 429
    assert guess(weak, "192.0.2.2", SHORT) == 200


def test_a_missing_token_counts_for_nothing(strong: Served) -> None:
    assert {strong.get(PATH).status_code for _ in range(3 * ALLOWED)} == {401}
    assert strong.get("/healthz").status_code == 200


def test_other_requests_of_a_refused_client_are_served(
    strong: Served, origin: ScriptedOrigin
) -> None:
    client = {"X-Forwarded-For": "192.0.2.1"}
    guess_until_refused(strong, "192.0.2.1")
    assert strong.get("/healthz", headers=client).status_code == 200
    assert strong.get("/no-such-object", headers=client).status_code == 404
    assert strong.get(PATH, headers=client).status_code == 401


def test_a_burst_is_one_line_in_the_log(strong: Served) -> None:
    for _ in range(5 * ALLOWED):
        guess(strong, "192.0.2.1")
    told = [record for record in strong.json_lines() if record["logger"] == "s3proxy.admin"]
    refused = [record for record in told if record["message"] == "too many wrong admin tokens"]
    assert {record["client"] for record in told} == {"192.0.2.1"}
    # A window may end under the test, once.
    assert 1 <= len(refused) <= 2
    assert ALLOWED < len(told) <= 2 * (ALLOWED + 1)
    assert refused[0]["level"] == "WARNING"
    assert 1 <= refused[0]["refused_seconds"] <= WINDOW_SECONDS
