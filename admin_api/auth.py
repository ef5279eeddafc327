"""Who may use the admin interface: whoever has AUTH_TOKEN.

A request carries the token as `X-Auth-Token: T`, as `Authorization: Bearer T`, or in the query as
`token=T`. The first of these three that is there decides, so that a request cannot try several.
"""

from __future__ import annotations

import functools
import hmac
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from admin_api import guesses
from admin_api.endpoint import refusal
from proxy import conf

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.core.handlers.asgi import ASGIRequest
    from django.http import HttpResponse, HttpResponseBase

    from admin_api.endpoint import View

_HOW = "the admin token is needed: X-Auth-Token: TOKEN, or Authorization: Bearer TOKEN"
_WRONG = "this is not the admin token"


def token_required(view: View) -> View:
    """Answer 401, or 429, instead of calling ``view`` where the token is missing or wrong."""

    @functools.wraps(view)
    async def answer(request: ASGIRequest) -> HttpResponseBase:
        scope = request.scope
        offered = offered_token(scope["headers"], request.META["QUERY_STRING"].encode())
        if offered is None:
            return _unauthorized(_HOW)
        token = conf.config().auth_token
        wait = guesses.seconds_to_wait(request) if guesses.can_be_guessed(token) else None
        if wait is None:
            if hmac.compare_digest(offered, token.encode("ascii")):
                return await view(request)
            wait = guesses.count_wrong(request)
        return _unauthorized(_WRONG) if wait is None else _too_many(wait)

    return answer


def offered_token(headers: Iterable[tuple[bytes, bytes]], query: bytes) -> bytes | None:
    """The token that a request carries; None where there is none.

    ``headers`` are raw fields with names in lower case, ``query`` is not yet decoded.
    """
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in (b"x-auth-token", b"authorization"):
            # RFC 9110 §5.3: two lines are one value, which is then no right token.
            fields[name] = fields[name] + b", " + value if name in fields else value
    if b"x-auth-token" in fields:
        return fields[b"x-auth-token"].strip(b" \t")
    # RFC 9110 §11.1: the scheme's name is case-insensitive, what follows is not.
    scheme, _, credentials = fields.get(b"authorization", b"").strip(b" \t").partition(b" ")
    if scheme.lower() == b"bearer":
        return credentials.strip(b" ")
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if unquote_to_bytes(name) == b"token":
            # No token has a space in it, so a plus is a plus, not a form's space.
            return unquote_to_bytes(value)
    return None


def _unauthorized(why: str) -> HttpResponse:
    response = refusal(401, why)
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _too_many(seconds: int) -> HttpResponse:
    response = refusal(429, f"too many wrong tokens, come again in {seconds} s")
    response.headers["Retry-After"] = str(seconds)
    return response
