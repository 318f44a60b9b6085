# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered of a region's workloads, and where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.remember import (
    keep_snapshot,
    plan_note,
    present_sizes,
)
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.sizes import Memory, load_snapshot
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.workloads import (
    REMEMBERED,
    SCALED_TO,
    SIZES,
    Target,
    Workload,
    parse,
)

from .conftest import deployment

TARGET = Target("east", "production", "Deployment", "web")
NAME = "production/Deployment/web"


def read(replicas: int = 2, **annotations: str) -> Workload:
    return parse("Deployment", deployment("web", replicas=replicas, annotations=annotations))


@pytest.mark.parametrize(
    ("replicas", "annotations", "memory"),
    [
        (4, {}, Memory(4, 4)),
        # Stopped by us: what it had is its size.
        (0, {REMEMBERED: "4", SCALED_TO: "0"}, Memory(4, 4)),
        # Scaled by us, but running: that is what it takes.
        (9, {REMEMBERED: "4", SCALED_TO: "9"}, Memory(9, 9)),
        # Somebody else has scaled it since.
        (6, {REMEMBERED: "4", SCALED_TO: "0"}, Memory(6, 6)),
        (0, {}, Memory(0, 0)),
    ],
)
def test_the_size_in_a_region(replicas: int, annotations: dict[str, str], memory: Memory) -> None:
    assert present_sizes({TARGET: read(replicas, **annotations)}) == {NAME: memory}


def test_clusters_of_one_region_are_added_up() -> None:
    other = Target("east-2", "production", "Deployment", "web")
    assert present_sizes({TARGET: read(2), other: read(3)}) == {NAME: Memory(5, 5)}


@pytest.mark.parametrize(
    ("sizes", "present", "after"),
    [
        (None, Memory(4, 4), {"west": {"size": 4, "maximum": 4}}),
        ('{"west":{"size":9,"maximum":9}}', Memory(4, 4), {"west": {"size": 4, "maximum": 9}}),
        ('{"west":{"size":4,"maximum":9}}', Memory(4, 4), None),
        (
            '{"north":{"size":1,"maximum":1}}',
            Memory(4, 4),
            {"north": {"size": 1, "maximum": 1}, "west": {"size": 4, "maximum": 4}},
        ),
    ],
)
def test_what_is_noted(sizes: str | None, present: Memory, after: dict[str, dict[str, int]] | None) -> None:
    noted = plan_note(TARGET, read(**({SIZES: sizes} if sizes else {})), "west", present)
    if after is None:
        assert noted.patch is None
        return
    assert noted.patch is not None
    assert noted.patch["metadata"]["resourceVersion"] == "7"
    assert json.loads(noted.patch["metadata"]["annotations"][SIZES]) == after


def test_a_snapshot_is_written_when_it_changes_and_keeps_what_it_says_of_others(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sizes.json"
    assert keep_snapshot(str(path), "west", {NAME: Memory(4, 4)}, check=True)
    assert not path.exists()
    assert keep_snapshot(str(path), "west", {NAME: Memory(4, 4)}, check=False)
    first = path.read_text()
    assert not keep_snapshot(str(path), "west", {NAME: Memory(4, 3)}, check=False)
    assert path.read_text() == first
    assert keep_snapshot(str(path), "north", {NAME: Memory(1, 1)}, check=False)
    assert load_snapshot(str(path)).workloads == {NAME: {"west": Memory(4, 4), "north": Memory(1, 1)}}
    assert list(path.parent.iterdir()) == [path]
