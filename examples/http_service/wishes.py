# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a caller may ask for: every mistake is named with its key, its value and what was expected."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

MODES = ("plan", "readiness", "drill", "switchover", "failover")
LONGEST_TEXT = 1000
# Ansible would run what stands between these, with the rights of this service.
TEMPLATE = re.compile(r"\{[{%#]")
RUN_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True)
class Problem:
    """One mistake."""

    key: str
    value: Any
    expected: str


@dataclass(frozen=True)
class Field:
    """What one key accepts, and the words for it."""

    accepts: Callable[[Any], bool]
    expected: str


class BadWish(ValueError):
    """The body of a request was wrong; nothing was started."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT and not TEMPLATE.search(value)


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _is_seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")


TEXT = Field(_is_text, f"text of 1 to {LONGEST_TEXT} characters without template marks such as {{{{")
WISHES: Mapping[str, Field] = {
    "mode": Field(lambda value: value in MODES, f"one of {', '.join(MODES)}"),
    "target": TEXT,
    "confirm": TEXT,
    "reason": TEXT,
    "detected_at": Field(_is_time, "a time with its zone, such as 2026-01-31T03:00:00Z"),
    "run_id": Field(
        lambda value: isinstance(value, str) and RUN_ID.fullmatch(value) is not None,
        "1 to 100 letters, digits, dots, underscores and dashes",
    ),
    "allow_data_loss": Field(lambda value: isinstance(value, bool), "true or false"),
    "fence_statement": TEXT,
    "timeout": Field(_is_seconds, "a number of seconds above 0"),
}
CANCEL: Mapping[str, Field] = {"reason": TEXT}


def run_wishes(body: Any, playbooks: Collection[str]) -> dict[str, Any]:
    """Check the body of POST /runs. Raises BadWish."""
    offered = Field(lambda value: isinstance(value, str) and value in playbooks, f"one of {', '.join(playbooks)}")
    return check(body, {"playbook": offered, **WISHES}, required=("playbook",))


def check(body: Any, known: Mapping[str, Field], required: Collection[str] = ()) -> dict[str, Any]:
    """Check a body against what is known; null is as good as left out. Raises BadWish."""
    if not isinstance(body, dict):
        raise BadWish([Problem("", type(body).__name__, f"an object with {', '.join(known)}")])
    wishes = {key: value for key, value in body.items() if value is not None}
    problems = [_unknown(key, value, known) for key, value in wishes.items() if key not in known]
    problems += [
        Problem(key, value, known[key].expected)
        for key, value in wishes.items()
        if key in known and not known[key].accepts(value)
    ]
    problems += [Problem(key, None, known[key].expected) for key in required if key not in wishes]
    if problems:
        raise BadWish(problems)
    return wishes


def _unknown(key: str, value: Any, known: Mapping[str, Field]) -> Problem:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return Problem(key, value, f"no such key: there are {', '.join(known)}{hint}")
