# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Move the objects of many stores to a region: look, plan, shut, drain, reverse, and compare both sides."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

from ..errors import BadInput, RecoveryError, StepFailed, StepTimeout
from ..side_by_side import at_once, one_at_a_time
from ..waiting import wait_until
from . import api, listing
from .api import Unreachable
from .decide import FAILOVER, Request, Seen, Step, Verb, plan, require
from .listing import Comparison, Found
from .model import Store, wrong
from .provider import ARRIVALS, WRITES, Provider, Side
from .provider_aws import AWS
from .provider_minio import MinIO

PROVIDERS: Mapping[str, Callable[..., Provider]] = {"minio": MinIO, "aws": AWS}
POLL_SECONDS = 0.2
# How often what does not arrive is asked for, which makes its store try again.
TOUCH_SECONDS = 1.0
# What has not arrived for so long is replicated anew.
CATCH_UP_SECONDS = 5.0
# A failover waits only so long for what may still arrive from a side that answers.
LAST_SECONDS = 5.0


@dataclass
class Outcome:
    """What became of one store."""

    store: str
    target: str
    other: str
    steps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    next_actions: list[str] = field(default_factory=list)
    versions: int | None = None
    markers: int | None = None
    lost: Found | None = None  # None: it cannot be known
    lost_seconds: float | None = None
    how: str = ""
    drain_seconds: float | None = None
    protected: bool = False
    behind: int | None = None
    discarded: int = 0
    primary: bool = False
    changed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Give it as a task's result carries it."""
        rows = self.lost.rows if self.lost else []
        return {
            "primary": self.target if self.primary else None,
            "steps": self.steps,
            "versions": self.versions,
            "delete_markers": self.markers,
            "rpo": {
                "lost": self.lost.count if self.lost else None,
                "seconds": None if self.lost_seconds is None else round(self.lost_seconds, 3),
                "how": self.how,
            },
            "never_arrived": [row.as_dict() for row in rows],
            "drain_seconds": None if self.drain_seconds is None else round(self.drain_seconds, 3),
            "protected": self.protected,
            "behind": self.behind,
            "discarded": self.discarded,
        }


