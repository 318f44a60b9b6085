# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run ended: report.json, typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

SCHEMA = 1
T = TypeVar("T")


@dataclass(frozen=True)
class Cancelled:
    """What a cancel left: nothing, or the processes that could not be ended."""

    reason: str
    remaining: tuple[str, ...] = ()


@dataclass(frozen=True)
class Objective:
    """What was wanted, and what was measured."""

    name: str
    target_seconds: float | None = None
    measured_seconds: float | None = None
    bound_seconds: float | None = None  # at most so much, where nobody measured
    met: bool | None = None
    how: str | None = None


@dataclass(frozen=True)
class Outage:
    """The outage as the canary saw it."""

    first_failed_at: str | None = None
    last_acknowledged_before: str | None = None
    first_acknowledged_after: str | None = None
    seconds: float | None = None
    acknowledged_writes: int | None = None
    lost_writes: int | None = None
    probe: str | None = None
    how: str | None = None


@dataclass(frozen=True)
class Phase:
    """One line of the checklist."""

    name: str
    title: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    seconds: float | None = None
    budget_seconds: float | None = None
    outcome: str | None = None


@dataclass(frozen=True)
class DecisionMade:
    """What a gate decided, and by which facts."""

    at: str | None = None
    gate: str | None = None
    observed: Any = None
    wanted: Any = None
    verdict: str | None = None
    by: str | None = None


@dataclass(frozen=True)
class CheckFound:
    """One check of readiness: ready, not_ready or unknown, and how it is mended."""

    role: str | None = None
    subject: str | None = None
    check: str | None = None
    verdict: str | None = None
    observed: Any = None
    wanted: Any = None
    mend: str | None = None
    at: str | None = None


@dataclass(frozen=True)
class Validation:
    """What the platform was found to be: passed, failed, unknown or pending. `share` is what is used of a limit."""

    kind: str | None = None
    name: str | None = None
    verdict: str | None = None
    observed: Any = None
    wanted: Any = None
    by: str | None = None
    seconds: float | None = None
    share: float | None = None
    at: str | None = None


@dataclass(frozen=True)
class Failure:
    """What failed, and the next safe action."""

    kind: str = "failed"
    msg: str = ""
    at: str | None = None
    phase: str | None = None
    task: str | None = None
    observed: Any = None
    wanted: Any = None
    next_action: str | None = None


@dataclass(frozen=True)
class DatabaseResult:
    """What became of one database: recovered, planned, failed, refused, cancelled, or unfinished where nobody knows."""

    name: str
    outcome: str
    phase: str | None = None
    task: str | None = None
    why: str | None = None
    next_action: str | None = None


@dataclass(frozen=True)
class Result:
    """The fields of report.json. `report` holds all of it, `folder` is where it lies (None if no run was opened)."""

    run_id: str
    outcome: str
    exit_code: int
    schema: int = SCHEMA
    playbook: str | None = None
    scenario: str | None = None
    mode: str | None = None
    target: str | None = None
    initiator: str | None = None
    reason: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    seconds: float | None = None
    objectives: tuple[Objective, ...] = ()
    outage: Outage | None = None
    phases: tuple[Phase, ...] = ()
    decisions: tuple[DecisionMade, ...] = ()
    failures: tuple[Failure, ...] = ()
    checks: tuple[CheckFound, ...] = ()
    validations: tuple[Validation, ...] = ()
    database_results: tuple[DatabaseResult, ...] = ()
    next_actions: tuple[str, ...] = ()
    folder: Path | None = None
    report: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_report(cls, report: Mapping[str, Any], folder: Path | None = None) -> Result:
        """Read report.json."""
        outage = report.get("outage")
        plain = ("playbook", "scenario", "mode", "target", "initiator", "reason", "started_at", "ended_at", "seconds")
        return cls(
            run_id=str(report["run_id"]),
            outcome=str(report["outcome"]),
            exit_code=int(report["exit_code"]),
            schema=int(report["schema"]),
            **{name: report.get(name) for name in plain},
            objectives=_all(Objective, report.get("objectives")),
            outage=_one(Outage, outage) if outage else None,
            phases=_all(Phase, report.get("phases")),
            decisions=_all(DecisionMade, report.get("decisions")),
            failures=_all(Failure, report.get("failures")),
            checks=_all(CheckFound, report.get("checks")),
            validations=_all(Validation, report.get("validations")),
            database_results=_all(DatabaseResult, report.get("database_results")),
            next_actions=tuple(report.get("next_actions") or ()),
            folder=folder,
            report=report,
        )


def unopened(
    *, run_id: str, playbook: str, mode: str | None, target: str | None, exit_code: int, failure: Mapping[str, Any]
) -> dict[str, Any]:
    """Give a report for a call that never became a run, so that `--json` and `Result` always have their fields."""
    return {
        "schema": SCHEMA,
        "run_id": run_id,
        "playbook": playbook,
        "scenario": None,
        "mode": mode,
        "target": target,
        "initiator": None,
        "reason": None,
        "outcome": {4: "refused", 5: "cancelled"}.get(exit_code, "failed"),
        "exit_code": exit_code,
        "objectives": [],
        "outage": None,
        "phases": [],
        "decisions": [],
        "failures": [dict(failure)],
        "checks": [],
        "validations": [],
        "database_results": [],
        "next_actions": [failure["next_action"]] if failure.get("next_action") else [],
    }


def _one(kind: type[T], data: Mapping[str, Any]) -> T:
    names = {item.name for item in fields(kind)}  # type: ignore[arg-type]  # all of them are dataclasses
    return kind(**{name: value for name, value in data.items() if name in names})


def _all(kind: type[T], items: Any) -> tuple[T, ...]:
    return tuple(_one(kind, item) for item in items or ())
