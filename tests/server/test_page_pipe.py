"""Answers go from the store's pages to a socket whole, in order, or not at all."""

from __future__ import annotations

import fcntl
import math
import os
import random
import socket
from typing import TYPE_CHECKING

import pytest

from proxy.cache.blocks import Piece
from proxy.cache.layout import Plan
from proxy.cache.shared_store import Content, Lifetime, SharedStore
from proxy.server.page_pipe import PagePipe, Pages

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = random.Random(5).randbytes(200_000)
HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.fixture
def store() -> SharedStore:
    return SharedStore("pages", Plan.of(100, 4 * 2**20, 1))


@pytest.fixture
def pages(store: SharedStore) -> Pages:
    forever = Lifetime(math.inf, math.inf, math.inf)
    placed = store.put("k", Content(1, b"head", BODY), forever)
    assert placed is not None
    assert placed.body_place is not None
    return Pages(placed.slot, placed.version, placed.body_place.pieces, len(BODY))


@pytest.fixture
def pipe(store: SharedStore) -> PagePipe:
    return PagePipe(store.splice)


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
        ours.setblocking(False)
        theirs.settimeout(10)
        with ours, theirs:
            yield ours, theirs


def read_all(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := sock.recv(size - len(data))):
        data += piece
    return data


def test_a_socket_is_sent_head_and_body(
    pipe: PagePipe, pages: Pages, sockets: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = sockets
    for _ in range(3):
        assert pages.size <= pipe.most
        assert pipe.fill(HEAD, pages)
        rest = pipe.send(ours.fileno())
        answer = read_all(theirs, len(HEAD) + pages.size - len(rest)) + rest
        assert answer == HEAD + BODY


def test_a_part_of_a_body_is_sent(
    pipe: PagePipe, pages: Pages, sockets: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = sockets
    (whole,) = pages.pieces
    pieces = (Piece(whole.at + 5000, 20_000), Piece(whole.at + 1, 3))
    assert pipe.fill(HEAD, Pages(pages.slot, pages.version, pieces, 20_003))
    assert pipe.send(ours.fileno()) == b""
    expected = HEAD + BODY[5000:25_000] + BODY[1:4]
    assert read_all(theirs, len(expected)) == expected


def test_what_a_full_socket_does_not_take_is_given_back_in_order(
    pipe: PagePipe, pages: Pages, sockets: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = sockets
    sent, rest = b"", b""
    while not rest:
        assert pipe.fill(HEAD, pages)
        rest = pipe.send(ours.fileno())
        sent += HEAD + BODY
    # A full socket takes nothing, and the next answer finds the pipe empty.
    assert pipe.fill(HEAD, pages)
    assert pipe.send(ours.fileno()) == HEAD + BODY
    assert sent.endswith(rest)
    assert read_all(theirs, len(sent) - len(rest)) == sent[: len(sent) - len(rest)]
    assert pipe.fill(HEAD, pages)
    rest = pipe.send(ours.fileno())
    assert read_all(theirs, len(HEAD + BODY) - len(rest)) + rest == HEAD + BODY


def test_a_peer_that_has_gone_is_the_transports_to_notice(
    pipe: PagePipe, pages: Pages, sockets: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = sockets
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    theirs.close()
    for _ in range(2):
        assert pipe.fill(HEAD, pages)
        assert pipe.send(ours.fileno()) == HEAD + BODY


def test_pages_that_are_anothers_by_now_are_not_sent(
    pipe: PagePipe,
    pages: Pages,
    store: SharedStore,
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    store.change("k", 0, stale_since=5.0)
    assert not pipe.fill(HEAD, pages)
    found = store.get("k", 0)
    assert found is not None
    current = Pages(pages.slot, found.placed.version, pages.pieces, pages.size)
    assert pipe.fill(b"next", current)
    ours, theirs = sockets
    rest = pipe.send(ours.fileno())
    assert read_all(theirs, 4 + pages.size - len(rest)) + rest == b"next" + BODY


def test_where_pages_cannot_be_had_there_is_no_second_try(pages: Pages) -> None:
    def refused(*_: object) -> bool:
        raise OSError(22, "Invalid argument")

    pipe = PagePipe(refused)
    assert pages.size <= pipe.most
    assert not pipe.fill(HEAD, pages)
    assert pipe.most == 0


def test_a_short_pipe_takes_but_what_it_has_room_for(
    store: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = fcntl.fcntl

    def refused(descriptor: int, command: int, argument: int = 0) -> int:
        # As the kernel does with those who have too many pipes.
        if command == fcntl.F_SETPIPE_SZ:
            raise PermissionError(1, "Operation not permitted")
        return plain(descriptor, command, argument)

    monkeypatch.setattr(fcntl, "fcntl", refused)
    pipe = PagePipe(store.splice)
    assert pipe.most < 200_000


def test_its_descriptors_are_closed_with_it(store: SharedStore) -> None:
    pipe = PagePipe(store.splice)
    descriptors = pipe._end, pipe._beginning
    for descriptor in descriptors:
        os.fstat(descriptor)
    del pipe
    for descriptor in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
