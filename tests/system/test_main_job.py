"""Two agencies exchange, acknowledge, update and resolve an alert, and hold the proof."""

from __future__ import annotations

import contextlib
import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

from tests.cli.contract import check_document
from tests.system.agencies import ROOT, SMALLEST, TOCSIN, Node, introduce, until


def test_an_alert_is_posted_read_acknowledged_updated_and_resolved(pair: tuple[Node, Node], tmp_path: Path) -> None:
    bogota, berlin = pair

    posted = bogota.post("bka.de", "--wait", "30")
    check_document("post", posted)
    assert [recipient["state"] for recipient in posted["recipients"]] == ["stored"]
    message, case = posted["message_id"], posted["case_id"]

    inbox = berlin.ok("inbox")
    check_document("inbox", inbox)
    assert [entry["message_id"] for entry in inbox["messages"]] == [message]
    assert inbox["messages"][0]["opened_at"] is None

    shown = berlin.ok("show", message)
    check_document("show", shown)
    assert shown["content"]["persons"][0]["names"][0]["full"] == "Luc\u00eda P\u00e9rez"
    assert shown["opened_at"] is not None
    until(lambda: bogota.state(message, "bka.de") == "opened", "opened")

    ack = berlin.ok("ack", message[-6:], "--accept")
    check_document("ack", ack)
    assert ack["case_id"] == case
    assert ack == berlin.ok("ack", message, "--accept")
    other = berlin.cli("ack", message, "--reject", "refused_by_officer").document["error"]
    assert other["code"] == "wrong_state"
    assert other["hint"].endswith(f"tocsin -D {berlin.directory} note {case} -")
    until(lambda: bogota.state(message, "bka.de") == "accepted", "accepted")
    track = bogota.ok("track", message)
    check_document("track", track)
    assert [receipt["level"] for receipt in track["recipients"][0]["receipts"]] == ["stored", "opened", "accepted"]

    newer = {**SMALLEST, "summary": "White van seen at the bridge"}
    updated = bogota.ok("update", case, "-", "--wait", "30", given=json.dumps(newer).encode())
    assert (updated["revision"], updated["recipients"][0]["state"]) == (2, "stored")
    assert {entry["message_id"]: entry["superseded_by"] for entry in berlin.inbox()}[message] == updated["message_id"]
    assert (
        berlin.cli("update", case, "-", given=json.dumps(newer).encode()).document["error"]["code"] == "policy_denied"
    )

    noted = berlin.ok("note", case, "Border police informed", "--wait", "30")
    assert noted["recipients"][0]["agency"] == "ponal.co"

    resolved = bogota.ok("resolve", case, "--outcome", "found_safe", "--wait", "30")
    assert resolved["recipients"][0]["state"] == "stored"
    inbound = berlin.ok("status")["inbound"]
    assert inbound == {"unopened": 2, "undecided": 2, "listed": {"unopened": 1, "undecided": 1}}  # the update is over
    thread = berlin.ok("show", case)
    check_document("case", thread)
    assert thread["state"] == "resolved"
    assert [entry["kind"] for entry in thread["messages"]] == ["alert", "update", "note", "resolve"]

    for node in pair:
        assert node.ok("log", "verify")["ok"]
        check_document("status", node.ok("status"))
        check_document("peer_list", node.ok("peer", "list"))
    check_document("doctor", bogota.ok("doctor", "bka.de"))
    check_document("doctor", bogota.ok("doctor"))

    file = tmp_path / "e.tocsin"
    check_document("evidence_export", bogota.ok("evidence", "export", message, "-o", str(file), "--with-content"))
    for node in pair:
        assert node.stop() == 0
        shutil.rmtree(node.directory)
    alone = tmp_path / "court"
    alone.mkdir()
    shutil.move(file, alone / "e.tocsin")
    verified = bogota.cli("evidence", "verify", str(alone / "e.tocsin"), directory=False)
    check_document("evidence_verify", verified.document)
    assert (verified.exit, verified.document["verdict"], verified.document["case_id"]) == (0, "proved", case)
    claims = {(claim["claim"], claim["agency"]): claim["result"] for claim in verified.document["claims"]}
    assert claims[("issued", "ponal.co")] == claims[("stored", "bka.de")] == claims[("accepted", "bka.de")] == "proved"


