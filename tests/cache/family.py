"""A process that forks others, all of them at one cache: run as a script, by tests.

`python family.py SCENARIO` prints a JSON object about what happened, or dies of an exception.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import sys
import time
import zlib
from collections import deque
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from proxy import processes
from proxy.cache.backend import MemoryCache
from proxy.cache.leases import Leases
from proxy.cache.purge_log import PurgeLog
from proxy.core.messages import StoredResponse
from proxy.purge import Purge
from tests.cache.audit import audit
from tests.core.responses import stored_response

if TYPE_CHECKING:
    from collections.abc import Callable

PROCESSES = 5
KEYS = [f"key/{number}" for number in range(60)]
LARGE = 300_000

# Of what this process found: key, entity tag, length and where the body was.
_bodies_seen: deque[tuple[str, str | None, int | None, Any]] = deque(maxlen=30)


def new_cache(**options: Any) -> MemoryCache:
    """One that all children share."""
    bounds = {"MAX_ENTRIES": 40, "MAX_BYTES": 4_000_000, "PROCESSES": PROCESSES}
    return MemoryCache("family", {"TIMEOUT": None, "OPTIONS": bounds | options})


def fork(index: int, work: Callable[[], None]) -> int:
    """A child with that index; its process id. It exits with 0 if its work raises nothing."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        processes.become(index)
        work()
        status = 0
    finally:
        if status:
            sys.excepthook(*sys.exc_info())
        os._exit(status)


def wait_for(child: int) -> None:
    """The child has to end well."""
    _, status = os.waitpid(child, 0)
    assert status == 0, status


