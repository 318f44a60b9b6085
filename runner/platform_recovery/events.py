# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens in a run, typed: one event for each record of the journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Event:
    """Any record. A record of a kind not known to this version arrives as a plain Event with its `data`."""

    seq: int
    time: str
    run_id: str
    event: str
    data: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """The run was opened."""

    playbook: str | None = None
    mode: str | None = None
    target: str | None = None
    initiator: str | None = None
    reason: str | None = None
    detected_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunResumed(Event):
    """A run of the same name was opened again."""

    initiator: str | None = None


@dataclass(frozen=True, kw_only=True)
class PhaseStarted(Event):
    """A line of the checklist was begun."""

    phase: str | None = None
    title: str | None = None
    budget_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class PhaseEnded(Event):
    """A line of the checklist was left."""

    phase: str | None = None
    seconds: float | None = None
    outcome: str | None = None


@dataclass(frozen=True, kw_only=True)
class Decision(Event):
    """A gate passed, refused, or was overridden."""

    gate: str | None = None
    observed: Any = None
    wanted: Any = None
    verdict: str | None = None
    by: str | None = None


@dataclass(frozen=True, kw_only=True)
class CheckMade(Event):
    """One check of readiness: ready, not_ready or unknown, and how it is mended."""

    role: str | None = None
    subject: str | None = None
    check: str | None = None
    verdict: str | None = None
    observed: Any = None
    wanted: Any = None
    mend: str | None = None


@dataclass(frozen=True, kw_only=True)
class Validated(Event):
    """One thing that was validated: passed, failed, unknown or pending. `share` is what is used of a limit."""

    kind: str | None = None
    name: str | None = None
    verdict: str | None = None
    observed: Any = None
    wanted: Any = None
    by: str | None = None
    seconds: float | None = None
    share: float | None = None


@dataclass(frozen=True, kw_only=True)
class Action(Event):
    """Something was done, or was found done."""

    what: str | None = None
    target: Any = None
    changed: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Observation(Event):
    """Something was seen."""

    what: str | None = None
    lines: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class StepFailed(Event):
    """A step failed; `next_action` is the next safe one."""

    kind: str | None = None
    msg: str | None = None
    wanted: Any = None
    observed: Any = None
    next_action: str | None = None
    task: str | None = None
    action: str | None = None


@dataclass(frozen=True, kw_only=True)
class CanaryMeasured(Event):
    """Outage and loss were measured from outside."""

    outage: Mapping[str, Any] | None = None
    lost_writes: int | None = None
    acknowledged_writes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Forecast(Event):
    """How long the run will take by the runs before it, for each mode of which there were any."""

    modes: list[Mapping[str, Any]] | None = None


@dataclass(frozen=True, kw_only=True)
class Outlook(Event):
    """How the run stands against an objective has changed: on_time, at_risk or missed."""

    objective: str | None = None
    verdict: str | None = None
    left_seconds: float | None = None
    predicted_seconds: float | None = None
    high_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class SinkDown(Event):
    """The journal's sink does not take what is written: the run goes on, and its journal is on this disk alone."""

    sink: str | None = None
    why: str | None = None
    holds: int | None = None


@dataclass(frozen=True, kw_only=True)
class SinkUp(Event):
    """The journal's sink is there again, and holds all of it."""

    sink: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class IncidentActivated(Event):
    """Those who respond to an incident are to be called; `regions` says how each region stands."""

    scenario: str | None = None
    target: str | None = None
    regions: Mapping[str, str] | None = None
    lines: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class NotificationDue(Event):
    """People outside are to be told something now. The run tells nobody itself."""

    audience: str | None = None
    target: str | None = None
    lines: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class StepEnded(Event):
    """A step ended in a phase in which hosts do different things at the same time."""

    phase: str | None = None
    host: str | None = None
    task: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class NextAction(Event):
    """What to do next."""

    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunInterrupted(Event):
    """The playbook was interrupted."""

    signal: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunEnded(Event):
    """The run is over."""

    outcome: str | None = None


KINDS: dict[str, type[Event]] = {
    "run_started": RunStarted,
    "run_resumed": RunResumed,
    "phase_started": PhaseStarted,
    "phase_ended": PhaseEnded,
    "decision": Decision,
    "check": CheckMade,
    "validated": Validated,
    "action": Action,
    "observation": Observation,
    "step_failed": StepFailed,
    "canary_measured": CanaryMeasured,
    "forecast": Forecast,
    "outlook": Outlook,
    "sink_down": SinkDown,
    "sink_up": SinkUp,
    "incident_activated": IncidentActivated,
    "notification_due": NotificationDue,
    "step_ended": StepEnded,
    "next_action": NextAction,
    "run_interrupted": RunInterrupted,
    "run_ended": RunEnded,
}
_BASE = frozenset(item.name for item in fields(Event))
_FIELDS = {kind: [item.name for item in fields(kind) if item.name not in _BASE] for kind in KINDS.values()}


def from_record(record: Mapping[str, Any]) -> Event:
    """Turn a record of the journal into its event."""
    kind = KINDS.get(str(record["event"]), Event)
    data = record.get("data") or {}
    own = {name: data.get(name) for name in _FIELDS.get(kind, ())}
    return kind(
        seq=int(record["seq"]),
        time=str(record["time"]),
        run_id=str(record["run_id"]),
        event=str(record["event"]),
        data=data,
        **own,
    )