def test_a_post_with_the_same_id_and_bytes_gives_the_first_answer_and_other_bytes_are_refused(
    pair: tuple[Node, Node],
) -> None:
    bogota, berlin = pair
    identity = "0193a5b2-7c1e-4d3a-9f00-1234567890ab"

    first = bogota.post("bka.de", "--id", identity, "--wait", "30")
    again = bogota.post("bka.de", "--id", identity)
    other = bogota.cli(
        "post", "-", "--to", "bka.de", "--id", identity, given=json.dumps({**SMALLEST, "summary": "other"}).encode()
    )

    assert (first["repeated"], again["repeated"]) == (False, True)
    assert again["message_id"] == first["message_id"]
    assert (other.exit, other.document["error"]["code"]) == (65, "id_reused")
    assert len(berlin.inbox()) == 1


SECRETS = ("Luc\u00eda", "white van", "SECRET-REF-77", "duty-07", "correct horse")


def test_case_content_is_nowhere_in_clear_on_either_disk(pair: tuple[Node, Node]) -> None:
    bogota, berlin = pair
    posted = bogota.post("bka.de", "--wait", "30", local_refs=[{"system": "national_cms", "ref": "SECRET-REF-77"}])
    berlin.ok("show", posted["message_id"])
    berlin.ok("ack", posted["message_id"], "--accept")
    until(lambda: bogota.state(posted["message_id"], "bka.de") == "accepted", "accepted")

    for node in pair:
        disk = b"".join(path.read_bytes() for path in node.directory.rglob("*") if path.is_file())
        log = (node.home / f"{node.agency}.log").read_bytes()
        metrics = json.dumps(node.ask("metrics")).encode()
        assert node.process is not None
        shown = b"".join((Path("/proc") / str(node.process.pid) / name).read_bytes() for name in ("cmdline", "environ"))
        for secret in (*SECRETS, posted["case_id"]):
            for place in (disk, log, metrics, shown):
                assert secret.encode() not in place


def test_what_goes_over_the_line_cannot_be_read_without_the_addressee_s_key(pair: tuple[Node, Node]) -> None:
    """Bodies are deflated before they are sealed: whoever looks for words must inflate first, from any byte on."""
    bogota, berlin = pair
    bogota.post("bka.de", "--wait", "30")
    berlin.stop()
    bogota.post("bka.de", local_refs=[{"system": "national_cms", "ref": "SECRET-REF-77"}])
    bogota.stop()

    ((body,),) = bogota.rows("SELECT body FROM body")

    assert len(body) in {(1024 << step) + 1136 for step in range(9)}
    for start in range(len(body)):
        found = body[start:]
        with contextlib.suppress(zlib.error):
            found += zlib.decompressobj(-15).decompress(found)
        assert not any(secret.encode() in found for secret in SECRETS)


def test_a_message_to_an_agency_that_cannot_have_it_is_posted_to_nobody(pair: tuple[Node, Node]) -> None:
    bogota, berlin = pair

    said = bogota.cli("post", "-", "--to", "bka.de,nobody.example", given=json.dumps(SMALLEST).encode())

    assert said.document["error"]["code"] == "unknown_agency"
    assert "--to bka.de" in said.document["error"]["hint"]
    assert bogota.ok("status")["log"]["size"] == bogota.ok("status")["log"]["size"]
    assert berlin.inbox() == []


def test_what_was_posted_while_the_peer_was_down_arrives_when_it_returns(pair: tuple[Node, Node]) -> None:
    bogota, berlin = pair
    berlin.kill()

    posted = [bogota.post("bka.de")["message_id"] for _ in range(3)]
    assert {bogota.state(message, "bka.de") for message in posted} == {"queued"}
    check_document("why", bogota.ok("why", posted[0]))

    berlin.start()
    until(lambda: all(bogota.state(message, "bka.de") == "stored" for message in posted), "delivery after the return")
    assert sorted(entry["message_id"] for entry in berlin.inbox()) == sorted(posted)


