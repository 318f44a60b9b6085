# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remember how large a region's workloads are, where it can be read when that region is lost.

On each workload of the same name in the other clusters, and in a file for those that are deployed anew meanwhile.
Nothing carries the time of day: what has not changed is not written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..clock import utc_now
from ..errors import BadInput
from .client import MERGE_PATCH
from .fleet import Fleet, Observation, Whole
from .progress import Progress
from .scale import named
from .sizes import SCHEMA, Memories, Memory, Snapshot, as_data, load_snapshot, memories_of, name_of, written
from .workloads import SIZES, Target, Workload, remembered_size


@dataclass(frozen=True)
class Noted:
    """What a workload is to remember. No patch: it does already."""

    before: Memory | None
    after: Memory
    patch: dict[str, Any] | None


def remember(
    fleet: Fleet,
    targets: Sequence[Target],
    region: str,
    keepers: Sequence[str],
    snapshot: str | None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Read the workloads of a region, and let their likes in the clusters `keepers` remember their sizes."""
    spaces = dict.fromkeys([*(target.namespace for target in targets), *(whole.namespace for whole in fleet.wholes)])
    sources = {*(target.cluster for target in targets), *(whole.cluster for whole in fleet.wholes)}
    if sources & set(keepers):
        raise BadInput(
            f"Cluster {', '.join(sorted(sources & set(keepers)))} cannot remember its own sizes for when it is lost",
            wanted="clusters of other regions in remember_in",
            next_action="name the clusters that survive, and run again; nothing was touched",
        )
    fleet.wholes += tuple(Whole(cluster, space) for cluster in keepers for space in spaces)
    seen = fleet.observe(targets)
    sizes = present_sizes({t: w for t, w in seen.workloads.items() if t.cluster in sources})
    likes = {t: w for t, w in seen.workloads.items() if t.cluster in keepers and name_of(t) in sizes}

    def plan(target: Target, workload: Workload) -> Noted:
        return plan_note(target, workload, region, sizes[name_of(target)])

    done = fleet.write(
        Observation(likes, seen.versions), plan, lambda noted: noted.patch, MERGE_PATCH, "remember", progress
    )
    changed = [target for target, entry in done.items() if entry.changed]
    kept = keep_snapshot(snapshot, region, sizes, check=fleet.settings.check) if snapshot else False
    there = {(target.cluster, name_of(target)) for target in likes}
    absent = [f"{cluster}/{name}" for cluster in keepers for name in sizes if (cluster, name) not in there]
    verb = "would be noted" if fleet.settings.check else "noted"
    lines = [f"sizes of {len(sizes)} workloads of {region} remembered on {len(likes)} ({len(changed)} {verb})"]
    if absent:
        lines.append(f"{len(absent)} have no like to remember them: {named(absent)}")
    return {
        "changed": bool(changed or kept),
        "total": len(sizes),
        "noted": len(changed),
        "sizes": {name: vars(memory) for name, memory in sizes.items()},
        "absent": absent,
        "lost_clusters": list(fleet.lost),
        "lines": fleet.tell(list(likes) or list(seen.workloads), lines),
        "diff": {
            "before": "".join(f"{t.key} {region}={told(done[t].plan.before)}\n" for t in changed),
            "after": "".join(f"{t.key} {region}={told(done[t].plan.after)}\n" for t in changed),
        },
    }


def present_sizes(workloads: Mapping[Target, Workload]) -> dict[str, Memory]:
    """Give each workload's size in its region, over all of the region's clusters.

    Where we have stopped it the former size is its size: a region that is stopped is not remembered as one of no size.
    """
    found: dict[str, Memory] = {}
    for target, workload in workloads.items():
        kept = remembered_size(target, workload)
        ours = kept is not None and workload.scaled_to == str(workload.replicas)
        size = kept if ours and kept is not None and workload.replicas == 0 else workload.replicas
        other = found.get(name_of(target), Memory(0, 0))
        found[name_of(target)] = Memory(other.size + size, other.maximum + size)
    return found


def plan_note(target: Target, workload: Workload, region: str, present: Memory) -> Noted:
    """Plan what a workload remembers of its like. The largest size is only ever raised."""
    memories = memories_of(target, workload)
    before = memories.get(region)
    after = grown(before, present)
    if before == after:
        return Noted(before, after, None)
    annotations = {SIZES: written({**memories, region: after})}
    return Noted(before, after, {"metadata": {"resourceVersion": workload.version, "annotations": annotations}})


def grown(before: Memory | None, present: Memory) -> Memory:
    """Combine what was remembered with what is seen."""
    return Memory(present.size, max(present.maximum, before.maximum if before else 0))


def keep_snapshot(path: str, region: str, sizes: Mapping[str, Memory], *, check: bool) -> bool:
    """Write the file anew unless it says so already. What it says of other regions stays. Gives whether it changes."""
    file = Path(path).expanduser()
    former = load_snapshot(path) if file.exists() else Snapshot()
    workloads: dict[str, Memories] = dict(former.workloads)
    for name, present in sizes.items():
        memories = workloads.get(name, {})
        workloads[name] = {**memories, region: grown(memories.get(region), present)}
    if workloads == former.workloads:
        return False
    if not check:
        data = {
            "schema": SCHEMA,
            "taken_at": utc_now(),
            "workloads": {name: as_data(memories) for name, memories in sorted(workloads.items())},
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        # Whoever reads it meanwhile, or a kill, finds the old one whole.
        new = file.with_name(f"{file.name}.{os.getpid()}.new")
        new.write_text(json.dumps(data, indent=1) + "\n")
        new.replace(file)
    return True


def told(memory: Memory | None) -> str:
    """Say a memory in a few characters."""
    return f"{memory.size} (largest {memory.maximum})" if memory else "nothing"
