"""proxy/core decides from its arguments alone: no clock, I/O, logging, randomness or framework."""

import ast
import sys
from pathlib import Path

import pytest

import proxy.core

CORE = Path(proxy.core.__file__).parent
IMPURE_MODULES = {
    *("asyncio", "concurrent", "glob", "http.client", "http.server", "io", "logging", "mmap"),
    *("multiprocessing", "os", "pathlib", "queue", "random", "sched", "secrets", "select"),
    *("selectors", "shelve", "shutil", "signal", "socket", "socketserver", "sqlite3", "ssl"),
    *("subprocess", "sys", "tempfile", "threading", "time", "urllib.request", "uuid"),
}
IMPURE_CALLS = {"open", "print", "input", "eval", "exec", "__import__"}
CLOCK_METHODS = {"now", "utcnow", "today"}


def impurities(source: str) -> list[str]:
    """Name everything in a module that its place in proxy/core forbids."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [name.name for name in names if not _is_pure(name.name)]
            case ast.ImportFrom(level=level) if level > 1:
                found.append("." * level)
            case ast.ImportFrom(level=0, module=str(module), names=names):
                # `from urllib import request` imports a module, `from re import compile` does not.
                found += [
                    f"{module}.{name.name}"
                    for name in names
                    if not _is_pure(module) or f"{module}.{name.name}" in IMPURE_MODULES
                ]
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                found.append(f"{name}()")
            case ast.Attribute(attr=name) if name in CLOCK_METHODS:
                found.append(f".{name}")
            case ast.Await() | ast.AsyncFunctionDef() | ast.AsyncFor() | ast.AsyncWith():
                found.append("async")
            case _:
                pass
    return found


def _is_pure(module: str) -> bool:
    top = module.partition(".")[0]
    if top == "proxy":
        return module == "proxy.core" or module.startswith("proxy.core.")
    return top in sys.stdlib_module_names and not {top, module} & IMPURE_MODULES


@pytest.mark.parametrize(
    "path", sorted(CORE.rglob("*.py")), ids=lambda path: path.relative_to(CORE).as_posix()
)
def test_core_module_is_pure(path: Path) -> None:
    assert impurities(path.read_text(encoding="utf-8")) == []


def test_core_has_modules_to_look_at() -> None:
    assert {"ranges.py", "preconditions.py"} <= {path.name for path in CORE.rglob("*.py")}


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import time as t",
        "from time import monotonic",
        "import os.path",
        "from os import path",
        "import logging",
        "import random",
        "import asyncio",
        "import socket",
        "from urllib import request",
        "import urllib.request",
        "import django",
        "from django.conf import settings",
        "import botocore.session",
        "import proxy.gateway",
        "from proxy import conf",
        "from proxy.cache import lru",
        "from .. import conf",
        "def f():\n    import time",
        "if TYPE_CHECKING:\n    from django.http import HttpRequest",
        "datetime.now(UTC)",
        "datetime.datetime.utcnow()",
        "date.today()",
        "clock = datetime.now",
        "open('x')",
        "print(1)",
        "async def f(): ...",
    ],
)
def test_impurity_is_noticed(source: str) -> None:
    assert impurities(source) != []


@pytest.mark.parametrize(
    "source",
    [
        "import re",
        "from urllib.parse import unquote_to_bytes",
        "from datetime import date",
        "from proxy.core.ranges import ByteRange",
        "from proxy.core import ranges",
        "from . import ranges",
        "def f(now: float) -> float: return now",
    ],
)
def test_pure_code_is_left_alone(source: str) -> None:
    assert impurities(source) == []
