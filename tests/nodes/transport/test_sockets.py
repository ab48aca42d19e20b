"""The operators' socket: under a path of any length, removed by its owner only, the caller's uid from the kernel."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from nodes.errors import ListenError
from nodes.sockets import LocalListener, caller_of, connect_local


@pytest.fixture(params=["short", "long"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    directory = tmp_path / ("d" if request.param == "short" else "/".join(["n" * 100] * 3))
    directory.mkdir(parents=True)
    return directory / "node.sock"


def test_who_connects_is_known(place: Path) -> None:
    listener = LocalListener(place)
    with connect_local(place, timeout_s=5) as client, listener.socket.accept()[0] as accepted:
        caller = caller_of(accepted)
        assert (caller.pid, caller.uid, caller.gid) == (os.getpid(), os.getuid(), os.getgid())
        client.sendall(b"hello")
        assert accepted.recv(5) == b"hello"
    listener.close()


def test_every_uid_may_connect_whatever_the_umask(place: Path) -> None:
    before = os.umask(0o077)
    try:
        listener = LocalListener(place)
    finally:
        os.umask(before)
    assert stat.S_IMODE(place.stat().st_mode) == 0o666
    listener.close()


def test_the_leftover_of_a_killed_process_is_replaced(place: Path) -> None:
    killed = LocalListener(place)
    killed.socket.close()
    with pytest.raises(ConnectionRefusedError):
        connect_local(place)
    listener = LocalListener(place)
    connect_local(place).close()
    listener.close()


def test_closing_removes_the_socket(place: Path) -> None:
    LocalListener(place).close()
    assert list(place.parent.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        connect_local(place)


def test_closing_leaves_the_socket_of_a_successor_alone(place: Path) -> None:
    first = LocalListener(place)
    second = LocalListener(place)
    first.close()
    connect_local(place).close()
    second.close()


def test_closing_twice_is_closing_once(place: Path) -> None:
    listener = LocalListener(place)
    listener.close()
    listener.close()


def test_a_directory_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(ListenError) as refused:
        LocalListener(tmp_path / "gone" / "node.sock")
    assert refused.value.address == str(tmp_path / "gone" / "node.sock")


def test_no_descriptor_is_left_open(place: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    listener = LocalListener(place)
    connect_local(place).close()
    listener.close()
    with pytest.raises(FileNotFoundError):
        connect_local(place)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_child_does_not_inherit_the_listening_socket(place: Path) -> None:
    listener = LocalListener(place)
    assert not os.get_inheritable(listener.socket.fileno())
    assert listener.socket.type == socket.SOCK_STREAM
    listener.close()
