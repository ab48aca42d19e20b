"""When to try a peer again (PROTOCOL §12). Owns the schedule's arithmetic; time and chance come as arguments."""

from __future__ import annotations

from exchange.envelope import Precedence

FIRST_DELAY_MS = 1_000
CAP_FIRST_DAY_MS = 15 * 60_000
CAP_LATER_MS = 3_600_000
CAP_FLASH_MS = 60_000
FIRST_DAY_MS = 86_400_000
# Where the peer's machine is up but does not trust us, only people can help: call seldom, show it in red (DESIGN 8).
UNTRUSTED_DELAY_MS = 15 * 60_000


def next_attempt(now: int, *, attempts: int, first_at: int, precedence: Precedence, chance: float) -> int:
    """Time of the next attempt after `attempts` failures in a row.

    Doubling from one second with full jitter (`chance` in [0, 1) is drawn by the caller), so that a thousand nodes
    that lost
    one peer do not come back in step. `first_at` is when the first attempt was possible; after a day the cap is an
    hour.
    """
    if precedence is Precedence.FLASH:
        cap = CAP_FLASH_MS
    elif now - first_at < FIRST_DAY_MS:
        cap = CAP_FIRST_DAY_MS
    else:
        cap = CAP_LATER_MS
    ceiling = min(cap, FIRST_DELAY_MS << min(max(attempts - 1, 0), 30))
    # Full jitter, but never a busy loop: half a second at least.
    return now + max(FIRST_DELAY_MS // 2, int(ceiling * chance))
