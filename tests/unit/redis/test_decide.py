# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a store needs, by what everybody shows of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, PreconditionFailed
from ansible_collections.platform.recovery.plugins.module_utils.redis import decide, readiness, rejoin
from ansible_collections.platform.recovery.plugins.module_utils.redis.decide import Seen, Wish
from ansible_collections.platform.recovery.plugins.module_utils.redis.model import (
    Known,
    Member,
    MemberState,
    Place,
    Sentinel,
    SentinelState,
    Store,
    lost_bytes,
)
from ansible_collections.platform.recovery.plugins.module_utils.service_manager import UnitStatus

WEST, EAST = "west", "east"
PORT = 6379
STORE = Store(
    "sessions",
    "sessions",
    {name: Member(name, Place(f"10.0.0.{number}", PORT), f"redis.{name}") for number, name in enumerate((WEST, EAST))},
    (Sentinel(Place("10.0.1.0", 26379), WEST), Sentinel(Place("10.0.1.1", 26379), EAST)),
    rpo_seconds=60,
)
PRIMARY = MemberState(WEST, role="primary", run_id="w", replid="one", offset=1000, keys=3)
REPLICA = MemberState(
    EAST,
    role="replica",
    run_id="e",
    replid="one",
    offset=1000,
    follows=("redis.west", PORT),
    link_up=True,
    silent_seconds=0,
)
ORPHAN = replace(REPLICA, link_up=False, silent_seconds=5)
PROMOTED = MemberState(EAST, role="primary", run_id="e", replid="two", replid2="one", offset=1500, promoted_at=1001)
DOWN = MemberState(WEST, cause="refused", why_not="connection refused")
DEMOTED = replace(PRIMARY, role="replica", follows=("redis.east", PORT))
RUNS = UnitStatus("redis-server is active", True, "active", "enabled", 7)
FENCED = UnitStatus("redis-server is inactive and masked", True, "inactive", "masked", 0)
NO_WAY = UnitStatus("no answer by ssh", False)
ROW = Known(("redis.east", PORT), "e", frozenset({"slave"}), 100)


def leads(number: int, to: str = WEST, *, flags: str = "master", **more: Any) -> SentinelState:
    given: dict[str, Any] = {"run_id": "w" if to == WEST else "e", "quorum": 3, "others": 1, "replicas": (ROW,), **more}
    return SentinelState(
        STORE.sentinels[number], primary=(f"redis.{to}", PORT), flags=frozenset(flags.split(",")), **given
    )


AGREED = (leads(0), leads(1))
GONE = (SentinelState(STORE.sentinels[0], cause="refused"), leads(1, flags="master,s_down"))


def seen(west: MemberState, east: MemberState, sentinels: Any = AGREED, unit: UnitStatus | None = RUNS) -> Seen:
    return Seen(STORE, {WEST: west, EAST: east}, list(sentinels), {WEST: unit} if unit else {})


def wish(mode: Any = "failover", **more: Any) -> Wish:
    return replace(Wish(EAST, mode), **more)


STATED = {"statement": "it is down", "reason": "fire"}


@pytest.mark.parametrize(
    ("situation", "wanted", "step", "promote"),
    [
        pytest.param(seen(PRIMARY, REPLICA), wish("switchover"), "drain", True, id="alive"),
        pytest.param(seen(DOWN, ORPHAN, GONE), wish(), "kill", True, id="silent, and its host answers"),
        pytest.param(seen(DOWN, REPLICA, GONE), wish(), "kill", True, id="frozen: the link is still there"),
        pytest.param(seen(DOWN, ORPHAN, GONE, FENCED), wish(), "nothing", True, id="fenced by a run that was killed"),
        pytest.param(seen(DOWN, ORPHAN, GONE, NO_WAY), wish(**STATED), "rely", True, id="stated"),
        pytest.param(seen(DOWN, ORPHAN, GONE, None), wish(**STATED), "rely", True, id="no channel, stated"),
        pytest.param(
            seen(DEMOTED, replace(REPLICA, follows=("redis.west", PORT))),
            wish("switchover"),
            "resume",
            True,
            id="demoted by a run that was killed",
        ),
        pytest.param(seen(DEMOTED, ORPHAN), wish(), "resume", True, id="demoted, in either mode"),
        pytest.param(
            seen(DEMOTED, PROMOTED, (leads(0, EAST), leads(1, EAST))), wish("switchover"), "nothing", False, id="done"
        ),
        pytest.param(seen(DOWN, PROMOTED, GONE, FENCED), wish(), "nothing", False, id="done, and fenced"),
        pytest.param(seen(DOWN, PROMOTED, GONE, RUNS), wish(), "kill", False, id="promoted, not yet fenced"),
        pytest.param(seen(DOWN, PROMOTED, GONE, NO_WAY), wish(), "note", False, id="promoted, nobody can be asked"),
        pytest.param(seen(PRIMARY, PROMOTED, AGREED), wish(), "kill", False, id="a stale primary came back"),
    ],
)
def test_what_is_done(situation: Seen, wanted: Wish, step: str, promote: bool) -> None:
    found = decide.plan(situation, wanted)
    assert (found.steps[WEST], found.promote) == (step, promote)


