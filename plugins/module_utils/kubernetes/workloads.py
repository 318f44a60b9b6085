# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments and StatefulSets as values: what is, what is wanted, and the patch between them. Nothing here talks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ..errors import BadInput, PreconditionFailed
from ..schema import closest
from .client import brief
from .resources import Pod, parse_pod
from .selectors import Selector, parse_selector

KINDS = {
    "Deployment": "deployments",
    "StatefulSet": "statefulsets",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
}
GROUPS = {"HorizontalPodAutoscaler": "/apis/autoscaling/v2"}
REMEMBERED = "platform.recovery/replicas"
# What is remembered of the workloads of this name in other regions.
SIZES = "platform.recovery/sizes"
# What we set when we remembered. As long as the size is still that, the memory is ours to restore.
SCALED_TO = "platform.recovery/scaled-to"
GAVE_UP = "ProgressDeadlineExceeded"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


@dataclass(frozen=True)
class Target:
    """A workload that somebody named."""

    cluster: str
    namespace: str
    kind: str
    name: str
    container: str | None = None
    variable: str | None = None

    @property
    def key(self) -> str:
        """Give the name under which results show it."""
        kind = "" if self.kind == "Deployment" else f"{self.kind.lower()}/"
        return f"{self.cluster}/{self.namespace}/{kind}{self.name}"

    @property
    def path(self) -> str:
        """Give its path in the API."""
        return f"{collection(self.namespace, self.kind)}/{quote(self.name, safe='')}"


@dataclass(frozen=True)
class Variable:
    """An environment variable of a container. `source` names where its value comes from if it is not written here."""

    name: str
    value: str = field(repr=False)
    source: str | None = None


@dataclass(frozen=True)
class Container:
    """A container of a pod template, and where it stands in it."""

    name: str
    pointer: str
    variables: tuple[Variable, ...]
    imported: tuple[str, ...] = ()


@dataclass(frozen=True)
class GivenUp:
    """That a Deployment's controller waits no longer for a rollout: when it last said so, and in which words."""

    stamp: str
    message: str


@dataclass(frozen=True)
class Status:
    """What a workload's controller reported."""

    observed_generation: int = 0
    replicas: int = 0
    updated: int = 0
    ready: int = 0
    available: int = 0
    current_revision: str = ""
    update_revision: str = ""
    unready_since: str | None = None
    gave_up: GivenUp | None = None
    # Why no pod can be made, in the API server's words: a quota, or whoever else admits pods.
    refused: str = ""


@dataclass(frozen=True)
class Workload:
    """A Deployment or StatefulSet as it was read."""

    kind: str
    namespace: str
    name: str
    uid: str
    version: str
    generation: int
    replicas: int
    remembered: str | None
    scaled_to: str | None
    containers: tuple[Container, ...]
    selector: Selector
    status: Status
    held: str | None = None
    pod: Pod = field(default_factory=Pod)
    sizes: str | None = None

    def complete(self) -> bool:
        """Say whether every pod is of the newest template and available, and no older one is left."""
        status = self.status
        if status.observed_generation < self.generation:
            return False
        if status.replicas != self.replicas or status.updated < self.replicas or status.available < self.replicas:
            return False
        return self.kind == "Deployment" or status.current_revision == status.update_revision

    def scaled(self) -> bool:
        """Say whether as many pods are there and available as are wanted, of whichever template they are."""
        status = self.status
        return (
            status.observed_generation >= self.generation
            and status.replicas == self.replicas
            and status.available >= self.replicas
        )

    def gave_up(self) -> GivenUp | None:
        """Give that the controller gave the present rollout up, if so; what it said of an earlier one is no news."""
        return self.status.gave_up if self.status.observed_generation >= self.generation else None

    def readiness(self) -> str:
        """Give the ready count in words, e.g. ``2/2``."""
        return f"{self.status.ready}/{self.replicas}"


@dataclass(frozen=True)
class Repoint:
    """How a variable gets its value. No operations: it has it already."""

    variable: str
    containers: tuple[str, ...]
    before: str
    after: str
    operations: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Scale:
    """How a workload gets its size. No patch: it has it already.

    `forgotten` is a size that was remembered but is not restored, because somebody else has scaled it since.
    """

    before: int
    after: int
    remembered: int | None
    patch: dict[str, Any] | None
    forgotten: int | None = None


def collection(namespace: str, kind: str) -> str:
    """Give the path of all objects of a kind that we change in a namespace."""
    return path_of(namespace, KINDS[kind], GROUPS.get(kind, "/apis/apps/v1"))


def path_of(namespace: str, plural: str, group: str = "/api/v1") -> str:
    """Give the path of all objects of a kind in a namespace."""
    return f"{group}/namespaces/{quote(namespace, safe='')}/{plural}"


