"""Signs and fetches objects in one event loop, as a program of its own.

``python -m bench.bare_origin_loop PORT PREFIX CONCURRENCY SECONDS`` writes a `Measurement` as
JSON. This is what a miss costs where nothing is looked up, decided, shared, stored or sent on.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import resource
import sys
import time
from typing import TYPE_CHECKING

import aiohttp
import uvloop
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from yarl import URL

from bench.errors import BenchError
from bench.measurement import Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator


async def fetch(session: aiohttp.ClientSession, url: str, signer: S3SigV4Auth) -> tuple[float, int]:
    """Seconds and bytes of one GET."""
    started = time.perf_counter()
    signed = AWSRequest(method="GET", url=url)
    signer.add_auth(signed)
    headers = {"Accept-Encoding": "identity", **dict(signed.headers.items())}
    async with session.get(URL(url, encoded=True), headers=headers) as response:
        body = await response.read()
        if response.status != 200:
            raise BenchError(f"the origin answers {response.status}")
    return time.perf_counter() - started, len(body)


async def measure(base: str, concurrency: int, seconds: float) -> Measurement:
    """Keep ``concurrency`` requests running for a while, each for another key."""
    signer = S3SigV4Auth(Credentials("benchmark", "benchmark-secret"), "s3", "us-east-1")
    times: list[float] = []
    received = 0
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        # The connections are opened before the time runs.
        await asyncio.gather(
            *(fetch(session, f"{base}warm-{n}", signer) for n in range(concurrency))
        )
        started, cpu = time.perf_counter(), time.process_time()
        end = started + seconds

        async def work(numbers: Iterator[int]) -> None:
            nonlocal received
            while time.perf_counter() < end:
                took, size = await fetch(session, f"{base}{next(numbers)}", signer)
                times.append(took)
                received += size

        numbers = itertools.count()
        await asyncio.gather(*(work(numbers) for _ in range(concurrency)))
        elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
    return Measurement.of_times(
        times,
        seconds=elapsed,
        received=received,
        cpu_seconds=cpu,
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def main() -> None:
    """Measure as the command line says."""
    port, prefix, concurrency, seconds = sys.argv[1:]
    base = f"http://127.0.0.1:{port}{prefix}"
    measured = uvloop.run(measure(base, int(concurrency), float(seconds)))
    sys.stdout.write(json.dumps(dataclasses.asdict(measured)))


if __name__ == "__main__":
    main()
