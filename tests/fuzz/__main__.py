"""Fuzzes for as long as it is told: `python -m tests.fuzz --inputs 1000000 --seed 1`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import sys
import time
from pathlib import Path

import django

from tests import environment

# Shares of the inputs: to both protocols, some times each; to one, each twice. The rest goes to
# the parsers.
_OF_DOORS, _OF_CONNECTIONS = 0.08, 0.42
_LONGEST_SECONDS = 0.5
_REPORTED = 10_000


def main() -> int:
    """Exits with 1 at the first input that breaks a property, which is then in found.bin."""
    arguments = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    arguments.add_argument("--inputs", type=int, default=100_000)
    arguments.add_argument("--seed", type=int, default=None)
    asked = arguments.parse_args()
    seed = random.randrange(2**32) if asked.seed is None else asked.seed
    environment.apply(os.environ)
    os.environ["DJANGO_SETTINGS_MODULE"] = "s3proxy_site.settings"
    django.setup()
    logging.disable(logging.CRITICAL)
    with asyncio.Runner() as runner:
        return _fuzz(runner, asked.inputs, seed)


def _fuzz(runner: asyncio.Runner, inputs: int, seed: int) -> int:
    from tests.fuzz import grammar
    from tests.fuzz.doors import Doors
    from tests.fuzz.parsers import PARSERS
    from tests.fuzz.wire import Wire, difference

    source, wire, doors = random.Random(seed), Wire(), Doors(runner.get_loop())
    corpus = list(grammar.kept().values())
    began = time.monotonic()
    slowest, parsers, sent = 0.0, list(PARSERS.values()), b""
    for number in range(1, inputs + 1):
        started = time.process_time()
        try:
            kind = source.random()
            if kind < _OF_DOORS:
                sent = grammar.visit(source, corpus)
                found = runner.run(doors.difference(source, sent))
            elif kind < _OF_DOORS + _OF_CONNECTIONS:
                sent = grammar.connection(source, corpus)
                whole = runner.run(wire.converse([sent]))
                parts = runner.run(wire.converse(grammar.cuts(source, sent)))
                found = difference(whole, parts)
            else:
                parse = source.choice(parsers)
                value = grammar.value(source)
                sent, found = value.encode("latin-1"), None
                parse(value)
        except Exception as error:  # noqa: BLE001 - any is a finding
            found = repr(error)
        took = time.process_time() - started
        slowest = max(slowest, took)
        if found is None and took > _LONGEST_SECONDS:
            found = f"took {took:.1f} s"
        if found is not None:
            Path("found.bin").write_bytes(sent)
            print(f"seed {seed}, input {number}, {sent!r}:\n{found}")  # noqa: T201
            return 1
        if number % _REPORTED == 0 or number == inputs:
            seconds = time.monotonic() - began
            told = f"{number} inputs in {seconds:.0f} s, slowest {slowest * 1000:.0f} ms"
            print(told, flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
