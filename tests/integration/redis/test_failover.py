# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores are moved for real, and what was acknowledged is counted at the servers themselves."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import (
    BadInput,
    PreconditionFailed,
    RecoveryError,
)
from ansible_collections.platform.recovery.plugins.module_utils.redis import client, failover, readiness, rejoin
from ansible_collections.platform.recovery.plugins.module_utils.redis.decide import Wish
from ansible_collections.platform.recovery.plugins.module_utils.redis.failover import Outcome, Request
from ansible_collections.platform.recovery.plugins.module_utils.redis.model import MAPS, stores_of
from ansible_collections.platform.recovery.plugins.module_utils.schema import Validator
from ansible_collections.platform.recovery.plugins.plugin_utils.action import documented_options
from recovery_lab import identity
from tests.integration.redis.world import EAST, PASSWORD, WEST, World, Writer, eventually, name

CREDENTIALS = {"redis": {"password": PASSWORD}}


def options(world: World, target: str = EAST, **more: Any) -> dict[str, Any]:
    given = {"stores": world.described(**more), "credentials": CREDENTIALS, "target": target, "mode": "switchover"}
    found, problems = Validator(maps=MAPS).check(documented_options("redis_failover"), given)
    assert not problems
    return found


def move(world: World, target: str = EAST, mode: Any = "switchover", more: Any = None, **wish: Any) -> Outcome:
    """Call the verb as its action does."""
    stores = stores_of(options(world, target, **(more or {})))
    request = Request(replace(Wish(target, mode), **wish), timeout_seconds=20)
    outcomes, failures = failover.move(stores, request)
    for error in failures.values():
        raise error
    return outcomes[0]


def test_there_and_back_without_loss(world: World) -> None:
    for target, source in ((EAST, WEST), (WEST, EAST)):
        with Writer(world) as writer:
            eventually(lambda writer=writer: writer.count() > 50)
            found = move(world, target)
            begin = time.monotonic()
            eventually(lambda writer=writer, target=target, begin=begin: writer.count(target, after=begin) > 20)
        assert (found.changed, found.lost, found.leads) == (True, 0, True)
        assert found.pause_seconds is not None
        assert found.pause_seconds < 3
        assert writer.missing(target) == []
        assert (world.role(target), world.role(source)) == ("master", "slave")
        assert world.led_to(WEST) == world.led_to(EAST) == name(target)
        eventually(lambda source=source: world.follows(source))
        assert writer.missing(source) == []
        again = move(world, target)
        assert (again.changed, again.would_change) == (False, False)


def test_a_primary_that_was_killed_is_fenced_and_replaced(world: World) -> None:
    with Writer(world, WEST) as writer:
        eventually(lambda: writer.count() > 50)
        world.act("kill", WEST)
    begin = time.monotonic()
    found = move(world, mode="failover")
    assert time.monotonic() - begin < 8
    assert (found.changed, found.lost, found.proofs) == (True, None, {WEST: "stopped"})
    assert found.lost_seconds is not None
    assert found.lost_seconds <= 5
    assert world.role(EAST) == "master"
    assert world.led_to(EAST) == name(EAST)
    # What the replica had been sent is there; nothing was written for longer than was said.
    lost = writer.missing(EAST)
    assert len(lost) <= 5
    # It cannot be started by whoever restarts things there.
    assert world.state(WEST)["masked"]
    again = move(world, mode="failover")
    assert (again.changed, again.would_change) == (False, False)


def test_a_frozen_primary_never_takes_a_write_again(world: World) -> None:
    """After SIGCONT it would go on as primary until a Sentinel makes it a replica, for seconds."""
    with Writer(world, every=0.001) as writer:
        eventually(lambda: writer.count(WEST) > 50)
        world.act("freeze", WEST)
        begin = time.monotonic()
        found = move(world, mode="failover")
        assert found.proofs == {WEST: "stopped"}
        eventually(lambda: writer.count(EAST, after=begin) > 50)
        with pytest.raises(AssertionError):  # there is nothing left to thaw
            world.act("thaw", WEST)
        time.sleep(1)
    assert writer.count(WEST, after=begin) == 0
    assert [key for key in writer.missing(EAST) if EAST in key] == []


def test_an_isolated_primary_is_given_up_by_word_only(world: World) -> None:
    world.cut(WEST)
    with pytest.raises(PreconditionFailed, match="not proven stopped, and nobody states"):
        move(world, mode="failover")
    assert world.role(EAST) == "slave"
    found = move(world, mode="failover", statement="the power is off", reason="fire", lost_regions=frozenset({WEST}))
    assert found.proofs == {WEST: "statement"}
    assert found.next_actions
    assert world.role(EAST) == "master"
    assert move(world, mode="failover", statement="x", reason="fire").changed is False


