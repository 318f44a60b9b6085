# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names are moved for real, and what clients are told is asked of the servers themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dns.query
import dns.tsigkeyring
import dns.update
import pytest

from ansible_collections.platform.recovery.plugins.module_utils.dns import failover, provider_route53_records
from ansible_collections.platform.recovery.plugins.module_utils.dns.failover import Outcome, Request
from ansible_collections.platform.recovery.plugins.module_utils.dns.model import zones_of
from ansible_collections.platform.recovery.plugins.module_utils.errors import (
    PreconditionFailed,
    StepFailed,
    StepTimeout,
)
from ansible_collections.platform.recovery.plugins.module_utils.schema import Validator
from ansible_collections.platform.recovery.plugins.plugin_utils.action import documented_options
from tests.integration.dns.world import (
    AUTHORITIES,
    DYNAMIC,
    EAST,
    KEY,
    KNOT,
    MANY,
    PORT,
    RESOLVER,
    TTL,
    VALUES,
    WEST,
    ZONE,
    World,
    answers,
    ask,
    credentials,
    eventually,
    zones,
)

MAPS = frozenset({"zones", "zones.targets", "credentials"})
APP = f"app.{ZONE}"
PROVIDERS = ("route53_health_checks", "route53_records", "rfc2136")


def move(*names: str, provider: str = PROVIDERS[0], target: str = EAST, more: Any = None, **request: Any) -> Outcome:
    """Call the verb as its action does."""
    given = {"zones": zones(*names, provider=provider, **(more or {})), "credentials": credentials(provider)}
    options, problems = Validator(maps=MAPS).check(documented_options("dns_failover"), {**given, "target": target})
    assert not problems
    wish = replace(Request(target, timeout_seconds=20), **request)
    return failover.move(zones_of(options), wish)[0]


def told(name: str, *servers: str) -> set[str]:
    return {value for server in servers or AUTHORITIES.values() for value in ask(server, name)}


def names_for(provider: str) -> tuple[str, ...]:
    if provider == "rfc2136":
        return (f"app.{DYNAMIC}", f"n001.{DYNAMIC}")
    several = (APP, f"alias.{ZONE}", f"share.{ZONE}")
    return (*several, f"plain.{ZONE}") if provider == "route53_records" else several


@pytest.mark.parametrize("provider", PROVIDERS)
def test_there_and_back(world: World, provider: str) -> None:
    names = names_for(provider)
    servers = [KNOT] if provider == "rfc2136" else list(AUTHORITIES.values())
    for name in names:
        eventually(lambda name=name: ask(RESOLVER, name) == [VALUES[WEST]])  # type: ignore[misc]
    for target in (EAST, WEST):
        found = move(*names, provider=provider, target=target)
        assert found.changed
        for name in names:
            assert told(name, *servers, RESOLVER) == {VALUES[target]}, name
        again = move(*names, provider=provider, target=target)
        assert (again.changed, again.changes) == (False, [])
    # What was moved there and back is as it was.
    if provider != "rfc2136":
        assert {one["Failover"]: one["ResourceRecords"] for one in world.stored(APP)} == {
            "PRIMARY": [VALUES[WEST]],
            "SECONDARY": [VALUES[EAST]],
        }
        config = [one["HealthCheckConfig"] for one in world.route53().list_health_checks()["HealthChecks"]]
        assert not any(one["Disabled"] or one["Inverted"] for one in config)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_plan_changes_nothing(world: World, provider: str) -> None:
    before = world.version()
    name = names_for(provider)[0]
    found = move(name, provider=provider, check=True)
    assert found.changes
    assert found.predicted <= TTL
    assert world.version() == before
    assert told(name, KNOT if provider == "rfc2136" else AUTHORITIES[WEST]) == {VALUES[WEST]}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_five_hundred_names_in_one_call(world: World, provider: str) -> None:
    names = [f"n{number:03}.{DYNAMIC}" for number in range(150)] if provider == "rfc2136" else MANY
    before = world.version()
    found = move(*names, provider=provider)
    assert len(found.as_dict()["moved"]) >= len(names)
    servers = [KNOT] if provider == "rfc2136" else list(AUTHORITIES.values())
    for name in names:
        assert told(name, *servers) == {VALUES[EAST]}
    # The west's check alone, or 2 of each name's two sets in batches of a thousand records.
    assert world.version() - before == {"route53_health_checks": 1, "route53_records": 2, "rfc2136": 0}[provider]
    assert not move(*names, provider=provider).changed