@pytest.mark.parametrize(
    ("situation", "wanted", "words"),
    [
        pytest.param(seen(PRIMARY, REPLICA), wish(), "a failover would cut it off", id="alive"),
        pytest.param(
            seen(PRIMARY, replace(REPLICA, role=None)), wish("switchover"), "east does not answer", id="target"
        ),
        pytest.param(seen(DOWN, ORPHAN, GONE), wish("switchover"), "nothing can be moved without loss", id="gone"),
        pytest.param(seen(DOWN, ORPHAN, GONE, NO_WAY), wish(), "not proven stopped", id="no proof"),
        pytest.param(seen(DOWN, ORPHAN, GONE, None), wish(), "not proven stopped", id="no channel"),
        pytest.param(seen(DOWN, REPLICA, AGREED), wish(**STATED), "side still reach it", id="only we cannot reach it"),
        pytest.param(
            seen(PRIMARY, replace(REPLICA, offset=1)),
            wish("switchover", most_lag_bytes=10),
            "does not hold",
            id="behind",
        ),
        pytest.param(seen(PRIMARY, ORPHAN), wish("switchover"), "does not hold", id="link down"),
        pytest.param(
            seen(PRIMARY, replace(REPLICA, replid="x")), wish("switchover"), "does not hold", id="other history"
        ),
        pytest.param(
            seen(PRIMARY, replace(REPLICA, priority=0)), wish("switchover"), "would not promote east", id="priority 0"
        ),
        pytest.param(
            seen(PRIMARY, REPLICA, (leads(0, replicas=()), leads(1, replicas=()))),
            wish("switchover"),
            "would not promote east",
            id="unknown to Sentinel",
        ),
        pytest.param(
            seen(
                PRIMARY, REPLICA, (leads(0), leads(1, replicas=(ROW, replace(ROW, run_id="r", address=("third", 1)))))
            ),
            wish("switchover"),
            "would not promote east",
            id="Sentinel may prefer another",
        ),
        pytest.param(
            seen(PRIMARY, REPLICA, (GONE[0], leads(1))),
            wish("switchover"),
            "Not all Sentinels",
            id="a Sentinel is down",
        ),
        pytest.param(
            seen(DOWN, ORPHAN, (GONE[0], GONE[0])), wish(), "No Sentinel that could promote", id="no Sentinel"
        ),
        pytest.param(
            seen(DOWN, replace(ORPHAN, silent_seconds=61), GONE), wish(), "More of sessions may be lost", id="too old"
        ),
        pytest.param(
            seen(DOWN, replace(ORPHAN, silent_seconds=None), GONE),
            wish(),
            "More of sessions may be lost",
            id="unknown age",
        ),
        pytest.param(
            seen(PRIMARY, replace(PROMOTED, replid2="other")), wish(), "neither was promoted from the other", id="split"
        ),
        pytest.param(seen(PRIMARY, PROMOTED, AGREED, NO_WAY), wish(), "not proven stopped", id="stale, no channel"),
    ],
)
def test_what_is_refused(situation: Seen, wanted: Wish, words: str) -> None:
    with pytest.raises(PreconditionFailed, match=words) as said:
        decide.plan(situation, wanted)
    assert said.value.next_action
    assert said.value.observed
    assert not said.value.fields["changed"]


