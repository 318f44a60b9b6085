# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lead the names of many zones to a region: look, plan, change what differs, and wait until everybody answers so."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ..errors import PreconditionFailed, RecoveryError, StepFailed, StepTimeout
from ..side_by_side import at_once, one_at_a_time
from ..waiting import wait_until
from . import asking, probing
from .asking import Answer, Answers, Key
from .aws import Unreachable
from .model import ADDRESSES, Change, NameServer, Record, Zone, is_address, short, shown, wrong
from .provider import Conflict, Provider, Work
from .provider_arc import RoutingControls
from .provider_rfc2136 import Updates
from .provider_route53_health_checks import HealthChecks
from .provider_route53_records import Records

PROVIDERS: Mapping[str, Callable[[Zone, Work], Provider]] = {
    "route53_health_checks": HealthChecks,
    "route53_records": Records,
    "arc": RoutingControls,
    "rfc2136": Updates,
}
# How often a plan is made anew because somebody else changed something in between.
ATTEMPTS = 3
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Request:
    """What is wanted of all zones."""

    target: str
    lost_regions: frozenset[str] = frozenset()
    timeout_seconds: float = 60.0
    query_seconds: float = 2.0
    probe_seconds: float = 5.0
    grace_seconds: float = 5.0
    healthy_seconds: float = 0.0
    check: bool = False
    guard: Callable[[], None] = field(default=lambda: None, repr=False)
    # Told of every gate that was passed, before anything is changed: its name, what was seen, what was wanted.
    passed: Callable[[str, str, str], None] = field(default=lambda *_: None, repr=False)


@dataclass(frozen=True)
class View:
    """What everybody who answers for a zone says of its names."""

    wanted: Mapping[Key, frozenset[str]]
    authorities: Mapping[NameServer, Answers]
    resolvers: Mapping[NameServer, Answers]

    @property
    def everywhere(self) -> bool:
        """Tell whether every authoritative server that answers leads all names to the target, and one does answer."""
        answering = [answers for answers in self.authorities.values() if not silent(answers)]
        return bool(answering) and not any(
            not leads(answers[key], values) for answers in answering for key, values in self.wanted.items()
        )

    def tail(self) -> int:
        """Predict for how long caches may go on giving what is not the target: the longest TTL of such an answer."""
        rows = [*self.authorities.values(), *self.resolvers.values()]
        lagging = [
            answers[key] for answers in rows for key, values in self.wanted.items() if not leads(answers[key], values)
        ]
        return max((answer.ttl for answer in lagging), default=0)


@dataclass
class Outcome:
    """What became of one zone."""

    zone: str
    names: int
    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    predicted: int = 0
    authority_seconds: float | None = None
    tail_seconds: float | None = None
    servers: int = 0
    resolvers: int = 0
    held: bool = True
    leads: bool = False
    changed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Give it as a task's result carries it."""
        moved = sorted({name for change in self.changes for name in change.names})
        return {
            "names": self.names,
            "moved": moved,
            "changes": [{"what": one.what, "before": one.before, "after": one.after} for one in self.changes],
            "predicted_tail_seconds": self.predicted,
            "authority_seconds": rounded(self.authority_seconds),
            "tail_seconds": rounded(self.tail_seconds),
            "silent_servers": self.silent,
            "held": self.held,
            "leads": self.leads,
        }


def rounded(seconds: float | None) -> float | None:
    """Keep what a clock is worth."""
    return None if seconds is None else round(seconds, 3)


def leads(answer: Answer, values: frozenset[str]) -> bool:
    """Tell whether an answer gives nothing but the target's values. One of several is enough: servers rotate."""
    return not answer.trouble and bool(answer.values) and answer.values <= values


def silent(answers: Answers) -> bool:
    """Tell whether a server answered nothing at all."""
    return all(answer.trouble for answer in answers.values())


