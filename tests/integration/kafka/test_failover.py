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
    read = world.consume(region, TOPIC, group, len(there), seconds=4)
    assert expected <= {*read}
    again = sum((Counter(read) & Counter(read_before)).values())
    assert again <= outcome.groups[group].as_dict()["duplicates"]


def test_a_switchover_loses_nothing_and_back(world: World) -> None:
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
    assert (again.changed, again.changes) == (False, [])
    # The other way: exactly what is new comes back, once.
    eventually(lambda: len(world.read(WEST, TOPIC)) >= len(ACKNOWLEDGED), 30)
    outcome = move(world, WEST)
    assert (outcome.lost, outcome.mirrors_back) == (0, True)
    assert sorted(world.read(WEST, TOPIC)) == ACKNOWLEDGED
    assert world.produce(EAST, TOPIC, 3, begin=9000) == []
    assert len(write(world, WEST, 20)) == 20
    eventually(lambda: len(world.read(EAST, TOPIC)) >= len(ACKNOWLEDGED), 30)
    assert sorted(world.read(EAST, TOPIC)) == ACKNOWLEDGED


def test_what_cannot_be_done_is_refused_and_nothing_is_touched(world: World) -> None:
    with pytest.raises(PreconditionFailed, match="answers, and a failover would cut it off"):
        move(world, mode="failover")
    world.silent.add(EAST)
    with pytest.raises(PreconditionFailed, match="what mirrors into us-east-1 cannot be stopped"):
        move(world)
    world.silent.clear()
    assert len(write(world, WEST, 1)) == 1


def test_a_mirror_that_stands_still_gives_the_writes_back(world: World) -> None:
    mirror = world.processes[f"{EAST}/mirror"]
    mirror.send_signal(signal.SIGSTOP)
    assert len(write(world, WEST, 5)) == 5
    with pytest.raises(StepTimeout, match="did not bring all") as caught:
        move(world, timeout_seconds=2)
    assert caught.value.fields["changed"]
    assert len(write(world, WEST, 5)) == 5
    mirror.send_signal(signal.SIGCONT)
    eventually(lambda: len(world.read(EAST, TOPIC)) >= len(ACKNOWLEDGED), 30)


def test_the_loss_of_a_lost_region_that_answers_is_counted(world: World) -> None:
    read = world.consume(WEST, TOPIC, "billing", len(ACKNOWLEDGED), seconds=3)
    assert read
    world.processes[f"{EAST}/mirror"].send_signal(signal.SIGSTOP)
    assert len(write(world, WEST, 25)) == 25
    outcome = move(world, mode="failover", lost_regions=frozenset({WEST}), drain_seconds=1)
    missing = {*ACKNOWLEDGED} - {*world.read(EAST, TOPIC)}
    assert outcome.lost == len(missing) == 25
    assert sum(part.lost or 0 for part in outcome.parts.values()) == 25
    assert not world.alive(f"{WEST}/broker")
    resumes(world, outcome, "billing", [*ACKNOWLEDGED], EAST)
    again = move(world, mode="failover", lost_regions=frozenset({WEST}))
    assert (again.changed, again.changes) == (False, [])
    # Whoever starts the old broker finds that it takes nothing, and nothing of it comes over.
    world.systemctl(WEST, "systemctl unmask kafka; systemctl start kafka")
    eventually(lambda: world.answers(WEST), 30)
    assert world.produce(WEST, TOPIC, 3, begin=9000) == []
    assert not {*world.read(EAST, TOPIC)} & missing


@pytest.mark.slow
def test_a_lost_region_is_mirrored_to_again_and_takes_over_without_loss(world: World) -> None:
    assert len(write(world, EAST, 10)) == 10
    options = described(world, EAST)
    stayed = {*ACKNOWLEDGED} - {*world.read(EAST, TOPIC)}
    [outcome] = reprotect(stores_of(options), Request(EAST))
    assert (outcome.lost, outcome.mirrors_back) == (len(stayed), True)
    assert stayed
    assert world.produce(WEST, TOPIC, 3, begin=9000) == []
    [again] = reprotect(stores_of(options), Request(EAST))
    assert not again.changed
    eventually(lambda: len(world.read(WEST, TOPIC)) >= len(ACKNOWLEDGED), 60)
    outcome = move(world, WEST)
    assert outcome.lost == 0
    # What stayed is there as well, and nothing came twice.
    assert sorted(world.read(WEST, TOPIC)) == sorted(ACKNOWLEDGED)


def test_a_killed_region_is_fenced_at_its_hosts_and_what_nobody_knows_is_said(world: World) -> None:
    world.renew()
    ACKNOWLEDGED.clear()
    world.create(TOPIC)
    assert len(write(world, WEST, 200)) == 200
    world.begin(WEST, TOPIC, "billing")
    read = world.consume(WEST, TOPIC, "billing", 60)
    world.mirrored(TOPIC)
    world.kill(f"{WEST}/broker")
    killed = time.time()
    world.silent.add(WEST)
    with pytest.raises(PreconditionFailed, match="nobody states that it is") as caught:
        move(world, mode="failover")
    assert caught.value.fields["gate"] == "fence of events"
    with pytest.raises(PreconditionFailed, match="more may be lost than the objective"):
        move(world, mode="failover", fence_statement="the rack has no power", failed_at=time.time() + 600)
    assert world.produce(EAST, TOPIC, 1, begin=9000) == []
    outcome = move(world, mode="failover", fence_statement="the rack has no power", failed_at=killed)
    assert outcome.lost is None
    assert "heartbeat" in outcome.loss
    assert outcome.seconds_lost is not None
    assert outcome.seconds_lost < 60
    assert outcome.next_actions
    resumes(world, outcome, "billing", read, EAST)
    again = move(world, mode="failover", fence_statement="the rack has no power")
    assert (again.changed, again.changes) == (False, [])
    # Its host is back before anybody has started the broker.
    world.silent.clear()
    fenced = move(world, mode="failover")
    assert fenced.changed
    assert {f"{WEST}/broker", f"{WEST}/mirror"} <= world.masked
    assert len(write(world, EAST, 5)) == 5
    assert not move(world, mode="failover").changed
