# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make each store's replica in a region its only primary: look, plan, fence or drain, promote, see that all agree."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from .. import service_manager
from ..errors import PreconditionFailed, RecoveryError, StepFailed, StepTimeout
from ..side_by_side import at_once, one_at_a_time
from ..waiting import wait_until
from . import client, decide
from .client import Refused, Session, Silent
from .decide import Gate, Plan, Seen, Wish, addresses, gate_name
from .model import Member, SentinelState, Store

POLL_SECONDS = 0.01
# How often a drain is tried: a heartbeat to the replica may slip in between the last look and the demotion.
ATTEMPTS = 5
# For how much longer writes are refused than the target may take to catch up.
PAUSE_MARGIN_SECONDS = 4.0
# Sentinels tell each other what they know every two seconds.
HELLO_SECONDS = 5.0


@dataclass(frozen=True)
class Request:
    """What is wanted, and how long each part may take."""

    wish: Wish
    timeout_seconds: float = 60.0
    connect_seconds: float = 1.5
    confirm_seconds: float = 10.0
    drain_seconds: float = 10.0
    stop_seconds: float = 20.0
    check: bool = False
    guard: Callable[[], None] = field(default=lambda: None, repr=False)
    # Told of every decision before anything is changed.
    decided: Callable[[Sequence[Gate]], None] = field(default=lambda _: None, repr=False)


@dataclass
class Outcome:
    """What became of one store."""

    store: str
    target: str
    source: str | None = None
    changed: bool = False
    would_change: bool = False
    proofs: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    next_actions: list[str] = field(default_factory=list)
    lost: int | None = None
    lost_seconds: float | None = None
    how: str = ""
    offset: int | None = None
    pause_seconds: float | None = None
    leads: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Give it as a task's result carries it."""
        return {
            "primary": self.target,
            "source": self.source,
            "changed": self.changed,
            "fenced": dict(self.proofs),
            "offset": self.offset,
            "pause_seconds": None if self.pause_seconds is None else round(self.pause_seconds, 4),
            "leads": self.leads,
            "rpo": {"lost": self.lost, "seconds": self.lost_seconds, "how": self.how},
        }


def survey(store: Store, seconds: float, target: str | None = None) -> Seen:
    """Ask every server, every Sentinel and every service manager at once."""
    members = list(store.members.values())
    managed = [one for one in members if one.name != target and one.fence.method != "none" and one.fence.host]
    with ThreadPoolExecutor(max_workers=len(members) + len(store.sentinels) + len(managed) or 1) as pool:
        states = pool.map(partial(client.look_at, seconds=seconds), members)
        sentinels = pool.map(partial(client.ask_sentinel, store=store, seconds=seconds), store.sentinels)
        units = pool.map(lambda one: service_manager.status(one.fence, seconds=seconds + 1), managed)
        return Seen(
            store,
            {state.name: state for state in states},
            list(sentinels),
            {one.name: unit for one, unit in zip(managed, units, strict=True)},
        )


