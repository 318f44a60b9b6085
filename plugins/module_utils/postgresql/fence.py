# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make sure that an old primary writes no more, and never again by itself, and prove it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from .. import service_manager
from ..errors import PreconditionFailed, RecoveryError, StepFailed, StepTimeout
from ..lease import LeaseLost
from ..service_manager import UnitStatus
from ..waiting import wait_until
from . import integrity
from .client import ServerError, Session, port_refuses
from .model import Credentials, Evidence, Member, MemberState, Mode, format_lsn, parse_lsn, shown_bytes
from .observe import look_at
from .provided import Provider

POLL_SECONDS = 0.002
FAILOVER_CONNECT_SECONDS = 0.3
# Where a statement stands for the proof, the proof is not waited for long.
STATED_STOP_SECONDS = 2.0
Step = Literal["nothing", "drain", "kill", "rely", "note", "refuse"]
Proof = Literal["stopped", "standby", "statement", "none"]
STRENGTH: dict[Proof, int] = {"none": 0, "statement": 1, "standby": 2, "stopped": 3}


class Interrupted(Exception):
    """This process was told to end."""


OLD_SESSIONS = """
SELECT count(*), count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND backend_start <= %s::timestamptz AND pid <> ALL (%s)
"""


@dataclass(frozen=True)
class FenceRequest:
    """What is wanted, and how long each part may take."""

    target: str
    mode: Mode
    statement: str | None = None
    reason: str | None = None
    connect_seconds: float = 1.5
    statement_seconds: float = 1.5
    drain_seconds: float = 10.0
    stop_seconds: float = 20.0
    provider_seconds: float = 600.0
    database: str = "postgres"
    tables: tuple[str, ...] = ()
    table_seconds: float = 0.5
    evidence: tuple[Evidence, ...] = ()
    interrupted: threading.Event = field(default_factory=threading.Event, compare=False)
    """Set when somebody wants this process to end: what is half done is undone first."""
    guard: Callable[[], None] = field(default=lambda: None, compare=False, repr=False)
    """Asked before each change; raises LeaseLost where another run has taken over."""


@dataclass(frozen=True)
class Situation:
    """One member beside the target, as SQL and its service manager show it."""

    member: Member
    state: MemberState
    unit: UnitStatus | None = None
    taken_back: str | None = None
    """How it shows that what runs the member, which is silent, is making it a standby of the target."""

    @property
    def words(self) -> str:
        """Say what both channels show."""
        sql = "answers as primary" if self.state.is_primary else self.state.why_not or "answers as standby"
        unit = self.unit.observed if self.unit else "no channel to it is described"
        return f"sql: {sql}; service manager: {unit}"


@dataclass(frozen=True)
class Fenced:
    """How one member was fenced."""

    member: str
    step: Step
    proof: Proof
    observed: str
    changed: bool = False
    final_lsn: int | None = None
    tables: Mapping[str, integrity.TableFacts] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Give it as a task's result carries it."""
        return {
            "proof": self.proof,
            "observed": self.observed,
            "changed": self.changed,
            "final_lsn": format_lsn(self.final_lsn),
            "tables": {name: facts.as_dict() for name, facts in self.tables.items()},
            "seconds": {name: round(value, 4) for name, value in self.timings.items()},
        }


def choose(situation: Situation, *, mode: Mode, target_is_primary: bool, statement: str | None) -> Step:
    """Decide what a member needs. A pure function of what was seen."""
    state, unit = situation.state, situation.unit
    if state.is_standby or situation.taken_back:
        return "nothing"
    if state.is_primary:
        return "refuse" if target_is_primary or mode == "failover" else "drain"
    if unit is not None and unit.answered:
        return "nothing" if unit.fenced else "kill"
    if target_is_primary:
        # What could be refused has happened. The applications are with the target, and are not stopped once more.
        return "note"
    return "rely" if statement else "refuse"


@contextmanager
def obeying_later(interrupted: threading.Event) -> Iterator[None]:
    """Obey a signal that ends this process only when nothing is half done.

    Ansible's workers end at once, past every `finally`: a drain that is cancelled would leave a living primary that
    refuses writes.
    """
    got: list[int] = []

    def note(number: int, _frame: object) -> None:
        got.append(number)
        interrupted.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with suppress(Interrupted):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if got:
        os.kill(os.getpid(), got[0])
        raise StepFailed(
            "The fence was interrupted",
            observed=signal.Signals(got[0]).name,
            next_action="what it had begun was undone; run the same again",
        )


