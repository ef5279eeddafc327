"""The object key that a request path stands for.

A path is percent-decoded exactly once and then reaches S3 as it is: `//`, a trailing `/`,
`+` and dots inside names are part of the key. Refused is what S3 or an HTTP client on the
way could understand differently from us, dot segments above all: a client library that
resolves them would turn `/%2e%2e/other/x` into a request to another bucket.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

_MAX_KEY_BYTES: Final = 1024  # S3's limit, counted in UTF-8
_MAX_CHARACTER_BYTES: Final = 4
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_DOT_SEGMENTS: Final = frozenset((".", ".."))


class InvalidTarget(ValueError):  # noqa: N818 - the name says what the request target is
    """A request target that no object can have; `status` is 400, 404 or 414."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def object_key(raw_path: bytes, prefix: str = "") -> str:
    """Return `prefix` plus the key that `raw_path`, an undecoded path without its query, names.

    Raises InvalidTarget: 404 for the empty key (`/` must never list the bucket) and one of slashes
    alone, 414 for a key over 1,024 bytes, 400 for anything else that is no key.
    """
    if raw_path[:1] != b"/":
        raise InvalidTarget(400, "the path does not begin with a slash")
    key = _decoded(raw_path[1:])
    whole = prefix + key
    # A server that merges slashes, before or in S3, would take `//` for `/` and list the bucket.
    if not key or not whole.strip("/"):
        raise InvalidTarget(404, "no key")
    # Most keys have no dot there, and are far from too long: seen without a call.
    if key[0] == "." or whole[0] == "." or "/." in whole:
        _refuse_dot_segments(key, whole)
    if len(whole) * _MAX_CHARACTER_BYTES > _MAX_KEY_BYTES:
        _refuse_long(whole)
    return whole


def key_from_purge(value: str, prefix: str) -> str:
    """Return the key that an operator means by `value`: a URL path if it begins with `/`, else
    the S3 key itself, to which no prefix is added.

    Raises InvalidTarget. A raw `?` or `#` in a URL path is refused: it may belong to the name or
    begin a query, and a wrong guess would answer "purged" and leave the response in place.
    """
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        raise InvalidTarget(400, "the key is not valid Unicode") from None
    if value[:1] == "/":
        if "?" in value or "#" in value:
            raise InvalidTarget(400, "a URL path has no ? or #; write %3F or %23")
        return object_key(encoded, prefix)
    if not value:
        raise InvalidTarget(404, "no key")
    _refuse_long(value)
    return value


def _decoded(raw: bytes) -> str:
    if raw.isascii() and b"%" not in raw:
        key = raw.decode("ascii")
        # Of ASCII, exactly the control characters are not printable.
        if key.isprintable():
            return key
        raise InvalidTarget(400, "the path has a control character")
    if _BROKEN_ESCAPE.search(raw):
        raise InvalidTarget(400, "the path has a broken percent escape")
    try:
        # Strict: overlong forms and surrogates are refused. Raw bytes beyond ASCII break
        # RFC 3986, but tools send them and they can mean one thing only.
        key = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidTarget(400, "the path is not valid UTF-8") from None
    if _CONTROL.search(key):
        raise InvalidTarget(400, "the path has a control character")
    return key


def _refuse_dot_segments(key: str, whole: str) -> None:
    # A prefix that ends in a dot could complete one, so the whole is looked at too.
    for path in (key, whole):
        if not _DOT_SEGMENTS.isdisjoint(path.split("/")):
            raise InvalidTarget(400, "the path has a dot segment")


def _refuse_long(key: str) -> None:
    if len(key.encode()) > _MAX_KEY_BYTES:
        raise InvalidTarget(414, "the key is over 1,024 bytes")
