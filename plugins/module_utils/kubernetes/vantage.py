# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See a platform's services from a cluster: what is ready, and where each workload points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .client import ApiError
from .fleet import Fleet, Observation, texts
from .workloads import Target, Workload, mask


def observe(fleet: Fleet, targets: Sequence[Target], variable: str | None) -> dict[str, Any]:
    """Read all. A cluster that does not answer is data here: it is what one wants to know in a disaster."""
    seen = fleet.look(targets)
    vantages = vantages_of(seen, targets)
    return {
        "changed": False,
        "total": len(targets),
        "ready": sum(fully_ready(workload) for workload in seen.workloads.values()),
        "workloads": {target.key: describe(target, workload, variable) for target, workload in seen.workloads.items()},
        "unreachable_clusters": texts(seen.unreachable),
        "lost_clusters": list(fleet.lost),
        "vantages": vantages,
        "lines": fleet.tell(targets, told(vantages)),
    }


def vantages_of(seen: Observation, targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Say what each cluster of these workloads saw."""
    by_cluster: dict[str, dict[Target, Workload]] = {target.cluster: {} for target in targets}
    for target, workload in seen.workloads.items():
        by_cluster[target.cluster][target] = workload
    return [vantage(cluster, workloads, seen.unreachable.get(cluster)) for cluster, workloads in by_cluster.items()]


def told(vantages: Iterable[Mapping[str, Any]]) -> list[str]:
    """Put it in words."""
    return [f"{entry['vantage']}: {entry['observed']}" for entry in vantages]


def vantage(cluster: str, workloads: Mapping[Target, Workload], trouble: ApiError | None) -> dict[str, Any]:
    """Say what one cluster saw. Alive: a pod of some service is ready, which these are only with their database.

    Readiness follows the probes' period: right after a failure it still says what was.
    """
    if trouble:
        return {"vantage": f"kubernetes {cluster}", "observed": f"{trouble.reason}: {trouble.text}", "alive": None}
    wanted = [workload for workload in workloads.values() if workload.replicas]
    alive = any(workload.status.ready for workload in wanted) if wanted else None
    seen = {"vantage": f"kubernetes {cluster}", "observed": readiness(workloads), "alive": alive}
    return {**seen, "since": None if alive else unready_since(wanted)}


def readiness(workloads: Mapping[Target, Workload]) -> str:
    """Say in few words how the services stand; which ones is only worth words where they differ."""
    wanted = {target: workload for target, workload in workloads.items() if workload.replicas}
    if not wanted:
        return "all scaled to 0"
    ready = sum(fully_ready(workload) for workload in wanted.values())
    since = unready_since(wanted.values())
    words = f"{ready} of {len(wanted)} services ready"
    if 0 < ready < len(wanted):
        words += ": " + ", ".join(f"{local_name(target)} {w.readiness()} ready" for target, w in wanted.items())
    if len(wanted) < len(workloads):
        words += f", {len(workloads) - len(wanted)} scaled to 0"
    return words + (f", since {since}" if since else "")


def unready_since(workloads: Iterable[Workload]) -> str | None:
    """Give since when too few pods of the first of them are available."""
    return min((w.status.unready_since for w in workloads if w.status.unready_since), default=None)


def local_name(target: Target) -> str:
    """Give a workload's name within its cluster."""
    return target.key.removeprefix(f"{target.cluster}/")


def fully_ready(workload: Workload) -> bool:
    """Say whether as many pods are ready as are wanted. Of none that are wanted, none is."""
    return 0 < workload.replicas <= workload.status.ready


def describe(target: Target, workload: Workload, variable: str | None) -> dict[str, Any]:
    """Show one workload."""
    values = [
        present.source or mask(present.value)
        for container in workload.containers
        if target.container in (None, container.name)
        for present in container.variables
        if present.name == (target.variable or variable)
    ]
    return {
        "cluster": target.cluster,
        "namespace": target.namespace,
        "kind": target.kind,
        "name": target.name,
        "ready": workload.status.ready,
        "replicas": workload.replicas,
        "complete": workload.complete(),
        "unready_since": workload.status.unready_since,
        "remembered": workload.remembered,
        "value": ", ".join(dict.fromkeys(values)) or None,
    }