def survey(
    members: Mapping[str, Member],
    credentials: Credentials,
    request: FenceRequest,
    provider: Provider | None = None,
) -> tuple[dict[str, MemberState], dict[str, UnitStatus]]:
    """Ask every member and every service manager at once.

    In a failover the failure is confirmed already: a server that is silent now is not waited for long.
    """
    patience = request.connect_seconds
    if request.mode == "failover":
        patience = min(patience, FAILOVER_CONNECT_SECONDS)

    def ask(member: Member) -> MemberState:
        limit = request.connect_seconds if member.name == request.target else patience
        session = Session(member, credentials, connect_seconds=limit, statement_seconds=limit)
        try:
            return look_at(session)
        finally:
            session.close()

    def manager(member: Member) -> UnitStatus:
        if provider:
            return provider.status(member.name, seconds=request.connect_seconds + 1)
        return service_manager.status(member.fence, seconds=request.connect_seconds + 1)

    others = [member for member in members.values() if member.name != request.target]
    with_manager = [member for member in others if provider or member.fence.method != "none"]
    with ThreadPoolExecutor(max_workers=min(32, len(members) + len(with_manager))) as pool:
        units = pool.map(manager, with_manager)
        states = list(pool.map(ask, members.values()))
        return {state.name: state for state in states}, {
            member.name: unit for member, unit in zip(with_manager, units, strict=True)
        }


def refusal(situation: Situation, request: FenceRequest, target_is_primary: bool) -> RecoveryError:
    """Say why nothing can go on, with what every vantage point saw."""
    name = situation.member.name
    seen = [situation.words, *(f"{e.vantage}: {e.observed}" for e in request.evidence if e.member == name)]
    if situation.state.is_primary and target_is_primary:
        next_action = (
            f"stop and mask the service of {name} if {request.target} holds the writes that count, then run again"
        )
        return PreconditionFailed(
            f"{name} and {request.target} both answer as primary: split brain",
            wanted="one primary",
            observed="; ".join(seen),
            next_action=next_action,
            gate="fence",
        )
    if situation.state.is_primary:
        return PreconditionFailed(
            f"The primary {name} answers, and a failover would cut it off",
            wanted="no primary answers",
            observed="; ".join(seen),
            next_action="use recovery_mode=switchover to move it without loss",
            gate="fence",
        )
    return PreconditionFailed(
        f"The old primary {name} is not proven stopped, and nobody states that it is",
        wanted=f"proof that the PostgreSQL of {name} is stopped, or recovery_fence_statement",
        observed="; ".join([*seen, "statement: none"]),
        next_action=f"stop and mask the PostgreSQL of {name} by any means; if no channel can prove it, give "
        "recovery_fence_statement with a recovery_reason",
        gate="fence",
    )


def kill(situation: Situation, request: FenceRequest) -> Fenced:
    """Fence a server that SQL does not reach: mask, SIGKILL, stop, and proof."""
    begin = time.monotonic()
    member = situation.member
    request.guard()
    unit = service_manager.stop_for_good(member.fence, seconds=request.stop_seconds, gently=False)
    observed = prove_stopped(member, unit, request)
    return Fenced(member.name, "kill", "stopped", observed, changed=True, timings={"stop": time.monotonic() - begin})


def prove_stopped(member: Member, unit: UnitStatus, request: FenceRequest) -> str:
    """Hold the service manager's word against the port. Raises StepFailed."""
    nothing_answers, port = port_refuses(member, min(request.connect_seconds, FAILOVER_CONNECT_SECONDS))
    observed = f"{unit.observed}, {port}"
    if unit.fenced and nothing_answers:
        return observed
    if unit.fenced:
        next_action = f"another server runs there beside {member.fence.unit}: stop it, or correct the fence's unit"
    elif unit.stopped:
        next_action = f"mask {member.fence.unit} on {member.name} by hand (a unit file of its own cannot be masked)"
    else:
        next_action = f"stop and mask {member.fence.unit} on {member.name} by hand, then run the same again"
    raise StepFailed(
        f"The fence of {member.name} could not be proven",
        wanted=f"{member.fence.unit} is inactive and masked, and the port refuses",
        observed=observed,
        next_action=next_action,
        changed=True,
    )


