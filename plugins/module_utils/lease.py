# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lease a platform: who may change it now, by which fencing token, and until when without a sign of life.

The token is a number that grows with each new holder (`term` here, since whatever is called a token is hidden by the
journal). It, and not a clock, decides who may act: whoever wakes up after another one took over finds a later term, and
changes nothing. Clocks only decide how soon a holder that shows no sign of life is taken over.

How two regions that lost one another are kept from both acting is told in docs/gates.md.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from .clock import elapsed, stamp
from .errors import PreconditionFailed
from .waiting import wait_until

# A holder shows a sign of life this often in the time that its lease lasts.
BEATS = 5
# Between the stamps of two machines so much may be their clocks' doing.
CLOCK_SKEW_SECONDS = 300.0
# Two of the same run's own tasks may renew at once; a contest with another run is decided by the first attempt.
ATTEMPTS = 20
POLL_SECONDS = 0.2
# How long the last look of a watch may take.
READ_SECONDS = 30.0
GATE = "lease"

Standing = Literal["free", "mine", "dead", "expired", "silent", "resumed", "held"]


class LeaseLost(PreconditionFailed):
    """The lease is another's now, or nobody can say whose: nothing more may be changed, not even undone."""


class HomeSilent(LeaseLost):
    """The place where the lease is kept gives no answer."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease. `space` tells in which place its process id means something: one boot, one PID namespace."""

    who: str
    host: str
    run_id: str
    playbook: str = ""
    target: str = ""
    pid: int = 0
    started: int | None = None
    space: str = ""
    nonce: str = ""

    def same_process(self, other: Holder) -> bool:
        """Say whether both are one process."""
        mine, others = ((h.space, h.pid, h.started) for h in (self, other))
        return bool(self.space) and self.started is not None and mine == others


@dataclass(frozen=True)
class Record:
    """What is kept: the term, who holds it, since when, and the last sign of life (seconds since the epoch)."""

    term: int = 0
    holder: Holder | None = None
    since: float = 0.0
    renewed: float = 0.0
    seconds: float = 0.0

    @property
    def expires(self) -> float:
        """Give the moment from which it may be taken over."""
        return self.renewed + self.seconds

    def describe(self) -> str:
        """Say who holds it, as an operator has to know it."""
        if self.holder is None:
            return f"nobody (last fencing token {self.term})"
        doing = f" ({self.holder.playbook} to {self.holder.target})" if self.holder.playbook else ""
        where = f"process {self.holder.pid or 'unknown'} on {self.holder.host or 'an unknown host'}"
        until = f"expires {stamp(self.expires)} unless renewed"
        return (
            f"run {self.holder.run_id}{doing} by {self.holder.who or 'somebody'}, {where}, "
            f"since {stamp(self.since)}, {until}, fencing token {self.term}"
        )

    def facts(self) -> dict[str, Any]:
        """Give the same for programs."""
        if self.holder is None:
            return {"run_id": None, "term": self.term}
        return {
            **{name: getattr(self.holder, name) for name in ("who", "host", "run_id", "playbook", "target", "pid")},
            "since": stamp(self.since),
            "expires": stamp(self.expires),
            "term": self.term,
        }


class Store(Protocol):
    """A place that keeps one record and writes it only over the version that was read."""

    @property
    def name(self) -> str:
        """Name the place in an operator's words."""

    def read(self) -> tuple[Record, Any]:
        """Give the record and its version. Raises HomeSilent."""

    def write(self, record: Record, version: Any) -> bool:
        """Write over this version; False if somebody wrote in between. Raises HomeSilent."""

    def close(self) -> None:
        """Let go of what the store has open."""


@dataclass(frozen=True)
class Grant:
    """What a holder has in its hands: its term and its nonce, which no other holder has even if a term came again."""

    term: int
    nonce: str
    seconds: float


@dataclass(frozen=True)
class Clock:
    """Time, for tests to turn."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = elapsed
    sleep: Callable[[float], None] = time.sleep


def pid_space() -> str:
    """Name the place in which process ids can be compared; nothing where that cannot be told."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    return ""


def holder(who: str, run_id: str, process: dict[str, Any], playbook: str = "", target: str = "") -> Holder:
    """Describe the run that this process drives."""
    return Holder(
        who=who,
        host=str(process.get("host") or socket.gethostname()),
        run_id=run_id,
        playbook=playbook,
        target=target,
        pid=int(process["pid"]),
        started=process.get("started"),
        space=pid_space(),
        nonce=secrets.token_hex(8),
    )