def parse(kind: str, item: Mapping[str, Any]) -> Workload:
    """Read an API object."""
    meta, spec, status = item["metadata"], item["spec"], item.get("status") or {}
    template = spec["template"]
    pod = template.get("spec") or {}
    annotations = meta.get("annotations") or {}
    return Workload(
        kind=kind,
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        version=meta["resourceVersion"],
        generation=meta.get("generation", 0),
        replicas=spec.get("replicas", 1),
        remembered=annotations.get(REMEMBERED),
        scaled_to=annotations.get(SCALED_TO),
        sizes=annotations.get(SIZES),
        containers=tuple(
            parse_container(container, f"/spec/template/spec/{section}/{index}")
            for section in ("initContainers", "containers")
            for index, container in enumerate(pod.get(section) or [])
        ),
        selector=parse_selector(spec.get("selector") or {}),
        status=parse_status(status),
        held=held(kind, spec),
        pod=parse_pod(template.get("metadata") or {}, pod),
    )


def parse_container(container: Mapping[str, Any], pointer: str) -> Container:
    """Read a container of a pod template."""
    variables = (
        Variable(entry["name"], entry.get("value", ""), source_of(entry.get("valueFrom")))
        for entry in container.get("env") or []
    )
    imported = (
        f"{'ConfigMap' if key == 'configMapRef' else 'Secret'} {reference.get('name')}"
        for entry in container.get("envFrom") or []
        for key, reference in entry.items()
        if key in ("configMapRef", "secretRef")
    )
    return Container(container["name"], pointer, tuple(variables), tuple(imported))


def source_of(value_from: Mapping[str, Any] | None) -> str | None:
    """Say in words where a variable's value comes from."""
    if not value_from:
        return None
    for key, word in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        reference = value_from.get(key)
        if reference:
            return f"key {reference.get('key')} of {word} {reference.get('name')}"
    return f"the pod itself ({', '.join(sorted(value_from))})"


def parse_status(status: Mapping[str, Any]) -> Status:
    """Read a status; what is zero is left out by the API."""
    conditions = {entry.get("type"): entry for entry in status.get("conditions") or []}
    available, progressing = conditions.get("Available") or {}, conditions.get("Progressing") or {}
    failure = conditions.get("ReplicaFailure") or {}
    stamp = str(progressing.get("lastUpdateTime") or progressing.get("lastTransitionTime") or "")
    gave_up = GivenUp(stamp, brief(str(progressing.get("message") or GAVE_UP)))
    return Status(
        observed_generation=status.get("observedGeneration", 0),
        replicas=status.get("replicas", 0),
        updated=status.get("updatedReplicas", 0),
        ready=status.get("readyReplicas", 0),
        available=status.get("availableReplicas", 0),
        current_revision=status.get("currentRevision", ""),
        update_revision=status.get("updateRevision", ""),
        unready_since=available.get("lastTransitionTime") if available.get("status") == "False" else None,
        gave_up=gave_up if progressing.get("reason") == GAVE_UP else None,
        refused=brief(str(failure.get("message") or "")) if failure.get("status") == "True" else "",
    )


def held(kind: str, spec: Mapping[str, Any]) -> str | None:
    """Say why a change of the template would not reach the pods, if so."""
    if spec.get("paused"):
        return "it is paused"
    strategy = spec.get("updateStrategy") or {}
    if kind == "StatefulSet" and strategy.get("type") == "OnDelete":
        return "its update strategy is OnDelete"
    partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
    if kind == "StatefulSet" and partition:
        return f"its update is held at partition {partition}"
    return None


def plan_repoint(target: Target, workload: Workload, variable: str, value: str) -> Repoint:
    """Plan a variable's new value in the container named, or in each that has the variable.

    A workload that names a variable of its own means that one.

    The patch addresses positions. That is exact, also where a name stands twice, and safe because it carries the
    resourceVersion of the object in which the positions were read. Raises BadInput or PreconditionFailed.
    """
    variable = target.variable or variable
    chosen = [(container, last(container, variable)) for container in candidates(target, workload)]
    found = [(container, *position) for container, position in chosen if position]
    if not found:
        raise missing(target, workload, variable)
    for container, _, present in found:
        if present.source:
            raise BadInput(
                f"{target.key}: variable {variable} of container {container.name} comes from {present.source}",
                wanted="a value written in the workload itself",
                next_action=f"change {present.source} and roll the workload, or name another variable",
                workload=target.key,
            )
    operations: tuple[dict[str, Any], ...] = tuple(
        {"op": "add", "path": f"{container.pointer}/env/{index}/value", "value": value}
        for container, index, present in found
        if present.value != value
    )
    if workload.held and (operations or not workload.complete()):
        raise PreconditionFailed(
            f"{target.key} would keep its old pods: {workload.held}",
            wanted="a workload whose pods follow its template",
            next_action="release it (kubectl rollout resume, or its updateStrategy) and run again",
            workload=target.key,
        )
    lock = {"op": "add", "path": "/metadata/resourceVersion", "value": workload.version}
    before = dict.fromkeys(mask(present.value) for _, _, present in found)
    return Repoint(
        variable=variable,
        containers=tuple(container.name for container, _, _ in found),
        before=", ".join(before),
        after=mask(value),
        operations=(lock, *operations) if operations else (),
    )


