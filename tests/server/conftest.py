"""One proxy for all tests of a module that leave its state alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.origins import ScriptedOrigin, respond
from tests.served.process import Served

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def module_origin() -> Iterator[ScriptedOrigin]:
    """Has every key, with the body `hello`."""
    with ScriptedOrigin() as origin:
        origin.default(respond(200, b"hello", {"ETag": '"e"', "Content-Type": "text/plain"}))
        yield origin


@pytest.fixture(scope="module")
def proxy(module_origin: ScriptedOrigin) -> Iterator[Served]:
    """Serves `module_origin` with the default configuration."""
    with Served(module_origin.environ()) as served:
        yield served