def stop_by_provider(situation: Situation, request: FenceRequest, provider: Provider) -> Fenced:
    """Fence a server that SQL does not reach through what runs it. Only a proof counts, or else a statement."""
    begin = time.monotonic()
    name = situation.member.name
    seconds = min(STATED_STOP_SECONDS, request.provider_seconds) if request.statement else request.provider_seconds
    request.guard()
    unit = provider.stop_for_good(name, seconds=seconds)
    timings = {"stop": time.monotonic() - begin}
    if unit.fenced:
        return Fenced(name, "kill", "stopped", unit.observed, changed=True, timings=timings)
    if request.statement:
        observed = f"{unit.observed}; statement: {request.statement}"
        return Fenced(name, "rely", "statement", observed, changed=True, timings=timings)
    raise PreconditionFailed(
        f"The old primary {name} was told to stop, and nothing proves that it did",
        wanted=f"proof that no PostgreSQL of {name} runs, or recovery_fence_statement",
        observed=f"{situation.words}; now: {unit.observed}",
        next_action="see whether what runs it works there; if nothing can prove it, give "
        "recovery_fence_statement with a recovery_reason",
        gate="fence",
        changed=True,
    )


def hand_over(situation: Situation, target: Member, request: FenceRequest, provider: Provider) -> Fenced | None:
    """Let what runs a living primary take it out of service; None where SQL has to."""
    begin = time.monotonic()
    name = situation.member.name
    request.guard()
    left = provider.hand_over(name, target.name, seconds=request.provider_seconds)
    if left is None:
        return None
    timings = {"hand_over": time.monotonic() - begin}
    return Fenced(name, "drain", "standby", left.observed, left.changed, left.final_lsn, timings=timings)


