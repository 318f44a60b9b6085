# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make an old primary a standby of the present one: look, save, rewind or rebuild, start, and prove that it follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import service_manager
from ..errors import PreconditionFailed, StepFailed, StepTimeout
from ..waiting import wait_until
from . import conninfo, protection, rejoin, rejoin_scripts, unreplicated
from .client import Session, port_refuses
from .decide import Gate
from .host import Done, facts_from, run_script
from .lineage import Beyond, ControlFile, Fork, Line, beyond_from, fork_of, parse_history, segment_names
from .model import Credentials, Member, MemberState, format_lsn, parse_lsn, shown_bytes
from .observe import look_at
from .rejoin import HostFacts, Plan, Primary, facts_of

PATIENCE_SECONDS = 5.0
EXAMINE_SECONDS = 120.0
DELETED_MOST = 100_000

PRIMARY_QUESTION = """
SELECT current_setting('primary_conninfo'), current_setting('primary_slot_name'), pg_current_wal_lsn()::text,
  pg_read_file(%s, 0, 1048576, true)
"""


@dataclass(frozen=True)
class RejoinRequest:
    """What is wanted, and how long each part may take."""

    database: str = "postgres"
    tables: tuple[str, ...] = ()
    allow_data_loss: bool = False
    reason: str | None = None
    max_lag_bytes: int = 16 * 1024 * 1024
    connect_seconds: float = 1.5
    statement_seconds: float = 5.0
    stop_seconds: float = 60.0
    copy_seconds: float = 14400.0
    stream_seconds: float = 300.0
    archive_seconds: float = 60.0
    lists: Path | None = None
    """The folder that keeps the lists of saved rows."""
    list_name: str = "unreplicated"
    guard: Callable[[], None] = field(default=lambda: None, compare=False, repr=False)
    """Asked before each change; raises LeaseLost where another run has taken over."""


@dataclass
class Outcome:
    """How a member came back."""

    member: str
    plan: Plan
    gates: list[Gate] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    next_actions: list[str] = field(default_factory=list)
    fork: Fork | None = None
    beyond: Beyond | None = None
    saved: unreplicated.Saved | None = None
    changed: bool = False
    protection: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Give it as a task's result carries it."""
        at = self.fork.at if self.fork else None
        beyond = self.beyond
        return {
            "way": self.plan.way,
            "why": self.plan.why,
            "changed": self.changed,
            "forked_at": format_lsn(at),
            "bytes_beyond": beyond.bytes(at) if beyond and at is not None else None,
            "transactions_beyond": beyond.transactions if beyond else None,
            "saved": self.saved.as_dict() if self.saved else None,
            "protection": dict(self.protection),
        }


def primary_from(session: Session, state: MemberState) -> Primary:
    """Ask the present primary what its followers must know."""
    timeline = state.timeline or 1
    row = session.rows(PRIMARY_QUESTION, [rejoin.history_name(timeline)])[0]
    history = parse_history(row[3])
    if timeline > 1 and not history:
        raise StepFailed(
            f"{state.name} does not say how it came to timeline {timeline}",
            wanted=f"{rejoin.history_name(timeline)} on {state.name}",
            observed="the file is missing",
            next_action="bring it back from the archive, then run again",
        )
    return Primary(
        name=state.name,
        system_identifier=str(state.system_identifier),
        line=Line(timeline, history),
        version=int(state.version or 0),
        position=parse_lsn(row[2]) or 0,
        conninfo=row[0] or "",
        slot=row[1] or "",
    )


