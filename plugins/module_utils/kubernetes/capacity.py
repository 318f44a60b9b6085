# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether there is room for more pods: in the namespaces' quotas and on the clusters' nodes, asked before any change.

Pods are packed onto nodes as a scheduler would, by what they ask for, which nodes they may run on and which taints they
bear. Affinity between pods, spreading and volumes are not looked at: what they forbid shows as pods that do not start.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import PreconditionFailed
from .bulk import grouped, run_all
from .client import ApiError
from .fleet import Fleet
from .gone import LIVING, Owners
from .resources import (
    ONE,
    PODS,
    Amounts,
    Defaults,
    Placement,
    Pod,
    Taint,
    added,
    amounts,
    parse_pod,
    shown,
    tolerates,
)
from .workloads import Target, Workload, path_of

SHOWN = 8
# How a quota names what it counts of pods. What else it counts, a change of sizes does not touch.
COUNTED = {"cpu": "requests.cpu", "memory": "requests.memory", "count/pods": PODS}

Space = tuple[str, str]
"""Cluster and namespace."""


@dataclass(frozen=True)
class Quota:
    """What a namespace may still hold. Of `scopes` all must fit a pod for it to count."""

    name: str
    hard: Amounts
    used: Amounts
    scopes: tuple[tuple[str, str, frozenset[str]], ...] = ()

    def counts(self, pod: Pod, defaults: Defaults) -> bool:
        """Say whether it counts a pod."""
        return all(in_scope(pod, defaults, *scope) for scope in self.scopes)


@dataclass(frozen=True)
class Node:
    """A node that is ready to take pods."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    allocatable: Amounts

    def takes(self, placement: Placement) -> bool:
        """Say whether pods of this placement may run on it."""
        return (
            all(self.labels.get(key) == value for key, value in placement.labels)
            # A term that names no label means nodes by their other fields, which we do not read.
            and (not placement.terms or any(not t.query() or t.matches(self.labels) for t in placement.terms))
            and all(tolerates(placement, taint) for taint in self.taints)
        )


@dataclass
class Room:
    """What one cluster holds. `used` is by node, `bound` counts the pods of each of our workloads that have a node."""

    nodes: list[Node] = field(default_factory=list)
    used: dict[str, dict[str, int]] = field(default_factory=dict)
    bound: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Need:
    """How many pods a workload is to have more (or fewer) than it has, and than have a node."""

    target: Target
    pod: Pod
    more: int
    unbound: int


@dataclass(frozen=True)
class Shortfall:
    """What is missing in one place of one resource."""

    cluster: str
    where: str
    resource: str
    wanted: int
    free: int
    note: str = ""

    @property
    def short(self) -> int:
        """Give how much is missing."""
        return self.wanted - max(0, self.free)

    def line(self) -> str:
        """Say it in half a line."""
        if self.note:
            return f"{self.where}: {self.note}"
        wanted, free, short = (shown(self.resource, n) for n in (self.wanted, max(0, self.free), self.short))
        return f"{self.where}: {self.resource} short of {short} ({wanted} more wanted, {free} free)"

    def as_result(self) -> dict[str, Any]:
        """Give it as part of a task's result, in cores, bytes and pods."""
        sizes = {"wanted": self.wanted / ONE, "free": max(0, self.free) / ONE, "short": self.short / ONE}
        return {"cluster": self.cluster, "where": self.where, "resource": self.resource, "note": self.note, **sizes}


def growing(workloads: Mapping[Target, Workload], sizes: Mapping[Target, int]) -> list[Target]:
    """Give the workloads that are to have more pods than they have."""
    return [target for target, workload in workloads.items() if sizes[target] > workload.status.replicas]


