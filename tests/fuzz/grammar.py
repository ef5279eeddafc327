"""Makes what a client might send: by a grammar, or by mutation of what is kept."""

# ruff: noqa: E501 - tables, an entry a line

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

_BLANK = b"\r\n\r\n"
_CORPUS = Path(__file__).parent / "corpus"

_METHODS = [b"GET"] * 6 + [
    b"HEAD",
    b"POST",
    b"OPTIONS",
    b"PUT",
    b"CONNECT",
    b"BREW",
    b"get",
    b"",
    b"PRI",
]
_TARGETS = [
    b"/",
    b"/a",
    b"/b",
    b"/c",
    b"/d",
    b"/e",
    b"/f",
    b"/a?b",
    b"/%2e%2e/x",
    b"//x",
    b"*",
    b"http://t/a",
    b"t:80",
    b"/a#b",
    b"/\xff",
    b"",
    b"/a b",
]
_VERSIONS = [b"HTTP/1.1"] * 8 + [
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"HTTP/1.2",
    b"http/1.1",
    b"HTTP/1.1 ",
    b"",
    b"HTTP/",
]
_ENDS = [b"\r\n"] * 30 + [b"\n", b"\r", b"\r\r\n", b""]
_NAMES = [
    b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Expect", b"Range", b"If-Range", b"Upgrade",
    b"If-None-Match", b"If-Modified-Since", b"Cache-Control", b"Accept", b"X-Auth-Token", b"Trailer", b"X", b"host",
    b"If-Match", b"If-Unmodified-Since", b"Pragma", b"Content-length ", b"", b" X", b"X\x00", b"X:", b"Proxy-Connection", b"Keep-Alive", b"TE",
]  # fmt: skip
_VALUES = [
    b"test", b"a, b", b"0", b"1", b"5", b"+5", b"5, 5", b"0x5", b"99999999999999999999", b"chunked", b"Chunked",
    b"gzip, chunked", b"identity", b"close", b"keep-alive", b"upgrade", b"h2c", b"websocket", b"100-continue",
    b"bytes=0-1", b"bytes=-1", b'"x"', b'W/"x", *', b"Thu, 01 Jan 1970 00:00:00 GMT", b"max-age=0", b"no-store",
    b"", b" ", b"\t", b"\x00", b"\x7f", b"\xff", b"a\r b", b"a\n b", b"\r\n b", b"text/html", b"x" * 300,
]  # fmt: skip
_BODIES = [
    b"", b"", b"", b"x", b"hello", b"0\r\n\r\n", b"1\r\nx\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"1;a=b\r\nx\r\n0\r\n\r\n", b"zz\r\n", b"-1\r\n", b"1\nx\n0\n\n", b"fffffffffffffffff\r\n", b"\r\n", b"GET /b HTTP/1.1",
]  # fmt: skip

_OBJECTS = [b"/a", b"/b", b"/c", b"/d", b"/e", b"/f", b"/a?b", b"/%61", b"/none", b"http://t/a"]
_SOUND_FIELDS = [
    b'If-None-Match: "x"', b'If-None-Match: "y"', b'If-Match: "y"', b"If-Modified-Since: Fri, 02 Jan 1970 00:00:00 GMT",
    b"Range: bytes=1-2", b"Range: bytes=-1", b"Range: bytes=0-0, 2-3", b"Range: bytes=99999-", b'If-Range: "x"\r\nRange: bytes=0-0',
    b"Cache-Control: no-cache", b"Cache-Control: max-age=2", b"Cache-Control: only-if-cached", b"Cache-Control: no-store",
    b"Pragma: no-cache", b"Accept: text/html", b"TE: x", b"Authorization: x", b"X-A: b", b"Connection: close",
    b"Connection: keep-alive", b"Expect: 100-continue", b"Content-Length: 0", b"Upgrade: h2c\r\nConnection: upgrade",
]  # fmt: skip


