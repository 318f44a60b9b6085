# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PodDisruptionBudgets when workloads get smaller: how far down each may go.

Kubernetes asks them before an eviction only; a smaller size takes pods without asking. A share (minAvailable or
maxUnavailable in percent, and maxUnavailable in any form) follows the size, so only a number of pods that must be
available can be undercut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .bulk import grouped, run_all
from .client import ApiError
from .fleet import Fleet
from .selectors import Selector, parse_selector
from .workloads import Target, Workload, path_of

KIND = "poddisruptionbudgets"
GROUP = "/apis/policy/v1"


@dataclass(frozen=True)
class Budget:
    """How many of the pods that it selects must be available. `expected` is how many there should be."""

    cluster: str
    namespace: str
    name: str
    selector: Selector
    everything: bool
    minimum: int
    expected: int

    def covers(self, target: Target, workload: Workload) -> bool:
        """Say whether it is about a workload's pods."""
        if (target.cluster, target.namespace) != (self.cluster, self.namespace):
            return False
        return self.everything or self.selector.matches(dict(workload.pod.labels))


@dataclass(frozen=True)
class Floor:
    """What a workload may not be scaled below, and by whose word."""

    size: int
    budget: str


def read(fleet: Fleet, workloads: Iterable[Target]) -> list[Budget]:
    """Read the budgets around workloads: one LIST for each cluster and namespace. Raises ApiError."""
    groups = grouped(((target.cluster, target.namespace) for target in workloads), lambda place: place[0])

    def ask(place: tuple[str, str]) -> list[Budget]:
        found, _ = fleet.clients[place[0]].list(
            path_of(place[1], KIND, GROUP),
            lambda item: parse(place[0], item),
            deadline=fleet.deadline,
            doing=f"list the {KIND} of namespace {place[1]}",
        )
        return found

    found: list[Budget] = []
    for answer in run_all(groups, ask, concurrency=fleet.settings.concurrency).values():
        if isinstance(answer, ApiError):
            raise answer
        found += answer
    return found


def parse(cluster: str, item: Mapping[str, Any]) -> Budget | None:
    """Read one; None if it follows the size of what it is about."""
    meta, spec = item["metadata"], item["spec"]
    minimum, selector = spec.get("minAvailable"), spec.get("selector")
    if not isinstance(minimum, int) or selector is None:
        return None
    return Budget(
        cluster=cluster,
        namespace=meta["namespace"],
        name=meta["name"],
        selector=parse_selector(selector),
        everything=not selector.get("matchLabels") and not selector.get("matchExpressions"),
        minimum=minimum,
        expected=(item.get("status") or {}).get("expectedPods", 0),
    )


def floors(
    budgets: Iterable[Budget], workloads: Mapping[Target, Workload], wanted: Mapping[Target, int]
) -> dict[Target, Floor]:
    """Find what each workload that would get smaller may not go below. Size 0 is a stop on purpose: it has no floor.

    What a budget lacks is kept where most would be taken.
    """
    found: dict[Target, Floor] = {}
    for budget in budgets:
        covered = {target: workload for target, workload in workloads.items() if budget.covers(target, workload)}
        others = max(0, budget.expected - sum(workload.replicas for workload in covered.values()))
        sizes = {target: max(wanted[target], found[target].size if target in found else 0) for target in covered}
        lacking = budget.minimum - others - sum(sizes.values())
        shrinking = [target for target, workload in covered.items() if 0 < sizes[target] < workload.replicas]
        for target in sorted(shrinking, key=lambda one: sizes[one] - covered[one].replicas):
            if lacking <= 0:
                break
            kept = min(covered[target].replicas, sizes[target] + lacking)
            lacking -= kept - sizes[target]
            found[target] = Floor(kept, budget.name)
    return found