class Move:
    """The work on one zone."""

    def __init__(self, zone: Zone, request: Request) -> None:
        self.zone, self.request = zone, request
        self.work = Work(
            deadline=time.monotonic() + request.timeout_seconds,
            query_seconds=request.query_seconds,
            # A plan says how it is now.
            healthy_seconds=0.0 if request.check else request.healthy_seconds,
            guard=request.guard,
        )
        self.provider = PROVIDERS[zone.provider](zone, self.work)
        self.resolvers = zone.resolvers or asking.system_resolvers()
        self.servers = self.provider.servers() or asking.authorities(zone.name, self.resolvers, request.query_seconds)
        self.wanted: dict[Key, frozenset[str]] = {}
        self.outcome = Outcome(short(zone.name), len(zone.records), notes=self.work.notes)

    def prepare(self) -> None:
        """Look at everything and plan, without touching anything. Raises RecoveryError."""
        self.wanted = {record.key: self._values(record) for record in self.zone.records}
        trouble: Unreachable | None = None
        with ThreadPoolExecutor(max_workers=1) as beside:
            looking = beside.submit(self.look)
            try:
                self.outcome.changes = self.provider.plan(self.request.target)
            except Unreachable as error:
                trouble = error
            view = looking.result()
        if trouble:
            if not (self.provider.answers_alone and view.everywhere):
                raise undecided(self.zone, trouble) from None
            # The data plane has done it by itself.
            self.outcome.held = False
            self.outcome.notes.append(
                f"the API is out of reach ({trouble.observed}); the name servers lead to {self.request.target} by "
                f"their own health checks, and would lead back once the other region heals"
            )
        self.outcome.predicted, self.outcome.leads = view.tail(), view.everywhere
        if self.outcome.changes:
            self._require_answer()

    def _values(self, record: Record) -> frozenset[str]:
        """Give what servers have to answer: the described values, or the addresses of what an alias leads to."""
        values = record.values[self.request.target]
        names = [value for value in values if record.type in ADDRESSES and not is_address(value)]
        if not names:
            return values
        found: set[str] = set()
        for resolver in self.resolvers:
            answers = asking.ask(resolver, [(name, record.type) for name in names], self.request.query_seconds)
            found |= {value for answer in answers.values() for value in answer.values}
        return frozenset(found) | (values - frozenset(names))

    def look(self) -> View:
        """Ask every server for every name."""
        keys = list(self.wanted)
        found = asking.ask_all([*self.servers, *self.resolvers], keys, self.request.query_seconds)
        return View(
            self.wanted,
            {server: found[server] for server in self.servers},
            {server: found[server] for server in self.resolvers},
        )

    def _require_answer(self) -> None:
        target = self.zone.targets[self.request.target]
        seen = probing.trouble(target, self.request.probe_seconds)
        gate, wanted = f"target of {short(self.zone.name)}", f"an answer of {target.probe}"
        if seen:
            raise PreconditionFailed(
                f"{self.request.target} does not answer, so no name of {short(self.zone.name)} may lead there",
                wanted=wanted,
                observed=seen,
                next_action=f"mend {self.request.target}, or choose another target, then run again",
                gate=gate,
            )
        self.request.passed(gate, f"{self.request.target} answers", wanted)

    def act(self) -> None:
        """Make the changes; where somebody else was quicker, plan anew. Raises RecoveryError."""
        planned = self.outcome.changes
        for attempt in range(ATTEMPTS):
            if not planned:
                return
            try:
                self.provider.apply(planned)
            except Conflict as error:
                if attempt + 1 == ATTEMPTS:
                    raise
                self.outcome.notes.append(f"planned anew: {error.what} ({error.observed})")
                planned = self.provider.plan(self.request.target)
            else:
                return
            finally:
                self.outcome.changed = self.work.changed

    def verify(self) -> None:
        """Wait until every authoritative server gives the target, then until resolvers do. Raises StepTimeout."""
        begin = time.monotonic()
        waiting = {server: list(self.wanted) for server in self.servers}
        self._wait(waiting, self.request.timeout_seconds, "name servers")
        self.outcome.authority_seconds = time.monotonic() - begin
        self.outcome.silent = sorted(server.words for server, keys in waiting.items() if keys)
        self.outcome.servers = len(self.servers) - len(self.outcome.silent)
        if not self.outcome.servers:
            raise nobody(self.zone)
        begin = time.monotonic()
        caches = {server: list(self.wanted) for server in self.resolvers}
        # What a cache was told before the change is over by then.
        seconds = max(self.outcome.predicted, self._remaining(caches)) + self.request.grace_seconds
        self._wait(caches, seconds, "resolvers")
        self.outcome.tail_seconds = time.monotonic() - begin
        self.outcome.resolvers = sum(not keys for keys in caches.values())
        if not self.outcome.resolvers:
            raise nobody(self.zone, "resolver")
        self.outcome.leads = True

    def _remaining(self, waiting: Mapping[NameServer, Sequence[Key]]) -> int:
        view = View(self.wanted, {}, asking.ask_all(waiting, list(self.wanted), self.request.query_seconds))
        return view.tail()

    def _wait(self, waiting: dict[NameServer, list[Key]], seconds: float, who: str) -> None:
        """Ask again for what is still missing. One of a lost region is waited for only while it answers wrongly."""
        seen: dict[NameServer, tuple[Key, Answer]] = {}

        def all_lead() -> bool:
            asked = [server for server, keys in waiting.items() if keys]
            found = at_once(lambda server: asking.ask(server, waiting[server], self.request.query_seconds), asked)
            for server, answers in zip(asked, found, strict=True):
                waiting[server] = [key for key in waiting[server] if not leads(answers[key], self.wanted[key])]
                if waiting[server]:
                    seen[server] = (waiting[server][0], answers[waiting[server][0]])
            return all(not keys or self._given_up(server, seen[server][1]) for server, keys in waiting.items())

        try:
            wait_until(all_lead, seconds=seconds, interval=POLL_SECONDS, describe=f"all {who} to lead to the target")
        except StepTimeout:
            raise behind(self.zone, self.request.target, who, seconds, waiting, seen, self.outcome.changed) from None

    def _given_up(self, server: NameServer, answer: Answer) -> bool:
        return server.region in self.request.lost_regions and answer.trouble is not None


