# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that say what was attempted, what was seen, what was wanted, and the next safe action.

No secret may ever be put into one: they are printed and journalled as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar


class RecoveryError(Exception):
    """Base of all errors that a recovery step raises on purpose."""

    kind: ClassVar[str] = "failed"
    # Of a step on many things at once, of which each failed: the error of each by its name.
    each: Mapping[str, RecoveryError] = MappingProxyType({})

    def __init__(
        self,
        what: str,
        *,
        wanted: str | None = None,
        observed: str | None = None,
        next_action: str | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.wanted = wanted
        self.observed = observed
        self.next_action = next_action
        self.fields = fields

    def __str__(self) -> str:
        parts = [self.what.rstrip(".") + "."]
        if self.observed:
            parts.append(f"Observed: {self.observed.rstrip('.')}.")
        if self.wanted:
            parts.append(f"Wanted: {self.wanted.rstrip('.')}.")
        if self.next_action:
            parts.append(f"Next: {self.next_action.rstrip('.')}.")
        return " ".join(parts)

    def as_result(self) -> dict[str, Any]:
        """Give the machine-readable fields that stand beside `msg` in a task's result."""
        return {
            **self.fields,
            "kind": self.kind,
            "what": self.what,
            "wanted": self.wanted,
            "observed": self.observed,
            "next_action": self.next_action,
        }


class BadInput(RecoveryError):
    """The call was wrong; nothing was touched (exit code 1)."""

    kind = "bad_input"


class PreconditionFailed(RecoveryError):
    """A gate refused, or could not decide; nothing was changed, or what was is named (exit code 4)."""

    kind = "refused"


class StepFailed(RecoveryError):
    """A step was attempted and did not succeed (exit code 2)."""


class StepTimeout(StepFailed):
    """A wait reached its deadline (exit code 2)."""

    kind = "timeout"
