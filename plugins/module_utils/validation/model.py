# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a validation came to, as the journal holds it and the report shows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from ..report_words import VALIDATED_EVENT

EVENT = VALIDATED_EVENT
Kind = Literal["journey", "performance", "acceptance"]
# From what settles it to what leaves it open; passed only if nothing else was found.
Verdict = Literal["failed", "unknown", "pending", "passed"]


@dataclass(frozen=True)
class Finding:
    """One thing that was validated. `share` is what is used of what is allowed, where that is a number: 1 is all."""

    kind: Kind
    name: str
    verdict: Verdict
    observed: str
    wanted: str
    by: str = "observation"
    seconds: float | None = None
    share: float | None = None

    def record(self) -> dict[str, Any]:
        """Give it as the journal holds it."""
        return asdict(self)

    @property
    def line(self) -> str:
        """Say it to people."""
        against = "" if self.verdict == "passed" else f" (wanted {self.wanted})"
        return f"{self.kind} {self.name}: {self.verdict}; {self.observed}{against}"


def overall(findings: Iterable[Finding]) -> Verdict:
    """Give what they come to together: passed only if each is."""
    seen = {finding.verdict for finding in findings}
    return next((verdict for verdict in get_args(Verdict) if verdict in seen), "passed")
