# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a run will take, by the runs before it, and whether that is soon enough: while there is time to act.

Only runs count that say how long the whole work takes: those that went through at the first attempt and changed
something. What failed, was cancelled or resumed, found all done already or only planned took another time.
"""

from __future__ import annotations

import heapq
import json
import math
import os
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .clock import parse
from .journal import Journal
from .report import SCHEMA, build

FORECAST, OUTLOOK = "forecast", "outlook"
# What a plan is made for, where it does not say for which of them.
REAL_MODES = ("failover", "switchover", "drill")
# The platform changes: what took long a year ago says little of today.
NEWEST = 20
# How many of the newest folders are looked into, and how large a report is read.
LOOKED, LARGEST = 500, 8 * 1024 * 1024
# A sink of many large reports must not keep the first change waiting.
HISTORY_SECONDS = 0.5
# With fewer runs to the same target than these, runs to others say more.
FEWEST = 3
HIGH = 0.9


@dataclass(frozen=True)
class Span:
    """How long something takes: as often longer as shorter, and what nine of ten stay within."""

    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Span:
        """Take both from what was measured; the high one is always a value that was."""
        ordered = sorted(values)
        high = ordered[math.ceil(HIGH * len(ordered)) - 1]
        return cls(round(statistics.median(ordered), 3), round(high, 3))


@dataclass(frozen=True)
class Stretch:
    """A phase: how long it takes, and how long after its start the recovery comes (less than 0: before it)."""

    name: str
    seconds: Span
    to_recovery: Span | None


@dataclass(frozen=True)
class Forecast:
    """What past runs of a mode say of the next."""

    mode: str
    runs: int
    same_target: bool
    seconds: Span
    to_recovery: Span | None
    phases: tuple[Stretch, ...]


@dataclass(frozen=True)
class Outlook:
    """Whether the recovery comes in time, as it looks now. Seconds count from where the recovery clock starts."""

    verdict: str  # on_time, at_risk, missed, or unknown
    left_seconds: float
    predicted_seconds: float | None = None
    high_seconds: float | None = None


@dataclass(frozen=True)
class _Past:
    """One run of the past; what happened when is counted from its start."""

    mode: str
    target: str | None
    seconds: float
    recovered: float | None
    phases: Mapping[str, tuple[float, float]]  # by name: when it began, and how long it took

    @classmethod
    def read(cls, report: Mapping[str, Any]) -> _Past:
        """Read a report. Raises KeyError, TypeError or ValueError where it is not one."""
        zero = parse(report["started_at"])
        phases: dict[str, tuple[float, float]] = {}
        for phase in report["phases"]:
            begun, spent = phases.get(phase["name"], (parse(phase["started_at"]) - zero, 0.0))
            phases[phase["name"]] = (begun, spent + _length(phase["seconds"]))
        rto: Mapping[str, Any] = next((entry for entry in report["objectives"] if entry["name"] == "rto"), {})
        measured, began = rto.get("measured_seconds"), report["clock"]["started_at"]
        recovered = None if measured is None or began is None else parse(began) - zero + _length(measured)
        return cls(str(report["mode"]), report["target"], _length(report["seconds"]), recovered, phases)


def predict(
    sink: Path, playbook: str, modes: Iterable[str], target: str | None, *, without: str = ""
) -> list[Forecast]:
    """Give the forecast for each of these modes of which there are runs in this sink, the newest of them."""
    wanted = tuple(modes)
    past: dict[str, list[_Past]] = {mode: [] for mode in wanted}
    for run in _history(sink, playbook, wanted, without):
        if len(past[run.mode]) < NEWEST:
            past[run.mode].append(run)
        if all(len(runs) == NEWEST for runs in past.values()):
            break
    return [_forecast(mode, runs, target) for mode, runs in past.items() if runs]


def _forecast(mode: str, runs: list[_Past], target: str | None) -> Forecast:
    same = [run for run in runs if run.target == target]
    chosen = same if len(same) >= FEWEST else runs
    names = dict.fromkeys(name for run in chosen for name in run.phases)
    return Forecast(
        mode=mode,
        runs=len(chosen),
        same_target=all(run.target == target for run in chosen),
        seconds=Span.of([run.seconds for run in chosen]),
        to_recovery=_to_recovery(chosen),
        phases=tuple(
            Stretch(
                name=name,
                seconds=Span.of([run.phases[name][1] for run in chosen if name in run.phases]),
                to_recovery=_to_recovery([run for run in chosen if name in run.phases], name),
            )
            for name in names
        ),
    )


def _to_recovery(runs: list[_Past], phase: str | None = None) -> Span | None:
    starts = [(run.recovered, run.phases[phase][0] if phase else 0.0) for run in runs]
    spans = [recovered - start for recovered, start in starts if recovered is not None]
    return Span.of(spans) if spans else None


def _history(sink: Path, playbook: str, modes: tuple[str, ...], without: str) -> Iterator[_Past]:
    """Yield the runs that count, the newest first."""
    until = time.monotonic() + HISTORY_SECONDS
    for folder in _newest(sink):
        if time.monotonic() > until:
            return
        if folder.name == without:
            continue
        try:
            path = folder / "report.json"
            if path.stat().st_size > LARGEST:
                continue
            report = json.loads(path.read_bytes())
            if _counts(report, playbook, modes):
                yield _Past.read(report)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # no report yet, none any more, or none of ours


def _newest(sink: Path) -> list[Path]:
    """List the run folders that were written to last; what ends a run writes its report into it."""
    try:
        with os.scandir(sink) as entries:
            newest = heapq.nlargest(LOOKED, ((_changed_at(entry), entry.name) for entry in entries))
    except OSError:
        return []
    return [sink / name for at, name in newest if at]


def _changed_at(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat().st_mtime if entry.is_dir() else 0.0
    except OSError:  # removed since it was listed
        return 0.0


def _counts(report: Mapping[str, Any], playbook: str, modes: tuple[str, ...]) -> bool:
    return (
        report["schema"] == SCHEMA
        and report["playbook"] == playbook
        and report["mode"] in modes
        and report["outcome"] == "recovered"
        and report["state"] == "finished"
        and report["attempts"] == 1
        and report["changed"] is True
        and report["check"] is False
        and report["journal"].get("first_bad") is None
    )


def _length(seconds: Any) -> float:
    """Take a duration; a clock that was set back in the middle of a run leaves one that is none."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < math.inf:
        raise ValueError(f"{seconds!r} is no duration")
    return float(seconds)