def test_the_tail_is_what_a_cache_adds(world: World) -> None:
    """A resolver that has just asked goes on with the old answer for the TTL, and no longer."""
    long = f"long.{ZONE}"
    row = {"Name": long, "Type": "A", "TTL": 4, "ResourceRecords": [{"Value": VALUES[WEST]}]}
    change = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": row}]}
    world.route53().change_resource_record_sets(HostedZoneId=world.zone_id(), ChangeBatch=change)
    eventually(lambda: all(answers(server, long) for server in AUTHORITIES.values()))
    assert ask(RESOLVER, long) == [VALUES[WEST]]
    found = move(long, provider="route53_records")
    assert found.predicted == 4
    assert found.tail_seconds is not None
    assert 1 < found.tail_seconds <= 5
    assert ask(RESOLVER, long) == [VALUES[EAST]]


def test_a_target_that_does_not_answer_is_refused(world: World) -> None:
    world.edges[EAST].status = 503
    before = world.version()
    with pytest.raises(PreconditionFailed, match="does not answer") as said:
        move(f"plain.{ZONE}", provider="route53_records")
    assert "answers 503" in str(said.value)
    assert world.version() == before


@pytest.mark.parametrize("provider", ["route53_health_checks", "route53_records"])
def test_a_target_that_route53_takes_for_ill_is_refused(world: World, provider: str) -> None:
    """It answers us, but Route 53's checkers ask for something else: the names would stay with the other region."""
    checks = world.route53().list_health_checks()["HealthChecks"]
    east = next(one for one in checks if one["HealthCheckConfig"]["IPAddress"] == VALUES[EAST])
    world.route53().update_health_check(HealthCheckId=east["Id"], Port=8099)

    def ill() -> bool:
        rows = world.route53().get_health_check_status(HealthCheckId=east["Id"])["HealthCheckObservations"]
        return len(rows) == 2 and all(row["StatusReport"]["Status"].startswith("Failure") for row in rows)

    eventually(ill)
    with pytest.raises(PreconditionFailed, match="takes us-east-1 for unhealthy"):
        move(APP, provider=provider)
    assert told(APP) == {VALUES[WEST]}


def test_a_name_that_would_be_left_without_an_answer_is_refused(world: World) -> None:
    row = {"Name": f"lone.{ZONE}", "Type": "A", "TTL": 2, "ResourceRecords": [{"Value": VALUES[WEST]}]}
    west = next(one["HealthCheckId"] for one in world.stored(APP) if one["Failover"] == "PRIMARY")
    lone = {**row, "SetIdentifier": "w", "Weight": 1, "HealthCheckId": west}
    change = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": lone}]}
    world.route53().change_resource_record_sets(HostedZoneId=world.zone_id(), ChangeBatch=change)
    with pytest.raises(PreconditionFailed, match=rf"lone\.{ZONE} A would be left without a healthy answer"):
        move(APP)


def test_throttling_is_waited_out(world: World) -> None:
    world.throttle(3)
    begin = time.monotonic()
    assert move(APP).changed
    assert 3 <= time.monotonic() - begin < 15


def test_throttling_beyond_the_deadline_is_a_refusal_and_nothing_was_changed(world: World) -> None:
    before = world.version()
    world.throttle(60)
    with pytest.raises(PreconditionFailed, match="throttled") as said:
        move(APP, timeout_seconds=2)
    assert "429" in str(said.value)
    assert (world.version(), told(APP)) == (before, {VALUES[WEST]})


def test_names_that_have_moved_by_themselves_are_right_while_the_api_is_down(world: World) -> None:
    world.edges[WEST].status = 503
    eventually(lambda: told(APP) == {VALUES[EAST]})
    world.end("api")
    try:
        found = move(APP, timeout_seconds=5)
        assert (found.changed, found.held) == (False, False)
        with pytest.raises(PreconditionFailed, match="cannot be changed now"):
            move(APP, target=WEST, timeout_seconds=3)
    finally:
        world.start_api()


def test_a_forced_failover_stays_when_the_lost_region_heals(world: World) -> None:
    world.edges[WEST].status = 503
    eventually(lambda: told(APP) == {VALUES[EAST]})
    assert move(APP).changed
    world.edges[WEST].status = 200
    time.sleep(2.5)  # two rounds of the checkers, who would see it
    assert told(APP) == {VALUES[EAST]}


