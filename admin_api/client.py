"""Reaches the running server's admin interface, for commands.

Of the environment it needs AUTH_TOKEN, SERVER_ADDR or PORT, and ADMIN_PREFIX alone, so that it
works in a shell that lacks everything about S3.
"""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from proxy.management.commands.healthcheck import client_hosts
from s3proxy_site import env, places

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT: Final = 10.0  # seconds to connect, then as many without anything from the server
_MAX_ANSWER_BYTES = 16 * 2**20
_OK = 200

_NEEDED = ("AUTH_TOKEN", "SERVER_ADDR", "PORT", "ADMIN_PREFIX")


class AdminError(Exception):
    """No server was reached, or it refused; the text says which and what to look at."""


class NoAnswerError(AdminError):
    """Nobody was there to take what was asked."""


class UnknownOutcomeError(NoAnswerError):
    """It was taken, but no answer came: what was asked may be done all the same."""


class RefusedError(AdminError):
    """An admin route answered with another status than 200; ``content`` is what it said."""

    def __init__(self, message: str, url: str, content: dict[str, Any]) -> None:
        super().__init__(message)
        self.url = url
        self.content = content


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server at ``url`` answered."""

    url: str
    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AdminClient:
    """``urls`` are places where the server may be, without a slash at their ends."""

    urls: tuple[str, ...]
    prefix: str
    token: str = field(repr=False)

    @classmethod
    def from_environment(cls, url: str | None = None) -> AdminClient:
        """A client for the server that the environment configures, or for the one at ``url``.

        Raises AdminError where they do not say what is needed.
        """
        config, problems = env.read_some(*_NEEDED)
        if config is None:
            raise AdminError("; ".join(map(str, problems)))
        if url is not None:
            try:
                urls: tuple[str, ...] = (places.endpoint(url),)
            except ValueError:
                raise AdminError(
                    "--url takes scheme, host and perhaps port, like http://10.0.0.5:8080"
                ) from None
        elif config.port == 0:
            raise AdminError("SERVER_ADDR leaves the port to the system: use --url")
        else:
            urls = tuple(
                f"http://{f'[{host}]' if ':' in host else host}:{config.port}"
                for host in client_hosts(config.host)
            )
        return cls(urls, config.admin_prefix, config.auth_token)

    def get(self, path: str) -> Reply:
        """Raises AdminError."""
        return self._exchange("GET", path, None)

    def post(self, path: str, content: Mapping[str, Any]) -> Reply:
        """Send ``content`` as JSON. Raises AdminError, of which every kind above."""
        return self._exchange("POST", path, json.dumps(content).encode("ascii"))

    def _exchange(self, method: str, path: str, body: bytes | None) -> Reply:
        refusals: list[str] = []
        for url in self.urls:
            try:
                connection = _connect(url)
            except ConnectionRefusedError as exc:
                refusals.append(f"{url} gave no answer: {exc}")
                continue
            except OSError as exc:
                raise NoAnswerError(f"{url} gave no answer: {exc}") from exc
            try:
                status, answer = self._ask(connection, method, path, body)
            except TimeoutError as exc:
                raise UnknownOutcomeError(f"{url} gave no answer in {TIMEOUT:g} s") from exc
            except (OSError, http.client.HTTPException) as exc:
                reason = str(exc) or type(exc).__name__
                raise UnknownOutcomeError(f"{url} gave no answer: {reason}") from exc
            else:
                return Reply(url, _content(url, status, answer))
        raise NoAnswerError(refusals[0])

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None
    ) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self.token}", "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            # Redirects are not followed: the token is for this server alone.
            connection.request(method, self.prefix + path, body, headers)
            response = connection.getresponse()
            return response.status, response.read(_MAX_ANSWER_BYTES)
        finally:
            connection.close()


def _connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection = (
        http.client.HTTPSConnection(
            host, parts.port, timeout=TIMEOUT, context=ssl.create_default_context()
        )
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT)
    )
    try:
        connection.connect()
    except OSError:
        connection.close()
        raise
    return connection


def _content(url: str, status: int, answer: bytes) -> dict[str, Any]:
    try:
        content = json.loads(answer)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise AdminError(
            f"{url} answered {status}, but not as an admin route of s3proxy: "
            "is ADMIN_PREFIX that of the server?"
        )
    if status == http.client.UNAUTHORIZED:
        raise AdminError(f"{url} refused the token; AUTH_TOKEN must be that of the server")
    if status != _OK:
        error = content.get("error", "no reason given")
        raise RefusedError(f"{url} answered {status}: {error}", url, content)
    return content
