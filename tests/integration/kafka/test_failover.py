# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events are moved for real; what is lost, and what a group reads, is counted by clients of nobody's."""

from __future__ import annotations

import signal
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import PreconditionFailed, StepTimeout
from ansible_collections.platform.recovery.plugins.module_utils.kafka import failover
from ansible_collections.platform.recovery.plugins.module_utils.kafka.failover import Outcome, Request
from ansible_collections.platform.recovery.plugins.module_utils.kafka.model import stores_of
from ansible_collections.platform.recovery.plugins.module_utils.kafka.reprotect import reprotect
from ansible_collections.platform.recovery.plugins.module_utils.schema import Validator
from ansible_collections.platform.recovery.plugins.plugin_utils.action import documented_options
from tests.integration.kafka.world import ADMIN, EAST, PASSWORDS, WEST, World, eventually

MAPS = frozenset({"stores", "stores.members", "credentials"})
TOPIC = "orders"
# What the application was told to be written, all tests long.
ACKNOWLEDGED: list[int] = []


def described(world: World, target: str, more: Any = None) -> dict[str, Any]:
    """Give the options of a call, as an action has them."""
    accounts = {"kafka": {"user": ADMIN, "password": PASSWORDS[ADMIN]}}
    given = {"stores": {"events": {**world.store(), **(more or {})}}, "credentials": accounts, "target": target}
    options, problems = Validator(maps=MAPS).check(documented_options("kafka_failover"), given)
    assert not problems
    return options


def move(world: World, target: str = EAST, *, more: Any = None, **request: Any) -> Outcome:
    """Call the verb as its action does."""
    options = described(world, target, more)
    [outcome] = failover.move(stores_of(options), replace(Request(target, timeout_seconds=30), **request))
    return outcome


def write(world: World, region: str, count: int) -> list[int]:
    done = world.produce(region, TOPIC, count, begin=len(ACKNOWLEDGED))
    ACKNOWLEDGED.extend(done)
    return done


def resumes(world: World, outcome: Outcome, group: str, read_before: list[int], region: str) -> None:
    """The group goes on: no record is skipped, and no more are read twice than was said."""
    there = world.read(region, TOPIC)
    expected = {*there} - {*read_before}
    read = world.consume(region, TOPIC, group, len(there), seconds=20 if expected else 3)
    assert expected <= {*read}
    again = sum((Counter(read) & Counter(read_before)).values())
    assert again <= outcome.groups[group].as_dict()["duplicates"]


def arrives(world: World, region: str) -> None:
    """All that was acknowledged is in a region, each record once."""
    eventually(lambda: len(world.read(region, TOPIC)) >= len(ACKNOWLEDGED), 60)
    assert sorted(world.read(region, TOPIC)) == ACKNOWLEDGED


def test_a_switchover_loses_nothing(world: World) -> None:
    world.create(TOPIC)
    assert len(write(world, WEST, 300)) == 300
    # Its rule for the unknown is to skip all there is, so one that is moved wrongly shows.
    world.begin(WEST, TOPIC, "billing")
    read = world.consume(WEST, TOPIC, "billing", 120)
    assert len(read) == 120
    plan = move(world, check=True)
    assert plan.changes
    assert not plan.changed
    outcome = move(world)
    assert (outcome.lost, outcome.seconds_lost, outcome.changed, outcome.mirrors_back) == (0, 0.0, True, True)
    assert sorted(world.read(EAST, TOPIC)) == ACKNOWLEDGED
    assert world.produce(WEST, TOPIC, 3, begin=9000) == []
    resumes(world, outcome, "billing", read, EAST)
    assert len(write(world, EAST, 50)) == 50
    again = move(world)
    assert again.changes == []
    assert not again.changed
    # The other way exactly what is new comes back, once.
    arrives(world, WEST)


def test_what_cannot_be_done_is_refused_and_nothing_is_touched(world: World) -> None:
    with pytest.raises(PreconditionFailed, match="answers, and a failover would cut it off"):
        move(world, WEST, mode="failover")
    world.silent.add(WEST)
    with pytest.raises(PreconditionFailed, match="what mirrors into us-west-2 cannot be stopped"):
        move(world, WEST)
    world.silent.clear()
    assert len(write(world, EAST, 1)) == 1