def shortfalls(
    fleet: Fleet, workloads: Mapping[Target, Workload], sizes: Mapping[Target, int]
) -> tuple[list[Shortfall], list[ApiError]]:
    """Find what is missing for these sizes, and what could not be asked. Asks nothing if no workload grows."""
    grown = growing(workloads, sizes)
    spaces = list(dict.fromkeys((target.cluster, target.namespace) for target in grown))
    clusters = list(dict.fromkeys(target.cluster for target in grown))
    questions: list[tuple[str, str, str]] = [("room", cluster, "") for cluster in clusters]
    questions += [(kind, *space) for kind in ("resourcequotas", "limitranges") for space in spaces]

    def ask(question: tuple[str, str, str]) -> Any:
        kind, cluster, namespace = question
        if kind == "room":
            ours = {target: workload for target, workload in workloads.items() if target.cluster == cluster}
            return read_room(fleet, cluster, ours, sizes)
        parse = parse_quota if kind == "resourcequotas" else parse_limits
        found, _ = fleet.clients[cluster].list(
            path_of(namespace, kind), parse, deadline=fleet.deadline, doing=f"list the {kind} of namespace {namespace}"
        )
        return found

    groups = grouped(questions, lambda question: question[1])
    answers = run_all(groups, ask, concurrency=fleet.settings.concurrency)
    unknown = [answer for answer in answers.values() if isinstance(answer, ApiError)]
    known = {question: answer for question, answer in answers.items() if not isinstance(answer, ApiError)}
    found: list[Shortfall] = []
    for cluster in clusters:
        room = known.get(("room", cluster, ""))
        needs: list[tuple[Need, Defaults]] = []
        for space in (space for space in spaces if space[0] == cluster):
            defaults = merged(known.get(("limitranges", *space), ()))
            ours = needs_of(workloads, sizes, space, room)
            found += quota_shortfalls(space, known.get(("resourcequotas", *space), ()), ours, defaults)
            needs += [(need, defaults) for need in ours]
        if room is not None:
            found += node_shortfalls(cluster, room, needs)
    return found, unknown


def needs_of(
    workloads: Mapping[Target, Workload], sizes: Mapping[Target, int], space: Space, room: Room | None
) -> list[Need]:
    """Say how many pods each workload of a namespace lacks, or has too many."""
    return [
        Need(
            target,
            workload.pod,
            sizes[target] - workload.status.replicas,
            0 if room is None or workload.pod.node else sizes[target] - room.bound[workload.uid],
        )
        for target, workload in workloads.items()
        if (target.cluster, target.namespace) == space
    ]


def quota_shortfalls(
    space: Space, quotas: Iterable[Quota], needs: Sequence[Need], defaults: Defaults
) -> Iterator[Shortfall]:
    """Compare what would be added to a namespace with what its quotas leave. What gets smaller gives room."""
    for quota in quotas:
        wanted: dict[str, int] = {}
        for need in needs:
            if need.more and quota.counts(need.pod, defaults):
                wanted = added(wanted, charged(need.pod, defaults), need.more)
        for resource, hard in quota.hard.items():
            more, free = wanted.get(COUNTED.get(resource, resource), 0), hard - quota.used.get(resource, 0)
            if more > 0 and more > free:
                where = f"quota {quota.name} of namespace {space[1]}"
                yield Shortfall(space[0], where, resource, more, free)


def charged(pod: Pod, defaults: Defaults) -> dict[str, int]:
    """Give what a quota charges for one pod, by the names that quotas use."""
    requests, limits = pod.requests(defaults), pod.limits(defaults)
    return {
        PODS: ONE,
        **{f"requests.{name}": amount for name, amount in requests.items() if name != PODS},
        **{f"limits.{name}": amount for name, amount in limits.items()},
    }


def in_scope(pod: Pod, defaults: Defaults, scope: str, operator: str, values: frozenset[str]) -> bool:
    """Say whether a pod is within a quota's scope; one that we do not know counts, so that it is not overlooked."""
    if scope == "PriorityClass":
        if operator in ("Exists", "DoesNotExist"):
            return bool(pod.priority_class) == (operator == "Exists")
        return (pod.priority_class in values) == (operator == "In")
    known = {
        "BestEffort": pod.best_effort(defaults),
        "NotBestEffort": not pod.best_effort(defaults),
        "Terminating": pod.terminating,
        "NotTerminating": not pod.terminating,
    }
    return known.get(scope, True)


