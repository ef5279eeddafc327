"""Writes nginx_notes.json, what REDbot says of nginx: ``python -m tests.redbot.record``.

Recorded, not asked in each test run: `make test` needs nothing but Python, and the bar does
not move with the nginx that a distribution happens to have. A test fails when the recording
no longer fits the installed REDbot or the objects, so it cannot go stale unseen. Needs nginx
(Debian's package is nginx-light) and the packages of requirements/test.txt.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.redbot.cases import OBJECTS, PROBES
from tests.redbot.nginx import nginx, nginx_version
from tests.redbot.verdict import VERSIONS, Verdict, judge

RECORDING: Final = Path(__file__).with_name("nginx_notes.json")
COMMAND: Final = "python -m tests.redbot.record"

# What decides on the notes and is the same in every run.
_KEPT_FIELDS: Final = ("Content-Type", "Content-Encoding", "Cache-Control")
_KEPT_LEVELS: Final = ("GOOD", "WARN", "BAD")


def _kept(verdict: Verdict) -> dict[str, Any]:
    told = {name: verdict.field(name) for name in _KEPT_FIELDS}
    return {
        "status": verdict.status,
        "fields": {name: value for name, value in told.items() if value is not None},
        **{level: verdict.named(level) for level in _KEPT_LEVELS},
    }


def main() -> None:
    """Record; exits with a message where nginx is missing or REDbot could not finish."""
    with tempfile.TemporaryDirectory() as folder, nginx(Path(folder), OBJECTS) as origin:
        verdicts = judge(origin, PROBES)
    for probe, verdict in zip(PROBES, verdicts, strict=True):
        if verdict.error is not None:
            raise RuntimeError(f"{probe.name}: {verdict.error}")
    recorded = {
        "recorded by": COMMAND,
        "server": nginx_version(),
        "versions": VERSIONS,
        "answers": {p.name: _kept(v) for p, v in zip(PROBES, verdicts, strict=True)},
    }
    RECORDING.write_text(json.dumps(recorded, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(str(error))
