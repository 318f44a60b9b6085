# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be said of an objective: measured, bounded by what was observed, or not known. Never more than that."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .clock import parse
from .report_words import counted, duration

LOSS_GATE = "expected loss"
# How the gate says what the standby may lack: "none; basis: ...", "up to 2.5 min of writes, 64 B of log; basis: ...".
_SAID = re.compile(r"up to ([\d.]+) (s|min|h)\b")
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_ROUNDED = 0.05
# What a look of the canary says about lost writes; the rest is about the outage.
_LOSS = ("lost", "lost_writes", "checked_writes", "checked_since", "unchecked_writes", "rpo_seconds", "rpo_how")


@dataclass(frozen=True)
class Bound:
    """The most that could be lost, as the standby was seen before the promotion."""

    said: str
    # What was said, None where the gate could not tell; and that with what its words were rounded by.
    seconds: float | None
    ceiling: float | None
    # Whether the gate found it acceptable, rather than an operator.
    passed: bool

    @classmethod
    def read(cls, decision: Mapping[str, Any]) -> Bound:
        """Read the words of a decision."""
        said, passed = str(decision["observed"]), decision["verdict"] == "pass"
        found = _SAID.match(said)
        if found:
            number, unit = float(found[1]), _UNITS[found[2]]
            return cls(said, number * unit, round((number + _ROUNDED) * unit, 3), passed)
        seconds = 0.0 if said.startswith("none") else None
        return cls(said, seconds, seconds, passed)

    @property
    def badness(self) -> tuple[bool, bool, float]:
        """Order bounds: accepted by override comes after passed, unknown after known, long after short."""
        return not self.passed, self.seconds is None, self.seconds or 0.0


def measured(name: str, goal: float | None, seconds: float, how: str) -> dict[str, Any]:
    """Give an objective that was measured; a negative time is no measure but a clock that is wrong."""
    if seconds < 0:
        return unmeasured(name, goal, f"not measured: {duration(seconds)} {how}; the clocks disagree")
    seconds = round(seconds, 3)
    return _objective(name, goal, seconds, how, met=None if goal is None else seconds <= goal)


def unmeasured(name: str, goal: float | None, how: str) -> dict[str, Any]:
    """Give an objective of which nothing is known."""
    return _objective(name, goal, None, how)


def settled(objective: dict[str, Any], *, recovered: bool) -> dict[str, Any]:
    """Hold a run that says it recovered to its objectives: what nothing shows to be met then counts as missed."""
    unknown = objective["met"] is None and objective["target_seconds"] is not None
    return {**objective, "met": False} if recovered and unknown else objective


def rpo(
    goal: float | None,
    canary: Mapping[str, Any],
    decisions: Iterable[Mapping[str, Any]],
    *,
    recovered: bool,
    changed: bool,
) -> dict[str, Any]:
    """Say what was lost: as the canary read it back, else at most what the standby lacked before the promotion."""
    seconds, how = _read_back(canary)
    if seconds is not None:
        return measured("rpo", goal, seconds, how)
    bound = bound_of(decisions)
    if bound is None and not changed:
        return unmeasured("rpo", goal, f"{how}; nothing was changed")
    if bound is None:
        return settled(unmeasured("rpo", goal, f"not measured: {how}"), recovered=recovered)
    if goal is None or bound.seconds is None or not bound.passed or bound.seconds > goal:
        how = f"not measured: {how}; before the promotion the expected loss was {bound.said}"
        return settled(_objective("rpo", goal, None, how, bound=bound.ceiling), recovered=recovered)
    ceiling = min(bound.ceiling or 0.0, goal)
    how = f"not measured: {how}; the bound read from the standby before the promotion is up to {duration(ceiling)}"
    return _objective("rpo", goal, None, how, met=True if recovered else None, bound=ceiling)


def bound_of(decisions: Iterable[Mapping[str, Any]]) -> Bound | None:
    """Give the worst loss that a gate let pass: several databases have one each, under the same name."""
    let_pass = [Bound.read(d) for d in decisions if d["gate"] == LOSS_GATE and d["verdict"] != "refuse"]
    return max(let_pass, key=lambda bound: bound.badness, default=None)


def later_look(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Put two looks of the canary together.

    A later attempt may find the platform well and its canary without an outage: the outage was still there. What was
    lost is told by the later look, unless that read back less than the earlier one.
    """
    over = (before.get("outage") or {}).get("first_acknowledged_after")
    keeps_outage = over and not (now.get("outage") or {}).get("first_failed_at")
    base = before if keeps_outage else now
    loss = now if _reads_more(now, before) else before
    if loss is base:
        return dict(base)
    merged = {key: value for key, value in base.items() if key not in _LOSS}
    merged |= {key: loss[key] for key in _LOSS if key in loss}
    if merged.get("lost_writes") and merged.get("rpo_seconds") is not None:
        del merged["rpo_seconds"]  # its age was counted back from another outage
    if base.get("outage"):
        merged["outage"] = {**base["outage"], "lost_writes": loss.get("lost_writes")}
    return merged


def _reads_more(now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    if before.get("lost_writes") is None or now.get("lost_writes") is None:
        return before.get("lost_writes") is None
    return int(now.get("checked_writes") or 0) >= int(before.get("checked_writes") or 0)


def _read_back(canary: Mapping[str, Any]) -> tuple[float | None, str]:
    """Give the age of the oldest lost write and how that is known, or None and why it is not."""
    outage = canary.get("outage") or {}
    lost = outage.get("lost_writes")
    if lost is None:
        return None, "the acknowledged writes were not read back" if outage else "no probe ran"
    if lost == 0 and outage.get("first_failed_at") and not outage.get("last_acknowledged_before"):
        return None, "no client watched before the failure"
    if canary.get("rpo_how") and canary.get("rpo_seconds", 0.0) is None:
        return None, str(canary["rpo_how"])
    written = counted(int(outage.get("acknowledged_writes") or 0), "acknowledged write")
    if lost == 0:
        return 0.0, f"none of {written} is missing"
    age = canary.get("rpo_seconds")
    if age is None:
        age = _age_of_loss(canary, outage)
    if age is None:
        return None, f"{lost:,} of {written} are missing, and when they were written is not known"
    return float(age), f"{lost:,} of {written} missing; the oldest was this old at the failure"


def _age_of_loss(canary: Mapping[str, Any], outage: Mapping[str, Any]) -> float | None:
    """Return how old the oldest lost write was when the failure came, or when a later one was written and lost."""
    stamps = [entry.get("acknowledged_at") for entry in canary.get("lost") or [] if isinstance(entry, Mapping)]
    known = [parse(str(stamp)) for stamp in stamps if stamp]
    failure = outage.get("first_failed_at") or outage.get("last_acknowledged_before")
    return max(parse(str(failure)), *known) - min(known) if known and failure else None


def _objective(
    name: str,
    goal: float | None,
    seconds: float | None,
    how: str,
    *,
    met: bool | None = None,
    bound: float | None = None,
) -> dict[str, Any]:
    """Give an objective as report.json holds it."""
    return {
        "name": name,
        "target_seconds": goal,
        "measured_seconds": seconds,
        "bound_seconds": bound,
        "met": met,
        "how": how,
    }
