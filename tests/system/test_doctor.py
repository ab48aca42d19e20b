"""`doctor A` against real nodes: it says that a step is well only when something came back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from tests.cli.contract import check_document
from tests.system.agencies import Node

MakeNode = Callable[[str, str], Node]


def checks(node: Node, peer: str) -> dict[str, dict[str, Any]]:
    said = node.cli("doctor", peer)
    check_document("doctor", said.document)
    assert (said.exit, said.document["ok"]) == (1, False)
    return {check["name"]: check for check in said.document["checks"]}


def test_a_peer_that_does_not_answer_for_whatever_reason_is_never_called_well(make_node: MakeNode) -> None:
    bogota, berlin = make_node("ponal.co", "CO"), make_node("bka.de", "DE")
    for node in (bogota, berlin):
        node.start()
    bogota.ok("peer", "add", str(berlin.directory / "card.tocsin"))
    pending = checks(bogota, "bka.de")
    assert (pending["tls"]["result"], pending["trust"]["result"]) == ("skip", "fail")
    assert "peer add" in pending["trust"]["next_step"]

    bogota.trust(berlin)
    berlin.ok("peer", "add", str(bogota.directory / "card.tocsin"))
    assert checks(bogota, "bka.de")["tls"]["result"] == "fail"  # it has not confirmed us

    berlin.trust(bogota)
    bogota.ok("doctor", "bka.de")
    assert berlin.process is not None
    os.kill(berlin.process.pid, signal.SIGSTOP)
    frozen = checks(bogota, "bka.de")
    assert frozen["tls"]["result"] == "warn"
    os.kill(berlin.process.pid, signal.SIGCONT)
    assert frozen["receipt"]["result"] == "fail"
    message = frozen["receipt"]["next_step"].rpartition("tocsin why ")[2]
    assert bogota.ok("why", message)["message_id"] == message

    bogota.ok("peer", "suspend", "bka.de")
    suspended = checks(bogota, "bka.de")
    assert suspended["tls"]["result"] == "skip"
    assert suspended["trust"]["next_step"] == "tocsin peer resume bka.de"
