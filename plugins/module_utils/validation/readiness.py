# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the performance could be compared after an event: what has to be there before it."""

from __future__ import annotations

from ..clock import parse
from ..errors import RecoveryError
from ..readiness import Check, Checklist
from . import performance
from .load import Load, find

ROLE = "platform_validation"
DAY = 86400.0
MEND = "run the role's entry point baseline while the platform is well"


def checks(memory: str, load: Load, generator: str, most_days: float, now: float) -> list[Check]:
    """Make every check."""
    on = Checklist(ROLE, "performance")
    return on.attempt("load generator", lambda: [generator_check(on, generator)]) + on.attempt(
        "baseline", lambda: [baseline_check(on, memory, load, most_days, now)]
    )


def generator_check(on: Checklist, generator: str) -> Check:
    """Look for the program."""
    return on.judged("load generator", True, find(generator), "vegeta 12 on the controller", "")


def baseline_check(on: Checklist, memory: str, load: Load, most_days: float, now: float) -> Check:
    """Judge what is remembered."""
    wanted = f"one of the same load, not older than {most_days:g} days"
    try:
        known = performance.recall(memory)
    except RecoveryError as error:
        return on.judged("baseline", False, f"{error.what}: {error.observed}", wanted, error.next_action or MEND)
    if known is None:
        return on.judged("baseline", False, performance.NO_BASELINE, wanted, MEND)
    other = known.differs(load)
    days = (now - parse(known.taken_at)) / DAY
    seen = other or f"of {known.taken_at}, {days:.1f} days old"
    return on.judged("baseline", not other and days <= most_days, seen, wanted, MEND)
