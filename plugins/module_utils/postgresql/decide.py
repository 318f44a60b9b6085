# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions, as pure functions of what was observed and what is wanted. Nothing here asks or changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from . import vantage
from .model import DatabaseView, Evidence, Loss, MemberState, Mode, format_lsn, shown_bytes, shown_seconds

Standing = Literal["healthy", "failed", "isolated", "converged", "split_brain"]
PROOFS = frozenset({"stopped", "standby", "statement"})


@dataclass(frozen=True)
class Request:
    """What the operator wants."""

    target: str
    mode: Mode
    rpo_seconds: float | None = None
    allow_data_loss: bool = False
    reason: str | None = None
    failed_at: float | None = None
    covered_until: float | None = None
    max_lag_bytes: int = 128 * 1024 * 1024
    final_lsn: int | None = None
    fenced: Mapping[str, str] = field(default_factory=dict)
    statement: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Who is primary, and who may be the one to replace.

    `suspects` are the members that may hold a writable old primary: all but the target and the standbys that answer.
    """

    standing: Standing
    primary: str | None
    primaries: tuple[str, ...]
    source: str | None
    suspects: tuple[str, ...]
    disagreement: str | None = None

    @property
    def failed(self) -> bool:
        """Say whether no primary can be reached."""
        return self.standing in {"failed", "isolated"}


@dataclass(frozen=True)
class Gate:
    """A decision and the facts that it was made by."""

    gate: str
    observed: str
    wanted: str
    verdict: Literal["pass", "refuse", "override"] = "pass"
    by: str = "observation"
    next_action: str | None = None

    @property
    def refuses(self) -> bool:
        """Say whether nothing may go on."""
        return self.verdict == "refuse"


def judge(view: DatabaseView, target: str) -> Verdict:
    """Find out who is primary."""
    primaries = tuple(sorted(name for name, state in view.members.items() if state.is_primary))
    suspects = tuple(sorted(n for n, state in view.members.items() if n != target and not state.is_standby))
    others = tuple(name for name in primaries if name != target)
    alive = [item for name in suspects for item in view.about(name) if item.alive]
    standing: Standing
    if len(primaries) > 1:
        standing = "split_brain"
    elif others:
        standing = "healthy"
    elif primaries:
        standing = "converged"
    else:
        standing = "isolated" if alive else "failed"
    remembered = view.known.member if view.known and view.known.member in suspects else None
    source = others[0] if others else remembered or (suspects[0] if len(suspects) == 1 else None)
    return Verdict(
        standing=standing,
        primary=primaries[0] if len(primaries) == 1 else None,
        primaries=primaries,
        source=source,
        suspects=suspects,
        # Beside a primary that answers, ready applications say nothing about another one.
        disagreement=None if primaries else vantage.disagreement(statements(view, suspects)),
    )


def statements(view: DatabaseView, suspects: tuple[str, ...]) -> list[vantage.Statement]:
    """Give what every vantage point says of the members that may hold a lost primary."""
    return [vantage.state(item) for name in suspects for item in view.about(name)]


def open_question(verdict: Verdict, evidence: Iterable[Evidence]) -> bool:
    """Say whether a further vantage point could still change what is known.

    A server whose own service manager shows its unit stopped lives for nobody, and where a primary answers us nothing
    is to be confirmed.
    """
    stopped = {item.member for item in evidence if item.vantage == "service manager" and item.alive is False}
    return verdict.failed and not stopped.issuperset(verdict.suspects)


def lag_bytes(view: DatabaseView, verdict: Verdict, target: str) -> int | None:
    """Give how far the target is behind the primary's position, where that is known."""
    primary = view.members.get(verdict.primary or "")
    position = view.members[target].position
    if primary is None or primary.current_lsn is None or position is None or primary.name == target:
        return None
    return max(0, primary.current_lsn - position)


def held_until(state: MemberState) -> float | None:
    """Give the newest moment up to which a standby is known to hold everything.

    That is its newest replayed transaction, its last checkpoint, or a message of the primary that left nothing open.
    """
    moments = [moment for moment in (state.last_replay_at, state.checkpoint_at) if moment is not None]
    receiver = state.receiver
    if receiver and receiver.complete and receiver.message_age_seconds is not None and state.asked_at is not None:
        moments.append(state.asked_at - receiver.message_age_seconds)
    return max(moments) if moments else None


def lag_seconds(state: MemberState, until: float | None = None) -> float | None:
    """Give the age of the newest thing that a standby is known to hold: at most this much is missing."""
    held = held_until(state)
    end = until if until is not None else state.asked_at
    return None if held is None or end is None else max(0.0, end - held)