class Move:
    """The work on one store."""

    def __init__(self, store: Store, request: Request) -> None:
        self.store, self.request = store, request
        self.deadline = time.monotonic() + request.timeout_seconds
        other = store.other(request.target)
        made = PROVIDERS[store.provider]
        self.target = made(store, store.members[request.target])
        self.other = made(store, other, lost=other.region in request.lost_regions)
        self.outcome = Outcome(store.name, request.target, other.region)
        self.seen = Seen(Side(self.target.member), Side(other))
        self.steps: list[Step] = []

    def prepare(self) -> None:
        """Look at everything and plan, without touching anything. Raises RecoveryError."""
        target, other = at_once(look, [self.target, self.other])
        behind, arrived = None, None
        if target.reached and other.reached:
            behind = listing.compare(self.other.api, self.target.api)
            behind.turned = listing.confirm(behind.turned, self.other.api)
        elif target.reached and not target.primary:
            _, arrived = listing.newest(self.target.api)
        self.seen = Seen(target, other, behind, arrived)
        require(self.store, self.seen, self.request, datetime.now(timezone.utc))
        self.steps = plan(self.seen, self.request.mode)
        self.outcome.steps = [step.words for step in self.steps]
        self.outcome.primary = target.primary
        self._account(behind)

    def act(self) -> None:
        """Do what was planned. Raises RecoveryError."""
        self.outcome.steps = []
        for step in self.steps:
            self.request.guard()
            self._do(step)
            self.outcome.steps.append(step.words)
            self.outcome.changed |= step.verb is not Verb.DRAIN
        self.outcome.primary = True

    def _do(self, step: Step) -> None:
        side, verb = self._provider(step.side), step.verb
        if verb is Verb.DRAIN:
            self._drain()
        elif verb in (Verb.SHUT_WRITES, Verb.SHUT_ARRIVALS):
            side.shut(WRITES if verb is Verb.SHUT_WRITES else ARRIVALS)
        elif verb in (Verb.OPEN_WRITES, Verb.OPEN_ARRIVALS):
            if verb is Verb.OPEN_WRITES:
                self._mark()
            side.open(WRITES if verb is Verb.OPEN_WRITES else ARRIVALS)
        elif verb is Verb.LEAD:
            side.lead(self.other.member)
        elif verb is Verb.STOP:
            side.stop()
        else:
            left = side.catch_up()
            self.outcome.next_actions += [left] if left else []

    def _mark(self) -> None:
        stamp = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        for one in (self.target, self.other):
            if one is self.target or self.seen.other.reached:
                one.mark(self.request.target, stamp)

    def _provider(self, side: Side) -> Provider:
        return self.target if side.member == self.target.member else self.other

    def _drain(self) -> None:
        """Wait until the target has all that the other side has; a failover takes what comes in a moment."""
        begin = time.monotonic()
        forced = self.request.mode == FAILOVER
        if forced and not (self.seen.other.leads_to(self.target.member) and self.seen.target.arrivals):
            return  # nothing would come
        seconds = min(LAST_SECONDS, self._left()) if forced else self._left()
        try:
            wait_until(
                partial(self._arrived, self.other, self.target, [begin]),
                seconds=seconds,
                interval=POLL_SECONDS,
                describe=f"{self.target.member.words} to have all versions of {self.other.member.words}",
            )
        except StepTimeout as error:
            if not forced:
                raise self._let_in_again(error) from None
        self.outcome.drain_seconds = time.monotonic() - begin

    def _arrived(self, source: Provider, copy: Provider, touched: list[float]) -> Comparison | None:
        found = listing.compare(source.api, copy.api)
        if not found.missing.count:
            return found
        if time.monotonic() - touched[0] > TOUCH_SECONDS:
            listing.touch(source.api, found.missing.rows[: listing.PAGE])
            touched[0] = time.monotonic()
        raise StepFailed(f"{found.missing.count} versions are missing, such as {found.missing.rows[0].key}")

    def _let_in_again(self, error: StepTimeout) -> StepTimeout:
        """Undo what a switchover that cannot be finished has done."""
        opened = self.seen.other.writes
        if opened:
            self.other.open(WRITES)
            self.outcome.changed = False
        return StepTimeout(
            f"{self.target.member.words} did not get all of {self.other.member.words}",
            wanted="every version, before applications move",
            observed=error.observed,
            next_action=(
                ("writes are let in again; " if opened else "")
                + "see why replication is slow, then run the same again; or fail over and accept the loss"
            ),
        )

    def verify(self) -> None:
        """List both sides, count what never arrived, and wait until the new direction protects."""
        if not self.seen.other.reached:
            self.outcome.next_actions.append(
                f"once {self.outcome.other} answers, run the same again: it is fenced, what never arrived is listed, "
                f"and {self.store.name} is protected again"
            )
            return
        found = listing.compare(self.target.api, self.other.api)
        found.extra = listing.confirm(found.extra, self.target.api)
        self._account_reverse(found)
        if self.request.discard_unreplicated and found.extra.count:
            self._discard(found.extra)
        self._protect(found)

    def _account(self, behind: Comparison | None) -> None:
        """Say what is lost as it looks before anything is done."""
        if behind is not None:
            self.outcome.versions, self.outcome.markers = behind.versions, behind.markers
            self.outcome.behind = behind.missing.count
            self.outcome.lost, self.outcome.lost_seconds = behind.missing, span(behind.missing)
            self.outcome.how = f"versions of {self.other.member.words} that {self.target.member.words} does not have"
            return
        self.outcome.how = f"{self.other.member.words} cannot be asked ({self.seen.other.trouble})"
        if self.seen.arrived:
            age = (datetime.now(timezone.utc) - self.seen.arrived).total_seconds()
            self.outcome.lost_seconds = age
            stamp = self.seen.arrived.isoformat(timespec="milliseconds")
            self.outcome.how += f"; at most what was written after {stamp}, when the newest that arrived was written"

    def _account_reverse(self, found: Comparison) -> None:
        """Say what is lost when all is done: what only the former primary has."""
        self.outcome.versions, self.outcome.markers = found.versions, found.markers
        self.outcome.behind = found.missing.count
        self.outcome.lost, self.outcome.lost_seconds = found.extra, span(found.extra)
        self.outcome.how = f"versions that only {self.other.member.words} has, by a list of both sides"
        if found.extra.count:
            self.outcome.next_actions.append(
                f"look at the {found.extra.count} versions that only {self.other.member.words} has: copy what is "
                f"wanted to {self.target.member.words}; before a switchover back, give the rest up with "
                f"discard_unreplicated and a reason"
            )
        if found.different.count:
            self.outcome.notes.append(
                f"{found.different.count} versions have other contents on both sides, such as "
                f"{found.different.rows[0].key}"
            )

    def _discard(self, extra: Found) -> None:
        """Remove what only the former primary has. What was kept in the list is removed; another run does the rest."""
        if self.other.is_open(WRITES):
            return  # it is none of ours
        self.request.guard()
        listing.discard(self.other.api, extra.rows)
        self.outcome.discarded = len(extra.rows)
        self.outcome.changed = True
        self.outcome.next_actions.clear()

    def _protect(self, first: Comparison) -> None:
        """Wait until all that the target held at the first look has arrived on the other side."""
        begin = time.monotonic()
        known, asked = first.newest, False

        def protected() -> Comparison | None:
            nonlocal asked
            found = listing.compare(self.target.api, self.other.api)
            self.outcome.behind = found.missing.count
            oldest = found.missing.oldest
            if oldest is None or (known is not None and oldest > known):
                return found
            waited = time.monotonic() - begin
            if waited > TOUCH_SECONDS:
                listing.touch(self.target.api, found.missing.rows[: listing.PAGE])
            if waited > CATCH_UP_SECONDS and not asked:
                # The other side may have come back empty: its copies of then count as sent.
                asked = True
                left = self.target.catch_up()
                self.outcome.next_actions += [left] if left else []
            return None

        if not first.missing.count:
            self.outcome.protected = True
            return
        try:
            wait_until(protected, seconds=self._left(), interval=POLL_SECONDS, describe="the other side to catch up")
            self.outcome.protected = True
        except StepTimeout:
            self.outcome.next_actions.append(
                f"{self.outcome.behind} versions have not arrived in {self.other.member.words} yet: run the same again "
                f"to see whether they have"
            )

    def _left(self) -> float:
        return max(1.0, self.deadline - time.monotonic())


