"""What no single value can break: rules between the fields of a message, judged on the tree as the analyst left it.

Owns those rules. They look at the tree, not at a model, so that one bad field hides no other problem: each rule speaks
only where it can read both sides, and leaves the form of a value to the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

from exchange.alerts.codes import code_list
from exchange.alerts.handling import contradictions
from exchange.alerts.problems import Problem, pointer
from exchange.alerts.registry import Kind, Standing
from exchange.alerts.times import date_range, format_time, ms_or_none
from exchange.alerts.values import TIME_EXAMPLE, truth_of
from exchange.alerts.world import is_country, plate_key

VICTIM_ROLES: Final = frozenset({"victim", "victim_possible", "victim_companion"})
ADULT_AGE: Final = 18
LIFETIME_MAX_MS: Final = 30 * 86_400_000

Tree = Mapping[str, Any]
Path = tuple[str | int, ...]


def problems_of(tree: Tree, kind: Kind, now_ms: int) -> Iterator[Problem]:
    """Every rule that this tree breaks. `now_ms` is the time of sending."""
    yield from _references(tree, kind)
    yield from _times(tree, now_ms)
    yield from _handling(tree)
    yield from _ack(tree)
    if kind.carries_case:
        yield from _precedence(tree)
        yield from _grading(tree)
        yield from _incident(tree)
        yield from _victims(tree, now_ms)
        yield from _plates(tree)
        yield from _lists(tree)
        yield from _local_ids(tree)


# --- reading a tree whose values may be anything ----------------------------------------------------------------------


def _object(value: Any) -> Tree:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _objects(tree: Tree, name: str) -> Iterator[tuple[int, Tree]]:
    for index, item in enumerate(_list(tree.get(name))):
        if isinstance(item, dict):
            yield index, item


def _whole(value: Any) -> int | None:
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        return int(value[:18])
    return value if isinstance(value, int) and not isinstance(value, bool) else None


# --- header -----------------------------------------------------------------------------------------------------------


def _references(tree: Tree, kind: Kind) -> Iterator[Problem]:
    superseded = [index for index, item in _objects(tree, "references") if item.get("role") == "supersedes"]
    if kind.standing is Standing.MOVES and len(superseded) != 1:
        message = f"a message of kind {kind.name} supersedes exactly one; this names {len(superseded)}"
        yield Problem("/references", "supersedes", message, f"tocsin {kind.name} CASE …")
    if kind.standing is not Standing.MOVES and superseded:
        message = f"a message of kind {kind.name} supersedes none"
        yield Problem(pointer("references", superseded[0], "role"), "supersedes", message, "related")


def _times(tree: Tree, sent: int) -> Iterator[Problem]:
    expires = ms_or_none(tree.get("expires_at"))
    created = ms_or_none(tree.get("created_at"))
    if created is not None and created > sent:
        yield Problem("/created_at", "created_after_sent", "written after it is sent", format_time(sent))
    if expires is not None and expires <= sent:
        message = "it would end before it begins"
        yield Problem("/expires_at", "expires_before_sent", message, format_time(sent + 7 * 86_400_000))
    if expires is not None and expires > sent + LIFETIME_MAX_MS:
        message = "it runs for at most 30 days from now; a renewal makes it longer when that is needed"
        yield Problem("/expires_at", "expires_too_late", message, format_time(sent + LIFETIME_MAX_MS))
    respond = ms_or_none(tree.get("respond_by"))
    if respond is not None and respond <= sent:
        yield Problem("/respond_by", "respond_before_sent", "an answer would be due before it is asked", TIME_EXAMPLE)
    handling = _object(tree.get("handling"))
    for name in ("retain_until", "review_at"):
        until = ms_or_none(handling.get(name))
        if until is not None and until <= sent:
            yield Problem(pointer("handling", name), "retention_over", "that time has passed", TIME_EXAMPLE)


def _handling(tree: Tree) -> Iterator[Problem]:
    yield from contradictions(tree)
    handling = _object(tree.get("handling"))
    if "H3" in _list(handling.get("h")) and not handling.get("h3_text"):
        message = "h3_text is required: H3 says that there is a restriction"
        yield Problem("/handling/h3_text", "required", message, "not to be shown to the embassy")
    onward = _object(handling.get("onward"))
    if onward.get("allowed") == "listed" and not onward.get("list"):
        yield Problem("/handling/onward/list", "required", "list is required with `listed`", '["bka.de", "VE"]')
    if handling.get("audience") is not None:
        message = "no node can enforce readers inside an agency yet: every recipient would refuse this"
        yield Problem("/handling/audience", "not_enforced", message, "")


def _ack(tree: Tree) -> Iterator[Problem]:
    body = _object(tree.get("ack"))
    if body.get("level") == "rejected" and not body.get("cause"):
        message = "cause is required when rejecting: a code of list L38 or L33"
        yield Problem("/ack/cause", "required", message, "duplicate_case")


def _precedence(tree: Tree) -> Iterator[Problem]:
    if tree.get("precedence") not in ("flash", "immediate") or tree.get("precedence_reason"):
        return
    if not truth_of(_object(_object(tree.get("incident")).get("risk")).get("life_at_risk")):
        message = f"{tree['precedence']} is for a life at risk; without that, say why in `precedence_reason`"
        yield Problem("/precedence", "precedence_unjustified", message, "urgent")


def _grading(tree: Tree) -> Iterator[Problem]:
    grading = _object(tree.get("grading"))
    scheme = grading.get("scheme")
    known = code_list("L42").codes.get(scheme) if isinstance(scheme, str) else None
    if known is None:
        return
    for name in ("source", "info"):
        grade, allowed = grading.get(name), known.more[name]
        if isinstance(grade, str) and grade not in allowed:
            message = f"{scheme} grades {name} as {', '.join(allowed)}"
            yield Problem(pointer("grading", name), "unknown_code", message, allowed[0])


# --- body -------------------------------------------------------------------------------------------------------------


def _incident(tree: Tree) -> Iterator[Problem]:
    incident = _object(tree.get("incident"))
    taken = _object(incident.get("taken"))
    earliest, latest = ms_or_none(taken.get("earliest")), ms_or_none(taken.get("latest"))
    if earliest is not None and latest is not None and earliest > latest:
        message = "the earliest moment is later than the latest"
        yield Problem("/incident/taken/earliest", "earliest_after_latest", message, str(taken["latest"]))
    if "taken" in incident and not taken.get("absent"):
        for name in ("earliest", "latest"):
            if name not in taken:
                message = f"{name} is required, or in `absent` the reason why it is not known"
                yield Problem(pointer("incident", "taken", name), "required", message, TIME_EXAMPLE)
    for name in ("victim_count", "offender_count"):
        yield from _range(_object(incident.get(name)), "incident", name)
    count = _whole(_object(incident.get("victim_count")).get("max"))
    listed = len(_victim_indices(tree))
    if count is not None and count < listed:
        message = f"{listed} victims are listed"
        yield Problem("/incident/victim_count/max", "fewer_than_listed", message, str(listed))


def _range(span: Tree, *path: str | int) -> Iterator[Problem]:
    low, high = _whole(span.get("min")), _whole(span.get("max"))
    if low is not None and high is not None and low > high:
        yield Problem(pointer(*path, "min"), "min_above_max", "the smaller number is larger", str(high))


def is_victim(person: Tree) -> bool:
    """True for whoever is, or may be, a victim."""
    return not VICTIM_ROLES.isdisjoint(_roles(person))


def _victim_indices(tree: Tree) -> list[int]:
    return [index for index, person in _objects(tree, "persons") if is_victim(person)]


def _roles(person: Tree) -> list[str]:
    return [role for role in _list(person.get("roles")) if isinstance(role, str)]


def _victims(tree: Tree, now_ms: int) -> Iterator[Problem]:
    victims = _victim_indices(tree)
    if isinstance(tree.get("persons"), list) and not victims:
        message = "at least one person has the role victim; who is not known yet is `identified: no`"
        example = (
            '{"id": "p1", "roles": ["victim"], "identified": "no", "minor": "unknown", "status": "held_suspected"}'
        )
        yield Problem("/persons", "no_victim", message, example)
    for index, person in _objects(tree, "persons"):
        path = ("persons", index)
        yield from _range(_object(person.get("age")), *path, "age")
        if index in victims:
            yield from _victim(person, path)
        if person.get("identified") in ("yes", "presumed") and not person.get("names"):
            message = "names is required of somebody identified"
            yield Problem(pointer(*path, "names"), "required", message, '[{"full": "Lucía Pérez", "type": "official"}]')
        yield from _category(person, path)
        yield from _special_category(person, path)
        computed, stated = age_answer(person, now_ms), person.get("minor")
        # Compared as pairs in a tuple: nobody has looked yet whether `stated` is text at all.
        if computed is not None and (computed, stated) in (("yes", "no"), ("no", "yes")):
            message = f"the age given says {computed}"
            yield Problem(pointer(*path, "minor"), "minor_contradicts_age", message, computed)


def _victim(person: Tree, path: Path) -> Iterator[Problem]:
    if "status" not in person:
        message = "status is required of a victim: what is known now, a code of list L24 (person status)"
        yield Problem(pointer(*path, "status"), "required", message, "held_suspected")
    if "minor" not in person:
        message = "minor is required of a victim: yes, no or unknown; it is worked out from `dob` or `age`"
        yield Problem(pointer(*path, "minor"), "required", message, "yes")
    if person.get("identified") != "no" and not person.get("dob") and not person.get("age"):
        message = "age is required of a victim, as a range, or `dob`: it decides which rules hold"
        yield Problem(pointer(*path, "age"), "required", message, '{"min": 9, "max": 9}')


def _category(person: Tree, path: Path) -> Iterator[Problem]:
    roles = _roles(person)
    if roles and "led_category" not in person and any(role != "officer" for role in roles):
        message = "led_category is required, as it does not follow from this role: a, b, c, d1, d2 or d3 (LED art. 6)"
        yield Problem(pointer(*path, "led_category"), "required", message, "d3")


def _special_category(person: Tree, path: Path) -> Iterator[Problem]:
    named = [
        name
        for name, value in (("health", person), ("complexion", _object(person.get("description"))))
        if value.get(name)
    ]
    if named and not person.get("special_category_justification"):
        message = f"special_category_justification is required: {named[0]} is told only where strictly necessary"
        place = pointer(*path, "special_category_justification")
        yield Problem(place, "required", message, "insulin needed within 8 hours")


def age_answer(person: Tree, now_ms: int) -> str | None:
    """Whether somebody is a minor by birth date or age: yes, no, unknown (it can be either); None: neither is given."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    dob = person.get("dob")
    dob = dob.get("value") if isinstance(dob, dict) else dob
    ages: tuple[int | None, int | None] = (None, None)
    if isinstance(dob, str):
        try:
            first, last = date_range(dob)
        except ValueError:
            return None
        ages = (_years(last, today), _years(first, today))
    elif isinstance(person.get("age"), dict):
        ages = (_whole(person["age"].get("min")), _whole(person["age"].get("max")))
    else:
        return None
    youngest, oldest = ages
    if oldest is not None and oldest < ADULT_AGE:
        return "yes"
    if youngest is not None and youngest >= ADULT_AGE:
        return "no"
    return "unknown" if ages != (None, None) else None


