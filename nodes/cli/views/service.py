"""The node itself on the screen: status, checks, log, keys, notice."""

from __future__ import annotations

from nodes.cli.page import ALARM, CAUTION, GOOD, QUIET, STRONG, Ours, Page, Piece, Styled
from nodes.cli.times import show_size, show_span, show_time, show_times_in
from nodes.cli.views.fields import Document, at, objects, text, texts
from nodes.cli.words import TRUST, word

_SEVERITIES = {"error": ("ERROR", ALARM), "warning": ("warning", CAUTION), "info": ("info", QUIET)}
_MARKS = {"ok": ("\u2713", GOOD), "warn": ("!", CAUTION), "fail": ("\u2717", ALARM), "skip": ("-", QUIET)}
_REACHABLE = {True: "reachable", False: "NOT reachable", None: "not tried yet"}


def view_status(document: Document, page: Page) -> None:
    """What needs a person first, then how it is."""
    state = text(document, "state")
    page.line(
        Styled(text(document, "agency"), STRONG),
        ": ",
        Styled(state.replace("_", " "), GOOD if state == "running" else ALARM),
        f" since {show_time(document.get('since'))}",
        f", version {text(document, 'version')}",
    )
    _findings(document, page)
    inbound = at(document, "inbound", "listed") or at(document, "inbound")
    page.field("inbox", f"{text(inbound, 'unopened')} not opened, {text(inbound, 'undecided')} not decided")
    oldest = show_time(at(document, "outbound", "oldest_at"))
    custody = text(document, "outbound", "in_custody")
    page.field(
        "outbound",
        f"{text(document, 'outbound', 'queued')} waiting",
        f", {custody} with relays" if custody not in ("", "0") else "",
        f", the oldest since {oldest}" if oldest else "",
    )
    page.field("listens at", text(document, "listen") or "nowhere: it calls its peers")
    page.field("log", f"{text(document, 'log', 'size')} entries, ", text(document, "log", "origin"))
    page.field(
        "disk",
        f"{show_size(at(document, 'disk', 'free'))} free, the store holds {show_size(at(document, 'disk', 'store'))}",
    )
    rows: list[tuple[list[Piece], str]] = []
    for peer in objects(document, "peers"):
        reachable = peer.get("reachable")
        rows.append(
            (
                [
                    ("  ", text(peer, "agency")),
                    word(TRUST, peer.get("trust")),
                    _REACHABLE.get(reachable, "") if reachable is None or isinstance(reachable, bool) else "",
                    show_time(peer.get("last_contact_at")) or "no contact yet",
                    show_span(peer.get("clock_skew_ms")),
                    text(peer, "queued"),
                ],
                CAUTION if reachable is False else "",
            )
        )
    if rows:
        page.blank()
        page.table(["  peer", "trust", "line", "last contact", "clock", "queued"], rows)
    if text(inbound, "undecided") not in ("", "0"):
        page.blank()
        page.line(Ours("Next: tocsin inbox --unacknowledged"))


def view_checks(document: Document, page: Page) -> None:
    """doctor: one line per check; what fails says what to do."""
    peer = text(document, "peer")
    page.line(f"Checking {'the line to ' if peer else 'this node'}", peer)
    for check in objects(document, "checks"):
        mark, style = _MARKS.get(text(check, "result"), ("?", ""))
        elapsed = show_span(check.get("elapsed_ms"))
        page.line(
            Styled(f"{mark} {text(check, 'name').replace('_', ' '):<17}", style),
            show_times_in(text(check, "sentence")),
            Styled(f"  {elapsed}", QUIET) if elapsed else "",
            indent=2,
            hang=19,
        )
        if check.get("next_step") and text(check, "result") != "ok":
            page.line("Next: ", Ours(text(check, "next_step")), indent=21)
    page.line(
        "All is well." if document.get("ok") is True else "Something is wrong: see above.",
        style=GOOD if document.get("ok") is True else ALARM,
    )


def view_log(document: Document, page: Page) -> None:
    """What checking the log found."""
    if document.get("ok") is False:
        page.line(
            "THE LOG IS NOT WHAT WAS SIGNED: ",
            text(document, "reason"),
            f", first at entry {text(document, 'first_bad_index')}" if text(document, "first_bad_index") else "",
            style=ALARM,
        )
        page.line("Next: stop the node, keep the directory as it is, and call whoever keeps this system")
    else:
        page.line("The log is whole.", style=GOOD)
    page.field("log", text(document, "origin"))
    page.field("entries", text(document, "size"))
    page.field("root", text(document, "root_hash"))
    page.field("signed at", show_time(document.get("checkpoint_at")))


def view_keys(document: Document, page: Page) -> None:
    """The keys of this agency: the root, the node key pair, the epoch keys."""
    root, node, epoch = at(document, "root"), at(document, "node"), at(document, "epoch")
    page.field("agency", text(document, "agency"))
    page.field("safety code", text(root, "safety_code"))
    page.field("anchor", f"serial {text(root, 'serial')}, valid until {show_time(at(root, 'expires_at'))}")
    if at(root, "online") is True:
        page.field(
            "root", Ours("ON THIS MACHINE. Next: stop the node, then: tocsin keys export-root -o F"), style=CAUTION
        )
    else:
        page.field("root", "off line")
    page.field("node key", text(node, "key_id"), f", changed {text(node, 'changes')} times, log ", text(node, "origin"))
    page.field(
        "epoch keys",
        f"{text(epoch, 'published')} published (numbers {text(epoch, 'first')} to {text(epoch, 'last')}), "
        f"{text(epoch, 'ahead')} for days to come, {text(epoch, 'destroyed')} destroyed",
    )
    _findings(document, page)


def view_notice(document: Document, page: Page) -> None:
    """How the notice command ended."""
    well = document.get("ok") is True
    took = show_span(document.get("elapsed_ms"))
    page.line(
        "The notice command ran." if well else "THE NOTICE COMMAND FAILED: nobody would have been woken. ",
        "" if well else text(document, "outcome").replace("_", " "),
        f", exit {text(document, 'exit_status')}" if text(document, "exit_status") not in ("", "0") else "",
        f" ({took})" if took else "",
        style=GOOD if well else ALARM,
    )
    page.line(
        "Next: see that somebody was woken"
        if well
        else "Next: put [notice] command in node.toml right and start the node again, "
        "for it reads that file at its start only; then run this again"
    )


def _findings(document: Document, page: Page) -> None:
    for finding in objects(document, "findings"):
        word_, style = _SEVERITIES.get(text(finding, "severity"), (text(finding, "severity"), ""))
        peer = text(finding, "peer")
        page.line(Styled(word_, style), ": ", text(finding, "sentence"), f" ({peer})" if peer else "", indent=2)
        for id_ in texts(finding, "message_ids"):
            page.line(id_, indent=4)
        if finding.get("next_step"):
            page.line("Next: ", Ours(text(finding, "next_step")), indent=4)