def node_shortfalls(cluster: str, room: Room, needs: Sequence[tuple[Need, Defaults]]) -> Iterator[Shortfall]:
    """Pack the pods that have no node yet, the largest first, and say what did not fit."""
    free = {node.name: added(node.allocatable, room.used.get(node.name, {}), -1) for node in room.nodes}
    asked = [(need, need.pod.requests(defaults)) for need, defaults in needs if need.unbound > 0]
    by_placement: dict[Placement, list[tuple[Need, dict[str, int]]]] = {}
    for need, requests in asked:
        by_placement.setdefault(need.pod.placement, []).append((need, requests))
    # Pods that may run on few nodes go first: the others find room elsewhere.
    choices = {p: [node for node in room.nodes if node.takes(p)] for p in by_placement}
    for placement in sorted(by_placement, key=lambda p: len(choices[p])):
        nodes, group = choices[placement], by_placement[placement]
        before = total(free[node.name] for node in nodes)
        homeless = {
            need.target: (pack(nodes, free, requests, need.unbound), requests) for need, requests in in_order(group)
        }
        homeless = {target: (left, requests) for target, (left, requests) in homeless.items() if left}
        if homeless:
            wanted: dict[str, int] = {}
            for need, requests in group:
                wanted = added(wanted, requests, need.unbound)
            yield from explained(cluster, placement, nodes, wanted, before, homeless)


def explained(
    cluster: str,
    placement: Placement,
    nodes: Sequence[Node],
    wanted: Amounts,
    free: Amounts,
    homeless: Mapping[Target, tuple[int, Amounts]],
) -> Iterator[Shortfall]:
    """Say which resource is short. If there is enough of each in sum, the pods are too large for any one node."""
    where = f"{len(nodes)} node{'' if len(nodes) == 1 else 's'}" + (
        " that these pods may run on" if placement != Placement() else ""
    )
    short = [name for name, amount in wanted.items() if amount > free.get(name, 0)]
    for name in short:
        yield Shortfall(cluster, where, name, wanted[name], free.get(name, 0))
    if short:
        return
    for target, (left, requests) in itertools.islice(homeless.items(), SHOWN):
        size = ", ".join(f"{name} {shown(name, amount)}" for name, amount in requests.items() if name != PODS)
        note = f"{left} pods of {target.key} ({size}) fit on no single node, though there is enough in sum"
        yield Shortfall(cluster, where, PODS, left * ONE, 0, note)


def in_order(group: Iterable[tuple[Need, dict[str, int]]]) -> list[tuple[Need, dict[str, int]]]:
    """Put the largest pods first."""
    return sorted(group, key=lambda entry: (entry[1].get("cpu", 0), entry[1].get("memory", 0)), reverse=True)


