# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Route 53 would answer, and the least that makes it answer with the target: tables, no server."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.dns import route53
from ansible_collections.platform.recovery.plugins.module_utils.dns.model import Record
from ansible_collections.platform.recovery.plugins.module_utils.dns.provider_route53_health_checks import flips
from ansible_collections.platform.recovery.plugins.module_utils.dns.provider_route53_records import (
    batches,
    changes,
    request,
)
from ansible_collections.platform.recovery.plugins.module_utils.dns.route53 import (
    Check,
    Holding,
    possible,
    record_set,
)
from ansible_collections.platform.recovery.plugins.module_utils.errors import PreconditionFailed

WEST, EAST = "us-west-2", "us-east-1"
VALUES = {WEST: "192.0.2.1", EAST: "198.51.100.1"}
NAME = "app.example.com."
RECORD = Record(NAME, "A", {region: frozenset({value}) for region, value in VALUES.items()})
OFF = {"disabled": True, "inverted": True}


def row(region: str, name: str = NAME, check: str | None = "own", **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"Name": name, "Type": "A", "TTL": 60, "SetIdentifier": region, **more}
    found["ResourceRecords"] = [{"Value": VALUES.get(region, region)}]
    if check:
        found["HealthCheckId"] = region if check == "own" else check
    return found


def failover(**more: Any) -> list[dict[str, Any]]:
    return [row(WEST, Failover="PRIMARY", **more), row(EAST, Failover="SECONDARY", **more)]


def weighted(west: int, east: int, **more: Any) -> list[dict[str, Any]]:
    return [row(WEST, Weight=west, **more), row(EAST, Weight=east, **more)]


def simple(value: str, name: str = NAME) -> list[dict[str, Any]]:
    return [{"Name": name, "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": value}]}]


def alias(name: str, of: str = NAME) -> dict[str, Any]:
    return {
        "Name": name,
        "Type": "A",
        "AliasTarget": {"HostedZoneId": "Z", "DNSName": of, "EvaluateTargetHealth": True},
    }


def holding(rows: list[dict[str, Any]], **checks: dict[str, Any]) -> Holding:
    sets: dict[tuple[str, str], list[Any]] = {}
    for one in map(record_set, rows):
        sets.setdefault((one.name, one.type), []).append(one)
    states = {WEST: {}, EAST: {}, "shared": {}, **{name.replace("_", "-"): state for name, state in checks.items()}}
    known = {name: Check(name, 1, **{"disabled": False, "inverted": False, **state}) for name, state in states.items()}
    return Holding("Z", {key: tuple(many) for key, many in sets.items()}, known)


@pytest.mark.parametrize(
    ("rows", "off", "expected"),
    [
        pytest.param(failover(), (), {WEST}, id="failover: the primary"),
        pytest.param(failover(), (WEST,), {EAST}, id="failover: the secondary"),
        pytest.param(failover(), (WEST, EAST), {WEST}, id="failover: the primary if none is healthy"),
        pytest.param(weighted(1, 1), (), {WEST, EAST}, id="weights: any"),
        pytest.param(weighted(100, 0), (), {WEST}, id="weights: none of weight 0"),
        pytest.param(weighted(100, 0), (WEST,), {EAST}, id="weights: one of weight 0 if no other is healthy"),
        pytest.param(weighted(100, 0), (WEST, EAST), {WEST}, id="weights: as if all were, if none is healthy"),
        pytest.param([row(WEST, Region=WEST), row(EAST, Region=EAST)], (), {WEST, EAST}, id="latency: any"),
    ],
)
def test_what_route53_may_answer(rows: list[dict[str, Any]], off: tuple[str, ...], expected: set[str]) -> None:
    sets = [record_set(one) for one in rows]
    assert {one.identifier for one in possible(sets, frozenset(off))} == expected


@pytest.mark.parametrize(
    ("rows", "target", "checks", "release", "force"),
    [
        pytest.param(failover(), EAST, {}, (), (WEST,), id="away from the primary"),
        pytest.param(failover(), EAST, {"us_west_2": OFF}, (), (), id="already"),
        pytest.param(failover(), WEST, {"us_west_2": OFF}, (WEST,), (), id="back: the secondary stays ready"),
        pytest.param(failover(), WEST, {}, (), (), id="nothing to do"),
        pytest.param(failover(), EAST, {"us_east_1": OFF}, (EAST,), (WEST,), id="released before the other is forced"),
        pytest.param(weighted(100, 0), EAST, {}, (), (WEST,), id="weights"),
        pytest.param(weighted(50, 50), WEST, {}, (), (EAST,), id="weights that share"),
        pytest.param([*failover(), alias("www.example.com.")], EAST, {}, (), (WEST,), id="an alias beside it"),
    ],
)
def test_the_least_flips(
    rows: list[dict[str, Any]], target: str, checks: dict[str, Any], release: tuple[str, ...], force: tuple[str, ...]
) -> None:
    found = flips(holding(rows, **checks), [RECORD], target)
    assert (found.release, found.force) == (release, force)


@pytest.mark.parametrize(
    ("rows", "checks", "words"),
    [
        pytest.param([], {}, "does not exist in the hosted zone", id="no such name"),
        pytest.param(simple(VALUES[WEST]), {}, "route53_records", id="one set only"),
        pytest.param(simple("203.0.113.9"), {}, "somebody else has changed it", id="values that nobody described"),
        pytest.param(failover(check=None), {}, "has no health check", id="nothing to flip"),
        pytest.param(failover(check="shared"), {}, "watches us-east-1 and another region", id="one check for both"),
        pytest.param(failover(), {"us_west_2": {"inverted": True}}, "inverted on purpose", id="an inverted one"),
        pytest.param(
            [*failover(), row(WEST, "lone.example.com.", Weight=1)],
            {},
            r"lone\.example\.com A would be left without",
            id="another name",
        ),
    ],
)
def test_what_cannot_be_flipped_is_refused(rows: list[dict[str, Any]], checks: dict[str, Any], words: str) -> None:
    with pytest.raises(PreconditionFailed, match=words):
        flips(holding(rows, **checks), [RECORD], EAST)


