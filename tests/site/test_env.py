from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3proxy_site import env
from s3proxy_site.cores import usable_cores
from s3proxy_site.env import Config, Problem, parse
from s3proxy_site.variables import VARIABLES
from tests.site.cases import BAD, GOOD, MINIMAL, RULES, WARNINGS

NAMES = [variable.name for variable in VARIABLES]
IDS = {variable.name: variable.id for variable in VARIABLES}
SECRETS = {
    "AUTH_TOKEN": "5ecret-one with a space",
    "S3_ACCESS_KEY": "5ecret-two with a space",
    "S3_SECRET_KEY": "5ecret-three with a space",
    "S3_SESSION_TOKEN": "5ecret-four with a space",
    "REDIS_URL": "redis://user:5ecret-five@host with a space",
    "S3_ENDPOINT": "https://user:5ecret-six@host",
}


def accepted(environ: dict[str, str]) -> Config:
    config, problems = parse(environ)
    assert not problems
    assert config is not None
    return config


def refused(environ: dict[str, str]) -> list[Problem]:
    config, problems = parse(environ)
    assert config is None
    assert problems
    return problems


def test_an_environment_of_the_required_variables_gives_every_default() -> None:
    assert accepted(MINIMAL) == Config(
        auth_token="a-long-enough-admin-token",
        s3_endpoint="http://127.0.0.1:9",
        s3_bucket="assets",
        s3_access_key="AKIDEXAMPLE",
        s3_secret_key="wJalrXUtnFEMI-EXAMPLE",
        s3_session_token=None,
        s3_credentials="static",
        s3_region="auto",
        s3_addressing_style="path",
        s3_prefix="",
        host="",
        port=8080,
        web_concurrency=usable_cores(),
        cache_capacity=2048,
        cache_max_bytes=512 * 2**20,
        cache_ttl=300.0,
        cache_stale_ttl=120.0,
        cache_stale_if_error=3600.0,
        cache_negative_ttl=5.0,
        max_object_size=16 * 2**20,
        s3_retries=2,
        request_timeout=15.0,
        read_timeout=5.0,
        write_timeout=15.0,
        idle_timeout=60.0,
        rate_limit_rps=Fraction(0),
        trusted_proxies=(),
        client_ip_header="x-forwarded-for",
        redis_url=None,
        log_level="info",
        log_format="json",
        access_log=True,
        admin_prefix="",
        drain_timeout=30.0,
        s3_max_concurrency=256,
        nosniff=True,
        worker_timeout=30.0,
    )


@pytest.mark.parametrize("table", [GOOD, BAD], ids=["good", "bad"])
def test_the_cases_name_every_variable(table: dict[str, Any]) -> None:
    assert list(table) == NAMES


@pytest.mark.parametrize(
    ("name", "text", "fields"),
    [(name, text, fields) for name, cases in GOOD.items() for text, fields in cases],
)
def test_a_good_value_is_understood(name: str, text: str, fields: dict[str, Any]) -> None:
    config = accepted({**MINIMAL, name: text})
    assert {field: getattr(config, field) for field in fields} == fields


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts]
)
def test_a_bad_value_is_refused_under_the_id_of_its_variable(name: str, text: str) -> None:
    problems = refused({**MINIMAL, name: text})
    assert [(problem.id, problem.variable) for problem in problems] == [(IDS[name], name)]


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_value_is_an_unset_variable(name: str) -> None:
    without = {key: value for key, value in MINIMAL.items() if key != name}
    assert parse({**MINIMAL, name: ""}) == parse(without)


@pytest.mark.parametrize("name", MINIMAL)
def test_a_required_variable_that_is_missing_says_so(name: str) -> None:
    [problem] = refused({key: value for key, value in MINIMAL.items() if key != name})
    assert (problem.id, problem.missing) == (IDS[name], True)
    assert str(problem).startswith(f"{name} is not set; expected ")


def test_every_problem_is_found_at_once() -> None:
    broken = {name: texts[0] for name, texts in BAD.items()}
    assert [problem.variable for problem in refused(broken)] == NAMES


def test_one_message_lists_every_problem_on_a_line_of_its_own() -> None:
    problems = refused({name: texts[-1] for name, texts in BAD.items()})
    first, *lines = env.message(problems).split("\n")
    assert first == f"s3proxy cannot start: {len(problems)} configuration problems"
    assert lines == [f"  - {problem}" for problem in problems]