def kept() -> dict[str, bytes]:
    """The corpus: what broke something once, or nearly."""
    return {path.name: path.read_bytes() for path in sorted(_CORPUS.iterdir())}


def connection(random: Random, corpus: list[bytes]) -> bytes:
    """What one client sends over one connection; a few KiB at most."""
    if random.random() < 0.3:
        return _mutated(random, random.choice(corpus))
    sent = b"".join(_request(random) for _ in range(random.choice((1, 1, 2, 3))))
    return _mutated(random, sent) if random.random() < 0.3 else sent


def visit(random: Random, corpus: list[bytes]) -> bytes:
    """As a connection; most of its requests are sound, and come again."""
    sent: list[bytes] = []
    for _ in range(random.choice((1, 2, 3, 6))):
        chance = random.random()
        if sent and chance < 0.3:
            sent.append(random.choice(sent))
        elif chance < 0.9:
            sent.append(_sound_request(random))
        else:
            sent.append(connection(random, corpus))
    joined = b"".join(sent)
    return _mutated(random, joined) if random.random() < 0.1 else joined


def cuts(random: Random, data: bytes) -> list[bytes]:
    """The same bytes in pieces, of which there may be one."""
    if len(data) < 2:
        return [data]
    if random.random() < 0.2:
        return [data[at : at + 1] for at in range(len(data))]
    places = sorted({random.randrange(1, len(data)) for _ in range(random.randrange(1, 8))})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def heads(data: bytes) -> list[bytes]:
    """The same bytes in pieces that end where a head may."""
    ended = [piece + _BLANK for piece in data.split(_BLANK)]
    ended[-1] = ended[-1].removesuffix(_BLANK)
    return [piece for piece in ended if piece] or [data]


def value(random: Random) -> str:
    """What a field might have for a value, as text of Latin-1."""
    parts = [
        random.choice(_VALUES) + random.choice((b"", b",", b"=", b"-", b";", b'"', b" ", b"\\"))
        for _ in range(random.choice((1, 1, 2, 5, 50)))
    ]
    return _mutated(random, b"".join(parts)).decode("latin-1")


def _request(random: Random) -> bytes:
    line = b" ".join((random.choice(_METHODS), random.choice(_TARGETS), random.choice(_VERSIONS)))
    lines = [line] if random.random() < 0.1 else [line, b"Host: test"]
    lines += [
        random.choice(_NAMES) + random.choice((b": ", b":", b" : ", b"")) + random.choice(_VALUES)
        for _ in range(random.choice((0, 0, 1, 2, 4)))
    ]
    if random.random() < 0.3:
        body = random.choice(_BODIES)
        framed = (
            b"Content-Length: %d" % len(body)
            if random.random() < 0.5
            else b"Transfer-Encoding: chunked"
        )
        return b"".join(line + random.choice(_ENDS) for line in (*lines, framed, b"")) + body
    return b"".join(line + random.choice(_ENDS) for line in (*lines, b""))


def _sound_request(random: Random) -> bytes:
    line = b"%b %b HTTP/1.1" % (random.choice((b"GET", b"GET", b"HEAD")), random.choice(_OBJECTS))
    lines = [line, b"Host: test"]
    if random.random() < 0.5:
        lines.append(random.choice(_SOUND_FIELDS))
    return b"\r\n".join((*lines, b"", b""))


def _mutated(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((0, 1, 1, 2, 6))):
        at = random.randrange(len(changed) + 1)
        match random.randrange(5):
            case 0:
                changed[at:at] = bytes([random.randrange(256)])
            case 1:
                del changed[at : at + random.choice((1, 1, 4))]
            case 2:
                changed[at : at + 1] = bytes([random.choice(b'\r\n\x00 \t:,;"\\/%*-+0\x7f\xff')])
            case 3:
                piece = changed[at : at + random.choice((1, 8, 40))]
                changed[at:at] = piece * random.choice((1, 2, 20))
            case _:
                changed[at:at] = random.choice(_VALUES)
    return bytes(changed)