def candidates(target: Target, workload: Workload) -> tuple[Container, ...]:
    """Give the containers in which to look for a variable."""
    if target.container is None:
        return workload.containers
    names = [container.name for container in workload.containers]
    if target.container in names:
        return tuple(container for container in workload.containers if container.name == target.container)
    near = closest(target.container, names)
    raise BadInput(
        f"{target.key} has no container {target.container!r}",
        wanted=f"one of {', '.join(names)}",
        next_action=f"use {near!r}" if near else "name a container that exists, or none",
        workload=target.key,
    )


def last(container: Container, variable: str) -> tuple[int, Variable] | None:
    """Find a variable. Of two with one name the later is what the process sees."""
    found = [(index, present) for index, present in enumerate(container.variables) if present.name == variable]
    return found[-1] if found else None


def missing(target: Target, workload: Workload, variable: str) -> BadInput:
    """Make the error of a variable that is nowhere."""
    containers = candidates(target, workload)
    names = list(dict.fromkeys(present.name for container in containers for present in container.variables))
    imported = list(dict.fromkeys(source for container in containers for source in container.imported))
    near = closest(variable, names)
    action = f"use {near!r}" if near else "name a variable that the workload reads"
    if imported:
        action += f"; or, if it comes from {', '.join(imported)}, change it there"
    return BadInput(
        f"{target.key} has no variable {variable!r}",
        wanted=f"one of {', '.join(names) or 'none: no variable is written in it'}",
        next_action=action,
        workload=target.key,
    )


def plan_scale(target: Target, workload: Workload, wanted: int | None, *, at_least: bool = False) -> Scale:
    """Plan a size; None means the remembered one. The former size travels in the same patch, so it cannot get lost.

    What is remembered stays, because after a kill between two runs the present size is not the former one, unless the
    present size is not what we set either: then somebody else has scaled it since, and theirs is the size to keep.

    With `at_least` a size that is larger already stays, and one that an autoscaler governs is not restored: what was
    remembered of it is dropped.
    """
    kept = remembered_size(target, workload)
    ours = kept is not None and workload.scaled_to == str(workload.replicas)
    if wanted is None:
        if at_least and workload.replicas and kept is not None:
            return Scale(
                workload.replicas, workload.replicas, None, scale_patch(workload, workload.replicas, None, None)
            )
        return plan_restore(workload, kept, ours)
    if at_least:
        wanted = max(wanted, workload.replicas)
    former = kept if ours else workload.replicas
    if workload.replicas == wanted:
        return Scale(wanted, wanted, kept if ours else None, None)
    return Scale(workload.replicas, wanted, former, scale_patch(workload, wanted, str(former), str(wanted)))


def plan_restore(workload: Workload, kept: int | None, ours: bool) -> Scale:
    """Plan the return to the remembered size, or the end of a memory that somebody else's change has overtaken."""
    if kept is None:
        return Scale(workload.replicas, workload.replicas, None, None)
    after = kept if ours else workload.replicas
    return Scale(workload.replicas, after, None, scale_patch(workload, after, None, None), None if ours else kept)


def scale_patch(workload: Workload, replicas: int, remembered: str | None, scaled_to: str | None) -> dict[str, Any]:
    """Write the patch of a size and of what is remembered with it; None removes an annotation."""
    annotations = {REMEMBERED: remembered, SCALED_TO: scaled_to}
    return {
        "metadata": {"resourceVersion": workload.version, "annotations": annotations},
        "spec": {"replicas": replicas},
    }


def remembered_size(target: Target, workload: Workload) -> int | None:
    """Read the annotation; one that is no number was not written by us and is not guessed at."""
    text = workload.remembered
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    raise PreconditionFailed(
        f"{target.key} remembers no usable size",
        observed=f"annotation {REMEMBERED} is {brief(text, 40)!r}",
        wanted="a whole number",
        next_action="correct or remove the annotation and run again",
        workload=target.key,
    )


def plan_restart(workload: Workload, moment: str) -> dict[str, Any]:
    """Write the patch that `kubectl rollout restart` would, with a lock."""
    return {
        "metadata": {"resourceVersion": workload.version},
        "spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: moment}}}},
    }


def mask(value: str) -> str:
    """Hide the user part of a URL: a variable may hold a whole connection string."""
    return brief(value)