def test_a_silent_server_of_a_lost_region_is_given_up_by_word_only(world: World) -> None:
    world.freeze(WEST)
    try:
        with pytest.raises(StepTimeout, match=AUTHORITIES[WEST]) as said:
            move(APP, timeout_seconds=3, query_seconds=0.5)
        assert said.value.fields["changed"]
        found = move(APP, lost_regions=frozenset({WEST}), query_seconds=0.5)
        assert found.silent == [f"{AUTHORITIES[WEST]}:{PORT}"]
    finally:
        world.thaw(WEST)


def meanwhile(monkeypatch: pytest.MonkeyPatch, kind: Any, do: Callable[[], None]) -> None:
    """Let somebody else act between our first plan and our first change."""
    apply, done = kind.apply, threading.Event()

    def late(self: Any, changes: Any) -> None:
        if not done.is_set():
            done.set()
            do()
        apply(self, changes)

    monkeypatch.setattr(kind, "apply", late)


@pytest.mark.parametrize(
    ("value", "refused"),
    [
        pytest.param("127.9.9.9", True, id="to what nobody described"),
        pytest.param(VALUES[EAST], False, id="to where we want it"),
    ],
)
def test_a_record_that_somebody_changed_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch, value: str, refused: bool
) -> None:
    row = {"Name": f"plain.{ZONE}", "Type": "A", "TTL": TTL, "ResourceRecords": [{"Value": value}]}
    change = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": row}]}

    def somebody() -> None:
        world.route53().change_resource_record_sets(HostedZoneId=world.zone_id(), ChangeBatch=change)

    meanwhile(monkeypatch, provider_route53_records.Records, somebody)
    if refused:
        with pytest.raises(PreconditionFailed, match="somebody else has changed it"):
            move(f"plain.{ZONE}", provider="route53_records")
    else:
        found = move(f"plain.{ZONE}", provider="route53_records")
        assert (found.changed, len(found.notes)) == (False, 1)
    assert told(f"plain.{ZONE}") == {value}


def test_a_health_check_that_somebody_changed_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    west = next(one["HealthCheckId"] for one in world.stored(APP) if one["Failover"] == "PRIMARY")
    kind = failover.HealthChecks
    meanwhile(monkeypatch, kind, lambda: world.route53().update_health_check(HealthCheckId=west, FailureThreshold=2))
    found = move(APP)
    assert found.changed
    assert any("somebody else" in note for note in found.notes)
    [config] = [
        one["HealthCheckConfig"] for one in world.route53().list_health_checks()["HealthChecks"] if one["Id"] == west
    ]
    assert (config["FailureThreshold"], config["Disabled"], config["Inverted"]) == (2, True, True)


def test_an_update_that_somebody_else_overtook(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"app.{DYNAMIC}"

    def somebody() -> None:
        ring = dns.tsigkeyring.from_text({"operator": KEY})
        update = dns.update.UpdateMessage(DYNAMIC, keyring=ring, keyalgorithm="hmac-sha256")
        update.replace(f"{name}.", TTL, "A", "127.9.9.9")
        dns.query.tcp(update, KNOT, port=PORT, timeout=3)

    meanwhile(monkeypatch, failover.Updates, somebody)
    with pytest.raises(PreconditionFailed, match="somebody else has changed it"):
        move(name, provider="rfc2136")
    assert ask(KNOT, name) == ["127.9.9.9"]
    del world


def test_an_update_with_a_wrong_key_says_so_and_not_the_key(world: World) -> None:
    given = zones(f"app.{DYNAMIC}", provider="rfc2136")
    wrong = "d3Jvbmcgd3Jvbmcgd3Jvbmc="
    options, _ = Validator(maps=MAPS).check(
        documented_options("dns_failover"),
        {"zones": given, "credentials": {"key": {"user": "operator", "password": wrong}}, "target": EAST},
    )
    with pytest.raises(StepFailed, match="did not let us") as said:
        failover.move(zones_of(options), Request(EAST))
    assert wrong not in repr(said.value.as_result()) + str(said.value)
    assert ask(KNOT, f"app.{DYNAMIC}") == [VALUES[WEST]]
    del world
