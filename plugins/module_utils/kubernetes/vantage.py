# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See a platform's services from a cluster: what is ready, and where each workload points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .fleet import Fleet
from .workloads import Target, Workload, mask


def observe(fleet: Fleet, targets: Sequence[Target], variable: str | None) -> dict[str, Any]:
    """Read all. A cluster that does not answer is data here: it is what one wants to know in a disaster."""
    seen = fleet.look(targets)
    by_cluster: dict[str, dict[Target, Workload]] = {target.cluster: {} for target in targets}
    for target, workload in seen.workloads.items():
        by_cluster[target.cluster][target] = workload
    vantages = [
        vantage(cluster, workloads, seen.unreachable[cluster].text if cluster in seen.unreachable else None)
        for cluster, workloads in by_cluster.items()
    ]
    return {
        "changed": False,
        "total": len(targets),
        "ready": sum(fully_ready(workload) for workload in seen.workloads.values()),
        "workloads": {target.key: describe(target, workload, variable) for target, workload in seen.workloads.items()},
        "unreachable_clusters": {name: error.text for name, error in seen.unreachable.items()},
        "vantages": vantages,
        "lines": [f"{entry['vantage']}: {entry['observed']}" for entry in vantages],
    }


def vantage(cluster: str, workloads: Mapping[Target, Workload], unreachable: str | None) -> dict[str, Any]:
    """Say what one cluster saw. Alive: a pod of some service is ready, which these are only with their database.

    Readiness follows the probes' period: right after a failure it still says what was.
    """
    if unreachable:
        return {"vantage": f"kubernetes {cluster}", "observed": f"unreachable: {unreachable}", "alive": None}
    wanted = [workload for workload in workloads.values() if workload.replicas]
    alive = any(workload.status.ready for workload in wanted) if wanted else None
    return {"vantage": f"kubernetes {cluster}", "observed": readiness(workloads), "alive": alive}


def readiness(workloads: Mapping[Target, Workload]) -> str:
    """Say in few words how the services stand; which ones is only worth words where they differ."""
    counts = {target.name: workload.readiness() for target, workload in workloads.items()}
    ready = sum(fully_ready(workload) for workload in workloads.values())
    since = [workload.status.unready_since for workload in workloads.values() if workload.status.unready_since]
    words = f"{ready} of {len(counts)} services ready"
    if 0 < ready < len(counts):
        words += ": " + ", ".join(f"{name} {count} ready" for name, count in counts.items())
    return words + (f", since {min(since)}" if since else "")


def fully_ready(workload: Workload) -> bool:
    """Say whether as many pods are ready as are wanted."""
    return workload.status.ready >= workload.replicas


def describe(target: Target, workload: Workload, variable: str | None) -> dict[str, Any]:
    """Show one workload."""
    values = [
        present.source or mask(present.value)
        for container in workload.containers
        if target.container in (None, container.name)
        for present in container.variables
        if present.name == variable
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