def test_names_that_move_beside_are_named() -> None:
    rows = [*failover(), alias("www.example.com.")]
    assert flips(holding(rows), [RECORD], EAST).beside == ("www.example.com",)


@pytest.mark.parametrize(
    ("rows", "before", "after"),
    [
        pytest.param(simple(VALUES[WEST]), VALUES[WEST], VALUES[EAST], id="values"),
        pytest.param(
            failover(),
            "192.0.2.1 (PRIMARY); 198.51.100.1 (SECONDARY)",
            "192.0.2.1 (SECONDARY); 198.51.100.1 (PRIMARY)",
            id="roles",
        ),
        pytest.param(
            weighted(100, 0),
            "192.0.2.1 (weight 100); 198.51.100.1 (weight 0)",
            "192.0.2.1 (weight 0); 198.51.100.1 (weight 100)",
            id="weights",
        ),
        pytest.param(weighted(30, 70), "192.0.2.1 (weight 30)", "192.0.2.1 (weight 0)", id="shared weights"),
    ],
)
def test_what_is_exchanged(rows: list[dict[str, Any]], before: str, after: str) -> None:
    [change] = changes(holding(rows), [RECORD], EAST)
    assert (change.before, change.after) == (before, after)
    # What is deleted is exactly what was seen: whatever anybody has changed since makes Route 53 refuse the batch.
    sent = request([change])
    assert [one["ResourceRecordSet"] for one in sent if one["Action"] == "DELETE"] == [
        one for one in rows if one in [pair[0] for pair in change.payload]
    ]
    moved = [one["ResourceRecordSet"] for one in sent if one["Action"] == "CREATE"]
    kept = [one for one in rows if one.get("SetIdentifier") not in {m.get("SetIdentifier") for m in moved}]
    assert changes(holding([*moved, *kept]), [RECORD], EAST) == []


@pytest.mark.parametrize(
    ("rows", "checks", "words"),
    [
        pytest.param(simple("203.0.113.9"), {}, "somebody else has changed it", id="values that nobody described"),
        pytest.param(failover(), {"us_east_1": OFF}, "switched off", id="the target's check is off"),
        pytest.param([row(WEST, Region=WEST), row(EAST, Region=EAST)], {}, "policy is Region", id="latency"),
        pytest.param([alias(NAME, "lb.elsewhere.example.")], {}, "outside of the zone", id="a foreign alias"),
    ],
)
def test_what_cannot_be_exchanged_is_refused(rows: list[dict[str, Any]], checks: dict[str, Any], words: str) -> None:
    with pytest.raises(PreconditionFailed, match=words):
        changes(holding(rows, **checks), [RECORD], EAST)


def test_an_alias_and_what_it_stands_for_are_one_change() -> None:
    rows = [*failover(), alias("www.example.com.")]
    records = [Record("www.example.com.", "A", RECORD.values), RECORD]
    [change] = changes(holding(rows), records, EAST)
    assert (change.what, change.names) == ("app.example.com A", ("www.example.com", "app.example.com"))


def test_batches_keep_the_limits_and_the_sets_of_a_name_together() -> None:
    names = [f"n{number}.example.com." for number in range(600)]
    rows = [{**one, "Name": name} for name in names for one in failover()]
    planned = changes(holding(rows), [Record(name, "A", RECORD.values) for name in names], EAST)
    found = list(batches(planned))
    # Two sets a name, each deleted and created: four records a name.
    assert [len(batch) for batch in found] == [250, 250, 100]
    assert [one for batch in found for one in batch] == planned


def test_long_values_make_batches_smaller() -> None:
    long = "v" * 10000
    values = {WEST: frozenset({long}), EAST: frozenset({"short"})}
    rows = [
        {"Name": f"t{n}.example.com.", "Type": "TXT", "TTL": 60, "ResourceRecords": [{"Value": long}]} for n in range(7)
    ]
    records = [Record(f"t{n}.example.com.", "TXT", values) for n in range(7)]
    assert [len(batch) for batch in batches(changes(holding(rows), records, EAST))] == [3, 3, 1]


class Checkers:
    """Answers for the status of a health check, a row at a time, as the API would; the last one stays."""

    def __init__(self, *words: str) -> None:
        self.words = list(words)

    def call(self, verb: str, **words: Any) -> dict[str, Any]:
        assert (verb, words) == ("get_health_check_status", {"HealthCheckId": "hc"})
        said = self.words.pop(0) if len(self.words) > 1 else self.words[0]
        return {"HealthCheckObservations": [{"StatusReport": {"Status": said}}]}


CHECK = Check("hc", 1, disabled=False, inverted=False, config={"Type": "HTTP"})


def test_a_target_that_was_mended_a_moment_ago_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route53, "POLL_SECONDS", 0.01)
    route53.require_healthy(Checkers("Failure: x", "Failure: x", "Success: y"), [CHECK], "east", 5)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [0, 0.05])
def test_a_target_that_stays_unhealthy_is_refused(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route53, "POLL_SECONDS", 0.01)
    with pytest.raises(PreconditionFailed, match="Route 53 takes east for unhealthy") as refused:
        route53.require_healthy(Checkers("Failure: x"), [CHECK], "east", seconds)  # type: ignore[arg-type]
    assert refused.value.observed == "0 of 1 checkers reach it: Failure: x"
