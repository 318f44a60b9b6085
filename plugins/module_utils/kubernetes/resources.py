# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pod asks of its cluster and where it may run, as values. Amounts are whole thousandths, as milli-CPU."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any

from .selectors import Selector, parse_selector

Amounts = Mapping[str, int]

PODS = "pods"
ONE = 1000
SCALES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
}
GIB = 1024**3


@dataclass(frozen=True)
class Container:
    """What one container asks for."""

    requests: Amounts
    limits: Amounts
    # One of role init runs to its end before the others start, a sidecar starts before them and stays.
    role: str = "app"


@dataclass(frozen=True)
class Toleration:
    """That a pod bears a taint."""

    key: str
    operator: str
    value: str
    effect: str


@dataclass(frozen=True)
class Taint:
    """What keeps pods off a node."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True)
class Placement:
    """Which nodes a pod may run on. Equal for all pods that may run on the same."""

    labels: tuple[tuple[str, str], ...] = ()
    terms: tuple[Selector, ...] = ()
    tolerations: tuple[Toleration, ...] = ()


@dataclass(frozen=True)
class Pod:
    """A pod, or the template of many."""

    containers: tuple[Container, ...] = ()
    overhead: Amounts | None = None
    own_requests: Amounts | None = None
    own_limits: Amounts | None = None
    placement: Placement = field(default_factory=Placement)
    labels: tuple[tuple[str, str], ...] = ()
    priority_class: str = ""
    terminating: bool = False
    node: str = ""

    def requests(self, defaults: Defaults | None = None) -> dict[str, int]:
        """Give what one pod is counted with, itself included."""
        asked = effective([(c.role, (defaults or Defaults()).requests_of(c)) for c in self.containers])
        return {**added(asked | dict(self.own_requests or {}), self.overhead or {}), PODS: ONE}

    def limits(self, defaults: Defaults | None = None) -> dict[str, int]:
        """Give the limits that a quota counts."""
        asked = effective([(c.role, (defaults or Defaults()).limits_of(c)) for c in self.containers])
        return added(asked | dict(self.own_limits or {}), self.overhead or {})

    def best_effort(self, defaults: Defaults | None = None) -> bool:
        """Say whether it asks for neither CPU nor memory, so that it is the first to go."""
        asked = {**self.requests(defaults), **self.limits(defaults)}
        return not asked.get("cpu") and not asked.get("memory")


@dataclass(frozen=True)
class Defaults:
    """What a namespace's LimitRanges put into containers that ask for nothing."""

    requests: Amounts | None = None
    limits: Amounts | None = None

    def limits_of(self, container: Container) -> dict[str, int]:
        """Give a container's limits."""
        return {**(self.limits or {}), **container.limits}

    def requests_of(self, container: Container) -> dict[str, int]:
        """Give a container's requests; a limit of its own stands for a request that it does not name."""
        return {**(self.limits or {}), **(self.requests or {}), **container.limits, **container.requests}


def effective(asked: Iterable[tuple[str, Amounts]]) -> dict[str, int]:
    """Give what a pod needs at its worst: all that run side by side, or an init container beside earlier sidecars."""
    together: dict[str, int] = {}
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for role, amounts in asked:
        if role == "init":
            peak = largest(peak, added(sidecars, amounts))
            continue
        together = added(together, amounts)
        if role == "sidecar":
            sidecars = added(sidecars, amounts)
            peak = largest(peak, sidecars)
    return largest(together, peak)


def added(one: Amounts, other: Amounts, times: int = 1) -> dict[str, int]:
    """Add amounts."""
    return {name: one.get(name, 0) + times * other.get(name, 0) for name in {**one, **other}}


def largest(one: Amounts, other: Amounts) -> dict[str, int]:
    """Give the larger of each amount."""
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in {**one, **other}}


@lru_cache(maxsize=4096)
def milli(text: str) -> int:
    """Read a quantity; what is finer than a thousandth is rounded up, as the scheduler does. Raises ValueError."""
    number, scale = text, Decimal(1)
    for length in (2, 1):
        if text[-length:] in SCALES and len(text) > length:
            number, scale = text[:-length], SCALES[text[-length:]]
            break
    try:
        return math.ceil(Decimal(number) * scale * ONE)
    except ArithmeticError:
        raise ValueError(f"{text!r} is no quantity") from None


def amounts(quantities: Mapping[str, Any] | None) -> dict[str, int]:
    """Read a map of quantities."""
    return {name: milli(str(text)) for name, text in (quantities or {}).items()}


def shown(resource: str, amount: int) -> str:
    """Write an amount as people read it: cores, GiB, pods."""
    if resource.rpartition(".")[2].startswith(("memory", "ephemeral-storage")):
        return f"{amount / ONE / GIB:.3g} GiB" if amount >= ONE * GIB // 100 else f"{amount / ONE / 1024**2:.3g} MiB"
    return f"{amount / ONE:g}"


def parse_pod(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> Pod:
    """Read a pod or the template of one."""
    own = spec.get("resources") or {}
    return Pod(
        containers=(
            *(container(entry, init=True) for entry in spec.get("initContainers") or []),
            *(container(entry) for entry in spec.get("containers") or []),
        ),
        overhead=amounts(spec.get("overhead")) or None,
        own_requests=amounts({**(own.get("limits") or {}), **(own.get("requests") or {})}) or None,
        own_limits=amounts(own.get("limits")) or None,
        placement=parse_placement(spec),
        labels=tuple(sorted((metadata.get("labels") or {}).items())),
        priority_class=spec.get("priorityClassName") or "",
        terminating=spec.get("activeDeadlineSeconds") is not None,
        node=spec.get("nodeName") or "",
    )


def container(entry: Mapping[str, Any], *, init: bool = False) -> Container:
    """Read what a container asks for."""
    own = entry.get("resources") or {}
    role = "app" if not init else "sidecar" if entry.get("restartPolicy") == "Always" else "init"
    return Container(amounts(own.get("requests")), amounts(own.get("limits")), role)


def parse_placement(spec: Mapping[str, Any]) -> Placement:
    """Read where a pod may run. Wishes, and what depends on other pods, are left out."""
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    return Placement(
        labels=tuple(sorted((spec.get("nodeSelector") or {}).items())),
        terms=tuple(parse_selector(term) for term in required.get("nodeSelectorTerms") or []),
        tolerations=tuple(
            Toleration(
                entry.get("key") or "",
                entry.get("operator") or "Equal",
                entry.get("value") or "",
                entry.get("effect") or "",
            )
            for entry in spec.get("tolerations") or []
        ),
    )


def tolerates(placement: Placement, taint: Taint) -> bool:
    """Say whether a pod bears a taint."""
    if taint.effect not in ("NoSchedule", "NoExecute"):
        return True
    return any(
        entry.effect in ("", taint.effect)
        and (entry.key == taint.key or (not entry.key and entry.operator == "Exists"))
        and (entry.operator == "Exists" or entry.value == taint.value)
        for entry in placement.tolerations
    )
