# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lease's logic, with a clock that the tests turn, and in files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.action.recovery_lease import released
from ansible_collections.platform.recovery.plugins.module_utils import lease, lease_homes
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, PreconditionFailed
from ansible_collections.platform.recovery.plugins.module_utils.lease import (
    Clock,
    Grant,
    Held,
    Holder,
    HomeSilent,
    LeaseLost,
    Record,
    confirm,
    release,
    standing,
    take,
    take_all,
)
from ansible_collections.platform.recovery.plugins.module_utils.lease_file import FileStore
from ansible_collections.platform.recovery.plugins.module_utils.run import controller
from ansible_collections.platform.recovery.plugins.module_utils.waiting import wait_until
from ansible_collections.platform.recovery.plugins.plugin_utils import action

ME = Holder("alice", "ops1", "run-a", "database-failover", "us-east-1", 10, 100, "here", "aa")
NOW = 1_800_000_000.0


def other(**more: Any) -> Holder:
    return replace(ME, run_id="run-b", who="bob", pid=20, started=200, nonce="bb", **more)


def kept(holder: Holder | None, renewed: float = NOW, seconds: float = 30.0) -> Record:
    return Record(7, holder, renewed - 5, renewed, seconds)


@dataclass
class Hands:
    """A clock that only moves when somebody sleeps; `at` are things that happen then."""

    now: float = NOW
    at: list[tuple[float, Callable[[], object]]] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for moment, act in list(self.at):
            if self.now >= moment:
                self.at.remove((moment, act))
                act()

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: self.now, self.sleep)


@dataclass
class Memory:
    """A store in memory. `silent` lets it give no answer."""

    name: str = "memory"
    record: Record = field(default_factory=Record)
    version: int = 0
    silent: bool = False
    writes: int = 0

    def read(self) -> tuple[Record, int]:
        if self.silent:
            raise HomeSilent("no answer", observed="time-out", gate="lease")
        return self.record, self.version

    def write(self, record: Record, version: int) -> bool:
        if version != self.read()[1]:
            return False
        self.record, self.version, self.writes = record, self.version + 1, self.writes + 1
        return True

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("record", "later", "living", "expected"),
    [
        (kept(None), 0, True, "free"),
        (kept(replace(ME, nonce="earlier")), 0, True, "mine"),
        (kept(replace(ME, started=1)), 0, True, "held"),  # the same run in another living process
        (kept(replace(ME, started=1)), 0, False, "dead"),
        (kept(other(space="here")), 29, True, "held"),
        (kept(other(space="here")), 31, True, "expired"),  # it lives and is frozen
        (kept(other(space="here")), 0, False, "dead"),
        (kept(other(space="there")), 29, False, "held"),  # a process id of another machine says nothing here
        (kept(other(space="there")), 31, False, "silent"),
        (kept(other(space="there")), 331, False, "expired"),
        (kept(other(space="")), 0, False, "held"),
        (kept(replace(ME, space="there")), 29, False, "resumed"),
        (kept(replace(ME, space="there")), 31, False, "silent"),
    ],
)
def test_standing(record: Record, later: float, living: bool, expected: str) -> None:
    assert standing(record, ME, NOW + later, lambda _: living) == expected


def test_a_process_that_is_gone_is_dead_and_a_living_one_is_not() -> None:
    mine = lease.holder("alice", "r", controller())
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    gone = replace(mine, pid=child.pid, started=None)
    child.wait()
    assert mine.space
    assert lease.alive(mine)
    assert lease.alive(replace(mine, pid=1, started=None))
    assert not lease.alive(gone)
    assert not lease.alive(replace(mine, started=(mine.started or 0) + 1))  # the id was given again


def test_each_new_holder_has_a_later_term_and_so_has_a_run_that_comes_again() -> None:
    store, hands = Memory(), Hands()
    first, _ = take(store, ME, 30, hands.clock)
    again, _ = take(store, ME, 30, hands.clock)
    assert release(store, first, hands.clock)
    second, before = take(store, other(space="here"), 30, hands.clock)
    assert (first.term, again, second.term) == (1, first, 2)
    assert before.holder is None
    assert not release(store, first, hands.clock)
    assert store.record.holder is not None


def test_a_refusal_names_the_holder() -> None:
    store = Memory(record=kept(other(space="there")))
    with pytest.raises(PreconditionFailed) as caught:
        take(store, ME, 30, Hands().clock)
    text = str(caught.value)
    for part in ("run-b", "bob", "process 20 on ops1", "since 2027-01-15T07:59:55", "expires 2027-01-15T08:00:30", "7"):
        assert part in text
    assert caught.value.fields["holder"]["run_id"] == "run-b"
    assert caught.value.kind == "refused"
    assert store.writes == 0