class Move:
    """The work on one store."""

    def __init__(self, store: Store, request: Request) -> None:
        self.store, self.request, self.wish = store, request, request.wish
        self.target = store.members[request.wish.target]
        self.deadline = time.monotonic() + request.timeout_seconds
        self.outcome = Outcome(store.name, request.wish.target)
        self.seen: Seen
        self.plan: Plan
        self._demoted = False
        # Whether a Sentinel may be about to promote the target.
        self._asked_for = False

    @property
    def left(self) -> float:
        """Give the seconds that are left."""
        return max(0.0, self.deadline - time.monotonic())

    def look(self) -> Seen:
        """Look at everything now."""
        return survey(self.store, self.request.connect_seconds, self.wish.target)

    def prepare(self) -> None:
        """Look and choose, without touching anything. Raises RecoveryError."""
        self.seen = self.look()
        self._confirm()
        self.plan = decide.plan(self.seen, self.wish)
        outcome, target = self.outcome, self.seen.members[self.wish.target]
        outcome.would_change = self.plan.changes
        outcome.offset = target.offset
        outcome.leads = not self.plan.promote and not self.plan.tell
        outcome.source = next((name for name, step in self.plan.steps.items() if step != "nothing"), None)
        outcome.proofs = {name: self._proof(name, step) for name, step in self.plan.steps.items()}
        outcome.lost, outcome.lost_seconds, outcome.how = self._expected_loss()

    def _confirm(self) -> None:
        """Give Sentinels time to notice what has just happened: a primary that is gone, a replica that came back."""

        def noticed() -> bool:
            if decide.unnoticed(self.seen, self.wish):
                self.seen = self.look()
            return not decide.unnoticed(self.seen, self.wish)

        with suppress(StepTimeout):  # the plan says what it is
            wait_until(noticed, seconds=self.request.confirm_seconds, interval=0.2, describe="Sentinels to notice")

    def _proof(self, name: str, step: decide.Step) -> str:
        if step in {"drain", "resume"} or self.seen.members[name].role == "replica":
            return "replica"
        return {"rely": "statement", "note": "none"}.get(step, "stopped")

    def _expected_loss(self) -> tuple[int | None, float | None, str]:
        if not self.plan.promote:
            if self.plan.lost is not None:
                return self.plan.lost, None, "bytes that the old primary wrote after the target was promoted from it"
            return None, None, f"{self.wish.target} was the primary already"
        if any(step in {"drain", "resume"} for step in self.plan.steps.values()):
            return 0, 0.0, "both offsets are the same while nothing is written"
        seconds = self.plan.silent_seconds
        return None, seconds, "upper bound: how long the replica had heard nothing from its primary when it was fenced"

    def act(self) -> None:
        """Do it. Raises RecoveryError."""
        if not self.plan.changes:
            return
        for name, step in self.plan.steps.items():
            if step == "kill":
                self._kill(name)
        source = next((name for name, step in self.plan.steps.items() if step in {"drain", "resume"}), None)
        if source:
            self._hand_over(self.store.members[source], resume=self.plan.steps[source] == "resume")
        elif self.plan.promote:
            self._promote()
        elif self.plan.tell:
            self._tell()

    def _kill(self, name: str) -> None:
        """Fence a server that does not answer, or is stale: mask, SIGKILL, stop, and proof. Raises StepFailed."""
        member = self.store.members[name]
        self.request.guard()
        self.outcome.changed = True
        unit = service_manager.stop_for_good(member.fence, seconds=self.request.stop_seconds, gently=False)
        gone, port = client.port_refuses(member.place, min(0.5, self.request.connect_seconds))
        observed = f"{unit.observed}, {port}"
        if not unit.fenced or not gone:
            raise StepFailed(
                f"{self.store.name}: the fence of {name} could not be proven",
                wanted=f"{member.fence.unit} is inactive and masked, and nobody answers at its port",
                observed=observed,
                next_action=f"stop and mask {member.fence.unit} on {name} by hand, then run the same again",
                changed=True,
            )
        self.request.decided([Gate(gate_name(self.seen, f"fence {name}"), observed, "stopped for good, and proven")])
        self.outcome.lines.append(f"{name} is fenced: {observed}")

    def _hand_over(self, source: Member, *, resume: bool) -> None:
        """Refuse writes, let the target catch up, demote the one, promote the other: never two, and nothing lost."""
        begin = time.monotonic()
        with self._session(source) as old, self._session(self.target) as new:
            if resume:
                final = int(old.ask("INFO", "replication")["master_repl_offset"])
                if int(new.ask("INFO", "replication")["master_repl_offset"]) < final:
                    # What was demoted holds more: it is the primary again, and the whole is done anew.
                    self._reinstate(old)
                    resume = False
                    self._wait_for_link(new)
            if not resume:
                final = self._drain(source, old, new)
            # Another run that has taken over finds two replicas, and promotes: nothing is undone then.
            self.request.guard()
            self.outcome.changed = True
            try:
                self._have_promoted(self.request.drain_seconds)
            except RecoveryError:
                # Unless a Sentinel may have taken it on, nobody will be promoted.
                if not self._asked_for:
                    self._reinstate(old)
                raise
            else:
                self._await_primary()
            finally:
                with suppress(Silent, Refused):
                    # Whoever waited is told, and looks for the primary anew.
                    old.at_once([("CLIENT", "UNPAUSE"), ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")])
        self.outcome.pause_seconds = time.monotonic() - begin
        self.outcome.offset = final
        self.outcome.lines.append(f"{source.name} took its last write at offset {final}; {self.target.name} holds it")
        self.request.decided(
            [Gate(gate_name(self.seen, "zero loss"), f"both at offset {final}", "all that the old primary wrote")]
        )

    def _drain(self, source: Member, old: Session, new: Session) -> int:
        """Stop writes and demote the source at an offset that the target holds. Gives the offset."""
        self.request.guard()
        patience = self.request.drain_seconds
        with self._released(old):
            for _ in range(ATTEMPTS):
                # It ends by itself if this process does.
                paused = time.monotonic()
                old.ask("CLIENT", "PAUSE", int((patience + PAUSE_MARGIN_SECONDS) * 1000), "WRITE")
                self._wait_for(old, new)
                if time.monotonic() - paused > patience + PAUSE_MARGIN_SECONDS / 2:
                    continue  # somebody may write by the time that it is demoted
                self.outcome.changed = True
                final = self._demote(old)
                if self._holds(new, final):
                    return final
                self._reinstate(old)
                self._wait_for_link(new)
            final = offset_of(old)
            raise PreconditionFailed(
                f"{self.store.name}: {self.target.name} did not hold the last write of {source.name}",
                wanted=f"the same offset on both while nothing is written, in {ATTEMPTS} attempts",
                observed=f"{source.name} at {final}, {self.target.name} at {offset_of(new)}",
                next_action="applications write to the old one again; see what keeps the replication, then run again",
                gate=gate_name(self.seen, "zero loss"),
            )

    @contextmanager
    def _released(self, old: Session) -> Iterator[None]:
        """Let applications write again if anything fails."""
        try:
            yield
        except RecoveryError:
            with suppress(Silent, Refused):
                if self._demoted:
                    self._reinstate(old)
                old.ask("CLIENT", "UNPAUSE")
            raise

    def _wait_for(self, old: Session, new: Session) -> None:
        def same() -> bool:
            return offset_of(new) >= offset_of(old)

        try:
            wait_until(same, seconds=self.request.drain_seconds, interval=0.002, describe="the replica to catch up")
        except StepTimeout as error:
            raise PreconditionFailed(
                f"{self.store.name}: {self.target.name} did not catch up within {self.request.drain_seconds:g} s",
                wanted=f"offset {offset_of(old)}",
                observed=f"offset {offset_of(new)}",
                next_action="applications write to the old primary again; mend the replication, then run again",
                gate=gate_name(self.seen, "replica caught up"),
            ) from error

    def _demote(self, old: Session) -> int:
        """Make it a replica of the target, in its configuration as well; give the offset at that very moment."""
        host, port = self._reached_at()
        words = [("INFO", "replication"), ("REPLICAOF", host, port)]
        self._demoted = True
        found = old.at_once(words, whole=True)
        with suppress(Refused):  # started without a file; readiness names it
            old.ask("CONFIG", "REWRITE")
        return int(found[0]["master_repl_offset"])

    def _holds(self, new: Session, final: int) -> bool:
        """Wait a moment for a heartbeat that was under way: what was demoted still sends what it has."""
        with suppress(StepTimeout):
            wait_until(lambda: offset_of(new) >= final, seconds=0.5, interval=0.002, describe="the last bytes")
            return True
        return False

    def _reinstate(self, old: Session) -> None:
        """Make a demoted server the primary again: nothing was promoted in its place."""
        old.ask("REPLICAOF", "NO", "ONE")
        self._demoted = False
        with suppress(Refused):
            old.ask("CONFIG", "REWRITE")

    def _wait_for_link(self, new: Session) -> None:
        wait_until(
            lambda: new.ask("INFO", "replication").get("master_link_status") == "up",
            seconds=self.request.drain_seconds,
            interval=0.05,
            describe=f"{self.target.name} to follow again",
        )

    def _reached_at(self) -> tuple[str, int]:
        """Give the address by which the other servers reach the target."""
        state = self.seen.members[self.target.name]
        if self.target.address:
            return self.target.address, self.target.port or self.target.place.port
        if state.announced:
            return state.announced
        for one in self.seen.sentinels:
            for row in one.replicas:
                if row.run_id == state.run_id:
                    return row.address
        return self.target.place.host, self.target.place.port

    def _promote(self) -> None:
        self.request.guard()
        self.outcome.changed = True
        self._have_promoted(self.left)
        self._await_primary()

    def _have_promoted(self, seconds: float) -> None:
        """Have a Sentinel promote the target: its word reaches the other Sentinels, also those that come back later.

        Raises RecoveryError if none of them took it on.
        """
        asked = decide.leaders(self.seen, self.wish)

        def begun() -> bool:
            if self._target_is_primary():
                return True
            for one in asked:
                with suppress(Silent), Session(one.sentinel.place, self.request.connect_seconds) as session:
                    session.ask("PING")
                    # Where it does not answer from here on, it may have heard it all the same.
                    self._asked_for = True
                    try:
                        session.ask("SENTINEL", "FAILOVER", self.store.master_name)
                    except Refused as error:
                        # It is about to, for somebody else: a run that was killed.
                        if not error.detail.startswith("INPROG"):
                            self._asked_for = False
                            raise
                    return True
            return False

        wait_until(
            begun,
            seconds=min(seconds, self.left),
            interval=0.1,
            describe=f"a Sentinel to promote {self.target.name}",
            next_action="look at the log of Sentinel, then run the same again",
        )

    def _await_primary(self) -> None:
        """Wait for what a Sentinel has begun. It may still do it when we wait no more: nothing is undone."""
        wait_until(
            self._target_is_primary,
            seconds=self.left,
            interval=POLL_SECONDS,
            describe=f"{self.target.name} to become the primary",
            next_action="nobody takes writes now: look at the log of Sentinel, and run the same again",
        )

    def _target_is_primary(self) -> bool:
        return client.look_at(self.target, self.request.connect_seconds).role == "primary"

    def _tell(self) -> None:
        """Teach Sentinels that watch another server which one to watch.

        They learn it from each other within seconds. One that has not by then knows none of those that do.
        """

        def learnt() -> bool:
            self.plan = replace(self.plan, tell=decide.plan(self.look(), self.wish).tell)
            return not self.plan.tell

        with suppress(StepTimeout):
            wait_until(learnt, seconds=HELLO_SECONDS, interval=0.1, describe="Sentinels to learn of it")
        if not self.plan.tell:
            return
        self.request.guard()
        self.outcome.changed = True
        host, port = self._reached_at()
        for one in self.plan.tell:
            with Session(one.sentinel.place, self.request.connect_seconds) as session:
                teach(session, self.store, one, host, port)
            self.outcome.lines.append(f"Sentinel {one.sentinel.place.words} is told of {host}:{port}")

    def verify(self) -> None:
        """Wait until the target is the only primary and every Sentinel that answers leads clients there."""

        def settled() -> bool:
            self.seen = self.look()
            self._require_settled()
            return True

        try:
            wait_until(settled, seconds=self.left, interval=0.05, describe=f"all to agree on {self.target.name}")
        except StepTimeout as error:
            error.fields["changed"] = self.outcome.changed
            raise
        target, outcome = self.seen.members[self.target.name], self.outcome
        outcome.leads = True
        answering = [one for one in self.seen.sentinels if one.reachable]
        outcome.lines.insert(
            0,
            f"{self.target.name} is the primary at offset {target.offset}; {len(answering)} of "
            f"{len(self.seen.sentinels)} Sentinels lead there",
        )
        if any(proof in {"statement", "none"} for proof in outcome.proofs.values()):
            names = [name for name, proof in outcome.proofs.items() if proof in {"statement", "none"}]
            outcome.next_actions.append(
                f"before {', '.join(names)} comes back: mask the Redis there; then rejoin it (redis_rejoin)"
            )
        stopped = [name for name, proof in outcome.proofs.items() if proof == "stopped"]
        if stopped:
            outcome.next_actions.append(f"rejoin {', '.join(stopped)} as replica (redis_rejoin) when it is wanted back")

    def _require_settled(self) -> None:
        target = self.seen.members[self.target.name]
        if target.role != "primary":
            raise StepFailed(f"{self.target.name} is no primary", observed=target.words)
        double = [one for one in self.seen.others(self.target.name) if one.role == "primary"]
        if double:
            raise StepFailed(f"{double[0].name} answers as primary as well", observed=double[0].words)
        where = addresses(self.seen, target)
        astray = [one for one in self.seen.sentinels if one.reachable and one.primary not in where]
        if astray:
            raise StepFailed("A Sentinel leads elsewhere", observed=astray[0].words)
        usable = decide.leaders(self.seen, self.wish)
        if not usable:
            raise StepFailed("No Sentinel answers", wanted="one that leads clients to the primary")

    def _session(self, member: Member) -> Session:
        return Session(member.place, max(self.request.connect_seconds, 1.0))


def offset_of(session: Session) -> int:
    """Ask how far a server is."""
    return int(session.ask("INFO", "replication")["master_repl_offset"])


def teach(session: Session, store: Store, state: SentinelState, host: str, port: int) -> None:
    """Have a Sentinel watch another primary, with what it needs for that."""
    name, account = store.master_name, next(iter(store.members.values())).place.account
    row = client.pairs(session.ask("SENTINEL", "MASTER", name))
    session.ask("SENTINEL", "REMOVE", name)
    session.ask("SENTINEL", "MONITOR", name, host, port, state.quorum)
    settings = {"down-after-milliseconds": row["down-after-milliseconds"], "failover-timeout": row["failover-timeout"]}
    if account.user:
        settings["auth-user"] = account.user
    if account.password:
        settings["auth-pass"] = account.password
    for key, value in settings.items():
        session.ask("SENTINEL", "SET", name, key, value)


def move(
    stores: Sequence[Store], request: Request, done: Callable[[Outcome], None] = lambda _: None
) -> tuple[list[Outcome], Mapping[str, RecoveryError]]:
    """Work on all stores side by side. Nothing is touched before each was planned; then each goes on by itself.

    Gives what became of each, and the errors of those that failed. Raises RecoveryError if one could not be planned.
    """
    client.require()
    # Whoever is asked before each change is used to one question at a time.
    request = replace(request, guard=one_at_a_time(request.guard), decided=one_at_a_time(request.decided))
    moves = [Move(store, request) for store in stores]
    at_once(Move.prepare, moves)
    if request.check:
        return [one.outcome for one in moves], {}
    for one in moves:
        request.decided(one.plan.gates)
    told = one_at_a_time(done)
    failures = at_once(lambda one: finished(one, told), moves)
    return [one.outcome for one in moves], {
        one.store.name: error for one, error in zip(moves, failures, strict=True) if error
    }


def finished(one: Move, done: Callable[[Outcome], None]) -> RecoveryError | None:
    """Do what is left to do in one store; the others go on whatever becomes of it."""
    try:
        one.act()
        one.verify()
    except RecoveryError as error:
        error.fields["changed"] = one.outcome.changed
        return error
    done(one.outcome)
    return None


def line(outcome: Outcome, *, check: bool) -> str:
    """Say what became of a store."""
    if check:
        what = "would become" if outcome.would_change else "is"
        loss = f", loss {loss_words(outcome)}" if outcome.would_change else ""
        return f"{outcome.store}: {outcome.target} {what} the primary{loss}"
    state = "is the primary" if outcome.changed else "was the primary already"
    pause = f", writes were refused for {outcome.pause_seconds:.2f} s" if outcome.pause_seconds is not None else ""
    return f"{outcome.store}: {outcome.target} {state}{pause}, loss {loss_words(outcome)}"


def loss_words(outcome: Outcome) -> str:
    """Say what was lost."""
    if outcome.lost is not None:
        return f"{outcome.lost} bytes" if outcome.lost else "none"
    return "unknown" if outcome.lost_seconds is None else f"at most {outcome.lost_seconds:g} s of writes"
