"""Runs a soak by hand: `python -m tests.soak --minutes 30`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import sys
from pathlib import Path

import uvloop

from tests.soak.run import Plan, soak

_REPORT = Path("build/soak.json")


def main() -> int:
    """0 if every count is as it must be, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--workers", type=int, default=2, help="1: without kills and reloads")
    parser.add_argument("--replicas", type=int, default=1, help="more than 1: with a Valkey")
    parser.add_argument("--rate", type=float, default=400, help="requests a second")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--no-faults", action="store_true", help="an origin that is always well")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    plan = Plan(
        options.minutes * 60,
        options.seed,
        options.workers,
        options.rate,
        options.clients,
        faults=not options.no_faults,
        replicas=options.replicas,
    )
    _say(f"seed {plan.seed}: {plan}")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(soak(plan, _say))
    _REPORT.parent.mkdir(exist_ok=True)
    _REPORT.write_text(json.dumps(report.as_json(), indent=1))
    _say(report.table())
    return 0 if report.passed else 1


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
