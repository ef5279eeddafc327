"""`manage.py doctor` against real S3 servers, and against none."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from tests.admin_api.run import manage
from tests.admin_api.tls import tls_server
from tests.environment import BASELINE
from tests.origins.ports import refusing_port
from tests.origins.steps import black_hole, respond, s3_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from subprocess import CompletedProcess

    from tests.origins.scripted import ScriptedOrigin
    from tests.origins.site import S3Site
    from tests.origins.valkey_site import ValkeySite


def doctor(environ: Mapping[str, str], **changes: str) -> CompletedProcess[str]:
    """The command; whatever it finds, it prints neither secrets nor tracebacks."""
    known = dict(BASELINE) | {"REQUEST_TIMEOUT": "2s"} | dict(environ) | changes
    done = manage("doctor", environ=known)
    printed = done.stdout + done.stderr
    assert known["AUTH_TOKEN"] not in printed
    assert known["S3_SECRET_KEY"] not in printed
    assert "Traceback" not in printed
    return done


def failed(done: CompletedProcess[str]) -> dict[str, str]:
    """Lines that say FAILED, by step."""
    assert done.returncode == (1 if "FAILED" in done.stdout else 0), done.stdout + done.stderr
    return {line.split()[0]: line for line in done.stdout.splitlines() if " FAILED " in line}


def line(done: CompletedProcess[str], step: str) -> str:
    return next(line for line in done.stdout.splitlines() if line.startswith(step))


@pytest.mark.parametrize("region", ["us-east-1", "auto"])
def test_all_is_well_on_moto(moto_site: S3Site, region: str) -> None:
    done = doctor(moto_site.environ(), S3_REGION=region, S3_PREFIX="some/")
    assert failed(done) == {}
    steps = [line.split()[0] for line in done.stdout.splitlines()[:-1]]
    expected = "name connection clock region bucket credentials permission addressing"
    assert steps == expected.split()
    assert "warning" not in done.stdout
    assert done.stdout.endswith("The origin can be used as configured.\n")


def test_all_is_well_on_seaweedfs(seaweed_site: S3Site) -> None:
    done = doctor(seaweed_site.environ())
    assert failed(done) == {}
    assert "the signature is accepted" in line(done, "credentials")
    assert "404" in line(done, "permission")


def test_a_wrong_secret_is_named(seaweed_site: S3Site) -> None:
    found = failed(doctor(seaweed_site.environ(), S3_SECRET_KEY="not-the-secret"))
    assert list(found) == ["credentials"]
    assert found["credentials"].endswith("look at S3_SECRET_KEY")


def test_a_wrong_access_key_is_named(seaweed_site: S3Site) -> None:
    found = failed(doctor(seaweed_site.environ(), S3_ACCESS_KEY="not-the-key"))
    assert list(found) == ["credentials"]
    assert found["credentials"].endswith("look at S3_ACCESS_KEY")


@pytest.mark.parametrize("site", ["moto_site", "seaweed_site"])
def test_a_missing_bucket_is_named(site: str, request: pytest.FixtureRequest) -> None:
    existing: S3Site = request.getfixturevalue(site)
    found = failed(doctor(existing.environ(), S3_BUCKET="no-such-bucket"))
    assert list(found) == ["bucket"]
    assert found["bucket"].endswith("look at S3_BUCKET")


def test_a_closed_port_is_named() -> None:
    with refusing_port() as port:
        found = failed(doctor({"S3_ENDPOINT": f"http://127.0.0.1:{port}"}))
    assert list(found) == ["connection"]
    assert found["connection"].endswith("look at S3_ENDPOINT")


def test_a_name_without_an_address_is_named() -> None:
    found = failed(doctor({"S3_ENDPOINT": "http://s3.invalid"}))
    assert found["name"].endswith("look at S3_ENDPOINT")


def test_an_addressing_style_without_host_names_is_named(moto_site: S3Site) -> None:
    found = failed(doctor(moto_site.environ(), S3_ADDRESSING_STYLE="virtual"))
    assert "S3_ADDRESSING_STYLE" in found["name"]


def test_tls_with_a_server_that_has_none_is_named(moto_site: S3Site) -> None:
    endpoint = moto_site.endpoint.replace("http:", "https:")
    found = failed(doctor(moto_site.environ(), S3_ENDPOINT=endpoint))
    assert found["TLS"].endswith("look at S3_ENDPOINT")


def test_a_certificate_that_nobody_vouches_for_is_named(tmp_path: Path) -> None:
    with tls_server(tmp_path) as (port, _):
        found = failed(doctor({"S3_ENDPOINT": f"https://127.0.0.1:{port}"}))
    assert "self-signed certificate" in found["TLS"]
    assert found["TLS"].endswith("look at S3_ENDPOINT")


def test_a_certificate_of_the_systems_store_is_trusted(tmp_path: Path) -> None:
    with tls_server(tmp_path) as (port, certificate):
        endpoint = f"https://127.0.0.1:{port}"
        done = doctor({"S3_ENDPOINT": endpoint}, SSL_CERT_FILE=str(certificate))
    assert "the certificate is valid" in line(done, "TLS")
    # It says nothing of S3's.
    assert list(failed(done)) == ["answer"]


def test_a_bucket_of_another_region_is_seen(moto_site: S3Site) -> None:
    done = doctor(moto_site.environ(), S3_REGION="eu-central-1")
    assert failed(done) == {}
    assert "us-east-1, not eu-central-1; look at S3_REGION" in line(done, "region")


def test_a_server_that_says_nothing_is_given_up(origin: ScriptedOrigin) -> None:
    origin.default(black_hole())
    began = time.monotonic()
    found = failed(doctor(origin.environ(), REQUEST_TIMEOUT="300ms"))
    assert time.monotonic() - began < 15
    assert found["answer"].endswith("look at S3_ENDPOINT")


@pytest.mark.parametrize(
    ("status", "code", "step", "variable"),
    [
        (403, "RequestTimeTooSkewed", "clock", ""),
        (400, "AuthorizationHeaderMalformed", "region", "S3_REGION"),
        (400, "ExpiredToken", "credentials", "S3_SESSION_TOKEN"),
        (500, "InternalError", "answer", "S3_ENDPOINT"),
    ],
)
def test_an_error_of_s3_is_told_by_its_code(
    origin: ScriptedOrigin, status: int, code: str, step: str, variable: str
) -> None:
    origin.default(s3_error(status, code))
    found = failed(doctor(origin.environ()))
    assert list(found) == [step]
    assert code in found[step]
    assert found[step].endswith(variable)


def test_denied_access_to_a_missing_key_is_a_warning(origin: ScriptedOrigin) -> None:
    origin.default(s3_error(403, "AccessDenied"))
    done = doctor(origin.environ())
    assert failed(done) == {}
    assert "s3:ListBucket" in line(done, "permission")


def test_a_web_server_is_not_taken_for_s3(origin: ScriptedOrigin) -> None:
    origin.default(respond(200, "<html>Welcome</html>"))
    found = failed(doctor(origin.environ()))
    assert found["answer"].endswith("look at S3_ENDPOINT")


def test_a_clock_that_is_off_is_a_warning(origin: ScriptedOrigin) -> None:
    date = formatdate(time.time() - 1000, usegmt=True)
    origin.default(s3_error(404, "NoSuchKey", headers={"Date": date}))
    assert "s ahead of" in line(doctor(origin.environ()), "clock")


def test_an_invalid_environment_is_reported_as_by_check() -> None:
    done = manage("doctor", environ={"S3_ENDPOINT": "nonsense"})
    assert done.returncode == 1
    for identifier in ("s3proxy.E001", "s3proxy.E002", "s3proxy.E003", "s3proxy.E004"):
        assert identifier in done.stderr
    assert "Traceback" not in done.stderr


def test_anonymous_requests_need_no_keys(moto_site: S3Site) -> None:
    environ = {
        "AUTH_TOKEN": BASELINE["AUTH_TOKEN"],
        "S3_ENDPOINT": moto_site.endpoint,
        "S3_BUCKET": moto_site.bucket,
        "S3_CREDENTIALS": "anonymous",
    }
    done = manage("doctor", environ=environ)
    assert "unsigned" in line(done, "credentials")


def test_a_chain_without_keys_is_named(moto_site: S3Site) -> None:
    environ = {
        "AUTH_TOKEN": BASELINE["AUTH_TOKEN"],
        "S3_ENDPOINT": moto_site.endpoint,
        "S3_BUCKET": moto_site.bucket,
        "S3_CREDENTIALS": "chain",
        **{name: value for name, value in BASELINE.items() if name.startswith("AWS_")},
    }
    done = manage("doctor", environ=environ)
    assert failed(done)["answer"].endswith("look at S3_CREDENTIALS")


def test_a_redis_that_answers_is_told_of(moto_site: S3Site, valkey: ValkeySite) -> None:
    done = doctor(moto_site.environ(), REDIS_URL=valkey.url)
    assert failed(done) == {}
    assert f"127.0.0.1:{valkey.port} answers" in line(done, "redis")
    assert done.stdout.endswith("The origin and Redis can be used as configured.\n")


def test_a_redis_that_refuses_is_named_without_its_password(
    moto_site: S3Site, valkey: ValkeySite
) -> None:
    url = f"redis://someone:not-the-password@127.0.0.1:{valkey.port}/0"
    done = doctor(moto_site.environ(), REDIS_URL=url)
    found = failed(done)
    assert list(found) == ["redis"]
    assert "wrong user or password; look at REDIS_URL" in found["redis"]
    assert "not-the-password" not in done.stdout + done.stderr


def test_a_redis_that_says_nothing_is_given_up(moto_site: S3Site, own_valkey: ValkeySite) -> None:
    own_valkey.pause()
    try:
        found = failed(doctor(moto_site.environ(), REDIS_URL=own_valkey.url))
    finally:
        own_valkey.resume()
    assert "no answer in time; look at REDIS_URL" in found["redis"]
