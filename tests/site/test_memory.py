"""The amount of memory that a process may use."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from s3proxy_site.memory import limit, usable_bytes
from tests.site.test_cores import write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"memory.max": "1048576\n"}, 2**20),
        ("0::/\n", {"memory.max": "max\n"}, math.inf),
        ("0::/\n", {}, math.inf),
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "4096"}, 4096),
        ("0::/a/b\n", {"a/b/memory.max": "8192", "memory.max": "4096"}, 4096),
        ("0::/elsewhere\n", {"memory.max": "4096"}, 4096),
        ("5:memory:/m\n0::/\n", {"memory/m/memory.limit_in_bytes": "4096\n"}, 4096),
        ("5:memory:/host/path\n", {"memory/memory.limit_in_bytes": "4096\n"}, 4096),
        ("5:cpu:/\n", {"memory/memory.limit_in_bytes": "4096\n"}, math.inf),
        ("", {}, math.inf),
    ],
)
def test_control_groups_limit_it(
    tmp_path: Path, membership: str, files: dict[str, str], expected: float
) -> None:
    write(tmp_path, files)
    assert limit(membership, tmp_path) == expected


def test_this_machine_has_some() -> None:
    assert 2**24 < usable_bytes() < 2**60