def undecided(zone: Zone, error: Unreachable) -> PreconditionFailed:
    """Say that nothing could be planned, so that nothing was changed."""
    return PreconditionFailed(
        f"What {short(zone.name)} leads to cannot be changed now: {error.what}",
        wanted=error.wanted,
        observed=error.observed,
        next_action=error.next_action,
        gate=f"control plane of {short(zone.name)}",
    )


def nobody(zone: Zone, what: str = "authoritative server") -> StepFailed:
    """Say that no server is left that could tell."""
    return StepFailed(
        f"No {what} of {short(zone.name)} answers",
        wanted="at least one that is not in a lost region",
        observed="none",
        next_action="mend one of them, or name one that answers, then run the same again",
    )


def behind(
    zone: Zone,
    target: str,
    who: str,
    seconds: float,
    waiting: Mapping[NameServer, Sequence[Key]],
    seen: Mapping[NameServer, tuple[Key, Answer]],
    changed: bool,
) -> StepTimeout:
    """Name the servers that do not answer with the target."""
    rows = []
    for server, keys in waiting.items():
        if keys:
            key, answer = seen[server]
            what = answer.trouble or shown(answer.values)
            rows.append(f"{server.words}: {len(keys)} names, such as {short(key[0])}: {what}")
    return StepTimeout(
        f"Not all {who} of {short(zone.name)} lead to {target} after {seconds:g} s",
        wanted=f"{target} from every one",
        observed="; ".join(rows),
        next_action=(
            "run the same again, which goes on waiting; if a server is lost with its region, name the region as lost, "
            "with a reason"
        ),
        changed=changed,
    )


def move(zones: Sequence[Zone], request: Request) -> list[Outcome]:
    """Lead all zones to the target. Nothing is touched before every zone was planned. Raises RecoveryError."""
    asking.require()
    for zone in zones:
        require_target(zone, request.target)
    # The zones are worked on side by side, and whoever is asked before each change is used to one question at a time.
    request = replace(request, guard=one_at_a_time(request.guard))
    moves = at_once(partial(Move, request=request), zones)
    at_once(Move.prepare, moves)
    if request.check:
        return [one.outcome for one in moves]
    failures = at_once(finished, moves)
    failed = [error for error in failures if error]
    if failed:
        # What was done elsewhere is named by running again; the first failure says what to do.
        failed[0].fields["changed"] = any(one.outcome.changed for one in moves)
        raise failed[0]
    return [one.outcome for one in moves]


def finished(one: Move) -> RecoveryError | None:
    """Do what is left to do in one zone; the other zones go on whatever becomes of it."""
    try:
        one.act()
        one.verify()
    except RecoveryError as error:
        return error
    return None


def require_target(zone: Zone, target: str) -> None:
    """Refuse a target that a zone knows nothing of. Raises BadInput."""
    if target not in zone.targets:
        raise wrong("target", target, f"one of the targets of {short(zone.name)}: {', '.join(zone.targets)}")


def line(outcome: Outcome, target: str, *, check: bool) -> str:
    """Say what became of a zone."""
    moved = len({name for change in outcome.changes for name in change.names})
    if check:
        return f"{outcome.zone}: {moved} of {outcome.names} names would be led to {target}, tail {outcome.predicted} s"
    text = f"{outcome.zone}: {outcome.names} names lead to {target} at {outcome.servers} name servers"
    text += (
        f" after {outcome.authority_seconds:.2f} s, at {outcome.resolvers} resolvers {outcome.tail_seconds:.2f} s later"
    )
    return text + f" ({moved} moved, tail predicted {outcome.predicted} s)"
