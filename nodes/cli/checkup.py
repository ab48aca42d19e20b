"""`doctor` without a node: what can be seen of a stopped node's directory from outside. Opens no key and no store."""

from __future__ import annotations

import errno
import shlex
import shutil
import socket
import stat
import time
from pathlib import Path

from nodes.cli.client import Document
from nodes.cli.times import show_size
from nodes.config import NodeConfig, format_listen, load_config
from nodes.directory import Layout, check_directory, layout_of
from nodes.errors import ConfigError, OperationError


def check_stopped(directory: Path, peer: str | None, refusal: OperationError) -> Document:
    """A doctor document whose first finding is that the node does not run (`refusal` says so)."""
    checks = [_check("node_not_running", "fail", refusal.message, refusal.hint, time.monotonic())]
    checks.append(_directory(directory))
    checks.append(_keys(layout_of(directory)))
    began = time.monotonic()
    try:
        config = load_config(directory)
    except ConfigError as error:
        unreadable = f"node.toml cannot be used: {error.message}"
        checks += [_check("disk", "skip", unreadable, error.hint, began), *_unseen()]
        checks.append(_check("listen", "fail", unreadable, error.hint, began))
    else:
        checks += [_disk(layout_of(directory), config), *_unseen(), _listen(config)]
    return {"v": 1, "ok": False, "peer": peer, "checks": checks}


def _directory(directory: Path) -> Document:
    began = time.monotonic()
    try:
        check_directory(directory)
    except ConfigError as error:
        return _check("directory", "fail", error.message, error.hint, began)
    return _check("directory", "ok", "The directory is whole and its modes are right.", None, began)


def _keys(layout: Layout) -> Document:
    began = time.monotonic()
    try:
        files = [path for path in layout.keys.iterdir() if path.is_file()]
        wide = sorted(path.name for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077)
    except OSError as problem:
        return _check(
            "keys", "fail", f"The key files cannot be seen: {problem.strerror}.", "run it as the node's user", began
        )
    if not files:
        return _check("keys", "fail", "There are no key files.", "restore them, or make a new node", began)
    if wide:
        said = f"Others may read {', '.join(wide)}."
        return _check(
            "keys", "fail", said, f"chmod 600 {shlex.quote(str(layout.keys))}/*, and find out who read them", began
        )
    return _check("keys", "ok", f"{len(files)} key files, readable by their owner only.", None, began)


def _disk(layout: Layout, config: NodeConfig) -> Document:
    began = time.monotonic()
    try:
        free = shutil.disk_usage(layout.store).free
    except OSError as problem:
        return _check("disk", "fail", f"The store's disk cannot be asked: {problem.strerror}.", "mount it", began)
    if free < config.disk.floor_bytes:
        said = f"{show_size(free)} are free, less than disk.floor_bytes asks for: new posts would be refused."
        return _check("disk", "fail", said, "free space on this disk", began)
    return _check("disk", "ok", f"{show_size(free)} are free.", None, began)


def _unseen() -> list[Document]:
    began = time.monotonic()
    start = "start the node"
    return [
        _check("clock", "skip", "Compared with the log only while the node runs.", start, began),
        _check("store", "skip", "Looked into only while the node runs.", start, began),
        _check("log", "skip", "Not looked into here.", "tocsin log verify", began),
    ]


def _listen(config: NodeConfig) -> Document:
    began = time.monotonic()
    if config.listen is None:
        return _check("listen", "ok", "This node takes no connections; it calls its peers.", None, began)
    host, port = config.listen
    shown = format_listen(config.listen)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as trial:
            # As the node itself does: what lingers of its last connections is no obstacle.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as problem:
        taken = problem.errno == errno.EADDRINUSE
        said = f"{shown} is in use by another program." if taken else f"{shown} cannot be used: {problem.strerror}."
        step = "stop that program, or change `listen` in node.toml" if taken else "change `listen` in node.toml"
        return _check("listen", "fail", said, step, began)
    return _check("listen", "ok", f"{shown} is free.", None, began)


def _check(name: str, result: str, sentence: str, next_step: str | None, began: float) -> Document:
    return {
        "name": name,
        "result": result,
        "sentence": sentence,
        "next_step": next_step,
        "elapsed_ms": round((time.monotonic() - began) * 1000),
    }
