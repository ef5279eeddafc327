"""Keeps REDbot's notes in build/redbot, for people to read after a test run."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from tests.redbot.verdict import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.redbot.verdict import Verdict

FOLDER: Final = ROOT / "build" / "redbot"


def keep(verdicts: Mapping[str, Verdict]) -> None:
    """Write notes.json, everything, and notes.txt, the same as REDbot's command would tell it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    everything = {name: asdict(verdict) for name, verdict in verdicts.items()}
    (FOLDER / "notes.json").write_text(json.dumps(everything, indent=2, ensure_ascii=False) + "\n")
    told = (_told(name, verdict) for name, verdict in verdicts.items())
    (FOLDER / "notes.txt").write_text("\n".join(told))


def _told(name: str, verdict: Verdict) -> str:
    fields = (f"  {field}: {value.strip()}" for field, value in verdict.fields)
    notes = (f"    {note}" for note in verdict.notes)
    failed = () if verdict.error is None else (f"  REDbot could not finish: {verdict.error}",)
    return "\n".join((f"{name}: {verdict.status}", *fields, *notes, *failed, ""))