def _years(born: date, today: date) -> int:
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def _plates(tree: Tree) -> Iterator[Problem]:
    for index, vehicle in _objects(tree, "vehicles"):
        for number, plate in _objects(vehicle, "plates"):
            text, normalised = plate.get("text"), plate.get("normalised")
            if isinstance(text, str) and isinstance(normalised, str) and plate_key(text) != normalised:
                place = pointer("vehicles", index, "plates", number, "normalised")
                yield Problem(place, "plate_key", f"of {text!r} it is {plate_key(text)!r}", plate_key(text))
        for name in ("year", "occupants"):
            yield from _range(_object(vehicle.get(name)), "vehicles", index, name)


_NOT_EMPTY: Final = {
    "persons": '[{"id": "p1", "roles": ["victim"], "identified": "no"}]',
    "locations": '[{"id": "l1", "role": "abduction", "country": "CO"}]',
    "requested_actions": '[{"action": "check_border", "target": "p1", "if_found": "stop_protect_victim"}]',
    "legal_basis": '[{"code": "untoc"}]',
}


def _lists(tree: Tree) -> Iterator[Problem]:
    for name, example in _NOT_EMPTY.items():
        if tree.get(name) == []:
            yield Problem(pointer(name), "empty", "at least one is needed", example)
    for index, person in _objects(tree, "persons"):
        if person.get("roles") == []:
            yield Problem(pointer("persons", index, "roles"), "empty", "at least one is needed", '["victim"]')


