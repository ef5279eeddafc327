"""Runs `manage.py` as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.environment import BASELINE, without_proxy_variables
from tests.served.process import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping


def manage(
    *arguments: str, environ: Mapping[str, str] = BASELINE
) -> subprocess.CompletedProcess[str]:
    """The finished command; `environ` is all that it has of the proxy's variables."""
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env=without_proxy_variables(os.environ) | dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=40,
    )
