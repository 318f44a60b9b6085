# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order that dependencies ask for, or the circle that keeps it from being one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Needs = Mapping[str, Iterable[str]]
"""What each depends on. Every name that is depended on stands in it itself."""


def levels(needs: Needs) -> dict[str, int]:
    """Give each its place, one later than the latest that it depends on. What waits for a circle has none."""
    found: dict[str, int] = {}
    while True:
        ready = [name for name, others in needs.items() if name not in found and all(o in found for o in others)]
        if not ready:
            return found
        found |= {name: 1 + max((found[other] for other in needs[name]), default=-1) for name in ready}


def circle(needs: Needs) -> list[str]:
    """Find some that wait for each other, the first of them named again at the end; empty if there are none."""
    placed = levels(needs)
    path = [name for name in needs if name not in placed][:1]
    while path:
        following = next(other for other in needs[path[-1]] if other not in placed)
        if following in path:
            return [*path[path.index(following) :], following]
        path.append(following)
    return []
