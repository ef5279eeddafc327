"""What surrounds the code: container image, hosting, lock files, licence, make targets."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from s3proxy_site import notation
from s3proxy_site.variables import VARIABLES

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("base", "demo", "test", "dev")


@cache
def dockerfile() -> tuple[tuple[str, str], ...]:
    """The instructions of the Dockerfile in order: name, arguments."""
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    split = (line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))
    return tuple((name, " ".join(rest.split())) for name, rest in split)


def final_stage() -> dict[str, list[str]]:
    """The arguments by instruction of what follows the last FROM."""
    last = max(i for i, (name, _) in enumerate(dockerfile()) if name == "FROM")
    stage: dict[str, list[str]] = {}
    for name, arguments in dockerfile()[last:]:
        stage.setdefault(name, []).append(arguments)
    return stage


def copied_from_context() -> list[str]:
    return [
        source.rstrip("/")
        for name, arguments in dockerfile()
        if name == "COPY" and "--from" not in arguments
        for source in arguments.split()[:-1]
    ]


def exec_form(arguments: str) -> list[str]:
    """The words of a CMD; fails for the shell form, where a shell would get the signals."""
    words = json.loads(arguments)
    assert isinstance(words, list)
    return [str(word) for word in words]


def pins(layer: str) -> dict[str, str]:
    """Version by package of a lock file."""
    text = (ROOT / "requirements" / f"{layer}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


def inputs(layer: str) -> list[str]:
    """The lines of an input that are neither empty nor a comment alone."""
    lines = (ROOT / "requirements" / f"{layer}.in").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def railway() -> dict[str, Any]:
    return dict(json.loads((ROOT / "railway.json").read_text()))


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # Of a make that runs these tests nothing is inherited.
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAKE", "MFLAGS")) and name not in {"VENV", "PYTHON", "ARGS"}
    }
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=30
    )


def test_whatever_the_image_copies_is_there_and_not_ignored() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignore
    for source in copied_from_context():
        assert (ROOT / source).exists()
        assert f"!{source}" in ignore, source


def test_the_image_copies_every_package_the_proxy_is_made_of() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert packages | {"manage.py", "requirements/base.txt"} == set(copied_from_context())


def test_the_image_installs_hashed_wheels_alone() -> None:
    (install,) = (line for name, line in dockerfile() if "pip install" in line and name == "RUN")
    for option in ("--require-hashes", "--only-binary :all:", "--no-cache-dir"):
        assert option in install


def test_the_final_stage_installs_no_packages() -> None:
    assert not [line for line in final_stage()["RUN"] if "pip" in line or "apt" in line]


def test_the_image_does_not_run_as_root() -> None:
    (user,) = final_stage()["USER"]
    uid, gid = user.split(":")
    (creation,) = final_stage()["RUN"]
    assert int(uid) > 0
    assert f"--uid {uid} " in creation
    assert f"groupadd --system --gid {gid} " in creation


def test_the_image_starts_the_server_without_a_shell() -> None:
    (command,) = final_stage()["CMD"]
    assert exec_form(command) == ["python", "manage.py", "serve"]
    assert final_stage()["STOPSIGNAL"] == ["SIGTERM"]


def test_the_images_health_check_asks_our_command() -> None:
    (check,) = final_stage()["HEALTHCHECK"]
    options, _, command = check.partition(" CMD ")
    assert exec_form(command) == ["python", "manage.py", "healthcheck"]
    assert "--timeout=5s" in options


@pytest.mark.parametrize("command", ["serve", "healthcheck", "demo"])
def test_the_commands_named_here_exist(command: str) -> None:
    assert command in get_commands()


def test_the_image_exposes_the_default_port() -> None:
    (default,) = (variable.default for variable in VARIABLES if variable.name == "PORT")
    assert final_stage()["EXPOSE"] == [default]


def test_the_image_runs_a_python_that_the_project_supports() -> None:
    supported = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    images = {arguments.split()[0] for name, arguments in dockerfile() if name == "FROM"}
    (image,) = images
    version = re.fullmatch(r"python:(3\.\d+)-slim", image)
    assert version
    assert Requirement(f"python{supported}").specifier.contains(version[1])


def test_hadolint_has_nothing_to_say_or_to_ignore() -> None:
    assert "hadolint" not in (ROOT / "Dockerfile").read_text()
    assert not list(ROOT.glob(".hadolint.y*ml"))


def test_railway_builds_the_image_and_asks_for_its_health() -> None:
    assert railway()["build"] == {"builder": "DOCKERFILE", "dockerfilePath": "Dockerfile"}
    deploy = railway()["deploy"]
    assert deploy["healthcheckPath"] == "/healthz"
    assert shlex.split(deploy["startCommand"]) == exec_form(final_stage()["CMD"][0])
    assert deploy["restartPolicyType"] in {"ALWAYS", "ON_FAILURE"}


def test_railway_waits_longer_than_the_server_drains() -> None:
    """A number, not a string: Railway refuses the file otherwise."""
    draining = railway()["deploy"]["drainingSeconds"]
    (default,) = (row.default for row in VARIABLES if row.name == "DRAIN_TIMEOUT")
    assert isinstance(draining, int)
    assert default is not None
    assert draining > notation.duration(default)


@pytest.mark.parametrize("layer", LAYERS)
def test_each_locked_version_has_hashes(layer: str) -> None:
    text = (ROOT / "requirements" / f"{layer}.txt").read_text()
    entries = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(pins(layer)) > 5
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text


@pytest.mark.parametrize("layer", LAYERS)
def test_each_requirement_is_locked_within_its_range(layer: str) -> None:
    locked = pins(layer)
    for line in inputs(layer):
        if line.startswith("-"):
            continue
        wanted = Requirement(line.partition("#")[0])
        assert wanted.specifier.contains(locked[canonicalize_name(wanted.name)]), line


@pytest.mark.parametrize("layer", LAYERS)
def test_each_requirement_says_why_it_is_there(layer: str) -> None:
    reasons = [line.partition("#")[2].strip() for line in inputs(layer) if line[0] != "-"]
    assert all(len(reason.split()) > 1 for reason in reasons)


@pytest.mark.parametrize(("lower", "upper"), [("base", "demo"), ("demo", "test"), ("test", "dev")])
def test_tests_run_with_the_versions_that_are_deployed(lower: str, upper: str) -> None:
    assert pins(lower).items() <= pins(upper).items()


def test_the_image_has_no_package_that_only_tests_or_the_demo_need() -> None:
    assert not pins("base").keys() & {"moto", "flask", "pytest", "mypy", "setuptools"}


def test_every_third_party_import_of_the_proxy_is_a_declared_requirement() -> None:
    """Not one that is there only because another package needs it."""
    provided = {
        canonicalize_name(Requirement(line.partition("#")[0]).name)
        for layer in ("base", "demo")
        for line in inputs(layer)
        if line[0] != "-"
    }
    renamed = {"pythonjsonlogger": "python-json-logger", "storages": "django-storages"}
    # What a declared package hands out as part of its own interface.
    brought_along = {"botocore", "mypy_boto3_s3", "yarl", "prometheus_client", "asgiref"}
    ours = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    imported = {
        name
        for package in ours - {"tests", "bench"}
        for path in (ROOT / package).rglob("*.py")
        for name in _imports(path)
    }
    foreign = imported - _standard_library() - ours - brought_along
    assert {canonicalize_name(renamed.get(name, name)) for name in foreign} <= provided


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def _standard_library() -> frozenset[str]:
    return frozenset(sys.stdlib_module_names)


def test_the_licence_is_mit() -> None:
    text = (ROOT / "LICENSE").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert text.startswith("MIT License\n")
    assert "s3proxy contributors" in text
    assert project["license"] == "MIT"


@pytest.mark.parametrize(
    "page",
    [
        *("README.md", "CHANGELOG.md", "docs/architecture.md", "docs/deploying.md", "docs/http.md"),
        "docs/performance.md",
    ],
)
def test_no_page_has_a_gap_left_to_fill(page: str) -> None:
    assert re.findall(r"@[A-Z]+@|TODO|FIXME|XXX", (ROOT / page).read_text()) == []


def test_a_python_without_django_is_told_which_to_take() -> None:
    bare = subprocess.run(
        [sys.executable, "-S", "manage.py", "check"],
        cwd=ROOT,
        env={},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert bare.returncode == 1
    assert ".venv/bin/python manage.py" in bare.stderr
    assert "Traceback" not in bare.stderr


def test_make_alone_lists_the_targets() -> None:
    listed = make().stdout
    for target in ("demo", "test", "check", "lint", "bench", "lock", "audit", "sbom", "clean"):
        assert f"make {target} " in listed


def test_what_is_shipped_is_what_is_audited_and_listed(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pip").touch()
    (tmp_path / ".installed-dev").touch()
    for target, tool in (("audit", "pip-audit"), ("sbom", "cyclonedx-py")):
        told = make("--dry-run", target, f"VENV={tmp_path}").stdout
        assert f"{tmp_path}/bin/{tool} " in told
        assert "requirements/base.txt" in told
    assert {"pip-audit", "cyclonedx-bom"} <= set(pins("dev"))
    assert "requirements/base.txt" in (ROOT / "Dockerfile").read_text()


def test_make_refuses_a_python_that_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.10.4\nexit 1\n')
    old.chmod(0o755)
    result = make("test", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert result.returncode != 0
    assert "needs Python 3.11 or newer" in result.stderr
    assert "Python 3.10.4" in result.stderr


def test_make_says_when_there_is_no_python(tmp_path: Path) -> None:
    result = make("demo", f"PYTHON={tmp_path / 'none'}", f"VENV={tmp_path / 'venv'}")
    assert result.returncode != 0
    assert "not found: install Python 3.11 or newer" in result.stderr


def test_make_installs_again_only_when_a_lock_file_changed(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pip").touch()
    stamp = tmp_path / ".installed-test"
    stamp.touch()
    command = ("--dry-run", "test", f"VENV={tmp_path}")
    assert "pip install" not in make(*command).stdout
    os.utime(stamp, (0, 0))
    assert "pip install" in make(*command).stdout
