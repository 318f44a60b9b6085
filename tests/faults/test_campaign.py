# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random faults before and during runs, under a writing client whose memory of what was acknowledged is the judge."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.clock import parse
from tests.faults.test_killed_controller import RERUN_CODES, SECONDS, settled
from tests.support import ledger
from tests.support.client import Client
from tests.support.limits import limit_files
from tests.support.platform import EAST, EDGE, WEST, Ended, failback, failover, healthy_lab, keys_in, lab, servers
from tests.support.standing import wait_for_standing, writers

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("healthy")]

FIRST_SEED = int(os.environ.get("RECOVERY_FAULTS_SEED", "1"))
RUNS = int(os.environ.get("RECOVERY_FAULTS_RUNS", "300"))
IN_CI_SECONDS = 20
# How often a platform that was healed may be called upon again.
ATTEMPTS = 3
# No file of the server may grow beyond this: what a full disk does to it, without a disk. Made by RLIMIT_FSIZE.
SMALL_FILE_BYTES = 1 << 20
FOR_GOOD = float("inf")
PLACES = tuple(f"{region}/{kind}" for region in (WEST, EAST) for kind in ("postgresql", "kubernetes", "edge"))
# How late the last rows before a loss may have been acknowledged without having been replicated.
UNREPLICATED_SECONDS = 1.0
# How long an old primary may live beside the new one once they can reach one another: its guard looks every second.
GUARD_SECONDS = 10.0


@dataclass(frozen=True)
class Trouble:
    """One fault at one place, some seconds after the run's start (0: before it), healed so much later."""

    fault: str
    place: str
    after: float
    lasts: float

    def __str__(self) -> str:
        lasts = "until the healing" if self.lasts == FOR_GOOD else f"for {self.lasts:.1f} s"
        return f"{self.fault} {self.place} at {self.after:.1f} s {lasts}"

    def inflict(self) -> None:
        if self.fault == "small_files":
            limit_files(servers()[self.place]["pid"], SMALL_FILE_BYTES)
        else:
            # What is down already cannot be broken again; the lab says so.
            lab("break", self.fault, self.place, ok=False)

    def heal(self) -> None:
        if self.fault == "small_files":
            limit_files(servers()[self.place]["pid"], None)
        lab("heal", self.place, ok=False)


@dataclass(frozen=True)
class Case:
    """One random run, wholly given by its seed."""

    seed: int
    mode: str
    before: Trouble | None
    during: Trouble | None

    @classmethod
    def of(cls, seed: int) -> Case:
        choose = random.Random(seed)
        mode = choose.choice(("failover", "failover", "switchover"))
        primary = f"{WEST}/postgresql"
        lost = Trouble(choose.choice(("kill", "stop", "freeze", "isolate", "small_files")), primary, 0, FOR_GOOD)
        slow = Trouble("slow", choose.choice(PLACES), 0, FOR_GOOD)
        before = lost if mode == "failover" else choose.choice((None, slow))
        during = Trouble(
            choose.choice(("kill", "stop", "freeze", "isolate", "slow")),
            choose.choice(PLACES),
            choose.uniform(0.5, 5),
            choose.uniform(0.5, 6),
        )
        return cls(seed, mode, before, choose.choice((None, during)))

    def __str__(self) -> str:
        troubles = "; ".join(str(one) for one in (self.before, self.during) if one)
        return f"seed {self.seed}: {self.mode}, {troubles or 'undisturbed'}"


@dataclass
class Judge:
    """Holds what the client was told against what the platform kept and what the runs reported."""

    client: Client
    runs: list[Ended] = field(default_factory=list)

    def promotions(self) -> list[float]:
        """Give when each promotion of the runs took its first write."""
        found = []
        for ended in self.runs:
            if (ended.folder / "journal.jsonl").exists():
                actions = [record["data"] for record in ended.journal if record["data"].get("what") == "promote"]
                found += [parse(action["promoted_at"]) for action in actions if "promoted_at" in action]
        return found

    def saved(self) -> set[str]:
        """Give the keys that the runs reported as lost: those on the lists of what only the old primary held."""
        text = "".join(path.read_text() for ended in self.runs for path in ended.folder.glob("unreplicated/*.json"))
        return {key for key in self.client.acknowledged if json.dumps(key) in text}

    def wrong(self, mode: str) -> list[str]:
        lost = set(self.client.acknowledged) - keys_in(writers()[0], self.client.prefix)
        moments = self.promotions()
        found = []
        if lost and (not moments or mode == "switchover"):
            found.append(f"{len(lost)} acknowledged writes are gone although nothing had to be given up: {few(lost)}")
        unreported = lost - self.saved()
        if unreported:
            found.append(f"{len(unreported)} acknowledged writes vanished unreported: {few(unreported)}")
        late = {key for key in lost if moments and self.client.acknowledged[key] > max(moments) + UNREPLICATED_SECONDS}
        if late:
            found.append(f"{len(late)} writes were acknowledged by a second writer after the promotion: {few(late)}")
        return found


