# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Journeys: what a user does with the platform from end to end, each a few requests that must be answered rightly."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ..errors import RecoveryError, StepFailed, StepTimeout
from ..waiting import wait_until
from .front import Answer, Front, ask
from .model import Finding

# What stands in paths and bodies for a key that nobody has used yet.
UNIQUE = "{unique}"
SIDE_BY_SIDE = 16
MISSING = object()


@dataclass(frozen=True)
class Step:
    """One request and what its answer has to be like."""

    method: str
    path: str
    body: Any
    status: int
    # A dotted path into the answer that must hold something, and the store of which it is the proof.
    present: Mapping[str, str]
    # Dotted paths that must hold what the journey's first answer holds there.
    same: tuple[str, ...]
    within_seconds: float

    @property
    def words(self) -> str:
        """Name it."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Journey:
    """What one kind of user does."""

    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Travelled:
    """How a journey went."""

    name: str
    seconds: float
    trouble: str | None = None
    stores: tuple[str, ...] = ()
    steps: tuple[Mapping[str, Any], ...] = field(default=())

    def finding(self) -> Finding:
        """Give its verdict."""
        read = f"{', '.join(self.stores)} read back" if self.stores else "all answers were right"
        return Finding(
            kind="journey",
            name=self.name,
            verdict="failed" if self.trouble else "passed",
            observed=self.trouble or f"{read} in {self.seconds:.2f} s",
            wanted="every answer as described",
            seconds=self.seconds,
        )


def journeys_of(options: Mapping[str, Any]) -> list[Journey]:
    """Read them from validated options."""
    return [
        Journey(
            name,
            tuple(
                Step(
                    step["method"],
                    step["path"],
                    step["body"],
                    step["status"],
                    step["present"],
                    tuple(step["same"]),
                    step["within_seconds"],
                )
                for step in journey["steps"]
            ),
        )
        for name, journey in options["journeys"].items()
    ]


def travel_all(front: Front, journeys: Sequence[Journey], stamp: str, seconds: float) -> list[Travelled]:
    """Make all journeys side by side; a journey that fails keeps none of the others from being made."""
    with ThreadPoolExecutor(max_workers=min(SIDE_BY_SIDE, max(1, len(journeys)))) as pool:
        return list(
            pool.map(lambda pair: travel(front, pair[1], f"journey-{stamp}-{pair[0]}", seconds), enumerate(journeys, 1))
        )


def travel(front: Front, journey: Journey, unique: str, seconds: float) -> Travelled:
    """Make the requests of one journey one after the other, up to the first that is answered wrongly."""
    begin = time.monotonic()
    first: Mapping[str, Any] = {}
    stores: list[str] = []
    made: list[Mapping[str, Any]] = []
    trouble = None
    for step in journey.steps:
        at = time.monotonic()
        words = filled(step.words, unique)
        try:
            answer = _answered(front, step, unique, first, seconds)
        except StepFailed as error:
            trouble = f"{words}: {error.observed}"
        made.append({"request": words, "seconds": round(time.monotonic() - at, 4), "trouble": trouble})
        if trouble:
            break
        first = first or answer.body
        stores += step.present.values()
    taken = round(time.monotonic() - begin, 4)
    return Travelled(journey.name, taken, trouble, tuple(dict.fromkeys(stores)), tuple(made))


def _answered(front: Front, step: Step, unique: str, first: Mapping[str, Any], seconds: float) -> Answer:
    """Ask until the answer is right or its time is over. Raises StepFailed with what was seen last."""

    def look() -> Answer:
        answer = ask(front, step.method, filled(step.path, unique), filled(step.body, unique), seconds)
        wrong = flaw(step, answer, first)
        if wrong:
            raise StepFailed(f"{step.words} was answered wrongly", observed=wrong)
        return answer

    if not step.within_seconds:
        return look()
    try:
        return wait_until(look, seconds=step.within_seconds, describe=step.words).value
    except StepTimeout:
        # What is wrong now is more use than that time is over; and it may just have come.
        return look()


def flaw(step: Step, answer: Answer, first: Mapping[str, Any]) -> str | None:
    """Say what is wrong with an answer; None if nothing is."""
    if answer.status != step.status:
        return f"it was answered {answer.words} instead of {step.status}"
    for path, store in step.present.items():
        found = at(answer.body, path)
        if found is MISSING or found is None:
            trouble = at(answer.body, f"{path.split('.')[0]}.error")
            return f"{store} cannot be read back: {path} is missing" + ("" if trouble is MISSING else f" ({trouble})")
    for path in step.same:
        if at(answer.body, path) != at(first, path):
            return f"{path} is not what it was at first"
    return None


def at(body: Any, path: str) -> Any:
    """Give what stands at a dotted path."""
    for name in path.split("."):
        if not isinstance(body, Mapping) or name not in body:
            return MISSING
        body = body[name]
    return body


def filled(value: Any, unique: str) -> Any:
    """Put the key where it is asked for."""
    if isinstance(value, str):
        return value.replace(UNIQUE, unique)
    if isinstance(value, Mapping):
        return {key: filled(item, unique) for key, item in value.items()}
    return [filled(item, unique) for item in value] if isinstance(value, list) else value


def stores_finding(travelled: Iterable[Travelled], wanted: Sequence[str]) -> Finding | None:
    """Say whether every store that counts was read back by some journey; None where none is asked for."""
    read = {store for one in travelled if not one.trouble for store in one.stores}
    missing = [store for store in wanted if store not in read]
    if not wanted:
        return None
    return Finding(
        kind="journey",
        name="all stores",
        verdict="failed" if missing else "passed",
        observed=f"not read back: {', '.join(missing)}" if missing else f"read back: {', '.join(wanted)}",
        wanted=f"{', '.join(wanted)} read back by a journey that succeeds",
    )


def failure(findings: Sequence[Finding]) -> RecoveryError | None:
    """Give the error of the journeys that failed; None if none did."""
    bad = [finding for finding in findings if finding.verdict != "passed"]
    if not bad:
        return None
    return StepFailed(
        f"{len(bad)} of {len(findings)} journeys failed: {', '.join(finding.name for finding in bad)}",
        observed="; ".join(f"{finding.name}: {finding.observed}" for finding in bad),
        wanted="every journey succeeds through the name that clients use",
        next_action="mend what the first of them names, and validate again; nothing else depends on it",
    )