def test_a_mirror_that_stands_still_gives_the_writes_back(world: World) -> None:
    mirror = world.processes[f"{WEST}/mirror"]
    mirror.send_signal(signal.SIGSTOP)
    assert len(write(world, EAST, 5)) == 5
    with pytest.raises(StepTimeout, match="did not bring all") as caught:
        move(world, WEST, timeout_seconds=1.5)
    mirror.send_signal(signal.SIGCONT)
    assert caught.value.fields["changed"]
    assert "takes writes as before" in str(caught.value)
    assert len(write(world, EAST, 5)) == 5
    arrives(world, WEST)


def test_the_loss_of_a_lost_region_that_answers_is_counted(world: World) -> None:
    read = world.consume(EAST, TOPIC, "billing", len(ACKNOWLEDGED))
    assert read
    world.processes[f"{WEST}/mirror"].send_signal(signal.SIGSTOP)
    assert len(write(world, EAST, 25)) == 25
    outcome = move(world, WEST, mode="failover", lost_regions=frozenset({EAST}), drain_seconds=1)
    missing = {*ACKNOWLEDGED} - {*world.read(WEST, TOPIC)}
    assert outcome.lost == len(missing) == 25
    assert not world.alive(f"{EAST}/broker")
    resumes(world, outcome, "billing", ACKNOWLEDGED, WEST)
    again = move(world, WEST, mode="failover", lost_regions=frozenset({EAST}), connect_seconds=1)
    assert again.changes == []
    assert not again.changed
    # Whoever starts the old broker finds that it takes nothing, and nothing of it comes over.
    world.systemctl(EAST, "systemctl unmask kafka; systemctl start kafka")
    eventually(lambda: world.answers(EAST), 30)
    assert world.produce(EAST, TOPIC, 3, begin=9000) == []
    assert not {*world.read(WEST, TOPIC)} & missing


def test_a_lost_region_is_mirrored_to_again_and_what_never_left_it_is_named(world: World) -> None:
    assert len(write(world, WEST, 10)) == 10
    stores = stores_of(described(world, WEST))
    stayed = {*ACKNOWLEDGED} - {*world.read(WEST, TOPIC)}
    [outcome] = reprotect(stores, Request(WEST))
    assert (outcome.lost, outcome.mirrors_back) == (len(stayed), True)
    assert stayed
    assert world.produce(EAST, TOPIC, 3, begin=9000) == []
    [again] = reprotect(stores, Request(WEST))
    assert not again.changed
    # What stayed is still there, and nothing came twice.
    arrives(world, EAST)


def test_a_killed_region_is_fenced_at_its_hosts_and_what_nobody_knows_is_said(world: World) -> None:
    # All but the last ten records it has read by now, or they were lost and named.
    before = ACKNOWLEDGED[:-10]
    read = world.consume(WEST, TOPIC, "billing", 5)
    assert read
    written = {*world.read(WEST, TOPIC)}
    world.kill(f"{WEST}/broker")
    killed = time.time()
    world.silent.add(WEST)
    quick: dict[str, Any] = {"mode": "failover", "connect_seconds": 1}
    with pytest.raises(PreconditionFailed, match="nobody states that it is") as caught:
        move(world, **quick)
    assert caught.value.fields["gate"] == "fence of events"
    stated = {**quick, "fence_statement": "the rack has no power"}
    with pytest.raises(PreconditionFailed, match="more may be lost than the objective"):
        move(world, **stated, failed_at=killed + 600)
    assert world.produce(EAST, TOPIC, 1, begin=9000) == []
    outcome = move(world, **stated, failed_at=killed)
    assert outcome.lost is None
    assert "heartbeat" in outcome.loss
    assert outcome.seconds_lost is not None
    assert outcome.seconds_lost < 60
    assert outcome.next_actions
    assert written <= {*world.read(EAST, TOPIC)}
    resumes(world, outcome, "billing", [*before, *read], EAST)
    again = move(world, **stated)
    assert again.changes == []
    assert not again.changed
    # Its host is back before anybody has started the broker.
    world.silent.clear()
    assert move(world, **quick).changed
    assert {f"{WEST}/broker", f"{WEST}/mirror", f"{EAST}/mirror"} <= world.masked
    assert len(write(world, EAST, 5)) == 5
    assert not move(world, **quick).changed


@pytest.mark.slow
def test_there_and_back_again_and_again(world: World) -> None:
    world.renew()
    ACKNOWLEDGED.clear()
    world.create(TOPIC)
    for _ in range(2):
        for source, target in ((WEST, EAST), (EAST, WEST)):
            assert len(write(world, source, 100)) == 100
            arrives(world, target)
            assert move(world, target).lost == 0
            assert sorted(world.read(target, TOPIC)) == ACKNOWLEDGED
