"""What a request for one object is answered with: RFC 9110 §13, §14."""

from __future__ import annotations

from dataclasses import dataclass

from tests.origins import conditional

BODY = b"".join(b"%09d\n" % number for number in range(100))
LENGTH = len(BODY)
ETAG = '"v1"'
BEFORE = "Mon, 05 May 2025 09:59:59 GMT"
MODIFIED = "Mon, 05 May 2025 10:00:00 GMT"
AFTER = "Mon, 05 May 2025 10:00:01 GMT"

PASSED = {
    "Content-Type": "text/csv; charset=utf-8",
    "Content-Encoding": "identity",
    "Content-Language": "en",
    "Content-Disposition": 'attachment; filename="a.csv"',
    "Cache-Control": "public, max-age=600",
    "Expires": "Fri, 01 Jan 2100 00:00:00 GMT",
    "x-amz-meta-author": "M\u00fcller",
}
KEPT_BACK = {
    "Server": "AmazonS3",
    "x-amz-request-id": "0123456789ABCDEF",
    "x-amz-id-2": "abcdef",
    "x-amz-version-id": "7",
    "x-amz-server-side-encryption": "AES256",
    "x-amz-storage-class": "STANDARD",
    "Set-Cookie": "a=b",
    "Access-Control-Allow-Origin": "*",
    "X-Powered-By": "S3",
}
DEFAULT_OBJECT = conditional(BODY, ETAG, MODIFIED, PASSED | KEPT_BACK)


@dataclass(frozen=True, slots=True)
class Case:
    """``parts`` are the slices of the body, in order; None stands for an error's own."""

    name: str
    fields: tuple[str, ...]
    status: int
    parts: tuple[tuple[int, int], ...] | None = None

    @property
    def slug(self) -> str:
        return "-".join(self.name.split())


def full(name: str, *fields: str) -> Case:
    return Case(name, fields, 200, ((0, LENGTH - 1),))


def not_modified(name: str, *fields: str) -> Case:
    return Case(name, fields, 304, ())


def failed(name: str, *fields: str) -> Case:
    return Case(name, fields, 412)


def partial(name: str, value: str, *parts: tuple[int, int], also: tuple[str, ...] = ()) -> Case:
    return Case(name, (f"Range: {value}", *also), 206, parts)


def ignored(name: str, value: str, *also: str) -> Case:
    return full(name, f"Range: {value}", *also)


def unsatisfiable(name: str, value: str) -> Case:
    return Case(name, (f"Range: {value}",), 416)


