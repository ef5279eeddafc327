"""What REDbot says of an answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from tests.environment import without_proxy_variables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.redbot.cases import Probe

ROOT: Final = Path(__file__).resolve().parents[2]
# REDbot takes most of its notes from httplint.
VERSIONS: Final = {name: version(name) for name in ("redbot", "httplint")}
# In all; each probe has a limit of its own (tests.redbot.bot).
_LIMIT_SECONDS: Final = 50.0


@dataclass(frozen=True, slots=True)
class Note:
    """One finding; the level is GOOD, INFO, WARN or BAD."""

    name: str
    level: str
    category: str
    subject: str
    summary: str

    def __str__(self) -> str:
        return f"{self.level:<4}  {self.name}: {self.summary}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a probe and the notes on it; an error where REDbot could not finish."""

    status: int | None
    fields: tuple[tuple[str, str], ...]
    notes: tuple[Note, ...]
    error: str | None

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls(
            status=value["status"],
            fields=tuple((name, text) for name, text in value["fields"]),
            notes=tuple(Note(**note) for note in value["notes"]),
            error=value["error"],
        )

    def field(self, name: str) -> str | None:
        """The first value of a field of the answer, without surrounding whitespace."""
        values = (text.strip() for known, text in self.fields if known.lower() == name.lower())
        return next(values, None)

    def named(self, level: str) -> list[str]:
        """The names of the notes of one level, sorted; one that is there twice counts twice."""
        return sorted(note.name for note in self.notes if note.level == level)


def judge(origin: str, probes: Sequence[Probe]) -> list[Verdict]:
    """REDbot's verdicts on the answers of the server at ``origin``, in the order of the probes.

    Raises RuntimeError with REDbot's output if it fails, and after 50 seconds.
    """
    asked = [(origin + probe.path, probe.fields) for probe in probes]
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "tests.redbot.bot"],
            cwd=ROOT,
            env=without_proxy_variables(os.environ),
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=_LIMIT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"REDbot was not done after {_LIMIT_SECONDS:.0f} s") from error
    if finished.returncode != 0:
        raise RuntimeError(f"REDbot ended with {finished.returncode}:\n{finished.stderr}")
    return [Verdict.from_json(value) for value in json.loads(finished.stdout)]