@pytest.mark.parametrize("holder", [other(space="there"), replace(ME, space="there")])
def test_a_silent_holder_of_another_machine_is_watched_before_it_is_taken_over(holder: Holder) -> None:
    expired = NOW - 31 if holder.run_id == "run-b" else NOW
    store, hands = Memory(record=kept(holder, expired)), Hands()
    grant, before = take(store, ME, 30, hands.clock)
    assert grant.term == 8
    assert before.holder == holder
    assert NOW + 30 <= hands.now < NOW + 31


def test_the_same_run_that_still_lives_elsewhere_is_named_at_its_first_beat() -> None:
    store, hands = Memory(record=kept(replace(ME, space="there"))), Hands()
    hands.at = [(NOW + 6, lambda: store.write(replace(store.record, renewed=NOW + 6), store.version))]
    with pytest.raises(PreconditionFailed, match="Another run holds the platform's lease: run-a") as caught:
        take(store, ME, 30, hands.clock)
    assert caught.value.fields["holder"]["pid"] == 10
    assert hands.now < NOW + 7


def test_a_home_that_falls_silent_while_it_is_watched_is_a_silent_home() -> None:
    first, witness, hands = Memory(), Memory(record=kept(other(space="there"), NOW - 31)), Hands()
    hands.at = [(NOW + 6, lambda: setattr(witness, "silent", True))]
    grants, _, silent = take_all([first, witness], ME, 30, hands.clock)
    assert [store for store, _ in grants] == [first]
    assert silent == ["memory: time-out"]
    alone, hands.at = Memory(record=kept(other(space="there"), hands.now - 31)), []
    hands.at = [(hands.now + 6, lambda: setattr(alone, "silent", True))]
    with pytest.raises(HomeSilent):
        take_all([alone], ME, 30, hands.clock)


def test_an_interrupt_while_a_witness_is_watched_gives_the_first_home_back() -> None:
    first, witness, hands = Memory(), Memory(record=kept(other(space="there"), NOW - 31)), Hands()

    def interrupt() -> None:
        raise KeyboardInterrupt

    hands.at = [(NOW + 6, interrupt)]
    with pytest.raises(KeyboardInterrupt):
        take_all([first, witness], ME, 30, hands.clock)
    assert first.record.holder is None


def test_a_clock_that_runs_ahead_does_not_take_the_lease_from_a_holder_that_shows_signs_of_life() -> None:
    holder = other(space="there")
    store, hands = Memory(record=kept(holder, NOW - 100)), Hands()
    # The holder's clock is 100 s behind ours, and it beats.
    hands.at = [(NOW + 6, lambda: store.write(replace(store.record, renewed=NOW + 1), store.version))]
    with pytest.raises(PreconditionFailed, match="Another run holds"):
        take(store, ME, 30, hands.clock)
    assert store.record.holder == holder


def test_a_frozen_holder_that_wakes_up_after_a_take_over_changes_nothing() -> None:
    store, hands = Memory(), Hands()
    old, _ = take(store, other(space="here"), 30, hands.clock)
    stale = Held([(store, old)], hands.clock)
    stale.guard()
    hands.now += 31
    new, _ = take(store, replace(ME, pid=1, started=None, space="there"), 30, hands.clock)
    assert new.term == 2
    with pytest.raises(LeaseLost, match="not this run's any more") as caught:
        stale.guard()
    assert "run-a" in str(caught.value)
    assert not stale.release()
    Held([(store, new)], hands.clock).guard()


def test_one_that_expired_and_that_nobody_took_is_still_its_holders() -> None:
    store, hands = Memory(), Hands()
    grant, _ = take(store, ME, 30, hands.clock)
    hands.now += 100
    assert confirm(store, grant, hands.clock).renewed == hands.now
    with pytest.raises(PreconditionFailed):
        take(store, other(space="there"), 30, hands.clock)


def test_a_look_renews_only_when_half_of_the_time_is_gone_and_a_beat_always() -> None:
    store, hands = Memory(), Hands()
    grant, _ = take(store, ME, 30, hands.clock)
    hands.now += 14
    confirm(store, grant, hands.clock)
    assert store.writes == 1
    confirm(store, grant, hands.clock, beat=True)
    hands.now += 16
    confirm(store, grant, hands.clock)
    assert store.writes == 3


def test_a_term_that_came_again_after_the_record_was_removed_is_not_the_same() -> None:
    store, hands = Memory(), Hands()
    grant, _ = take(store, ME, 30, hands.clock)
    store.record = Record()
    take(store, other(space="here"), 30, hands.clock)
    assert store.record.term == grant.term
    with pytest.raises(LeaseLost):
        confirm(store, grant, hands.clock)


