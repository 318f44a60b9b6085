# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HorizontalPodAutoscalers: raise what one may not go below instead of fighting it, and give it back on return.

A size that is written past an autoscaler lasts until it looks again, 15 seconds later. So its minReplicas says what
we want, and the size itself is only hastened. It is never lowered below what its owner wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import PreconditionFailed
from .bulk import grouped, run_all
from .client import MERGE_PATCH, ApiError, brief
from .fleet import Fleet, Written
from .progress import Progress
from .workloads import KINDS, Target, collection

KIND = "HorizontalPodAutoscaler"
MINIMUM = "platform.recovery/min-replicas"
MAXIMUM = "platform.recovery/max-replicas"
# What we set when we remembered. As long as it is still that, the memory is ours to give back.
RAISED_TO = "platform.recovery/raised-to"


@dataclass(frozen=True)
class Autoscaler:
    """An autoscaler as it was read. `governs` is its workload, `keeper` who writes it if that is no person."""

    target: Target
    governs: Target
    version: str
    generation: int
    minimum: int
    maximum: int
    kept_minimum: str | None = None
    kept_maximum: str | None = None
    raised_to: str | None = None
    keeper: str = ""


@dataclass(frozen=True)
class Bounds:
    """How an autoscaler's bounds change. No patch: they do not."""

    before: tuple[int, int]
    after: tuple[int, int]
    patch: dict[str, Any] | None


def read(fleet: Fleet, workloads: Iterable[Target]) -> dict[Target, Autoscaler]:
    """Read the autoscalers of workloads, by workload: one LIST for each cluster and namespace. Raises ApiError."""
    wanted = {bare(target): target for target in workloads}
    groups = grouped(((target.cluster, target.namespace) for target in wanted), lambda place: place[0])

    def ask(place: tuple[str, str]) -> list[Autoscaler]:
        found, _ = fleet.clients[place[0]].list(
            collection(place[1], KIND),
            lambda item: parse(place[0], item),
            deadline=fleet.deadline,
            doing=f"list the {KINDS[KIND]} of namespace {place[1]}",
        )
        return found

    found: dict[Target, Autoscaler] = {}
    for answer in run_all(groups, ask, concurrency=fleet.settings.concurrency).values():
        if isinstance(answer, ApiError):
            raise answer
        found |= {wanted[scaler.governs]: scaler for scaler in answer if scaler.governs in wanted}
    return found


def bare(target: Target) -> Target:
    """Give a target without what only a change of variables asks for."""
    return Target(target.cluster, target.namespace, target.kind, target.name)


def parse(cluster: str, item: Mapping[str, Any]) -> Autoscaler | None:
    """Read one; None if it governs something that we do not scale."""
    meta, spec = item["metadata"], item["spec"]
    governs = spec.get("scaleTargetRef") or {}
    if governs.get("kind") not in KINDS or not str(governs.get("apiVersion", "apps/v1")).startswith("apps/"):
        return None
    annotations = meta.get("annotations") or {}
    keeper = next((owner for owner in meta.get("ownerReferences") or [] if owner.get("controller")), None)
    return Autoscaler(
        target=Target(cluster, meta["namespace"], KIND, meta["name"]),
        governs=Target(cluster, meta["namespace"], governs["kind"], governs["name"]),
        version=meta["resourceVersion"],
        generation=meta.get("generation", 0),
        minimum=spec.get("minReplicas", 1),
        maximum=spec["maxReplicas"],
        kept_minimum=annotations.get(MINIMUM),
        kept_maximum=annotations.get(MAXIMUM),
        raised_to=annotations.get(RAISED_TO),
        keeper=f"{keeper['kind']} {keeper['name']}" if keeper else "",
    )


def owners_bounds(scaler: Autoscaler) -> tuple[int, int]:
    """Give the bounds that its owner wrote: what is remembered, unless somebody has changed them since."""
    if scaler.kept_minimum is None or scaler.raised_to != str(scaler.minimum):
        return scaler.minimum, scaler.maximum
    minimum = number(scaler, MINIMUM, scaler.kept_minimum)
    if scaler.kept_maximum is None or scaler.raised_to != str(scaler.maximum):
        return minimum, scaler.maximum
    return minimum, number(scaler, MAXIMUM, scaler.kept_maximum)


def plan_bounds(scaler: Autoscaler, wanted: int | None) -> Bounds:
    """Plan what an autoscaler may not go below; None gives its owner's bounds back.

    The former bounds travel in the same patch. One that is written by a controller is left alone: it would be
    written back.
    """
    present = (scaler.minimum, scaler.maximum)
    own_minimum, own_maximum = owners_bounds(scaler)
    minimum = max(own_minimum, wanted or 0)
    after = (minimum, max(own_maximum, minimum))
    raised = after != (own_minimum, own_maximum)
    remembers = scaler.kept_minimum is not None
    if scaler.keeper or (after == present and raised == remembers):
        return Bounds(present, present, None)
    annotations = {
        MINIMUM: str(own_minimum) if raised else None,
        MAXIMUM: str(own_maximum) if raised and minimum > own_maximum else None,
        RAISED_TO: str(minimum) if raised else None,
    }
    return Bounds(
        present,
        after,
        {
            "metadata": {"resourceVersion": scaler.version, "annotations": annotations},
            "spec": {"minReplicas": after[0], "maxReplicas": after[1]},
        },
    )


def number(scaler: Autoscaler, annotation: str, text: str) -> int:
    """Read what is remembered; what is no number was not written by us and is not guessed at."""
    if text.isascii() and text.isdigit():
        return int(text)
    raise PreconditionFailed(
        f"{scaler.target.key} remembers no usable bound",
        observed=f"annotation {annotation} is {brief(text, 40)!r}",
        wanted="a whole number",
        next_action="correct or remove the annotation and run again",
    )


def write(
    fleet: Fleet, scalers: Mapping[Target, Autoscaler], wanted: Mapping[Target, int | None], progress: Progress | None
) -> dict[Target, Written]:
    """Give the autoscalers of these workloads their bounds. Results are by autoscaler."""
    chosen = {scaler.target: scaler for target, scaler in scalers.items() if target in wanted}
    sizes = {scaler.target: wanted[target] for target, scaler in scalers.items() if target in wanted}

    def parsed(target: Target, item: Mapping[str, Any]) -> Autoscaler:
        found = parse(target.cluster, item)
        if found is None or found.governs != chosen[target].governs:
            raise ApiError(
                "conflict", "it governs another workload now", cluster=target.cluster, doing=f"read {target.key}"
            )
        return found

    def plan(target: Target, scaler: Autoscaler) -> Bounds:
        return plan_bounds(scaler, sizes[target])

    return fleet.write_objects(
        chosen, plan, lambda bounds: bounds.patch, MERGE_PATCH, "set minReplicas of", parsed, progress
    )
