"""Checks that objects put into memory are what the gateway would have put there."""

from __future__ import annotations

from bench.prefilled import response
from proxy.core.decision import Hit, decide
from proxy.core.messages import Request

NOW = 1_000_000.0


def test_a_prefilled_response_is_a_hit() -> None:
    stored = response(7, 256, NOW)
    assert isinstance(decide(Request("GET", "prefilled/entry-7"), stored, NOW), Hit)


def test_its_body_has_the_size_asked_for_and_tells_its_number() -> None:
    body = response(7, 256, NOW).body
    assert body is not None
    assert (len(body), int(body)) == (256, 7)


def test_no_two_share_bytes_or_entity_tag() -> None:
    one, other = response(1, 256, NOW), response(2, 256, NOW)
    assert one.etag != other.etag
    assert not {id(value) for _, value in one.fields} & {id(value) for _, value in other.fields}