def pack(nodes: Iterable[Node], free: dict[str, dict[str, int]], requests: Amounts, number: int) -> int:
    """Take room for so many equal pods; gives how many found none."""
    for node in nodes:
        if number <= 0:
            return 0
        room = free[node.name]
        fits = min((room.get(name, 0) // amount for name, amount in requests.items() if amount), default=number)
        taken = max(0, min(number, fits))
        if taken:
            free[node.name] = added(room, requests, -taken)
            number -= taken
    return number


def total(many: Iterable[Amounts]) -> dict[str, int]:
    """Add amounts, of which none counts as less than nothing."""
    found: dict[str, int] = {}
    for one in many:
        found = added(found, {name: max(0, amount) for name, amount in one.items()})
    return found


def read_room(fleet: Fleet, cluster: str, workloads: Mapping[Target, Workload], sizes: Mapping[Target, int]) -> Room:
    """Read a cluster's nodes and what its pods ask for: two LISTs. Sums are kept, not the pods. Raises ApiError."""
    client, room = fleet.clients[cluster], Room()
    found, _ = client.list("/api/v1/nodes", parse_node, deadline=fleet.deadline, doing="list the nodes")
    room.nodes = found
    owners = {
        namespace: Owners(workload for target, workload in workloads.items() if target.namespace == namespace)
        for namespace in {target.namespace for target in workloads}
    }
    # Pods that are to go give their room to those that come.
    going = Counter(
        {workload.uid: max(0, workload.status.replicas - sizes[target]) for target, workload in workloads.items()}
    )

    def count(item: dict[str, Any]) -> None:
        meta, spec = item["metadata"], item["spec"]
        if not spec.get("nodeName") or meta.get("deletionTimestamp"):
            return
        owner = owners[meta["namespace"]].owner(meta.get("labels") or {}) if meta["namespace"] in owners else None
        if owner is not None:
            room.bound[owner.uid] += 1
            if going[owner.uid] > 0:
                going[owner.uid] -= 1
                return
        node = spec["nodeName"]
        room.used[node] = added(room.used.get(node, {}), parse_pod(meta, spec).requests())

    client.list(
        "/api/v1/pods",
        count,
        deadline=fleet.deadline,
        doing="list the pods of all namespaces",
        query={"fieldSelector": LIVING},
    )
    return room


def parse_node(item: Mapping[str, Any]) -> Node | None:
    """Read a node; None for one that takes no pods now."""
    spec, status = item.get("spec") or {}, item.get("status") or {}
    conditions = {entry.get("type"): entry.get("status") for entry in status.get("conditions") or []}
    if spec.get("unschedulable") or conditions.get("Ready") != "True":
        return None
    return Node(
        name=item["metadata"]["name"],
        labels=item["metadata"].get("labels") or {},
        taints=tuple(
            Taint(entry["key"], entry.get("value") or "", entry["effect"]) for entry in spec.get("taints") or []
        ),
        allocatable=amounts(status.get("allocatable")),
    )


def parse_quota(item: Mapping[str, Any]) -> Quota:
    """Read a quota. Its controller may not have counted yet: then what is wanted of it holds, and nothing is used."""
    spec, status = item["spec"], item.get("status") or {}
    selected = (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    return Quota(
        name=item["metadata"]["name"],
        hard=amounts(spec.get("hard")),
        used=amounts(status.get("used")),
        scopes=(
            *((scope, "Exists", frozenset[str]()) for scope in spec.get("scopes") or []),
            *((e["scopeName"], e.get("operator") or "Exists", frozenset(e.get("values") or ())) for e in selected),
        ),
    )


def parse_limits(item: Mapping[str, Any]) -> Defaults | None:
    """Read what a LimitRange gives to containers."""
    for entry in item["spec"].get("limits") or []:
        if entry.get("type") == "Container":
            return Defaults(amounts(entry.get("defaultRequest")), amounts(entry.get("default")))
    return None


def merged(defaults: Iterable[Defaults]) -> Defaults:
    """Combine a namespace's LimitRanges."""
    requests: dict[str, int] = {}
    limits: dict[str, int] = {}
    for one in defaults:
        requests |= one.requests or {}
        limits |= one.limits or {}
    return Defaults(requests, limits)


def refuse(found: Sequence[Shortfall], unknown: Sequence[ApiError]) -> None:
    """Raise PreconditionFailed if there is no room, or if that could not be asked."""
    if unknown and not found:
        raise PreconditionFailed(
            f"Whether there is room could not be asked, so nothing was touched: {unknown[0].what}",
            observed="; ".join(error.text for error in unknown),
            wanted="to list nodes, pods, resourcequotas and limitranges",
            next_action="grant the kubeconfig's user these rights, or set capacity to report",
            gate="capacity",
        )
    if not found:
        return
    clusters = ", ".join(dict.fromkeys(entry.cluster for entry in found))
    lines = [entry.line() for entry in found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"and {len(found) - SHOWN} more, named in shortfalls")
    raise PreconditionFailed(
        f"There is no room in cluster {clusters}: nothing was touched",
        observed="; ".join(lines),
        wanted="room for every pod that would be added",
        next_action="add nodes, raise the quotas or scale to less; if nodes come by themselves, set capacity to report",
        gate="capacity",
        shortfalls=[entry.as_result() for entry in found],
    )
