"""The token: where it may stand, what it must be."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from admin_api.auth import offered_token
from tests.admin_api.conftest import TOKEN

if TYPE_CHECKING:
    from tests.raw_http import OpenRaw
    from tests.served.process import Served

ROUTES = [
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/cache/stats"),
    ("POST", "/cache/purge"),
]
PATH = "/cache/stats"


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_route_needs_a_token(server: Served, method: str, path: str) -> None:
    response = server.request(method, path)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert "token" in response.json()["error"]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_wrong_token_is_refused(server: Served, method: str, path: str) -> None:
    response = server.request(method, path, headers={"X-Auth-Token": "wrong-token-0123"})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    if method != "HEAD":
        assert response.json() == {"error": "this is not the admin token"}


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Auth-Token": TOKEN},
        {"x-auth-token": TOKEN},
        {"Authorization": f"Bearer {TOKEN}"},
        {"Authorization": f"bearer {TOKEN}"},
        {"Authorization": f"BEARER  {TOKEN}"},
    ],
)
def test_a_header_carries_the_token(server: Served, headers: dict[str, str]) -> None:
    assert server.get(PATH, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "query", [f"token={TOKEN}", f"token={quote(TOKEN, safe='')}", f"a=1&token={TOKEN}&b"]
)
def test_the_query_carries_the_token(server: Served, raw: OpenRaw, query: str) -> None:
    connection = raw(server.port)
    connection.get(f"{PATH}?{query}")
    assert connection.read_response().status == 200


@pytest.mark.parametrize("wrong", [TOKEN.lower(), TOKEN.upper(), TOKEN + "x", TOKEN[:-1], ""])
def test_only_the_exact_token_will_do(server: Served, wrong: str) -> None:
    assert server.get(PATH, headers={"X-Auth-Token": wrong}).status_code == 401
    assert server.get(PATH, headers={"Authorization": f"Bearer {wrong}x"}).status_code == 401
    assert server.get(f"{PATH}?token={quote(wrong, safe='')}").status_code == 401


def test_another_scheme_is_no_token(server: Served) -> None:
    assert server.get(PATH, headers={"Authorization": f"Basic {TOKEN}"}).status_code == 401
    assert server.get(PATH, headers={"Authorization": TOKEN}).status_code == 401


def test_the_first_present_decides(server: Served) -> None:
    wrong_header = {"X-Auth-Token": "wrong-token-0123"}
    both = wrong_header | {"Authorization": f"Bearer {TOKEN}"}
    assert server.get(PATH, headers=both).status_code == 401
    bearer = {"Authorization": "Bearer wrong-token-0123"}
    assert server.get(f"{PATH}?token={quote(TOKEN, safe='')}", headers=bearer).status_code == 401
    right = {"X-Auth-Token": TOKEN, "Authorization": "Bearer wrong-token-0123"}
    assert server.get(PATH, headers=right).status_code == 200


def test_basic_authorization_of_a_proxy_on_the_way_does_not_matter(server: Served) -> None:
    headers = {"Authorization": "Basic dTpw"}
    assert server.get(f"{PATH}?token={quote(TOKEN, safe='')}", headers=headers).status_code == 200


def test_a_wrong_token_is_logged_without_itself(server: Served) -> None:
    response = server.get(PATH, headers={"X-Auth-Token": "Guess-9f3b51aa"})
    request_id = response.headers["X-Request-ID"]
    record = server.wait_for_log(
        lambda record: (
            record.get("request_id") == request_id and record["logger"] == "s3proxy.admin"
        )
    )
    assert record["level"] == "WARNING"
    assert record["client"] == server.client.headers["X-Forwarded-For"]
    assert "Guess-9f3b51aa" not in server.output


def test_a_missing_token_is_no_warning(server: Served) -> None:
    request_id = server.get(PATH).headers["X-Request-ID"]
    server.wait_for_log(
        lambda record: (
            record.get("request_id") == request_id and record["logger"] == "s3proxy.access"
        )
    )
    warnings = [record for record in server.json_lines() if record["level"] == "WARNING"]
    assert request_id not in {record.get("request_id") for record in warnings}


def test_a_token_in_the_query_is_in_no_log_line(server: Served, raw: OpenRaw) -> None:
    for secret, status in ((TOKEN, 200), ("Guess-77c2e0d1", 401)):
        connection = raw(server.port)
        connection.get(f"{PATH}?token={secret}")
        response = connection.read_response()
        assert response.status == status
        request_id = (response.header("X-Request-ID") or b"").decode()
        server.wait_for_line(request_id)
        assert secret not in server.output
        assert "token=" not in server.output


def test_the_answer_does_not_repeat_the_token(server: Served) -> None:
    assert "Guess-12345" not in server.get(f"{PATH}?token=Guess-12345").text


@pytest.mark.parametrize(
    ("headers", "query", "expected"),
    [
        ([], b"", None),
        ([(b"x-auth-token", b" T\t")], b"", b"T"),
        ([(b"x-auth-token", b"")], b"token=T", b""),
        ([(b"x-auth-token", b"T"), (b"x-auth-token", b"T")], b"", b"T, T"),
        ([(b"authorization", b"Bearer T t")], b"", b"T t"),
        ([(b"authorization", b"Bearer")], b"", b""),
        ([(b"authorization", b"Bearers T")], b"", None),
        ([], b"token", b""),
        ([], b"Token=T", None),
        ([], b"token=a&token=b", b"a"),
        ([], b"token=a+b%2Bc%FF", b"a+b+c\xff"),
        ([], b"%74oken=T", b"T"),
    ],
)
def test_the_offered_token(
    headers: list[tuple[bytes, bytes]], query: bytes, expected: bytes | None
) -> None:
    assert offered_token(headers, query) == expected
