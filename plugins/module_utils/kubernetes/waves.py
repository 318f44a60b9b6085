# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which workloads start and stop, from what services depend on. Nothing here talks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .. import dependencies
from ..errors import BadInput
from ..schema import closest
from .workloads import Target


def levels(services: Mapping[str, Any]) -> dict[str, int]:
    """Give each service its wave: one later than the latest of those that it depends on. Raises BadInput."""
    needs = {name: tuple((service or {}).get("depends_on") or ()) for name, service in services.items()}
    for name, others in needs.items():
        for other in others:
            if other not in needs:
                near = closest(other, needs)
                raise BadInput(
                    f"Service {name} depends on {other!r}, which is not described",
                    wanted=f"one of {', '.join(sorted(needs))}",
                    next_action=f"use {near!r}" if near else "describe it, or take it out of depends_on",
                    nearest=near,
                )
    round_about = dependencies.circle(needs)
    if round_about:
        raise BadInput(
            f"Services depend on each other in a circle: {' -> '.join(round_about)}",
            wanted="an order in which they can start",
            next_action="take one of these out of depends_on and run again; nothing was touched",
        )
    return dependencies.levels(needs)


def waves(targets: Iterable[Target], order: Mapping[str, int]) -> list[list[Target]]:
    """Sort workloads into waves by the names of their services. What no service names waits for nothing."""
    found: dict[int, list[Target]] = {}
    for target in targets:
        found.setdefault(order.get(target.name, 0), []).append(target)
    return [found[level] for level in sorted(found)]
