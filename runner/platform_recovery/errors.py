# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be wrong with a call before anything is started."""

from __future__ import annotations

from typing import Any


class WrongCall(ValueError):
    """Bad arguments; nothing was touched (exit code 1)."""

    exit_code = 1
    kind = "bad_input"

    def __init__(self, message: str, *, next_action: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.next_action = next_action

    def failure(self) -> dict[str, Any]:
        """Give it as report.json lists failures."""
        return {"kind": self.kind, "msg": self.message, "next_action": self.next_action}


class Busy(WrongCall):
    """The run is already going on in another process (exit code 4)."""

    exit_code = 4
    kind = "refused"
