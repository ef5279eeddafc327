"""What holds for any input, for some thousand inputs."""

# ruff: noqa: E501 - tables, an entry a line

from __future__ import annotations

import asyncio
import logging
import time
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import grammar
from tests.fuzz.doors import Doors
from tests.fuzz.parsers import PARSERS
from tests.fuzz.wire import MalformedError, Wire, answers_of, difference

if TYPE_CHECKING:
    from collections.abc import Iterator

# An input of a few KiB takes a millisecond; a hundred times that would be an attack.
LONGEST = 0.5
KEPT = grammar.kept()


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    logger = logging.getLogger("s3proxy.access")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    with asyncio.Runner() as running:
        yield running
    logger.setLevel(level)


@pytest.fixture(scope="module")
def wire() -> Wire:
    return Wire()


@pytest.fixture(scope="module")
def doors(runner: asyncio.Runner) -> Doors:
    return Doors(runner.get_loop())


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept_is_answered_alike_in_every_split(
    runner: asyncio.Runner, wire: Wire, name: str
) -> None:
    whole = runner.run(wire.converse([KEPT[name]]))
    for at in range(1, min(len(KEPT[name]), 300)):
        parts = runner.run(wire.converse([KEPT[name][:at], KEPT[name][at:]]))
        assert difference(whole, parts) is None


@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(random=st.randoms(use_true_random=False))
def test_connections_are_answered_strictly_and_alike_in_every_split(
    runner: asyncio.Runner, wire: Wire, random: Random
) -> None:
    sent = grammar.connection(random, list(KEPT.values()))
    began = time.process_time()
    whole = runner.run(wire.converse([sent]))
    parts = runner.run(wire.converse(grammar.cuts(random, sent)))
    assert time.process_time() - began < LONGEST
    assert difference(whole, parts) is None, sent


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept_is_answered_alike_by_both_protocols(
    runner: asyncio.Runner, doors: Doors, name: str
) -> None:
    random = Random(name)
    for _ in range(5):
        assert runner.run(doors.difference(random, KEPT[name])) is None


def test_hits_are_answered_by_the_fast_one_itself(runner: asyncio.Runner, doors: Doors) -> None:
    # Else comparing the two would show nothing.
    before = doors.plain.passed_on, doors.fast.passed_on
    assert runner.run(doors.difference(Random(1), KEPT["plain-get"] * 2)) is None
    assert (doors.plain.passed_on, doors.fast.passed_on) == (before[0] + 2, before[1])


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(random=st.randoms(use_true_random=False))
def test_both_protocols_answer_alike(runner: asyncio.Runner, doors: Doors, random: Random) -> None:
    sent = grammar.visit(random, list(KEPT.values()))
    assert runner.run(doors.difference(random, sent)) is None, sent


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=300, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_a_parser_takes_anything(name: str, random: Random) -> None:
    value = grammar.value(random)
    began = time.process_time()
    PARSERS[name](value)
    assert time.process_time() - began < LONGEST


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize(
    "unit", [",", '"', "\\", " ", "\t", "a,", '"\\"', "0", "%", "%41", "/", "=", "-", ";"]
)
def test_a_parser_takes_a_long_input_in_no_time(name: str, unit: str) -> None:
    began = time.process_time()
    PARSERS[name](unit * (32 * 1024 // len(unit)))
    assert time.process_time() - began < LONGEST


@pytest.mark.parametrize(
    "written",
    [
        b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" * 2, b"HTTP/1.1 200 OK\r\nx\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
    ],
)  # fmt: skip
def test_the_judge_is_strict(written: bytes) -> None:
    with pytest.raises(MalformedError):
        answers_of(written, ["GET"])
