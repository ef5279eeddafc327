"""docs/deploying.md says what the code, railway.json and .env.example say."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from pathlib import Path

import pytest
from django.core.management import get_commands

from s3proxy_site import notation
from s3proxy_site.env import parse
from s3proxy_site.variables import VARIABLES
from tests.site.cases import MINIMAL

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "deploying.md"
NAMES = {variable.name for variable in VARIABLES}


def unit() -> configparser.SectionProxy:
    """The [Service] section of the systemd unit."""
    (text,) = re.findall(r"```ini\n(\[Unit\].*?)```", PAGE.read_text(), re.DOTALL)
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser["Service"]


def assignments() -> list[tuple[str, str]]:
    """Variables that the page sets, outside the unit."""
    return re.findall(r"^([A-Z0-9_]+)=(.*)$", PAGE.read_text(), re.MULTILINE)


def test_systemd_waits_longer_than_the_server_drains() -> None:
    (default,) = (row.default for row in VARIABLES if row.name == "DRAIN_TIMEOUT")
    assert default is not None
    assert int(unit()["TimeoutStopSec"]) > notation.duration(default)


def test_systemd_tells_the_parent_alone() -> None:
    assert unit()["KillMode"] == "mixed"
    assert unit()["ExecReload"].endswith("/kill -HUP $MAINPID")


def test_the_variables_that_are_set_exist_and_their_values_are_right() -> None:
    found = assignments()
    assert {name for name, _ in found} <= NAMES
    assert {"S3_ENDPOINT", "S3_SECRET_KEY", "TRUSTED_PROXIES"} <= {name for name, _ in found}
    told = {name: value for name, value in found if not value.startswith(("$", "…"))}
    config, problems = parse(MINIMAL | told)
    assert config is not None, problems


def test_the_commands_that_are_named_exist() -> None:
    named = set(re.findall(r"manage\.py ([a-z_]+)", PAGE.read_text()))
    assert {"serve", "doctor"} <= named <= set(get_commands())


def test_the_pre_deploy_command_is_what_railway_takes() -> None:
    """An array: as a string it is not run."""
    (line,) = re.findall(r"`(\"preDeployCommand\": .*?)`", PAGE.read_text())
    (command,) = json.loads(f"{{{line}}}")["preDeployCommand"]
    assert shlex.split(command) == ["python", "manage.py", "doctor"]


@pytest.mark.parametrize("page", ["README.md", "bench/README.md", "SECURITY.md", "docs"])
def test_links_lead_somewhere(page: str) -> None:
    place = ROOT / page
    for file in sorted(place.glob("*.md")) if place.is_dir() else [place]:
        for target in re.findall(r"\]\(([^)#\s]*)(?:#[^)]*)?\)", file.read_text()):
            if target and "://" not in target:
                assert (file.parent / target).exists(), f"{file.name}: {target}"
