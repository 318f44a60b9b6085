# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make whatever is no replica of the present primary one: a fenced server, a stale primary, an empty one."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from .. import service_manager
from ..errors import PreconditionFailed, RecoveryError, StepFailed
from ..service_manager import Fence
from ..side_by_side import at_once, one_at_a_time
from ..waiting import wait_until
from . import client
from .client import Refused, Session
from .decide import Seen, addresses, refuse_bad_access
from .failover import survey
from .model import Member, MemberState, Store, descends, lost_bytes

Step = Literal["nothing", "follow", "start"]
DONE = "recovery-configured"
# A server starts with what its file says, so it says it before: as a primary it would not answer for a moment.
SCRIPT = r"""
set -eu
[ -f "$file" ] || { echo "$file is missing"; exit 1; }
part="$file.recovery-part"
cp -p "$file" "$part"
grep -viE '^[[:space:]]*(replicaof|slaveof)[[:space:]]' "$file" >"$part" || :
printf 'replicaof %s %s\n' "$host" "$port" >>"$part"
if cmp -s "$file" "$part"; then rm "$part"; else mv "$part" "$file"; fi
echo "$done"
"""


@dataclass(frozen=True)
class Request:
    """What is wanted, and how long each part may take."""

    target: str
    timeout_seconds: float = 300.0
    connect_seconds: float = 1.5
    stop_seconds: float = 20.0
    check: bool = False
    guard: Callable[[], None] = field(default=lambda: None, repr=False)


@dataclass
class Outcome:
    """What became of one store."""

    store: str
    target: str
    steps: dict[str, Step] = field(default_factory=dict)
    changed: bool = False
    discarded: dict[str, int | None] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    @property
    def would_change(self) -> bool:
        """Tell whether there is anything to do."""
        return any(step != "nothing" for step in self.steps.values())

    def as_dict(self) -> dict[str, Any]:
        """Give it as a task's result carries it."""
        return {
            "primary": self.target,
            "rejoined": [name for name, step in self.steps.items() if step != "nothing"],
            "discarded_bytes": self.discarded,
            "changed": self.changed,
        }


def choose(seen: Seen, target: str) -> dict[str, Step]:
    """Choose a step for each member beside the primary. Raises BadInput or PreconditionFailed; nothing was touched."""
    refuse_bad_access(seen)
    primary = seen.members[target]
    if primary.role != "primary":
        raise PreconditionFailed(
            f"{seen.store.name}: {target} is no primary that others could follow",
            wanted=f"{target} answers as primary",
            observed=seen.words(target),
            next_action=f"move the store to {target} first (redis_failover)",
            gate=f"{seen.store.name}: primary",
        )
    return {one.name: step_for(seen, primary, one) for one in seen.others(target)}


def step_for(seen: Seen, primary: MemberState, state: MemberState) -> Step:
    """Choose what one member needs. Raises PreconditionFailed."""
    if state.role == "replica":
        return "nothing" if state.follows in addresses(seen, primary) and state.link_up else "follow"
    if state.role == "primary":
        # Only what is known to be stale, or holds nothing, may be thrown away.
        if descends(primary, state) or not state.keys:
            return "follow"
        raise PreconditionFailed(
            f"{seen.store.name}: {state.name} answers as primary, and {primary.name} was not promoted from it",
            wanted="a stale primary, an empty one, or a replica",
            observed=f"{seen.words(state.name)}, {state.keys} keys",
            next_action="find out what its keys are; empty it by hand if they do not count, then run again",
            gate=f"{seen.store.name}: lineage",
        )
    unit = seen.units.get(state.name)
    if unit and unit.answered:
        return "start"
    raise PreconditionFailed(
        f"{seen.store.name}: {state.name} answers by no channel, so it cannot be rejoined",
        wanted="its Redis or its service manager answers",
        observed=seen.words(state.name),
        next_action=f"mend the way to {state.name}, then run again",
        gate=f"{seen.store.name}: channel",
    )


