"""Signals as the parent of the workers receives them, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

_OPEN = """
import os, select, signal
from proxy.server.signals import Signals
signals = Signals()
signals.open()
def received(seconds):
    ready, _, _ = select.select([signals.reader], [], [], seconds)
    return list(signals.receive()) if ready else []
"""


def said_by(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _OPEN + program], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGCHLD"])
def test_a_signal_is_received_as_its_number(name: str) -> None:
    program = f"os.kill(os.getpid(), signal.{name})\nprint(received(10) == [signal.{name}])\n"
    assert said_by(program) == "True"


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGUSR2"])
def test_a_signal_that_means_nothing_is_not_received(name: str) -> None:
    assert said_by(f"os.kill(os.getpid(), signal.{name})\nprint(received(0.1))\n") == "[]"


def test_a_child_wakes_its_parent() -> None:
    program = """
if os.fork() == 0:
    signals.leave()
    signals.wake()
    os._exit(0)
came = []
while not {0, signal.SIGCHLD} <= set(came):
    came += received(10) or [0, signal.SIGCHLD, None]
print(sorted(came) == [0, signal.SIGCHLD])
"""
    assert said_by(program) == "True"


def test_what_a_child_is_sent_its_parent_does_not_receive() -> None:
    program = """
started, went_on = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    signals.leave()
    os.write(started[1], b"1")
    os.read(went_on[0], 1)
    os._exit(0)
os.read(started[0], 1)
os.kill(child, signal.SIGHUP)
os.write(went_on[1], b"1")
os.waitpid(child, 0)
print(received(10) == [signal.SIGCHLD])
"""
    assert said_by(program) == "True"