def expected_loss(view: DatabaseView, verdict: Verdict, request: Request) -> Loss:
    """Give what promoting the target would lose."""
    target = view.members[request.target]
    if verdict.standing == "converged":
        return Loss(0.0, 0, "it is promoted already")
    position = target.position or 0
    if request.final_lsn is not None:
        return behind(
            target, request.final_lsn - position, "the old primary's last position, read after its last write"
        )
    behind_now = lag_bytes(view, verdict, request.target)
    if behind_now is not None:
        if request.mode != "failover":
            return Loss(0.0, 0, f"writes stop and the standby catches up first ({shown_bytes(behind_now)} at present)")
        return behind(target, behind_now, "the primary's position now")
    known = view.known
    missing = None if known is None or known.lsn is None else max(0, known.lsn - position)
    # A primary that lives on somewhere may have taken writes until now, whenever the alarm was given.
    end = target.asked_at if request.failed_at is None or verdict.standing == "isolated" else request.failed_at
    bounds = [
        (held_until(target), "age of the newest change it holds; an upper bound, for an idle primary looks the same"),
        (request.covered_until, "what was seen before the fence"),
        (
            known.at if known and missing == 0 else None,
            "time since the primary was last seen at a position that the standby holds",
        ),
    ]
    usable = [(moment, basis) for moment, basis in bounds if moment is not None]
    if not usable or end is None:
        return Loss(None, missing or None, "nothing says how much it holds")
    moment, basis = max(usable)
    return Loss(max(0.0, end - moment), missing or None, basis)


def behind(target: MemberState, missing: int, basis: str) -> Loss:
    """Give the loss where the primary's position is known."""
    if missing <= 0:
        return Loss(0.0, 0, basis)
    return Loss(lag_seconds(target), missing, basis)


def confirmation_gates(
    view: DatabaseView, verdict: Verdict, request: Request, room_problem: str | None = None
) -> list[Gate]:
    """Give every decision that stands before anything is touched."""
    target = view.members[request.target]
    if not target.reachable:
        return [target_gate(target)]
    if verdict.standing == "split_brain":
        return [split_gate(verdict)]
    if verdict.standing == "converged":
        return [
            Gate("primary", f"{request.target} is the primary already", f"{request.target} is the primary"),
        ]
    gates = [target_gate(target), lineage_gate(view, verdict, target), mode_gate(view, verdict, request)]
    if request.mode == "switchover" and verdict.standing == "healthy":
        gates.append(following_gate(view, verdict, request))
    gates.append(writable_gate(target))
    if room_problem:
        gates.append(room_gate(target, room_problem))
    gates.append(loss_gate(expected_loss(view, verdict, request), request))
    return gates


def promotion_gates(view: DatabaseView, verdict: Verdict, request: Request) -> list[Gate]:
    """Give every decision that stands between a fence and a promotion."""
    target = view.members[request.target]
    if not target.reachable:
        return [target_gate(target)]
    if target.is_primary:
        return [Gate("primary", f"{request.target} is the primary already", f"{request.target} is the primary")]
    return [
        target_gate(target),
        lineage_gate(view, verdict, target),
        fenced_gate(view, verdict, request),
        writable_gate(target),
        loss_gate(expected_loss(view, verdict, request), request),
    ]


def target_gate(target: MemberState) -> Gate:
    """Refuse a target that cannot be asked."""
    wanted = f"{target.name} answers"
    if target.reachable:
        role = "standby" if target.in_recovery else "primary"
        return Gate("target reachable", f"{target.name} answers as {role}", wanted)
    return Gate(
        "target reachable",
        f"{target.name} does not answer: {target.why_not}",
        wanted,
        "refuse",
        next_action=f"start the standby {target.name}, or choose another recovery_target",
    )


def split_gate(verdict: Verdict) -> Gate:
    """Refuse to choose between two primaries."""
    return Gate(
        "one primary",
        f"{' and '.join(verdict.primaries)} both answer as primary: split brain",
        "at most one member answers as primary",
        "refuse",
        next_action="find out which one holds the writes that count, stop and mask the other one's service, run again",
    )


