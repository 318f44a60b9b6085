# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the buckets of another region could take over right now: both sides asked and compared, nothing done."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from ..errors import RecoveryError
from ..readiness import FIRST, Check, Checklist
from . import listing
from .failover import PROVIDERS
from .model import Store
from .provider import Provider, Side

ROLE = "object_storage_failover"


def checks(store: Store, target: str) -> list[Check]:
    """Make every check of one store."""
    on = Checklist(ROLE, store.name)
    if target not in store.members:
        wanted, mend = "the target is one of its members", f"describe the bucket of {target}"
        return [on.judged("target", False, f"it knows {', '.join(store.members)} only", wanted, mend)]
    found: list[Check] = []
    sides: dict[str, tuple[Provider, Side]] = {}
    for region, member in store.members.items():
        try:
            provider = PROVIDERS[store.provider](store, member)
            sides[region] = (provider, provider.look())
        except RecoveryError as error:
            found.append(on.failed(f"bucket in {region}", error))
            continue
        found += side_checks(on, sides[region][1])
    if len(sides) < len(store.members):
        wanted = "both sides answer"
        return [*found, on.judged("replication", None, "one side could not be asked", wanted, FIRST)]
    (to, there), (origin, here) = sides[target], sides[store.other(target).region]
    if there.primary:
        (to, there), (origin, here) = (origin, here), (to, there)
    found += direction_checks(on, here, there)
    return found + on.attempt("backlog", lambda: list(backlog_checks(on, store, origin, to)))


def side_checks(on: Checklist, side: Side) -> Iterator[Check]:
    """Say whether a bucket keeps versions."""
    what, wanted = f"bucket in {side.member.region}", "it answers, and keeps every version"
    seen = "it does" if side.versioned else "versioning is not enabled"
    yield on.judged(what, side.versioned, seen, wanted, f"enable versioning of {side.member.bucket}")


def direction_checks(on: Checklist, here: Side, there: Side) -> Iterator[Check]:
    """Say whether one side is primary and the other its standby."""
    wanted = f"all of {here.member.bucket} is replicated to {there.member.bucket}, delete markers too"
    seen = "it is" if here.leads_to(there.member) else "no rule does that"
    mend = "make one rule for everything, delete markers included"
    yield on.judged("replication", here.leads_to(there.member), seen, wanted, mend)
    for side, good, words in (
        (here, here.primary, ("applications may write, the other region may not", "a primary's doors")),
        (there, there.arrivals and not there.writes, ("only the other region may write", "a standby's doors")),
    ):
        seen = (
            f"applications {'may' if side.writes else 'may not'}, replication {'may' if side.arrivals else 'may not'}"
        )
        mend = (
            f"run the role with the present primary as its target: it puts the doors of {side.member.bucket} as they "
            f"have to be ({words[1]})"
        )
        yield on.judged(f"who may write to {side.member.region}", good, seen, words[0], mend)


def backlog_checks(on: Checklist, store: Store, origin: Provider, to: Provider) -> Iterator[Check]:
    """Compare both buckets."""
    found = listing.compare(origin.api, to.api)
    found.turned = listing.confirm(found.turned, origin.api)
    oldest = found.missing.oldest
    age = (datetime.now(timezone.utc) - oldest).total_seconds() if oldest else 0.0
    seen = f"{found.missing.count} of {found.versions} versions have not arrived, the oldest {age:.0f} s old"
    wanted = f"at most {store.rpo_seconds:.0f} s"
    yield on.judged("backlog", age <= store.rpo_seconds, seen, wanted, "see why replication is slow, or has stopped")
    apart = found.turned.count + found.different.count
    first = next(iter([*found.turned.rows, *found.different.rows]), None)
    seen = (
        f"{apart} keys differ, such as {first.key}" if first else f"{found.extra.count} versions only the standby has"
    )
    mend = "see what these versions are; discard_unreplicated gives up what only the standby has"
    yield on.judged("contents", not apart, seen, "both sides give the same for every key", mend)
