"""Shows the judge recorded histories that are wrong, each in one way, and sees it object."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.soak.exchange import Asked, Exchange
from tests.soak.judge import Judge
from tests.soak.objects import KIB, KINDS, MIB, History, Version
from tests.soak.troubles import Kill, Trouble, Troubles

SMALL, VALIDATED = KINDS[0], KINDS[2]
KEY = "soak/small/0/0"


class Scene:
    """An object with version 0 from second 0 and version 1 from second 100 on, and its judge."""

    def __init__(self, size: int = 5 * KIB) -> None:
        self.history = History(KEY, SMALL)
        self.old = self.history.write(0, size)
        self.new = self.history.write(100, size)
        self.troubles = Troubles()
        self.judge = Judge({KEY: self.history}, self.troubles)

    def given(self, version: Version, begin: float, end: float) -> None:
        self.history.begin_giving(version, begin)
        self.history.end_giving(version, end)

    def verdict(self, exchange: Exchange) -> list[str]:
        self.judge.take(exchange)
        return list(self.judge.wrong)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def whole(version: Version, begin: float, cache: str = "HIT") -> Exchange:
    """A right answer with all of a version."""
    fields = {
        "etag": version.etag,
        "x-amz-meta-version": str(version.number),
        "content-length": str(version.size),
        "x-cache": cache,
    }
    return Exchange(Asked(KEY), begin, begin + 0.1, 200, fields, version.body(), port=7)


def error(status: int | None, begin: float = 110) -> Exchange:
    return Exchange(Asked(KEY), begin, begin + 0.1, status, port=7)


def test_the_current_version_is_right(scene: Scene) -> None:
    assert scene.verdict(whole(scene.new, 110)) == []


def test_a_version_before_a_purge_is_wrong(scene: Scene) -> None:
    scene.given(scene.old, 99, 99.5)
    scene.judge.purged([scene.new], 101)
    assert scene.verdict(whole(scene.old, 101.5)) == ["purged version"]


def test_a_version_before_a_purge_is_wrong_as_stale_too(scene: Scene) -> None:
    scene.judge.purged([scene.new], 101)
    scene.troubles.outages.append(Trouble(99, 120))
    assert scene.verdict(whole(scene.old, 101.5, "STALE")) == ["purged version"]


def test_a_request_begun_before_the_acknowledgement_may_see_the_purged_version(
    scene: Scene,
) -> None:
    scene.given(scene.old, 99, 99.5)
    scene.judge.purged([scene.new], 101)
    assert scene.verdict(whole(scene.old, 100.9)) == []


def test_a_softly_purged_version_is_right_as_stale_alone(scene: Scene) -> None:
    scene.given(scene.old, 99, 99.5)
    scene.judge.purged([scene.new], 101, soft=True)
    assert scene.verdict(whole(scene.old, 101.5, "STALE")) == []
    assert scene.verdict(whole(scene.old, 101.5)) == ["softly purged version not as stale"]


def test_many_later_purges_do_not_make_the_judge_forget(scene: Scene) -> None:
    scene.judge.purged([scene.new], 101)
    for at in range(102, 400):
        scene.judge.purged([scene.old], at, soft=at % 2 == 0)
    assert scene.verdict(whole(scene.old, 401)) == ["purged version"]


def by(server: int, exchange: Exchange) -> Exchange:
    return replace(exchange, server=server)


@pytest.mark.parametrize(("begin", "expected"), [(101.9, []), (102.1, ["purged version"])])
def test_a_purge_holds_on_other_replicas_within_the_time_that_it_travels(
    scene: Scene, begin: float, expected: list[str]
) -> None:
    scene.given(scene.old, 99, 99.5)
    scene.judge.purged([scene.new], 101, server=0)
    assert scene.verdict(by(1, whole(scene.old, begin))) == expected
    assert scene.verdict(by(0, whole(scene.old, begin))) == ["purged version"]


@pytest.mark.parametrize(("away", "back"), [(100, 104), (101.5, 104), (100, float("inf"))])
def test_a_purge_travels_once_valkey_is_back(scene: Scene, away: float, back: float) -> None:
    scene.given(scene.old, 99, 104)
    scene.troubles.valkey.append(Trouble(away, back))
    scene.judge.purged([scene.new], 101, server=0)
    assert scene.verdict(by(1, whole(scene.old, 104.9))) == []
    assert scene.verdict(by(1, whole(scene.old, 105.1))) == (
        [] if back > 104 else ["purged version"]
    )


def test_a_valkey_that_was_away_before_excuses_no_later_purge(scene: Scene) -> None:
    scene.given(scene.old, 99, 99.5)
    scene.troubles.valkey.append(Trouble(99, 100.5))
    scene.judge.purged([scene.new], 101, server=0)
    assert scene.verdict(by(1, whole(scene.old, 102.1))) == ["purged version"]


def test_a_server_that_is_stopped_excuses_no_other(scene: Scene) -> None:
    scene.troubles.stops.append(Trouble(109, 115, abrupt=True, server=1))
    assert scene.verdict(by(1, error(None))) == []
    assert scene.verdict(by(0, error(None))) == ["no answer"]


@pytest.mark.parametrize("status", [304, 412, 416, 404, 206])
def test_a_purged_version_is_wrong_whatever_the_status(status: int) -> None:
    scene = Scene(size=KIB)
    shrunk = scene.history.write(101, 10)
    gone = scene.history.write(102, None)
    current = scene.history.write(103, 2 * KIB)
    for version in (scene.old, shrunk, gone):
        scene.given(version, 103, 104)
    scene.judge.purged([current], 104)
    asked, fields = Asked(KEY), {"etag": scene.old.etag, "x-cache": "HIT"}
    body = b""
    match status:
        case 304:
            asked = Asked(KEY, if_none_match=0)
        case 412:
            asked = Asked(KEY, if_match=current.number)
        case 416:
            asked = Asked(KEY, part=(50, 60))
            fields["content-range"] = "bytes */10"
        case 206:
            asked = Asked(KEY, part=(0, 9))
            fields |= {"content-range": f"bytes 0-9/{KIB}", "content-length": "10"}
            body = scene.old.body(0, 10)
    assert scene.verdict(Exchange(asked, 105, 105.1, status, fields, body)) == ["purged version"]


def test_an_overwritten_version_is_right_for_as_long_as_it_may_be_reused(scene: Scene) -> None:
    scene.given(scene.old, 99, 100)
    assert scene.verdict(whole(scene.old, 103)) == []
    assert scene.verdict(whole(scene.old, 107)) == ["outdated version"]


def test_a_version_that_must_be_validated_is_wrong_once_overwritten() -> None:
    scene = Scene()
    scene.history.kind = VALIDATED
    scene.given(scene.old, 99, 100)
    assert scene.verdict(whole(scene.old, 103)) == ["outdated version"]


def test_an_outdated_version_is_right_as_stale_while_the_origin_fails(scene: Scene) -> None:
    scene.troubles.begin(KEY, 150).end = 150.05
    assert scene.verdict(whole(scene.old, 150, "HIT")) == ["outdated version"]
    scene.judge.wrong.clear()
    assert scene.verdict(whole(scene.old, 150, "STALE")) == []


def test_bytes_of_another_version_are_wrong(scene: Scene) -> None:
    mixed = scene.new.body(0, 4 * KIB) + scene.old.body(4 * KIB)
    assert scene.verdict(replace(whole(scene.new, 110), body=mixed)) == ["wrong bytes"]


def test_one_bit_is_seen_in_a_large_object() -> None:
    scene = Scene(size=20 * MIB)
    body = bytearray(scene.new.body())
    body[-1] ^= 1
    assert scene.verdict(replace(whole(scene.new, 110), body=bytes(body))) == ["wrong bytes"]


def test_a_torn_body_is_wrong_without_a_reason(scene: Scene) -> None:
    torn = replace(whole(scene.new, 110), body=scene.new.body(0, 100), complete=False)
    assert scene.verdict(torn) == ["torn body"]


def test_a_torn_body_is_right_where_the_origin_cut_it(scene: Scene) -> None:
    scene.troubles.begin(KEY, 109.9).end = 110.05
    torn = replace(whole(scene.new, 110), body=scene.new.body(0, 100), complete=False)
    assert scene.verdict(torn) == []


def test_a_torn_body_of_wrong_bytes_is_wrong_whatever_happened(scene: Scene) -> None:
    scene.troubles.begin(KEY, 109.9).end = 110.05
    torn = replace(whole(scene.new, 110), body=b"x" * 100, complete=False)
    assert scene.verdict(torn) == ["wrong bytes"]


def test_sigterm_tears_no_body(scene: Scene) -> None:
    scene.troubles.stops.append(Trouble(110, 115))
    torn = replace(whole(scene.new, 110), body=scene.new.body(0, 100), complete=False)
    assert scene.verdict(torn) == ["torn body"]


def test_a_part_of_another_place_is_wrong(scene: Scene) -> None:
    size = scene.new.size
    fields = whole(scene.new, 110).fields | {
        "content-range": f"bytes 20-29/{size}",
        "content-length": "10",
    }  # type: ignore[operator]
    asked, body = Asked(KEY, part=(10, 19)), scene.new.body(20, 30)
    assert scene.verdict(Exchange(asked, 110, 110.1, 206, fields, body)) == ["wrong fields"]


@pytest.mark.parametrize("status", [502, 503, 504])
def test_an_error_is_wrong_unless_the_origin_failed_for_that_key(scene: Scene, status: int) -> None:
    scene.troubles.begin("another", 109).end = 112
    assert scene.verdict(error(status)) == ["wrong status"]
    scene.judge.wrong.clear()
    scene.troubles.begin(KEY, 109).end = 112
    assert scene.verdict(error(status)) == []


def test_an_error_long_after_the_fault_is_wrong(scene: Scene) -> None:
    scene.troubles.begin(KEY, 100).end = 101
    assert scene.verdict(error(503)) == ["wrong status"]


@pytest.mark.parametrize("status", [500, 400, 405, 429])
def test_no_fault_excuses_other_errors(scene: Scene, status: int) -> None:
    scene.troubles.outages.append(Trouble(0, 1000))
    assert scene.verdict(error(status)) == ["wrong status"]


def test_a_404_of_an_object_that_was_always_there_is_wrong(scene: Scene) -> None:
    assert scene.verdict(error(404)) == ["wrong status"]


def test_silence_is_wrong_but_for_connections_of_a_killed_worker(scene: Scene) -> None:
    scene.troubles.kills.append(Kill(110.05, frozenset({8})))
    assert scene.verdict(error(None)) == ["no answer"]
    scene.judge.wrong.clear()
    scene.troubles.kills.append(Kill(110.05, frozenset({7})))
    assert scene.verdict(error(None)) == []


def test_a_reload_excuses_no_silence(scene: Scene) -> None:
    scene.troubles.reloads.append(Trouble(109, 112))
    assert scene.verdict(error(None)) == ["no answer"]


def test_sigterm_excuses_silence_of_young_requests_alone(scene: Scene) -> None:
    scene.troubles.stops.append(Trouble(111, 115))
    assert scene.verdict(replace(error(None, 110.9), end=111.1)) == []
    assert scene.verdict(replace(error(None, 110), end=111.1)) == ["no answer"]


def test_a_request_without_end_is_wrong(scene: Scene) -> None:
    scene.troubles.stops.append(Trouble(0, 1000))
    assert scene.verdict(replace(error(None), timed_out=True)) == ["no end"]
