# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Route 53 as both of its providers see it: record sets, health checks, and what it would answer."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import BadInput, PreconditionFailed, StepTimeout
from ..waiting import wait_until
from .aws import Aws, client
from .model import Record, Zone, absolute, normal, short

# The one region from which Route 53's API is served.
REGION = "us-east-1"
PAGE = "300"
POLL_SECONDS = 0.5
# How many aliases may lead from one to the next.
DEEPEST = 8
Key = tuple[str, str]


@dataclass(frozen=True)
class RecordSet:
    """One record set: its values or what it is an alias of, and by which policy Route 53 chooses it."""

    name: str
    type: str
    values: frozenset[str]
    identifier: str | None = None
    failover: str | None = None
    weight: int | None = None
    check: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_alias(self) -> bool:
        """Tell whether it stands for another name."""
        return "AliasTarget" in self.raw

    @property
    def policy(self) -> str:
        """Name how it is chosen among its kind."""
        for word in ("Failover", "Weight", "Region", "GeoLocation", "MultiValueAnswer"):
            if word in self.raw:
                return word
        return "Simple"


@dataclass(frozen=True)
class Check:
    """A health check, and whether it is switched off so that Route 53 takes what it watches for unhealthy."""

    id: str
    version: int
    disabled: bool
    inverted: bool
    config: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def forced_off(self) -> bool:
        """Tell whether it says unhealthy whatever happens: a disabled check is healthy, inverted it is not."""
        return self.disabled and self.inverted


@dataclass(frozen=True)
class Holding:
    """What a hosted zone holds, by name and type, and all health checks of the account."""

    zone_id: str
    sets: Mapping[Key, tuple[RecordSet, ...]]
    checks: Mapping[str, Check]

    def of(self, key: Key) -> tuple[RecordSet, ...]:
        """Give the record sets that decide about a name, those of another name if it is a plain alias of that."""
        for _ in range(DEEPEST):
            found = self.sets.get(key, ())
            if len(found) != 1 or not found[0].is_alias or found[0].policy != "Simple":
                return found
            [target] = found[0].values
            if (target, key[1]) not in self.sets:
                return found
            key = (target, key[1])
        return ()

    def off(self) -> frozenset[str]:
        """Name the checks that are forced off."""
        return frozenset(check.id for check in self.checks.values() if check.forced_off)


def opened(zone: Zone, deadline: float) -> Aws:
    """Give the API of a zone's account."""
    return Aws(client("route53", zone.account, REGION, zone.settings.get("endpoint_url")), "Route 53", deadline)


def read(api: Aws, zone: Zone) -> Holding:
    """Read a hosted zone and the health checks. Raises BadInput, StepFailed."""
    found = zone.settings.get("zone_id") or find_zone(api, zone.name)
    sets: dict[Key, dict[str, RecordSet]] = {}
    for row in _record_rows(api, found):
        one = record_set(row)
        # Pages may overlap where several sets share a name.
        sets.setdefault((one.name, one.type), {})[one.identifier or ""] = one
    checks = [check_of(row) for row in _check_rows(api)]
    return Holding(found, {key: tuple(many.values()) for key, many in sets.items()}, {one.id: one for one in checks})


def find_zone(api: Aws, name: str) -> str:
    """Find the public hosted zone of this name. Raises BadInput."""
    rows = api.call("list_hosted_zones_by_name", DNSName=name)["HostedZones"]
    found = [
        row["Id"] for row in rows if absolute(row["Name"]) == name and not row.get("Config", {}).get("PrivateZone")
    ]
    if len(found) == 1:
        return str(found[0]).rpartition("/")[2]
    raise BadInput(
        f"Route 53 has {len(found)} public hosted zones named {short(name)}",
        wanted="exactly one, or route53.zone_id in the description",
        observed=", ".join(sorted(found)) or "none",
        next_action="name the one that is meant by route53.zone_id, or correct the zone's name; nothing was touched",
    )


def _record_rows(api: Aws, zone_id: str) -> Iterator[Mapping[str, Any]]:
    position: dict[str, str] = {}
    while True:
        page = api.call("list_resource_record_sets", HostedZoneId=zone_id, MaxItems=PAGE, **position)
        yield from page["ResourceRecordSets"]
        if not page["IsTruncated"]:
            return
        words = {"Name": "NextRecordName", "Type": "NextRecordType", "Identifier": "NextRecordIdentifier"}
        position = {f"StartRecord{word}": page[key] for word, key in words.items() if page.get(key)}