def lineage_gate(view: DatabaseView, verdict: Verdict, target: MemberState) -> Gate:
    """Refuse a standby that is no copy of this database."""
    name, wanted = "lineage", "the standby is a copy of the primary: same system identifier, same line of timelines"
    own = target.system_identifier
    references = [
        (state.name, state.system_identifier)
        for state in view.members.values()
        if state.name != target.name and state.system_identifier
    ]
    references += [(item.vantage, item.system_identifier) for item in view.evidence if item.system_identifier]
    if view.known:
        references.append((f"{view.known.member} when last seen", view.known.system_identifier))
    foreign = [f"{who} has {identifier}" for who, identifier in references if identifier != own]
    refusal = "rebuild it from the primary, or choose another recovery_target"
    if foreign:
        seen = f"{target.name} has system identifier {own}, {foreign[0]}"
        return Gate(name, seen, wanted, "refuse", next_action=refusal)
    primary = view.members.get(verdict.primary or "")
    ahead = primary.timeline if primary else view.known.timeline if view.known else None
    if primary and primary.timeline and target.timeline and target.timeline > primary.timeline:
        seen = f"{target.name} is on timeline {target.timeline}, the primary on {primary.timeline}: it has diverged"
        return Gate(name, seen, wanted, "refuse", next_action=refusal)
    if ahead and target.timeline and target.timeline < ahead and not target.streaming:
        seen = f"{target.name} is on timeline {target.timeline} and does not follow the primary's timeline {ahead}"
        return Gate(name, seen, wanted, "refuse", next_action=refusal)
    seen = f"{target.name} has system identifier {own}, timeline {target.timeline}"
    agreed = sorted({who for who, _ in references})
    return Gate(
        name, f"{seen}; " + (f"the same as {', '.join(agreed)}" if agreed else "nobody to compare with"), wanted
    )


def mode_gate(view: DatabaseView, verdict: Verdict, request: Request) -> Gate:
    """Refuse a failover beside a healthy primary, and a switchover without one."""
    seen = standing_words(view, verdict)
    if request.mode == "failover":
        if verdict.standing == "healthy":
            return Gate(
                "failure confirmed",
                seen,
                "no primary can be reached",
                "refuse",
                next_action="use recovery_mode=switchover to move a healthy primary without loss",
            )
        return confirmed_gate(view, verdict, request)
    if request.mode == "switchover":
        held = [item for item in view.evidence if item.fenced and verdict.source in (None, item.member)]
        if verdict.failed and held:
            # An earlier run drained and fenced it, and was cut short before the promotion.
            return Gate(
                "primary fenced", f"{held[0].member} by {held[0].vantage}: {held[0].observed}", "fenced or alive"
            )
        if verdict.failed:
            return Gate(
                "primary alive",
                seen,
                "the primary answers",
                "refuse",
                next_action="use recovery_mode=failover if the primary is lost",
            )
        return Gate("primary alive", seen, "the primary answers")
    return Gate("state of the primary", seen, "known")


def confirmed_gate(view: DatabaseView, verdict: Verdict, request: Request) -> Gate:
    """Refuse to replace a primary that is not seen lost from two sides, or that lives for somebody."""
    name, wanted = "failure confirmed", "vantage points of two kinds say lost, and none says alive"
    if not verdict.suspects:
        return Gate(name, "every other member answers as standby", "no primary can be reached")
    replaced = [member for member in verdict.suspects if verdict.source in (None, member)]
    finding = vantage.weigh(statements(view, verdict.suspects), replaced)
    if finding.outcome == "confirmed":
        return Gate(name, finding.observed, wanted)
    if request.statement:
        observed = f"{finding.observed}; statement: {request.statement}"
        return Gate(name, observed, wanted, "override", by=f"operator: {request.reason}")
    advice = {
        "disagreement": "it works for somebody, only we do not reach it: repair our way to it and use "
        "recovery_mode=switchover, which loses nothing. To replace it all the same, stop and mask its PostgreSQL first",
        "too few": "find out from elsewhere whether it is lost, and repair the way to the vantage points that cannot "
        "say; a moment later more of them may have noticed, so run the same again",
    }
    return Gate(
        name,
        f"{finding.outcome}: {finding.observed}; statement: none",
        wanted,
        "refuse",
        next_action=f"{advice[finding.outcome]}. If you have seen that it is down, give recovery_fence_statement "
        "with a recovery_reason",
    )


def standing_words(view: DatabaseView, verdict: Verdict) -> str:
    """Say what all vantage points see of the primary."""
    if verdict.standing == "healthy":
        return f"{verdict.primary} answers as primary"
    return vantage.in_a_line(statements(view, verdict.suspects))