def test_a_suspended_peer_keeps_a_cancel_from_nobody_else_and_gets_it_when_it_is_resumed(
    make_node: Callable[[str, str], Node],
) -> None:
    nodes = bogota, berlin, lyon = (
        make_node("ponal.co", "CO"),
        make_node("bka.de", "DE"),
        make_node("interpol.int", "FR"),
    )
    for node in nodes:
        node.start()
    introduce(*nodes)
    case = bogota.post("bka.de,interpol.int", "--wait", "30")["case_id"]
    bogota.ok("peer", "suspend", "bka.de", "--reason", "audit")
    cancel = ("cancel", case, "--reason", "false_report")

    whole = bogota.cli(*cancel)
    foreign = bogota.cli(*cancel, "--without", "fbi.gov")
    without = bogota.ok(*cancel, "--without", "bka.de", "--wait", "30")

    assert (whole.exit, whole.document["error"]["code"]) == (77, "peer_not_usable")
    assert "--without bka.de" in whole.document["error"]["hint"]
    assert (foreign.exit, foreign.document["error"]["code"]) == (65, "unknown_agency")
    assert [(one["agency"], one["state"]) for one in without["recipients"]] == [("interpol.int", "stored")]
    assert "cancel" in {entry["kind"] for entry in lyon.inbox()}

    message = without["message_id"]
    still = bogota.cli("resend", message, "--to", "bka.de")
    bogota.ok("peer", "resume", "bka.de")
    bogota.ok("resend", message, "--to", "bka.de")
    until(lambda: bogota.state(message, "bka.de") == "stored", "the cancel at the resumed peer")

    assert (still.exit, still.document["error"]["code"]) == (77, "peer_not_usable")
    assert [entry["kind"] for entry in berlin.inbox()].count("cancel") == 1
    assert bogota.cli("resend", message, "--to", "fbi.gov").document["error"]["code"] == "unknown_agency"


def test_a_renewal_moves_the_end_of_an_alert_and_never_shortens_it_or_hides_it(pair: tuple[Node, Node]) -> None:
    bogota, berlin = pair
    posted = bogota.post("bka.de", "--wait", "30")
    case, first = posted["case_id"], berlin.inbox()[0]["expires_at"]

    earlier = bogota.cli("renew", case, "--until", "2d")
    renewed = bogota.ok("renew", case, "--until", "20d", "--wait", "30")
    inbox = {entry["message_id"]: entry for entry in berlin.inbox()}
    alert, renewal = inbox[posted["message_id"]], inbox[renewed["message_id"]]

    assert (earlier.exit, earlier.document["error"]["code"]) == (65, "invalid_alert")
    assert [problem["path"] for problem in earlier.document["error"]["problems"]] == ["/expires_at"]
    assert (alert["superseded_by"], renewal["superseded_by"]) == (None, None)
    assert alert["expires_at"] == renewal["expires_at"] > first
    assert berlin.ok("show", alert["message_id"])["expires_at"] == renewal["expires_at"]
    assert (
        "SUPERSEDED"
        not in berlin.children.run([*TOCSIN, "-D", str(berlin.directory), "inbox"], cwd=ROOT).stdout.decode()
    )

    again = bogota.ok("renew", case, "--until", "25d", "--wait", "30")
    updated = bogota.ok("update", case, "-", "--wait", "30", given=json.dumps(SMALLEST).encode())
    inbox = {entry["message_id"]: entry for entry in berlin.inbox()}

    assert inbox[renewal["message_id"]]["superseded_by"] == again["message_id"]
    assert inbox[alert["message_id"]]["superseded_by"] == updated["message_id"]
    assert inbox[again["message_id"]]["superseded_by"] == updated["message_id"]
    assert inbox[updated["message_id"]]["expires_at"] == inbox[again["message_id"]]["expires_at"], (
        "not asked to shorten"
    )


def test_what_its_originator_replaced_or_called_off_can_be_rejected_but_not_accepted(pair: tuple[Node, Node]) -> None:
    bogota, berlin = pair
    first = bogota.post("bka.de", "--wait", "30")
    case = first["case_id"]
    second = bogota.ok("update", case, "-", "--wait", "30", given=json.dumps(SMALLEST).encode())["message_id"]

    replaced = berlin.cli("ack", first["message_id"], "--accept")
    bogota.ok("cancel", case, "--reason", "false_report", "--wait", "30")
    called_off = berlin.cli("ack", second, "--accept")

    for said, newer in ((replaced, second), (called_off, None)):
        assert (said.exit, said.document["error"]["code"]) == (65, "wrong_state")
        assert newer is None or newer in said.document["error"]["hint"]
    assert {entry["decision"] for entry in berlin.inbox()} == {None}
    assert berlin.ok("ack", second, "--actioned")["level"] == "actioned"


def test_a_cancel_whose_answer_was_lost_may_be_repeated_after_the_case_is_closed(pair: tuple[Node, Node]) -> None:
    bogota, _ = pair
    case = bogota.post("bka.de", "--wait", "30")["case_id"]
    same = ("cancel", case, "--reason", "false_report", "--id", "0193a5b2-7c1e-4d3a-9f00-1234567890ab")

    first, second = bogota.ok(*same), bogota.ok(*same)

    assert (first["repeated"], second["repeated"]) == (False, True)
    assert first["message_id"] == second["message_id"]
    other = bogota.cli(*same, "--without", "bka.de")
    assert (other.exit, other.document["error"]["code"]) == (65, "id_reused")
