"""`.env.example` has every variable, in a form that all its readers take."""

from __future__ import annotations

import re
from pathlib import Path

from s3proxy_site.env import Config, parse
from s3proxy_site.variables import VARIABLES
from tests.site.cases import MINIMAL

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / ".env.example"


def assignments(text: str) -> dict[str, str]:
    """Values by name; fails where two lines have the same name."""
    pairs = re.findall(r"^([A-Z0-9_]+)=(.*)$", text, re.MULTILINE)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def as_shipped() -> dict[str, str]:
    return assignments(EXAMPLE.read_text())


def with_comments_removed() -> dict[str, str]:
    """As if every variable were set."""
    return assignments(re.sub(r"^#(?! |$)", "", EXAMPLE.read_text(), flags=re.MULTILINE))


def parsed(environ: dict[str, str]) -> Config:
    config, problems = parse(environ)
    assert config is not None, problems
    return config


def test_every_variable_is_there_and_nothing_else() -> None:
    assert set(with_comments_removed()) == {variable.name for variable in VARIABLES}


def test_what_must_be_set_is_what_is_not_commented_out() -> None:
    assert set(as_shipped()) == set(MINIMAL)


def test_what_is_left_to_fill_in_is_reported_as_missing() -> None:
    """A token that is not the operator's own would let anybody in."""
    config, problems = parse(as_shipped())
    assert config is None
    empty = {name for name, value in as_shipped().items() if not value}
    assert {"AUTH_TOKEN", "S3_ACCESS_KEY", "S3_SECRET_KEY"} <= empty
    assert {problem.variable for problem in problems if problem.missing} == empty
    assert len(problems) == len(empty)


def test_the_values_are_the_defaults() -> None:
    assert parsed(with_comments_removed() | MINIMAL) == parsed(MINIMAL)
    unset = {name for name, value in with_comments_removed().items() if not value}
    defaults = {row.name for row in VARIABLES if row.default is not None}
    assert unset & defaults == {"WEB_CONCURRENCY"}


def test_every_line_means_the_same_to_a_shell_to_systemd_and_to_docker() -> None:
    """No quotes, spaces, backslashes or dollars, no comment behind a value."""
    for line in EXAMPLE.read_text().splitlines():
        assert re.fullmatch(r"(#( .*)?)?|#?[A-Z0-9_]+=[A-Za-z0-9:/.-]*", line), line


def test_what_is_filled_in_is_neither_for_git_nor_for_the_image() -> None:
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    # Everything that is not named there.
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert not [line for line in ignored if line.startswith("!.env")]
