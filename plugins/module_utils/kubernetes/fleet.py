# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clusters and workloads of one task: find them all before anything is touched, and change them under a lock."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from ..clock import elapsed
from ..errors import BadInput, PreconditionFailed, RecoveryError, StepFailed
from ..schema import closest
from .bulk import grouped, run_all
from .client import METADATA, METADATA_LIST, ApiError, Client
from .kubeconfig import load
from .progress import Progress
from .transport import Deadline
from .workloads import KINDS, Target, Workload, collection, parse

P = TypeVar("P")
T = TypeVar("T", bound="Generation")

# Somebody else's change in between costs one more look each time. Status updates of a running rollout count too.
CONFLICT_ATTEMPTS = 8
# For how long an answer about the lease stands for the patches that follow.
GUARD_SECONDS = 1.0
# A cluster that answers like this is not one that can be worked on, whatever the reason: a fact to weigh, not a defect.
SILENT = {"unreachable", "broken", "throttled", "unauthorized", "forbidden"}
# These hold for all of a cluster: one call that meets them is enough, each further one would only cost its time-out.
CLUSTER_WIDE = {"unreachable", "unauthorized"}
NO_WORKLOAD = "no workload depends on it"
WORKLOADS = ("Deployment", "StatefulSet")

Place = tuple[str, str, str]
"""Cluster, namespace, kind: what one LIST and one WATCH cover."""


@dataclass(frozen=True)
class Settings:
    """How a task treats its clusters."""

    timeout_seconds: float
    concurrency: int = 32
    request_seconds: float = 10.0
    lost_clusters: tuple[str, ...] = ()
    check: bool = False
    # Asked before anything is patched; raises where this run may change nothing any more.
    guard: Callable[[], None] = field(default=lambda: None, compare=False)


@dataclass(frozen=True)
class Observation:
    """All targets as they were read at once. `versions` are where a watch can start."""

    workloads: Mapping[Target, Workload]
    versions: Mapping[Place, str]
    unreachable: Mapping[str, ApiError] = field(default_factory=dict)


@dataclass(frozen=True)
class Whole:
    """A namespace of which all workloads are meant."""

    cluster: str
    namespace: str


class Generation(Protocol):
    """An object that is planned and patched."""

    @property
    def generation(self) -> int:
        """Count the changes of what is wanted of it."""


@dataclass(frozen=True)
class Written:
    """What became of one target: its plan, whether it was patched, and the generation that resulted."""

    plan: Any
    changed: bool
    generation: int


