# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees while a run goes on: a checklist that moves on a terminal, lines everywhere else."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, TextIO

from ._collection import module
from .events import (
    CanaryMeasured,
    Decision,
    Event,
    Outlook,
    PhaseEnded,
    PhaseStarted,
    RunEnded,
    RunResumed,
    RunStarted,
    SinkDown,
    SinkUp,
    StepFailed,
)

TICK_SECONDS = 0.1
MARKS = {"ok": "✔", "changed": "✔", "failed": "✘", "refused": "✘", "cancelled": "✘"}
COLOURS = {"✔": "32", "✘": "31", "▶": "36"}
BAR = 20
FACTS = 8


class Screen:
    """A terminal or a pipe, which may go away while a run goes on.

    Then nobody looks any more, and what is written is dropped. It is no reason to end the run: a failover half done is
    worse than one that nobody watched, and its journal and report are there.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = False

    def write(self, text: str) -> None:
        """Write at once, if anybody is there."""
        if self._lost:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # closed at the other end, or at this one
            self._lost = True
            silence(self._stream)


def silence(stream: TextIO) -> None:
    """Send what is still buffered nowhere, or Python would fail over it at exit and change the exit code."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class View(Protocol):
    """Shows events; used as a context that holds the terminal."""

    def __enter__(self) -> View:
        """Take the terminal."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back."""

    def show(self, event: Event) -> None:
        """Take in one event."""

    def recall(self, report: Mapping[str, Any]) -> None:
        """Take in what a run that is resumed was before."""

    def say(self, text: str) -> None:
        """Tell the person who looks."""

    def output(self, text: str) -> None:
        """Take in what ansible-playbook wrote."""


@dataclass
class Step:
    """A phase as it is shown."""

    title: str
    budget: float | None
    began: float
    seconds: float | None = None
    mark: str = "▶"


@dataclass
class Board:
    """What is known of the run, and how it is said. Times are stamps of the journal: it alone knows them."""

    title: str = "Recovery"
    run_id: str = ""
    began: float | None = None
    objective: float | None = None
    recovered: float | None = None
    steps: list[Step] = field(default_factory=list)
    # What the gates saw: lag, timelines, the expected loss. It stays in sight, the latest last.
    facts: dict[str, None] = field(default_factory=dict)
    note: str = ""
    # In sight as long as it is down.
    sink: str = ""

    def recall(self, report: Mapping[str, Any]) -> None:
        """Go on from the report of a run that is resumed: its clock was never stopped."""
        self.run_id, self.title = str(report["run_id"]), module("report_words").title(report)
        began = report["clock"]["started_at"]
        self.began = _epoch(began) if began else None
        after = (report["outage"] or {}).get("first_acknowledged_after")
        self.recovered = _epoch(after) if after else None
        for objective in report["objectives"]:
            if objective["name"] == "rto":
                self.objective = objective["target_seconds"]

    def take(self, event: Event) -> str | None:
        """Take in an event; gives the line that says it where lines are shown."""
        words, at = module("report_words"), _epoch(event.time)
        if isinstance(event, RunStarted):
            self.run_id, self.title = event.run_id, words.title(event.data)
            self.began = _epoch(event.detected_at) if event.detected_at else at
            self._objective(event)
            return f"{self.title} · {event.mode or 'run'} · {event.run_id}"
        if isinstance(event, RunResumed):
            return f"{self.title} · {event.run_id} · resumed by {event.initiator or 'somebody'}"
        if isinstance(event, PhaseStarted):
            self._leave(at, "✔")
            self.steps.append(Step(event.title or event.phase or "?", event.budget_seconds, at))
            return f"▶ {self.steps[-1].title}"
        if isinstance(event, PhaseEnded):
            return self._leave(at, MARKS.get(event.outcome or "ok", "✔"))
        if isinstance(event, Decision):
            fact = f"{event.gate}: {event.verdict}; observed {event.observed}"
            self.facts.pop(fact, None)
            self.facts[fact] = None
            return f"  {fact}"
        if isinstance(event, (SinkDown, SinkUp)):
            self.sink = f"the journal's sink is DOWN ({event.why})" if isinstance(event, SinkDown) else ""
            return f"  {self.sink or 'the journal is in its sink again'}"
        if isinstance(event, StepFailed):
            self._leave(at, "✘")
            self.note = str(event.msg)
            return f"✘ {event.msg}" + (f" Next: {event.next_action}" if event.next_action else "")
        if isinstance(event, CanaryMeasured):
            after = (event.outage or {}).get("first_acknowledged_after")
            self.recovered = _epoch(after) if after else self.recovered
            seconds = (event.outage or {}).get("seconds")
            self.note = f"clients were without acknowledged writes for {words.duration(seconds)}"
        elif isinstance(event, Outlook):
            if event.verdict is None:
                return None
            self.note = words.outlook(event.data)
        elif isinstance(event, RunEnded):
            self._leave(at, MARKS.get(event.outcome or "", "✔"))
            return None
        else:
            self._objective(event)
            lines = event.data.get("lines") or [event.data.get("what")]
            self.note = str(lines[0]) if event.event == "observation" and lines[0] else self.note
            return None
        return f"  {self.note}"

    def lines(self, now: float, width: int, height: int) -> list[str]:
        """Draw the checklist, at most so large."""
        words = module("report_words")
        lines = [f"{self.title} · {self.run_id}"]
        if self.began is not None:
            lines.append(self._clock(now))
        if self.sink:
            lines.append(f"  {self.sink}")
        steps = self.steps[-max(1, height - len(lines) - 2) :]
        for step in steps:
            seconds = now - step.began if step.seconds is None else step.seconds
            budget = f" / {words.budget(step.budget)}" if step.budget else ""
            time_part = f"{words.clock(max(0.0, seconds))}{budget}"
            room = max(10, width - len(time_part) - 6)
            title = step.title if len(step.title) <= room else step.title[: room - 1] + "…"
            lines.append(f"  {step.mark} {title.ljust(room)} {time_part}")
        room = min(FACTS, max(0, height - len(lines) - 2))
        lines += [f"    {fact}" for fact in list(self.facts)[len(self.facts) - min(room, len(self.facts)) :]]
        if self.note:
            lines.append(f"    {self.note}")
        return [line[:width] for line in lines]

    def _clock(self, now: float) -> str:
        words = module("report_words")
        spent = (self.recovered or now) - (self.began or now)
        text = f"RTO {words.clock(spent)}"
        if not self.objective:
            return text
        filled = min(BAR, int(spent / self.objective * BAR))
        verdict = "  over the objective" if spent > self.objective else ""
        return f"{text} of {words.budget(self.objective)}  {'█' * filled}{'░' * (BAR - filled)}{verdict}"

    def _objective(self, event: Event) -> None:
        for objective in event.data.get("objectives") or ():
            if objective.get("name") == "rto":
                self.objective = float(objective["target_seconds"])

    def _leave(self, at: float, mark: str) -> str | None:
        if not self.steps or self.steps[-1].seconds is not None:
            return None
        step = self.steps[-1]
        step.seconds, step.mark = at - step.began, mark
        over = f", budget {module('report_words').duration(step.budget)}" if step.budget else ""
        return f"{mark} {step.title} ({module('report_words').duration(step.seconds)}{over})"


