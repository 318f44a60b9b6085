# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scale many workloads, remember their former sizes, and wait until pods are gone or ready."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import StepTimeout
from .bulk import grouped, run_all
from .client import MERGE_PATCH, ApiError
from .fleet import Fleet, Observation, Written
from .follow import Feed, follow
from .rollout import Progress, place_of, wait_ready, workload_feeds
from .workloads import Scale, Target, Workload, plan_scale

# A pod that has ended stays listed until somebody deletes it, but none of its processes is left.
LIVING = "status.phase!=Succeeded,status.phase!=Failed"
SHOWN_PODS = 8

Pods = dict[tuple[str, str], Feed[dict[str, str]]]


def scale(
    fleet: Fleet, targets: Sequence[Target], replicas: int | None, progress: Progress | None = None
) -> dict[str, Any]:
    """Scale all to a size, or (None) to what each remembers, and wait until that is so."""
    seen = fleet.observe(targets)

    def plan(target: Target, workload: Workload) -> Scale:
        return plan_scale(target, workload, replicas)

    begin = time.monotonic()
    done = fleet.write(seen, plan, lambda planned: planned.patch, MERGE_PATCH, "scale")
    changed = [target for target, written in done.items() if written.changed]
    if not fleet.settings.check:
        try:
            settle(fleet, fleet.observe(list(done)) if changed else seen, begin, progress)
        except StepTimeout as error:
            error.fields["changed"] = bool(changed)
            raise
    took = time.monotonic() - begin
    return {
        "changed": bool(changed),
        "total": len(targets),
        "scaled": len(changed),
        "unchanged": len(done) - len(changed),
        "workloads": {target.key: describe(target, written) for target, written in done.items()},
        "unreachable_clusters": {name: error.text for name, error in seen.unreachable.items()},
        "lines": lines_of(fleet, seen, done, replicas, took),
        "diff": {
            "before": "".join(f"{target.key} replicas={done[target].plan.before}\n" for target in changed),
            "after": "".join(f"{target.key} replicas={done[target].plan.after}\n" for target in changed),
        },
    }


def settle(fleet: Fleet, seen: Observation, begin: float, progress: Progress | None) -> None:
    """Wait for the pods of what has size 0 to be gone, and for the others to be ready."""
    empty = {target: workload for target, workload in seen.workloads.items() if workload.replicas == 0}
    rest = {target: workload for target, workload in seen.workloads.items() if workload.replicas}
    if empty:
        wait_gone(fleet, Observation(empty, seen.versions, seen.unreachable), progress)
    if rest:
        wait_ready(fleet, Observation(rest, seen.versions, seen.unreachable), begin, progress)


def wait_gone(fleet: Fleet, seen: Observation, progress: Progress | None) -> None:
    """Watch until no pod is left. Size 0 is not enough: a pod that terminates may still write.

    Raises StepTimeout naming the pods.
    """
    feeds = workload_feeds(fleet, seen)
    pods = pod_feeds(fleet, seen)
    reported: list[int] = []

    def left() -> list[str]:
        return [
            f"{target.namespace}/{name}"
            for target, workload in seen.workloads.items()
            for name, labels in pods[(target.cluster, target.namespace)].items.items()
            if workload.selector.matches(labels)
        ]

    def done() -> bool:
        if progress and (number := len(left())) not in reported[-1:]:
            reported.append(number)
            progress(f"{number} pods left")
        now = [feeds[place_of(target)].items.get(target.name) for target in seen.workloads]
        return not left() and all(workload is None or workload.complete() for workload in now)

    def settled() -> bool:
        return sets_settled(fleet, seen)

    if follow([*feeds.values(), *pods.values()], done, deadline=fleet.deadline, settled=settled):
        return
    names = left()
    trouble = [f"cluster {feed.client.name}: {feed.trouble.text}" for feed in pods.values() if feed.trouble]
    more = [f"and {len(names) - SHOWN_PODS} more"] if len(names) > SHOWN_PODS else []
    raise StepTimeout(
        f"{len(names)} pods are not gone after {fleet.settings.timeout_seconds:g} s",
        observed="; ".join([*names[:SHOWN_PODS], *more, *trouble]) or "their controllers have not reported it",
        wanted="no pod left that could write",
        next_action="look at their nodes (pods of a lost one stay: prove it down and delete them), then run again",
        pods=names,
    )


