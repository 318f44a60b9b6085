# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done, and whether it may: pure functions over what was seen of both sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from ..errors import PreconditionFailed
from .listing import Comparison
from .model import Store
from .provider import Side

SWITCHOVER, FAILOVER = "switchover", "failover"


class Verb(Enum):
    """What can be done to a side."""

    SHUT_WRITES = "let no application write to"
    DRAIN = "wait until everything has arrived in"
    OPEN_ARRIVALS = "let replication write to"
    LEAD = "replicate out of"
    OPEN_WRITES = "let applications write to"
    SHUT_ARRIVALS = "let no replication write to"
    STOP = "stop replication out of"
    CATCH_UP = "replicate anew what was written before to"


@dataclass(frozen=True)
class Step:
    """One thing to be done."""

    verb: Verb
    side: Side

    @property
    def words(self) -> str:
        """Say it."""
        return f"{self.verb.value} {self.side.member.words}"


@dataclass(frozen=True)
class Request:
    """What is wanted of all stores."""

    target: str
    mode: str = SWITCHOVER
    lost_regions: frozenset[str] = frozenset()
    reason: str = ""
    allow_data_loss: bool = False
    fence_statement: str = ""
    discard_unreplicated: bool = False
    timeout_seconds: float = 120.0
    check: bool = False
    guard: Callable[[], None] = field(default=lambda: None, repr=False)
    # Told of every gate that was passed: its name, what was seen, what was wanted, the verdict, by whom.
    passed: Callable[[str, str, str, str, str], None] = field(default=lambda *_: None, repr=False)


@dataclass(frozen=True)
class Seen:
    """Both sides of a store at one moment, and how they differ."""

    target: Side
    other: Side
    # What the other side has and the target has not, as far as the other one can be asked.
    behind: Comparison | None = None
    # Of a target alone: when the newest version was written that has arrived there.
    arrived: datetime | None = None


def plan(seen: Seen, mode: str) -> list[Step]:
    """Give what has to be done, in this order. Nothing is left to do where the target is primary and protected."""
    target, other = seen.target, seen.other
    done: Mapping[Verb, bool] = {
        Verb.SHUT_WRITES: not other.writes,
        Verb.DRAIN: target.primary,
        Verb.OPEN_ARRIVALS: other.arrivals,
        Verb.LEAD: target.leads_to(other.member),
        Verb.OPEN_WRITES: target.writes,
        Verb.SHUT_ARRIVALS: not target.arrivals,
        Verb.STOP: other.way is None,
        # Whoever was written to before it replicated has something to send.
        Verb.CATCH_UP: not target.writes or target.leads_to(other.member),
    }
    of_other = {Verb.SHUT_WRITES, Verb.OPEN_ARRIVALS, Verb.STOP}
    if not other.reached:
        order = [Verb.SHUT_ARRIVALS, Verb.OPEN_WRITES]
    elif mode == SWITCHOVER and not target.primary:
        # Nothing is cut before its successor works.
        order = [Verb.SHUT_WRITES, Verb.DRAIN, Verb.OPEN_ARRIVALS, Verb.LEAD]
        order += [Verb.OPEN_WRITES, Verb.SHUT_ARRIVALS, Verb.STOP, Verb.CATCH_UP]
    else:
        # What the other side still sends would mix with what the target is given from now on.
        order = [Verb.SHUT_WRITES, Verb.DRAIN, Verb.SHUT_ARRIVALS, Verb.STOP, Verb.OPEN_WRITES]
        order += [Verb.OPEN_ARRIVALS, Verb.LEAD, Verb.CATCH_UP]
    return [Step(verb, other if verb in of_other else target) for verb in order if not done[verb]]


def require(store: Store, seen: Seen, request: Request, now: datetime) -> None:
    """Refuse what is not safe. Raises PreconditionFailed."""
    target, other = seen.target, seen.other
    if not target.reached:
        raise refusal(
            store,
            f"{target.member.words} does not answer, so nothing can move there",
            target.trouble or "",
            "an answer of the target",
            f"mend {request.target} or choose another target, then run again",
        )
    for side in (target, other):
        if side.reached and not side.versioned:
            raise refusal(
                store,
                f"{side.member.words} keeps no versions",
                "versioning is not enabled",
                "versioning on both sides",
                "enable versioning of the bucket, then run again",
            )
    if target.primary and not other.reached:
        return
    if not other.reached:
        require_lost(store, seen, request)
        require_bound(store, seen, request, now)
    elif not target.primary:
        require_complete(store, seen, request, now)