def test_a_primary_that_only_we_cannot_reach_is_no_failover(world: World) -> None:
    world.cut_operator(WEST, "redis", "sentinel", "ssh")
    stores = stores_of(options(world))
    wish = Wish(EAST, "failover", statement="it is down", reason="surely")
    with pytest.raises(PreconditionFailed, match="others of us-east-1's side still reach it"):
        failover.move(stores, Request(wish, confirm_seconds=2.5))
    assert (world.role(WEST), world.role(EAST)) == ("master", "slave")


@pytest.mark.parametrize("mode", ["switchover", "failover"])
def test_a_replica_that_is_down_is_refused(world: World, mode: str) -> None:
    world.act("kill", EAST)
    with pytest.raises(PreconditionFailed, match="us-east-1 does not answer"):
        move(world, mode=mode)
    assert world.role(WEST) == "master"


def test_a_replica_far_behind_is_refused(world: World) -> None:
    """Its region is cut off, and what is written meanwhile is too much to be caught up while nothing may be written."""
    world.cut_between()
    with Writer(world, WEST) as writer:
        eventually(lambda: writer.count() > 50)
        eventually(lambda: not world.follows(EAST))
        with pytest.raises(PreconditionFailed, match="does not hold what us-west-2 holds"):
            move(world)
        before = writer.count()
        eventually(lambda: writer.count() > before + 20)


def test_a_replica_that_stands_still_is_not_waited_for_beyond_the_deadline(world: World) -> None:
    """Writes are let in again."""
    with Writer(world, WEST) as writer:
        eventually(lambda: writer.count() > 50)
        one = failover.Move(
            stores_of(options(world))[0], Request(Wish(EAST, "switchover"), drain_seconds=1, connect_seconds=0.5)
        )
        one.prepare()
        world.act("freeze", EAST)
        with pytest.raises(RecoveryError):
            one.act()
        before = writer.count()
        eventually(lambda: writer.count() > before + 20, seconds=5)
        world.act("thaw", EAST)
    assert world.role(WEST) == "master"


def test_a_living_primary_is_not_failed_over(world: World) -> None:
    with pytest.raises(PreconditionFailed, match="a failover would cut it off"):
        move(world, mode="failover")


def test_more_loss_than_the_objective_needs_a_reason(world: World) -> None:
    world.act("kill", WEST)
    more = {"objectives": {"rpo_seconds": 1}}
    eventually(lambda: (client.look_at(east(world), 1).silent_seconds or 0) > 1)
    with pytest.raises(PreconditionFailed, match="More of sessions may be lost"):
        move(world, mode="failover", more=more)
    assert not world.state(WEST).get("masked")
    assert move(world, mode="failover", more=more, allow_data_loss=True, reason="so be it").changed


def test_a_wrong_password_is_told_and_not_shown(world: World) -> None:
    given = options(world)
    given["credentials"]["redis"]["password"] = "planted-and-wrong"
    with pytest.raises(BadInput, match="cannot be asked with what the inventory says") as said:
        failover.move(stores_of(given), Request(Wish(EAST, "failover")))
    assert "planted-and-wrong" not in str(said.value) + repr(said.value.as_result())
    assert "does not let us in" in str(said.value)
    assert world.role(WEST) == "master"


def test_a_plan_changes_nothing(world: World) -> None:
    outcomes, _ = failover.move(stores_of(options(world)), Request(Wish(EAST, "switchover"), check=True))
    assert (outcomes[0].would_change, outcomes[0].changed, outcomes[0].lost) == (True, False, 0)
    assert world.role(WEST) == "master"


def test_what_was_demoted_by_a_run_that_died_is_replaced_by_the_next(world: World) -> None:
    world.ask(WEST, "REPLICAOF", name(EAST), "6379")
    assert world.role(WEST) == world.role(EAST) == "slave"
    found = move(world)
    assert (found.changed, found.lost) == (True, 0)
    assert (world.role(EAST), world.role(WEST)) == ("master", "slave")


def east(world: World) -> Any:
    return stores_of(options(world))[0].members[EAST]


def test_a_stale_primary_that_came_back_is_fenced_with_what_it_wrote_counted(world: World) -> None:
    """Stated to be down, it was only cut off: its clients went on. Nothing watches there."""
    give_up(world)
    with Writer(world, WEST) as writer:
        eventually(lambda: writer.count() > 50)
    world.act("stop", WEST, "guard")
    for region in (WEST, EAST):
        world.act("stop", region, "sentinel")
    world.heal()
    eventually(lambda: client.look_at(stores_of(options(world))[0].members[WEST], 1).role == "primary")
    one = failover.Move(stores_of(options(world))[0], Request(Wish(EAST, "failover"), confirm_seconds=0))
    one.prepare()
    assert one.outcome.lost is not None
    assert one.outcome.lost > 50 * 30
    one.act()
    assert world.role(WEST) == "silent"
    assert world.state(WEST)["masked"]