class Drain:
    """Take a live primary out of service without losing a write."""

    def __init__(self, source: Situation, target: Member, credentials: Credentials, request: FenceRequest) -> None:
        self.source = source
        self.request = request
        self.timings: dict[str, float] = {}
        self.lines: list[str] = []

        def session(member: Member, database: str = "postgres") -> Session:
            return Session(
                member,
                credentials,
                database,
                connect_seconds=request.connect_seconds,
                statement_seconds=request.statement_seconds,
            )

        self.sql = session(source.member)
        self.standby = session(target)
        self.counters = [session(member, request.database) for member in (source.member, target)]

    def run(self) -> Fenced:
        """Quiesce, let the standby catch up, stop. Whatever fails before the stop releases the applications."""
        name = self.source.member.name
        sessions = [self.sql, self.standby, *(self.counters if self.request.tables else [])]
        try:
            self.prepare(sessions)
            self.request.guard()
            with self.released_on_failure():
                with self.timed("drain"):
                    self.quiesce(sessions)
                with self.timed("catch_up"):
                    final = self.catch_up()
                with self.timed("compare"):
                    tables = self.compare()
                self.heed()
                self.request.guard()
                self.leave_nothing_behind()
                observed = self.stop()
        finally:
            for session in sessions:
                session.close()
        self.lines.append(f"{name} took its last write at {format_lsn(final)}; the standby has replayed all of it")
        return Fenced(name, "drain", "stopped", observed, True, final, tables, tuple(self.lines), dict(self.timings))

    def prepare(self, sessions: Sequence[Session]) -> None:
        """Connect everything and write out what a checkpoint can, while applications still write."""
        with self.timed("checkpoint"):
            with ThreadPoolExecutor(max_workers=len(sessions)) as pool:
                list(pool.map(Session.open, sessions))
            try:
                self.sql.run("CHECKPOINT", seconds=self.request.drain_seconds)
            except ServerError as error:
                # It only shortens the stop. After a timeout the session is opened again by the next statement.
                self.lines.append(f"no checkpoint before the stop: {error.detail}")

    def quiesce(self, sessions: Sequence[Session]) -> None:
        """End every session that may write and let no new one."""
        self.heed()
        own = [session.value("SELECT pg_backend_pid()") for session in sessions if session.member == self.source.member]
        self.sql.run("ALTER SYSTEM SET default_transaction_read_only = on")
        self.sql.run("SELECT pg_reload_conf()")
        # The postmaster reads the file before it tells its children: once our session knows, every new one does.
        self.wait(lambda: self.sql.value("SHOW default_transaction_read_only") == "on", "the setting to take effect")
        moment = self.sql.value("SELECT clock_timestamp()::text")
        self.wait(
            lambda: self.sql.rows(OLD_SESSIONS, [moment, own])[0][0] == 0,
            f"the applications' sessions on {self.source.member.name} to end",
        )

    def catch_up(self) -> int:
        """Wait until the standby has replayed the last write."""
        final = parse_lsn(self.sql.value("SELECT pg_current_wal_lsn()")) or 0
        seen: list[int] = [0]

        def caught_up() -> bool:
            seen[0] = parse_lsn(self.standby.value("SELECT pg_last_wal_replay_lsn()")) or 0
            return seen[0] >= final

        try:
            self.wait(caught_up, f"{self.standby.member.name} to replay {format_lsn(final)}")
        except StepTimeout as error:
            raise PreconditionFailed(
                f"{self.standby.member.name} did not catch up within {self.request.drain_seconds:g} s",
                wanted=f"replayed up to {format_lsn(final)}",
                observed=f"replayed up to {format_lsn(seen[0])}, {shown_bytes(final - seen[0])} short",
                next_action="the applications write to the old primary again; repair the replication, then run again",
                gate="standby caught up",
            ) from error
        return final

    def compare(self) -> dict[str, integrity.TableFacts]:
        """Count and sum the tables on both sides while nothing writes. They must agree."""
        request = self.request
        if not request.tables:
            return {}
        with ThreadPoolExecutor(max_workers=2) as pool:
            old, new = pool.map(
                lambda session: integrity.table_facts(session, request.tables, request.table_seconds), self.counters
            )
        different = integrity.same(old, new)
        if different:
            raise PreconditionFailed(
                f"The standby does not hold what the primary holds: {', '.join(different)}",
                wanted="the same rows on both sides at the same position",
                observed="; ".join(f"{n}: {old[n].rows} rows on the primary, {new[n].rows} here" for n in different),
                next_action="the applications write to the old primary again; rebuild the standby before trying again",
                gate="same data",
            )
        summed = sum(facts.checksum is not None for facts in old.values())
        self.lines.append(f"{summed} of {len(old)} tables counted and summed on both sides: they agree")
        return old

    def leave_nothing_behind(self) -> None:
        """Take the setting out of the file without a reload: what runs stays quiet, what starts later is clean."""
        self.sql.run("ALTER SYSTEM RESET default_transaction_read_only")
        with suppress_and_tell(self.lines, "standby.signal could not be written through SQL"):
            path = f"{self.source.state.data_directory}/standby.signal"
            self.sql.run("COPY (SELECT 1 WHERE false) TO %s", [path])

    def stop(self) -> str:
        """Stop the server, through its service manager or else through SQL."""
        unit = self.source.unit
        with self.timed("stop"):
            if unit is not None and unit.answered:
                return self.stop_by_manager()
            return self.stop_by_sql()

    def stop_by_manager(self) -> str:
        """Mask and stop. What a stop does not end in time is killed: the standby holds everything."""
        fence = self.source.member.fence
        unit = service_manager.stop_for_good(fence, seconds=self.request.stop_seconds, gently=True)
        if not unit.fenced:
            unit = service_manager.stop_for_good(fence, seconds=self.request.stop_seconds, gently=False)
        return prove_stopped(self.source.member, unit, self.request)

    def stop_by_sql(self) -> str:
        """Without a service manager, tell the server's own process to shut down; it would start as a standby."""
        member = self.source.member
        if any("standby.signal" in line for line in self.lines):
            raise PreconditionFailed(
                f"No channel can stop {member.name} so that it stays stopped",
                wanted="a service manager that answers, or an account that may write files on the server",
                observed=self.source.words,
                next_action="repair the fence channel of the platform description, then run again",
                gate="fence",
            )
        pid = int(self.sql.value("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"))
        with suppress(ServerError):  # the session ends with the server
            self.sql.run("COPY (SELECT 1) TO PROGRAM %s", [f"kill -INT {pid}"])
        self.sql.close()
        limit = min(self.request.connect_seconds, FAILOVER_CONNECT_SECONDS)
        wait_until(
            lambda: port_refuses(member, limit)[0],
            seconds=self.request.stop_seconds,
            interval=0.01,
            describe=f"{member.name} to shut down",
            next_action=f"stop the PostgreSQL of {member.name} by hand, then run the same again",
        )
        return "shut down through SQL, would start as a standby, the port refuses"

    @contextmanager
    def released_on_failure(self) -> Iterator[None]:
        """Let the applications write again if anything fails, an interrupt included.

        Not if the lease was lost on the way: whoever has it now may be draining this very server.
        """
        try:
            yield
        except LeaseLost as error:
            name = self.source.member.name
            error.fields["changed"] = True
            error.observed = f"{error.observed}; {name} takes no writes of applications now"
            error.next_action = (
                f"{error.next_action}. {name} was left read-only: once you know who holds the lease, postgresql_fence "
                "with state released lets it write again"
            )
            raise
        except BaseException as error:
            with suppress(RecoveryError):
                release(self.sql)
            if isinstance(error, ServerError):
                raise StepFailed(
                    f"Draining {self.source.member.name} failed",
                    observed=error.detail,
                    next_action="its applications may write again; look at both servers, then run the same again",
                ) from error
            raise

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Note how long a part took."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.timings[name] = time.monotonic() - begin

    def wait(self, condition: Callable[[], bool], describe: str) -> None:
        """Wait for a condition within the time that applications may be kept waiting."""

        def probe() -> bool:
            self.heed()
            return condition()

        wait_until(probe, seconds=self.request.drain_seconds, interval=POLL_SECONDS, describe=describe)

    def heed(self) -> None:
        """Go no further if this process is to end. Raises Interrupted."""
        if self.request.interrupted.is_set():
            raise Interrupted


