# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell how a long wait gets on, and journal what a verb did, would do, and left out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..run import Run

Progress = Callable[[str], None]

# Whoever reads the journal of a running recovery wants a sign of life, not each pod.
PACE_SECONDS = 5.0


def progress_of(run: Run | None, verb: str, database: str = "") -> Progress | None:
    """Give what tells a wait's progress to the journal, if there is one; of several databases with its name."""
    if run is None:
        return None
    about = f"{database}: " if database else ""
    return paced(lambda text: run.journal.append("observation", what=verb, lines=[about + text]))


def paced(
    tell: Callable[[str], Any], seconds: float = PACE_SECONDS, clock: Callable[[], float] = time.monotonic
) -> Progress:
    """Pass a text on if it is new, at most every so many seconds, and not before a wait has become a long one.

    May be called from many threads.
    """
    due, last = clock() + seconds, ""
    lock = threading.Lock()

    def offer(text: str) -> None:
        nonlocal due, last
        with lock:
            if text == last or clock() < due:
                return
            due, last = clock() + seconds, text
        tell(text)

    return offer


def record_lost(run: Run | None, verb: str, lost: Iterable[str], reason: str | None, *, check: bool) -> None:
    """Journal, before any change, that clusters are left out by the operator's word. A plan decides nothing."""
    if run is None or check:
        return
    for name in lost:
        run.journal.append(
            "decision",
            gate=f"{verb} without cluster {name}",
            observed="not asked: the operator says that it is lost",
            wanted="an answer from every cluster",
            verdict="override",
            by=f"operator: {reason}" if reason else "operator",
        )


def record(run: Run | None, verb: str, target: str, result: Mapping[str, Any], *, check: bool) -> None:
    """Journal what was done, or in check mode what would be."""
    if run is None:
        return
    if check:
        run.journal.append("observation", what=f"plan: {verb}", lines=result["lines"])
    else:
        changed, lines = result["changed"], result["lines"]
        run.journal.append("action", what=verb, target=target, changed=changed, lines=lines)
