from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import ERROR, WARNING, CheckMessage, run_checks
from django.test import override_settings

from s3proxy_site.env import parse, warnings
from s3proxy_site.variables import VARIABLES
from tests.site.cases import BAD, MINIMAL, RULES, WARNINGS

ROOT = Path(__file__).parents[1]


def checked(environ: dict[str, str]) -> list[CheckMessage]:
    config, problems = parse(environ)
    with override_settings(
        S3PROXY=config, S3PROXY_PROBLEMS=problems, S3PROXY_WARNINGS=warnings(environ, config)
    ):
        return run_checks(tags=["s3proxy"])


def manage(*arguments: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_good_environment_has_nothing_to_report() -> None:
    assert checked(MINIMAL) == []


@pytest.mark.parametrize(
    ("name", "identity"), [(variable.name, variable.id) for variable in VARIABLES]
)
def test_each_bad_variable_is_an_error_of_its_id(name: str, identity: str) -> None:
    [found] = checked({**MINIMAL, name: BAD[name][0]})
    assert (found.id, found.level) == (identity, ERROR)
    assert found.msg.startswith(f"{name} is ")
    assert found.hint is not None
    assert found.hint.startswith("Expected ")


@pytest.mark.parametrize("rule", RULES)
def test_each_broken_rule_is_an_error_of_its_id(rule: str) -> None:
    assert {(found.id, found.level) for found in checked(RULES[rule])} == {(rule, ERROR)}


@pytest.mark.parametrize("rule", WARNINGS)
def test_each_oddity_is_a_warning_of_its_id(rule: str) -> None:
    assert [(found.id, found.level) for found in checked(WARNINGS[rule])] == [(rule, WARNING)]


def test_the_command_lists_every_problem_of_a_broken_environment_and_fails() -> None:
    broken = {name: texts[0] for name, texts in BAD.items()}
    broken |= {
        "AUTH_TOKEN": "5ecret with a space",
        "S3_SECRET_KEY": "5ecret with a space",
        "REDIS_URL": "http://:5ecret@valkey",
        "S3_ENDPOINT": "https://key:5ecret@s3.example",
        "S3_PREFIX": "not-utf-8-\udcff",
    }
    done = manage("check", environ=broken)
    assert done.returncode == 1
    assert [variable.id for variable in VARIABLES if variable.id not in done.stderr] == []
    assert "5ecret" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_lists_what_an_empty_environment_lacks() -> None:
    done = manage("check", environ={})
    assert done.returncode == 1
    assert all(f"{name} is not set" in done.stderr for name in MINIMAL)


@pytest.mark.parametrize("arguments", [(), ("--deploy", "--fail-level", "WARNING")])
def test_the_command_accepts_a_good_environment_without_asking_s3(
    arguments: tuple[str, ...],
) -> None:
    done = manage("check", *arguments, environ=MINIMAL)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_reports_a_warning_and_succeeds() -> None:
    done = manage("check", environ=WARNINGS["s3proxy.W002"])
    assert done.returncode == 0
    assert "(s3proxy.W002) CACHE_TLL" in done.stderr
