# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of readiness: what a recovery would need, whether it is there, and how it is mended where it is not.

A check never refuses. Whatever one finds, all the others are made as well, so that nobody mends one thing only to
learn of the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from .errors import BadInput, PreconditionFailed, RecoveryError
from .report_words import CHECK_EVENT, READY

# The mend of what could not be asked because of something else.
FIRST = "mend what keeps it from being asked, and check again"
Verdict = Literal["ready", "not_ready", "unknown"]


class Recorder(Protocol):
    """The journal, as far as checks need it."""

    def append_all(self, choose: Callable[[], Iterable[tuple[str, Mapping[str, Any]]]]) -> Any:
        """Append many events at once."""


class HasJournal(Protocol):
    """A run that is open."""

    @property
    def journal(self) -> Recorder:
        """Give its journal."""


@dataclass(frozen=True)
class Check:
    """What was looked at (`subject`, `check`), by which role, and what it came to. Unknown is not ready either."""

    role: str
    subject: str
    check: str
    verdict: Verdict
    observed: str
    wanted: str
    mend: str | None = None


@dataclass(frozen=True)
class Checklist:
    """Makes the checks of one role on one thing."""

    role: str
    subject: str

    def judged(self, check: str, good: bool | None, observed: str, wanted: str, mend: str) -> Check:
        """Give a check whose verdict is known, or cannot be told (None)."""
        verdict: Verdict = "unknown" if good is None else "ready" if good else "not_ready"
        return Check(self.role, self.subject, check, verdict, observed, wanted, None if good else mend)

    def failed(self, check: str, error: RecoveryError) -> Check:
        """Give the check that an error stands for: what would refuse is not ready, of the rest nothing is known."""
        refused = isinstance(error, (BadInput, PreconditionFailed))
        return self.judged(
            check,
            False if refused else None,
            f"{error.what}: {error.observed}" if error.observed else error.what,
            error.wanted or "an answer",
            error.next_action or "remove the cause, and check again",
        )

    def attempt(self, check: str, look: Callable[[], list[Check]]) -> list[Check]:
        """Look, and take an error for what it says of this one check."""
        try:
            return look()
        except RecoveryError as error:
            return [self.failed(check, error)]


def result(run: HasJournal | None, checks: Sequence[Check]) -> dict[str, Any]:
    """Journal checks, and give them as a task's result carries them."""
    found = [asdict(check) for check in checks]
    if run is not None:
        run.journal.append_all(lambda: [(CHECK_EVENT, entry) for entry in found])
    return {"changed": False, "checks": found, "lines": [line(check) for check in checks], "next_actions": []}


def line(check: Check) -> str:
    """Say a check in a line."""
    said = f"{check.subject}, {check.check}: {READY[check.verdict]}; {check.observed}"
    return said if check.verdict == "ready" else f"{said}; wanted {check.wanted}; mend: {check.mend}"
