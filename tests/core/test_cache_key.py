from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.cache_key import InvalidTarget, key_from_purge, object_key


def refusal(raw_path: bytes, prefix: str = "") -> int:
    with pytest.raises(InvalidTarget) as refused:
        object_key(raw_path, prefix)
    assert str(refused.value) == refused.value.reason != ""
    return refused.value.status


@pytest.mark.parametrize(
    ("raw_path", "key"),
    [
        pytest.param(b"/a", "a", id="plain"),
        pytest.param(b"/css/site.min.css", "css/site.min.css", id="folders"),
        pytest.param(b"/a%20b", "a b", id="escaped-space"),
        pytest.param(b"/a b", "a b", id="raw-space"),
        pytest.param(b"/a+b", "a+b", id="plus-is-a-plus"),
        pytest.param(b"/a%2Bb", "a+b", id="escaped-plus"),
        pytest.param(b"/a%2Fb", "a/b", id="escaped-slash"),
        pytest.param(b"/a//b", "a//b", id="empty-segment"),
        pytest.param(b"//a", "/a", id="leading-slash-of-the-key"),
        pytest.param(b"/a/", "a/", id="trailing-slash"),
        pytest.param(b"/a%25b", "a%b", id="escaped-percent"),
        pytest.param(b"/a%252Fb", "a%2Fb", id="decoded-once"),
        pytest.param(b"/%252e%252e/b", "%2e%2e/b", id="decoded-once-dots"),
        pytest.param(b"/jquery..min.js", "jquery..min.js", id="dots-inside"),
        pytest.param(b"/.well-known/x", ".well-known/x", id="leading-dot"),
        pytest.param(b"/a/...", "a/...", id="three-dots"),
        pytest.param(b"/a./b", "a./b", id="trailing-dot"),
        pytest.param(b"/a/..b/.c", "a/..b/.c", id="dots-then-name"),
        pytest.param(b"/a%3Fb%23c", "a?b#c", id="escaped-delimiters"),
        pytest.param(b"/a%5Cb", "a\\b", id="backslash"),
        pytest.param(b"/%C3%BC.txt", "ü.txt", id="two-bytes"),
        pytest.param(b"/%e2%82%ac", "€", id="lower-case-hex"),
        pytest.param(b"/%F0%9F%98%80", "😀", id="four-bytes"),
        pytest.param(b"/\xc3\xbc.txt", "ü.txt", id="raw-utf-8"),
        pytest.param(b"/\xc3%BC", "ü", id="half-raw-half-escaped"),
        pytest.param(b"/e%CC%81", "e\u0301", id="not-normalised"),
        pytest.param(b"/%C2%A0", "\xa0", id="first-character-after-c1"),
        pytest.param(b"/%EF%BB%BFa", "\ufeffa", id="byte-order-mark-kept"),
        pytest.param(b"/~user/a*b'(c);d:e@f&g=h$i,j!", "~user/a*b'(c);d:e@f&g=h$i,j!", id="pchar"),
    ],
)
def test_path_is_decoded_exactly_once_and_kept(raw_path: bytes, key: str) -> None:
    assert object_key(raw_path) == key


@pytest.mark.parametrize(
    "raw_path",
    [
        pytest.param(b"/.", id="dot"),
        pytest.param(b"/..", id="dot-dot"),
        pytest.param(b"/../other-bucket/x", id="leading"),
        pytest.param(b"/%2e%2e/other-bucket/x", id="escaped"),
        pytest.param(b"/%2E./x", id="half-escaped"),
        pytest.param(b"/a/../b", id="middle"),
        pytest.param(b"/a/./b", id="dot-in-the-middle"),
        pytest.param(b"/a/..", id="last"),
        pytest.param(b"/a/../", id="before-trailing-slash"),
        pytest.param(b"/a%2F..%2Fb", id="slashes-escaped"),
        pytest.param(b"/..%2fother-bucket", id="slash-after-escaped"),
        pytest.param(b"//../a", id="after-empty-segment"),
        pytest.param(b"/\xc3\xbc/../a", id="beside-raw-utf-8"),
    ],
)
def test_dot_segments_are_refused(raw_path: bytes) -> None:
    assert refusal(raw_path) == 400


@pytest.mark.parametrize(
    "raw_path",
    [
        pytest.param(b"/a%zz", id="not-hex"),
        pytest.param(b"/a%4", id="one-digit"),
        pytest.param(b"/a%", id="no-digit"),
        pytest.param(b"/%%41", id="percent-percent"),
        pytest.param(b"/%u0041", id="unicode-escape"),
        pytest.param(b"/% 41", id="space"),
        pytest.param(b"/%+1", id="sign"),
        pytest.param(b"/%4_", id="underscore"),
    ],
)
def test_broken_percent_escapes_are_refused(raw_path: bytes) -> None:
    assert refusal(raw_path) == 400


@pytest.mark.parametrize(
    "raw_path",
    [
        pytest.param(b"/%ff", id="never-in-utf-8"),
        pytest.param(b"/\xff", id="raw-never-in-utf-8"),
        pytest.param(b"/%c3", id="cut-off"),
        pytest.param(b"/%bc", id="continuation-only"),
        pytest.param(b"/%c0%af", id="overlong-slash"),
        pytest.param(b"/%e0%80%af", id="overlong-slash-in-three"),
        pytest.param(b"/%c0%ae%c0%ae/x", id="overlong-dots"),
        pytest.param(b"/%ed%a0%80", id="surrogate"),
        pytest.param(b"/%f4%90%80%80", id="beyond-unicode"),
        pytest.param(b"/%fc", id="latin-1"),
    ],
)
def test_bad_utf_8_is_refused(raw_path: bytes) -> None:
    assert refusal(raw_path) == 400


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0)])
def test_control_characters_are_refused(code: int) -> None:
    character = chr(code).encode()
    assert refusal(b"/a" + character) == 400
    assert refusal(b"/a" + quote(character).encode() + b"b") == 400


