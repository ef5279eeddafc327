"""Checks what the benchmark asks for."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.client import parse_head, request
from bench.contestants import filled
from bench.errors import BenchError
from bench.hits import zipf
from bench.workloads import workloads

TARGETS = [f"/{n}" for n in range(1000)]


def test_the_draws_are_the_same_in_every_run() -> None:
    assert list(zipf(TARGETS, 100)) == list(zipf(TARGETS, 100))


def test_popularity_falls_with_the_rank_as_zipf_says() -> None:
    counts = Counter(zipf(TARGETS, 200_000))
    assert counts["/0"] / counts["/9"] == pytest.approx(10**0.9, rel=0.15)


def test_workloads_have_names_of_their_own() -> None:
    names = [workload.name for workload in workloads()]
    assert len(names) == len(set(names)) > 10


def test_a_template_is_filled_in() -> None:
    assert '.port = "8123"' in filled("varnish.vcl", origin=8123)


def test_a_template_with_a_value_missing_is_refused() -> None:
    with pytest.raises(BenchError, match=r"varnish\.vcl"):
        filled("varnish.vcl")


def test_a_request_ends_its_head_with_an_empty_line() -> None:
    assert request("/a", {"B": "c"}) == b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\nB: c\r\n\r\n"


def test_a_head_is_read_whatever_the_case_of_its_names() -> None:
    head = parse_head(b"HTTP/1.1 200 OK\r\nContent-LENGTH:  5")
    assert (head.status, head.length) == (200, 5)


def test_a_304_has_no_body_whatever_length_it_names() -> None:
    assert parse_head(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5").length == 0


@pytest.mark.parametrize("head", [b"", b"SSH-2.0", b"HTTP/1.1 OK"])
def test_what_is_no_answer_is_refused(head: bytes) -> None:
    with pytest.raises(BenchError, match="not an answer"):
        parse_head(head)