def give_up(world: World) -> None:
    world.cut(WEST)
    move(world, mode="failover", statement="it is down", reason="we think", lost_regions=frozenset({WEST}))


def test_the_guard_makes_an_isolated_primary_a_replica_when_it_comes_back(world: World) -> None:
    """Sentinel would do so after ten seconds."""
    give_up(world)
    assert world.role(WEST) == "master"
    with Writer(world, WEST, every=0.001) as writer:
        eventually(lambda: writer.count() > 20)
        world.heal()
        begin = time.monotonic()
        eventually(lambda: world.role(WEST) == "slave", seconds=5)
        assert time.monotonic() - begin < 3
        over = time.monotonic()
        eventually(lambda: world.follows(WEST))
    assert writer.count(WEST, after=over) == 0


def test_a_region_that_comes_back_whole_never_has_a_primary(world: World) -> None:
    """It was lost at once, so nobody could be fenced: what it would start as is looked up before it starts."""
    for kind in ("guard", "redis", "sentinel"):
        world.act("kill", WEST, kind)
    world.close_host(WEST)
    move(world, mode="failover", statement="no power", reason="fire", lost_regions=frozenset({WEST}))
    with Writer(world, WEST, every=0.0005) as writer:
        for kind in ("sentinel", "redis", "guard"):
            world.act("start", WEST, kind)
        eventually(lambda: world.follows(WEST))
        eventually(lambda: world.led_to(WEST) == name(EAST))
    assert writer.count() == 0


# With its data it comes back in the role's own test.
@pytest.mark.parametrize("disk", [pytest.param("as it was", marks=pytest.mark.slow), "empty"])
def test_a_fenced_primary_comes_back_as_replica(world: World, disk: str) -> None:
    world.act("kill", WEST)
    move(world, mode="failover")
    world.ask(EAST, "SET", "after", "failover")
    if disk == "empty":
        shutil.rmtree(world.folder / WEST / "redis")
        (world.folder / WEST / "redis").mkdir()
        identity.own(world.folder / WEST / "redis")
    with Writer(world, WEST) as writer:
        found = rejoined(world)
        assert (found.changed, found.steps) == (True, {WEST: "start"})
    assert writer.count() == 0
    assert world.ask(WEST, "GET", "after") == "failover"
    assert rejoined(world).changed is False
    # And back again.
    assert move(world, WEST).lost == 0
    eventually(lambda: world.follows(EAST))


def rejoined(world: World, target: str = EAST) -> rejoin.Outcome:
    outcomes, failures = rejoin.rejoin(stores_of(options(world, target)), rejoin.Request(target, timeout_seconds=30))
    for error in failures.values():
        raise error
    return outcomes[0]


def test_what_is_not_known_to_be_stale_is_not_thrown_away(world: World) -> None:
    world.act("stop", WEST, "guard")
    world.ask(EAST, "REPLICAOF", "NO", "ONE")
    world.ask(EAST, "SET", "mine", "1")
    with pytest.raises(PreconditionFailed, match="was not promoted from it"):
        rejoined(world, WEST)


def test_two_stores_and_one_that_cannot_be_planned(world: World) -> None:
    """Nothing is touched in the one while the other is refused."""
    good = stores_of(options(world))[0]
    broken = replace(good, name="other", master_name="nobody")
    with pytest.raises(PreconditionFailed, match="other: "):
        failover.move([good, broken], Request(Wish(EAST, "switchover"), confirm_seconds=0))
    assert world.role(WEST) == "master"


def test_a_healthy_world_is_ready(world: World) -> None:
    found = readiness.checks(stores_of(options(world))[0], Wish(EAST, "switchover"), seconds=2)
    assert {one.verdict for one in found} == {"ready"}, found
    assert len(found) == 12


def test_without_a_sentinel_that_promotes_the_old_one_is_primary_again(world: World) -> None:
    """It was demoted already; nobody was told to promote, so writes are let in again."""
    one = failover.Move(
        stores_of(options(world))[0], Request(Wish(EAST, "switchover"), drain_seconds=2, connect_seconds=0.3)
    )
    one.prepare()
    for region in (WEST, EAST):
        world.act("freeze", region, "sentinel")
    with Writer(world, WEST) as writer:
        eventually(lambda: writer.count() > 20)
        with pytest.raises(RecoveryError, match="a Sentinel to promote"):
            one.act()
        begin = time.monotonic()
        eventually(lambda: writer.count(after=begin) > 20)
    assert world.role(WEST) == "master"
    eventually(lambda: world.follows(EAST))
    assert writer.missing(EAST) == []