class Rejoin:
    """Takes one member back."""

    def __init__(
        self,
        member: Member,
        members: Mapping[str, Member],
        primary: Primary,
        credentials: Credentials,
        request: RejoinRequest,
    ) -> None:
        self.member = member
        self.members = members
        self.primary = primary
        self.leader = members[primary.name]
        self.credentials = credentials
        self.request = request
        self.sql = self.session(self.leader)
        self.own_sql = self.session(member)
        self.state = look_at(self.own_sql)
        self.host: HostFacts | None = None
        self.outcome = Outcome(member.name, Plan("already", ""))

    def session(self, member: Member, database: str = "postgres") -> Session:
        """Make a session with a member."""
        return Session(
            member,
            self.credentials,
            database,
            connect_seconds=self.request.connect_seconds,
            statement_seconds=self.request.statement_seconds,
        )

    def close(self) -> None:
        """Let the connections go."""
        self.sql.close()
        self.own_sql.close()

    # -- looking ---------------------------------------------------------------------------------------------------

    def look(self) -> Outcome:
        """Find the way back. Changes nothing."""
        if self.state.is_primary:
            raise PreconditionFailed(
                f"{self.member.name} and {self.primary.name} both answer as primary: split brain",
                wanted="one primary",
                observed=f"{self.member.name} is primary on timeline {self.state.timeline}, {self.primary.name} on "
                f"{self.primary.line.timeline}",
                next_action=f"stop and mask the PostgreSQL of {self.member.name} if {self.primary.name} holds the "
                "writes that count, then run again",
                gate="one primary",
            )
        outcome = self.outcome
        streams = protection.streams(self.state, self.primary)
        if not streams:
            self.host = self.examine()
            if self.host.line and self.host.data == "present":
                outcome.fork = fork_of(self.host.line, self.primary.line)
            if outcome.fork:
                outcome.beyond = self.measure(self.host, outcome.fork)
            outcome.lines += rejoin.facts_lines(self.member.name, self.primary, self.host, outcome.fork, outcome.beyond)
        outcome.plan = rejoin.plan(
            streams=streams, primary=self.primary, host=self.host, fork=outcome.fork, beyond=outcome.beyond
        )
        if not streams:
            outcome.gates.append(
                rejoin.unsaved_gate(outcome.plan, accepted=self.request.allow_data_loss, reason=self.request.reason)
            )
        return outcome

    def examine(self) -> HostFacts:
        """Ask the member's host about its data."""
        host = facts_of(self.must(self.run("examine", seconds=EXAMINE_SECONDS), "examined").sections())
        if not host.programs:
            raise PreconditionFailed(
                f"The host of {self.member.name} has no programs of PostgreSQL {self.primary.major}",
                wanted=f"pg_rewind and pg_basebackup of version {self.primary.major}",
                observed="none on the path, in the usual folders or in bin_directory",
                next_action=f"install them, or name their folder as bin_directory of {self.member.name} in the "
                "platform description",
                gate="rejoin",
            )
        return host

    def measure(self, host: HostFacts, fork: Fork) -> Beyond:
        """Count what the member's log holds beyond the fork."""
        if fork.at is None:
            return Beyond(host.control.checkpoint if host.control else 0)
        size = host.control.segment_bytes if host.control else ControlFile.segment_bytes
        values = {
            "fork": format_lsn(fork.at),
            "fork_timeline": fork.timeline,
            "segment": segment_names(fork.timeline, fork.at, fork.at, size)[0],
            "segment_before": segment_names(fork.timeline, fork.at - size, fork.at - size, size)[0],
        }
        done = self.run("measure", values, seconds=self.request.copy_seconds)
        return beyond_from(facts_from(self.must(done, "examined").output), fork.at)

    def run(self, verb: str, values: Mapping[str, object] | None = None, *, seconds: float) -> Done:
        """Run a script on the member's host."""
        member = self.member
        if not member.data_directory:
            return Done(None, trouble="the platform description does not say where its data is (data_directory)")
        control = self.host.control if self.host else None
        given = {
            "data": member.data_directory.rstrip("/"),
            "described_bin": member.bin_directory or "",
            "described_config": member.config_file or "",
            "major": self.primary.major,
            "primary_timeline": self.primary.line.timeline,
            "account": self.credentials.user,
            "lock_seconds": rejoin_scripts.LOCK_SECONDS,
            "wal_level": control.wal_level if control else "replica",
            "prepared": control.prepared_transactions if control else 0,
            "hints": "on" if control and control.can_rewind else "off",
            "most": DELETED_MOST,
            "summary": rejoin_scripts.SUMMARY,
            **(values or {}),
        }
        return run_script(member, rejoin_scripts.script(verb, given), seconds=seconds)

    def must(self, done: Done, what: str) -> Done:
        """Go on only if a look succeeded. Raises PreconditionFailed."""
        if done.good:
            return done
        raise PreconditionFailed(
            f"{self.member.name} cannot be {what} on its host",
            wanted=f"the channel of {self.member.name} (its fence, data_directory and bin_directory) reaches its data",
            observed=done.why_not,
            next_action="repair the channel or the platform description, then run again",
            gate="rejoin",
        )

    # -- acting ----------------------------------------------------------------------------------------------------

    def act(self) -> Outcome:
        """Do what the plan says, and prove the end."""
        outcome = self.outcome
        if outcome.plan.way != "already" and not self.recovers_by_itself():
            self.come_back()
            outcome.changed = True
        self.settle()
        return outcome

    def recovers_by_itself(self) -> bool:
        """A standby that only misses its slot needs nothing but that."""
        if not self.state.is_standby or self.outcome.plan.way != "follow" or self.host is None:
            return False
        name = rejoin.slot_name(self.host.slot, self.member.name)
        self.request.guard()
        self.outcome.changed |= protection.provide_slot(self.sql, name, self.member.name)
        with suppress(StepTimeout):
            self.wait_streaming(PATIENCE_SECONDS)
            return True
        return False

    def come_back(self) -> None:
        """Stop it, save what only it has, make it a copy again, and start it."""
        host, plan, outcome = self.host, self.outcome.plan, self.outcome
        assert host is not None
        following = conninfo.replication(host.conninfo, self.primary.conninfo, self.leader, self.member)
        self.stop()
        slot = rejoin.slot_name(host.slot, self.member.name)
        protection.provide_slot(self.sql, slot, self.member.name, free=True)
        outcome.saved = self.save_what_counts(host, plan)
        if outcome.saved:
            outcome.lines += unreplicated.lines(self.member.name, outcome.saved)
        access = {
            "tools": conninfo.for_tools(following, self.credentials, self.leader),
            "copy": conninfo.for_copy(following),
        }
        if plan.overwrites:
            self.reach(access)
        done_by = plan.way
        if plan.way == "rewind" and not self.rewind(access):
            done_by = "rebuild"
        if done_by == "rebuild":
            self.rebuild(access, slot)
        self.start(following, slot)
        try:
            self.wait_streaming(self.request.stream_seconds)
        except StepTimeout:
            if done_by == "rebuild" or not self.is_stuck():
                raise
            outcome.lines.append(f"{self.member.name} does not follow after it was started: it is rebuilt")
            self.stop()
            self.reach(access)
            protection.provide_slot(self.sql, slot, self.member.name, free=True)
            self.rebuild(access, slot)
            done_by = "rebuild"
            self.start(following, slot)
            self.wait_streaming(self.request.stream_seconds)
        told = {"follow": "was started as a standby", "rewind": "was rewound", "rebuild": "was rebuilt"}
        outcome.lines.append(f"{self.member.name} {told[done_by]} and streams from {self.primary.name}")
        outcome.plan = Plan(done_by, plan.why, plan.save, plan.unsaved)

    def stop(self) -> None:
        """See that no server runs on the data, nor is started by anybody else. Raises StepFailed."""
        self.request.guard()
        fence = self.member.fence
        unit = service_manager.stop_for_good(fence, seconds=self.request.stop_seconds, gently=True)
        if not unit.fenced:
            unit = service_manager.stop_for_good(fence, seconds=self.request.stop_seconds, gently=False)
        nothing_answers, port = port_refuses(self.member, self.request.connect_seconds)
        if unit.fenced and nothing_answers:
            return
        raise StepFailed(
            f"{self.member.name} is not proven stopped, and its data is not touched",
            wanted=f"{fence.unit} is inactive and masked, and the port refuses",
            observed=f"{unit.observed}, {port}",
            next_action=f"stop and mask {fence.unit} on {self.member.name} by hand, then run the same again",
        )

    def save_what_counts(self, host: HostFacts, plan: Plan) -> unreplicated.Saved | None:
        """Save what only this member has. Raises PreconditionFailed if that fails and its loss is not accepted."""
        fork, beyond = self.outcome.fork, self.outcome.beyond
        if host.kept and not plan.save:
            # An earlier attempt has saved it, and was cut short after that.
            return self.saved_from(self.save(host.kept))
        if fork is None or fork.at is None or beyond is None or not beyond.transactions:
            return None
        name = rejoin.fork_name(fork, beyond, self.primary.system_identifier)
        if plan.save:
            done = self.save(name)
            if done.good:
                return self.saved_from(done)
            self.require_acceptance(done)
            note = f"the rows could not be read, and are accepted as lost: {done.why_not}"
        elif plan.unsaved:
            note = f"the rows cannot be read, and are accepted as lost: {plan.unsaved}"
        else:
            return None
        # What is left of it is the log.
        done = self.save(name, with_rows="no")
        folder = done.sections()["folder"].strip() if done.good else "(nothing)"
        return unreplicated.Saved(folder, unreplicated.read(done.sections()).transactions, notes=(note,))

    def save(self, name: str, with_rows: str = "yes") -> Done:
        """Keep the log beyond the fork and its rows on the member's host, under a name."""
        fork, beyond, host = self.outcome.fork, self.outcome.beyond, self.host
        size = host.control.segment_bytes if host and host.control else ControlFile.segment_bytes
        segments: Sequence[str] = []
        if fork and fork.at is not None and beyond:
            segments = segment_names(fork.timeline, fork.at, beyond.end, size)
        values = {
            "keep_as": name,
            "with_rows": with_rows,
            "segments": " ".join(segments),
            "fork": format_lsn(fork.at) if fork else "",
            "fork_timeline": fork.timeline if fork else 0,
            "database": self.request.database,
            "tables": ",".join(self.request.tables),
            "rows_query": rejoin_scripts.ROWS_QUERY,
        }
        return self.run("save", values, seconds=self.request.copy_seconds)

    def saved_from(self, done: Done) -> unreplicated.Saved:
        """Hold what was saved against the present primary, and write the list."""
        sections = self.must(done, "asked for what was saved").sections()
        found = unreplicated.read(sections)
        sessions: dict[str, Session] = {}

        def session_of(database: str) -> Session:
            return sessions.setdefault(database, self.session(self.leader, database))

        try:
            rows = unreplicated.compare(found, session_of)
        finally:
            for session in sessions.values():
                session.close()
        saved = unreplicated.Saved(sections["folder"].strip(), found.transactions, tuple(rows))
        if self.request.lists is None:
            return saved
        file = unreplicated.write_list(self.request.lists, self.request.list_name, self.member.name, saved)
        return replace(saved, file=file)

    def require_acceptance(self, done: Done) -> None:
        """Go on without the rows only where their loss is accepted. Raises PreconditionFailed."""
        plan = self.outcome.plan
        gate = rejoin.unsaved_gate(
            Plan(plan.way, plan.why, unsaved=f"its unreplicated rows ({done.why_not})"),
            accepted=self.request.allow_data_loss,
            reason=self.request.reason,
        )
        self.outcome.gates.append(gate)
        if gate.refuses:
            raise PreconditionFailed(
                f"What only {self.member.name} holds could not be saved, and nothing was overwritten",
                wanted=gate.wanted,
                observed=gate.observed,
                next_action=gate.next_action,
                gate=gate.gate,
            )

    def reach(self, access: Mapping[str, conninfo.Access]) -> None:
        """See that the host reaches the primary before anything is overwritten, and that a copy would fit."""
        done = self.run("reach", self.with_access(access), seconds=EXAMINE_SECONDS)
        facts = facts_from(done.sections().get("facts", "")) if done.good else {}
        if facts.get("system") != self.primary.system_identifier:
            raise PreconditionFailed(
                f"The host of {self.member.name} does not reach {self.primary.name} as a follower must",
                wanted=f"both our account and the replication account get in, by {access['copy'].conninfo}",
                observed=done.why_not if done.problems.strip() or done.trouble else f"it reached {facts or 'nothing'}",
                next_action="repair the way, pg_hba.conf or primary_conninfo; nothing was overwritten",
                gate="rejoin",
            )
        if self.outcome.plan.way == "rebuild" and self.host is not None:
            gate = rejoin.room_gate(self.host, int(facts.get("kib") or 0))
            self.outcome.gates.append(gate)
            if gate.refuses:
                raise PreconditionFailed(
                    f"{self.member.name} has no room for a copy",
                    wanted=gate.wanted,
                    observed=gate.observed,
                    next_action=gate.next_action,
                    gate=gate.gate,
                )

    def rewind(self, access: Mapping[str, conninfo.Access]) -> bool:
        """Take the member's files back to the fork and on to the primary's state. False if it has to be rebuilt."""
        self.request.guard()
        # pg_rewind reads the source's timeline from its last checkpoint; after a promotion that is still the old one.
        self.sql.run("CHECKPOINT", seconds=self.request.copy_seconds)
        done = self.run("rewind", self.with_access(access), seconds=self.request.copy_seconds)
        if done.good:
            return True
        if done.trouble:
            raise self.cut_short("rewound", done)
        self.outcome.lines.append(f"{self.member.name} could not be rewound and is rebuilt: {done.why_not}")
        return False

    def rebuild(self, access: Mapping[str, conninfo.Access], slot: str) -> None:
        """Make the member a new copy."""
        self.request.guard()
        values = self.with_access(access) | {"slot": slot}
        done = self.run("rebuild", values, seconds=self.request.copy_seconds)
        if not done.good:
            raise self.cut_short("rebuilt", done)

    def cut_short(self, what: str, done: Done) -> StepFailed:
        """Say that a copy was not finished."""
        return StepFailed(
            f"{self.member.name} could not be {what}",
            wanted=f"a copy of {self.primary.name}",
            observed=done.why_not,
            next_action="run the same again: it goes on from here. What only it held is saved",
            changed=True,
        )

    def with_access(self, access: Mapping[str, conninfo.Access]) -> dict[str, object]:
        """Give the connections to a script."""
        return {
            "tools": access["tools"].conninfo,
            "copy": access["copy"].conninfo,
            "passwords": conninfo.passfile(*access.values()),
        }

    def start(self, following: Mapping[str, str], slot: str) -> None:
        """Give it its settings and start it."""
        settings = self.missing_settings(following, slot)
        self.request.guard()
        done = self.run("dress", {"settings": settings}, seconds=EXAMINE_SECONDS)
        if not done.good:
            raise self.cut_short("given its settings", done)
        unit = service_manager.start_again(self.member.fence, seconds=self.request.stop_seconds)
        if not unit.answered:
            raise StepFailed(
                f"{self.member.name} could not be started",
                wanted=f"{self.member.fence.unit} is unmasked and active",
                observed=unit.observed,
                next_action="run the same again",
                changed=True,
            )

    def missing_settings(self, following: Mapping[str, str], slot: str) -> str:
        """Give the lines of configuration that a standby needs and this one does not have yet."""
        now = self.examine()
        wanted = {}
        if conninfo.parse(now.conninfo) != dict(following):
            wanted["primary_conninfo"] = conninfo.write(following)
        if now.slot != slot:
            wanted["primary_slot_name"] = slot
        if now.timelines not in {"", "latest"}:
            wanted["recovery_target_timeline"] = "latest"
        return "".join(f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in wanted.items())

    def wait_streaming(self, seconds: float) -> None:
        """Wait until it follows, and is near enough; not for a server that has stopped again."""
        name, begin = self.member.name, time.monotonic()

        def came() -> str | None:
            self.state = look_at(self.own_sql)
            if protection.streams(self.state, self.primary):
                return "near" if protection.lag(self.sql, self.state) <= self.request.max_lag_bytes else None
            return "stopped" if not self.state.answers and self.unit().stopped else None

        try:
            found = wait_until(came, seconds=seconds, describe=f"{name} to stream from {self.primary.name}").value
        except StepTimeout as error:
            raise self.does_not_stream(f"within {seconds:g} s") from error
        if found == "stopped":
            raise self.does_not_stream(f"and its server has stopped again after {time.monotonic() - begin:.1f} s")

    def does_not_stream(self, how: str) -> StepTimeout:
        """Say that it does not follow, and what there is to see."""
        return StepTimeout(
            f"{self.member.name} does not stream from {self.primary.name} {how}",
            wanted=f"streaming, at most {shown_bytes(self.request.max_lag_bytes)} behind",
            observed=f"{self.unit().observed}; {protection.standing(self.state)}",
            next_action=f"look at the log of {self.member.name}, then run the same again",
            changed=True,
        )

    def unit(self) -> service_manager.UnitStatus:
        """Ask the service manager of its host."""
        return service_manager.status(self.member.fence, seconds=self.request.connect_seconds + 1)

    def is_stuck(self) -> bool:
        """Say whether it does not even get log from the primary."""
        return not protection.streams(self.state, self.primary)

    # -- proving ---------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Remove what is left over, and prove that the member protects the primary."""
        outcome = self.outcome
        keeper = protection.Protection(
            self.sql, self.own_sql, self.primary, self.member, self.leader, list(self.members)
        )
        self.request.guard()
        removed = keeper.remove_leftovers()
        restored = keeper.restore_settings()
        outcome.protection = keeper.prove(
            self.request.archive_seconds if outcome.changed else 0.0, self.request.statement_seconds
        )
        outcome.lines += [*removed, *restored, *keeper.lines]
        outcome.changed |= bool(removed or restored)
        unit = self.unit()
        if unit.answered and unit.unit_file in {"masked", "masked-runtime"}:
            service_manager.start_again(self.member.fence, seconds=self.request.stop_seconds)
            outcome.lines.append(f"{self.member.fence.unit} of {self.member.name} is unmasked again")
            outcome.changed = True
        if self.member.data_directory and unit.answered:
            self.run("finish", seconds=EXAMINE_SECONDS)


def foretell(outcome: Outcome) -> list[str]:
    """Say what would be done."""
    told = {
        "already": "follows already",
        "follow": "would be started as a standby",
        "rewind": "would be rewound by pg_rewind",
        "rebuild": "would be rebuilt by pg_basebackup",
    }
    line = f"{outcome.member} {told[outcome.plan.way]}: {outcome.plan.why}"
    if outcome.plan.save and outcome.beyond:
        line += f"; {outcome.beyond.transactions} unreplicated transactions would be saved first"
    return [line]


def followers(members: Sequence[str], primary: str, target: str | None) -> list[str]:
    """Name the members that are to follow."""
    return [name for name in members if name != primary and target in {None, name, primary}]
