# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two controllers at once, over and over."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.clock import parse
from tests.faults.test_killed_controller import FAILOVER, RERUN_CODES
from tests.support import ledger
from tests.support.platform import EAST, ROOT, command, environment, variables
from tests.support.standing import writers

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("healthy")]

TIMES = int(os.environ.get("RECOVERY_FAULTS_PAIRS", "50"))
# Both must be at work at once: where one came only after the other's end, the turn says nothing and is taken again.
MOST_TURNS = 2
# The lease is given back before the run's last record.
GIVING_BACK_SECONDS = 1.0


@dataclass(frozen=True)
class Pair:
    """Two runs that were started in the same instant, each with a journal of its own."""

    sinks: dict[str, Path]
    outputs: dict[str, str]

    def report(self, run_id: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.sinks[run_id] / run_id / "report.json").read_text())
        return content

    def wrong(self) -> list[str]:
        """Say what is not as it should be: one works, the other is refused and names it."""
        codes = {run_id: self.report(run_id)["exit_code"] for run_id in self.sinks}
        refused = [run_id for run_id, code in codes.items() if code == 4]
        works = [run_id for run_id, code in codes.items() if code in RERUN_CODES]
        if len(refused) != 1 or len(works) != 1:
            return [f"exit codes {codes}: {self.outputs}"]
        [decision] = [entry for entry in self.report(refused[0])["decisions"] if entry["gate"] == "lease"]
        named = f"run {works[0]} (database-failover to {EAST})" in str(decision["observed"])
        idle = not self.report(refused[0])["changed"]
        return [] if named and idle else [f"named: {named}, changed nothing: {idle}; {decision}"]

    def one_after_the_other(self) -> bool:
        """Whether both worked, the second only when the first had given the lease back."""
        if not all(self.report(run_id)["exit_code"] in RERUN_CODES for run_id in self.sinks):
            return False
        (_, first_ended), (second_asked, _) = sorted(self.held(run_id) for run_id in self.sinks)
        return second_asked >= first_ended - GIVING_BACK_SECONDS

    def held(self, run_id: str) -> tuple[float, float]:
        """Give when a run took the lease and when it ended."""
        lines = (self.sinks[run_id] / run_id / "journal.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        took = next(record for record in records if record["data"].get("gate") == "lease")
        return parse(took["time"]), parse(records[-1]["time"])


def race(folder: Path, turn: str) -> Pair:
    sinks = {f"{name}-{turn}": folder / f"{name}-{turn}" for name in ("one", "two")}
    started = {
        run_id: subprocess.Popen(
            command(run_id, sink, variables()),
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for run_id, sink in sinks.items()
    }
    return Pair(sinks, {run_id: process.communicate(timeout=240)[0] for run_id, process in started.items()})


@pytest.mark.slow
@pytest.mark.timeout(TIMES * 60)
def test_of_two_controllers_in_the_same_instant_one_works(tmp_path: Path, tell: Callable[[str], None]) -> None:
    """The first pair recovers; the others find it done. Who holds the lease is decided before that all the same."""
    FAILOVER.prepare()
    found: dict[int, list[str]] = {}
    ledger.size("Two controllers in the same instant", TIMES)
    apart = 0
    for turn in range(TIMES):
        for attempt in range(MOST_TURNS):
            pair = race(tmp_path, f"{turn}-{attempt}")
            if not pair.one_after_the_other():
                break
            apart += 1
        found[turn] = pair.wrong()
        ledger.note("Two controllers in the same instant", str(turn + 1), "; ".join(found[turn])[:300] or "ok")
    tell(f"{sum(not wrong for wrong in found.values())} of {TIMES} pairs: one worked, one was refused and named it")
    tell(f"  ({apart} pairs more, in which one had ended before the other asked)")
    assert not {turn: wrong for turn, wrong in found.items() if wrong}
    assert writers() == [EAST]