def test_a_home_that_falls_silent_is_passed_over_as_long_as_nobody_can_have_taken_it() -> None:
    store, hands = Memory(), Hands()
    grant, _ = take(store, ME, 30, hands.clock)
    held = Held([(store, grant)], hands.clock)
    held.guard()
    store.silent = True
    hands.now += 29
    held.guard()
    hands.now += 1
    with pytest.raises(HomeSilent):
        held.guard()
    with pytest.raises(HomeSilent):  # nothing was certain yet
        Held([(store, grant)], hands.clock).guard()


def test_two_runs_with_different_first_homes_meet_at_a_witness() -> None:
    east, west, hands = Memory("east"), Memory("west"), Hands()
    grants, _, _ = take_all([east, west], ME, 30, hands.clock)
    assert [store.name for store, _ in grants] == ["east", "west"]
    with pytest.raises(PreconditionFailed, match="run-a"):
        take_all([west], other(space="there"), 30, hands.clock)  # its operator says that the east is lost
    third = Memory("third")
    with pytest.raises(PreconditionFailed, match="run-a"):
        take_all([third, west], other(space="there"), 30, hands.clock)
    assert third.record.holder is None  # nothing is kept of a lease that was refused half way


def test_a_witness_may_be_silent_but_may_not_deny() -> None:
    east, west, hands = Memory("east"), Memory("west", silent=True), Hands()
    grants, _, silent = take_all([east, west], ME, 30, hands.clock)
    assert [store.name for store, _ in grants] == ["east"]
    assert silent == ["west: time-out"]
    west.silent = False
    grants, _, _ = take_all([east, west], ME, 30, hands.clock)
    held = Held(grants, hands.clock)
    west.silent = True
    held.guard()
    west.silent = False
    west.record = replace(west.record, term=9, holder=other(space="there"))
    with pytest.raises(LeaseLost, match="not this run's"):
        held.guard()
    with pytest.raises(HomeSilent):
        take_all([Memory("gone", silent=True), east], other(space="there"), 30, hands.clock)


