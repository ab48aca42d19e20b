"""Commented skeletons that an analyst fills in an editor (`tocsin new`). Owns their text.

A blank is a field left out: what must be filled is asked for by `complete`, and what is not known is left blank.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final


def new_template(kind: str) -> str:
    """The YAML skeleton of a kind. Raises KeyError for one that is not, or that nobody writes in an editor."""
    return _TEMPLATES[kind]


_CASE: Final = """\
# How fast: flash, immediate (a life at risk), urgent, priority, routine
precedence:
# What the duty officer abroad reads first. At most 280 characters, no names.
summary:

handling:                   # disclosure: nobody but you decides these two
  tlp:                      # RED, AMBER+STRICT, AMBER, GREEN, CLEAR
  permitted_actions:        # what they may do: stop_and_protect, locate_and_report, discreet_check, … (list L50)
  # caveats: [NO_FAMILY_CONTACT, POLICE_INVOLVEMENT_SECRET]                                            (list L51)
  # h: [H0, H2]             # H1 not in court, H2 not passed on, each without asking; H3 with h3_text

incident:
  type:                     # ransom, express, virtual, child_nonfamily, family_parental, …, unknown   (list L04)
  confirmation:             # suspected, probable, confirmed
  taken:                    # with the offset of the place: 2026-11-23T02:10:00-05:00
    earliest:
    latest:
    tz:                     # America/Bogota
    # absent: unknown       # instead of a time that nobody knows
  risk:
    level:                  # extreme, severe, moderate, low, unknown
    life_at_risk:           # true or false
    reasons: []             # [child_under_13, weapon_seen, medication_needed]                         (list L11)
  # cross_border: {suspected: true, direction: [VE]}
  # method: {approach: school, force_used: true, weapons: [handgun]}

persons:
  - id: p1
    roles: [victim]         # also suspect, witness, family, …                                         (list L08)
    identified:             # yes, presumed, no
    names:
      - full:
        type: official
        # original_script:  # the name as its owner writes it: سلمى خوري, Анна Петрова, 李梅
    age: {min: , max: }     # or dob: 2017-04-12, or the part of it that is known: 2017-04
    # minor: yes            # under 18; worked out from the age when that is given
    status:                 # held_suspected, held_confirmed, missing, …                               (list L24)
    # sex: "2"              # 0 not known, 1 male, 2 female, 9 not applicable
    # nationalities: [COL]
    # description: {height_cm: 132, hair: black, eyes: brown, dress: "school uniform, white shirt"}
    # documents: [{type: P, number: AX123456, issuer: COL}]

locations:
  - id: l1
    role: abduction         # last_seen, sighting, possible_destination, border_point, …               (list L26)
    country:                # two letters: CO
    locality:

# vehicles:
#   - id: v1
#     kind: van
#     plates: [{text: "SXK 482", country: CO}]     # as it was read; country may be unknown; partial: true
#     colours: [white]

# comms:
#   - id: c1
#     type: msisdn
#     value: +573000000417
#     role: offender_demand

requested_actions:
  - action:                 # check_border, look_out, check_records, locate_report, …                  (list L59)
    target: p1
    if_found:               # what to do on a hit: stop_protect_victim, contact_originator
    # area: [VE]            # countries, or ids of locations
    # by: 2026-11-23T12:00:00-05:00

# narrative:
#   - lang: es
#     text: |
#       …
"""

_ALERT: Final = f"""\
# A new alert. Fill what is known, leave blank what is not; a line that begins with # is not sent.
# The node fills the rest: id, case, times, legal basis, your agency, marks each of them as filled.
kind: alert
{_CASE}"""

_UPDATE: Final = f"""\
# The complete new state of a case: what is not in here is no longer said. It replaces the last state at every holder.
# It starts more easily from that state: tocsin show CASE --json
# Send it with: tocsin update CASE FILE
kind: update
case_id:                    # CO-PONAL/2026/000017
why:                        # new_fact, correction, status_change, handling_change, extend_area, …      (list L55)
changed: []                 # places that changed, for example [/persons/0/status]
{_CASE}"""

_CANCEL: Final = """\
# Calls the alert off. It stops action and erases nothing. Shorter: tocsin cancel CASE --reason CODE
kind: cancel
case_id:                    # CO-PONAL/2026/000017
precedence:                 # flash, immediate, urgent, priority, routine
reason:                     # false_report, duplicate, wrong_identity, error_in_alert, tactical, …      (list L34c)
recipients_must: stop_action    # or erase, or keep_as_history
text:                       # no names: the case is known
"""

_RESOLVE: Final = """\
# Closes the case. Shorter: tocsin resolve CASE --outcome CODE
kind: resolve
case_id:                    # CO-PONAL/2026/000017
precedence:                 # flash, immediate, urgent, priority, routine
outcome:                    # rescued, found_safe, released_paid, returned_to_guardian, …               (list L34r)
outcome_at:                 # 2026-11-23T09:40:00-05:00; blank: now
text:
# victims: [{ref: p1, status: found_safe, condition: "unharmed, seen by a doctor"}]
# arrests: 2
# ransom: {paid: no}
# cross_border_needs: [repatriation, interpreter]                                                       (list L36)
stand_down: true
"""

_RENEW: Final = """\
# The alert stays in force. Shorter: tocsin renew CASE --until T
kind: renew
case_id:                    # CO-PONAL/2026/000017
precedence:                 # flash, immediate, urgent, priority, routine
expires_at:                 # at most 30 days from now: 2026-12-23T00:00:00-05:00
necessity:                  # why it is still needed, in this case
"""

_NOTE: Final = """\
# Free text in the thread of a case, at most 2,000 characters. Shorter: tocsin note CASE -
kind: note
case_id:                    # CO-PONAL/2026/000017
precedence:                 # flash, immediate, urgent, priority, routine
text: |

"""

_TEST: Final = """\
# A test of the line. It is stored in no case and wakes nobody.
kind: test
status: test
precedence: priority
text: line test
"""

_TEMPLATES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "alert": _ALERT,
        "update": _UPDATE,
        "cancel": _CANCEL,
        "resolve": _RESOLVE,
        "renew": _RENEW,
        "note": _NOTE,
        "test": _TEST,
    }
)
