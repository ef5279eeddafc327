"""A minute's soak; half an hour's is run by hand with `python -m tests.soak`."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import TYPE_CHECKING

import pytest
import uvloop

from tests.soak.report import RULES, Report
from tests.soak.run import Plan, schedule, soak

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 60
FLEET_SECONDS = 16


@pytest.mark.long
@pytest.mark.timeout(3 * SECONDS + 60)
def test_nothing_is_wrong_under_load_faults_and_signals() -> None:
    plan = Plan(SECONDS, seed=random.randrange(10**6))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(soak(plan, say))
    say(report.table())
    assert report.passed, f"to repeat: python -m tests.soak --minutes 1 --seed {plan.seed}"
    for name in ("SIGKILL of a worker", "SIGHUP", "SIGTERM of the server", "audits"):
        assert report.done.get(name), f"{name} did not happen"
    assert report.answers["200"] > SECONDS * 50


@pytest.mark.long
@pytest.mark.timeout(3 * FLEET_SECONDS + 60)
def test_nothing_is_wrong_with_replicas_and_a_valkey_that_fails() -> None:
    plan = Plan(FLEET_SECONDS, seed=random.randrange(10**6), rate=200, replicas=2)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(soak(plan, say))
    say(report.table())
    assert report.passed, f"to repeat: python -m tests.soak --replicas 2 --seed {plan.seed}"
    for name in ("SIGKILL of Valkey", "SIGTERM of the server", "audits"):
        assert report.done.get(name), f"{name} did not happen"
    assert report.judged_across > 100


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def test_an_hour_has_every_event() -> None:
    assert {name for _, name in schedule(Plan(3600, seed=1))} == {
        "kill", "reload", "audit", "terminate", "destroy"
    }  # fmt: skip


def test_an_hour_of_replicas_has_a_valkey_that_fails_too() -> None:
    assert {name for _, name in schedule(Plan(3600, seed=1, replicas=3))} == {
        "kill", "reload", "audit", "terminate", "destroy", "lose Valkey", "freeze Valkey"
    }  # fmt: skip


def test_one_worker_is_neither_killed_nor_reloaded() -> None:
    assert {name for _, name in schedule(Plan(60, seed=1, workers=1))} == {"audit", "terminate"}


def report(wrong: Mapping[str, int]) -> Report:
    return Report({}, 1.0, {"200": 5}, dict.fromkeys(RULES, 0) | dict(wrong), {}, {}, 0, 0, [], [])


def test_one_wrong_answer_fails_the_report() -> None:
    assert report({}).passed
    failed = report({"purged version": 1})
    assert not failed.passed
    assert failed.table().endswith("FAILED")
    assert json.loads(json.dumps(failed.as_json()))["wrong"]["purged version"] == 1
