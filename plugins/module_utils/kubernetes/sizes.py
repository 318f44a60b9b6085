# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which size is meant: a number, the former one, the one in a lost region, or a share of the largest remembered.

What a region's workloads were like is remembered on the workloads of the same name in the other regions, and in a
snapshot, because a region that is lost cannot be asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BadInput, PreconditionFailed
from .client import brief
from .workloads import SIZES, Target, Workload

SCHEMA = 1
HIGHEST = 100_000


@dataclass(frozen=True)
class Share:
    """A percentage of the largest size that is remembered, of one region or of all."""

    percent: int
    region: str = ""


@dataclass(frozen=True)
class AsIn:
    """The size in a region that is lost. Whatever is larger already stays: it has the lost region's traffic to bear."""

    region: str


Size = int | Share | AsIn | None
"""A number, a share, the size in a lost region, or (None) the former size of each."""


@dataclass(frozen=True)
class Memory:
    """What is remembered of a workload in one region: its size, and the largest that it was seen with."""

    size: int
    maximum: int


Memories = Mapping[str, Memory]
"""By region."""


@dataclass(frozen=True)
class Snapshot:
    """What a file remembers, or was seen a moment ago (`newest`): by workload (namespace/kind/name), by region."""

    taken_at: str = ""
    workloads: Mapping[str, Memories] = field(default_factory=dict)
    newest: bool = False

    def of(self, target: Target) -> Memories:
        """Give what is remembered of a workload."""
        return self.workloads.get(name_of(target), {})


@dataclass(frozen=True)
class Wanted:
    """What is wanted of one workload: a size or (None) its former one. With `at_least` a larger one stays."""

    size: int | None
    at_least: bool = False
    unknown: bool = False


KEEP = Wanted(0, at_least=True, unknown=True)


def parse_size(text: str, region: str | None) -> Size:
    """Read the size that an operator wants. Raises BadInput."""
    if text == "remembered":
        return None
    if text == "lost_region":
        if region:
            return AsIn(region)
        raise BadInput(
            "replicas: lost_region needs the name of that region",
            wanted="lost_region: the region's name, as it was remembered",
            next_action="name it and run again; nothing was touched",
        )
    digits = text.removesuffix("%")
    if digits.isascii() and digits.isdigit() and int(digits) <= HIGHEST:
        return int(digits) if digits == text else Share(int(digits), region or "")
    raise BadInput(
        f"replicas: got {text!r}",
        wanted="a whole number, a percentage such as 50%, remembered or lost_region",
        next_action="correct the value and run again; nothing was touched",
    )


def wanted_of(size: Size, target: Target, workload: Workload, snapshot: Snapshot) -> Wanted:
    """Say what is wanted of one workload; of what nothing is remembered, that it stays as it is."""
    if size is None or isinstance(size, int):
        return Wanted(size)
    memories = known_of(target, workload, snapshot)
    if isinstance(size, AsIn):
        found = memories.get(size.region)
        return Wanted(found.size, at_least=True) if found else KEEP
    largest = max((memory.maximum for region, memory in memories.items() if size.region in ("", region)), default=None)
    return KEEP if largest is None else Wanted(-(-largest * size.percent // 100))


def known_of(target: Target, workload: Workload, snapshot: Snapshot) -> dict[str, Memory]:
    """Give all that is remembered of a workload; what it carries itself is newer than any file."""
    if snapshot.newest:
        return {**memories_of(target, workload), **snapshot.of(target)}
    return {**snapshot.of(target), **memories_of(target, workload)}


def said(size: Size) -> str:
    """Put a size in words."""
    if size is None:
        return "their remembered sizes"
    if isinstance(size, AsIn):
        return f"their sizes in {size.region}"
    if isinstance(size, Share):
        return f"{size.percent} % of their largest sizes" + (f" in {size.region}" if size.region else "")
    return f"{size} replicas"


def memories_of(target: Target, workload: Workload) -> dict[str, Memory]:
    """Read what a workload remembers of its like in other regions. Raises PreconditionFailed."""
    if workload.sizes is None:
        return {}
    try:
        return parse_memories(json.loads(workload.sizes))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise PreconditionFailed(
            f"{target.key} remembers no usable sizes",
            observed=f"annotation {SIZES} is {brief(workload.sizes, 80)!r}",
            wanted='JSON such as {"us-west-2": {"size": 4, "maximum": 6}}',
            next_action="correct or remove the annotation and run again",
            workload=target.key,
        ) from None


def parse_memories(data: Mapping[str, Any]) -> dict[str, Memory]:
    """Read memories by region. Raises ValueError and its like."""
    return {region: Memory(int(entry["size"]), int(entry["maximum"])) for region, entry in data.items()}


def written(memories: Memories) -> str:
    """Write memories as an annotation holds them."""
    return json.dumps(as_data(memories), sort_keys=True, separators=(",", ":"))


def as_data(memories: Memories) -> dict[str, Any]:
    """Give memories as JSON has them."""
    return {region: vars(memory) for region, memory in sorted(memories.items())}


def name_of(target: Target) -> str:
    """Name a workload as it is called in every region."""
    return f"{target.namespace}/{target.kind}/{target.name}"


def load_snapshot(path: str | None) -> Snapshot:
    """Read a snapshot. Raises BadInput."""
    if not path:
        return Snapshot()
    try:
        data = json.loads(Path(path).expanduser().read_text())
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']}")
        workloads = {name: parse_memories(memories) for name, memories in data["workloads"].items()}
        return Snapshot(str(data["taken_at"]), workloads)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(
            f"The snapshot {path} cannot be read",
            observed=f"{type(error).__name__}: {brief(str(error))}",
            wanted="a file as workload_remember writes it",
            next_action="name one that exists, or none; nothing was touched",
        ) from None
