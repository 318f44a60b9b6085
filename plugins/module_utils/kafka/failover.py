# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Move stores of events to another region: fence the source, end the mirror, let groups go on, open the target.

What a store needs is decided by what is seen of it, so a run that was killed is finished by the next one. The target
takes its first write last: until then the groups may be moved, and what was mirrored may be counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from .. import service_manager, side_by_side
from ..errors import PreconditionFailed, RecoveryError, StepFailed, StepTimeout
from ..service_manager import Fence, UnitStatus
from ..waiting import wait_until
from . import client, mirror
from .client import Cluster, Offsets, Unguarded, Unreachable
from .mirror import Checkpoint, Known, Names, Resume, Row, Sync, resume
from .model import MARK, Place, Store

Mode = Literal["switchover", "failover"]
POLL_SECONDS = 0.1
# The last record may have been allowed just before writes were forbidden: for so long nothing may come any more.
SETTLE_SECONDS = 0.5
# Offsets without a record (a transaction's end) are never mirrored: what stands still for so long is looked at.
STILL_SECONDS = 2.0
# A store may have many brokers and mirrors, each asked by ssh.
at_once = partial(side_by_side.at_once, most=16)


@dataclass(frozen=True)
class Request:
    """What is wanted of all stores."""

    target: str
    mode: Mode = "switchover"
    lost_regions: frozenset[str] = frozenset()
    allow_data_loss: bool = False
    fence_statement: str = ""
    failed_at: float | None = None
    timeout_seconds: float = 60.0
    connect_seconds: float = 3.0
    stop_seconds: float = 20.0
    drain_seconds: float = 5.0
    check: bool = False
    guard: Callable[[], None] = field(default=lambda: None, repr=False)
    # Told of every gate that was passed, before anything is changed: its name, what was seen, what was wanted.
    passed: Callable[[str, str, str], None] = field(default=lambda *_: None, repr=False)


@dataclass(frozen=True)
class Seen:
    """A cluster as it answered, or why it did not. `closed` is None where nothing there can be forbidden."""

    trouble: str = ""
    topics: Mapping[str, int] = field(default_factory=dict)
    closed: bool | None = None

    @property
    def answers(self) -> bool:
        """Tell whether it answered."""
        return not self.trouble


@dataclass(frozen=True)
class Units:
    """The service managers' word on the units of both regions."""

    brokers: Mapping[Fence, UnitStatus]  # of the source
    back: Mapping[Fence, UnitStatus]  # the mirrors into the source
    forth: Mapping[Fence, UnitStatus]  # the mirrors into the target

    @property
    def source_stopped(self) -> bool:
        """Tell whether the source is proven stopped for good."""
        return fenced(self.brokers) and all(unit.fenced for unit in self.back.values())


def fenced(units: Mapping[Fence, UnitStatus]) -> bool:
    """Tell whether there are units, and all of them are stopped and cannot come back by themselves."""
    return bool(units) and all(unit.fenced for unit in units.values())


def words(units: Mapping[Fence, UnitStatus]) -> str:
    """Say how units are."""
    return "; ".join(f"{fence.host}: {unit.observed}" for fence, unit in units.items()) or "no unit is described"


@dataclass(frozen=True)
class Part:
    """One partition: where the source ended, up to where it was brought, where the target ends, and what is missing."""

    source_end: int | None
    mirrored: int
    target_end: int
    lost: int | None

    def as_dict(self) -> dict[str, Any]:
        """Give it as a task's result carries it."""
        return {
            "source_end": self.source_end,
            "mirrored": self.mirrored,
            "target_end": self.target_end,
            "lost": self.lost,
        }


@dataclass(frozen=True)
class Group:
    """Where one group goes on."""

    resumes: tuple[Resume, ...]
    busy: bool = False

    @property
    def moves(self) -> dict[Place, int]:
        """Give the offsets that have to be changed; those of members are their own."""
        return {} if self.busy else {one.place: one.offset for one in self.resumes if one.changes}

    def as_dict(self) -> dict[str, Any]:
        """Give it as a task's result carries it."""
        return {
            "offsets": {key(one.place): one.offset for one in self.resumes},
            "moved": sorted(key(place) for place in self.moves),
            "duplicates": 0 if self.busy else sum(one.duplicates for one in self.resumes),
            "busy": self.busy,
        }


