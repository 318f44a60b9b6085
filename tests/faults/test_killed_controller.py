# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller dies after any record of its journal; the same call again ends as if it never had."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import ledger
from tests.support.killer import __file__ as killer
from tests.support.platform import (
    EAST,
    ROOT,
    WEST,
    command,
    environment,
    failover,
    healthy_lab,
    lab,
)
from tests.support.standing import differences, standing, timeline, wait_for_standing, writers

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("healthy")]

SEED = int(os.environ.get("RECOVERY_FAULTS_SEED", "1"))
SECONDS = float(os.environ.get("RECOVERY_FAULTS_SECONDS", "7200"))
IN_CI = 1
# The canary goes on where its controller died; the next one finds it, measures and stops it.
RERUN_CODES = (0, 3)


@dataclass(frozen=True)
class Checklist:
    """What is run, and what is broken before it. Two of them that undo one another need no reset in between."""

    playbook: str
    mode: str
    target: str
    kills: str = ""

    @property
    def name(self) -> str:
        return f"{self.playbook}, {self.mode}"

    @property
    def wish(self) -> dict[str, Any]:
        return {"recovery_target": self.target, "recovery_confirm": self.target, "recovery_mode": self.mode}

    def prepare(self) -> None:
        if self.kills:
            lab("break", "kill", self.kills)

    def run(self, sink: Path, run_id: str) -> Any:
        return failover(sink, run_id=run_id, playbook=self.playbook, **self.wish)


FAILOVER = Checklist("database_failover", "failover", EAST, f"{WEST}/postgresql")
SWITCHOVER = Checklist("database_failover", "switchover", EAST)
FAILBACK = Checklist("database_failback", "switchover", WEST)