def _check_rows(api: Aws) -> Iterator[Mapping[str, Any]]:
    position: dict[str, str] = {}
    while True:
        page = api.call("list_health_checks", **position)
        yield from page["HealthChecks"]
        if not page.get("IsTruncated"):
            return
        position = {"Marker": page["NextMarker"]}


def record_set(row: Mapping[str, Any]) -> RecordSet:
    """Read a record set."""
    kind = row["Type"]
    alias = row.get("AliasTarget")
    given = [alias["DNSName"]] if alias else [one["Value"] for one in row.get("ResourceRecords", ())]
    return RecordSet(
        name=absolute(row["Name"].replace("\\052", "*")),
        type=kind,
        values=frozenset(alias_name(value) if alias else normal(value, kind) for value in given),
        identifier=row.get("SetIdentifier"),
        failover=row.get("Failover"),
        weight=row.get("Weight"),
        check=row.get("HealthCheckId"),
        raw=row,
    )


def alias_name(value: str) -> str:
    """Write the name of a load balancer as people describe it: Route 53's console puts a word before it."""
    return absolute(value).removeprefix("dualstack.")


def check_of(row: Mapping[str, Any]) -> Check:
    """Read a health check."""
    config = row["HealthCheckConfig"]
    return Check(
        id=row["Id"],
        version=int(row["HealthCheckVersion"]),
        disabled=bool(config.get("Disabled")),
        inverted=bool(config.get("Inverted")),
        config=config,
    )


def possible(sets: Sequence[RecordSet], off: frozenset[str]) -> frozenset[RecordSet]:
    """Give the record sets that Route 53 may answer with if just these checks are unhealthy."""
    alive = [one for one in sets if one.check not in off]
    policy = sets[0].policy if sets else "Simple"
    if policy == "Failover":
        # Where none is healthy Route 53 answers with the primary.
        order = [
            one for pool in (alive, sets) for role in ("PRIMARY", "SECONDARY") for one in pool if one.failover == role
        ]
        return frozenset(order[:1])
    if policy == "Weight":
        for pool in (alive, sets):
            some = [one for one in pool if one.weight] or pool
            if some:
                return frozenset(some)
    return frozenset(alive or sets)


def leading(record: Record, sets: Sequence[RecordSet], target: str) -> frozenset[RecordSet]:
    """Give those of a name's record sets that lead to a region."""
    return frozenset(one for one in sets if one.values == record.values.get(target))


def watching(holding: Holding, records: Iterable[Record], region: str) -> list[Check]:
    """List the health checks of the sets that lead to a region, each once."""
    sets = [one for record in records for one in leading(record, holding.of(record.key), region)]
    names = dict.fromkeys(one.check for one in sets if one.check)
    return [holding.checks[name] for name in names if name in holding.checks]


def enough(good: int, all_of_them: int) -> bool:
    """Tell whether Route 53 takes something for healthy: more than 18 percent of its checkers do."""
    return good > 0.18 * all_of_them


def status(api: Aws, check: Check) -> str | None:
    """Say what Route 53's checkers have against a check; None if they take it for healthy, or cannot be asked of it."""
    if check.disabled or check.config.get("Type") in ("CALCULATED", "CLOUDWATCH_METRIC", "RECOVERY_CONTROL"):
        return None
    rows = api.call("get_health_check_status", HealthCheckId=check.id)["HealthCheckObservations"]
    said = [str(row.get("StatusReport", {}).get("Status", "")) for row in rows]
    good = sum(text.startswith("Success") for text in said)
    if not said or enough(good, len(said)):
        return None
    return f"{good} of {len(said)} checkers reach it: {next(text for text in said if not text.startswith('Success'))}"


def require_healthy(api: Aws, checks: Iterable[Check], target: str, seconds: float = 0.0) -> None:
    """Refuse a target that Route 53 would not answer with, however well it answers us. Raises PreconditionFailed.

    Its checkers look every 10 or 30 seconds: one mended a moment ago is unhealthy until they have looked again.
    """
    until = time.monotonic() + seconds
    for check in checks:
        said: list[str | None] = []

        def healthy(check: Check = check, said: list[str | None] = said) -> bool:
            said.append(status(api, check))
            return said[-1] is None

        try:
            wait_until(healthy, seconds=max(0.0, until - time.monotonic()), interval=POLL_SECONDS)
        except StepTimeout:
            raise PreconditionFailed(
                f"Route 53 takes {target} for unhealthy",
                wanted=f"health check {check.id} is healthy, else names would have no healthy answer",
                observed=said[-1],
                next_action=f"mend {target}, or correct what the health check asks, then run again",
                gate=f"health check {check.id}",
            ) from None
