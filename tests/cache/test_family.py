"""Forked processes at one cache: nothing torn, nothing lost, nobody held up by the dead."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def scenario(name: str) -> dict[str, Any]:
    """Run in a process of its own: it forks, which a process with threads should not."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.cache.family", name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=55,
    )
    assert run.returncode == 0, run.stderr
    report: dict[str, Any] = json.loads(run.stdout)
    return report


def test_four_processes_see_whole_values_and_lose_no_count() -> None:
    report = scenario("together")
    assert report.pop("found") > 0
    # Of bodies looked for where they had been, some were there and whole, others were not.
    assert report.pop("read") > 1000
    assert report.pop("gone") > 1000
    assert report == {"counted": 10_000, "added": 50, "resets": 0}


def test_processes_killed_at_any_moment_harm_nobody() -> None:
    report = scenario("killed")
    # Many of them held the lock.
    assert report["resets"] > 20
    assert (report["pinned"], report["taken"]) == (0, 0)


def test_a_process_killed_while_it_stores_a_large_body_leaves_its_room() -> None:
    assert 16_000_000 < scenario("in_put")["taken"] < 17_000_000


def test_what_is_read_without_the_lock_is_of_one_moment() -> None:
    report = scenario("changed")
    assert report["told"] > 50
    assert report["untold"] > 0
    assert report["torn"] == 0


@pytest.mark.parametrize("how", ["purged", "purged_unlocked"])
@pytest.mark.parametrize("_again", range(3))
def test_what_one_process_removes_no_other_gives_out(_again: int, how: str) -> None:
    assert scenario(how)["seen"] == "aa-bb-cc-dd-eeffgghh"
