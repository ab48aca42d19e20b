"""Writes the inputs that fuzzing starts from: `python -m tests.fuzz.seeds`. The same bytes in every run.

They are taken from what is committed: tests/vectors, docs/examples, docs/CLI.md. What a campaign added to the corpus
(named by its hash) is let be.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID

from exchange.alerts import complete, parse_input
from exchange.card import Card, parse_card
from exchange.checkpoint import Checkpoint
from exchange.envelope import encode_rest
from exchange.round import (
    Consistency,
    Group,
    HeldHead,
    Hello,
    Known,
    Numbers,
    OwnHead,
    RawEnvelope,
    Result,
    Round,
    encode_error,
    encode_round,
)
from keys.anchor import anchor_to_wire
from keys.encoding import Value, encode
from keys.ids import EnvelopeId, GatewayName, MessageId
from keys.sealing import EpochKeyPair
from tests.alerts.builders import DEFAULTS, EXAMPLES, SMALLEST
from tests.cli.contract import examples
from tests.cli.samples import CONTENT
from tests.exchange.agencies import NOW, node_pair, root_pair, seed
from tests.fuzz.targets import CORPUS, TARGETS
from tests.fuzz.verbs import CASE
from tests.fuzz.wire import HEADER, PEER, US

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "seed-"
Inputs = dict[str, bytes]


@cache
def vectors(name: str) -> list[dict[str, Any]]:
    """The vectors of one file."""
    found: list[dict[str, Any]] = json.loads((ROOT / "tests" / "vectors" / f"{name}.json").read_text())["vectors"]
    return found


def _vector(file: str, name: str) -> dict[str, Any]:
    return next(vector for vector in vectors(file) if vector["name"] == name)


def _numbered(*data: bytes | str) -> Inputs:
    return {f"{number:02}": one.encode() if isinstance(one, str) else one for number, one in enumerate(data)}


def _card() -> Card:
    return parse_card(_vector("card", "a card")["card"]).card


# --- keys -------------------------------------------------------------------------------------------------------------


def _encodings() -> Inputs:
    found = json.loads((ROOT / "tests" / "keys" / "vectors" / "encoding.json").read_text())
    return {vector["name"]: bytes.fromhex(vector["hex"]) for vector in found if "hex" in vector}


def _takers() -> Inputs:
    node, root = node_pair(US, 1).public, root_pair(US).public
    return {
        "node-pair": encode(node.to_wire()),
        "root-pair": encode(root.to_wire()),
        "epoch-key": encode(EpochKeyPair.from_seed(seed("epoch")).public),
        "low-order": encode([bytes(32), node.mldsa44]),
        "time": encode(NOW),
        "text": encode("é"),
    }


def _anchors() -> Inputs:
    vector = _vector("statement", "step 6: a revoked gateway")
    return _numbered(*(b64decode(anchor) for anchor in vector["anchors"]))


def _certificates() -> Inputs:
    key = ec.derive_private_key(int.from_bytes(seed("tls")), ec.SECP256R1())
    other = Ed25519PrivateKey.from_private_bytes(seed("ed25519"))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, PEER)])
    begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, other.public_key(), 7, begin, end)
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return {
        "root": _card().anchor.body.gateways[0].tls_root,
        "ed25519": made.sign(other, None).public_bytes(serialization.Encoding.DER),
        "key": key.private_bytes(serialization.Encoding.DER, *private),
    }


def _key_files() -> Inputs:
    """As tests.fuzz.surroundings opens them: under a key of zeros."""
    files = {}
    for name, plaintext in (("root", encode(list(root_pair(US).seeds))), ("master", seed("master"))):
        fields: list[Value] = ["tocsin key file", 1, [65_536, 3, 4], bytes(16)]
        sealed = bytes(12) + AESGCM(bytes(32)).encrypt(bytes(12), plaintext, encode(fields))
        files[name] = encode([*fields, sealed])
    return {**files, "sealed": encode(["tocsin key file", 1, bytes(60)])}


def _key_contents() -> Inputs:
    certificates = _certificates()
    tls: list[Value] = [certificates["key"], certificates["root"]]
    return {"seeds": encode([seed("a"), seed("b")]), "epoch": encode(seed("epoch")), "tls": encode([*tls, *tls])}


# --- the log and the envelope -----------------------------------------------------------------------------------------


def _statements() -> Inputs:
    found = [vector for vector in vectors("statement") if vector.get("proof")]
    return _numbered(*(b64decode(vector["proof"]) for vector in found[:6]))


def _trees() -> Inputs:
    made = {}
    for number, vector in enumerate(vectors("tree")):
        if len(vector.get("nodes", ())) > 40 or number > 24:
            continue
        nodes = [bytes.fromhex(node) for node in vector.get("nodes", vector.get("consistency", ()))]
        leaves: list[Value] = [
            [index, sha256(b"\0" + index.to_bytes(8, "big")).digest()] for index in vector.get("indices", [])
        ]
        if "consistency" in vector:
            leaves = [[vector["first"], bytes.fromhex(vector["first_root"])]]
        made[f"{number:02}"] = encode([vector["size"], bytes.fromhex(vector["root"]), leaves, nodes])
    return made


def _rests() -> Inputs:
    def rest(*, content: bytes, message_id: bytes = bytes(16), number: int = 1) -> bytes:
        return encode_rest(PEER, US, HEADER.envelope_id, 1, number, MessageId(message_id), content)

    return {
        "smallest": rest(content=SMALLEST.strip().encode()),
        "other": encode_rest(US, PEER, EnvelopeId(bytes(16)), 1, 1, MessageId(bytes(16)), b"{}"),
        "short-id": rest(content=b"{}", message_id=bytes(15)),
        "number": rest(content=b"{}", number=0),
    }


# --- rounds -----------------------------------------------------------------------------------------------------------


def _rounds() -> Inputs:
    card = _card()
    known = Known(bytes(32), None, 0)
    first = Hello(NOW, True, (), (), known, Numbers(1, 1, 1))
    head: Checkpoint = card.profile.checkpoint
    envelope = _vector("envelope", "an envelope")
    raw = RawEnvelope(bytes.fromhex(envelope["header"]), bytes.fromhex(envelope["body"]))
    issued = bytes.fromhex(_vector("entry", "issued")["entry"])
    receipt = bytes.fromhex(_vector("entry", "receipt")["entry"])
    group = Group(head, (Consistency(1, (bytes(32),)),), (0, 2), (issued, receipt), (bytes(32),), (raw, None))
    held = HeldHead(GatewayName("gw1"), head.origin.generation, head.size, 0, head)
    hello = Hello(
        NOW, False, (OwnHead(GatewayName("gw1"), 1, 9),), (held,), Known(bytes(32), bytes(32), 3), Numbers(1, 2, 9), NOW
    )
    result = Result(EnvelopeId(bytes(16)), "rate_limited")
    return {
        "hello": encode_round(Round(first)),
        "anchor": encode_round(Round(first, anchor=anchor_to_wire(card.anchor), key_changes=card.key_changes[:1])),
        "group": encode_round(Round(hello, groups=(group,), results=(result,))),
    }


def _peer_requests() -> Inputs:
    body = _rounds()["hello"]
    head = b"POST /v1/round HTTP/1.1\r\nHost: bka.de\r\nContent-Type: application/msgpack\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    whole = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    return {
        "whole": whole,
        "two": whole + whole,
        "chunked": chunked,
        "both": head + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "gzip": head + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        "expect": head + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        "upgrade": b"GET /v1/round HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "large": head + b"Content-Length: 99999999999\r\n\r\n",
        "path": b"POST http://x/v1/round?a=%00#f HTTP/1.0\r\n\r\n",
    }


# --- documents --------------------------------------------------------------------------------------------------------


def _alerts(*, as_yaml: bool) -> Inputs:
    found = {path.stem: path.read_bytes() for path in EXAMPLES if (path.suffix == ".yaml") is as_yaml}
    if not as_yaml:
        found["whole"] = json.dumps(CONTENT, ensure_ascii=False).encode()
        found["completed"] = complete(parse_input(SMALLEST.encode()), DEFAULTS).content
    return found


_HOSTILE_YAML = {
    "anchor": b"kind: &a alert\nsummary: *a\n",
    "tag": b"kind: !!binary YQ==\n",
    "documents": b"kind: alert\n---\nkind: note\n",
    "directive": b"%YAML 1.1\n---\nkind: alert\n",
    "flow": b"{kind: note, text: [a, {b: c}], ? x : y}\n",
    "merge": b"<<: {kind: note}\ntext: |2-\n   a\n  b\nmore: >+\n c\n\n",
    "escapes": b'kind: "\\x1b\\u202e\\U0010ffff\\e"\n',
    "twice": b"kind: note\nkind: note\n",
}

_HOSTILE_JSON = _numbered(
    b'{"a":1,"a":2}',
    b'{"a":NaN,"b":1e999}',
    b'{"a":"\\ud800"}',
    b'{"a":9007199254740993}',
    b"[" * 40,
    b'{"a":' * 33 + b"{}" + b"}" * 33,
    b'\xef\xbb\xbf{"kind":"note"}',
    b'{"\\u0000":{"\\u202e":[-0.0,1.5e3]}}',
)


def _received() -> Inputs:
    made = {"alert": complete(parse_input(SMALLEST.encode()), DEFAULTS).content}
    base = json.loads(made["alert"])
    small = {name: base[name] for name in ("schema", "message_id", "case_id", "sent_at", "originator") if name in base}
    small |= {"status": "actual", "revision": 1, "precedence": "flash", "handling": base["handling"]}
    supersedes = {"role": "supersedes", "message_id": base["message_id"], "originator": "ponal.co"}
    ack = {"message_id": base["message_id"], "content_sha256": "ab" * 32, "level": "accepted", "at": base["sent_at"]}
    for kind, more in (
        ("note", {"text": "Seen at the border.", "references": [{**supersedes, "role": "relates_to"}]}),
        ("ack", {"ack": ack, "references": []}),
        ("cancel", {"reason": "found", "references": [supersedes]}),
        ("future", {"whatever": [1, {"a": None}], "summary": "\u202ex"}),
    ):
        made[kind] = json.dumps({**base, **small, "kind": kind, **more}, ensure_ascii=False).encode()
    return made


_TIMES = _numbered(
    *(
        "2026-11-23T02:10:00-05:00",
        "2026-11-23T02:10:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59.999-23:59",
    ),
    *("24h", "+90m", "99999w", "2w", "1985", "198X", "19XX-XX", "1985-04~", "2024-02-29%", "20261123T021000Z"),
    *("2026-W48-1T00+01", "2026-11-23 02:10:00.123456789+05:30", "2026-11-23T24:00:00Z", "\u0663h"),
)

_TEXTS = _numbered(
    *(
        "Lucía Pérez",
        "\x1b[2J\x1b]0;title\x07",
        "\u202egpj.321-ED\u202c",
        "\u2067\u05d0\u05d1 x\u2069",
        "a\r\nb\tc\x0bd",
    ),
    *(
        "\u0915\u094d\u200d\u0937 \U0001f469\u200d\U0001f467",
        "a" + "\u0300" * 20,
        "\u0301x",
        "tocsin ack 1",
        "中文 " * 9,
    ),
    b"\xff\xed\xa0\x80",
)


def _requests() -> Inputs:
    message_id = "0193a5b2-7c1e-4d3a-9f00-1234567890ab"
    return _numbered(
        json.dumps({"id": message_id, "content": SMALLEST, "to": "bka.de,interpol.int"}),
        json.dumps(
            {"id": message_id, "content_base64": "eyJraW5kIjoibm90ZSJ9", "to": ["bka.de"], "since": "2026-11-23"}
        ),
        json.dumps({"since": "2026-11-23T02:10:00-05:00", "limit": 3, "unacknowledged": True}),
        b'{"a":1}\n{"b":2}\n\n[]\n"x"',
        b"",
    )


def _verbs() -> Inputs:
    case, message_id = {"case": CASE}, "0193a5b2-7c1e-4d3a-9f00-1234567890ab"
    update = {**json.loads(SMALLEST), "kind": "update", "why": "new_fact"}
    asked: dict[str, dict[str, Any]] = {
        "post": {"content": SMALLEST, "to": [PEER]},
        "ack": {"id": message_id, "level": "rejected", "cause": "duplicate", "text": "x", "officer": "a"},
        "update": {**case, "content": json.dumps(update), "why": "new_fact"},
        "cancel": {**case, "reason": "false_report", "text": "x"},
        "resolve": {**case, "outcome": "found_safe"},
        "renew": {**case, "until": "2026-12-10T00:00:00Z", "necessity": "still_held"},
        "note": {**case, "text": "seen", "to": "ponal.co"},
        "peer_add": {"card": "-----BEGIN TOCSIN CARD-----\n-----END TOCSIN CARD-----", "code": "9KZ8"},
        "peer_show": {"agency": PEER},
        "peer_replace": {"agency": PEER, "card": "", "code": ""},
        "template": {"kind": "update", **case},
        "reading": {"id": "567890ab", "since": "2026-11-23T02:10:00Z", "limit": 3},
    }
    return {name: json.dumps({"verb": name, **args}).encode() for name, args in asked.items()}


def _answers() -> Inputs:
    chosen = {"post", "error", "watch", "peer"}
    documents = {name: document for name, document in examples() if name in chosen}
    return {
        **{name: json.dumps({"exit": 0, "document": document}).encode() for name, document in documents.items()},
        "line": json.dumps({"v": 1, "event": "streaming"}).encode(),
    }


def _configurations() -> Inputs:
    smallest = 'agency = "bka.de"\nname = "BKA"\ncountry = "DE"\nlisten = "127.0.0.1:7443"\ncase_prefix = "DE-BKA"\n'
    more = (
        'names = [["en", "Federal Criminal Police Office"]]\nlanguages = ["de", "en"]\n'
        'endpoints = ["https://[::1]:7443"]\ncontact = "+4961155123"\nunit = "SO 12"\n'
        'legal_basis = [{ code = "national_law", citation = "BKAG § 3" }]\nlog_level = "info"\n'
        "[notice]\ncommand = \"/bin/wake 'duty officer'\"\nrepeat_minutes = 5\n"
        "[disk]\nfloor_bytes = 1\nreserve_bytes = 2\n[limits]\nconnections = 8\n"
    )
    return {
        "smallest": smallest.encode(),
        "whole": (smallest + more).encode(),
        "unknown": (smallest + 'agenci = "x"\n[limit]\nx = 1979-05-27T07:32:00Z\n').encode(),
        "deep": (smallest + "names = " + "[" * 300 + "]" * 300).encode(),
    }


# --- all of them ------------------------------------------------------------------------------------------------------


def inputs() -> dict[str, Inputs]:
    """Every seed, by target and name."""
    header = bytes.fromhex(_vector("envelope", "an envelope")["header"])
    padded = [bytes.fromhex(vector["padded"]).rstrip(b"\0") for vector in vectors("envelope") if "padded" in vector]
    cards = {name: _vector("card", name)["card"] for name in ("a card", "a key change left out", "no card")}
    files = {name: b64decode(_vector("evidence", name)["file"]) for name in ("issued, stored, accepted", "cut short")}
    chain = b64decode(_vector("evidence", "the pair changed since, a chain to its head")["file"])
    json_alerts = _alerts(as_yaml=False)
    return {
        "encoding": _encodings(),
        "takers": _takers(),
        "names": _numbered("bka.de", "gw1", "bka.de/gw1/1", "0193a5b2-7c1e-4d3a-9f00-1234567890ab", "A.B", "a/b/0"),
        "safety_code": _numbered(
            "9KZ8-P64K-RH6Y-NS4Q-JPX5", "9kz8p64krh6yns4qjpx5", "oil0 1111 2222 3333 444U", "\u0131" * 20
        ),
        "anchor": _anchors(),
        "certificate": _certificates(),
        "note": _numbered(*(vector["note"] for vector in vectors("checkpoint")[:3])),
        "tlog_proof": _numbered(*(vector["tlog_proof"] for vector in vectors("statement")[:3])),
        "entry": {vector["name"]: bytes.fromhex(vector["entry"]) for vector in vectors("entry")},
        "statement": _statements(),
        "tree": _trees(),
        "header": _numbered(*(bytes.fromhex(vector["header"]) for vector in vectors("envelope")[-7:]), header),
        "sealed_plaintext": _numbered(*dict.fromkeys(padded)),
        "rest": _rests(),
        "hpke_body": {"body": bytes.fromhex(_vector("envelope", "an envelope")["body"])},
        "round": _rounds(),
        "round_error": _numbered(encode_error("not_trusted"), encode_error(""), encode([2, "x" * 65])),
        "card_text": {name: text.encode() for name, text in cards.items()},
        "card": {"whole": _card_bytes("a card"), "opened": _card_bytes("a profile as log opened")},
        "evidence_file": files,
        "evidence": {"issued": files["issued, stored, accepted"], "chain": chain},
        "alert_json": {**json_alerts, **_HOSTILE_JSON},
        "alert_yaml": {**_alerts(as_yaml=True), **_HOSTILE_YAML},
        "yaml": _HOSTILE_YAML,
        "received": _received(),
        "saying": {name: data for name, data in _received().items() if name in ("ack", "note")},
        "ijson": _HOSTILE_JSON,
        "screen": {"whole": json_alerts["whole"], "future": _received()["future"]},
        "escaping": _TEXTS,
        "times": _TIMES,
        "node_answer": _answers(),
        "key_file": _key_files(),
        "key_content": _key_contents(),
        "configuration": _configurations(),
        "addresses": _numbered(
            "https://tocsin.bka.example:7443/", "[fe80::1%eth0]:7443", "none", "https://[::1]:0", "a:99999"
        ),
        "peer_request": _peer_requests(),
        "local_request": _requests(),
        "verb": _verbs(),
    }


def _card_bytes(name: str) -> bytes:
    lines = _vector("card", name)["card"].splitlines()
    return b64decode("".join(line for line in lines if not line.startswith("-")))


def files() -> dict[Path, bytes]:
    """Every seed by the place where it lies."""
    return {
        CORPUS / target / (PREFIX + re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")): data
        for target, found in inputs().items()
        for name, data in found.items()
    }


def main() -> None:
    """Write them, and remove seeds that are none any more."""
    wanted = files()
    for target in TARGETS:
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
    for path in CORPUS.glob(f"*/{PREFIX}*"):
        if path not in wanted:
            path.unlink()
    for path, data in wanted.items():
        path.write_bytes(data)


if __name__ == "__main__":
    main()