def span(found: Found) -> float:
    """Give the seconds from the oldest to the newest of some versions."""
    return (found.newest - found.oldest).total_seconds() if found.newest and found.oldest else 0.0


def look(provider: Provider) -> Side:
    """See how a side is; one that does not answer is data."""
    try:
        return provider.look()
    except Unreachable as error:
        return Side(provider.member, trouble=error.observed or error.what)


def move(stores: Sequence[Store], request: Request) -> list[Outcome]:
    """Move all stores to the target. Nothing is touched before every store was planned. Raises RecoveryError."""
    api.require()
    for store in stores:
        if request.target not in store.members:
            raise wrong("target", request.target, f"one of the members of {store.name}: {', '.join(store.members)}")
    if request.discard_unreplicated and not request.reason.strip():
        raise BadInput(
            "Versions are to be discarded, and no reason for it",
            wanted="a reason, which is journalled",
            next_action="give a reason and run again; nothing was touched",
        )
    # The stores are worked on side by side, and whoever is asked before each change is used to one question at a time.
    request = replace(request, guard=one_at_a_time(request.guard), passed=one_at_a_time(request.passed))
    moves = [Move(store, request) for store in stores]
    at_once(Move.prepare, moves)
    if request.check:
        for one in moves:
            one.outcome.changed = bool(one.steps)
            one.outcome.protected = one.seen.other.reached and not one.steps
        return [one.outcome for one in moves]
    failures = dict(zip((one.store.name for one in moves), at_once(finished, moves), strict=True))
    failed = {name: error for name, error in failures.items() if error}
    if failed:
        first = next(iter(failed.values()))
        first.fields["changed"] = any(one.outcome.changed for one in moves)
        raise first
    return [one.outcome for one in moves]


def finished(one: Move) -> RecoveryError | None:
    """Do what is left to do for one store; the others go on whatever becomes of it."""
    try:
        one.act()
        one.verify()
    except RecoveryError as error:
        return error
    return None


def line(outcome: Outcome, *, check: bool) -> str:
    """Say what became of a store."""
    if check:
        return f"{outcome.store}: would {'; '.join(outcome.steps) or 'do nothing'} ({loss(outcome)})"
    state = "protected" if outcome.protected else "not protected yet"
    size = (
        f", {outcome.versions} versions with {outcome.markers} delete markers" if outcome.versions is not None else ""
    )
    return f"{outcome.store}: primary is {outcome.target}{size}; {loss(outcome)}; {state} by {outcome.other}"


def loss(outcome: Outcome) -> str:
    """Say what never arrived."""
    if outcome.lost is not None:
        return f"{outcome.lost.count} versions never arrived"
    if outcome.lost_seconds is None:
        return "what never arrived cannot be known yet"
    return f"what never arrived cannot be known yet, at most that of {outcome.lost_seconds:.1f} s"
