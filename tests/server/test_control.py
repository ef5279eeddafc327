"""The parent's end of the control socket: its place, and who is let in."""

from __future__ import annotations

import json
import os
import socket
import stat
import tempfile
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from proxy.server.control import Control, address, uid_of_peer
from tests.origins.ports import free_ports

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.server.control import Reply

HOST = "127.0.0.1"
forms = pytest.mark.parametrize("abstract", [True, False])


def nothing(_line: bytes, reply: Reply) -> None:
    reply({})


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return free_ports(1)[0]


def connect(where: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(5)
    try:
        client.connect(where)
    except OSError:
        client.close()
        raise
    return client


def opened(port: int, *, abstract: bool, **options: Any) -> Control:
    control = Control(nothing, **options)
    control.open(HOST, port, abstract=abstract)
    assert len(control.waiting_for()) == 1
    return control


@forms
def test_its_own_user_is_let_in(port: int, abstract: bool) -> None:
    with closing(opened(port, abstract=abstract)) as control:
        with closing(connect(address(HOST, port, abstract=abstract))) as client:
            accepted = control.accept()
            assert accepted is not None
            assert uid_of_peer(client) == uid_of_peer(accepted) == os.geteuid()
            accepted.close()
        assert control.accept() is None


@forms
def test_another_user_is_refused(port: int, abstract: bool) -> None:
    others = frozenset({os.geteuid() + 1})
    with (
        closing(opened(port, abstract=abstract, users=others)) as control,
        closing(connect(address(HOST, port, abstract=abstract))) as client,
    ):
        assert control.accept() is None
        with client.makefile("rb") as stream:
            assert "own user" in json.loads(stream.readline())["error"]
            assert stream.read() == b""


@forms
def test_nothing_is_left_of_it(port: int, abstract: bool) -> None:
    where = address(HOST, port, abstract=abstract)
    opened(port, abstract=abstract).close()
    with pytest.raises((FileNotFoundError, ConnectionRefusedError)):
        connect(where)
    opened(port, abstract=abstract).close()


def test_a_file_is_for_its_owner_alone(port: int, tmp_path: Path) -> None:
    with closing(opened(port, abstract=False)):
        [file] = tmp_path.iterdir()
        assert stat.filemode(file.stat().st_mode) == "srw-------"
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_a_server_that_was_killed_is_replaced(port: int) -> None:
    opened(port, abstract=False).leave()
    with closing(opened(port, abstract=False)):
        connect(address(HOST, port, abstract=False)).close()


@forms
def test_a_name_that_is_taken_is_told_and_no_more(
    port: int, abstract: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(opened(port, abstract=True)):
        (tmp_path / f"s3proxy-{HOST}-{port}.sock").write_text("something else")
        second = Control(nothing)
        second.open(HOST, port, abstract=abstract)
        assert second.waiting_for() == []
        assert second.accept() is None
        second.close()
    assert [record.message for record in caplog.records] == ["no control socket"]
    assert (tmp_path / f"s3proxy-{HOST}-{port}.sock").exists()


def test_one_is_answered_at_a_time(port: int) -> None:
    with closing(opened(port, abstract=True)) as control:
        control.answered_by(12345)
        assert control.waiting_for() == []
        control.ended(12346)
        assert control.waiting_for() == []
        control.ended(12345)
        assert len(control.waiting_for()) == 1


def test_every_host_is_one_place() -> None:
    assert address("", 80) == address("0.0.0.0", 80) == address("::", 80)
    assert len({address("", 80), address("", 81), address(HOST, 80)}) == 3