@dataclass
class Fleet:
    """Clients of all clusters of a task. `lost` counts the workloads in clusters that are not asked at all.

    Of the namespaces `wholes` each workload is meant that `observe` finds.
    """

    clients: Mapping[str, Client]
    settings: Settings
    lost: Mapping[str, int] = field(default_factory=dict)
    wholes: tuple[Whole, ...] = ()
    deadline: Deadline = field(init=False)
    _asked_at: float = field(init=False, default=float("-inf"), repr=False)

    def __post_init__(self) -> None:
        self.deadline = Deadline.after(self.settings.timeout_seconds)

    def close(self) -> None:
        """Close all connections."""
        for client in self.clients.values():
            client.close()

    def observe(self, targets: Sequence[Target]) -> Observation:
        """Read all targets and all workloads of whole namespaces: one LIST for each cluster, namespace and kind.

        Raises PreconditionFailed for a cluster that does not answer, BadInput for a workload that does not exist.
        """
        seen = self.look(targets, self.wholes)
        if seen.unreachable:
            raise refuse_unreachable(seen.unreachable)
        self._refuse_nowhere(seen)
        return seen

    def observe_again(self, targets: Sequence[Target]) -> Observation:
        """Read what was changed once more. Raises StepFailed if any of it cannot be seen: it must not count as done."""
        try:
            seen = self.look(targets)
        except (BadInput, PreconditionFailed) as error:
            raise StepFailed(
                f"It was changed, and then: {error.what}", observed=error.observed, next_action=error.next_action
            ) from None
        if seen.unreachable:
            names = ", ".join(seen.unreachable)
            raise StepFailed(
                f"Cluster {names} was changed and then lost: nobody can say what became of its workloads",
                observed="; ".join(error.text for error in seen.unreachable.values()),
                wanted="an answer from every cluster that was changed",
                next_action=f"bring {names} back, or name it in recovery_lost_clusters, and run it again",
                unreachable=texts(seen.unreachable),
            )
        return seen

    def look(self, targets: Sequence[Target], wholes: Sequence[Whole] = ()) -> Observation:
        """Read as `observe` does, but give a cluster that does not answer as data."""
        wanted: dict[Place, dict[str, Target]] = {}
        for target in targets:
            wanted.setdefault((target.cluster, target.namespace, target.kind), {})[target.name] = target
        complete = {(whole.cluster, whole.namespace, kind) for whole in wholes for kind in WORKLOADS}
        for place in sorted(complete):
            wanted.setdefault(place, {})
        groups = grouped(wanted, lambda place: place[0])
        silent: dict[str, ApiError] = {}

        def read(place: Place) -> tuple[list[Workload], list[str], str]:
            if place[0] in silent:
                raise silent[place[0]]
            try:
                return self._list(place, None if place in complete else wanted[place])
            except ApiError as error:
                if error.reason in CLUSTER_WIDE:
                    silent[place[0]] = error
                raise

        answers = run_all(groups, read, concurrency=self.settings.concurrency)
        workloads: dict[Target, Workload] = {}
        versions: dict[Place, str] = {}
        unreachable: dict[str, ApiError] = {}
        absent: list[tuple[Target, list[str]]] = []
        for place, answer in answers.items():
            if isinstance(answer, ApiError):
                if answer.reason not in SILENT:
                    raise PreconditionFailed(answer.what, observed=answer.text, next_action=answer.next_action)
                unreachable[place[0]] = answer
                continue
            found, names, versions[place] = answer
            by_name = {workload.name: workload for workload in found}
            for name, target in wanted[place].items():
                if name in by_name:
                    workloads[target] = by_name[name]
                else:
                    absent.append((target, names))
            more = sorted(by_name.keys() - wanted[place].keys())
            workloads |= {Target(*place, name): by_name[name] for name in more}
        if absent:
            raise self._unknown(absent)
        ordered = {target: workloads[target] for target in targets if target in workloads}
        return Observation(ordered | workloads, versions, unreachable)

    def tell(self, targets: Sequence[Target], lines: Sequence[str]) -> list[str]:
        """Complete a verb's facts by what was left out."""
        lost = [
            # Nobody can count what is in the namespaces of a cluster that is not asked.
            f"cluster {name} is lost by the operator's word: not asked, "
            f"{f'its {counted(number)}' if number else 'all its workloads'} left as they are"
            for name, number in self.lost.items()
        ]
        if targets:
            return [*lines, *lost]
        return lost or [NO_WORKLOAD]

    def write(
        self,
        observation: Observation,
        plan: Callable[[Target, Workload], P],
        patch: Callable[[P], Any],
        content_type: str,
        doing: str,
        progress: Progress | None = None,
    ) -> dict[Target, Written]:
        """Plan every target, then patch those that need it, all at once; nothing is patched if one plan is refused.

        A conflict means that somebody changed the object: it is read and planned again, a few times.
        Raises StepFailed that names each target which could not be patched; the others are done.
        """
        return self.write_objects(observation.workloads, plan, patch, content_type, doing, parsed_workload, progress)

    def write_objects(
        self,
        objects: Mapping[Target, T],
        plan: Callable[[Target, T], P],
        patch: Callable[[P], Any],
        content_type: str,
        doing: str,
        parsed: Callable[[Target, Mapping[str, Any]], T],
        progress: Progress | None = None,
    ) -> dict[Target, Written]:
        """Write as `write` does, objects of any kind."""
        plans = {target: plan(target, thing) for target, thing in objects.items()}
        done = {
            target: Written(planned, patch(planned) is not None, objects[target].generation)
            for target, planned in plans.items()
        }
        groups = grouped((key for key, entry in done.items() if entry.changed), lambda target: target.cluster)
        if self.settings.check or not groups:
            return done
        self._ask_for_lease(again=True)
        total, counter = sum(entry.changed for entry in done.values()), itertools.count(1)

        def apply(target: Target) -> Written:
            written = self._patch(target, plans[target], plan, patch, content_type, doing, parsed)
            if progress:
                progress(f"{doing}: {next(counter)} of {total} patched")
            return written

        try:
            answers = run_all(groups, apply, concurrency=self.settings.concurrency)
        except RecoveryError as error:
            error.fields["changed"] = True  # the lease was lost between two patches
            raise
        failed = {target: answer for target, answer in answers.items() if isinstance(answer, ApiError)}
        done.update({target: answer for target, answer in answers.items() if isinstance(answer, Written)})
        if failed:
            raise refuse_partial(failed, done, doing)
        return done

    def _patch(
        self,
        target: Target,
        planned: P,
        plan: Callable[[Target, T], P],
        patch: Callable[[P], Any],
        content_type: str,
        doing: str,
        parsed: Callable[[Target, Mapping[str, Any]], T],
    ) -> Written:
        client = self.clients[target.cluster]
        what = f"{doing} {target.namespace}/{target.name}"
        uncertain = False
        for attempt in range(1, CONFLICT_ATTEMPTS + 1):
            # A conflict may be the change of whoever has taken the lease over.
            self._ask_for_lease(again=attempt > 1)
            body = patch(planned)
            try:
                answer = client.request(
                    "PATCH",
                    target.path,
                    deadline=self.deadline,
                    doing=what,
                    body=body,
                    content_type=content_type,
                    accept=METADATA,
                )
                return Written(planned, True, int(answer["metadata"].get("generation", 0)))
            except ApiError as error:
                if error.reason != "conflict" or attempt == CONFLICT_ATTEMPTS:
                    raise
                uncertain = uncertain or error.retried
            item = client.request("GET", target.path, deadline=self.deadline, doing=what)
            thing = parsed(target, item)
            try:
                before, planned = planned, plan(target, thing)
            except RecoveryError as error:
                # What was plannable a moment ago is not any more: this target's failure, not that of the others.
                raise ApiError("invalid", error.what, cluster=target.cluster, doing=what) from None
            if patch(planned) is None:
                # Either somebody else did the same, or an earlier try of ours got through without an answer.
                return Written(before if uncertain else planned, uncertain, thing.generation)
        raise AssertionError("unreachable code: the last attempt returns or raises")

    def _ask_for_lease(self, *, again: bool) -> None:
        """Ask before a patch unless the answer is a moment old: between two of them this process may be frozen."""
        now = elapsed()
        if again or now - self._asked_at > GUARD_SECONDS:
            self.settings.guard()
            self._asked_at = now

    def _list(self, place: Place, wanted: Mapping[str, Target] | None) -> tuple[list[Workload], list[str], str]:
        cluster, namespace, kind = place
        names: list[str] = []

        def keep(item: dict[str, Any]) -> Workload | None:
            names.append(item["metadata"]["name"])
            return parse(kind, item) if wanted is None or item["metadata"]["name"] in wanted else None

        found, version = self.clients[cluster].list(
            collection(namespace, kind),
            keep,
            deadline=self.deadline,
            doing=f"list the {KINDS[kind]} of namespace {namespace}",
        )
        return found, names, version

    def _refuse_nowhere(self, seen: Observation) -> None:
        """Refuse a namespace that does not exist: an empty list would look like all being done."""
        filled = {(target.cluster, target.namespace) for target in seen.workloads}
        for whole in self.wholes:
            if (whole.cluster, whole.namespace) in filled:
                continue
            spaces = self._namespaces(whole.cluster)
            if whole.namespace not in spaces:
                near = closest(whole.namespace, spaces)
                raise BadInput(
                    f"There is no namespace {whole.namespace} in cluster {whole.cluster}",
                    wanted="a namespace that exists",
                    next_action=f"use {near!r}" if near else "correct its name and run again; nothing was touched",
                    nearest=near,
                )

    def _namespaces(self, cluster: str) -> list[str]:
        found, _ = self.clients[cluster].list(
            "/api/v1/namespaces",
            lambda item: str(item["metadata"]["name"]),
            deadline=self.deadline,
            doing="list the namespaces",
            accept=METADATA_LIST,
        )
        return found

    def _unknown(self, absent: Sequence[tuple[Target, list[str]]]) -> BadInput:
        texts, nearest = [], None
        for target, names in absent[:5]:
            near = closest(target.name, names)
            nearest = nearest or near
            seen = f"did you mean {near!r}?" if near else self._nothing_near(target, names)
            texts.append(f"{target.kind} {target.namespace}/{target.name} in cluster {target.cluster} ({seen})")
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        return BadInput(
            f"There is no {'; no '.join(texts)}{more}",
            wanted="workloads that exist",
            next_action="correct the name in the platform description and run again; nothing was touched",
            unknown=[target.key for target, _ in absent],
            nearest=nearest,
        )

    def _nothing_near(self, target: Target, names: list[str]) -> str:
        if names:
            return f"the namespace holds {', '.join(sorted(names)[:5])}{' …' if len(names) > 5 else ''}"
        try:
            spaces = self._namespaces(target.cluster)
        except ApiError:
            return f"the namespace holds no {target.kind}"
        if target.namespace in spaces:
            return f"the namespace holds no {target.kind}"
        near = closest(target.namespace, spaces)
        return "the namespace does not exist" + (f"; did you mean {near!r}?" if near else "")