def value_for(key: str, chance: random.Random) -> Any:
    """A value that says what it should be."""
    size = chance.choice([0, 10, 1000, 5000, 50_000, LARGE])
    body = (b"%s %08d " % (key.encode(), chance.randrange(10**8)) * (size // 15 + 1))[:size]
    mark = b"%s %d" % (key.encode(), zlib.crc32(body))
    if chance.random() < 0.5:
        return stored_response(body=body, length=size, etag=mark.decode())
    return mark + b"\n" + body


def check(key: str, value: Any) -> None:
    """Raises AssertionError for a value of another key, or a torn one."""
    if isinstance(value, StoredResponse):
        assert value.etag is not None
        assert value.body is not None
        mark, body = value.etag.encode(), value.body
        assert value.length == len(body)
    else:
        mark, _, body = value.partition(b"\n")
    assert mark == b"%s %d" % (key.encode(), zlib.crc32(body)), (key, mark, len(body))


def hammer(cache: MemoryCache, chance: random.Random) -> None:
    """Do one random thing."""
    key = chance.choice(KEYS)
    match chance.randrange(10):
        case 0 | 1:
            cache.put(key, value_for(key, chance), None)
        case 2:
            cache.delete(key)
        case 3:
            held = cache.get(key)
            if isinstance(held, StoredResponse):
                cache.put(key, replace(held, response_time=chance.random() * 1e9), None)
        case 4:
            cache.mark_stale(key, 5.0)
        case 5:
            with suppress(ValueError):
                cache.incr("counter")
        case _:
            found = cache.lookup(key)
            if found is not None:
                check(key, found.value)
                if isinstance(found.value, StoredResponse) and found.body_place is not None:
                    response = found.value
                    seen = (key, response.etag, response.length, found._replace(value=None))
                    _bodies_seen.append(seen)


def read_again(cache: MemoryCache, chance: random.Random) -> bool:
    """Read a body found before where it was then; is it still there?"""
    if not _bodies_seen:
        return False
    key, etag, length, found = chance.choice(_bodies_seen)
    assert length is not None
    place = found.body_place
    if place.is_lent and chance.random() < 0.5:
        body = spliced(cache, found)
    else:
        body = cache.read(found.slot, found.version, place.pieces)
    if body is not None:
        assert etag == f"{key} {zlib.crc32(body)}"
    return body is not None


def spliced(cache: MemoryCache, found: Any) -> bytes | None:
    """A body by way of a pipe, where others have some time to store something else."""
    reader, writer = os.pipe2(os.O_NONBLOCK)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 2**18)
    with os.fdopen(reader, "rb", buffering=0) as pipe, os.fdopen(writer, "wb", buffering=0) as end:
        place = found.body_place
        if not cache.splice(found.slot, found.version, place.pieces, end.fileno()):
            return None
        os.sched_yield()
        body = pipe.read(2**18)
        assert isinstance(body, bytes)
        return body


def together() -> dict[str, Any]:
    """Four children at once; what each counted must all be there."""
    cache = new_cache()
    counters = new_cache_of_counters()

    def work() -> None:
        chance = random.Random(processes.index())
        for step in range(2500):
            hammer(cache, chance)
            assert cache.entries <= 40
            assert cache.bytes <= 4_000_000
            counters.incr("all")
            read = [read_again(cache, chance) for _ in range(5)]
            counters.incr("read", sum(read))
            counters.incr("gone", len(read) - sum(read))
            if step % 50 == 0:
                counters.add(f"first/{step}", processes.index())
                counters.incr("added", counters.get(f"first/{step}") == processes.index())

    children = [fork(index, work) for index in range(1, PROCESSES)]
    for child in children:
        wait_for(child)
    audit(cache._shared)
    held = [cache.lookup(key) for key in KEYS]
    for key, found in zip(KEYS, held, strict=True):
        if found is not None:
            check(key, found.value)
    return {
        "counted": counters.get("all"),
        "added": counters.get("added"),
        "resets": resets(cache),
        "found": sum(found is not None for found in held),
        "read": counters.get("read"),
        "gone": counters.get("gone"),
    }


def new_cache_of_counters() -> MemoryCache:
    """With room for all counters."""
    counters = MemoryCache("counters", {"TIMEOUT": None, "OPTIONS": {"PROCESSES": PROCESSES}})
    counters.set_many({"all": 0, "added": 0, "read": 0, "gone": 0})
    return counters


def resets(cache: MemoryCache) -> int:
    """How often all was forgotten."""
    return cache._shared._held.header[1]


def killed(times: int = 300) -> dict[str, Any]:
    """One child after the other is killed at some moment; two others and the parent go on."""
    cache, leases, log = new_cache(), Leases(), PurgeLog()
    chance = random.Random(7)

    def survive() -> None:
        own = random.Random(processes.index())
        stop_at = time.monotonic() + 50
        while time.monotonic() < stop_at and os.getppid() == parent:
            hammer(cache, own)
            read_again(cache, own)
            cache.add("counter", 0)
            if cache.get("stop"):
                return

    def die() -> None:
        own = random.Random(chance.random())
        views: list[Any] = []
        while True:
            hammer(cache, own)
            key = own.choice(KEYS)
            leases.take(key, log.sequence, time.monotonic(), 1000)
            log.append(Purge(keys=frozenset({key})))
            views = [*views[-3:], cache.get(own.choice(KEYS))]

    parent = os.getpid()
    survivors = [fork(index, survive) for index in (1, 2)]
    for _ in range(times):
        chance.random()
        victim = fork(3, die)
        time.sleep(0.002 + chance.random() * 0.01)
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        for shared in (cache, leases):
            shared.forget_process(3)
        assert not any(leases.held(key, time.monotonic()) for key in KEYS)
        audit(cache._shared)
        assert cache.entries <= 40
        assert cache.bytes <= 4_000_000
        sequence = log.sequence
        log.append(Purge(keys=frozenset({"mine"})))
        assert log.has_purged("mine", sequence)
        for key in chance.sample(KEYS, 10):
            found = cache.lookup(key)
            if found is not None:
                check(key, found.value)
        found = None
    while not all(os.waitpid(child, os.WNOHANG)[0] for child in survivors[:1]):
        cache.set("stop", 1, None)
        time.sleep(0.001)
    cache.set("stop", 1, None)
    wait_for(survivors[1])
    audit(cache._shared)
    cache.clear()
    return {"resets": resets(cache), "pinned": cache._shared._held.header[2], "taken": cache.bytes}


def in_put(times: int = 100) -> dict[str, Any]:
    """A child is killed while it copies a large body in; its room is given back."""
    cache = new_cache(MAX_BYTES=60_000_000)
    body = bytes(16_000_000)

    def die() -> None:
        while True:
            cache.put("large", stored_response(body=body, length=len(body)), None)

    for number in range(times):
        victim = fork(3, die)
        time.sleep(0.001 + number % 10 * 0.001)
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        cache.forget_process(3)
        audit(cache._shared)
        assert cache._shared._held.header[2] == 0
    found = cache.put("large", stored_response(body=body, length=len(body)), None)
    assert found is not None
    return {"taken": cache.bytes}


def _numbered(number: int, body: bytes) -> StoredResponse:
    """Every part of its head says the number, and the number how long the head is."""
    line = (b"n", b"%d" % number * (1 + number % 7))
    return stored_response(
        fields=(line, line), body=body, length=len(body), response_time=float(number)
    )


def changed(seconds: float = 4.0) -> dict[str, Any]:
    """A child changes two entries all the time; what is read without the lock is never torn."""
    cache = new_cache()
    cache.put("touched", stored_response(), 1000, stale=50)

    def work() -> None:
        number = 0
        held = cache.put("freshened", _numbered(0, b"body"), None)
        while os.getppid() == parent:
            number += 1
            assert held is not None
            held = cache.put("freshened", _numbered(number, held.value.body), None)
            cache.touch("touched", 1000 + number)

    parent = os.getpid()
    child = fork(1, work)
    told: set[float] = set()
    torn = untold = 0
    stop_at = time.monotonic() + seconds
    while time.monotonic() < stop_at:
        found = cache.sketch("freshened", 100)
        if found is None:
            untold += 1
        else:
            sketch, body = found
            expected = _numbered(int(sketch.response_time), b"body")
            lines = b"".join([b"%b: %b\r\n" % field for field in expected.fields])
            torn += (sketch.lines, body) != (lines, b"body")
            told.add(sketch.response_time)
        deadlines = cache._shared.get(":1:touched", 0.0)
        assert deadlines is not None
        kept, fresh = deadlines.lifetime.kept_until, deadlines.lifetime.fresh_until
        torn += abs(kept - fresh - 50) > 1e-6
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    audit(cache._shared)
    return {"torn": torn, "told": len(told), "untold": untold}


def purged() -> dict[str, Any]:
    """A child has a value decoded; what its parent removes it never gives out again."""
    return _purged(lambda cache: cache.get("k"), lambda letter: letter)


def purged_unlocked() -> dict[str, Any]:
    """The same with responses of which it has nothing."""

    def body(cache: MemoryCache) -> bytes | None:
        found = cache.sketch("k", 100)
        return None if found is None else found[1]

    return _purged(body, lambda letter: stored_response(body=letter, length=1))


def _purged(
    look: Callable[[MemoryCache], bytes | None], value_of: Callable[[bytes], Any]
) -> dict[str, Any]:
    cache = new_cache()
    ask, answer = os.pipe(), os.pipe()

    def work() -> None:
        while os.read(ask[0], 1) == b"?":
            value = look(cache)
            os.write(answer[1], b"-" if value is None else value[:1])

    child = fork(1, work)
    seen = []
    for letter in "abcdefgh":
        cache.set("k", value_of(letter.encode()))
        for _ in range(2):
            os.write(ask[1], b"?")
            seen.append(os.read(answer[0], 1).decode())
        match letter:
            case "a" | "b":
                cache.delete("k")
            case "c":
                cache.clear()
            case "d":
                list(cache.remove_matching(lambda key: key == "k"))
            case _:
                continue
        os.write(ask[1], b"?")
        seen.append(os.read(answer[0], 1).decode())
    os.write(ask[1], b".")
    wait_for(child)
    return {"seen": "".join(seen)}


if __name__ == "__main__":
    scenarios = {
        "together": together,
        "killed": killed,
        "in_put": in_put,
        "purged": purged,
        "purged_unlocked": purged_unlocked,
        "changed": changed,
    }
    sys.stdout.write(json.dumps(scenarios[sys.argv[1]]()))
