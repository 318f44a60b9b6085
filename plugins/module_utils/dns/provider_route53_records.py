# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Route 53, by its record sets: values, failover roles or weights are exchanged.

Each change deletes exactly what was seen and creates what is wanted, in one batch that Route 53 makes whole or not at
all. So what somebody else changed in between is noticed, and never overwritten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import StepFailed
from . import route53
from .model import Change, Record, Zone, short, shown
from .provider import Conflict, Provider, Work, impossible, unknown
from .route53 import Holding, RecordSet

# What one batch may hold: records, and characters in their values.
MOST_RECORDS, MOST_CHARACTERS = 1000, 32000
FULL_WEIGHT = 100
Row = dict[str, Any]


def changes(holding: Holding, records: Sequence[Record], target: str) -> list[Change]:
    """Plan every name. Raises PreconditionFailed."""
    found: dict[route53.Key, Change] = {}
    names: dict[route53.Key, list[str]] = {}
    for record in records:
        sets = holding.of(record.key)
        if not sets:
            mend = "create it, or take it out of the description"
            raise impossible(record, "it does not exist in the hosted zone", mend)
        key = (sets[0].name, sets[0].type)
        names.setdefault(key, []).append(short(record.name))
        if key not in found:
            pairs = exchanged(record, sets, target)
            require_answer(record, sets, pairs, holding.off(), target)
            if pairs:
                found[key] = Change(f"{short(key[0])} {key[1]}", *words(pairs), (), pairs)
    return [Change(one.what, one.before, one.after, tuple(names[key]), one.payload) for key, one in found.items()]


def exchanged(record: Record, sets: Sequence[RecordSet], target: str) -> list[tuple[Row, Row]]:
    """Give the sets of a name that have to be replaced, each with what replaces it. Raises PreconditionFailed."""
    policy = sets[0].policy
    if policy == "Simple":
        return values_exchanged(record, sets[0], target)
    ours = route53.leading(record, sets, target)
    if len(ours) != 1:
        raise impossible(record, f"{len(ours)} sets of it lead to {target}", f"let exactly one set lead to {target}")
    [own] = ours
    if policy == "Failover":
        if own.failover == "PRIMARY":
            return []
        others = {"PRIMARY": "SECONDARY", "SECONDARY": "PRIMARY"}
        return [(dict(one.raw), {**one.raw, "Failover": others[str(one.failover)]}) for one in sets]
    if policy == "Weight":
        full = max((one.weight or 0 for one in sets), default=0) or FULL_WEIGHT
        wanted = {one: (one.weight or full) if one is own else 0 for one in sets}
        return [
            (dict(one.raw), {**one.raw, "Weight": weight}) for one, weight in wanted.items() if one.weight != weight
        ]
    mend = "use the provider route53_health_checks for this zone"
    raise impossible(record, f"its routing policy is {policy}", mend)


def values_exchanged(record: Record, one: RecordSet, target: str) -> list[tuple[Row, Row]]:
    """Exchange the values of a record set that is the only one of its name."""
    if one.is_alias:
        mend = "give it a failover set a region, or describe the name that it stands for"
        raise impossible(record, f"it is an alias of {shown(one.values)}, outside of the zone", mend)
    if record.region_of(one.values) is None:
        raise unknown(record, one.values, target)
    wanted = record.values.get(target, frozenset())
    if one.values == wanted:
        return []
    rows = [{"Value": value} for value in sorted(wanted)]
    return [(dict(one.raw), {**one.raw, "ResourceRecords": rows})]


def require_answer(
    record: Record, sets: Sequence[RecordSet], pairs: Sequence[tuple[Row, Row]], off: frozenset[str], target: str
) -> None:
    """Refuse an exchange after which Route 53 would answer with another region all the same."""
    replaced = {before.get("SetIdentifier"): route53.record_set(after) for before, after in pairs}
    after = [replaced.get(one.identifier, one) for one in sets]
    if not route53.possible(after, off) <= route53.leading(record, after, target):
        why = f"its health check in {target} is switched off"
        raise impossible(record, why, "run with the provider route53_health_checks, which switches it on again")


def words(pairs: Sequence[tuple[Row, Row]]) -> tuple[str, str]:
    """Say what is before and after."""
    before, after = ("; ".join(said(route53.record_set(pair[at])) for pair in pairs) for at in (0, 1))
    return before, after


def said(one: RecordSet) -> str:
    """Say what a record set is."""
    role = {"Failover": one.failover, "Weight": f"weight {one.weight}"}.get(one.policy)
    return f"{shown(one.values)} ({role})" if role else shown(one.values)


def batches(planned: Sequence[Change]) -> Iterator[list[Change]]:
    """Put changes into as few requests as Route 53 allows; all sets of a name stay together."""
    batch: list[Change] = []
    records = characters = 0
    for change in planned:
        rows = [row for pair in change.payload for row in pair]
        values = [str(one["Value"]) for row in rows for one in row.get("ResourceRecords", ())]
        count, length = max(len(values), len(rows)), sum(map(len, values))
        if batch and (records + count > MOST_RECORDS or characters + length > MOST_CHARACTERS):
            yield batch
            batch, records, characters = [], 0, 0
        batch.append(change)
        records, characters = records + count, characters + length
    if batch:
        yield batch


def request(batch: Sequence[Change]) -> list[Mapping[str, Any]]:
    """Write a batch for the API: what is, goes, before anything comes."""
    pairs = [pair for change in batch for pair in change.payload]
    gone = [{"Action": "DELETE", "ResourceRecordSet": before} for before, _ in pairs]
    return gone + [{"Action": "CREATE", "ResourceRecordSet": after} for _, after in pairs]


class Records(Provider):
    """See above."""

    def __init__(self, zone: Zone, work: Work) -> None:
        super().__init__(zone, work)
        self._api = route53.opened(zone, work.deadline)
        self._zone_id = ""

    def plan(self, target: str) -> list[Change]:
        """Read the zone."""
        holding = route53.read(self._api, self.zone)
        self._zone_id = holding.zone_id
        planned = changes(holding, self.zone.records, target)
        if planned:
            watched = route53.watching(holding, self.zone.records, target)
            route53.require_healthy(self._api, watched, target, self.work.healthy_seconds)
        return planned

    def apply(self, changes: Sequence[Change]) -> None:
        """Send the batches."""
        for batch in batches(changes):
            self.work.guard()
            content = {"Comment": "platform.recovery", "Changes": request(batch)}
            try:
                self._api.call("change_resource_record_sets", HostedZoneId=self._zone_id, ChangeBatch=content)
                self.work.changed = True
            except StepFailed as error:
                if error.fields.get("code") != "InvalidChangeBatch":
                    raise
                raise Conflict(
                    f"Records of {short(self.zone.name)} were changed by somebody else",
                    wanted="the records as they were when the plan was made",
                    observed=error.observed,
                    next_action="see who changes them, then run the same again",
                ) from None