def parsed_workload(target: Target, item: Mapping[str, Any]) -> Workload:
    """Read a workload that was read again."""
    return parse(target.kind, item)


def build(
    clusters: Mapping[str, Mapping[str, Any]],
    workloads: Sequence[Mapping[str, Any]],
    settings: Settings,
    namespaces: Sequence[Mapping[str, Any]] = (),
    also: Sequence[str] = (),
) -> tuple[Fleet, list[Target]]:
    """Turn a task's options into clients and targets.

    Opens what a workload or namespace or `also` names and is not lost.
    """
    for name in settings.lost_clusters:
        if name not in clusters:
            raise undescribed(f"lost_clusters names {name!r}, which is not described", name, clusters)
    named = named_targets(clusters, workloads)
    wholes = tuple(dict.fromkeys(Whole(entry["cluster"], entry["namespace"]) for entry in namespaces))
    for whole in wholes:
        if whole.cluster not in clusters:
            what = f"Namespace {whole.namespace} is in cluster {whole.cluster!r}, which is not described"
            raise undescribed(what, whole.cluster, clusters)
    for name in also:
        if name not in clusters:
            raise undescribed(f"Cluster {name!r} is not described", name, clusters)
    targets = [target for target in named if target.cluster not in settings.lost_clusters]
    open_wholes = tuple(whole for whole in wholes if whole.cluster not in settings.lost_clusters)
    clients = {
        name: Client(
            name,
            load(clusters[name].get("kubeconfig"), clusters[name].get("context")),
            request_seconds=settings.request_seconds,
        )
        for name in dict.fromkeys([*(t.cluster for t in targets), *(w.cluster for w in open_wholes), *also])
        if name not in settings.lost_clusters
    }
    lost = Counter(target.cluster for target in named if target.cluster in settings.lost_clusters)
    lost.update({whole.cluster: 0 for whole in wholes if whole.cluster in settings.lost_clusters})
    return Fleet(clients, settings, lost, open_wholes), targets