def as_record(forecasts: Iterable[Forecast]) -> dict[str, Any]:
    """Give it as the journal holds it."""
    return {"modes": [asdict(forecast) for forecast in forecasts]}


def outlook(report: Mapping[str, Any], now: float) -> Outlook | None:
    """Say how a run that goes on stands against its RTO; None where there is nothing to be late for any more."""
    rto: Mapping[str, Any] = next((entry for entry in report["objectives"] if entry["name"] == "rto"), {})
    goal, zero = rto.get("target_seconds"), report["clock"]["started_at"]
    settled = report["state"] == "finished" or rto.get("measured_seconds") is not None
    if settled or goal is None or zero is None or report["check"] or report["mode"] not in REAL_MODES:
        return None
    begin = parse(zero)
    left = round(begin + goal - now, 3)
    if left < 0:
        return Outlook("missed", left)
    expected = _expected(report)
    if expected is None:
        return Outlook("unknown", left)
    since, span = expected
    elapsed = now - since
    # Slower than nine of ten: what is left then is not known any more, and may be as much again.
    high = now + span.high if elapsed > span.high > 0 else max(now, since + span.high)
    predicted = max(now, since + span.median)
    verdict = "at_risk" if high > begin + goal else "on_time"
    return Outlook(verdict, left, round(predicted - begin, 3), round(max(high, predicted) - begin, 3))


def _expected(report: Mapping[str, Any]) -> tuple[float, Span] | None:
    """Say from when on the recovery is to be expected after how long: best by the phase that is open."""
    forecast = next(
        (entry for entry in (report[FORECAST] or {}).get("modes") or [] if entry["mode"] == report["mode"]), None
    )
    if forecast is None:
        return None
    phase = report["phases"][-1] if report["phases"] else None
    known = next((entry for entry in forecast["phases"] if phase and entry["name"] == phase["name"]), None)
    if phase and known and known["to_recovery"]:
        return parse(phase["started_at"]), Span(**known["to_recovery"])
    if forecast["to_recovery"]:
        return parse(report["started_at"]), Span(**forecast["to_recovery"])
    return None


def changes(report: Mapping[str, Any], now: float) -> list[tuple[str, dict[str, Any]]]:
    """Give what is to be journalled: how it looks now, where that is not what was said last."""
    current = outlook(report, now)
    said = (report[FORECAST] or {}).get(OUTLOOK) or [{"verdict": "unknown"}]
    if current is None or current.verdict == said[-1]["verdict"]:
        return []
    phase = report["phases"][-1]["name"] if report["phases"] else None
    return [(OUTLOOK, {"objective": "rto", "phase": phase, **asdict(current)})]


def note(journal: Journal) -> None:
    """Journal how it looks now, if that has changed."""
    journal.append_all(lambda: changes(build(journal.records()), time.time()))
