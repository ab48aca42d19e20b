"""Documents as a node answers them, whole enough to be read by a person. Knows no command."""

from __future__ import annotations

from typing import Any

MESSAGE_ID = "0193a5b2-7c1e-4d3a-9f00-1234567890ab"
SUPERSEDING_ID = "0193a5b2-7c1e-4d3a-9f00-00000000beef"
CASE_ID = "CO-PONAL/2026/000017"

CONTENT: dict[str, Any] = {
    "schema": "kxa/1.0",
    "kind": "alert",
    "message_id": MESSAGE_ID,
    "case_id": CASE_ID,
    "status": "actual",
    "precedence": "flash",
    "summary": "Girl, 9, taken from school in Cucuta, white van towards the border",
    "warnings": ["armed"],
    "originator": {
        "agency_id": "ponal.co",
        "agency_name": "Policía Nacional",
        "country": "CO",
        "officer_ref": "gaula-3",
        "duty_contact": {"phone": "+576015159000", "languages": ["es", "en"], "available_24x7": True},
    },
    "handling": {
        "h": ["H0", "H2"],
        "tlp": "AMBER",
        "permitted_actions": "stop_and_protect",
        "caveats": ["NO_FAMILY_CONTACT", "POLICE_INVOLVEMENT_SECRET"],
        "onward": {"allowed": "consent", "list": []},
        "evidence_use": "with_consent",
        "retain_until": "2026-12-30T07:10:00Z",
        "log_reads": True,
    },
    "incident": {
        "type": "child_nonfamily",
        "confirmation": "confirmed",
        "phase": "confirmed_no_contact",
        "taken": {
            "earliest": "2026-11-23T02:10:00-05:00",
            "latest": "2026-11-23T02:30:00-05:00",
            "tz": "America/Bogota",
        },
        "risk": {"level": "extreme", "life_at_risk": True, "reasons": ["child_under_13"]},
    },
    "persons": [
        {"id": "p2", "roles": ["suspect"], "identified": "no", "warnings": ["violent"], "sex": "1"},
        {
            "id": "p1",
            "roles": ["victim"],
            "identified": "yes",
            "names": [{"full": "Lucía Pérez", "type": "official"}],
            "age": {"min": 9, "max": 9},
            "minor": "yes",
            "status": "held_suspected",
            "nationalities": ["COL", {"value": "VEN", "fact": "assessment"}],
            "health": {
                "conditions": ["diabetes_insulin"],
                "medication": {
                    "name": "insulin",
                    "needed_every": "PT8H",
                    "supply_until": "2026-11-23T20:00:00-05:00",
                    "without_it": "fatal",
                },
            },
            "description": {"height_cm": {"min": 130, "max": 135}, "hair": {"value": "black", "src": "B", "info": "2"}},
        },
    ],
    "locations": [
        {
            "id": "l1",
            "role": "abduction",
            "country": "CO",
            "locality": "Cúcuta",
            "geometry": {"type": "Point", "coordinates": [-72.5, 7.9]},
        }
    ],
    "vehicles": [
        {
            "id": "v1",
            "kind": "van",
            "colours": ["white"],
            "make": "Renault",
            "plates": [{"text": "ABC12?", "country": "CO", "partial": True}],
            "direction": "Venezuela",
        }
    ],
    "requested_actions": [
        {"action": "check_border", "target": "p1", "if_found": "stop_protect_victim", "by": "2026-11-23T12:00:00Z"}
    ],
    "narrative": [{"lang": "en", "text": "Seen by two pupils."}, {"lang": "es", "text": "La vieron dos alumnos."}],
    "ext": {"xx.future": {"unheard_of": ["kept", 7]}},
}

SHOWN: dict[str, Any] = {
    "v": 1,
    "message_id": MESSAGE_ID,
    "case_id": CASE_ID,
    "kind": "alert",
    "revision": 1,
    "direction": "in",
    "from": "ponal.co",
    "precedence": "flash",
    "received_at": "2026-11-23T07:12:31.204Z",
    "opened_at": "2026-11-23T07:14:02.000Z",
    "decision": None,
    "decided_at": None,
    "superseded_by": None,
    "expires_at": "2026-11-30T07:12:30.911Z",
    "content_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "content": CONTENT,
}


def recipient(agency: str, state: str, reason: str | None = None, **more: Any) -> dict[str, Any]:
    """One recipient with the receipt that its state comes from."""
    at = "2026-11-23T07:12:31.204Z"
    receipt = {"level": state, "at": at, "by": agency, "officer": None, "cause": None, "text": None, "verified": True}
    return {
        "agency": agency,
        "state": state,
        "reason": reason,
        "custodian": None,
        "envelope_id": "0193a5b2-7c1f-4000-8000-0000000000e1",
        "updated_at": at,
        "expires_at": "2026-11-30T07:12:30.911Z",
        "next_attempt_at": None,
        "erased_at": None,
        "receipts": [] if state in ("queued", "expired") else [{**receipt, **more}],
    }


def posted(*recipients: dict[str, Any], **more: Any) -> dict[str, Any]:
    """P of our alert."""
    return {
        "v": 1,
        "message_id": MESSAGE_ID,
        "case_id": CASE_ID,
        "kind": "alert",
        "revision": 1,
        "precedence": "flash",
        "posted_at": "2026-11-23T07:12:30.911Z",
        "content_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "repeated": False,
        "recipients": list(recipients),
        **more,
    }


def inbox_entry(number: int, **more: Any) -> dict[str, Any]:
    """One entry of the inbox; `number` makes its id."""
    return {
        "message_id": f"0193a5b2-7c1e-4d3a-9f00-{number:012x}",
        "case_id": CASE_ID,
        "kind": "alert",
        "revision": 1,
        "status": "actual",
        "from": "ponal.co",
        "precedence": "routine",
        "summary": f"summary {number}",
        "received_at": "2026-11-23T07:12:31.204Z",
        "opened_at": None,
        "decision": None,
        "decided_at": None,
        "superseded_by": None,
        "expires_at": None,
        **more,
    }