class Rejoin:
    """The work on one store."""

    def __init__(self, store: Store, request: Request) -> None:
        self.store, self.request = store, request
        self.outcome = Outcome(store.name, request.target)
        self.seen: Seen

    def prepare(self) -> None:
        """Look and choose, without touching anything. Raises RecoveryError."""
        self.seen = survey(self.store, self.request.connect_seconds, self.request.target)
        self.outcome.steps = choose(self.seen, self.request.target)

    def act(self) -> None:
        """Do it. Raises RecoveryError."""
        for name, step in self.outcome.steps.items():
            if step == "nothing":
                continue
            self.request.guard()
            self.outcome.changed = True
            member = self.store.members[name]
            if step == "follow":
                self._follow(member)
            else:
                self._start(member)
            self._wait(member)

    def _follow(self, member: Member) -> None:
        """Point a server that runs to the primary; what it had beyond that is counted, and thrown away."""
        host, port = self._primary_at()
        with Session(member.place, self.request.connect_seconds) as session:
            state = client.member_state(member.name, *client.facts(session))
            if state.role == "primary":
                self.outcome.discarded[member.name] = lost_bytes(self.seen.members[self.request.target], state)
            session.ask("REPLICAOF", host, port)
            with suppress(Refused):
                session.ask("CONFIG", "REWRITE")
            session.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def _start(self, member: Member) -> None:
        """Write into its file that it follows the primary, then let it start."""
        host, port = self._primary_at()
        configure(member, host, port, self.request.stop_seconds)
        unit = service_manager.start_again(member.fence, seconds=self.request.stop_seconds)
        if not unit.alive:
            raise StepFailed(
                f"{self.store.name}: {member.fence.unit} of {member.name} does not start",
                wanted=f"{member.fence.unit} is active",
                observed=unit.observed,
                next_action="look at its log, then run the same again",
                changed=True,
            )

    def _wait(self, member: Member) -> None:
        primary = self.seen.members[self.request.target]
        where = addresses(self.seen, primary)

        def follows() -> bool:
            state = client.look_at(member, self.request.connect_seconds)
            if state.role == "replica" and state.link_up and state.follows in where:
                return True
            raise StepFailed(f"{member.name} does not follow yet", observed=state.words)

        wait_until(
            follows,
            seconds=self.request.timeout_seconds,
            interval=0.05,
            describe=f"{member.name} to hold what {self.request.target} holds",
            next_action=f"look at the log of {member.name}, then run the same again",
        )
        self.outcome.lines.append(f"{member.name} follows {self.request.target}")

    def _primary_at(self) -> tuple[str, int]:
        """Give the address by which other servers reach the primary."""
        member, state = self.store.members[self.request.target], self.seen.members[self.request.target]
        if member.address:
            return member.address, member.port or member.place.port
        return state.announced or (member.place.host, member.place.port)


def configure(member: Member, host: str, port: int, seconds: float) -> None:
    """Have a server's file say whom it follows. Raises StepFailed."""
    values = {"file": member.config_file, "host": host, "port": port, "done": DONE}
    script = "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in values.items()) + SCRIPT
    fence: Fence = member.fence
    shell = "sudo -n sh -s" if fence.sudo else "sh -s"
    answer = service_manager.ask(fence, shell, seconds=seconds, shared=None, script=script)
    if DONE not in answer.output.splitlines():
        raise StepFailed(
            f"The configuration of {member.name} could not be changed",
            wanted=f"{member.config_file} says whom it follows",
            observed=answer.trouble or answer.output.strip() or "the script ended without a word",
            next_action="see that the file is there and may be written by that account, then run the same again",
            changed=True,
        )


def rejoin(
    stores: Sequence[Store], request: Request, done: Callable[[Outcome], None] = lambda _: None
) -> tuple[list[Outcome], Mapping[str, RecoveryError]]:
    """Work on all stores side by side; nothing is touched before each was planned. Raises RecoveryError."""
    client.require()
    request = replace(request, guard=one_at_a_time(request.guard))
    works = [Rejoin(store, request) for store in stores]
    at_once(Rejoin.prepare, works)
    if request.check:
        return [one.outcome for one in works], {}
    told = one_at_a_time(done)
    failures = at_once(partial(finished, done=told), works)
    return [one.outcome for one in works], {
        one.store.name: error for one, error in zip(works, failures, strict=True) if error
    }


def finished(one: Rejoin, done: Callable[[Outcome], None]) -> RecoveryError | None:
    """Do what is left to do in one store; the others go on whatever becomes of it."""
    try:
        one.act()
    except RecoveryError as error:
        error.fields["changed"] = one.outcome.changed
        return error
    done(one.outcome)
    return None


def line(outcome: Outcome, *, check: bool) -> str:
    """Say what became of a store."""
    names = [name for name, step in outcome.steps.items() if step != "nothing"]
    if not names:
        return f"{outcome.store}: all follow {outcome.target} already"
    lost = [f"{count} bytes of {name} were thrown away" for name, count in outcome.discarded.items() if count]
    what = "would follow" if check else "follow" if len(names) > 1 else "follows"
    return ", ".join([f"{outcome.store}: {', '.join(names)} {what} {outcome.target}", *lost])
