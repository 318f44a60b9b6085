# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each step of a checklist fails, hangs or lies; the run notices, nothing has two writers, and the next run recovers.

A run that stops at a step leaves everything before it done and nothing behind it. So the same platform serves all
steps: the first run stops at the first step, the next goes one further, and the last one is left alone and recovers.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from platform_recovery import folders
from tests.faults.test_killed_controller import FAILBACK, FAILOVER, RERUN_CODES, SECONDS, SWITCHOVER, Checklist
from tests.support import ledger
from tests.support.double import Called, Double
from tests.support.killer import alive, below
from tests.support.platform import BIN, ROOT, Ended, failover, lab
from tests.support.standing import leftovers, wait_for_standing, writers
from tests.support.standing import standing as standing_now

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("healthy")]

# After a cancel nothing may be alive any longer than that.
CANCEL_SECONDS = 2.0
# CI's slice: where a wrong answer would cost most.
IN_CI = "pg_fence : Stop the old primary for good and prove it"


@dataclass
class Staircase:
    """One checklist on one platform, stopped at each of its steps in turn."""

    checklist: Checklist
    fault: str
    folder: Path
    steps: list[Called] = field(default_factory=list)

    def begin(self) -> None:
        """Bring the platform to where the checklist is wanted: the way back after a failover."""
        if self.checklist is FAILBACK:
            FAILOVER.prepare()
            ended = FAILOVER.run(self.folder, f"there-{uuid.uuid4().hex[:6]}")
            assert ended.code in RERUN_CODES, ended.output
        self.checklist.prepare()

    def learn(self) -> None:
        """See which steps there are, which of them change something, and how it all ends undisturbed."""
        self.begin()
        double = Double(self.folder / "learn")
        ended = failover(
            self.folder, playbook=self.checklist.playbook, surroundings=double.environment(), **self.checklist.wish
        )
        assert ended.code in RERUN_CODES, ended.output
        self.steps = double.steps()
        self.wanted = standing_now()

    def chosen(self) -> list[str]:
        named = os.environ.get("RECOVERY_FAULTS_STEPS")
        names = [step.step for step in self.steps if self.fault != "lie" or (step.changed and not step.check)]
        return [name for name in names if not named or any(one in name for one in named.split(";"))]

    def stop_at(self, step: str) -> list[str]:
        """Run it with the fault at this step; says what is not as it should be."""
        double = Double(self.folder / uuid.uuid4().hex[:6], step, self.fault)
        wrong = self._cancelled(double) if self.fault == "hang" else self._noticed(double)
        if not double.begun():
            wrong.append("the step was never called")
        if len(writers()) > 1:
            wrong.append("two servers take writes")
        for place in self.folder.glob("*/canary"):
            # The canary of a run that was given up waits for the next attempt under the same name; here is none.
            (place / "stop").touch()
        return wrong

    def _noticed(self, double: Double) -> list[str]:
        ended = failover(
            self.folder, playbook=self.checklist.playbook, surroundings=double.environment(), **self.checklist.wish
        )
        if ended.code == 0:
            return [f"the run ended with 0, outcome {ended.report['outcome']}"]
        if not (ended.folder / "report.json").exists():  # the run was never opened: its output is all there is
            return [] if double.step in ended.output or "broken on purpose" in ended.output else [ended.output[-800:]]
        return self._named(double, ended)

    def _named(self, double: Double, ended: Ended) -> list[str]:
        """A step that fails is named itself; a lie by its own role or by the first that needs what was not done."""
        said = [str(failure.get("task")) for failure in ended.report["failures"]]
        if not said:
            return [f"no step is named: {ended.output[-800:]}"]
        if self.fault == "fail" and double.step not in said[-1]:
            return [f"{said[-1]} is named"]
        return []

    def _cancelled(self, double: Double) -> list[str]:
        """Cancel it while the step hangs."""
        run_id = f"hangs-{uuid.uuid4().hex[:8]}"
        wish = self.checklist.wish
        argv = [str(BIN / "recovery"), "run", self.checklist.playbook.replace("_", "-"), "--json", "--run-id", run_id]
        argv += ["--inventory", "inventories/lab", "--journal", f"file:{self.folder}", "--mode", self.checklist.mode]
        argv += ["--target", wish["recovery_target"], "--confirm", wish["recovery_confirm"]]
        with subprocess.Popen(argv, cwd=ROOT, env=double.environment(), stdout=subprocess.PIPE, text=True) as process:
            until(double.begun, 60, f"{double.step} to begin")
            took = self._cancel(run_id, [pid for pid in below(process.pid) if pid != process.pid])
            printed, _ = process.communicate(timeout=60)
        outcome = json.loads(printed)["outcome"] if printed.strip() else None
        ended = (process.returncode, outcome)
        wrong = [] if ended == (5, "cancelled") else [f"it ended with {ended}"]
        return wrong + ([f"processes were alive for {took:.1f} s"] if took > CANCEL_SECONDS else [])

    def _cancel(self, run_id: str, work: list[int]) -> float:
        """Cancel it from another process; gives the seconds from the request until nothing of the run is alive."""
        argv = [str(BIN / "recovery"), "cancel", run_id, "--journal", f"file:{self.folder}"]
        with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            # That program has to start before it can ask; the request is a file.
            until((self.folder / run_id / folders.CANCEL).exists, 60, "the cancel to be asked for")
            begin = time.monotonic()
            until(lambda: not (any(map(alive, work)) or playbooks()), 30, "the run's processes to end")
            return time.monotonic() - begin

    def recovers(self) -> list[str]:
        """The last step of the staircase: left alone, it comes to the end."""
        ended = failover(self.folder, playbook=self.checklist.playbook, **self.checklist.wish)
        if ended.code not in RERUN_CODES:
            return [f"left alone it ended with {ended.code}: {ended.output[-1500:]}"]
        return wait_for_standing(self.wanted)