def sets_settled(fleet: Fleet, seen: Observation) -> bool:
    """Ask whether each Deployment's ReplicaSets have worked through their size 0.

    A Deployment can show no replica while its ReplicaSet is about to create a pod from an older order.
    """
    owners = {workload.uid for workload in seen.workloads.values() if workload.kind == "Deployment"}
    deployments = (target for target in seen.workloads if target.kind == "Deployment")
    groups = grouped(((target.cluster, target.namespace) for target in deployments), lambda place: place[0])

    def unsettled(item: Mapping[str, Any]) -> bool | None:
        mine = any(owner.get("uid") in owners for owner in item["metadata"].get("ownerReferences") or [])
        status = item.get("status") or {}
        quiet = (
            item["spec"].get("replicas", 1) == 0
            and status.get("observedGeneration", 0) >= item["metadata"].get("generation", 0)
            and status.get("replicas", 0) == 0
        )
        return True if mine and not quiet else None

    def ask(place: tuple[str, str]) -> bool:
        found, _ = fleet.clients[place[0]].list(
            f"/apis/apps/v1/namespaces/{place[1]}/replicasets",
            unsettled,
            deadline=fleet.deadline,
            doing=f"list the replicasets of namespace {place[1]}",
        )
        return not found

    answers = run_all(groups, ask, concurrency=fleet.settings.concurrency)
    for answer in answers.values():
        if isinstance(answer, ApiError) and answer.reason == "forbidden":
            raise answer
    return all(answer is True for answer in answers.values())


def pod_feeds(fleet: Fleet, seen: Observation) -> Pods:
    """Make a feed of living pods for each cluster and namespace; only their metadata travels."""
    feeds: Pods = {}
    for target in seen.workloads:
        place = (target.cluster, target.namespace)
        if place not in feeds:
            feeds[place] = Feed(
                client=fleet.clients[target.cluster],
                path=f"/api/v1/namespaces/{target.namespace}/pods",
                doing=f"watch the pods of namespace {target.namespace}",
                parse=lambda item: (item["metadata"]["name"], dict(item["metadata"].get("labels") or {})),
                items={},
                query={"fieldSelector": LIVING},
                metadata_only=True,
            )
    return feeds


def lines_of(
    fleet: Fleet, seen: Observation, done: Mapping[Target, Written], replicas: int | None, took: float
) -> list[str]:
    """Say in few words what was done."""
    changed = sum(written.changed for written in done.values())
    size = "their remembered sizes" if replicas is None else f"{replicas} replicas"
    if fleet.settings.check:
        lines = [f"{changed} of {len(done)} workloads would be scaled to {size}"]
    else:
        state = "no pod left" if replicas == 0 else "all ready"
        lines = [f"{len(done)} of {len(done)} workloads at {size}, {state} ({changed} scaled, {took:.2f} s)"]
    for target, written in done.items():
        if replicas is None and not written.changed and written.plan.after == 0:
            lines.append(f"{target.key} has no replicas and remembers no size: left as it is")
    return lines + [f"cluster {name} skipped: {error.text}" for name, error in seen.unreachable.items()]


def describe(target: Target, written: Written) -> dict[str, Any]:
    """Show one workload's result."""
    plan: Scale = written.plan
    return {
        "cluster": target.cluster,
        "namespace": target.namespace,
        "kind": target.kind,
        "name": target.name,
        "before": plan.before,
        "after": plan.after,
        "remembered": plan.remembered,
        "changed": written.changed,
    }