def test_loss_beyond_the_objective_is_allowed_by_name() -> None:
    found = decide.plan(
        seen(DOWN, replace(ORPHAN, silent_seconds=61), GONE), wish(allow_data_loss=True, reason="so be it")
    )
    [gate] = [one for one in found.gates if one.gate == "sessions: loss"]
    assert (gate.verdict, gate.by) == ("override", "operator: so be it")


def test_who_turns_us_away_is_not_down() -> None:
    away = replace(DOWN, cause="authentication", why_not="it does not let us in: WRONGPASS")
    with pytest.raises(BadInput, match="west cannot be asked"):
        decide.plan(seen(away, ORPHAN, GONE), wish())


def test_a_sentinel_that_leads_elsewhere_is_told() -> None:
    found = decide.plan(seen(DEMOTED, PROMOTED, (leads(0, WEST), leads(1, EAST))), wish())
    assert [one.sentinel.region for one in found.tell] == [WEST]
    assert found.changes


@pytest.mark.parametrize(
    ("new", "old", "lost"),
    [
        pytest.param(PROMOTED, replace(PRIMARY, offset=1200), 200, id="wrote on"),
        pytest.param(PROMOTED, replace(PRIMARY, offset=1000), 0, id="nothing more"),
        pytest.param(PROMOTED, replace(PRIMARY, offset=900), 0, id="less than what was promoted"),
        pytest.param(PROMOTED, replace(PRIMARY, replid="x"), None, id="another history"),
        pytest.param(replace(PROMOTED, promoted_at=-1), PRIMARY, None, id="never promoted"),
    ],
)
def test_what_a_stale_primary_wrote(new: MemberState, old: MemberState, lost: int | None) -> None:
    assert lost_bytes(new, old) == lost


@pytest.mark.parametrize(
    ("west", "unit", "step"),
    [
        pytest.param(replace(DEMOTED, link_up=True), RUNS, "nothing", id="follows"),
        pytest.param(DEMOTED, RUNS, "follow", id="link down"),
        pytest.param(replace(DEMOTED, follows=("else", 1), link_up=True), RUNS, "follow", id="follows somebody else"),
        pytest.param(PRIMARY, RUNS, "follow", id="stale primary"),
        pytest.param(replace(PRIMARY, replid="x", keys=0), RUNS, "follow", id="empty primary"),
        pytest.param(DOWN, FENCED, "start", id="fenced"),
        pytest.param(replace(PRIMARY, replid="x"), RUNS, "refuse", id="keys of nobody knows where"),
        pytest.param(DOWN, NO_WAY, "refuse", id="no channel"),
    ],
)
def test_how_a_server_comes_back(west: MemberState, unit: UnitStatus, step: str) -> None:
    situation = seen(west, PROMOTED, (), unit)
    if step == "refuse":
        with pytest.raises(PreconditionFailed):
            rejoin.choose(situation, EAST)
    else:
        assert rejoin.choose(situation, EAST) == {WEST: step}


@pytest.mark.parametrize(
    ("regions", "quorum", "ready"),
    [
        pytest.param((WEST, EAST), 2, True, id="two, one left is no majority"),
        pytest.param((WEST, EAST), 3, True, id="never agree"),
        pytest.param((WEST, EAST, "third"), 2, False, id="two of three are left"),
        pytest.param((WEST, EAST, "third"), 3, True, id="all three are needed"),
        pytest.param((WEST, EAST, EAST), 1, False, id="most in one region"),
    ],
)
def test_who_could_promote_without_us(regions: tuple[str, ...], quorum: int, ready: bool) -> None:
    sentinels = tuple(Sentinel(Place("10.0.1.1", 26379), region) for region in regions)
    store = replace(STORE, sentinels=sentinels)
    rows = [replace(leads(1), sentinel=one, quorum=quorum, others=len(regions) - 1) for one in sentinels]
    found = readiness.quorum_check(readiness.Checklist("r", "s"), store, Seen(store, {}, rows))
    assert (found.verdict == "ready") is ready
