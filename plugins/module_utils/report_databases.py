# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each database of a run. They are independent: one that fails drops out, and the others go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .report_words import counted

GOOD = ("recovered", "planned")
# A run of several that went wrong in several ways ended in the gravest of them.
GRAVITY = ("cancelled", "failed", "refused")
BAD_STEP = {"bad_input": "failed", "refused": "refused", "cancelled": "cancelled"}
# Whether a database got to its end is known only where the checklist did.
UNFINISHED = "unfinished"

Failure = Mapping[str, Any]


def results(names: Sequence[str], failures: Sequence[Failure], reached: str) -> list[dict[str, Any]]:
    """Say of each database what became of it; `reached` is what holds of those of which no step failed."""
    first = {str(failure["host"]): failure for failure in reversed(failures) if failure["host"]}
    found = []
    for name in names:
        failure = first.get(name)
        found.append(
            {
                "name": name,
                "outcome": BAD_STEP.get(str(failure["kind"]), "failed") if failure else reached,
                **{key: failure[key] if failure else None for key in ("phase", "task", "next_action")},
                "why": failure["msg"] if failure else None,
            }
        )
    return found


def outcome(failures: Iterable[Failure], databases: Iterable[Mapping[str, Any]] = ()) -> str:
    """Say how a run ended in which steps failed. A refusal promises that nothing was done: not so if one recovered."""
    seen = {BAD_STEP.get(str(failure["kind"]), "failed") for failure in failures}
    if recovered(databases):
        seen.add("failed")
    return next((grave for grave in GRAVITY if grave in seen), "failed")


def recovered(databases: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether any of them is."""
    return any(database["outcome"] == "recovered" for database in databases)


def bad(databases: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Give those that did not get where the run should bring them."""
    return [database for database in databases if database["outcome"] not in GOOD]


def summary(databases: Sequence[Mapping[str, Any]]) -> list[str]:
    """Tell of several databases in a few lines: each that went wrong, then the others together."""
    lines = [_told(database) for database in bad(databases)]
    for word in GOOD:
        good = [str(database["name"]) for database in databases if database["outcome"] == word]
        if good:
            lines.append(f"{counted(len(good), 'database')} {word}: {', '.join(good)}")
    return lines


def _told(database: Mapping[str, Any]) -> str:
    where = f" in phase {database['phase']}" if database["phase"] else ""
    return f"{database['name']}: {database['outcome']}{where}" + (f": {database['why']}" if database["why"] else "")