@dataclass
class Outcome:
    """What became of one store."""

    store: str
    source: str
    changes: list[tuple[str, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    next_actions: list[str] = field(default_factory=list)
    parts: dict[Place, Part] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    seconds_lost: float | None = None
    loss: str = ""
    fence: str = ""
    mirrors_back: bool = False
    changed: bool = False
    outage_seconds: float | None = None

    @property
    def lost(self) -> int | None:
        """Count what never arrived; None where nobody knows."""
        counts = [part.lost for part in self.parts.values()]
        return None if any(count is None for count in counts) else sum(filter(None, counts))

    def as_dict(self) -> dict[str, Any]:
        """Give it as a task's result carries it."""
        return {
            "source": self.source,
            "changed": self.changed,
            "changes": [{"what": what, "before": before, "after": after} for what, before, after in self.changes],
            "partitions": {key(place): part.as_dict() for place, part in sorted(self.parts.items())},
            "groups": {name: group.as_dict() for name, group in sorted(self.groups.items())},
            "duplicates": sum(group.as_dict()["duplicates"] for group in self.groups.values()),
            "fence": self.fence,
            "mirrors_back": self.mirrors_back,
            "closed_seconds": None if self.outage_seconds is None else round(self.outage_seconds, 3),
            "rpo": {"lost": self.lost, "seconds": self.seconds_lost, "how": self.loss},
        }


def key(place: Place) -> str:
    """Name a partition."""
    return f"{place.topic}/{place.partition}"


class Move:
    """The work on one store."""

    def __init__(self, store: Store, request: Request) -> None:
        self.store, self.request = store, request
        self.into, self.out_of = store.members[request.target], store.source_of(request.target)
        self.target, self.source = (
            Cluster(member, store.security, store.account, request.connect_seconds)
            for member in (self.into, self.out_of)
        )
        self.names = Names(self.out_of.alias)
        self.logs: dict[str, tuple[dict[Place, int], list[Row]]] = {}
        self.outcome = Outcome(store.name, self.out_of.region)
        self.there, self.here = Seen(), Seen()
        self.units = Units({}, {}, {})
        # Where the groups are in the source, asked while it still answers.
        self.positions: dict[str, dict[Place, int]] | None = None
        self.begin = time.monotonic()

    # ---- look

    def prepare(self) -> None:
        """Look at everything and decide, without touching anything. Raises RecoveryError."""
        with ThreadPoolExecutor(max_workers=3) as pool:
            looks = [pool.submit(look, cluster) for cluster in (self.source, self.target)]
            asked = pool.submit(self._units)
            self.there, self.here = (one.result() for one in looks)
            self.units = asked.result()
        self._require_target()
        if self.request.mode == "failover":
            if not self.taken_over:
                self._require_loss()
            self._require_fence()
        if not self.taken_over:
            if self.request.mode == "switchover":
                self._require_source()
            self._require_mirror()
            self._bound_loss()
            self._ask_positions()
        self._plan()

    def _units(self) -> Units:
        seconds = self.request.connect_seconds + 1
        many = [*self.out_of.brokers, *self.out_of.mirrors, *self.into.mirrors]
        found = dict(
            zip(many, at_once(lambda fence: service_manager.status(fence, seconds=seconds), many), strict=True)
        )
        return Units(*({fence: found[fence] for fence in kind} for kind in self._kinds))

    @property
    def _kinds(self) -> tuple[Sequence[Fence], Sequence[Fence], Sequence[Fence]]:
        return self.out_of.brokers, self.out_of.mirrors, self.into.mirrors

    @property
    def taken_over(self) -> bool:
        """Tell whether the target has taken over already: it is open, and nothing is mirrored into it any more.

        Then it has its own writes, and neither is it closed again nor is anything counted that came before them.
        """
        handed = self.request.mode == "failover" or bool(self.there.closed)
        return not self.here.closed and fenced(self.units.forth) and handed

    @property
    def _reached(self) -> bool:
        """Tell whether every broker's host answers, so that it can be fenced there."""
        return bool(self.units.brokers) and all(unit.answered for unit in self.units.brokers.values())

    # ---- gates

    def _refuse(self, gate: str, what: str, wanted: str, observed: str, next_action: str) -> PreconditionFailed:
        return PreconditionFailed(
            f"{self.store.name}: {what}",
            wanted=wanted,
            observed=observed,
            next_action=next_action,
            gate=f"{gate} of {self.store.name}",
        )

    def _passed(self, gate: str, observed: str, wanted: str) -> None:
        self.request.passed(f"{gate} of {self.store.name}", observed, wanted)

    def _require_target(self) -> None:
        region, wanted = self.request.target, "the brokers of the target answer"
        if not self.here.answers:
            raise self._refuse(
                "target",
                f"Kafka of {region} does not answer, so nothing may be moved there",
                wanted,
                self.here.trouble,
                f"mend Kafka of {region}, or the way to it, then run again",
            )
        self._passed("target", f"{region} answers", wanted)

    def _require_source(self) -> None:
        region, wanted = self.out_of.region, "the source answers and can be closed for writes"
        if not self.there.answers:
            raise self._refuse(
                "source",
                f"Kafka of {region} does not answer, so nobody can prove that nothing is lost",
                wanted,
                self.there.trouble,
                "use recovery_mode=failover if the region is lost",
            )
        if self.there.closed is None:
            raise self._refuse(
                "source",
                f"writes to Kafka of {region} cannot be forbidden",
                wanted,
                "it has no authorizer",
                "set authorizer.class.name on its brokers, then run again",
            )
        self._passed("source", f"{region} answers and has an authorizer", wanted)

    def _require_loss(self) -> None:
        region, wanted = self.out_of.region, "no answer of the source, or the operator's word that its region is lost"
        if self.there.answers and region not in self.request.lost_regions and not self.there.closed:
            raise self._refuse(
                "loss",
                f"Kafka of {region} answers, and a failover would cut it off",
                wanted,
                f"{', '.join(self.out_of.bootstrap)} answers",
                f"use recovery_mode=switchover to move it without loss, or name {region} as lost",
            )
        self._passed("loss", self.there.trouble or f"{region} is named as lost", wanted)

    def _require_fence(self) -> None:
        wanted = "a way to stop the source's brokers for good, rights that forbid writes there, or a statement"
        seen = f"Kafka: {self.there.trouble or 'answers'}; hosts: {words(self.units.brokers)}"
        closable = self.there.answers and self.there.closed is not None
        if self._reached or closable:
            return self._passed("fence", seen, wanted)
        if self.request.fence_statement:
            said = f"{seen}; statement: {self.request.fence_statement}"
            return self._passed("fence", said, wanted)
        raise self._refuse(
            "fence",
            f"Kafka of {self.out_of.region} is not proven stopped, and nobody states that it is",
            wanted,
            f"{seen}; statement: none",
            f"stop and mask the brokers of {self.out_of.region} by any means; if no channel can prove it, give "
            "recovery_fence_statement with a recovery_reason",
        )

    def _require_mirror(self) -> None:
        region, wanted = self.request.target, "a way to stop what mirrors into the target"
        seen = words(self.units.forth)
        if not self.units.forth or not all(unit.answered for unit in self.units.forth.values()):
            raise self._refuse(
                "mirror",
                f"what mirrors into {region} cannot be stopped, so records of the old source could come later",
                wanted,
                seen,
                f"describe the units of the mirrors into {region}, and mend the way to their hosts",
            )
        runs = any(unit.alive for unit in self.units.forth.values())
        if self.request.mode == "switchover" and not runs and not self.there.closed:
            raise self._refuse(
                "mirror",
                f"nothing mirrors into {region}, so what is written now would never come there",
                "a mirror that runs",
                seen,
                f"start the mirror into {region}, then run again",
            )
        self._passed("mirror", seen, wanted)

    def _bound_loss(self) -> None:
        """Hold the loss against the objective as far as it is known before; a forced failover may not wait for more."""
        if self.request.mode == "switchover":
            return
        beat = self.target.newest(self.names.heartbeats, self.here.topics)
        until = self.request.failed_at or time.time()
        bound = None if beat is None else max(0.0, round(until - beat, 3))
        since = "the stated end of writes" if self.request.failed_at else "now"
        self.outcome.seconds_lost = bound
        self.outcome.loss = (
            "nobody tells how old the newest mirrored record is: no heartbeat of the source was mirrored"
            if bound is None
            else f"at most what was written in the {bound:g} s from the newest mirrored heartbeat to {since}"
        )
        most = self.store.rpo_seconds
        if most is None:
            return
        wanted = f"at most {most:g} s, or recovery_allow_data_loss"
        if (bound is None or bound > most) and not self.request.allow_data_loss:
            raise self._refuse(
                "data loss",
                "more may be lost than the objective allows",
                wanted,
                self.outcome.loss,
                "say by failed_at when writes ended if that was earlier, or accept the loss by "
                "recovery_allow_data_loss with a recovery_reason",
            )
        self._passed("data loss", self.outcome.loss, wanted)

    # ---- plan

    def _change(self, what: str, before: str, after: str) -> None:
        self.outcome.changes.append((f"{self.store.name}: {what}", before, after))

    def _plan(self) -> None:
        """Say what would be done."""
        if self.there.answers and self.there.closed is False:
            self._change(f"writes and groups in {self.out_of.region}", "allowed", "forbidden")
        ended = [self.units.forth, *((self.units.brokers, self.units.back) if self.request.mode == "failover" else ())]
        for kind in ended:
            for fence, unit in kind.items():
                if unit.answered and not unit.fenced:
                    self._change(f"{fence.unit} at {fence.host}", unit.observed, "stopped and masked")
        self._look_at_groups()
        for name, group in self.outcome.groups.items():
            self._plan_group(name, group)
        if self.here.closed:
            self._change(f"writes and groups in {self.request.target}", "forbidden", "allowed")
        if self.request.mode == "switchover":
            for fence, unit in self.units.back.items():
                if not unit.alive:
                    self._change(f"{fence.unit} at {fence.host}", unit.observed, "mirrors back")
        if self.request.check:
            self._count_parts()
            self.outcome.fence = self._fence_words()

    def _plan_group(self, name: str, group: Group) -> None:
        """Say where a group would go on."""
        moves = group.moves
        if moves:
            former = {one.place: one.former for one in group.resumes}
            before, after = (
                ", ".join(f"{key(place)} {'nowhere' if at is None else at}" for place, at in sorted(rows.items()))
                for rows in ({place: former[place] for place in moves}, moves)
            )
            self._change(f"group {name} in {self.request.target}", before, after)

    # ---- act

    def act(self) -> None:
        """Do what is missing. Raises RecoveryError."""
        if self.taken_over:
            return self._complete()
        if self.here.closed is False:
            # Whatever ends this run before the groups are moved, none goes on too early or too late.
            self._touch()
            self.target.close()
        self.begin = time.monotonic()
        if self.request.mode == "switchover":
            self._hand_over()
        else:
            self._cut_off()
        self._move_groups()
        self._forget_mirror()
        if self.request.mode == "switchover":
            self._prepare_back()
        self._leave_mark()
        if self.here.closed is not None:
            self._touch()
            self.target.open()
        self.outcome.outage_seconds = time.monotonic() - self.begin
        if self.request.mode == "switchover":
            self._mirror_back()
        return None

    def _complete(self) -> None:
        """Do what a run that was killed has left, or what could not be done before the source's hosts answered."""
        if self.request.mode == "failover":
            self._fence_source()
        self.outcome.fence = self._fence_words()
        self._move_groups()
        self._count_parts()
        self.outcome.loss = "the target had taken over before: what was lost was counted by the run that moved it"
        if self.request.mode == "switchover":
            self._mirror_back()

    def _touch(self) -> None:
        """Ask whether this run may still change something, before it does."""
        self.request.guard()
        self.outcome.changed = True

    def _hand_over(self) -> None:
        """Close the source, let the mirror bring the rest, end the mirror. What fails in between opens it again."""
        if not self.there.closed:
            self._touch()
            self.source.close()
        try:
            ends = self._drain(self.request.timeout_seconds)
            # It leaves Connect's group with a word, so that the one for the way back need not wait for it.
            self._stop(self.units.forth, "the mirror", gently=True)
            after = self.source_ends()
            if after != ends:
                raise self._failed("records came after writes were forbidden", str(after), str(ends))
            self._ask_positions()
        except RecoveryError as error:
            self._undo(error)
            raise
        self._count_parts(ends)
        self.outcome.seconds_lost = 0.0
        self.outcome.loss = (
            f"all records of {len(ends)} partitions are in {self.request.target}: the source, closed for writes, ends "
            f"where the mirror has read to"
        )
        absent = sorted(
            {place.topic for place in ends} - {place.topic for place in self.outcome.parts if self._exists(place)}
        )
        self.outcome.notes += [
            f"topic {topic} is empty and does not exist in {self.request.target}" for topic in absent
        ]
        self.there = replace(self.there, closed=True)
        self.outcome.fence = self._fence_words()

    def _undo(self, error: RecoveryError) -> None:
        """Let the applications write where they did, and mirror that again. The run after this one begins anew."""
        region = self.out_of.region
        try:
            for fence in self.units.forth:
                unit = service_manager.status(fence, seconds=self.request.connect_seconds + 1)
                if unit.answered and not unit.alive:
                    service_manager.start_again(fence, seconds=self.request.stop_seconds)
            self.source.open()
            if self.here.closed is False:
                self.target.open()
        except RecoveryError as second:
            error.fields["changed"] = True
            error.next_action = (
                f"{region} could not be opened again ({second.what}): run the same again, or switch back; "
                f"{error.next_action or ''}"
            )
            return
        error.next_action = f"{region} takes writes as before; {error.next_action or 'run the same again'}"

    def _cut_off(self) -> None:
        """Take the source out for good: what it still gives is brought and counted first, if it answers."""
        ends: dict[Place, int] | None = None
        if self.there.answers:
            try:
                if self.there.closed is False:
                    self._touch()
                    self.source.close()
                    self.there = replace(self.there, closed=True)
                ends = self._brought()
                self._ask_positions()
            except (Unreachable, StepTimeout) as error:
                self.outcome.notes.append(f"the source was lost while it was asked: {error.observed}")
                self.there = Seen(str(error.observed))
        self._stop(self.units.forth, "the mirror", gently=False)
        try:
            self._count_parts(ends)
        except Unreachable:
            self._count_parts()
        self._fence_source()

    def _fence_source(self) -> None:
        """Make sure that nothing in the source takes a write when it comes back. Raises StepFailed."""
        if self.there.answers and self.there.closed is False:
            self._touch()
            self.source.close()
            self.there = replace(self.there, closed=True)
        answering = {
            fence: unit
            for kind in (self.units.brokers, self.units.back)
            for fence, unit in kind.items()
            if unit.answered
        }
        closed = bool(self.there.closed)
        must = not closed and not self.request.fence_statement
        self._stop(answering, f"Kafka of {self.out_of.region}", gently=False, must=must)
        self.outcome.fence = self._fence_words()
        if self.units.source_stopped:
            return
        if must:
            raise self._failed("the source could not be fenced", self.outcome.fence, "its brokers stopped and masked")
        self.outcome.next_actions.append(
            f"once the hosts of {self.out_of.region} answer, run the same again: {self.store.name} is then fenced there"
        )

    def _ask_positions(self) -> None:
        """Ask the source where its groups are, while it answers."""
        if self.there.answers:
            names = sorted({*filter(self.store.serves, self.source.groups()), *self.store.named_groups})
            self.positions = self.source.group_offsets(names)

    def _brought(self) -> dict[Place, int]:
        """Give the mirror some time for what a lost source still has; then it counts as lost."""
        if any(unit.alive for unit in self.units.forth.values()):
            try:
                return self._drain(self.request.drain_seconds)
            except StepTimeout:
                pass
        return self.source_ends()

    def _drain(self, seconds: float) -> dict[Place, int]:
        """Wait until all that the closed source holds is in the target. Give where it ends. Raises StepTimeout."""
        seen: tuple[dict[Place, int], dict[Place, int], float] = ({}, {}, 0.0)

        def drained() -> dict[Place, int] | None:
            nonlocal seen
            ends = self.source_ends()
            left = self.left(ends)
            now = time.monotonic()
            if (ends, left) != seen[:2]:
                seen = (ends, left, now)
                return None
            still = now - seen[2]
            few = sum(left.values()) <= client.BATCH
            if left and few and still >= STILL_SECONDS and not self.source.between(self._missing(ends)):
                left = {}
            return ends if not left and still >= SETTLE_SECONDS else None

        try:
            found = wait_until(drained, seconds=seconds, interval=POLL_SECONDS, describe="the mirror to bring the rest")
        except StepTimeout as error:
            if error.observed:
                raise  # it could not even be asked
            left = seen[1]
            rows = ", ".join(f"{key(place)}: {count}" for place, count in sorted(left.items())[:5])
            raise StepTimeout(
                f"{self.store.name}: the mirror into {self.request.target} did not bring all in {seconds:g} s",
                wanted="every record of the source in the target",
                observed=f"{sum(left.values())} offsets of {len(left)} partitions are missing ({rows})",
                next_action=f"see to the mirror into {self.request.target}, then run the same again",
            ) from None
        return found.value or {}

    def source_ends(self) -> dict[Place, int]:
        """Ask where each partition of the source ends."""
        topics = self.source.topics()
        found = self.source.offsets(self.source.places(topics, self.store.holds))
        # One that holds nothing has nothing that could be missing.
        return {place: one.high if one.high > one.low else 0 for place, one in found.items()}

    def left(self, ends: Mapping[Place, int]) -> dict[Place, int]:
        """Count what is still to come."""
        syncs, read = self._syncs(), self._read()
        behind = {place: end - mirror.mirrored(syncs, read, place) for place, end in ends.items()}
        return {place: count for place, count in behind.items() if count > 0}

    def _exists(self, place: Place) -> bool:
        return place.partition < self.here.topics.get(place.topic, 0)

    def _missing(self, ends: Mapping[Place, int]) -> dict[Place, tuple[int, int]]:
        """Give the ranges of the source that nothing tells to have arrived."""
        syncs, read = self._syncs(), self._read()
        lows = self.source.offsets(ends)
        return {
            place: (max(mirror.mirrored(syncs, read, place), lows[place].low), end)
            for place, end in ends.items()
            if end > mirror.mirrored(syncs, read, place)
        }

    def _log(self, topic: str) -> list[Row]:
        """Read what is new in one of the mirror's topics, and give all of it."""
        positions, rows = self.logs.setdefault(topic, ({}, []))
        places = [Place(topic, number) for number in range(self.here.topics.get(topic, 0))]
        found = self.target.offsets(places)
        rows += self.target.between({place: (positions.get(place, one.low), one.high) for place, one in found.items()})
        positions.update({place: one.high for place, one in found.items()})
        return rows

    def _syncs(self) -> dict[Place, list[Sync]]:
        return mirror.syncs_of(self._log(self.names.syncs))

    def _read(self) -> dict[Place, int]:
        return mirror.read_of(self._log(self.names.offsets), self.out_of.alias)

    def _count_parts(self, ends: Mapping[Place, int] | None = None) -> None:
        """Count what is missing in each partition."""
        syncs, read = self._syncs(), self._read()
        topics = self.target.topics()
        there = self.target.offsets(self.target.places(topics, self.store.holds))
        lost: dict[Place, list[float]] = {}
        if ends is not None:
            for place, row in self.source.placed(self._missing(ends)):
                lost.setdefault(place, []).append(row.seconds)
        places = sorted({*there, *(ends or ()), *(place for place in syncs if self.store.holds(place.topic))})
        self.outcome.parts = {
            place: Part(
                source_end=None if ends is None else ends.get(place, 0),
                mirrored=mirror.mirrored(syncs, read, place),
                target_end=there[place].high if place in there else 0,
                lost=None if ends is None else len(lost.get(place, ())),
            )
            for place in places
        }
        if ends is not None and self.request.mode == "failover":
            stamps = [stamp for rows in lost.values() for stamp in rows]
            self.outcome.seconds_lost = round(max(stamps) - min(stamps), 3) if stamps else 0.0
            self.outcome.loss = (
                f"{len(stamps)} records were read in {self.out_of.region} that never arrived; the seconds are those "
                f"between the first and the last of them"
                if stamps
                else f"{self.out_of.region} was asked: it has no record that never arrived"
            )

    # ---- units

    def _stop(self, units: Mapping[Fence, UnitStatus], who: str, *, gently: bool, must: bool = True) -> bool:
        """Stop units for good, all at once; tell whether that is proven. Raises StepFailed where it must be."""
        wanted = [fence for fence, unit in units.items() if not unit.fenced]
        if wanted:
            self._touch()
        seconds = self.request.stop_seconds
        now = dict(units)
        for gentle in (True, False) if gently else (False,):
            left = [fence for fence in wanted if not now[fence].fenced]
            stop = partial(service_manager.stop_for_good, seconds=seconds, gently=gentle)
            now |= dict(zip(left, at_once(stop, left), strict=True))
        self.units = Units(*({fence: now.get(fence, old) for fence, old in kind.items()} for kind in self._all_units))
        bad = {fence: unit for fence, unit in now.items() if not unit.fenced}
        if bad and must:
            raise self._failed(f"{who} could not be stopped", words(bad), "every unit inactive and masked")
        return bool(units) and not bad

    @property
    def _all_units(self) -> tuple[Mapping[Fence, UnitStatus], ...]:
        return self.units.brokers, self.units.back, self.units.forth

    def _failed(self, what: str, observed: str, wanted: str) -> StepFailed:
        return StepFailed(
            f"{self.store.name}: {what}",
            wanted=wanted,
            observed=observed,
            next_action="remove the cause, then run the same again",
            changed=self.outcome.changed,
        )

    def _fence_words(self) -> str:
        """Say what keeps the source from taking writes."""
        said = [f"its rights forbid writes and groups in {self.out_of.region}"] if self.there.closed else []
        if self.request.mode == "failover" or not said:
            said.append(words(self.units.brokers))
        if self.request.mode == "failover" and not self.units.source_stopped and self.request.fence_statement:
            said.append(f"statement: {self.request.fence_statement}")
        return "; ".join(said)

    # ---- groups

    def _look_at_groups(self) -> None:
        """Find every group that is known, and decide where it goes on."""
        checkpoints = mirror.checkpoints_of(self._log(self.names.checkpoints))
        syncs = self._syncs()
        here = set(self.target.groups())
        names = {name for name in checkpoints if self.store.serves(name)} | set(self.store.named_groups)
        names |= set(self.positions or ())
        former = self.target.group_offsets(sorted(names & here))
        busy = self.target.busy(sorted(names & here))
        topics = self.target.topics()
        bounds = self.target.offsets(self.target.places(topics, self.store.holds))
        self.outcome.groups = {
            name: Group(
                tuple(self._resumes(name, checkpoints.get(name, {}), former.get(name, {}), syncs, bounds)),
                name in busy,
            )
            for name in sorted(names)
        }

    def _resumes(
        self,
        name: str,
        checkpoints: Mapping[Place, Checkpoint],
        former: Mapping[Place, int],
        syncs: Mapping[Place, Sequence[Sync]],
        bounds: Mapping[Place, Offsets],
    ) -> list[Resume]:
        """Decide for every partition of every topic that the group reads."""
        source = None if self.positions is None else self.positions.get(name, {})
        read = {place.topic for place in (*checkpoints, *(source or ()), *former)}
        return [
            resume(
                Known(
                    place,
                    one.low,
                    one.high,
                    syncs.get(place, ()),
                    None if source is None else source.get(place),
                    checkpoints.get(place),
                    former.get(place),
                )
            )
            for place, one in sorted(bounds.items())
            if place.topic in read
        ]

    def _move_groups(self) -> None:
        """Let every group go on at its place. One that has members already is theirs."""
        self._look_at_groups()
        for name, group in self.outcome.groups.items():
            if group.busy:
                self.outcome.notes.append(f"group {name} has members in {self.request.target}: it is left to them")
            elif group.moves:
                self._touch()
                self.target.set_offsets(name, group.moves)
            elif not group.resumes:
                self.outcome.notes.append(f"group {name}: nothing tells which topics it reads")

    def _leave_mark(self) -> None:
        """Note in the target where each partition ends: up to there both regions hold the same."""
        ends = {place: part.target_end for place, part in self.outcome.parts.items() if part.target_end}
        if ends:
            self.target.set_offsets(f"{MARK}.{self.out_of.alias}", ends)

    # ---- the way back

    def _prepare_back(self) -> None:
        """Let the mirror into the old source begin where the target ends now: all before it came from there."""
        ends = {place: part.target_end for place, part in self.outcome.parts.items()}
        self._touch()
        back = Names(self.into.alias)
        self.source.append(back.offsets, mirror.notes_for(ends, self.into.alias), self.there.topics)

    def _forget_mirror(self) -> None:
        """Take the mirror's task out of the target's memory: a worker that starts for the way back would resume it."""
        if self.names.configs in self.here.topics:
            self._touch()
            self.target.append(self.names.configs, mirror.forgotten(), self.here.topics)

    def _mirror_back(self) -> None:
        """Start what mirrors the other way."""
        if not self.units.back:
            self.outcome.next_actions.append(
                f"start a mirror of {self.store.name} from {self.request.target} into {self.out_of.region}"
            )
        for fence, unit in self.units.back.items():
            if unit.alive:
                continue
            self._touch()
            now = service_manager.start_again(fence, seconds=self.request.stop_seconds)
            if not now.alive:
                raise self._failed(
                    "the mirror back could not be started", f"{fence.host}: {now.observed}", "it is active"
                )
        self.outcome.mirrors_back = bool(self.units.back)


def look(cluster: Cluster) -> Seen:
    """Ask a cluster for its topics and rights; silence is an answer as well."""
    try:
        topics = cluster.topics()
        try:
            return Seen("", topics, cluster.closed())
        except Unguarded:
            return Seen("", topics, None)
    except Unreachable as error:
        return Seen(error.observed or error.what)


def move(stores: Sequence[Store], request: Request) -> list[Outcome]:
    """Move all stores to the target. Nothing is touched before every store was looked at. Raises RecoveryError."""
    client.require()
    moves = [Move(store, request) for store in stores]
    at_once(Move.prepare, moves)
    if request.check:
        return [one.outcome for one in moves]
    failed = [error for error in at_once(finished, moves) if error]
    if failed:
        failed[0].fields["changed"] = any(one.outcome.changed for one in moves)
        raise failed[0]
    return [one.outcome for one in moves]


def finished(one: Move) -> RecoveryError | None:
    """Do what is left to do in one store; the others go on whatever becomes of it."""
    try:
        one.act()
    except RecoveryError as error:
        return error
    return None


def line(one: Outcome, request: Request) -> str:
    """Say in a line what became of a store."""
    count = len(one.groups)
    twice = sum(group.as_dict()["duplicates"] for group in one.groups.values())
    groups = f"{count} groups go on, at most {twice} records twice"
    if request.check:
        return f"{one.store}: {len(one.changes)} changes would move it to {request.target}; {groups}"
    if one.outage_seconds is None:
        return f"{one.store}: {request.target} takes the writes already; {groups}"
    lost = "an unknown number of records" if one.lost is None else f"{one.lost} records"
    took = f"{request.target} takes the writes after {one.outage_seconds:.2f} s"
    return f"{one.store}: {took}; {len(one.parts)} partitions, {lost} lost ({one.loss}); {groups}"
