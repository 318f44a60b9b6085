# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The critical path: which phases a run was made of, and which of several at once was waited for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .report_words import duration

STEP_EVENT = "step_ended"


def critical_path(phases: Iterable[Mapping[str, Any]], steps: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give the phases in their order, each with what was waited for in it and what was done beside that."""
    done = list(steps)
    found = []
    for phase in phases:
        own = [step for step in done if (step["phase"], step["attempt"]) == (phase["name"], phase["attempt"])]
        hosts = dict.fromkeys(step["host"] for step in own)
        spent = {host: round(sum(step["seconds"] for step in own if step["host"] == host), 3) for host in hosts}
        longest = max(spent, key=lambda host: spent[host], default=None)
        tasks = [step for step in own if step["host"] == longest]
        found.append(
            {
                "phase": phase["name"],
                "seconds": phase["seconds"],
                "host": longest,
                "task": max(tasks, key=lambda step: float(step["seconds"]))["task"] if tasks else None,
                "beside": [{"host": host, "seconds": spent[host]} for host in spent if host != longest],
            }
        )
    return found


def words(path: Sequence[Mapping[str, Any]]) -> list[str]:
    """Tell of the phases in which several things went on at once; a run without such has no path worth words."""
    return [told(entry) for entry in path if entry["beside"]]


def told(entry: Mapping[str, Any]) -> str:
    """Tell of one phase."""
    beside = ", ".join(f"{one['host']} {duration(one['seconds'])}" for one in entry["beside"])
    task = str(entry["task"]).rpartition(" : ")[2]
    return f"{entry['phase']} {duration(entry['seconds'])}: waited for {entry['host']} ({task}); beside it {beside}"
