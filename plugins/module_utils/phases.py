# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases of a run. A play declares its phase in a variable, and whoever of our actions works in it first enters it.

No task of its own enters one: each costs as much as a fence in Ansible, and there are four before the first change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import clock, forecast, sink
from .errors import BadInput
from .journal import JournalError
from .run import Run

VARIABLE = "recovery_phase"
WANTED = (
    "a mapping with name, with budget_seconds where the phase has a budget, and with side_by_side where hosts do "
    "different things in it"
)
KEYS = frozenset({"name", "budget_seconds", "side_by_side"})
# What says which phase is open: only after the first of them one is.
TURNS = frozenset({"phase_started", "phase_ended", "run_started", "run_resumed"})
Milestone = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Phase:
    """A part of a checklist: a short name, the words for people, and how many seconds it may take."""

    name: str
    title: str
    budget_seconds: float | None = None
    side_by_side: bool = False
    """Whether its hosts do different things at the same time: then each step is journalled with what it took."""


def declared(value: Any, play: str) -> Phase | None:
    """Read what a play declares. Raises BadInput."""
    if value is None:
        return None
    given = value if isinstance(value, Mapping) else {}
    seconds = given.get("budget_seconds") or 0
    if not given.get("name") or {*given} - KEYS or not isinstance(seconds, (int, float)):
        raise BadInput(
            f"{VARIABLE} of the play {play!r} declares no phase",
            wanted=WANTED,
            observed=str(value),
            next_action=f"correct the play's variable {VARIABLE}",
        )
    return Phase(str(given["name"]), play, seconds or None, bool(given.get("side_by_side")))


def enter(run: Run, phase: Phase) -> dict[str, Any] | None:
    """Close the open phase and open this one, unless it is the open one. Returns what is new then."""
    if _inside(run, phase):
        return None

    def choose() -> list[Milestone]:
        """Several databases side by side enter a phase together: the first of them opens it."""
        if _inside(run, phase):
            return []
        before = open_phase(run.report())
        opened = {"phase": phase.name, "title": phase.title, "budget_seconds": phase.budget_seconds}
        return [*closing(before), ("phase_started", opened)]

    if not run.journal.append_all(choose):
        return None
    forecast.note(run.journal)
    report, lines = rendered(run)
    return standing(report, lines + sink.loud(run.folder))


def standing(report: Mapping[str, Any], lines: Sequence[str] = ()) -> dict[str, Any]:
    """Say in which phase a run is, and how it stands against its objectives."""
    current = {key: report["phases"][-1][key] for key in ("name", "title", "budget_seconds", "started_at")}
    return {"phase": current, "clock": report["clock"], "objectives": report["objectives"], "lines": [*lines]}


def open_phase(report: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Give the phase that is open, None where none is."""
    last = report["phases"][-1] if report["phases"] else None
    return last if last and last["ended_at"] is None else None


def closing(phase: Mapping[str, Any] | None) -> list[Milestone]:
    """Give the end of a phase, as the journal takes it."""
    if phase is None:
        return []
    passed = round(clock.parse(clock.utc_now()) - clock.parse(phase["started_at"]), 3)
    # Negative where the clock was set back meanwhile: then nobody knows.
    seconds = passed if passed >= 0 else None
    outcome = "changed" if phase.get("changed") else "ok"
    return [("phase_ended", {"phase": phase["name"], "seconds": seconds, "outcome": outcome})]


def rendered(run: Run) -> tuple[dict[str, Any], list[str]]:
    """Render on the way; a report that cannot be written must not stop a recovery."""
    try:
        return run.render(), []
    except (JournalError, OSError) as error:
        return run.report(), [f"The report could not be written, the run goes on: {error}"]


def _inside(run: Run, phase: Phase) -> bool:
    """Tell whether this phase is the open one, without building a report for it: each task asks."""
    turn = run.journal.newest(TURNS)
    return bool(turn and turn["event"] == "phase_started" and turn["data"].get("phase") == phase.name)
