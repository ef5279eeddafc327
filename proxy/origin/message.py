"""One response as RFC 9112 frames it: from the bytes of a connection to a head with a body.

Nothing here knows of sockets. llhttp (httptools) reads heads and chunks, strictly; which bytes
are the head, how long a body is and where it ends is decided here:

- A head ends with the first empty line; bare LF and CR, folded lines and control characters are
  refused by the parser, as are two Content-Lengths and one beside Transfer-Encoding.
- 204 and 304 have no body, whatever their fields say (§6.3).
- The only coding understood is "chunked", once, and not from an HTTP/1.0 server (§6.1).
- Bytes behind a body of known length make it a broken one: which of the two is wrong cannot be
  told. Behind any other end they only make the connection useless.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from proxy.origin.faults import DisconnectedError, MalformedResponseError
from proxy.origin.pieces import Pieces

# An object of S3 has 2 KiB of metadata at most, one of R2 8 KiB: in fields as short as can be, or
# all in one.
MAX_FIELDS = 1024
MAX_FIELD_BYTES = 16 * 1024
# Of everything that is not body at one stretch: interim responses with the head, chunk
# extensions, trailers.
MAX_HEAD_BYTES = 64 * 1024

_END_OF_HEAD = b"\r\n\r\n"
_VERSION = b"HTTP/1."
_CONTINUE, _OK, _NO_CONTENT, _NOT_MODIFIED = 100, 200, 204, 304


class ResponseMessage:
    """The response that the bytes fed to it make up, once ``has_head``.

    ``fields`` have lower-case names; ``content_length`` is in bytes, None where none is announced;
    ``complete`` once the end of the body is here, and ``reusable`` if a further response may
    follow on the connection. ``body`` holds what has come of it.
    """

    __slots__ = (
        "_chunked",
        "_excess",
        "_head",
        "_left",
        "_overhead",
        "_parser",
        "body",
        "complete",
        "content_length",
        "fields",
        "has_head",
        "reusable",
        "status",
    )

    def __init__(self) -> None:
        self.status = 0
        self.fields: list[tuple[bytes, bytes]] = []
        self.content_length: int | None = None
        self.has_head = False
        self.complete = False
        self.reusable = False
        self.body = Pieces()
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        # What has come of a head that is not whole yet.
        self._head = bytearray()
        self._overhead = 0
        self._chunked = False
        # How much of a body of known length is still to come.
        self._left: int | None = None
        self._excess = False

    def feed(self, data: bytes) -> None:
        """Take what has come; raises MalformedResponseError."""
        if self.complete:
            self._excess_came()
        elif self._left is not None:
            self._take_counted(data)
        elif self._chunked:
            self._take_chunks(data)
        elif self.has_head:
            self.body.append(data)
        else:
            self._take_head(data)

    def feed_eof(self) -> None:
        """The connection has ended, and well; raises where the response should go on."""
        if self.complete:
            return
        if not self.has_head:
            raise DisconnectedError("the connection was closed without an answer")
        if self._chunked or self._left is not None:
            raise DisconnectedError("the connection was closed")
        # §6.3 rule 8: a body without a length ends with the connection.
        self._finish(reusable=False)

    def drop(self) -> None:
        """Forget what was not taken; nothing more may be fed."""
        self._parser = None
        self.body.clear()

    def _take_head(self, data: bytes) -> None:
        if self._head:
            searched = max(0, len(self._head) - len(_END_OF_HEAD) + 1)
            self._head += data
            if self._head.find(_END_OF_HEAD, searched) < 0:
                self._look_at_half_a_head()
                return
            data = bytes(self._head)
            self._head.clear()
        while (end := data.find(_END_OF_HEAD)) >= 0:
            end += len(_END_OF_HEAD)
            self._read_head(data[:end])
            data = data[end:]
            if self.has_head:
                if data:
                    self.feed(data)
                return
        if data:
            self._head += data
            self._look_at_half_a_head()

    def _look_at_half_a_head(self) -> None:
        beginning = self._head[: len(_VERSION)]
        if not _VERSION.startswith(bytes(beginning)):
            raise MalformedResponseError("it does not begin like HTTP/1.1")
        if self._overhead + len(self._head) > MAX_HEAD_BYTES:
            raise MalformedResponseError(f"a head of over {MAX_HEAD_BYTES} bytes")

    def _read_head(self, head: bytes) -> None:
        self._overhead += len(head)
        if not head.startswith(_VERSION):
            raise MalformedResponseError("it does not begin like HTTP/1.1")
        if self._overhead > MAX_HEAD_BYTES:
            raise MalformedResponseError(f"a head of over {MAX_HEAD_BYTES} bytes")
        self._parse(head)
        status = self.status
        if status < _OK:
            if status < _CONTINUE:
                raise MalformedResponseError(f"status {status}")
            # RFC 9110 §15.2: any number of interim responses may come before the final one. The
            # parser itself refuses to switch protocols.
            self.fields.clear()
            return
        self.has_head = True
        self._frame(len(head))

    def _frame(self, head_bytes: int) -> None:
        """Find out where the body will end: §6.3."""
        fields = self.fields
        if len(fields) > MAX_FIELDS:
            raise MalformedResponseError(f"more than {MAX_FIELDS} fields")
        if head_bytes > MAX_FIELD_BYTES and any(
            len(name) + len(value) > MAX_FIELD_BYTES for name, value in fields
        ):
            raise MalformedResponseError(f"a field of over {MAX_FIELD_BYTES} bytes")
        codings = 0
        for name, value in fields:
            if name == b"content-length":
                # Of any number of zeros, which int() alone does not take.
                self.content_length = int(value.lstrip(b"0") or b"0")
            elif name == b"transfer-encoding":
                codings += 1
                self._chunked = value.lower() == b"chunked"
        if codings and (codings > 1 or not self._chunked or self._is_of_http_1_0()):
            raise MalformedResponseError("a transfer coding other than chunked")
        if self.status in (_NO_CONTENT, _NOT_MODIFIED):
            self._finish(reusable=self.reusable)
        elif self.content_length is not None:
            self._left = self.content_length
            if not self._left:
                self._finish(reusable=self.reusable)

    def _is_of_http_1_0(self) -> bool:
        return self._parser is not None and self._parser.get_http_version() == "1.0"

    def _take_counted(self, data: bytes) -> None:
        assert self._left is not None
        self._left -= len(data)
        if self._left < 0:
            raise MalformedResponseError("the body is longer than Content-Length")
        self.body.append(data)
        if not self._left:
            self._finish(reusable=self.reusable)

    def _take_chunks(self, data: bytes) -> None:
        before = len(self.body)
        self._parse(data)
        came = len(self.body) - before
        if not came:
            self._overhead += len(data)
            if self._overhead > MAX_HEAD_BYTES:
                raise MalformedResponseError("chunks or trailers without an end")
            return
        self._overhead = 0
        if came > 1:
            # What came at once is one piece, in however many chunks it was.
            self.body.join(came)

    def _parse(self, data: bytes) -> None:
        assert self._parser is not None
        parser = self._parser
        try:
            parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as exc:
            if not self.complete:
                raise MalformedResponseError(_fault_found(exc)) from exc
            # What follows the last chunk is nobody's.
            self._excess_came()
        if self._excess:
            self.reusable = False

    def _finish(self, *, reusable: bool) -> None:
        self.complete = True
        self.reusable = reusable and not self._excess
        # It refers back to this object: a cycle, which would keep the body.
        self._parser = None

    def _excess_came(self) -> None:
        self._excess = True
        self.reusable = False
        if self._left is not None:
            raise MalformedResponseError("the body is longer than Content-Length")

    # What llhttp calls.

    def on_message_begin(self) -> None:
        if self.complete:
            self._excess = True

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers say nothing that is of use here.
        if not self.has_head:
            self.fields.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self.status = self._parser.get_status_code()
        self.reusable = self._parser.should_keep_alive()

    def on_body(self, piece: bytes) -> None:
        self.body.append(piece)

    def on_message_complete(self) -> None:
        if self._chunked and self.has_head:
            self._finish(reusable=self.reusable)


def _fault_found(error: Exception) -> str:
    """What the parser did not like."""
    if isinstance(error, HttpParserUpgrade):
        return "an upgrade that was not asked for"
    return str(error) or type(error).__name__
