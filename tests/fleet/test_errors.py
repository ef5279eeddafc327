"""What is said of a Redis that cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.fleet.clients import client, close_clients
from proxy.fleet.errors import host_of, reason_of
from tests.origins.ports import refusing_port

if TYPE_CHECKING:
    from tests.origins.valkey_site import ValkeySite


async def reason(url: str) -> str:
    try:
        await client(url).ping()
    except Exception as error:  # noqa: BLE001 - told apart by the subject
        return reason_of(error)
    finally:
        await close_clients()
    raise AssertionError("it can be used")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://127.0.0.1:{}/99", "no such database number"),
        ("redis://:secret@127.0.0.1:{}/0", "a password is given, but the server has none"),
        ("redis://somebody:secret@127.0.0.1:{}/0", "wrong user or password"),
        ("redis://valkey.invalid:{}/0", "the host name has no address"),
    ],
)
async def test_a_mistake_in_the_url_is_told(valkey: ValkeySite, url: str, said: str) -> None:
    assert await reason(url.format(valkey.port)) == said


async def test_a_wrong_password_is_told_from_a_missing_one(own_valkey: ValkeySite) -> None:
    own_valkey.command("CONFIG", "SET", "requirepass", "right")
    at = f"127.0.0.1:{own_valkey.port}"
    assert await reason(f"redis://{at}") == "a password is needed"
    assert await reason(f"redis://:wrong@{at}") == "wrong user or password"


async def test_a_closed_port_is_told_by_its_code() -> None:
    with refusing_port() as port:
        assert await reason(f"redis://127.0.0.1:{port}") == "ConnectionError (ECONNREFUSED)"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://valkey", "valkey:6379"),
        ("rediss://user:secret@valkey:7000/1", "valkey:7000"),
        ("redis://:s%40cret@[::1]:6380", "[::1]:6380"),
    ],
)
def test_the_place_is_told_without_secrets(url: str, said: str) -> None:
    assert host_of(url) == said
