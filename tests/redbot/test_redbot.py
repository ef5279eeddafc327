"""REDbot finds nothing bad in what the demo serves, nor more to warn of than in nginx's answers."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest

from proxy.demo.bucket import MAX_OBJECT_SIZE
from s3proxy_site.notation import size
from tests.commands.test_demo import running
from tests.origins.site import s3_client
from tests.raw_http import RawConnection
from tests.redbot import artefact
from tests.redbot.bot import ONLY_HOST
from tests.redbot.cases import ADDED, LARGE, NEGOTIATED_FOR, OBJECTS, PROBES, Probe
from tests.redbot.record import COMMAND, RECORDING
from tests.redbot.verdict import VERSIONS, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.commands.test_demo import Demo

Verdicts: TypeAlias = dict[tuple[str, str], Verdict]

TEMPERATURES: Final = ("cold", "warm")

# Setting up may take longer than a test: its own limits are to end it, for they say why.
pytestmark = [pytest.mark.timeout(120), pytest.mark.long]

# REDbot takes any object that is stored with gzip for one that was negotiated, whoever serves
# it: the answers to a request with Accept-Encoding and to one without are the same bytes, which
# `test_nothing_is_negotiated` shows. RFC 9110 §12.5.5: Vary names what the choice depended on,
# and there was none; §8.8.3: one representation has one entity tag.
UNFOUNDED: Final = {NEGOTIATED_FOR: ["CONNEG_NO_VARY", "VARY_ETAG_DOESNT_CHANGE"]}

every_answer = pytest.mark.parametrize("temperature", TEMPERATURES)
every_probe = pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo, with the objects that its bucket lacks."""
    with running(tmp_path_factory.mktemp("demo") / "stderr") as demo:
        s3 = demo.described["s3"]
        with s3_client(s3["endpoint"], s3["access_key"], s3["secret_key"]) as client:
            for sample in ADDED:
                assert sample.cache_control is not None
                client.put_object(
                    Bucket=s3["bucket"],
                    Key=sample.key,
                    Body=sample.body,
                    ContentType=sample.content_type,
                    CacheControl=sample.cache_control,
                )
        yield demo


@pytest.fixture(scope="module")
def verdicts(demo: Demo) -> Verdicts:
    """By probe and temperature; kept as artefacts too."""
    # Each is asked for a second time at once: some are fresh for seconds.
    asked = [(probe, temperature) for probe in PROBES for temperature in TEMPERATURES]
    found = judge(demo.described["url"], [probe for probe, _ in asked])
    named = [(probe.name, temperature) for probe, temperature in asked]
    artefact.keep({", ".join(key): verdict for key, verdict in zip(named, found, strict=False)})
    # The first error ends it.
    assert found[-1].error is None, f"{named[len(found) - 1]}: {found[-1].error}"
    return dict(zip(named, found, strict=True))


@pytest.fixture(scope="module")
def recording() -> dict[str, Any]:
    """What REDbot says of nginx."""
    return dict(json.loads(RECORDING.read_text()))


@every_probe
def test_what_is_judged_is_a_miss_and_then_what_a_cache_makes_of_it(
    verdicts: Verdicts, probe: Probe
) -> None:
    judged = [verdicts[probe.name, temperature] for temperature in TEMPERATURES]
    assert {verdict.status for verdict in judged} == {probe.status}
    assert [verdict.field("X-Cache") for verdict in judged] == [probe.cold, probe.warm]


@every_answer
@every_probe
def test_redbot_finds_nothing_bad(verdicts: Verdicts, probe: Probe, temperature: str) -> None:
    expected = UNFOUNDED.get(probe.name, [])
    assert verdicts[probe.name, temperature].named("BAD") == expected


@every_answer
@every_probe
def test_redbot_warns_of_nothing_that_nginx_is_not_warned_of(
    verdicts: Verdicts, recording: dict[str, Any], probe: Probe, temperature: str
) -> None:
    ours = Counter(verdicts[probe.name, temperature].named("WARN"))
    assert ours - Counter(recording["answers"][probe.name]["WARN"]) == Counter()


@every_answer
@every_probe
def test_redbot_praises_whatever_it_praises_in_nginx(
    verdicts: Verdicts, recording: dict[str, Any], probe: Probe, temperature: str
) -> None:
    """Among it that ranges and both kinds of conditional requests work."""
    ours = Counter(verdicts[probe.name, temperature].named("GOOD"))
    assert Counter(recording["answers"][probe.name]["GOOD"]) - ours == Counter()


def test_nothing_is_negotiated(demo: Demo) -> None:
    """What REDbot calls bad of an object stored with gzip rests on the opposite."""
    answers = []
    for accepted in ((), ("Accept-Encoding: identity",), ("Accept-Encoding: gzip",)):
        with RawConnection(ONLY_HOST, int(demo.described["url"].rpartition(":")[2])) as client:
            client.get(f"/{NEGOTIATED_FOR}", *accepted)
            answers.append(client.read_response())
    (stored,) = (sample.body for sample in OBJECTS if sample.key == NEGOTIATED_FOR)
    assert [answer.body for answer in answers] == [stored] * 3
    assert {answer.header("Vary") for answer in answers} == {None}
    assert len({answer.header("ETag") for answer in answers}) == 1


def test_nginx_is_told_the_same_of_it(recording: dict[str, Any]) -> None:
    assert {
        name: answer["BAD"] for name, answer in recording["answers"].items() if answer["BAD"]
    } == UNFOUNDED


def test_the_recording_is_of_the_installed_redbot(recording: dict[str, Any]) -> None:
    assert recording["versions"] == VERSIONS, f"where nginx is installed, run {COMMAND}"


def test_the_recording_is_of_the_same_objects(recording: dict[str, Any]) -> None:
    """Their header fields, on which the notes depend."""
    given = {
        sample.key: {
            "Content-Type": sample.content_type,
            "Content-Encoding": sample.content_encoding,
            "Cache-Control": sample.cache_control,
        }
        for sample in OBJECTS
    }
    told = {name: answer["fields"] for name, answer in recording["answers"].items()}
    assert told.keys() == {probe.name for probe in PROBES}, f"run {COMMAND}"
    for key, fields in given.items():
        assert told[key] == {name: value for name, value in fields.items() if value}, COMMAND


def test_one_object_is_too_large_to_be_stored() -> None:
    (body,) = (sample.body for sample in OBJECTS if sample.key == LARGE)
    assert len(body) > size(0)(MAX_OBJECT_SIZE)
