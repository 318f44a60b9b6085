# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Route 53, by its health checks: what must not be answered is declared unhealthy.

The records stay as they are. Name servers evaluate health checks themselves, in all regions, so they move names away
from a region that is lost even while the API is down; declaring it unhealthy makes sure that they do, and that they do
not go back when it heals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import PreconditionFailed, StepFailed
from ..waiting import wait_until
from . import route53
from .model import Change, Record, Zone, short
from .provider import Conflict, Provider, Work, impossible, unknown
from .route53 import Check, Holding

OTHER = "use the provider route53_records for this zone"
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Flips:
    """The health checks that have to be evaluated again, and those that have to say unhealthy."""

    release: tuple[str, ...] = ()
    force: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()  # checks of the target
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by check
    beside: tuple[str, ...] = ()  # names that move although nobody described them


def flips(holding: Holding, records: Sequence[Record], target: str) -> Flips:
    """Find the least that makes Route 53 answer with the target for certain. Raises PreconditionFailed."""
    off = holding.off()
    release: dict[str, None] = {}
    force: dict[str, None] = {}
    needed: dict[str, None] = {}
    for record in records:
        for one in ours_of(holding, record, target):
            if one.check:
                needed[one.check] = None
                if one.check in off:
                    release[one.check] = None
    off -= release.keys()
    for record in records:
        sets, ours = holding.of(record.key), ours_of(holding, record, target)
        while others := route53.possible(sets, off | force.keys()) - ours:
            stuck = [one for one in others if not one.check]
            if stuck:
                why = f"its set {stuck[0].identifier or 'without identifier'} is answered too, and has no health check"
                raise impossible(record, why, f"give every set of it a health check, or {OTHER}")
            shared = {one.check for one in others} & needed.keys()
            if shared:
                why = f"health check {min(map(str, shared))} watches {target} and another region"
                raise impossible(record, why, f"give each region a health check of its own, or {OTHER}")
            force |= {str(one.check): None for one in others}
    require_flippable(holding, force)
    names = affected(holding, [*release, *force])
    require_healthy_answers(holding, off | force.keys())
    described = {short(record.name) for record in records}
    beside = sorted({name for many in names.values() for name in many} - described)
    return Flips(tuple(release), tuple(force), tuple(needed), names, tuple(beside))


def ours_of(holding: Holding, record: Record, target: str) -> frozenset[route53.RecordSet]:
    """Give the sets of a name that lead to the target. Raises PreconditionFailed."""
    sets = holding.of(record.key)
    ours = route53.leading(record, sets, target)
    if not sets:
        raise impossible(record, "it does not exist in the hosted zone", "create it, or take it out of the description")
    if not ours:
        if len(sets) > 1:
            raise impossible(record, f"no set of it leads to {target}", f"add one, or {OTHER}")
        raise (
            unknown(record, sets[0].values, target)
            if record.region_of(sets[0].values) is None
            else impossible(record, "it has one record set only, and no health check can choose", OTHER)
        )
    return ours


def require_flippable(holding: Holding, force: Mapping[str, None]) -> None:
    """Refuse to switch off a check that is inverted already: it could not be told later how it was."""
    for name in force:
        check = holding.checks.get(name)
        if check is None or (check.inverted and not check.disabled):
            raise PreconditionFailed(
                f"Health check {name} cannot be forced to say unhealthy",
                wanted="a health check that is not inverted",
                observed="it is inverted on purpose" if check else "it does not exist",
                next_action=f"turn it into a plain one, or {OTHER}",
                gate=f"health check {name}",
            )


def require_healthy_answers(holding: Holding, off: frozenset[str]) -> None:
    """Refuse what would leave any name of the zone without a healthy answer."""
    before = holding.off()
    for (name, kind), sets in holding.sets.items():
        if all(one.check in off for one in sets) and not all(one.check in before for one in sets):
            raise PreconditionFailed(
                f"{short(name)} {kind} would be left without a healthy answer",
                wanted="every name of the zone keeps a set that is not declared unhealthy",
                observed=f"all {len(sets)} sets of it would be",
                next_action="give it a set in the target's region, or a health check of its own, then run again",
                gate=f"record {short(name)}",
            )


def affected(holding: Holding, checks: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Name what depends on each check, aliases included."""
    found: dict[str, dict[str, None]] = {name: {} for name in checks}
    for name, kind in holding.sets:
        for one in holding.of((name, kind)):
            if one.check in found:
                found[str(one.check)][short(name)] = None
    return {check: tuple(names) for check, names in found.items()}


class HealthChecks(Provider):
    """See above."""

    answers_alone = True

    def __init__(self, zone: Zone, work: Work) -> None:
        super().__init__(zone, work)
        self._api = route53.opened(zone, work.deadline)

    def plan(self, target: str) -> list[Change]:
        """Read the zone and its checks."""
        holding = route53.read(self._api, self.zone)
        found = flips(holding, self.zone.records, target)
        if found.release or found.force:
            needed = [holding.checks[name] for name in found.needed if name not in found.release]
            route53.require_healthy(self._api, needed, target, self.work.healthy_seconds)
        if found.beside:
            self.work.notes.append(
                f"{len(found.beside)} more names depend on these checks: {', '.join(found.beside[:5])}"
            )
        rows = [(name, True) for name in found.release] + [(name, False) for name in found.force]
        return [
            Change(
                what=f"health check {name}",
                before="says unhealthy" if good else "is evaluated",
                after="is evaluated" if good else "says unhealthy",
                names=found.names[name],
                payload=(holding.checks[name], good),
            )
            for name, good in rows
        ]

    def apply(self, changes: Sequence[Change]) -> None:
        """Let the target's checks be evaluated, wait until they are healthy, then switch the others off."""
        released: list[Check] = []
        for change in changes:
            check, good = change.payload
            if not good and released:
                self._wait(released)
                released = []
            self._update(check, off=not good)
            released += [check] if good else []
        self._wait(released)

    def _update(self, check: Check, *, off: bool) -> None:
        self.work.guard()
        words = {"HealthCheckId": check.id, "HealthCheckVersion": check.version, "Disabled": off, "Inverted": off}
        try:
            self._api.call("update_health_check", **words)
            self.work.changed = True
        except StepFailed as error:
            if error.fields.get("code") != "HealthCheckVersionMismatch":
                raise
            raise Conflict(
                f"Health check {check.id} was changed by somebody else",
                wanted=f"version {check.version}",
                observed=error.observed,
                next_action="run the same again",
            ) from None

    def _wait(self, checks: Sequence[Check]) -> None:
        for check in checks:
            wait_until(
                lambda check=check: route53.status(self._api, check) is None,  # type: ignore[misc]
                seconds=self.work.left(),
                interval=POLL_SECONDS,
                describe=f"health check {check.id} to be healthy",
                next_action="see what Route 53's checkers say of it, then run the same again; nothing was switched off",
            )
