"""The vocabulary: what an alert may say, how it is read, judged and written. Knows no key, no store and no clock.

What is exported here is loaded on first use: the command line takes labels from `exchange.alerts.codes` and must not
load pydantic for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exchange.alerts.changes import diff as diff
    from exchange.alerts.changes import handling_of_case as handling_of_case
    from exchange.alerts.codes import Code as Code
    from exchange.alerts.codes import CodeList as CodeList
    from exchange.alerts.codes import code_list as code_list
    from exchange.alerts.defaults import Defaults as Defaults
    from exchange.alerts.defaults import DutyContact as DutyContact
    from exchange.alerts.defaults import Originator as Originator
    from exchange.alerts.defaults import Reference as Reference
    from exchange.alerts.document import Completed as Completed
    from exchange.alerts.document import Received as Received
    from exchange.alerts.document import complete as complete
    from exchange.alerts.document import read_received as read_received
    from exchange.alerts.follow_ups import build_ack as build_ack
    from exchange.alerts.follow_ups import build_cancel as build_cancel
    from exchange.alerts.follow_ups import build_note as build_note
    from exchange.alerts.follow_ups import build_renew as build_renew
    from exchange.alerts.follow_ups import build_resolve as build_resolve
    from exchange.alerts.follow_ups import build_test as build_test
    from exchange.alerts.handling import unsupported_handling as unsupported_handling
    from exchange.alerts.headline import AckFields as AckFields
    from exchange.alerts.headline import Headline as Headline
    from exchange.alerts.headline import ack_fields as ack_fields
    from exchange.alerts.input import parse_input as parse_input
    from exchange.alerts.problems import InvalidAlert as InvalidAlert
    from exchange.alerts.problems import MarkingContradiction as MarkingContradiction
    from exchange.alerts.problems import Problem as Problem
    from exchange.alerts.registry import kinds as kinds
    from exchange.alerts.schema import json_schema as json_schema
    from exchange.alerts.schema import schema_kinds as schema_kinds
    from exchange.alerts.template import new_template as new_template

# Where each name lives. (`tests/alerts` holds this list and the one above together.)
_HOMES = {
    name: f"exchange.alerts.{home}"
    for home, names in {
        "changes": "diff handling_of_case",
        "codes": "Code CodeList code_list",
        "defaults": "Defaults DutyContact Originator Reference",
        "document": "Completed Received complete read_received",
        "follow_ups": "build_ack build_cancel build_note build_renew build_resolve build_test",
        "handling": "unsupported_handling",
        "headline": "AckFields Headline ack_fields",
        "input": "parse_input",
        "problems": "InvalidAlert MarkingContradiction Problem",
        "registry": "kinds",
        "schema": "json_schema schema_kinds",
        "template": "new_template",
    }.items()
    for name in names.split()
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 # the names above


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