def killed_after(checklist: Checklist, number: int, sink: Path, run_id: str) -> int:
    """Run it, have it killed after so many records; gives how many there are. Negative: it ended before."""
    folder = sink / run_id
    folder.mkdir(parents=True)
    process = subprocess.Popen(
        command(run_id, sink, checklist.wish, playbook=checklist.playbook),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    watch = [sys.executable, killer, str(process.pid), str(folder), str(number)]
    done = subprocess.run(watch, check=True, capture_output=True, text=True, timeout=120)
    process.wait(timeout=30)
    return int(done.stdout)


@dataclass
class Campaign:
    """Kill points of a checklist and of the one that leads back, in turn."""

    there: Checklist
    back: Checklist
    folder: Path

    def __post_init__(self) -> None:
        self.number = 0
        self.records: dict[str, int] = {}
        self.wanted: dict[str, dict[str, Any]] = {}

    def learn(self) -> None:
        """See how both end undisturbed, and how many records that takes."""
        for checklist in (self.there, self.back):
            checklist.prepare()
            before = timeline() if not checklist.kills else None
            ended = checklist.run(self.folder, f"undisturbed-{self._next()}")
            assert ended.code in RERUN_CODES, ended.output
            assert before is None or timeline() == before + 1
            self.records[checklist.name] = len(ended.journal)
            ledger.size(f"Kill points of {checklist.name}", len(ended.journal))
            self.wanted[checklist.name] = settled()

    def _next(self) -> int:
        self.number += 1
        return self.number

    def undisturbed(self, checklist: Checklist) -> None:
        """Go the way without being killed, or by a reset where that does not lead there."""
        checklist.prepare()
        ended = checklist.run(self.folder, f"way-{self._next()}")
        if ended.code not in RERUN_CODES or wait_for_standing(self.wanted[checklist.name]):
            healthy_lab()

    def point(self, checklist: Checklist, number: int) -> list[str]:
        """Kill it after this record and run it again; says what is not as it should be."""
        run_id = f"{checklist.playbook}-{number}-{self._next()}"
        before = timeline()
        checklist.prepare()
        stands = killed_after(checklist, number, self.folder, run_id)
        wrong = [] if len(writers()) <= 1 else ["two servers take writes after the kill"]
        ended = checklist.run(self.folder, run_id)
        if ended.code not in RERUN_CODES:
            return [*wrong, f"killed at {stands}, run again it ended with {ended.code}: {ended.output[-1500:]}"]
        if ended.report["outcome"] != "recovered":
            wrong.append(f"outcome {ended.report['outcome']}")
        wrong += wait_for_standing(self.wanted[checklist.name])
        if not wrong and timeline() != before + 1:
            wrong.append(f"{timeline() - before} promotions instead of one")
        return wrong


def settled(seconds: float = 20) -> dict[str, Any]:
    """Give how everything stands once it stands still: a slot's reader may come a moment after the run's end."""
    deadline = time.monotonic() + seconds
    seen = standing()
    while differences(seen, again := standing()):
        assert time.monotonic() < deadline, "the platform does not come to rest"
        seen = again
    return seen


def chosen(checklist: Checklist, count: int) -> list[int]:
    """Give the records after which to kill: those named, or all, those longest untried first."""
    named = os.environ.get("RECOVERY_FAULTS_POINTS")
    if named:
        return [int(one) for one in named.split(",")]
    points = list(range(1, count + 1))
    random.Random(f"{SEED}-{checklist.name}").shuffle(points)
    return [int(one) for one in ledger.oldest_first(f"Kill points of {checklist.name}", [str(one) for one in points])]


def carry_out(campaign: Campaign, most: int, seconds: float) -> dict[str, list[str]]:
    """Try points of both in turn until the time is over; gives what went wrong, by point."""
    campaign.learn()
    left = {c.name: chosen(c, campaign.records[c.name])[:most] for c in (campaign.there, campaign.back)}
    found: dict[str, list[str]] = {}
    deadline = time.monotonic() + seconds
    while any(left.values()) and time.monotonic() < deadline:
        for checklist in (campaign.there, campaign.back):
            if not left[checklist.name]:
                campaign.undisturbed(checklist)
                continue
            number = left[checklist.name].pop(0)
            wrong = campaign.point(checklist, number)
            found[f"{checklist.name} after record {number}"] = wrong
            ledger.note(f"Kill points of {checklist.name}", str(number), "; ".join(wrong)[:300] or "ok")
            if wrong:
                lab("reset")
                break  # from the first state only the way there leads on
    return found


def judge(campaign: Campaign, found: dict[str, list[str]], tell: Callable[[str], None]) -> None:
    for checklist in (campaign.there, campaign.back):
        tried = {case: wrong for case, wrong in found.items() if case.startswith(f"{checklist.name} after")}
        good = sum(not wrong for wrong in tried.values())
        tell(
            f"{good} of {len(tried)} kill points of {checklist.name} converged; it has "
            f"{campaign.records[checklist.name]} records (seed {SEED})"
        )
    assert not {case: wrong for case, wrong in found.items() if wrong}


@pytest.mark.timeout(SECONDS + 900)
@pytest.mark.parametrize("there", [FAILOVER, SWITCHOVER], ids=lambda one: one.mode)
@pytest.mark.slow
def test_a_run_killed_after_any_record_converges(tmp_path: Path, there: Checklist, tell: Callable[[str], None]) -> None:
    campaign = Campaign(there, FAILBACK, tmp_path)
    judge(campaign, carry_out(campaign, 1000, SECONDS), tell)


def test_a_run_killed_after_some_records_converges(tmp_path: Path, tell: Callable[[str], None]) -> None:
    """CI's slice: its points are those of the seed."""
    campaign = Campaign(FAILOVER, FAILBACK, tmp_path)
    judge(campaign, carry_out(campaign, IN_CI, 150), tell)


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(10))
def test_ten_switchovers_lose_nothing(tmp_path: Path, turn: int) -> None:
    from tests.integration.checklists.test_failover import (
        test_a_switchover_under_load_loses_no_acknowledged_write as switchover,
    )

    switchover(tmp_path / str(turn))