@pytest.mark.parametrize(("rule", "environ"), RULES.items())
def test_a_broken_rule_is_reported_under_its_id(rule: str, environ: dict[str, str]) -> None:
    assert {problem.id for problem in refused(environ)} == {rule}


def test_the_size_rule_names_the_default_it_is_broken_by() -> None:
    [problem] = refused(RULES["s3proxy.E101"])
    assert problem.variable == "MAX_OBJECT_SIZE"
    assert problem.value == "16777216, the default"
    assert problem.expected == "at most CACHE_MAX_BYTES, which is 8388608 bytes"


def test_an_object_may_be_as_large_as_the_cache() -> None:
    assert accepted({**MINIMAL, "CACHE_MAX_BYTES": "16MiB"}).cache_max_bytes == 2**24


def test_each_ignored_key_is_a_problem() -> None:
    problems = refused({**MINIMAL, "S3_CREDENTIALS": "chain", "S3_SESSION_TOKEN": "t0ken-of-sts"})
    assert [problem.variable for problem in problems] == [
        "S3_ACCESS_KEY",
        "S3_SECRET_KEY",
        "S3_SESSION_TOKEN",
    ]


@pytest.mark.parametrize("kind", ["chain", "anonymous"])
def test_other_credentials_need_no_keys(kind: str) -> None:
    environ = {name: MINIMAL[name] for name in ("AUTH_TOKEN", "S3_ENDPOINT", "S3_BUCKET")}
    config = accepted({**environ, "S3_CREDENTIALS": kind})
    assert (config.s3_credentials, config.s3_access_key, config.s3_secret_key) == (kind, None, None)


def test_server_addr_goes_before_port() -> None:
    config = accepted({**MINIMAL, "SERVER_ADDR": "127.0.0.1:9000", "PORT": "3000"})
    assert (config.host, config.port) == ("127.0.0.1", 9000)


def test_port_is_checked_even_where_server_addr_goes_before_it() -> None:
    [problem] = refused({**MINIMAL, "SERVER_ADDR": "127.0.0.1:9000", "PORT": "http"})
    assert problem.variable == "PORT"


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("CACHE_TTL", "300", "write 300s"),
        ("REQUEST_TIMEOUT", "1.5", "write 1.5s"),
        ("S3_ENDPOINT", "s3.amazonaws.com", "begin with https:// or http://"),
        ("S3_ENDPOINT", "https://k:s@h", "credentials belong in S3_ACCESS_KEY and S3_SECRET_KEY"),
        (
            "S3_ENDPOINT",
            "https://h/bucket",
            "leave out the path: the bucket goes into S3_BUCKET",
        ),
        ("SERVER_ADDR", "8080", "write a colon before the port"),
        ("SERVER_ADDR", "::1:80", "write an IPv6 address in brackets, as in [::1]:8080"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "write 10.0.0.0/8 for the whole network"),
        ("S3_PREFIX", "/site", "leave out the leading /"),
        ("REDIS_URL", "redis://h/0?db=1", "without a query (a ? in a password is %3F)"),
    ],
)
def test_a_common_mistake_gets_a_hint(name: str, text: str, hint: str) -> None:
    [problem] = refused({**MINIMAL, name: text})
    assert problem.expected.endswith(hint)


def test_a_problem_shows_the_offending_value() -> None:
    [problem] = refused({**MINIMAL, "LOG_LEVEL": "loud\nand\x1b[31m red"})
    assert problem.found == r"LOG_LEVEL is 'loud\nand\x1b[31m red'"


def test_a_problem_stays_short_and_on_one_line() -> None:
    [problem] = refused({**MINIMAL, "S3_PREFIX": "\n" * 100_000})
    assert len(str(problem)) < 400
    assert "\n" not in str(problem)


@pytest.mark.parametrize("name", SECRETS)
def test_a_problem_does_not_show_a_secret(name: str) -> None:
    problems = refused({**MINIMAL, name: SECRETS[name]})
    assert [problem.value for problem in problems] == [None]
    assert "5ecret" not in env.message(problems) + repr(problems)


@pytest.mark.parametrize("name", [name for name in SECRETS if name != "S3_ENDPOINT"])
def test_the_configuration_does_not_show_a_secret(name: str) -> None:
    config = accepted({**MINIMAL, name: SECRETS[name].replace(" ", "-")})
    assert "5ecret" not in repr(config)


