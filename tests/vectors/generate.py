"""Writes the vectors of this directory: `python -m tests.vectors.generate`. What they mean is in docs/vectors.md.

Keys, ids, salts and times come from seeds; ML-DSA signatures (hedged), HPKE and TLS certificates differ in each run.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from exchange.card import armour, encode_card
from exchange.checkpoint import checkpoint_note, checkpoint_to_wire, mldsa_message, note_text
from exchange.entry import (
    AuditHead,
    Custody,
    Entry,
    EpochKey,
    Head,
    Issued,
    KeyDestroyed,
    LogOpened,
    Profile,
    Receipt,
    Refused,
    encode_entry,
)
from exchange.envelope import (
    Header,
    Precedence,
    SealRequest,
    commitment_of,
    encode_header,
    encode_rest,
    seal_message,
)
from exchange.evidence import ContentItem, EnvelopeItem, build_evidence
from exchange.log import Frontier, consistency_proof, inclusion_path, leaf_hash, multi_proof, root_at
from exchange.proof import Proof, proof_to_wire, to_tlog_proof
from exchange.statement import AgencyKeys, EnvelopeFacts, build_agency_keys
from keys.anchor import anchor_to_wire
from keys.encoding import Value, encode
from keys.ids import AgencyId, EnvelopeId, GatewayName, MessageId
from keys.safety_code import safety_code
from keys.sealing import EpochKeyPair, seal
from keys.signing import NodePublicPair
from tests.exchange.agencies import (
    NOW,
    Agency,
    facts_of,
    filler,
    make_agency,
    make_envelope,
    make_test_anchor,
    node_pair,
    root_pair,
    seed,
)

HERE = Path(__file__).resolve().parent
Vector = dict[str, Any]

OK = {"verdict": "ok"}


def refused(reason: str, step: int | None = None) -> Vector:
    """What a reader must say to it."""
    return {"verdict": "refused", "reason": reason} | ({} if step is None else {"step": step})


# --- tree -------------------------------------------------------------------------------------------------------------


def tree_vectors() -> Iterator[Vector]:
    """Leaf i is the entry of the 8 bytes of i, big endian."""
    for size, indices in (
        (1, [0]),
        (2, [1]),
        (7, [0, 3, 6]),
        (8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (255, [254]),
        (256, [0, 255]),
        (257, [255, 256]),
        (1_000, [0, 63, 64, 511, 512, 999]),
    ):
        append = Frontier.empty().append_many([leaf_hash(number.to_bytes(8, "big")) for number in range(size)])
        tiles = append.tiles

        def read(level: int, n: int, tiles: Any = tiles) -> bytes:
            return bytes(tiles[level, n])

        nodes = multi_proof(read, size, indices)
        base: Vector = {"size": size, "root": append.frontier.root.hex(), "indices": indices}
        good: Vector = {**base, "nodes": [node.hex() for node in nodes]}
        paths = [[node.hex() for node in inclusion_path(read, size, index)] for index in indices]
        yield {"name": f"{len(indices)} of {size}", **good, "paths": paths, "expect": OK}
        if nodes:
            yield {"name": f"{len(indices)} of {size}, a node missing", **good, "nodes": good["nodes"][:-1]} | {
                "expect": refused("bad_inclusion_proof")
            }
        extra = [*good["nodes"], bytes(32).hex()]
        yield {"name": f"{len(indices)} of {size}, a node left over", **good, "nodes": extra} | {
            "expect": refused("bad_inclusion_proof")
        }
        if size > 1:
            first = size // 2
            yield {
                "name": f"{first} is a prefix of {size}",
                "size": size,
                "root": append.frontier.root.hex(),
                "first": first,
                "first_root": root_at(read, size, first).hex(),
                "consistency": [node.hex() for node in consistency_proof(read, first, size)],
                "expect": OK,
            }


# --- entries ----------------------------------------------------------------------------------------------------------


def entry_vectors() -> Iterator[Vector]:
    """Each type once, and bytes that are no entry."""
    salt, digest = seed("salt")[:16], seed("hash")
    envelope_id, sender = EnvelopeId(seed("envelope")[:16]), AgencyId("ponal.co")
    head = Head(GatewayName("gw1"), 1, 7, digest)
    agency = make_agency("bka.de")
    entries: Sequence[tuple[str, Entry]] = (
        ("issued", Issued(salt, NOW, envelope_id, digest)),
        ("custody", Custody(salt, NOW, sender, envelope_id, digest, head)),
        ("receipt", Receipt(salt, NOW, sender, envelope_id, digest, head)),
        ("refused", Refused(salt, NOW, sender, envelope_id, digest, head, "policy_denied")),
        ("epoch key", EpochKey(salt, NOW, 1, NOW, EpochKeyPair.from_seed(seed("epoch")).public)),
        ("key change", agency.change_entry(node_pair("bka.de", 2))),
        ("profile", Profile(salt, NOW, ("https://a:1",), (), ("de", "en"), "+49", 4_194_304, 1_024, ("H0",))),
        ("log opened", LogOpened(salt, NOW, 1, 7, digest, "rollback")),
        ("key destroyed", KeyDestroyed(salt, NOW, 1)),
        ("audit head", AuditHead(salt, NOW, 7, digest)),
    )
    for name, entry in entries:
        data = encode_entry(entry)
        yield {"name": name, "entry": data.hex(), "leaf": leaf_hash(data).hex(), "expect": OK}
    good = encode_entry(entries[0][1])
    for name, bad in (
        ("nothing", b""),
        ("an unknown type", encode([11, salt, NOW])),
        ("a time after the year 9999", encode([1, salt, 253_402_300_800_000, envelope_id, digest])),
        ("a short salt", encode([1, salt[1:], NOW, envelope_id, digest])),
        ("a field missing", encode([1, salt, NOW, envelope_id])),
        ("a field too many", encode([1, salt, NOW, envelope_id, digest, None])),
        ("bytes behind it", good + b"\0"),
        ("an array header longer than needed", b"\xdc\x00\x05" + good[1:]),
        ("an integer longer than needed", b"\x95\xcc\x01" + good[2:]),
        ("a map", b"\x81\x01\x01"),
        ("a float", b"\x95\xcb" + bytes(8) + good[2:]),
        ("a key of low order", encode([6, salt, NOW, bytes(32), bytes(1_312), bytes(64), bytes(2_420)])),
    ):
        yield {"name": name, "entry": bad.hex(), "expect": refused("bad_encoding", 1)}


# --- checkpoints ------------------------------------------------------------------------------------------------------


def checkpoint_vectors() -> Iterator[Vector]:
    """The two forms of one checkpoint, and notes that are none."""
    agency = make_agency("bka.de")
    filler(agency, 3)
    checkpoint = agency.log.checkpoints[3]
    pair, other = agency.pair.public, node_pair("bka.de", 2)
    note = checkpoint_note(checkpoint, pair)
    origin = agency.log.origin
    known = [_pair(pair), _pair(other.public)]
    base = {"origin": origin.name, "pairs": known}
    yield {
        "name": "a checkpoint",
        **base,
        "size": 3,
        "root": checkpoint.root.hex(),
        "timestamp": checkpoint.timestamp,
        "ed25519_message": note_text(origin, 3, checkpoint.root).hex(),
        "mldsa44_message": mldsa_message(origin, 3, checkpoint.root, checkpoint.timestamp).hex(),
        "compact": _base64(encode(checkpoint_to_wire(checkpoint))),
        "note": note.decode(),
        "expect": OK,
    }
    text, lines = note.split(b"\n\n")
    ed, mldsa = lines.splitlines(keepends=True)
    theirs = checkpoint_note(agency.log.sign(3, other), other.public).split(b"\n\n")[1].splitlines(keepends=True)
    stranger = checkpoint_note(agency.log.sign(3, node_pair("x.example", 1)), node_pair("x.example", 1).public)
    strange = stranger.split(b"\n\n")[1].splitlines(keepends=True)

    def with_lines(*found: bytes) -> bytes:
        return text + b"\n\n" + b"".join(found)

    bad_signature = refused("bad_checkpoint_signature", 5)
    yield {"name": "lines of unknown keys are ignored", **base, "note": with_lines(*strange, mldsa, ed).decode()} | {
        "expect": OK
    }
    for name, bad, expect in (
        ("the Ed25519 line alone", with_lines(ed), bad_signature),
        ("the ML-DSA-44 line alone", with_lines(mldsa), bad_signature),
        ("halves of two pairs", with_lines(ed, theirs[1]), bad_signature),
        ("lines of two pairs", with_lines(ed, mldsa, *theirs), bad_signature),
        ("a line twice", with_lines(ed, ed, mldsa), bad_signature),
        ("an unknown pair alone", with_lines(*strange), bad_signature),
        ("another size", note.replace(b"\n3\n", b"\n4\n"), bad_signature),
        ("a size with a leading zero", note.replace(b"\n3\n", b"\n03\n"), refused("bad_encoding", 3)),
        ("an extension line", note.replace(b"\n\n", b"\nmore\n\n"), refused("bad_encoding", 3)),
        ("a root without padding", note.replace(b"=\n\n", b"\n\n"), refused("bad_encoding", 3)),
        ("no end of line", note[:-1], refused("bad_encoding", 3)),
        ("a hyphen for the dash", note.replace("—".encode(), b"-"), refused("bad_encoding", 3)),
    ):
        yield {"name": name, **base, "note": bad.decode(), "expect": expect}


def _pair(pair: NodePublicPair) -> list[str]:
    return [_base64(pair.ed25519), _base64(pair.mldsa44)]


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


# --- statements -------------------------------------------------------------------------------------------------------


def statement_vectors() -> Iterator[Vector]:
    """One that holds, and for each step of PROTOCOL §7.1 one that fails it first."""
    yield from _held_statements()
    yield from _statements_failing_early()
    yield from _statements_under_wrong_keys()
    yield from _statements_about_something_else()


def _statement(
    name: str, proof: Proof, pair: NodePublicPair, keys: AgencyKeys, facts: EnvelopeFacts | None, expect: Vector
) -> Vector:
    return {
        "name": name,
        "agency": keys.agency,
        "anchors": [_base64(encode(anchor_to_wire(anchor))) for anchor in keys.anchors],
        "key_changes": [_base64(encode(proof_to_wire(change))) for change in keys.changes],
        "proof": _base64(encode(proof_to_wire(proof))),
        "proof_agency": proof.checkpoint.origin.agency,
        "tlog_proof": to_tlog_proof(proof, pair).decode(),
        "envelope": None
        if facts is None
        else {
            "from": facts.sender,
            "to": facts.recipient,
            "envelope_id": facts.envelope_id.hex(),
            "envelope_hash": facts.envelope_hash.hex(),
        },
        "expect": expect,
    }


def _world() -> tuple[Agency, Agency, EnvelopeFacts, Proof, Proof]:
    ponal, bka = make_agency("ponal.co"), make_agency("bka.de")
    filler(ponal, 3)
    filler(bka, 4)
    sealed = make_envelope("ponal.co", "bka.de")
    issued = ponal.issue(sealed)
    receipt = bka.receipt(sealed, ponal.log.head())
    return ponal, bka, facts_of(sealed), issued, receipt


def _held_statements() -> Iterator[Vector]:
    ponal, bka, facts, issued, receipt = _world()
    current, replaced = {**OK, "current": True}, {**OK, "current": False}
    yield _statement("issued", issued, ponal.pair.public, ponal.keys, facts, current)
    yield _statement("receipt", receipt, bka.pair.public, bka.keys, facts, current)
    yield _statement("profile", bka.publish_profile(), bka.pair.public, bka.keys, None, current)
    old = ponal.pair.public
    ponal.rotate()
    yield _statement("issued under a pair replaced since", issued, old, ponal.keys, facts, replaced)
    late = ponal.publish_profile()
    yield _statement("profile under the new pair", late, ponal.pair.public, ponal.keys, None, current)
    ponal.open_generation()
    opened = ponal.opened[0]
    yield _statement("log opened", opened, ponal.pair.public, ponal.keys, None, current)


def _statements_failing_early() -> Iterator[Vector]:
    ponal, bka, facts, issued, _ = _world()
    pair, keys = ponal.pair.public, ponal.keys
    garbage = ponal.log.proof(ponal.log.commit(b"no entry"))
    yield _statement("step 1: no entry", garbage, pair, keys, None, refused("bad_encoding", 1))
    for name, proof in (
        ("a path one node short", replace(issued, path=issued.path[:-1])),
        ("a path one node long", replace(issued, path=(*issued.path, bytes(32)))),
        ("an index beyond the size", replace(issued, index=issued.checkpoint.size)),
        ("another index", replace(issued, index=issued.index - 1)),
    ):
        yield _statement(f"step 2: {name}", proof, pair, keys, facts, refused("bad_inclusion_proof", 2))
    extended = _statement("step 3: an extension line", issued, pair, keys, facts, refused("bad_encoding", 3))
    head, _, note = extended["tlog_proof"].partition("\n\n")
    extended["tlog_proof"] = f"{head}\n\n{note.replace(chr(10) * 2, chr(10) + 'more' + chr(10) * 2)}"
    extended["proof"] = None  # a compact proof stands for a well-formed note
    yield extended
    foreign = bka.issue(make_envelope("ponal.co", "bka.de"))
    yield _statement("step 4: logged in a foreign log", foreign, bka.pair.public, keys, facts, refused("wrong_key", 4))


def _statements_under_wrong_keys() -> Iterator[Vector]:
    ponal, _, facts, _, _ = _world()
    old = ponal.pair
    sealed = make_envelope("ponal.co", "bka.de")
    ponal.rotate()
    issued, new = ponal.issue(sealed), ponal.pair
    by_old = ponal.log.sign(issued.checkpoint.size, old)
    mixed = replace(issued, checkpoint=replace(issued.checkpoint, ed_signature=by_old.ed_signature))
    bad_signature = refused("bad_checkpoint_signature", 5)
    vector = _statement("step 5: halves of two pairs", mixed, new.public, ponal.keys, facts, bad_signature)
    text = checkpoint_note(issued.checkpoint, new.public).decode()
    old_line = checkpoint_note(by_old, old.public).decode().split("\n\n")[1].splitlines(keepends=True)[0]
    body, lines = text.split("\n\n")
    ed, mldsa = lines.splitlines(keepends=True)
    head = to_tlog_proof(issued, new.public).decode().partition("\n\n")[0]
    vector["tlog_proof"] = f"{head}\n\n{body}\n\n{old_line}{mldsa}"
    yield vector
    one = _statement("step 5: one line of two", issued, new.public, ponal.keys, facts, bad_signature)
    one |= {"proof": None, "tlog_proof": f"{head}\n\n{body}\n\n{ed}"}
    yield one
    stranger = node_pair("mallory.example", 1)
    strange = replace(issued, checkpoint=ponal.log.sign(issued.checkpoint.size, stranger))
    yield _statement("step 5: a stranger's pair", strange, stranger.public, ponal.keys, facts, bad_signature)
    backdated = replace(issued, checkpoint=ponal.log.sign(issued.checkpoint.size, old, timestamp=1))
    not_valid = refused("key_not_valid", 6)
    yield _statement(
        "step 6: a retired pair beyond its change, backdated", backdated, old.public, ponal.keys, facts, not_valid
    )
    early = replace(ponal.log.proof(0, 3), checkpoint=ponal.log.sign(3, new))
    yield _statement("step 6: a pair before its change", early, new.public, ponal.keys, None, not_valid)
    revoked = make_agency("ponal.co")
    filler(revoked, 2)
    keys_before = revoked.pair.public
    revoked.next_anchor(revoke=True)
    after = revoked.issue(sealed)
    yield _statement("step 6: a revoked gateway", after, keys_before, revoked.keys, facts, not_valid)


def _statements_about_something_else() -> Iterator[Vector]:
    ponal, bka, facts, issued, receipt = _world()
    fbi = AgencyId("fbi.us")
    for name, proof, agency, changed, expect in (
        ("step 7: issued in another's name", issued, ponal, {"sender": fbi}, refused("recipient_mismatch", 7)),
        ("step 7: a receipt for another's mail", receipt, bka, {"recipient": fbi}, refused("recipient_mismatch", 7)),
        ("step 8: another body", issued, ponal, {"envelope_hash": bytes(32)}, refused("content_mismatch", 8)),
        ("step 8: another id", receipt, bka, {"envelope_id": bytes(16)}, refused("content_mismatch", 8)),
        ("step 8: another sender", receipt, bka, {"sender": fbi}, refused("content_mismatch", 8)),
    ):
        other = replace(facts, **changed)
        yield _statement(name, proof, agency.pair.public, agency.keys, other, expect)
    yield _statement(
        "step 8: no envelope at hand", receipt, bka.pair.public, bka.keys, None, refused("content_mismatch", 8)
    )


# --- envelopes --------------------------------------------------------------------------------------------------------

REQUEST = SealRequest(
    envelope_id=EnvelopeId(seed("envelope")[:16]),
    sender=AgencyId("ponal.co"),
    recipient=AgencyId("bka.de"),
    epoch_number=7,
    precedence=Precedence.FLASH,
    sent_at=NOW,
    deliver_by=NOW + 600_000,
    generation=1,
    number=3,
    message_id=MessageId(seed("message")[:16]),
    content=b'{"kind":"alert","summary":"Girl, 9"}',
)


def envelope_vectors() -> Iterator[Vector]:
    """One envelope in all its parts, and what must not open although it decrypts."""
    opening, epoch = seed("opening"), EpochKeyPair.from_seed(seed("epoch"))
    padded: list[bytes] = []

    def seal_and_keep(info: bytes, plaintext: bytes) -> bytes:
        padded.append(plaintext)
        return seal(epoch.public, info, plaintext)

    sealed = seal_message(REQUEST, seal_and_keep, opening)
    yield {
        "name": "an envelope",
        "epoch_seed": epoch.seed.hex(),
        "epoch_public": epoch.public.hex(),
        "header": sealed.header_bytes.hex(),
        "info": (b"tocsin envelope v1\0" + sealed.header_bytes).hex(),
        "opening": opening.hex(),
        "rest": sealed.rest.hex(),
        "commitment": sealed.header.commitment.hex(),
        "padded": padded[0].hex(),
        "body": sealed.body.hex(),
        "body_hash": sealed.body_hash.hex(),
        "envelope_hash": sealed.envelope_hash.hex(),
        "message_id": REQUEST.message_id.hex(),
        "number": [REQUEST.generation, REQUEST.number],
        "content": REQUEST.content.decode(),
        "expect": OK,
    }
    stream = padded[0].rstrip(b"\0")
    fields: list[Value] = [
        REQUEST.sender,
        REQUEST.recipient,
        REQUEST.envelope_id,
        [1, 3],
        REQUEST.message_id,
        REQUEST.content,
    ]
    for name, header, plain in (
        ("1,023 bytes", sealed.header, padded[0][:-1]),
        ("a size twice as large, still zeros", sealed.header, padded[0].ljust(2_048, b"\0")),
        ("a byte in the padding", sealed.header, padded[0][:-1] + b"\1"),
        ("a second stream", sealed.header, (stream + _deflate(b"more")).ljust(1_024, b"\0")),
        ("no stream", sealed.header, bytes(1_024)),
        ("more than 263,168 bytes inflated", sealed.header, _pad(bytes(263_169))),
        ("another commitment", replace(sealed.header, commitment=bytes(32)), padded[0]),
        ("from another", *_committed(sealed.header, opening, encode(["fbi.us", *fields[1:]]))),
        ("to another", *_committed(sealed.header, opening, encode([fields[0], "fbi.us", *fields[2:]]))),
        ("another envelope id", *_committed(sealed.header, opening, encode([*fields[:2], bytes(16), *fields[3:]]))),
        ("a number from 0", *_committed(sealed.header, opening, encode([*fields[:3], [1, 0], *fields[4:]]))),
        ("a message of 262,145 bytes", *_committed(sealed.header, opening, _rest(bytes(262_145)))),
    ):
        # A longer size than needed is one of the sizes: what is refused is said in PROTOCOL §8, and this is not.
        expect = OK if name.startswith("a size twice") else refused("malformed", 13)
        yield {"name": name, "header": encode_header(header).hex(), "padded": plain.hex(), "expect": expect}
    header_fields = [1, REQUEST.envelope_id, "ponal.co", "bka.de", 7, 0, NOW, NOW, bytes(32)]
    for name, place, value in (
        ("a header of suite 2", 0, 2),
        ("a header with a short id", 1, bytes(15)),
        ("a header from BKA.de", 2, "BKA.de"),
        ("a header with epoch key 0", 4, 0),
        ("a header with precedence 5", 5, 5),
        ("a header with a short commitment", 8, bytes(31)),
    ):
        changed: list[Any] = [*header_fields[:place], value, *header_fields[place + 1 :]]
        yield {"name": name, "header": encode(changed).hex(), "expect": refused("malformed", 6)}


def _committed(header: Header, opening: bytes, rest: bytes) -> tuple[Header, bytes]:
    return replace(header, commitment=commitment_of(opening, rest)), _pad(opening + rest)


def _rest(content: bytes) -> bytes:
    names = (REQUEST.sender, REQUEST.recipient, REQUEST.envelope_id)
    return encode_rest(*names, REQUEST.generation, REQUEST.number, REQUEST.message_id, content)


def _deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush()


def _pad(plaintext: bytes) -> bytes:
    deflated = _deflate(plaintext)
    return deflated.ljust(1_024, b"\0")


# --- cards ------------------------------------------------------------------------------------------------------------


def card_vectors() -> Iterator[Vector]:
    """A card with history, and cards that are none."""
    agency = make_agency("bka.de")
    agency.rotate()
    filler(agency, 2)
    agency.open_generation()
    agency.publish_profile("https://bka.de:7443")
    card = agency.card()
    code = safety_code(AgencyId("bka.de"), root_pair("bka.de").public)
    text = armour(encode_card(card))
    facts = {"agency": "bka.de", "safety_code": code, "endpoints": ["https://bka.de:7443"], "head_size": 2}
    yield {"name": "a card", "card": text, **facts, "expect": OK}
    mailed = "Our card:\r\n" + text.replace("\n", "\r\n") + "Regards\r\n"
    yield {"name": "a card in a mail", "card": mailed, **facts, "expect": OK}
    mallory = make_test_anchor("bka.de", node=node_pair("bka.de", 9).public, signer=root_pair("mallory.example"))
    forged = replace(card.profile, checkpoint=replace(card.profile.checkpoint, timestamp=1))
    for name, bad, reason in (
        ("another root's anchor", replace(card, anchor=mallory), "bad_key_change"),
        ("a key change left out", replace(card, key_changes=()), "bad_profile"),
        ("a profile that does not verify", replace(card, profile=forged), "bad_profile"),
        ("a profile as log opened", replace(card, opened=(card.profile,)), "bad_log_opened"),
    ):
        yield {"name": name, "card": armour(encode_card(bad)), "expect": refused(reason)}
    yield {"name": "two cards", "card": text + text, "expect": refused("several_cards")}
    yield {"name": "no card", "card": "hello", "expect": refused("not_a_card")}


# --- evidence ---------------------------------------------------------------------------------------------------------


def evidence_vectors() -> Iterator[Vector]:
    """A file that proves, the same under other eyes, and a thief's."""
    ponal, bka = make_agency("ponal.co"), make_agency("bka.de")
    filler(ponal, 2)
    content = b'{"kind":"alert","case_id":"CO-PONAL/2026/000017","summary":"Girl, 9"}'
    message_id = MessageId(seed("message")[:16])
    alert = make_envelope("ponal.co", "bka.de", content, message_id=message_id)
    issued = ponal.issue(alert)
    receipt = bka.receipt(alert, ponal.log.head())
    said = {
        "message_id": "-".join((message_id.hex()[:8], *_groups(message_id.hex()[8:20]), message_id.hex()[20:])),
        "content_sha256": sha256(content).hexdigest(),
        "level": "accepted",
        "at": "2026-11-24T02:13:20.000Z",
    }
    ack = make_envelope("bka.de", "ponal.co", json.dumps({"kind": "ack", "ack": said}).encode(), number=2)
    acked = bka.issue(ack)

    def data(statements: Sequence[tuple[AgencyId, Proof]], *, heads: bool = False, changes: bool = True) -> str:
        keys = [ponal.keys if changes else build_agency_keys(ponal.anchors, ()), bka.keys]
        log = ponal.log
        file = build_evidence(
            agencies=keys,
            links=[log.link(issued.checkpoint.size)] if heads else [],
            heads=[log.checkpoints[log.size]] if heads else [],
            envelopes=[EnvelopeItem(one.header_bytes, one.body_hash) for one in (alert, ack)],
            statements=statements,
            contents=[ContentItem(one.header.envelope_id, one.opening, one.rest) for one in (alert, ack)],
        )
        return _base64(file)

    whole = [(ponal.agency, issued), (bka.agency, receipt), (bka.agency, acked)]
    codes = {name: safety_code(AgencyId(name), root_pair(name).public) for name in ("ponal.co", "bka.de")}
    about = {"message_id": said["message_id"], "case_id": "CO-PONAL/2026/000017"}
    proved: list[list[Any]] = [["stored", "bka.de", "proved", None], ["issued", "ponal.co", "proved", None]]
    accepted: list[Any] = ["accepted", "bka.de", "proved", None]
    file = data(whole)
    yield _evidence("issued, stored, accepted", file, {}, "proved", [*proved, accepted]) | about
    yield _evidence("the same, both codes trusted", file, {"trusted": codes}, "proved", [*proved, accepted]) | about
    other_root = {"trusted": {"ponal.co": codes["bka.de"]}}
    wrong: list[Any] = ["issued", "ponal.co", "contradicted", "wrong_key"]
    yield _evidence("the same, another root trusted", file, other_root, "contradicted", [proved[0], wrong, accepted])
    missing = data(whole[1:])
    unissued: list[Any] = ["issued", "ponal.co", "not_proved", "statement_missing"]
    yield _evidence("nothing issued", missing, {}, "not_proved", [proved[0], accepted, unissued])
    ponal.rotate()
    ponal.publish_profile()
    card = armour(encode_card(ponal.card()))
    stale: list[Any] = ["issued", "ponal.co", "not_proved", "key_not_valid"]
    unlinked = [proved[0], stale, accepted]
    yield _evidence("the pair changed since, in the file", data(whole), {}, "not_proved", unlinked)
    yield _evidence("the pair changed since, on a card", file, {"cards": [card]}, "not_proved", unlinked)
    linked = data(whole, heads=True)
    yield _evidence("the pair changed since, a chain to its head", linked, {}, "proved", [*proved, accepted])
    thief = ponal.fork(1, node_pair("ponal.co", 1))
    thief.commit(Issued(ponal.salt(), NOW, alert.header.envelope_id, alert.envelope_hash))
    stolen = replace(thief.proof(1), checkpoint=thief.sign(2, timestamp=1))
    forged = [(ponal.agency, stolen), *whole[1:]]
    yield _evidence("a stolen old pair, backdated", data(forged), {}, "not_proved", unlinked)
    hidden = data(forged, changes=False)
    yield _evidence("a stolen old pair, a card that knows", hidden, {"cards": [card]}, "not_proved", unlinked)
    cut = _base64(b"\x99\xaftocsin evidence\x01\x91")
    for name, bad, reason in (("cut short", cut, "file_truncated"), ("another file", "UEsDBA==", "not_evidence")):
        yield {"name": name, "file": bad, "options": {}, "expect": refused(reason)}


def _groups(text: str) -> list[str]:
    return [text[start : start + 4] for start in range(0, len(text), 4)]


def _evidence(name: str, file: str, options: Vector, verdict: str, claims: list[list[Any]]) -> Vector:
    return {"name": name, "file": file, "options": options, "claims": claims, "expect": {"verdict": verdict}}


FILES: dict[str, tuple[str, Callable[[], Iterator[Vector]]]] = {
    "tree.json": ("PROTOCOL §5", tree_vectors),
    "entry.json": ("PROTOCOL §7", entry_vectors),
    "checkpoint.json": ("PROTOCOL §6.1, §6.2", checkpoint_vectors),
    "statement.json": ("PROTOCOL §7.1", statement_vectors),
    "envelope.json": ("PROTOCOL §8", envelope_vectors),
    "card.json": ("PROTOCOL §4", card_vectors),
    "evidence.json": ("PROTOCOL §14", evidence_vectors),
}


def main() -> None:
    """Write all files."""
    for name, (section, make) in FILES.items():
        document = {"v": 1, "section": section, "vectors": list(make())}
        (HERE / name).write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
