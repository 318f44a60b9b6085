# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was validated, drawn: how long each journey took, and how much of each limit the performance uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .report_words import duration, markup

Found = Mapping[str, Any]
ROW = 40
# Where the limit stands, so that there is room for what goes beyond it.
LIMIT = 50.0
MARKS = {"failed": "✕ ", "unknown": "? ", "pending": "? "}


def plots(validations: Sequence[Found]) -> Iterator[tuple[str, str]]:
    """Give each drawing and what it shows."""
    journeys = [found for found in validations if found["seconds"] is not None]
    if journeys:
        longest = max(found["seconds"] for found in journeys) or 1.0
        rows = [(found, found["seconds"] / longest * 100, duration(found["seconds"])) for found in journeys]
        yield _drawing(rows, "journeys and what they took"), "Journeys through the name that clients use."
    limited = [found for found in validations if found["share"] is not None]
    if limited:
        rows = [(found, min(100.0, found["share"] * LIMIT), f"{found['share']:.0%} of the limit") for found in limited]
        words = "Performance against its limits, which stand at the line."
        yield _drawing(rows, "performance against its limits", LIMIT), words


def _drawing(rows: Sequence[tuple[Found, float, str]], label: str, limit: float | None = None) -> str:
    height = ROW * len(rows)
    line = "" if limit is None else f'<line class="limit-line" x1="{limit}%" x2="{limit}%" y1="0" y2="{height}"/>'
    body = "".join(_row(*row, top=ROW * number) for number, row in enumerate(rows))
    return (
        f'<svg class="chart" role="img" aria-label="{markup(label)}" width="100%" height="{height}"'
        f' xmlns="http://www.w3.org/2000/svg">{body}{line}</svg>'
    )


def _row(found: Found, width: float, words: str, top: int) -> str:
    verdict = str(found["verdict"])
    shade = {"failed": "failed", "unknown": "running", "pending": "running"}.get(verdict, "ok")
    return (
        # The inner drawing cuts a long name off where the number begins.
        f'<g class="{shade}"><svg width="78%" height="18" y="{top}"><text class="name" x="0" y="13">'
        f"{MARKS.get(verdict, '')}{markup(found['name'])}</text></svg>"
        f'<text class="spent" x="100%" y="{top + 13}" text-anchor="end">{markup(words)}</text>'
        f'<rect class="track" x="0" width="100%" y="{top + 20}" height="12" rx="3"/>'
        f'<rect class="bar" x="0" width="{max(width, 0.4):.2f}%" y="{top + 20}" height="12" rx="3"/></g>'
    )