def following_gate(view: DatabaseView, verdict: Verdict, request: Request) -> Gate:
    """Refuse a switchover to a standby that would not catch up: applications would wait for nothing."""
    target = view.members[request.target]
    lag = lag_bytes(view, verdict, request.target)
    wanted = f"the standby streams and is at most {shown_bytes(request.max_lag_bytes)} behind"
    problem = None
    if not target.streaming:
        status = target.receiver.status if target.receiver else "not running"
        problem = f"its receiver is {status}"
    elif target.replay_paused:
        problem = "its replay is paused"
    elif target.apply_delay_seconds:
        problem = f"it replays {shown_seconds(target.apply_delay_seconds)} late by recovery_min_apply_delay"
    elif lag is not None and lag + target.unreplayed_bytes > request.max_lag_bytes:
        problem = f"it is {shown_bytes(lag + target.unreplayed_bytes)} behind"
    if problem is None:
        return Gate("standby follows", f"{target.name} streams, {shown_bytes(lag)} behind", wanted)
    return Gate(
        "standby follows",
        f"{target.name} cannot take over now: {problem}",
        wanted,
        "refuse",
        next_action="let the standby catch up (look at its log and its replication slot), then run again",
    )


def writable_gate(target: MemberState) -> Gate:
    """Refuse a target that would accept no write once it is promoted."""
    wanted = "its settings let it accept writes once it is promoted"
    if target.read_only:
        setting = "default_transaction_read_only"
        seen = f"{target.name} has {setting} = on"
    elif target.synchronous_standby_names:
        setting = "synchronous_standby_names"
        seen = f"{target.name} has {setting} set, and no standby to wait for"
    else:
        return Gate("settings of the target", f"{target.name} will accept writes", wanted)
    return Gate(
        "settings of the target",
        seen,
        wanted,
        "refuse",
        next_action=f"ALTER SYSTEM RESET {setting} and pg_reload_conf() on {target.name}, then run again",
    )


def room_gate(target: MemberState, problem: str) -> Gate:
    """Refuse a target whose disk is full: a promotion writes, and a server that cannot goes down."""
    return Gate(
        "room on the target",
        f"{target.name} cannot write: {problem}",
        "room for at least one more segment of the write-ahead log",
        "refuse",
        next_action=f"free space on {target.name}, then run again",
    )


def fenced_gate(view: DatabaseView, verdict: Verdict, request: Request) -> Gate:
    """Refuse to make a second writer."""
    wanted = "every other member is a standby, or is proven or stated to be stopped"
    alive = [name for name in verdict.primaries if name != request.target]
    if alive:
        return Gate(
            "fence",
            f"{alive[0]} answers as primary",
            wanted,
            "refuse",
            next_action="fence it first (pg_fence), or use recovery_mode=switchover",
        )
    bare = [name for name in verdict.suspects if request.fenced.get(name) not in PROOFS]
    if bare:
        return Gate(
            "fence",
            f"nothing proves that {', '.join(bare)} is stopped ({view.members[bare[0]].why_not})",
            wanted,
            "refuse",
            next_action="run pg_fence first; where no channel can prove it, give recovery_fence_statement",
        )
    proofs = [f"{name}: {request.fenced[name]}" for name in verdict.suspects]
    return Gate("fence", ", ".join(proofs) or "every other member is a standby", wanted)


def loss_gate(loss: Loss, request: Request) -> Gate:
    """Refuse a loss beyond the objective, unless it is accepted for this run."""
    seen = f"{loss_words(loss)}; basis: {loss.basis}"
    if request.rpo_seconds is None:
        return Gate("expected loss", seen, "known")
    wanted = f"at most {shown_seconds(request.rpo_seconds)}"
    if loss.seconds is not None and loss.seconds <= request.rpo_seconds:
        return Gate("expected loss", seen, wanted)
    if request.allow_data_loss:
        return Gate("expected loss", seen, wanted, "override", by=f"operator: {request.reason}")
    return Gate(
        "expected loss",
        seen,
        wanted,
        "refuse",
        next_action=closer_words(request) + "accept the loss for this run with recovery_allow_data_loss=true and a "
        "recovery_reason",
    )


def closer_words(request: Request) -> str:
    """Say how the expected loss may turn out smaller."""
    nearer = "bring the standby nearer (resume its replay, repair its replication), or "
    if request.failed_at is None and request.final_lsn is None:
        nearer += (
            "say when the primary was lost (recovery_detected_at: what it did not write after that is no loss), or "
        )
    return nearer


def loss_words(loss: Loss) -> str:
    """Say a loss."""
    if loss.bytes == 0 and not loss.seconds:
        return "none"
    if loss.seconds is None and loss.bytes is None:
        return "unknown"
    parts = [] if loss.seconds is None else [f"up to {shown_seconds(loss.seconds)} of writes"]
    return ", ".join(parts + ([] if loss.bytes is None else [f"{shown_bytes(loss.bytes)} of log"]))