class Lines:
    """For logs and pipes: a line for each thing that happens."""

    def __init__(self, stream: TextIO, verbose: bool = False) -> None:
        self._screen = Screen(stream)
        self._verbose = verbose
        self._board = Board()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing to give back."""

    def show(self, event: Event) -> None:
        """Print the line of an event."""
        line = self._board.take(event)
        if line:
            self._screen.write(f"{event.time[11:23]}  {line}\n")

    def recall(self, report: Mapping[str, Any]) -> None:
        """Know the run's name and clock."""
        self._board.recall(report)

    def say(self, text: str) -> None:
        """Print it."""
        self._screen.write(f"{text}\n")

    def output(self, text: str) -> None:
        """Pass it through if that was asked for."""
        if self._verbose:
            self._screen.write(f"{text}\n")


class Live:
    """For a terminal: the checklist, drawn anew ten times a second."""

    def __init__(self, stream: TextIO, color: bool) -> None:
        self._screen = Screen(stream)
        self._color = color
        self._board = Board()
        self._lock = threading.Lock()
        self._drawn = 0
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Live:
        self._screen.write("\033[?25l")
        self._ticker.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._ticker.join()
        self._draw()
        self._screen.write("\033[?25h\n")

    def show(self, event: Event) -> None:
        """Take in an event and draw at once."""
        with self._lock:
            self._board.take(event)
        self._draw()

    def recall(self, report: Mapping[str, Any]) -> None:
        """Go on with the clock."""
        with self._lock:
            self._board.recall(report)

    def say(self, text: str) -> None:
        """Show it below the checklist."""
        with self._lock:
            self._board.note = text
        self._draw()

    def output(self, text: str) -> None:
        """Nothing: the checklist says it."""

    def _tick(self) -> None:
        while not self._over.wait(TICK_SECONDS):
            self._draw()

    def _draw(self) -> None:
        size = shutil.get_terminal_size()
        with self._lock:
            lines = self._board.lines(time.time(), size.columns - 1, size.lines - 1)
            up = f"\033[{self._drawn}A" if self._drawn else ""
            self._screen.write(up + "\r\033[J" + "".join(self._paint(line) + "\n" for line in lines))
            self._drawn = len(lines)

    def _paint(self, line: str) -> str:
        mark = line[2:3]
        if self._color and mark in COLOURS:
            return f"  \033[{COLOURS[mark]}m{mark}\033[0m{line[3:]}"
        return line


def choose(*, json: bool, verbose: bool, color: bool) -> View:
    """Choose by where the output goes; with --json everything but the document goes to standard error."""
    stream = sys.stderr if json else sys.stdout
    if stream.isatty() and not verbose:
        return Live(stream, color)
    return Lines(stream, verbose)


def _epoch(stamp: str) -> float:
    epoch: Any = module("clock").parse(stamp)
    return float(epoch)