def test_a_rule_does_not_show_a_secret() -> None:
    keys = {"S3_ACCESS_KEY": "5ecret", "S3_SECRET_KEY": "5ecret", "S3_SESSION_TOKEN": "5ecret"}
    problems = refused({**MINIMAL, "S3_CREDENTIALS": "anonymous", **keys})
    assert "5ecret" not in env.message(problems) + repr(problems)


@pytest.mark.parametrize(("rule", "environ"), WARNINGS.items())
def test_an_oddity_is_a_warning_that_stops_nothing(rule: str, environ: dict[str, str]) -> None:
    config = accepted(environ)
    assert [warning.id for warning in env.warnings(environ, config)] == [rule]


def test_a_usual_environment_has_no_warnings() -> None:
    usual = {
        "PATH": "/bin",
        "HOME": "/",
        "HOSTNAME": "s3proxy",
        "REDIS_HOST": "valkey",
        "REDIS_PORT": "6379",
        "CACHE_URL": "x",
        "AWS_REGION": "eu-central-1",
        "DJANGO_SETTINGS_MODULE": "s3proxy_site.settings",
        "LOG_FILE": "x",
        "": "",
    }
    assert env.warnings({**usual, **MINIMAL}, accepted(MINIMAL)) == []


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("CACHE_TLL", "CACHE_TTL"),
        ("S3_BUKET", "S3_BUCKET"),
        ("S3_ENDPOINT_URL", "S3_ENDPOINT"),
        ("S3_ACCESS_KEY_ID", "S3_ACCESS_KEY"),
        ("AUTH_TOKN", "AUTH_TOKEN"),
        ("cache_ttl", "CACHE_TTL"),
        ("TRUSTED_PROXY", "TRUSTED_PROXIES"),
    ],
)
def test_a_misspelled_name_is_told_the_right_one(wrong: str, right: str) -> None:
    [warning] = env.warnings({wrong: "5ecret"}, None)
    assert (warning.variable, warning.expected.split(":")[0]) == (wrong, f"the name {right}")
    assert "5ecret" not in repr(warning) + str(warning)


def test_ids_are_not_shared() -> None:
    assert len({variable.id for variable in VARIABLES}) == len(VARIABLES)


def test_the_documentation_lists_every_rule() -> None:
    assert env.__doc__ is not None
    assert all(rule in env.__doc__ for rule in [*RULES, *WARNINGS])


values = st.one_of(
    st.text(max_size=40),
    st.text("0123456789.:/[]hmsKMGiB @-", max_size=20),
    st.sampled_from([text for texts in BAD.values() for text in texts]),
    st.sampled_from([text for cases in GOOD.values() for text, _ in cases]),
)


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=20), values))
def test_no_environment_makes_parsing_raise(environ: dict[str, str]) -> None:
    config, problems = parse(environ)
    env.warnings(environ, config)
    assert (config is None) == bool(problems)
    assert len(env.message(problems).split("\n")) == len(problems) + 1


@given(
    st.dictionaries(st.sampled_from([name for name in NAMES if name not in SECRETS]), values),
    st.dictionaries(
        st.sampled_from(list(SECRETS)),
        st.tuples(values, values).map(lambda parts: f"{parts[0]}@5ecret-{parts[1]}"),
    ),
)
def test_no_secret_is_ever_shown(environ: dict[str, str], hidden: dict[str, str]) -> None:
    environ = {**MINIMAL, **environ, **hidden}
    config, problems = parse(environ)
    warnings = env.warnings(environ, config)
    shown = repr(config) + repr(problems) + env.message(problems) + env.message(warnings)
    assert "5ecret" not in shown


@pytest.mark.parametrize(("memory", "found"), [(2**29 - 1, ["s3proxy.W005"]), (2**29, [])])
def test_more_than_the_memory_there_is_is_warned_of(memory: int, found: list[str]) -> None:
    environ = {**MINIMAL, "AUTH_TOKEN": "t" * 16, "CACHE_MAX_BYTES": "512MiB"}
    warned = env.warnings(environ, accepted(environ), memory)
    assert [warning.id for warning in warned] == found
    if warned:
        assert str(warned[0]).startswith("CACHE_MAX_BYTES is '536870912'; expected less than")


def test_the_memory_of_this_machine_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**MINIMAL, "CACHE_MAX_BYTES": str(2**55)}.items():
        monkeypatch.setenv(name, value)
    _config, problems, warned = env.read()
    assert problems == []
    assert "s3proxy.W005" in [warning.id for warning in warned]
