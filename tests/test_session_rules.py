"""Checks the rules under which the tests themselves run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.conf import config
from tests import environment

ROOT = Path(__file__).resolve().parent.parent


def run_pytest(folder: Path, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A session of its own with the rule against skips."""
    (folder / "test_sample.py").write_text(f"import pytest\n{code}\n")
    environ = {name: value for name, value in os.environ.items() if name != "CI"}
    environ.pop("S3PROXY_NO_SKIPS", None)
    environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.no_skips", "-p", "no:cacheprovider",
         "--rootdir", str(folder), "-c", os.devnull, str(folder)],
        cwd=ROOT, env=environ | variables, capture_output=True, text=True, timeout=30,
    )  # fmt: skip


SKIPPING = "def test_one(): pass\n@pytest.mark.skip\ndef test_two(): pass"


@pytest.mark.parametrize("variables", [{"CI": "true"}, {"S3PROXY_NO_SKIPS": "1"}])
def test_a_skipped_test_fails_a_session_that_must_be_whole(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    session = run_pytest(tmp_path, SKIPPING, **variables)
    assert session.returncode == 1
    assert "skipped tests fail this session" in session.stdout
    assert "test_sample.py::test_two" in session.stdout


def test_a_skipped_module_fails_it_too(tmp_path: Path) -> None:
    session = run_pytest(tmp_path, "pytest.importorskip('no_such_module')", CI="true")
    assert session.returncode == 1
    assert "test_sample.py" in session.stdout.partition("skipped tests fail")[2]


def test_a_skipped_test_is_fine_elsewhere(tmp_path: Path) -> None:
    assert run_pytest(tmp_path, SKIPPING).returncode == 0


def test_a_whole_session_passes(tmp_path: Path) -> None:
    assert run_pytest(tmp_path, "def test_one(): pass", CI="true").returncode == 0


def test_the_settings_are_those_of_the_baseline() -> None:
    assert environment.BASELINE.items() <= os.environ.items()
    assert config().s3_bucket == environment.BASELINE["S3_BUCKET"]


def test_the_baseline_replaces_what_a_shell_carries() -> None:
    shell = {
        "PATH": "/bin",
        "S3_BUCKET": "theirs",
        "CACHE_TTL": "1s",
        "AWS_PROFILE": "work",
        "https_proxy": "http://proxy",
    }
    environment.apply(shell)
    assert shell == {"PATH": "/bin"} | dict(environment.BASELINE)