def named_targets(clusters: Mapping[str, Mapping[str, Any]], workloads: Sequence[Mapping[str, Any]]) -> list[Target]:
    """Read the workloads of a task, each once. Raises BadInput."""
    unique: dict[str, Target] = {}
    for entry in workloads:
        target = Target(
            cluster=entry["cluster"],
            namespace=entry["namespace"],
            kind=entry["kind"],
            name=entry["name"],
            container=entry.get("container"),
            variable=entry.get("variable"),
        )
        if target.cluster not in clusters:
            what = f"Workload {target.namespace}/{target.name} is in cluster {target.cluster!r}, which is not described"
            raise undescribed(what, target.cluster, clusters)
        if unique.setdefault(target.key, target) != target:
            raise BadInput(
                f"Workload {target.key} is named twice, with different containers or variables",
                next_action="name it once; without a container all that have the variable are meant",
            )
    return list(unique.values())


def undescribed(what: str, name: str, clusters: Mapping[str, Any]) -> BadInput:
    """Make the error of a cluster that nobody described."""
    near = closest(name, clusters)
    return BadInput(
        what,
        wanted=f"one of {', '.join(sorted(clusters)) or 'none: no cluster is described'}",
        next_action=f"use {near!r}" if near else "describe the cluster, or name one that is described",
        nearest=near,
    )


