# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report for a terminal: what an operator must know, on one screen."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .report_databases import bad, summary
from .report_path import words
from .report_words import (
    READY,
    achieved,
    budget,
    clock,
    counted,
    duration,
    evidence,
    forecasts,
    headline,
    title,
    tone,
    verdict,
)

MOST_LINES = 40
MOST_PHASES = 12
MOST_FAILURES = 2
MOST_ACTIONS = 4
MOST_WOULD_DO = 10
COLOURS = {"good": "32", "warn": "33", "bad": "31", "info": "36", "dim": "2", "bold": "1"}
# What stands before a validation; those that are open stand as a question.
VERDICTS = {"passed": ("✔", ""), "failed": ("✘", "bad")}
MARKS = {"ok": "✔", "changed": "✔", "running": "…"}


def text(
    report: Mapping[str, Any],
    *,
    folder: Path | str | None = None,
    color: bool = False,
    width: int = 80,
    phases: bool = True,
) -> str:
    """Return the report in at most forty lines and those of its checks, no wider than asked."""
    page = _Page(color, max(40, width), MOST_LINES + 4 * len(report["checks"]) + 2 * len(report["validations"]))
    page.ends(title(report), headline(report).upper(), tone(report))
    for mark in report["marks"]:
        page.wrap(f"!!! {mark} !!!", tone="bad")
    facts = (report["mode"], report["initiator"], report["run_id"])
    page.wrap(" · ".join(str(fact) for fact in facts if fact), tone="dim")
    if report.get("reason"):
        page.wrap(f"Reason: {report['reason']}", tone="dim", most=2)
    _objectives(page, report)
    for line in forecasts(report):
        page.wrap(line, first="Forecast ", tone="dim", most=2)
    for line in words(report["critical_path"]):
        page.wrap(line, first="Path     ", tone="dim", most=2)
    if phases:
        _phases(page, report)
    _checks(page, report["checks"])
    _validations(page, report["validations"])
    _databases(page, report["database_results"])
    _failures(page, report)
    _list(page, "Would do", report["would_do"], MOST_WOULD_DO)
    _list(page, "Next", report["next_actions"], MOST_ACTIONS)
    if folder:
        page.blank()
        page.wrap(evidence(report), first="Evidence ", tone="dim")
        page.line(f"Report   {_shown(Path(folder) / 'report.html')}")
    return page.text()