class ProvidedDrain(Drain):
    """A drain where what runs the server stops it, and alone writes among its data."""

    def __init__(
        self, source: Situation, target: Member, credentials: Credentials, request: FenceRequest, provider: Provider
    ) -> None:
        super().__init__(source, target, credentials, request)
        self.provider = provider

    def leave_nothing_behind(self) -> None:
        """Take the setting out of the file without a reload."""
        self.sql.run("ALTER SYSTEM RESET default_transaction_read_only")

    def stop(self) -> str:
        """Have it stopped."""
        member = self.source.member
        with self.timed("stop"):
            unit = self.provider.stop_for_good(member.name, seconds=self.request.provider_seconds)
        if unit.fenced:
            return unit.observed
        raise StepFailed(
            f"{member.name} was told to stop and is not proven stopped after {self.request.provider_seconds:g} s",
            wanted=f"no PostgreSQL of {member.name} runs",
            observed=unit.observed,
            next_action="look at its operator, then run the same again",
            changed=True,
        )


def release(session: Session) -> bool:
    """Let applications write again. Gives whether they could not."""
    quiesced = bool(session.value("SHOW default_transaction_read_only") == "on")
    session.run("ALTER SYSTEM RESET default_transaction_read_only")
    session.run("SELECT pg_reload_conf()")
    return quiesced


@contextmanager
def suppress_and_tell(lines: list[str], what: str) -> Iterator[None]:
    """Go on after a server's refusal, and say so."""
    try:
        yield
    except ServerError as error:
        lines.append(f"{what}: {error.detail}")