def facts(view: DatabaseView, verdict: Verdict, request: Request) -> list[str]:
    """Give the facts that an operator decides by, a line each."""
    lines = [member_line(state) for state in view.members.values()]
    if verdict.failed:
        lines += vantage.table(statements(view, verdict.suspects))
    if verdict.disagreement:
        lines.append(f"vantage points disagree: {verdict.disagreement}")
    target = view.members[request.target]
    if target.is_standby:
        lag = lag_bytes(view, verdict, request.target)
        position = (
            f"{target.name} holds {format_lsn(target.position)}, {shown_bytes(target.unreplayed_bytes)} to replay"
        )
        age = shown_seconds(lag_seconds(target, request.failed_at))
        lines.append(f"{position}, lag {shown_bytes(lag)}, newest change {age} old")
        loss = expected_loss(view, verdict, request)
        objective = "" if request.rpo_seconds is None else f", objective {shown_seconds(request.rpo_seconds)}"
        lines.append(f"expected loss: {loss_words(loss)}{objective}; basis: {loss.basis}")
    return lines


def member_line(state: MemberState) -> str:
    """Say in a line what a member is."""
    if not state.reachable:
        return f"{state.name}: out of reach, {state.why_not}"
    role = "standby" if state.in_recovery else "primary"
    notes = [f"timeline {state.timeline}", f"at {format_lsn(state.position)}", f"system {state.system_identifier}"]
    if state.in_recovery:
        notes.append(f"receiver {state.receiver.status}" if state.receiver else "no replication connection")
        notes += ["replay paused"] if state.replay_paused else []
    else:
        notes.append(f"{sum(a.state == 'streaming' for a in state.attached)} standbys streaming")
        notes += ["read-only by default"] if state.read_only else []
    return f"{state.name}: {role}, {', '.join(notes)}"


def replication_lines(view: DatabaseView, verdict: Verdict) -> tuple[list[str], list[str], bool]:
    """Say how well the primary is protected: lines, next actions, and whether it is."""
    primary = view.members.get(verdict.primary or "")
    if primary is None:
        return ["no member answers as primary: replication cannot be watched"], [], False
    streaming = [item for item in primary.attached if item.state == "streaming"]
    lines = []
    for item in streaming:
        behind_by = None if item.replay_lsn is None else max(0, (primary.current_lsn or 0) - item.replay_lsn)
        who = item.application_name or item.client_address
        lines.append(f"{who} streams from {primary.name}, {shown_bytes(behind_by)} behind")
    idle = [slot.name for slot in primary.slots if not slot.active]
    if idle:
        lines.append(f"slots of {primary.name} that nobody uses keep log back: {', '.join(idle)}")
    if streaming:
        return lines, [], True
    lines.append(f"no standby follows {primary.name}: the database is unprotected")
    others = ", ".join(name for name in view.members if name != primary.name) or "a new member"
    return lines, [f"rejoin {others} as standby of {primary.name}: until then another failure loses data"], False


def rejoin_lines(
    view: DatabaseView, verdict: Verdict, fenced: Mapping[str, str], promoted_lsn: int | None
) -> tuple[list[str], list[str]]:
    """Say what is to be done with each old primary: lines and next actions."""
    lines: list[str] = []
    actions: list[str] = []
    for name, state in view.members.items():
        if name == verdict.primary:
            continue
        if state.is_standby and state.streaming:
            lines.append(f"{name} follows already")
            continue
        proof = fenced.get(name)
        held = {
            "stopped": "stopped and masked",
            "standby": "held as standby",
            "statement": "stated to be down, not proven",
        }
        lines.append(f"{name} is {held.get(proof or '', 'not known to be fenced')}")
        if state.is_primary:
            actions.append(f"stop {name} at once: it still answers as primary beside {verdict.primary}")
        elif proof not in {"stopped", "standby"}:
            actions.append(
                f"before {name} gets its network back, stop and mask its PostgreSQL: nothing has proved it down"
            )
        if promoted_lsn is not None:
            lines.append(
                f"{name} has diverged if it wrote beyond {format_lsn(promoted_lsn)}: pg_rewind takes it back, "
            )
            lines[-1] += "a rebuild by pg_basebackup where it cannot"
        actions.append(
            f"take {name} back as a standby; what only it holds is saved first: ansible-playbook "
            f"platform.recovery.database_failback -e recovery_target={verdict.primary} "
            f"-e recovery_confirm={verdict.primary}"
        )
        actions.append(
            f"to return to {name} as well, in a quiet moment: ansible-playbook platform.recovery.database_failback "
            f"-e recovery_target={name} -e recovery_confirm={name}"
        )
    return lines, actions
