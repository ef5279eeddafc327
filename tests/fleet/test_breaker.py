"""The circuit breaker before Redis."""

from __future__ import annotations

from proxy.fleet.breaker import (
    FIRST_REST_SECONDS,
    LONGEST_REST_SECONDS,
    SLOW_IN_A_ROW,
    Breaker,
    State,
)


class Subject:
    def __init__(self) -> None:
        self.now = 100.0
        self.changes: list[tuple[State, str]] = []
        self.breaker = Breaker(
            lambda state, reason: self.changes.append((state, reason)),
            clock=lambda: self.now,
            wall_clock=lambda: 1e9 + self.now,
            jitter=lambda: 1.0,
        )

    def rest(self) -> float:
        """Seconds until a call is allowed, to an eighth."""
        began = self.now
        while not self.breaker.allows():
            self.now += 0.125
        return self.now - began


def test_it_begins_closed() -> None:
    assert Subject().breaker.allows()


def test_a_failure_lets_redis_rest_for_a_second() -> None:
    subject = Subject()
    subject.breaker.failed("gone")
    assert not subject.breaker.allows()
    assert subject.rest() == FIRST_REST_SECONDS


def test_the_rest_grows_to_its_bound() -> None:
    subject, rests = Subject(), []
    for _ in range(6):
        subject.breaker.failed("gone")
        rests.append(subject.rest())
    assert rests == [1.0, 2.0, 4.0, 8.0, LONGEST_REST_SECONDS, LONGEST_REST_SECONDS]


def test_one_probe_goes_through_at_a_time() -> None:
    subject = Subject()
    subject.breaker.failed("gone")
    subject.rest()
    assert subject.breaker.state is State.HALF_OPEN
    assert not subject.breaker.allows()


def test_a_probe_that_was_answered_closes_it() -> None:
    subject = Subject()
    subject.breaker.failed("gone")
    subject.rest()
    subject.breaker.succeeded()
    assert subject.breaker.allows()
    assert subject.breaker.failing_since is None
    subject.breaker.failed("gone again")
    assert subject.rest() == FIRST_REST_SECONDS


def test_a_probe_that_was_given_up_lets_the_next_one_probe() -> None:
    subject = Subject()
    subject.breaker.failed("gone")
    subject.rest()
    subject.breaker.abandoned()
    assert subject.breaker.allows()
    assert not subject.breaker.allows()


def test_jitter_halves_a_rest_at_most() -> None:
    breaker = Breaker(clock=lambda: now[0], jitter=lambda: 0.0)
    now = [0.0]
    breaker.failed("gone")
    now[0] = FIRST_REST_SECONDS / 2 - 0.01
    assert not breaker.allows()
    now[0] = FIRST_REST_SECONDS / 2
    assert breaker.allows()


def test_what_was_begun_before_it_opened_changes_nothing() -> None:
    subject = Subject()
    subject.breaker.failed("gone")
    subject.breaker.failed("gone")
    subject.breaker.succeeded()
    assert subject.breaker.state is State.OPEN
    assert subject.rest() == FIRST_REST_SECONDS


def test_slow_answers_in_a_row_open_it() -> None:
    subject = Subject()
    for slow in [True] * (SLOW_IN_A_ROW - 1) + [False] + [True] * (SLOW_IN_A_ROW - 1):
        subject.breaker.succeeded(slow=slow)
    assert subject.breaker.allows()
    subject.breaker.succeeded(slow=True)
    assert not subject.breaker.allows()


def test_each_change_is_told_once_with_its_reason() -> None:
    subject = Subject()
    for _ in range(3):
        subject.breaker.failed("gone")
    subject.rest()
    subject.breaker.succeeded()
    subject.breaker.succeeded()
    assert subject.changes == [
        (State.OPEN, "gone"),
        (State.HALF_OPEN, "the rest is over"),
        (State.CLOSED, "answered again"),
    ]


def test_it_knows_since_when_calls_fail() -> None:
    subject = Subject()
    subject.breaker.failed("gone")
    subject.rest()
    subject.breaker.failed("gone")
    assert subject.breaker.failing_since == 1e9 + 100.0