def require_lost(store: Store, seen: Seen, request: Request) -> None:
    """Refuse to go on without the other side unless somebody answers for it."""
    other = seen.other
    if request.mode != FAILOVER:
        raise refusal(
            store,
            f"{other.member.words} does not answer, so a switchover would lose what it has not sent yet",
            other.trouble or "",
            "both sides answer",
            "mend it, or fail over: name its region as lost, with a reason",
        )
    stated = other.member.region in request.lost_regions or request.fence_statement.strip()
    if not (stated and request.reason.strip()):
        raise refusal(
            store,
            f"{other.member.words} does not answer, and nobody has said that it is lost",
            other.trouble or "",
            f"{other.member.region} among the lost regions, or a statement that it is fenced, with a reason",
            "look whether others still reach it; if it is lost, say so and run again",
        )
    request.passed(
        f"fence of {store.name}",
        f"{other.member.words}: {other.trouble}",
        "nobody writes to it",
        "override",
        f"operator: {request.fence_statement.strip() or request.reason}",
    )


def require_bound(store: Store, seen: Seen, request: Request, now: datetime) -> None:
    """Refuse when what cannot be known may be more than the objective allows."""
    age = (now - seen.arrived).total_seconds() if seen.arrived else None
    observed = "nothing has ever arrived" if age is None else f"the newest version that arrived is {age:.0f} s old"
    wanted = f"at most {store.rpo_seconds:.0f} s"
    if age is not None and age <= store.rpo_seconds:
        request.passed(f"loss of {store.name}", observed, wanted, "pass", "observation")
        return
    require_consent(store, request, observed, wanted)


def require_complete(store: Store, seen: Seen, request: Request, now: datetime) -> None:
    """Refuse to make primary what lacks something that will not come, or gives something else."""
    target, other, behind = seen.target, seen.other, seen.behind
    assert behind is not None
    if request.mode == SWITCHOVER:
        flows = other.leads_to(target.member) and target.arrivals
        if behind.missing.count and not flows:
            raise refusal(
                store,
                f"{target.member.words} lacks what {other.member.words} has, and no replication brings it",
                f"{behind.missing.count} versions, such as {behind.missing.rows[0].key}",
                "all of them, or replication of the whole bucket",
                "replicate the bucket to the target, or discard what is not wanted, then run again",
            )
        if behind.turned.count and not target.writes:
            raise refusal(
                store,
                f"{target.member.words} would give clients something else than {other.member.words}",
                f"{behind.turned.count} keys, such as {behind.turned.rows[0].key}, whose latest version only it has",
                "the same latest version of every key",
                "see what these versions are; to give them up, make the present primary the target with "
                "discard_unreplicated and a reason, then run again",
            )
        if behind.different.count:
            raise refusal(
                store,
                f"{target.member.words} has other contents than {other.member.words} below the same version",
                f"{behind.different.count} versions, such as {behind.different.rows[0].key}",
                "the same size and kind",
                "see which side is right; compare by other means",
            )
        request.passed(
            f"backlog of {store.name}",
            f"{behind.missing.count} of {behind.versions} versions have still to arrive",
            "all of them arrive before applications move",
            "pass",
            "observation",
        )
        return
    oldest = behind.missing.oldest
    age = (now - oldest).total_seconds() if oldest else 0.0
    observed = f"{behind.missing.count} versions have not arrived, the oldest is {age:.0f} s old"
    wanted = f"at most {store.rpo_seconds:.0f} s"
    if age > store.rpo_seconds:
        require_consent(store, request, observed, wanted)
    else:
        request.passed(f"loss of {store.name}", observed, wanted, "pass", "observation")


def require_consent(store: Store, request: Request, observed: str, wanted: str) -> None:
    """Refuse a loss beyond the objective unless it was allowed for this run."""
    if not (request.allow_data_loss and request.reason.strip()):
        raise PreconditionFailed(
            f"{store.name} may lose more than its objective allows",
            wanted=wanted,
            observed=observed,
            next_action="mend the other side and switch over, or allow the loss for this run, with a reason",
            gate=f"loss of {store.name}",
        )
    request.passed(f"loss of {store.name}", observed, wanted, "override", f"operator: {request.reason}")


def refusal(store: Store, what: str, observed: str, wanted: str, next_action: str) -> PreconditionFailed:
    """Refuse to move a store."""
    return PreconditionFailed(
        what, wanted=wanted, observed=observed, next_action=next_action, gate=f"store {store.name}"
    )


def summary(steps: Sequence[Step]) -> str:
    """Say steps in a line."""
    return "; ".join(step.words for step in steps) or "nothing"
