# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until no pod of many workloads is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import StepTimeout
from .bulk import grouped, run_all
from .client import ApiError
from .fleet import Fleet, Observation, Place
from .follow import Feed, changes, follow
from .progress import Progress
from .rollout import workload_feeds
from .workloads import Workload, path_of

# A pod that has ended stays listed until somebody deletes it, but none of its processes is left.
LIVING = "status.phase!=Succeeded,status.phase!=Failed"
SHOWN_PODS = 8

Space = tuple[str, str]
"""Cluster and namespace: what one watch of pods covers."""


def wait_gone(fleet: Fleet, seen: Observation, progress: Progress | None) -> None:
    """Watch until no pod is left. Size 0 is not enough: a pod that terminates may still write.

    Raises StepTimeout naming the pods.
    """
    feeds = workload_feeds(fleet, seen)
    pods = pod_feeds(fleet, seen)
    left: set[tuple[Space, str]] = set()
    behind: set[tuple[Place, str]] = set()

    def done() -> bool:
        for space, name, ours in changes(pods):
            left.discard((space, name))
            if ours:
                left.add((space, name))
        for place, name, workload in changes(feeds):
            behind.discard((place, name))
            if workload is not None and not workload.scaled():
                behind.add((place, name))
        if progress:
            progress(f"{len(left)} pods left")
        return not left and not behind

    def settled() -> bool:
        return sets_settled(fleet, seen)

    if follow([*feeds.values(), *pods.values()], done, deadline=fleet.deadline, settled=settled):
        return
    names = sorted(f"{namespace}/{name}" for (_, namespace), name in left)
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
            path_of(place[1], "replicasets", "/apis/apps/v1"),
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


class Owners:
    """Says whether a pod belongs to one of many workloads, comparing it with the few that can be meant.

    Each workload is filed under that label of its selector which the fewest others share.
    """

    def __init__(self, workloads: Iterable[Workload]) -> None:
        chosen = list(workloads)
        users = Counter(pair for workload in chosen for pair in workload.selector.labels)
        self._filed: dict[tuple[str, str] | None, list[Workload]] = {}
        for workload in chosen:
            # A selector of expressions only can mean any pod.
            rarest = min(workload.selector.labels, key=lambda pair: users[pair], default=None)
            self._filed.setdefault(rarest, []).append(workload)

    def own(self, labels: Mapping[str, str]) -> bool:
        """Say whether one of the workloads selects these labels."""
        return self.owner(labels) is not None

    def owner(self, labels: Mapping[str, str]) -> Workload | None:
        """Give the workload that selects these labels."""
        for key in (None, *labels.items()):
            for workload in self._filed.get(key, ()):
                if workload.selector.matches(labels):
                    return workload
        return None


def pod_feeds(fleet: Fleet, seen: Observation) -> dict[Space, Feed[bool]]:
    """Make a feed for each cluster and namespace of which living pods are ours; only their metadata travels."""
    spaces: dict[Space, list[Workload]] = {}
    for target, workload in seen.workloads.items():
        spaces.setdefault((target.cluster, target.namespace), []).append(workload)
    return {space: pod_feed(fleet, space, Owners(workloads)) for space, workloads in spaces.items()}


def pod_feed(fleet: Fleet, space: Space, owners: Owners) -> Feed[bool]:
    """Make the feed of one namespace's pods. Others' pods stay in it: one may become ours when its labels change."""
    cluster, namespace = space
    return Feed(
        client=fleet.clients[cluster],
        path=path_of(namespace, "pods"),
        doing=f"watch the pods of namespace {namespace}",
        parse=lambda item: (item["metadata"]["name"], owners.own(item["metadata"].get("labels") or {})),
        items={},
        query={"fieldSelector": LIVING},
        metadata_only=True,
    )
