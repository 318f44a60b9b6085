# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the checklists of the collection platform.recovery from another program.

from platform_recovery import run

result = run("database-failover", inventory="inventories/production", target="us-east-1", confirm="us-east-1")
if result.exit_code:
    page(result.next_actions)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attached import AttachedRun, Status, attach
    from .detached import NotOpened, launch
    from .errors import WrongCall
    from .events import (
        Action,
        CanaryMeasured,
        CheckMade,
        Decision,
        Event,
        Forecast,
        IncidentActivated,
        NextAction,
        NotificationDue,
        Observation,
        Outlook,
        PhaseEnded,
        PhaseStarted,
        RunEnded,
        RunInterrupted,
        RunResumed,
        RunStarted,
        SinkDown,
        SinkUp,
        StepEnded,
        StepFailed,
        Validated,
    )
    from .result import (
        Cancelled,
        CheckFound,
        DatabaseResult,
        DecisionMade,
        Failure,
        Objective,
        Outage,
        Phase,
        Result,
        Validation,
    )
    from .session import Run, run, start

__version__ = "0.1.0"
__all__ = [
    "Action",
    "AttachedRun",
    "CanaryMeasured",
    "Cancelled",
    "CheckFound",
    "CheckMade",
    "DatabaseResult",
    "Decision",
    "DecisionMade",
    "Event",
    "Failure",
    "Forecast",
    "IncidentActivated",
    "NextAction",
    "NotOpened",
    "NotificationDue",
    "Objective",
    "Observation",
    "Outage",
    "Outlook",
    "Phase",
    "PhaseEnded",
    "PhaseStarted",
    "Result",
    "Run",
    "RunEnded",
    "RunInterrupted",
    "RunResumed",
    "RunStarted",
    "SinkDown",
    "SinkUp",
    "Status",
    "StepEnded",
    "StepFailed",
    "Validated",
    "Validation",
    "WrongCall",
    "attach",
    "launch",
    "run",
    "start",
]

_HOMES = {
    "attached": ("AttachedRun", "Status", "attach"),
    "detached": ("NotOpened", "launch"),
    "errors": ("WrongCall",),
    "result": (
        "Cancelled",
        "CheckFound",
        "DatabaseResult",
        "DecisionMade",
        "Failure",
        "Objective",
        "Outage",
        "Phase",
        "Result",
        "Validation",
    ),
    "session": ("Run", "run", "start"),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: `recovery --help` must not wait for ansible-runner."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = next((home for home, names in _HOMES.items() if name in names), "events")
    return getattr(importlib.import_module(f".{home}", __name__), name)