def alive(other: Holder) -> bool:
    """Say whether the holder's process runs, or is frozen, in our own place."""
    try:
        os.kill(other.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # somebody else's, which /proc may hide from us as if it were gone
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{other.pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return fields[0] not in "ZX" and (other.started is None or int(fields[19]) == other.started)
    return True


def standing(record: Record, me: Holder, now: float, living: Callable[[Holder], bool] = alive) -> Standing:
    """Judge a record. What is certain needs no waiting: a process of this machine that is gone is dead at once."""
    other = record.holder
    if other is None:
        return "free"
    if other.run_id == me.run_id and other.same_process(me):
        return "mine"
    if other.space and other.space == me.space:
        if not living(other):
            return "dead"
        return "held" if now < record.expires else "expired"
    if now >= record.expires + CLOCK_SKEW_SECONDS:
        return "expired"
    if now >= record.expires:
        return "silent"
    # Somebody takes an interrupted run over on another machine, and the one that it died on cannot be asked.
    return "resumed" if other.run_id == me.run_id else "held"


def patience(found: Standing, seconds: float) -> float | None:
    """Say how long a record must be seen unchanged before it is taken; None if it may not be."""
    if found == "held":
        return None
    # No shorter than the time in which a holder whose home is silent may still act (`Held.guard`).
    return seconds if found in ("silent", "resumed") else 0.0


def take(store: Store, me: Holder, seconds: float, clock: Clock | None = None) -> tuple[Grant, Record]:
    """Become the holder. Gives the grant and what was there before. Raises PreconditionFailed naming the holder."""
    clock = clock or Clock()
    for _ in range(ATTEMPTS):
        record, version = store.read()
        found = standing(record, me, clock.wall())
        if found == "mine" and record.holder:
            return Grant(record.term, record.holder.nonce, record.seconds), record
        wait = patience(found, record.seconds)
        if wait is None:
            raise held(store, record)
        if wait and not unchanged(store, record, wait, clock):
            seen, _ = store.read()
            if seen.holder and (seen.term, seen.holder.nonce) == (record.term, record.holder and record.holder.nonce):
                raise held(store, seen)  # a sign of life: the clocks were wrong, or the run still lives elsewhere
            continue
        now = clock.wall()
        mine = Record(record.term + 1, me, now, now, seconds)
        if store.write(mine, version):
            return Grant(mine.term, me.nonce, seconds), record
    raise PreconditionFailed(
        f"The lease in {store.name} changes all the time",
        wanted="a lease that is free, or held by one run",
        observed=f"{ATTEMPTS} attempts met somebody else's change",
        next_action="find out who else recovers this platform, and run again",
        gate=GATE,
    )


def unchanged(store: Store, record: Record, seconds: float, clock: Clock) -> bool:
    """Watch for a sign of life; whose clock is right does not matter to that."""
    end = clock.monotonic() + seconds

    def over() -> bool | None:
        try:
            seen, _ = store.read()
        except HomeSilent as error:
            raise _Silent(error) from error
        if (seen.term, seen.renewed) != (record.term, record.renewed):
            raise _Moved
        return clock.monotonic() >= end

    try:
        wait_until(
            over,
            seconds=seconds + READ_SECONDS,
            interval=POLL_SECONDS,
            describe="a sign of life of the lease's holder",
            clock=clock.monotonic,
            sleep=clock.sleep,
        )
    except _Moved:
        return False
    except _Silent as silence:
        raise silence.error from None
    return True


class _Moved(Exception):
    """The record is not what it was."""


class _Silent(Exception):
    """The home gives no answer while it is watched. The waiter would take that for "not yet"."""

    def __init__(self, error: HomeSilent) -> None:
        super().__init__()
        self.error = error


def held(store: Store, record: Record) -> PreconditionFailed:
    """Make the error of a lease that another run holds."""
    run_id = record.holder.run_id if record.holder else "?"
    return PreconditionFailed(
        f"Another run holds the platform's lease: {run_id}",
        wanted=f"nobody else recovers this platform; the lease in {store.name} is free, released or expired",
        observed=record.describe(),
        next_action=(
            f"let run {run_id} end or cancel it (recovery cancel {run_id}, where it runs); "
            f"if its controller is dead the lease can be taken from {stamp(record.expires)} on"
        ),
        gate=GATE,
        holder=record.facts(),
    )


def lost(store: Store, record: Record) -> LeaseLost:
    """Make the error of a holder that is none any more."""
    return LeaseLost(
        "The platform's lease is not this run's any more, so it changes nothing more",
        wanted="the fencing token that this run was given",
        observed=f"in {store.name}: {record.describe()}",
        next_action="look at that run first; to go on with this one, run it again once the lease is free",
        gate=GATE,
        holder=record.facts(),
    )


def confirm(store: Store, grant: Grant, clock: Clock | None = None, *, beat: bool = False) -> Record:
    """See that the lease is still ours, and renew it if half of its time is gone, or for a beat. Raises LeaseLost.

    One that expired and that nobody took is renewed: what decides is the token.
    """
    clock = clock or Clock()
    record = Record()
    for _ in range(ATTEMPTS):
        record, version = store.read()
        if record.holder is None or (record.term, record.holder.nonce) != (grant.term, grant.nonce):
            raise lost(store, record)
        now = clock.wall()
        if not beat and 0 <= now - record.renewed < grant.seconds / 2:
            return record
        fresh = replace(record, renewed=now)
        if store.write(fresh, version):
            return fresh
        # Another task of this run has just renewed it, or another run has taken it: the next look tells.
        beat = False
    raise lost(store, record)


def release(store: Store, grant: Grant, clock: Clock | None = None) -> bool:
    """Give it back, if it is ours. The term stays, so that the next one is later."""
    clock = clock or Clock()
    for _ in range(ATTEMPTS):
        record, version = store.read()
        if record.holder is None or (record.term, record.holder.nonce) != (grant.term, grant.nonce):
            return False
        if store.write(replace(record, holder=None, renewed=clock.wall()), version):
            return True
    return False


@dataclass
class Held:
    """A lease in all of its homes: the first decides, the others are witnesses that may fall silent but not deny."""

    homes: Sequence[tuple[Store, Grant]]
    clock: Clock = Clock()
    certain_until: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it holds without a sign of life."""
        return min(grant.seconds for _, grant in self.homes)

    def confirm(self, *, beat: bool = False) -> Record:
        """See that it is ours everywhere where somebody answers. Raises LeaseLost."""
        (store, grant), *witnesses = self.homes
        for witness, its_grant in witnesses:
            with contextlib.suppress(HomeSilent):
                confirm(witness, its_grant, self.clock, beat=beat)
        begin = self.clock.monotonic()
        record = confirm(store, grant, self.clock, beat=beat)
        age = max(0.0, self.clock.wall() - record.renewed)
        self.certain_until = begin + grant.seconds - age
        return record

    def guard(self) -> None:
        """Refuse the change that is about to be made unless the lease is ours. Raises LeaseLost.

        Where the home falls silent in the middle of a step, what was certain a moment ago is so until it could expire.
        """
        try:
            self.confirm()
        except HomeSilent:
            if self.clock.monotonic() >= self.certain_until:
                raise

    def release(self) -> bool:
        """Give it back wherever somebody answers. Tells whether it was ours to give."""
        given = False
        for store, grant in self.homes:
            with contextlib.suppress(HomeSilent):
                given = release(store, grant, self.clock) or given
        return given

    def close(self) -> None:
        """Close all stores."""
        for store, _ in self.homes:
            store.close()


@contextlib.contextmanager
def closing(stores: Sequence[Store]) -> Iterator[Sequence[Store]]:
    """Close stores in the end."""
    try:
        yield stores
    finally:
        for store in stores:
            store.close()


def take_all(
    stores: Sequence[Store], me: Holder, seconds: float, clock: Clock | None = None
) -> tuple[list[tuple[Store, Grant]], list[Record], list[str]]:
    """Take the first home and each witness that answers, in one order for everybody, so that two never meet half way.

    Gives the grants, what was there before, and the silent witnesses. Raises PreconditionFailed; nothing is kept then.
    """
    grants: list[tuple[Store, Grant]] = []
    before: list[Record] = []
    silent: list[str] = []
    try:
        for store in stores:
            try:
                grant, record = take(store, me, seconds, clock)
            except HomeSilent as error:
                if not grants:
                    raise
                silent.append(f"{store.name}: {error.observed}")
                continue
            grants.append((store, grant))
            before.append(record)
    except BaseException:
        Held(grants, clock or Clock()).release()
        raise
    return grants, before, silent