@contextmanager
def opened(
    options: Mapping[str, Any],
    *,
    check: bool,
    guard: Callable[[], None] = lambda: None,
    also: Sequence[str] = (),
) -> Iterator[tuple[Fleet, list[Target]]]:
    """Open the clusters of a task's options, and close them in the end."""
    settings = Settings(
        timeout_seconds=options["timeout_seconds"],
        concurrency=options.get("concurrency") or Settings.concurrency,
        request_seconds=options["request_timeout_seconds"],
        lost_clusters=tuple(options["lost_clusters"]),
        check=check,
        guard=guard,
    )
    namespaces = options.get("namespaces") or ()
    fleet, targets = build(options["clusters"], options["workloads"] or (), settings, namespaces, also)
    try:
        yield fleet, targets
    finally:
        fleet.close()


@contextmanager
def owning(changed: Sequence[Target]) -> Iterator[None]:
    """Let an error that comes after a change name what was changed, so that the caller can journal it."""
    try:
        yield
    except RecoveryError as error:
        if changed:
            error.fields |= {"changed": True, "changed_workloads": [target.key for target in changed]}
        raise


def counted(number: int) -> str:
    """Write a number of workloads."""
    return f"{number} workload" + ("" if number == 1 else "s")


def texts(errors: Mapping[str, ApiError]) -> dict[str, str]:
    """Give each cluster's own words."""
    return {name: error.text for name, error in errors.items()}


def refuse_unreachable(unreachable: Mapping[str, ApiError]) -> PreconditionFailed:
    """Make the error of clusters that do not answer."""
    actions = dict.fromkeys(error.next_action or "" for error in unreachable.values())
    lost = "if a cluster is lost, name it in recovery_lost_clusters with a recovery_reason"
    return PreconditionFailed(
        f"Nothing was touched: {'; '.join(error.what[0].lower() + error.what[1:] for error in unreachable.values())}",
        observed="; ".join(f"{name}: {error.text}" for name, error in unreachable.items()),
        wanted="an answer from every cluster that is named",
        next_action="; ".join([*actions, lost]),
        unreachable=texts(unreachable),
    )


def refuse_partial(failed: Mapping[Target, ApiError], done: Mapping[Target, Written], doing: str) -> RecoveryError:
    """Make the error of a bulk write that did not succeed everywhere."""
    written = [target for target, entry in done.items() if entry.changed and target not in failed]
    shown = [f"{target.key}: {error.text}" for target, error in list(failed.items())[:10]]
    if len(failed) > len(shown):
        shown.append(f"and {len(failed) - len(shown)} more")
    contested = all(error.reason == "conflict" for error in failed.values())
    kind = PreconditionFailed if contested else StepFailed
    action = "run it again; what is done already is left alone"
    if contested:
        action = "find out who keeps changing these workloads (an operator, GitOps), stop it, and run again"
    return kind(
        f"Could not {doing} {len(failed)} of {len(done)} workloads"
        + (f": somebody else changed them {CONFLICT_ATTEMPTS} times in between" if contested else ""),
        observed="; ".join(shown),
        next_action=action,
        changed=bool(written),
        failed_workloads={target.key: error.text for target, error in failed.items()},
        changed_workloads=[target.key for target in written],
    )