class Runner:
    """Takes every member beside the target through the step that it needs."""

    def __init__(
        self,
        members: Mapping[str, Member],
        credentials: Credentials,
        request: FenceRequest,
        states: Mapping[str, MemberState],
        units: Mapping[str, UnitStatus],
        provider: Provider | None = None,
    ) -> None:
        self.provider = provider
        self.credentials = credentials
        self.request = request
        self.target = members[request.target]
        self.target_is_primary = states[request.target].is_primary
        self.target_answers = states[request.target].reachable
        self.situations = {
            name: Situation(member, states[name], units.get(name), self.taken_back(states[name]))
            for name, member in members.items()
            if name != request.target
        }

    def taken_back(self, state: MemberState) -> str | None:
        """Ask what runs a silent member whether it sees to it, once the target is the primary."""
        if self.provider is None or state.reachable or not self.target_is_primary:
            return None
        return self.provider.taken_back(state.name, self.request.target, seconds=self.request.connect_seconds)

    def choose(self) -> dict[str, Step]:
        """Choose a step for each; refuse before anything is touched. Raises PreconditionFailed."""
        request = self.request
        chosen = {
            name: choose(
                situation,
                mode=request.mode,
                target_is_primary=self.target_is_primary,
                statement=request.statement,
            )
            for name, situation in self.situations.items()
        }
        for name, step in chosen.items():
            if step == "refuse":
                raise refusal(self.situations[name], request, self.target_is_primary)
        if not self.target_answers and any(step != "nothing" for step in chosen.values()):
            raise PreconditionFailed(
                f"{request.target} does not answer: fencing the others would leave no server at all",
                wanted=f"{request.target} answers",
                next_action=f"start {request.target}, or choose another recovery_target",
                gate="target reachable",
            )
        return chosen

    def foretell(self, chosen: Mapping[str, Step]) -> list[Fenced]:
        """Say what would be done."""
        words = {
            "drain": "would be handed over by its provider"
            if self.provider
            else "would be drained and stopped for good",
            "kill": "would be fenced by its provider" if self.provider else "would be masked and killed",
            "rely": "would stand as stopped by the statement",
        }
        proofs: dict[Step, Proof] = {"drain": "stopped", "kill": "stopped", "rely": "statement", "note": "none"}
        outcomes = []
        for name, step in chosen.items():
            situation = self.situations[name]
            if step == "nothing":
                outcomes.append(self.untouched(situation))
                continue
            observed = words.get(step, situation.words)
            outcomes.append(Fenced(name, step, proofs[step], observed, changed=step in {"drain", "kill"}))
        return outcomes

    def carry_out(self, chosen: Mapping[str, Step]) -> list[Fenced]:
        """Do it, for all members at once."""
        if not chosen:
            return []
        with obeying_later(self.request.interrupted), ThreadPoolExecutor(max_workers=len(chosen)) as pool:
            return list(pool.map(lambda name: self.one(self.situations[name], chosen[name]), chosen))

    def one(self, situation: Situation, step: Step) -> Fenced:
        """Take one member through its step."""
        name = situation.member.name
        if self.provider and step == "drain":
            left = hand_over(situation, self.target, self.request, self.provider)
            if left:
                self.confirm_handover(situation.member, left.final_lsn)
            return left or ProvidedDrain(situation, self.target, self.credentials, self.request, self.provider).run()
        if self.provider and step == "kill":
            return stop_by_provider(situation, self.request, self.provider)
        if step == "drain":
            return Drain(situation, self.target, self.credentials, self.request).run()
        if step == "kill":
            return kill(situation, self.request)
        if step == "rely":
            return Fenced(name, step, "statement", f"{situation.words}; statement: {self.request.statement}")
        if step == "note":
            return Fenced(name, step, "none", situation.words)
        return self.untouched(situation)

    def confirm_handover(self, source: Member, final: int | None) -> None:
        """Hold the provider's word against SQL: the source is no primary, and the target holds what it wrote last."""
        limits: dict[str, Any] = {
            "connect_seconds": self.request.connect_seconds,
            "statement_seconds": self.request.statement_seconds,
        }
        sessions = [Session(member, self.credentials, **limits) for member in (source, self.target)]

        def handed_over() -> bool:
            old, new = (look_at(session) for session in sessions)
            return not old.is_primary and (new.position or 0) >= (final or 0)

        try:
            wait_until(
                handed_over,
                seconds=self.request.provider_seconds,
                interval=0.02,
                describe=f"{source.name} to step down and {self.target.name} to hold its last write",
                next_action=f"see why the last changes of {source.name} do not arrive, then run the same again",
            )
        finally:
            for session in sessions:
                session.close()

    def untouched(self, situation: Situation) -> Fenced:
        """Describe a member that needs nothing."""
        name = situation.member.name
        if situation.state.is_standby:
            return Fenced(name, "nothing", "standby", "it answers as standby")
        if situation.taken_back:
            return Fenced(name, "nothing", "standby", situation.taken_back)
        return Fenced(name, "nothing", "stopped", situation.unit.observed if situation.unit else situation.words)


def weakest(outcomes: Sequence[Fenced]) -> Proof:
    """Give the proof that all of it hangs on."""
    return min((item.proof for item in outcomes), key=STRENGTH.__getitem__, default="none")


def outcome_lines(item: Fenced) -> list[str]:
    """Say what happened to a member."""
    return [f"{item.member}: {item.proof} ({item.observed})", *item.lines]


def outcome_actions(item: Fenced) -> list[str]:
    """Say what remains to be done about a member."""
    if item.proof in {"stopped", "standby"}:
        return []
    return [f"stop and mask the PostgreSQL of {item.member} before its network comes back: nothing has proved it down"]