# Where one part of a message names another, and in which list that must be.
_PERSONS, _PLACES, _COMMS = ("persons",), ("locations",), ("comms",)
_ANY: Final = ("persons", "vehicles", "locations", "comms")


def _local_ids(tree: Tree) -> Iterator[Problem]:
    known: dict[str, str] = {}
    for name in _ANY:
        for index, item in _objects(tree, name):
            id_ = item.get("id")
            if not isinstance(id_, str):
                continue
            if id_ in known:
                message = f"{id_!r} is the id of two things; each has its own"
                yield Problem(pointer(name, index, "id"), "duplicate_id", message, f"{id_}b")
            known[id_] = name
    for path, target, lists in _named(tree):
        if isinstance(target, str) and known.get(target) not in lists:
            of = [id_ for id_, name in known.items() if name in lists]
            wanted = " or ".join(lists)
            there = f"there are {', '.join(of)}" if of else "there is none"
            yield Problem(
                pointer(*path), "unknown_reference", f"{target!r} is no id in {wanted}; {there}", (of or [""])[0]
            )


def _named(tree: Tree) -> Iterator[tuple[Path, Any, tuple[str, ...]]]:
    incident = _object(tree.get("incident"))
    seen = _object(incident.get("last_seen"))
    yield ("incident", "last_seen", "location"), seen.get("location"), _PLACES
    yield ("incident", "last_seen", "by"), seen.get("by"), _PERSONS
    for number, place in enumerate(_list(_object(incident.get("cross_border")).get("route"))):
        yield ("incident", "cross_border", "route", number), place, _PLACES
    for index, person in _objects(tree, "persons"):
        yield ("persons", index, "location_ref"), person.get("location_ref"), _PLACES
        for name in ("devices", "accounts"):
            for number, entry in enumerate(_list(person.get(name))):
                yield ("persons", index, name, number), entry, _COMMS
        for number, relation in _objects(person, "relations"):
            yield ("persons", index, "relations", number, "to"), relation.get("to"), _PERSONS
    for index, vehicle in _objects(tree, "vehicles"):
        yield ("vehicles", index, "last_seen", "location"), _object(vehicle.get("last_seen")).get("location"), _PLACES
    for index, entry in _objects(tree, "comms"):
        yield ("comms", index, "used_by"), entry.get("used_by"), _PERSONS
    for index, action in _objects(tree, "requested_actions"):
        yield ("requested_actions", index, "target"), action.get("target"), _ANY
        for number, place in enumerate(_list(action.get("area"))):
            if not (isinstance(place, str) and is_country(place)):
                yield ("requested_actions", index, "area", number), place, _PLACES
