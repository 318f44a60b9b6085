# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether everything could be scaled up right now: decided on as for real, cluster by cluster, and not done."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from ..errors import RecoveryError
from ..readiness import FIRST, Check, Checklist
from . import autoscale
from .autoscale import Autoscaler
from .fleet import Fleet, Observation
from .readiness import Right, reviewed, rights_check
from .scale import Course, Rules, decide, named
from .sizes import Memories, Size, Snapshot, known_of, name_of, said
from .vantage import local_name
from .workloads import KINDS, Target, Workload

ROLE = "scale_cluster"
# What scaling asks of the API beside what waiting for it does.
SCALERS = {"autoscaling": ("get", "list", "patch"), "policy": ("list",)}
LIMITS = ("resourcequotas", "limitranges")
WORDS = (
    "get, list, watch and patch workloads, get, list and patch horizontalpodautoscalers, "
    "list poddisruptionbudgets, resourcequotas, limitranges, nodes and pods"
)


def checks(name: str, fleet: Fleet, targets: Sequence[Target], size: Size, rules: Rules) -> list[Check]:
    """Look at each cluster once, and judge it. What is wrong with one says nothing of the others."""
    found: list[Check] = []
    for cluster in fleet.clients:
        on = Checklist(ROLE, f"{name} cluster {cluster}")
        alone = dataclasses.replace(fleet, wholes=tuple(w for w in fleet.wholes if w.cluster == cluster))
        ours = [target for target in targets if target.cluster == cluster]

        try:
            found += list(judged(on, alone, ours, size, rules))
        except RecoveryError as error:
            found.append(on.failed("sizes", error))
            found += [on.judged(what, None, "it could not be asked", "an answer", FIRST) for what in ("rights", "room")]
    return found


def judged(on: Checklist, fleet: Fleet, targets: Sequence[Target], size: Size, rules: Rules) -> Iterator[Check]:
    """Make the checks of one cluster. Raises RecoveryError for what keeps it from being asked at all."""
    seen = fleet.observe(targets)
    course = decide(fleet, seen, size, dataclasses.replace(rules, capacity="report"))
    yield rights(on, fleet, seen)
    yield sizes_check(on, course, size, len(seen.workloads))
    yield from room_checks(on, course, size)
    yield from bounds_checks(on, course, seen.workloads)


def rights(on: Checklist, fleet: Fleet, seen: Observation) -> Check:
    """Say whether the kubeconfig's user may do what scaling does."""
    spaces = dict.fromkeys((target.cluster, target.namespace, target.kind) for target in seen.workloads)
    wanted = [
        Right(cluster, namespace, "apps", KINDS[kind], verb)
        for cluster, namespace, kind in spaces
        for verb in ("get", "list", "watch", "patch")
    ]
    for cluster, namespace in dict.fromkeys((cluster, namespace) for cluster, namespace, _ in spaces):
        wanted += [Right(cluster, namespace, "", "pods", verb) for verb in ("list", "watch")]
        wanted += [Right(cluster, namespace, "", resource, "list") for resource in LIMITS]
        wanted += [Right(cluster, namespace, "autoscaling", KINDS[autoscale.KIND], v) for v in SCALERS["autoscaling"]]
        wanted += [Right(cluster, namespace, "policy", "poddisruptionbudgets", v) for v in SCALERS["policy"]]
    for cluster in dict.fromkeys(cluster for cluster, _, _ in spaces):
        wanted += [Right(cluster, "", "", resource, "list") for resource in ("nodes", "pods")]
    return rights_check(on, reviewed(fleet, wanted), WORDS)


def sizes_check(on: Checklist, course: Course, size: Size, total: int) -> Check:
    """Say whether of every workload it is known how large it should be."""
    unknown = [local_name(target) for target, wanted in course.wanted.items() if wanted.unknown]
    seen = f"known of {total - len(unknown)} of {total} workloads" + (f", not of {named(unknown)}" if unknown else "")
    mend = "remember the sizes while the region can be asked (scale_cluster, tasks_from: remember)"
    return on.judged("sizes", not unknown, seen, f"every workload can be scaled to {said(size)}", mend)


def memory_checks(
    name: str,
    fleet: Fleet,
    targets: Sequence[Target],
    region: str,
    now: Mapping[str, Memories],
    kept: Snapshot,
) -> list[Check]:
    """Say which workloads would come back too small, were the region lost this moment and asked no more."""
    on = Checklist(ROLE, name)

    def judged() -> list[Check]:
        small: list[str] = []
        wanted = f"what runs in {region} can come back as large"
        if not now:
            return [on.judged("memory of sizes", None, f"{region} does not answer", wanted, FIRST)]
        seen_now = fleet.look(targets)
        if seen_now.unreachable:
            silent = f"{', '.join(seen_now.unreachable)} does not answer"
            return [on.judged("memory of sizes", None, silent, wanted, FIRST)]
        for target, workload in seen_now.workloads.items():
            live = now.get(name_of(target), {}).get(region)
            memory = known_of(target, workload, kept).get(region)
            size = max(workload.replicas, memory.size if memory else 0)
            if live and size < live.size:
                small.append(f"{local_name(target)} with {size} instead of {live.size}")
        seen = f"too small would be {named(small)}" if small else f"none of {len(targets)} workloads would be smaller"
        mend = f"remember the sizes of {region} again (scale_cluster, tasks_from: remember)"
        return [on.judged("memory of sizes", not small, seen, wanted, mend)]

    return on.attempt("memory of sizes", judged)


def room_checks(on: Checklist, course: Course, size: Size) -> Iterator[Check]:
    """Say whether there is room for it; each resource that is short is a check of its own."""
    wanted = f"room for {said(size)}"
    for entry in course.lacking:
        mend = "raise the quota" if entry.where.startswith("quota ") else "add nodes, or make room on them"
        yield on.judged(f"room {entry.where} {entry.resource}", False, entry.line(), wanted, mend)
    if course.unknown:
        seen = "; ".join(error.what for error in course.unknown)
        yield on.judged("room", None, seen, wanted, "let the kubeconfig's user see it")
    elif not course.lacking:
        yield on.judged("room", True, "in quotas and on nodes", wanted, "")


def bounds_checks(on: Checklist, course: Course, workloads: Mapping[Target, Workload]) -> Iterator[Check]:
    """Name the autoscalers that would hold a workload below its size, because a controller keeps their bounds."""
    for target, scaler in course.scalers.items():
        wanted = course.bounds[target]
        if holds_back(scaler, wanted, workloads[target]):
            seen, mend = (
                f"maxReplicas {scaler.maximum}, kept by {scaler.keeper}",
                f"raise the bounds in {scaler.keeper}",
            )
            yield on.judged(f"autoscaler {local_name(scaler.target)}", False, seen, f"at least {wanted}", mend)


def holds_back(scaler: Autoscaler, wanted: int | None, workload: Workload) -> bool:
    """Say whether an autoscaler's bounds end below the size wanted, and we cannot raise them."""
    return bool(scaler.keeper) and wanted is not None and wanted > max(scaler.maximum, workload.replicas)
