"""Bodies of purge requests: what they mean, what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_api.purge_request import MalformedPurgeError, PurgeRequest


def parse(body: bytes, prefix: str = "") -> PurgeRequest:
    return PurgeRequest.from_body(body, prefix)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"keys": ["a", "b"]}', PurgeRequest(("a", "b"))),
        ('{"keys": ["a", "/a", "a"]}', PurgeRequest(("a",))),
        ('{"keys": ["a%20b", "/a%20b", "/a+b"]}', PurgeRequest(("a%20b", "a b", "a+b"))),
        ('{"keys": ["ü", "/%C3%BC", "\\u00fc"]}', PurgeRequest(("ü",))),
        ('{"prefixes": ["img/", "/a%20/"]}', PurgeRequest((), ("img/", "a /"))),
        ('{"keys": ["a"], "prefixes": ["b"]}', PurgeRequest(("a",), ("b",))),
        ('{"keys": [], "prefixes": ["b"]}', PurgeRequest((), ("b",))),
        ('{"keys": ["a"], "all": false, "soft": false}', PurgeRequest(("a",))),
        ('{"all": true}', PurgeRequest(everything=True)),
        ('{"all": true, "soft": true}', PurgeRequest(everything=True, soft=True)),
        (' {"soft": true, "keys": ["a"]}\n', PurgeRequest(("a",), soft=True)),
    ],
)
def test_what_a_body_means(body: str, expected: PurgeRequest) -> None:
    assert parse(body.encode()) == expected


def test_url_paths_get_the_prefix_and_s3_keys_do_not() -> None:
    asked = parse(b'{"keys": ["/a", "a"], "prefixes": ["/b", "b"]}', "site/")
    assert asked.keys == ("site/a", "a")
    assert asked.prefixes == ("site/b", "b")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"keys=a", "not JSON"),
        (b"{'keys': ['a']}", "not JSON"),
        (b'{"keys": ["a"]} x', "not JSON"),
        (b'\xef\xbb\xbf{"keys": ["a"]}', "not JSON"),
        (b'{"keys": ["\xff"]}', "UTF-8"),
        (b"[]", "object"),
        (b'"a"', "object"),
        (b"null", "object"),
        (b"{}", "nothing to purge"),
        (b'{"keys": []}', "nothing to purge"),
        (b'{"soft": true}', "nothing to purge"),
        (b'{"all": false}', "nothing to purge"),
        (b'{"key": ["a"]}', 'unknown member "key"'),
        (b'{"keys": ["a"], "ALL": true}', 'unknown member "ALL"'),
        (b'{"keys": "a"}', '"keys" must be a list'),
        (b'{"keys": {"a": 1}}', '"keys" must be a list'),
        (b'{"keys": null}', '"keys" must be a list'),
        (b'{"prefixes": "a"}', '"prefixes" must be a list'),
        (b'{"keys": ["a", 1]}', "keys[1] must be a string"),
        (b'{"keys": [["a"]]}', "keys[0] must be a string"),
        (b'{"keys": [""]}', "keys[0] is no key"),
        (b'{"keys": ["/"]}', "keys[0] is no key"),
        (b'{"keys": ["/a?b"]}', "write %3F"),
        (b'{"keys": ["/%zz"]}', "percent escape"),
        (b'{"keys": ["/../a"]}', "dot segment"),
        (b'{"keys": ["\\ud800"]}', "Unicode"),
        (b'{"prefixes": [""]}', '{"all": true}'),
        (b'{"prefixes": ["/"]}', '{"all": true}'),
        (b'{"all": 1}', '"all" must be true or false'),
        (b'{"all": "true"}', '"all" must be true or false'),
        (b'{"keys": ["a"], "soft": null}', '"soft" must be true or false'),
        (b'{"all": true, "keys": ["a"]}', "covers everything"),
        (b'{"all": true, "prefixes": []}', "covers everything"),
        (b'{"keys": ["a"], "keys": ["b"]}', "twice"),
        (b'{"keys": [{"a": 1, "a": 2}]}', "twice"),
        (b'{"keys": [NaN]}', "NaN is not JSON"),
        (b'{"all": -Infinity}', "-Infinity is not JSON"),
        (b'{"keys": [' + b"9" * 10_000 + b"]}", "number"),
        (b'{"keys": ["' + b"x" * 1025 + b'"]}', "1,024 bytes"),
        (b"[" * 500_000, "nested"),
        (b'{"a":' * 150_000, "nested"),
    ],
)  # fmt: skip
def test_what_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(MalformedPurgeError) as caught:
        parse(body)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: (
    st.lists(inner) | st.dictionaries(st.sampled_from(["keys", "all", "prefixes", "x"]), inner)
)))  # fmt: skip
def test_any_json_is_a_purge_or_refused(value: object) -> None:
    try:
        asked = parse(json.dumps(value).encode())
    except MalformedPurgeError:
        return
    assert asked.everything != bool(asked.keys or asked.prefixes)


@given(st.binary())
def test_any_bytes_are_a_purge_or_refused(body: bytes) -> None:
    with pytest.raises(MalformedPurgeError):
        parse(body)