CASES = (
    full("nothing asked"),
    # §13.1.2
    not_modified("none match same", f"If-None-Match: {ETAG}"),
    not_modified("none match weak", f"If-None-Match: W/{ETAG}"),
    not_modified("none match list", f'If-None-Match: "v0", {ETAG},"v2"'),
    not_modified("none match two lines", 'If-None-Match: "v0"', f"If-None-Match: {ETAG}"),
    not_modified("none match any", "If-None-Match: *"),
    full("none match other", 'If-None-Match: "v2"'),
    full("none match other case", 'If-None-Match: "V1"'),
    full("none match unquoted", "If-None-Match: v1"),
    full("none match empty", "If-None-Match:"),
    full("none match before since", 'If-None-Match: "v2"', f"If-Modified-Since: {AFTER}"),
    # §13.1.3
    not_modified("modified since same", f"If-Modified-Since: {MODIFIED}"),
    not_modified("modified since later", f"If-Modified-Since: {AFTER}"),
    full("modified since earlier", f"If-Modified-Since: {BEFORE}"),
    full("modified since no date", "If-Modified-Since: yesterday"),
    full("modified since seconds", "If-Modified-Since: 1746439200"),
    # §13.1.1
    full("match same", f"If-Match: {ETAG}"),
    full("match any", "If-Match: *"),
    full("match list", f'If-Match: "v0", {ETAG}'),
    failed("match other", 'If-Match: "v2"'),
    failed("match weak", f"If-Match: W/{ETAG}"),
    failed("match unquoted", "If-Match: v1"),
    # §13.1.4
    full("unmodified since same", f"If-Unmodified-Since: {MODIFIED}"),
    full("unmodified since later", f"If-Unmodified-Since: {AFTER}"),
    failed("unmodified since earlier", f"If-Unmodified-Since: {BEFORE}"),
    full("unmodified since no date", "If-Unmodified-Since: tomorrow"),
    # §13.2.2
    full("match before unmodified", f"If-Match: {ETAG}", f"If-Unmodified-Since: {BEFORE}"),
    failed("match before none match", 'If-Match: "v2"', f"If-None-Match: {ETAG}"),
    not_modified("none match after match", f"If-Match: {ETAG}", f"If-None-Match: {ETAG}"),
    failed("unmodified before none", f"If-Unmodified-Since: {BEFORE}", f"If-None-Match: {ETAG}"),
    not_modified("none match before range", f"If-None-Match: {ETAG}", "Range: bytes=0-4"),
    failed("match before range", 'If-Match: "v2"', "Range: bytes=0-4"),
    not_modified("none match before bad range", f"If-None-Match: {ETAG}", "Range: bytes=5000-"),
    # §14.1.2
    partial("first bytes", "bytes=0-4", (0, 4)),
    partial("one byte", "bytes=999-999", (999, 999)),
    partial("middle", "bytes=500-509", (500, 509)),
    partial("open ended", "bytes=990-", (990, 999)),
    partial("everything", "bytes=0-", (0, 999)),
    partial("suffix", "bytes=-10", (990, 999)),
    partial("suffix longer than the object", "bytes=-5000", (0, 999)),
    partial("last beyond the end", "bytes=990-5000", (990, 999)),
    partial("huge last", f"bytes=990-{'9' * 40}", (990, 999)),
    partial("leading zeros", "bytes=0000-0004", (0, 4)),
    partial("unit in capitals", "BYTES=0-4", (0, 4)),
    partial("empty elements", "bytes=,0-4,", (0, 4)),
    unsatisfiable("first at the end", "bytes=1000-"),
    unsatisfiable("first beyond the end", "bytes=5000-6000"),
    unsatisfiable("empty suffix", "bytes=-0"),
    unsatisfiable("none satisfiable", "bytes=1000-,2000-3000"),
    # §14.2: ignored
    ignored("unknown unit", "items=0-4"),
    ignored("no unit", "0-4"),
    ignored("no set", "bytes="),
    ignored("no dash", "bytes=5"),
    ignored("dash alone", "bytes=-"),
    ignored("letters", "bytes=a-b"),
    ignored("backwards", "bytes=5-2"),
    ignored("plus", "bytes=+1-2"),
    ignored("underscore", "bytes=1_0-20"),
    ignored("space inside", "bytes=0 - 4"),
    ignored("two dashes", "bytes=0--4"),
    ignored("one bad of two", "bytes=0-4,x"),
    full("two lines", "Range: bytes=0-1", "Range: bytes=2-3"),
    # §14.6, §17.15
    partial("two parts", "bytes=0-1,998-999", (0, 1), (998, 999)),
    partial("two parts out of order", "bytes=-2,0-1", (998, 999), (0, 1)),
    partial("one of two satisfiable", "bytes=0-1,5000-", (0, 1)),
    ignored("overlapping", "bytes=0-,0-,0-,0-"),
    ignored("too many", "bytes=" + ",".join(f"{n}-{n}" for n in range(17))),
    # §13.1.5
    partial("if range same", "bytes=0-4", (0, 4), also=(f"If-Range: {ETAG}",)),
    partial("if range date", "bytes=0-4", (0, 4), also=(f"If-Range: {MODIFIED}",)),
    ignored("if range other", "bytes=0-4", 'If-Range: "v2"'),
    ignored("if range weak", "bytes=0-4", f"If-Range: W/{ETAG}"),
    ignored("if range later date", "bytes=0-4", f"If-Range: {AFTER}"),
    ignored("if range no date", "bytes=0-4", "If-Range: now"),
    ignored("if range other unsatisfiable", "bytes=5000-", 'If-Range: "v2"'),
    full("if range alone", f"If-Range: {ETAG}"),
)