def few(keys: set[str]) -> str:
    return ", ".join(sorted(keys)[:3])


def run_case(case: Case, folder: Path, wanted: dict[str, Any] | None) -> tuple[list[str], int]:
    """Do one random run and everything after it; gives what is wrong and how many writes were acknowledged."""
    prefix = f"c{case.seed}-{os.getpid()}"
    judge_runs: list[Ended] = []
    with Client(EDGE, prefix) as client:
        client.wait_for(20)
        if case.before:
            case.before.inflict()
        judge_runs.append(disturbed(case, folder))
        if case.before:
            case.before.heal()
        lab("heal", ok=False)
        wrong = bring_back(case, folder, judge_runs)
    judge = Judge(client, judge_runs)
    if not wrong:
        wrong = judge.wrong(case.mode) + (wait_for_standing(wanted, 30) if wanted else [])
    return wrong, len(client.acknowledged)


def disturbed(case: Case, folder: Path) -> Ended:
    """Run it, with the trouble in its middle."""
    over = threading.Event()

    def trouble(one: Trouble) -> None:
        if not over.wait(one.after):
            one.inflict()
            over.wait(one.lasts)
            one.heal()

    thread = threading.Thread(target=trouble, args=(case.during,), daemon=True) if case.during else None
    if thread:
        thread.start()
    try:
        return call(case.mode, folder, isolated=bool(case.before and case.before.fault == "isolate"))
    finally:
        over.set()
        if thread:
            thread.join(60)


def call(mode: str, folder: Path, isolated: bool = False) -> Ended:
    more: dict[str, Any] = {
        "recovery_fence_statement": "powered off, seen by the duty engineer",
        "recovery_reason": "a test",
    }
    wish: dict[str, Any] = {"recovery_target": EAST, "recovery_confirm": EAST, "recovery_mode": mode}
    return failover(folder, **wish, **(more if isolated else {}))


def bring_back(case: Case, folder: Path, runs: list[Ended]) -> list[str]:
    """With all faults healed, run again what is needed until the platform is protected in its first direction."""
    for _ in range(ATTEMPTS):
        if not one_writer_at_most():
            return ["two servers take writes after the healing"]
        if not writers():
            runs.append(call("failover", folder))
            continue
        runs.append(failback(folder))
        if runs[-1].code in RERUN_CODES:
            return []
        lab("heal", ok=False)
    return [f"{case} was not brought back: {runs[-1].output[-2500:]}"]


def one_writer_at_most() -> bool:
    """Give the guard of an old primary that was cut off the time to meet the new one."""
    deadline = time.monotonic() + GUARD_SECONDS
    while len(writers()) > 1:
        if time.monotonic() > deadline:
            return False
    return True


def undisturbed(folder: Path) -> dict[str, Any]:
    """See how the platform stands after a way there and back in which nothing else happened."""
    lab("break", "kill", f"{WEST}/postgresql")
    for ended in (call("failover", folder), failback(folder)):
        assert ended.code in RERUN_CODES, ended.output
    return settled()


def campaign(folder: Path, seconds: float, tell: Callable[[str], None], wanted: dict[str, Any] | None) -> None:
    """Do as many seeds as the time allows."""
    ledger.size("Random campaign", RUNS)
    found: dict[str, list[str]] = {}
    acknowledged = 0
    deadline = time.monotonic() + seconds
    for seed in range(FIRST_SEED, FIRST_SEED + RUNS):
        if time.monotonic() > deadline:
            break
        case = Case.of(seed)
        wrong, count = run_case(case, folder / str(seed), wanted)
        acknowledged += count
        found[str(case)] = wrong
        print(f"{case}: {'; '.join(wrong) or 'ok'}", flush=True)
        ledger.note("Random campaign", f"seed {seed}", "; ".join(wrong)[:300] or "ok", what=str(case))
        if wrong:
            lab("reset")
            healthy_lab()
    violations = {case: wrong for case, wrong in found.items() if wrong}
    tell(
        f"{len(found) - len(violations)} of {len(found)} random runs without a violation, {acknowledged} acknowledged "
        f"writes judged (seeds {FIRST_SEED} to {FIRST_SEED + len(found) - 1}; {RUNS} asked for)"
    )
    assert not violations, violations


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 900)
def test_a_campaign_of_random_faults(tmp_path: Path, tell: Callable[[str], None]) -> None:
    campaign(tmp_path, SECONDS, tell, undisturbed(tmp_path / "undisturbed"))


@pytest.mark.timeout(300)
def test_a_slice_of_the_campaign(tmp_path: Path, tell: Callable[[str], None]) -> None:
    """CI's slice: as many seeds as fit into a short time."""
    campaign(tmp_path, IN_CI_SECONDS, tell, None)