def _shown(path: Path) -> Path:
    """Show a path as short as it can be typed from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


class _Page:
    """Lines of a given width, in colour or not."""

    def __init__(self, color: bool, width: int, most: int) -> None:
        self._color = color
        self._width = width
        self._most = most
        self._lines: list[str] = []

    def paint(self, text: str, tone: str) -> str:
        return f"\033[{COLOURS[tone]}m{text}\033[0m" if self._color and tone in COLOURS else text

    def fits(self, text: str) -> bool:
        return len(text) <= self._width

    def blank(self) -> None:
        self._lines.append("")

    def line(self, text: str, tone: str = "") -> None:
        self._lines.append(self.paint(text, tone))

    def ends(self, left: str, right: str, tone: str, *, bold: bool = True) -> None:
        """Put one text at the left edge and one at the right."""
        room = self._width - len(right) - 2
        left = left if len(left) <= room else left[: room - 1] + "…"
        gap = " " * (self._width - len(left) - len(right))
        self._lines.append(self.paint(left, "bold" if bold else tone) + gap + self.paint(right, tone))

    def wrap(self, text: str, *, first: str = "", tone: str = "", most: int = 3) -> None:
        indent = " " * len(first)
        wrapped = textwrap.wrap(
            text, self._width, initial_indent=first, subsequent_indent=indent, max_lines=most, placeholder=" …"
        )
        for line in wrapped:
            self.line(line, tone)

    def text(self) -> str:
        lines = self._lines
        if len(lines) > self._most:
            # The path of the whole report stands last and must stay.
            lines = [*lines[: self._most - 2], "…", lines[-1]]
        return "\n".join(lines) + "\n"


def _objectives(page: _Page, report: Mapping[str, Any]) -> None:
    if not report["objectives"] or report["mode"] == "readiness":
        return
    page.blank()
    for objective in report["objectives"]:
        goal = objective["target_seconds"]
        against = "" if goal is None else f"of {duration(goal)}"
        shade = {True: "good", False: "bad"}.get(objective["met"], "warn")
        head = f"{objective['name'].upper():<8} {achieved(objective):>10} {against:<12} {verdict(objective)}"
        page.line(head if page.fits(head) else " ".join(head.split()), shade)
        page.wrap(objective["how"], first=" " * 9, tone="dim", most=2)
    outage = report["outage"]
    if outage:
        lost = outage.get("lost_writes")
        loss = "not read back" if lost is None else counted(int(lost), "lost write")
        written = counted(int(outage.get("acknowledged_writes") or 0), "acknowledged write")
        page.wrap(
            f"{duration(outage.get('seconds')):>10} without an acknowledged write · {written} · {loss}",
            first="Outage   ",
        )


def _phases(page: _Page, report: Mapping[str, Any]) -> None:
    now = [phase for phase in report["phases"] if phase["attempt"] == report["attempts"]]
    if not now:
        return
    page.blank()
    for phase in now[:MOST_PHASES]:
        spent = "" if phase["seconds"] is None else clock(phase["seconds"])
        limit = "" if phase["budget_seconds"] is None else f" of {budget(phase['budget_seconds'])}"
        shade = {"ok": "", "changed": "", "running": "warn"}.get(phase["outcome"], "bad")
        page.ends(f"{MARKS.get(phase['outcome'], '✘')} {phase['title']}", spent + limit, shade, bold=False)
    if len(now) > MOST_PHASES:
        page.line(f"  … and {len(now) - MOST_PHASES} more", "dim")


def _checks(page: _Page, checks: Sequence[Mapping[str, Any]]) -> None:
    """Show every check: those that are ready in a line, the others with what is wanted."""
    if not checks:
        return
    page.blank()
    counts = ((words, sum(check["verdict"] == verdict for check in checks)) for verdict, words in READY.items())
    page.line("Checks   " + ", ".join(f"{number} {words}" for words, number in counts if number), "bold")
    for check in checks:
        good = check["verdict"] == "ready"
        mark, shade = ("✔", "") if good else ("?", "warn") if check["verdict"] == "unknown" else ("✘", "bad")
        page.wrap(
            f"{check['subject']}, {check['check']}: {check['observed']}",
            first=f"{mark} ",
            tone=shade,
            most=1 if good else 2,
        )
        if not good:
            page.wrap(str(check["wanted"]), first="  wanted   ", most=1)


def _validations(page: _Page, validations: Sequence[Mapping[str, Any]]) -> None:
    """Show what the platform was found to be, a line each."""
    if not validations:
        return
    page.blank()
    for found in validations:
        mark, shade = VERDICTS.get(str(found["verdict"]), ("?", "warn"))
        page.wrap(
            f"{found['kind']} {found['name']}: {found['observed']}",
            first=f"{mark} ",
            tone=shade,
            most=1 if found["verdict"] == "passed" else 2,
        )


def _databases(page: _Page, databases: Sequence[Mapping[str, Any]]) -> None:
    """Say which of several databases came to the end; those that did not stand first."""
    if len(databases) < 2:
        return
    page.blank()
    left = len(bad(databases))
    for number, line in enumerate(summary(databases)):
        page.wrap(line, first="✘ " if number < left else "✔ ", tone="bad" if number < left else "good")


def _failures(page: _Page, report: Mapping[str, Any]) -> None:
    now = [failure for failure in report["failures"] if failure["attempt"] == report["attempts"]]
    for failure in now[-MOST_FAILURES:]:
        page.blank()
        page.wrap(f"{failure['task'] or failure['action']}: {failure['msg']}", first="✘ ", tone="bad")
        for name in ("observed", "wanted"):
            if failure[name]:
                page.wrap(str(failure[name]), first=f"  {name:<9}", most=2)


def _list(page: _Page, head: str, items: Sequence[str], most: int) -> None:
    if not items:
        return
    page.blank()
    page.line(head, "bold")
    for number, item in enumerate(items[:most], 1):
        page.wrap(item, first=f"  {number}. ", most=2)
    if len(items) > most:
        page.line(f"  … and {len(items) - most} more", "dim")