@pytest.mark.parametrize("raw_path", [b"", b"a", b"*", b"http://host/a", b"%2Fa"])
def test_what_is_no_path_is_refused(raw_path: bytes) -> None:
    assert refusal(raw_path) == 400


@pytest.mark.parametrize("prefix", ["", "site/"])
def test_the_empty_key_is_not_found(prefix: str) -> None:
    assert refusal(b"/", prefix) == 404


@pytest.mark.parametrize("raw_path", [b"//", b"///", b"/%2F"])
def test_a_key_of_slashes_alone_is_not_found_as_it_might_be_taken_for_the_bucket(
    raw_path: bytes,
) -> None:
    assert refusal(raw_path) == 404
    assert object_key(raw_path, "site/").startswith("site//")


@pytest.mark.parametrize(
    ("raw_path", "prefix"),
    [
        pytest.param(b"/" + b"a" * 1024, "", id="ascii"),
        pytest.param(b"/" + b"%C3%BC" * 512, "", id="escaped"),
        pytest.param(b"/" + "😀".encode() * 256, "", id="raw"),
        pytest.param(b"/" + b"a" * 1019, "site/", id="with-prefix"),
        pytest.param(b"/" + b"a" * 1022, "ü", id="with-prefix-of-two-bytes"),
    ],
)
def test_keys_up_to_1024_bytes_and_no_longer(raw_path: bytes, prefix: str) -> None:
    assert len(object_key(raw_path, prefix).encode()) == 1024
    assert refusal(raw_path + b"a", prefix) == 414


def test_the_prefix_is_prepended_as_it_is() -> None:
    assert object_key(b"/a%20b", "site%20/") == "site%20/a b"


@pytest.mark.parametrize(
    ("prefix", "raw_path"),
    [
        pytest.param("a", b"/..", id="hides-it"),
        pytest.param("a/.", b"/./b", id="extends-it"),
        pytest.param(".", b"//b", id="completes-it"),
        pytest.param("a/.", b"/%2Fb", id="completes-it-escaped"),
    ],
)
def test_a_prefix_makes_no_dot_segment_acceptable(prefix: str, raw_path: bytes) -> None:
    assert refusal(raw_path, prefix) == 400


@example(raw_path=b"%2e%2e/x")
@example(raw_path=b"a/%2e/x")
@given(raw_path=st.binary() | st.text("./%2eE5c\x00\xfc").map(lambda text: text.encode("latin-1")))
def test_no_key_ever_has_a_dot_segment_or_a_control_character(raw_path: bytes) -> None:
    try:
        key = object_key(b"/" + raw_path)
    except InvalidTarget:
        return
    assert not {".", ".."} & set(key.split("/"))
    assert not any(ord(character) < 0x20 or character == "\x7f" for character in key)
    assert 0 < len(key.encode()) <= 1024


legal_keys = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=200
).filter(lambda key: key.strip("/") and not {".", ".."} & set(key.split("/")))


@given(legal_keys)
def test_every_legal_key_can_be_asked_for(key: str) -> None:
    assert object_key(b"/" + quote(key, safe="/~").encode()) == key


@given(legal_keys)
def test_raw_utf_8_means_what_its_escapes_mean(key: str) -> None:
    assert object_key(b"/" + key.replace("%", "%25").encode()) == key


@pytest.mark.parametrize(
    ("value", "key"),
    [
        pytest.param("a b", "a b", id="key"),
        pytest.param("site/a", "site/a", id="key-is-not-prefixed"),
        pytest.param("a%20b", "a%20b", id="key-is-not-decoded"),
        pytest.param("a?b#c", "a?b#c", id="key-with-delimiters"),
        pytest.param("../a", "../a", id="key-that-no-path-can-name"),
        pytest.param("/a%20b", "site/a b", id="path-is-decoded-and-prefixed"),
        pytest.param("//a", "site//a", id="path-with-two-slashes"),
        pytest.param("/ü", "site/ü", id="path-with-raw-unicode"),
        pytest.param("/a%3Fb", "site/a?b", id="path-with-escaped-question-mark"),
        pytest.param("€" * 341 + "a", "€" * 341 + "a", id="1024-bytes"),
    ],
)
def test_purge_takes_keys_and_url_paths(value: str, key: str) -> None:
    assert key_from_purge(value, "site/") == key


@pytest.mark.parametrize(
    ("value", "status"),
    [
        pytest.param("", 404, id="empty-key"),
        pytest.param("/", 404, id="empty-path"),
        pytest.param("a" * 1025, 414, id="long-key"),
        pytest.param("€" * 342, 414, id="long-key-in-bytes"),
        pytest.param("/" + "a" * 1020, 414, id="long-path-with-prefix"),
        pytest.param("/a/../b", 400, id="dot-segment"),
        pytest.param("/a%zz", 400, id="broken-escape"),
        pytest.param("/a.css?v=2", 400, id="query"),
        pytest.param("/a#b", 400, id="fragment"),
        pytest.param("\ud800", 400, id="lone-surrogate-in-key"),
        pytest.param("/\ud800", 400, id="lone-surrogate-in-path"),
    ],
)
def test_purge_refuses_what_is_no_key(value: str, status: int) -> None:
    with pytest.raises(InvalidTarget) as refused:
        key_from_purge(value, "site/")
    assert refused.value.status == status