def playbooks() -> list[str]:
    return [line for line in leftovers() if "canary_client" not in line]


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what} in vain"
        time.sleep(0.02)


def climb(staircase: Staircase, seconds: float, tell: Callable[[str], None]) -> None:
    """Stop at every step that the time allows, then let it come to the end."""
    staircase.learn()
    lab("reset")
    staircase.begin()
    campaign = f"step {staircase.checklist.playbook} {staircase.checklist.mode}: {staircase.fault}"
    found: dict[str, list[str]] = {}
    deadline = time.monotonic() + seconds
    names = staircase.chosen()
    for step in names:
        if time.monotonic() > deadline:
            break
        found[step] = staircase.stop_at(step)
        if found[step] or staircase.fault == "lie":
            # It may have been noticed late or not at all: the next step needs a platform that still has it to do.
            lab("reset")
            staircase.begin()
        ledger.note(campaign, step, "; ".join(found[step])[:300] or "noticed")
    left = staircase.recovers()
    tell(
        f"{sum(not wrong for wrong in found.values())} of {len(names)} steps of {staircase.checklist.name} were noticed"
        f" to {staircase.fault} ({len(names) - len(found)} not tried); left alone it "
        f"{'did not recover' if left else 'recovered'}"
    )
    assert not left, left
    assert not {step: wrong for step, wrong in found.items() if wrong}


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 900)
@pytest.mark.parametrize("fault", ["fail", "hang", "lie"])
@pytest.mark.parametrize("checklist", [FAILOVER, SWITCHOVER, FAILBACK], ids=lambda one: one.name.replace(", ", "-"))
def test_a_step_that_does_not_work_is_noticed(
    tmp_path: Path, checklist: Checklist, fault: str, tell: Callable[[str], None]
) -> None:
    climb(Staircase(checklist, fault, tmp_path), SECONDS, tell)


def test_a_fence_that_lies_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Callable[[str], None]
) -> None:
    """CI's slice."""
    monkeypatch.setenv("RECOVERY_FAULTS_STEPS", IN_CI)
    climb(Staircase(FAILOVER, "lie", tmp_path), 120, tell)
