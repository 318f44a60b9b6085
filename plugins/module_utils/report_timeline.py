# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases of a run against their budgets and the outage, as an SVG that fits any width without a script.

Positions are percentages and texts keep their size, so that the same drawing reads on a phone and on paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .clock import parse
from .report_words import budget, duration, markup

ROW = 40
TOP = 26
AXIS = 30
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 604800)
MOST_TICKS = 6


def chart(report: Mapping[str, Any]) -> str:
    """Return the drawing, or nothing where no phase was begun."""
    phases = report["phases"]
    if not phases:
        return ""
    axis = _Axis(report)
    bottom = TOP + ROW * len(phases)
    parts = [_grid(axis, bottom), _band(report, axis, bottom)]
    parts += [_row(phase, axis, TOP + ROW * index) for index, phase in enumerate(phases)]
    parts.append(_moments(report, axis, bottom))
    label = f"{len(phases)} phases over {duration(axis.span)}"
    return (
        f'<svg class="chart" role="img" aria-label="{markup(label)}" width="100%" height="{bottom + AXIS}"'
        f' xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


class _Axis:
    """Maps moments to percentages of the width."""

    def __init__(self, report: Mapping[str, Any]) -> None:
        outage = report["outage"] or {}
        moments = [report["started_at"], report["ended_at"] or report["last_record_at"]]
        moments += [outage.get("last_acknowledged_before"), outage.get("first_acknowledged_after")]
        known = [parse(moment) for moment in moments if moment]
        self.zero = parse(report["clock"]["started_at"] or report["started_at"])
        self.begin = min(known)
        # An alert hours before the run would squeeze the run into nothing; then the axis starts with the run.
        span = max(known) - self.begin
        if 0 < self.begin - self.zero <= max(2 * span, 5.0):
            self.begin = self.zero
        self.span = max((max(known) - self.begin) * 1.02, 0.05)

    def at(self, stamp: str) -> float:
        return self.percent(parse(stamp) - self.begin)

    def percent(self, seconds: float) -> float:
        return min(100.0, max(0.0, seconds / self.span * 100))


def _grid(axis: _Axis, bottom: int) -> str:
    step = next((tick for tick in TICKS if axis.span / tick <= MOST_TICKS), TICKS[-1])
    offset = axis.begin - axis.zero
    tick = -(-offset // step) * step
    lines = []
    while tick <= offset + axis.span:
        x = axis.percent(tick - offset)
        anchor = "start" if x < 2 else "end" if x > 97 else "middle"
        mark = duration(round(tick, 1) + 0.0)  # never "-0 s"
        lines.append(
            f'<line class="grid" x1="{x:.2f}%" x2="{x:.2f}%" y1="{TOP - 6}" y2="{bottom}"/>'
            f'<text class="tick" x="{x:.2f}%" y="{bottom + 18}" text-anchor="{anchor}">{mark}</text>'
        )
        tick += step
    return "".join(lines)


def _band(report: Mapping[str, Any], axis: _Axis, bottom: int) -> str:
    """Shade the time in which no write was acknowledged."""
    outage = report["outage"] or {}
    begin = outage.get("last_acknowledged_before") or outage.get("first_failed_at")
    if not begin or outage.get("seconds") == 0:
        return ""
    end = outage.get("first_acknowledged_after")
    left = axis.at(begin)
    width = (axis.at(end) if end else 100.0) - left
    words = f"outage {duration(outage['seconds'])}" if end else "outage, not over"
    x, anchor = (left, "start") if left < 60 else (left + width, "end")
    return (
        f'<rect class="outage" x="{left:.2f}%" width="{width:.2f}%" y="{TOP - 6}" height="{bottom - TOP + 6}"/>'
        f'<text class="outage-label" x="{x:.2f}%" y="13" text-anchor="{anchor}">{markup(words)}</text>'
    )


def _row(phase: Mapping[str, Any], axis: _Axis, top: int) -> str:
    left = axis.at(phase["started_at"])
    seconds = phase["seconds"]
    width = 100 - left if seconds is None else axis.percent(seconds)
    limit = phase["budget_seconds"]
    over = limit is not None and seconds is not None and seconds > limit
    pale = ""
    if limit:
        room = min(100 - left, axis.percent(limit))
        pale = f'<rect class="budget" x="{left:.2f}%" width="{room:.2f}%" y="{top + 20}" height="12" rx="3"/>'
    spent = "…" if seconds is None else duration(seconds)
    against = f'<tspan class="limit"> of {budget(limit)}</tspan>' if limit is not None else ""
    shade = "over" if over else markup(str(phase["outcome"]))
    marks = {"failed": "✕ ", "refused": "! ", "cancelled": "! "}
    return (
        # The inner drawing cuts a long title off where the time spent begins.
        f'<g class="phase {shade}"><svg width="82%" height="18" y="{top}"><text class="name" x="0" y="13">'
        f"{marks.get(phase['outcome'], '')}{markup(str(phase['title']))}</text></svg>"
        f'<text class="spent" x="100%" y="{top + 13}" text-anchor="end">{markup(spent)}{against}</text>'
        f'<rect class="track" x="0" width="100%" y="{top + 20}" height="12" rx="3"/>{pale}'
        f'<rect class="bar" x="{left:.2f}%" width="{max(width, 0.4):.2f}%" y="{top + 20}" height="12" rx="3"/></g>'
    )


def _moments(report: Mapping[str, Any], axis: _Axis, bottom: int) -> str:
    """Mark the first write that was acknowledged again."""
    first = (report["outage"] or {}).get("first_acknowledged_after")
    if not first:
        return ""
    x = axis.at(first)
    return f'<line class="first-write" x1="{x:.2f}%" x2="{x:.2f}%" y1="{TOP - 6}" y2="{bottom}"/>'
