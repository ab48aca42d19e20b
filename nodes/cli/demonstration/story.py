"""The story: what happens, what is claimed, and the check of each claim against real processes. Owns the order of
events and the claims.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nodes.cli.client import stream
from nodes.cli.demonstration.agencies import COLOMBIA, GERMANY, INTERPOL, Agency, DemoError, run_tocsin

CHILD, PLATE, PHONE = "Lucía Pérez Arango", "SXK 482", "+573004417722"
BATCH = 20
CLAIMS = 6
WAIT_S = 30.0

ALERT: dict[str, Any] = {
    "kind": "alert",
    "precedence": "flash",
    "summary": "Girl, 9, taken from school in Cucuta, white van towards the border",
    "handling": {"tlp": "AMBER", "permitted_actions": "stop_and_protect", "caveats": ["NO_FAMILY_CONTACT"]},
    "incident": {
        "type": "child_nonfamily",
        "confirmation": "confirmed",
        "taken": {
            "earliest": "2026-11-23T02:10:00-05:00",
            "latest": "2026-11-23T02:30:00-05:00",
            "tz": "America/Bogota",
        },
        "risk": {"level": "extreme", "life_at_risk": True, "reasons": ["child_under_13"]},
    },
    "persons": [
        {
            "id": "p1",
            "roles": ["victim"],
            "identified": "yes",
            "names": [{"full": CHILD, "type": "official"}],
            "age": {"min": 9, "max": 9},
            "minor": "yes",
            "status": "held_suspected",
        }
    ],
    "vehicles": [{"id": "v1", "kind": "van", "plates": [{"text": PLATE, "country": "CO"}], "colours": ["white"]}],
    "comms": [{"id": "c1", "type": "msisdn", "value": PHONE, "role": "offender_demand"}],
    "locations": [{"id": "l1", "role": "abduction", "country": "CO", "locality": "Cúcuta"}],
    "requested_actions": [{"action": "check_border", "target": "p1", "if_found": "stop_protect_victim"}],
}


@dataclass(slots=True)
class Claim:
    """Something a chief was promised, and whether it held."""

    text: str
    held: bool


@dataclass(slots=True)
class Story:
    """Tells itself line by line through `say` and collects the claims."""

    home: Path
    say: Callable[[str], None]
    detail: Callable[[str], None]
    claims: list[Claim] = field(default_factory=list)

    def tell(self) -> bool:
        """The whole of it. True if every claim held."""
        agencies = [Agency(cast, self.home) for cast in (COLOMBIA, GERMANY, INTERPOL)]
        bogota, germany, interpol = agencies
        with self._running(agencies):
            self._meet(agencies)
            message = self._post(bogota, germany)
            self._thief(agencies, germany)
            self._crash(bogota, interpol)
            self._accept(bogota, germany, message)
            self._resolve(bogota, germany, interpol, message)
            self._evidence(bogota, message)
            self.keep(agencies)
        return all(claim.held for claim in self.claims)

    def keep(self, agencies: list[Agency]) -> None:
        """Called while the nodes still run; overridden by `--keep`."""

    @contextmanager
    def _running(self, agencies: list[Agency]) -> Iterator[None]:
        try:
            yield
        finally:
            with ThreadPoolExecutor(len(agencies)) as pool:
                list(pool.map(Agency.stop, agencies))
            for agency in agencies:
                agency.tap.close()

    def claim(self, text: str, held: bool) -> None:  # what was claimed, and whether it held
        """Tick or cross."""
        self.claims.append(Claim(text, held))
        if not held:
            self.say(f"FAILED: {text}")

    # --- scenes

    def _meet(self, agencies: list[Agency]) -> None:
        with ThreadPoolExecutor(len(agencies)) as pool:
            list(pool.map(Agency.make, agencies))
        for agency in agencies:  # from this thread: the kernel kills a child when the thread that made it ends
            agency.start()
            agency.enrol()
        self.say(
            "Three agencies start their nodes: " + ", ".join(f"{a.cast.agency} ({a.cast.place})" for a in agencies)
        )
        self.detail("each made its keys itself: Ed25519 + ML-DSA for signing, X-Wing epoch keys for sealing")
        for agency in agencies:
            for other in agencies:
                if other is not agency:
                    agency.trust(other)
        self.say("They exchange cards and type each other's safety codes, as after a telephone call")
        for agency in agencies:
            _until(partial(_has_met_all, agency), "the first contact")

    def _post(self, bogota: Agency, germany: Agency) -> str:
        arrivals: queue.SimpleQueue[float] = queue.SimpleQueue()
        watching = threading.Event()
        threading.Thread(target=_watch, args=(germany, arrivals, watching), daemon=True).start()
        watching.wait(WAIT_S)
        began = time.monotonic()
        posted = bogota.document("post", content=json.dumps(ALERT), to=["bka.de", "interpol.int"], wait_s=WAIT_S)
        proved = (time.monotonic() - began) * 1000
        shown = (arrivals.get(timeout=WAIT_S) - began) * 1000
        self.say(f"Bogota posts: {ALERT['summary']}")
        self.say(
            f"On the German screen after {shown:.0f} ms; signed proof of both back in Bogota after {proved:.0f} ms"
        )
        stored = all(recipient["state"] == "stored" for recipient in posted["recipients"])
        self.claim("the alert is on the German screen, with a signed proof back in Bogota", stored)
        return str(posted["message_id"])

    def _thief(self, agencies: list[Agency], germany: Agency) -> None:
        wire = b"".join(bytes(agency.tap.seen) for agency in agencies)
        disk = germany.disk()
        secrets = {"name": CHILD, "plate": PLATE, "phone": PHONE}
        found = sum(data.count(form) for data in (wire, disk) for text in secrets.values() for form in _forms(text))
        size = (len(wire) + len(disk)) / 1_000_000
        readable = germany.document("show", id=germany.document("inbox")["messages"][0]["message_id"])
        there = CHILD in json.dumps(readable, ensure_ascii=False)
        self.say(
            "A thief taps every line and takes the German disk:"
            f" name, plate and phone found {found} times in {size:.1f} MB"
        )
        self.detail(
            f"{len(wire):,} bytes of the wire, {len(disk):,} of the disk;"
            f" the same search finds the name in what `show` prints: {there}"
        )
        self.claim(
            "a thief of the lines and of the German disk reads nothing", found == 0 and there and len(wire) > 10_000
        )

    def _crash(self, bogota: Agency, interpol: Agency) -> None:
        before = {entry["message_id"] for entry in interpol.document("inbox")["messages"]}
        sent = []
        for number in range(BATCH):
            if number == BATCH // 4:
                interpol.kill()
                self.say("INTERPOL's node is killed with -9 in the middle of the work")
            text = {**ALERT, "precedence": "immediate", "summary": f"Exercise of the line, vehicle report {number + 1}"}
            sent.append(bogota.document("post", content=json.dumps(text), to=["interpol.int"])["message_id"])
        interpol.start()
        self.say("It is started again")
        _until(lambda: _stored(bogota, sent), "the alerts of the crash")
        listed = [
            entry["message_id"] for entry in interpol.document("inbox")["messages"] if entry["message_id"] not in before
        ]
        arrived = len(set(listed) & set(sent))
        self.say(f"{arrived} of {BATCH} alerts are there, {len(listed) - len(set(listed))} twice")
        self.claim(f"nothing is lost and nothing comes twice: {BATCH} of {BATCH}", sorted(listed) == sorted(sent))

    def _accept(self, bogota: Agency, germany: Agency, message: str) -> None:
        germany.document("show", id=message)
        germany.document("ack", id=message, level="accepted")
        _until(lambda: _state(bogota, message, "bka.de") == "accepted", "the German decision")
        recipients = {r["agency"]: r for r in bogota.document("track", id=message)["recipients"]}
        accepted = next(r for r in recipients["bka.de"]["receipts"] if r["level"] == "accepted")
        unseen = [agency for agency, r in recipients.items() if r["state"] == "stored"]
        steps = {entry["agency"]: entry["next_step"] for entry in bogota.document("why", id=message)["recipients"]}
        self.say(f"Germany accepts: Bogota sees {accepted['officer']} at {accepted['at'][11:19]} UTC")
        for agency in unseen:
            self.say(f"Nobody at {agency} has looked yet: {steps[agency].partition(':')[0]}")
        phone = INTERPOL.contact in steps.get("interpol.int", "")
        self.claim(
            "Bogota knows who accepted, when, who has not looked and whom to call", bool(accepted["officer"]) and phone
        )

    def _resolve(self, bogota: Agency, germany: Agency, interpol: Agency, message: str) -> None:
        case = bogota.document("track", id=message)["case_id"]
        closed = bogota.document("resolve", case=case, outcome="found_safe", wait_s=WAIT_S)
        self.say("The girl is found safe: everyone stands down")
        states = [agency.document("show", id=case)["state"] for agency in (germany, interpol)]
        stored = all(recipient["state"] == "stored" for recipient in closed["recipients"])
        self.claim("everyone who had the alert holds the all-clear", stored and states == ["resolved", "resolved"])

    def _evidence(self, bogota: Agency, message: str) -> None:
        court = self.home / "court"
        court.mkdir()
        file = court / "evidence.tocsin"
        run_tocsin(
            "-D", str(bogota.directory), "evidence", "export", message, "-o", str(file), "--with-content", "--json"
        )
        verdict = json.loads(run_tocsin("evidence", "verify", file.name, "--json", cwd=court))
        claims = ", ".join(dict.fromkeys(f"{claim['claim']} by {claim['agency']}" for claim in verdict["claims"]))
        self.say(f"A judge verifies the file without any node: {verdict['verdict']} ({claims})")
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        altered = json.loads(run_tocsin("evidence", "verify", file.name, "--json", cwd=court, expect=(65,)))
        reason = altered.get("error", {}).get("code") or altered.get("verdict")
        detail = next((claim["reason"] for claim in altered.get("claims", ()) if claim["reason"]), None)
        self.say(f"One byte changed: refused ({detail or reason})")
        self.claim("the evidence convinces a stranger, and one changed byte does not", verdict["verdict"] == "proved")


def _watch(agency: Agency, arrivals: queue.SimpleQueue[float], watching: threading.Event) -> None:
    for answer in stream(agency.directory, "watch", {}):
        if answer.document.get("event") == "message":
            arrivals.put(time.monotonic())
            return
        watching.set()


def _forms(text: str) -> list[bytes]:
    """How a text may lie on a disk or a wire in clear: UTF-8, UTF-16, JSON escapes."""
    return [text.encode(), text.encode("utf-16-le"), json.dumps(text)[1:-1].encode()]


def _state(agency: Agency, message: str, recipient: str) -> str:
    return next(str(r["state"]) for r in agency.document("track", id=message)["recipients"] if r["agency"] == recipient)


def _has_met_all(agency: Agency) -> bool:
    return all(peer["reachable"] for peer in agency.document("status")["peers"])


def _stored(agency: Agency, messages: list[str]) -> bool:
    return all(_state(agency, message, "interpol.int") == "stored" for message in messages)


def _until(happened: Callable[[], bool], what: str) -> None:
    """Wait for something that only another process can bring about."""
    pause = threading.Event()
    deadline = time.monotonic() + WAIT_S
    while not happened():
        if time.monotonic() > deadline:
            raise DemoError(f"{what} did not happen within {WAIT_S:.0f} s")
        pause.wait(0.05)