def race(stores: list[Any], holders: list[Holder]) -> list[Grant | PreconditionFailed]:
    """Let each holder try its store in the same instant."""
    barrier = threading.Barrier(len(holders))
    results: list[Grant | PreconditionFailed] = []

    def run(store: Any, holder: Holder) -> None:
        barrier.wait(10)
        try:
            results.append(take(store, holder, 30)[0])
        except PreconditionFailed as error:
            results.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in zip(stores, holders, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return results


def test_of_two_controllers_in_the_same_instant_one_works_fifty_times(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    for number in range(50):
        holders = [lease.holder("alice", f"a{number}", controller()), lease.holder("bob", f"b{number}", controller())]
        results = race([FileStore(path), FileStore(path)], holders)
        [grant] = [result for result in results if isinstance(result, Grant)]
        [refusal] = [result for result in results if isinstance(result, PreconditionFailed)]
        winner = next(holder for holder in holders if holder.nonce == grant.nonce)
        assert refusal.fields["holder"]["run_id"] == winner.run_id
        assert grant.term == number + 1
        assert release(FileStore(path), grant)


def test_the_file_is_whole_and_its_folder_is_made(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "a" / "lease")
    grant, _ = take(store, ME, 30)
    for _ in range(3):
        confirm(store, grant, beat=True)
    [path] = store.folder.iterdir()
    data = json.loads(path.read_text())
    assert (path.name, data["term"], data["holder"]["run_id"], data["seconds"]) == ("0000000004.json", 1, "run-a", 30)
    assert confirm(store, grant).holder == replace(ME, nonce=grant.nonce)


@pytest.mark.parametrize("later", [1, 5])
def test_a_writer_that_was_frozen_in_the_middle_overwrites_nothing(tmp_path: Path, later: int) -> None:
    store = FileStore(tmp_path / "lease")
    grant, _ = take(store, ME, 30)
    record, version = store.read()
    for _ in range(later):
        confirm(store, grant, beat=True)
    assert not store.write(record, version)
    assert store.read()[1] == version + later
    assert not list(store.folder.glob(".draft-*"))


def test_what_a_killed_writer_left_is_tidied_up(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    old, new = tmp_path / ".draft-old", tmp_path / ".draft-new"
    for path in (old, new):
        path.touch()
    os.utime(old, (1, 1))
    take(store, ME, 30)
    assert (old.exists(), new.exists()) == (False, True)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"holder": {"x": 1}}', '{"holder": null, "x": 1}'])
def test_a_file_that_is_no_lease_is_refused_and_not_overwritten(tmp_path: Path, content: str) -> None:
    path = tmp_path / "0000000003.json"
    path.write_text(content)
    with pytest.raises(PreconditionFailed, match="cannot be read"):
        take(FileStore(tmp_path), ME, 30)
    assert path.read_text() == content


def test_a_folder_that_cannot_be_used_is_a_silent_home(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeSilent) as caught:
        take(FileStore(tmp_path / "file" / "lease"), ME, 30)
    assert "lease.folder" in str(caught.value.next_action)


def platform(**more: Any) -> dict[str, Any]:
    regions = {"west": "w", "third": "t", "east": "e"}
    return {
        "name": "Prod. 1",
        "regions": {"w": {"role": "primary"}, "t": {"role": "tertiary"}, "e": {"role": "secondary"}},
        "clusters": {n: {"region": r, "kubeconfig": "/k", "context": None} for n, r in regions.items()},
        "lease": {"provider": None, "clusters": [], "namespace": "default", "folder": None, "seconds": 30.0, **more},
    }


@pytest.mark.parametrize(
    ("section", "lost", "homes", "left_out"),
    [
        ({}, [], ["east", "third", "west"], []),
        ({}, ["east"], ["third", "west"], ["east"]),
        ({"clusters": ["west", "east"]}, ["third"], ["west", "east"], []),
        ({"clusters": ["west"]}, ["west"], [], ["west"]),
    ],
)
def test_homes_have_one_order_for_everybody(
    section: Any, lost: list[str], homes: list[str], left_out: list[str]
) -> None:
    found = lease_homes.homes_of(platform(**section), lost)
    assert [home["cluster"] for home in found["homes"]] == homes
    assert found["left_out"] == left_out
    assert {home["name"] for home in found["homes"]} <= {"recovery-prod-1"}


def test_without_a_cluster_it_is_a_file(tmp_path: Path) -> None:
    for described in ({**platform(), "clusters": {}}, platform(provider="file", folder=str(tmp_path))):
        [home] = lease_homes.homes_of(described)["homes"]
        assert home["provider"] == "file"
    [store] = lease_homes.open_stores([home])
    assert store.name == f"folder {tmp_path}/recovery-prod-1.lease"


def test_a_later_step_finds_the_lease_and_asks_before_it_changes_something(tmp_path: Path) -> None:
    home = {"provider": "file", "folder": str(tmp_path), "name": "recovery-prod"}
    [store] = lease_homes.open_stores([home])
    grant, _ = take(store, ME, 30)
    result = {"grants": [{"home": home, **asdict(grant)}]}
    for variables in ({"recovery_lease": result}, {"hostvars": {"localhost": {"recovery_lease": result}}}):
        with lease_homes.guarding(variables) as guard:
            guard()
    assert release(store, grant)
    with lease_homes.guarding({"recovery_lease": result}) as guard, pytest.raises(LeaseLost):
        guard()
    for nothing in ({}, {"recovery_lease": {"grants": [], "lines": []}}):
        with lease_homes.guarding(nothing) as guard:
            guard()


def test_a_variable_that_hides_the_lease_turns_no_question_off(tmp_path: Path) -> None:
    home = {"provider": "file", "folder": str(tmp_path), "name": "recovery-prod"}
    [store] = lease_homes.open_stores([home])
    grant, _ = take(store, ME, 30)
    result = {"grants": [{"home": home, **asdict(grant)}]}
    assert release(store, grant)
    hidden = {"recovery_lease": {"seconds": 60}, "hostvars": {"localhost": {"recovery_lease": result}}}
    with lease_homes.guarding(hidden) as guard, pytest.raises(LeaseLost):
        guard()
    for wrong in ({"seconds": 60}, False, "no"):
        with pytest.raises(BadInput, match="recovery_lease is set to"), lease_homes.guarding({"recovery_lease": wrong}):
            pass


def test_giving_it_back_fails_no_run() -> None:
    cluster = {"provider": "kubernetes", "cluster": "west", "kubeconfig": "/gone", "context": None}
    home = {**cluster, "namespace": "default", "name": "recovery-prod"}
    result = {"grants": [{"home": home, "term": 1, "nonce": "aa", "seconds": 30.0}]}
    assert released(result).startswith("the platform's lease could not be given back and expires by itself")


def test_a_step_shows_signs_of_life_from_its_first_change_to_its_end(tmp_path: Path) -> None:
    home = {"provider": "file", "folder": str(tmp_path), "name": "recovery-prod"}
    [store] = lease_homes.open_stores([home])
    grant, _ = take(store, ME, 0.5)
    result = {"grants": [{"home": home, **asdict(grant), "seconds": 0.5}]}
    with action.guarding({"recovery_lease": result}) as guard:
        assert beating() == 0
        guard()
        assert beating() == 1
        first = store.read()[0].renewed
        wait_until(lambda: store.read()[0].renewed > first, seconds=20)
    assert beating() == 0
    assert store.read()[0].holder == ME  # it is not given back: other steps follow


def beating() -> int:
    return sum(thread.name == "recovery-lease" for thread in threading.enumerate())
