# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Performance against what it was before the event: the baseline that is remembered, and what is judged by it."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import PreconditionFailed, StepFailed
from .load import Figures, Load
from .model import Finding, Verdict

SCHEMA = 1
NO_BASELINE = "no baseline is remembered"


@dataclass(frozen=True)
class Limits:
    """What is allowed: a multiple of the baseline's response time, a share of its throughput, a share of errors."""

    response_times: float
    throughput_share: float
    errors_share: float
    statistic: str
    # A response as fast as this is never too slow: the noise of a millisecond is no loss to anybody.
    fast_seconds: float

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Limits:
        """Read them from validated options."""
        return cls(
            options["response_times"],
            options["throughput_share"],
            options["errors_share"],
            options["statistic"],
            options["fast_seconds"],
        )


@dataclass(frozen=True)
class Baseline:
    """What the platform gave under a load, and when that was."""

    taken_at: str
    run_id: str
    settings: Mapping[str, Any]
    figures: Figures

    def differs(self, load: Load) -> str | None:
        """Say in what the load differs from that of the baseline; None if the two are comparable."""
        now = load.settings
        differing = sorted(key for key in now if now[key] != self.settings.get(key))
        return f"the baseline of {self.taken_at} was taken with other {', '.join(differing)}" if differing else None


def recall(path: str) -> Baseline | None:
    """Read the baseline. None if there is none; raises StepFailed for one that cannot be read."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']!r} instead of {SCHEMA}")
        told = data["figures"]
        figures = Figures(**{**told, "troubles": tuple(told["troubles"])})
        return Baseline(str(data["taken_at"]), str(data["run_id"]), dict(data["settings"]), figures)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StepFailed(
            f"The baseline {path} cannot be read",
            observed=f"{type(error).__name__}: {error}",
            wanted="what state: remembered wrote",
            next_action="move the file away, and remember the performance anew while the platform is well",
        ) from error


def memorise(path: str, baseline: Baseline) -> None:
    """Write it, whole or not at all. Raises StepFailed."""
    target = Path(path)
    part = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"schema": SCHEMA, **asdict(baseline)}, file, indent=1)
        Path(part).replace(target)
    except OSError as error:
        if part:
            with contextlib.suppress(OSError):
                Path(part).unlink()
        raise StepFailed(
            f"The baseline {path} cannot be written",
            observed=str(error),
            next_action="make its folder writable, or name another one as memory",
        ) from error


def require_health(figures: Figures, limits: Limits) -> None:
    """Refuse to remember a platform that is ill: everything would be good enough afterwards."""
    finding = errors_finding(figures, limits)
    if finding.verdict != "passed":
        raise PreconditionFailed(
            "The performance is not remembered, for the platform is not well",
            observed=finding.observed,
            wanted=finding.wanted,
            next_action="mend what fails, then remember it; the former baseline is kept",
        )


def compare(baseline: Baseline | None, load: Load, now: Figures, limits: Limits) -> list[Finding]:
    """Judge what came back. What nothing can be compared with is unknown, never passed."""
    open_question = NO_BASELINE if baseline is None else baseline.differs(load)
    return [
        response_finding(baseline, now, limits, open_question),
        throughput_finding(baseline, now, limits, open_question),
        errors_finding(now, limits),
    ]


def response_finding(baseline: Baseline | None, now: Figures, limits: Limits, open_question: str | None) -> Finding:
    """Judge the response time."""
    name, taken = limits.statistic, getattr(now, limits.statistic)
    wanted = f"{name} below {limits.response_times:g} times that of the baseline"
    if baseline is None or open_question:
        return _unknown("response time", f"{name} {_ms(taken)}, and {open_question}", wanted)
    before = getattr(baseline.figures, name)
    most = max(before * limits.response_times, limits.fast_seconds)
    return _judged("response time", taken < most, f"{name} {_ms(taken)}, was {_ms(before)}", wanted, taken / most)


def throughput_finding(baseline: Baseline | None, now: Figures, limits: Limits, open_question: str | None) -> Finding:
    """Judge how many good answers a second there are."""
    wanted = f"more than {limits.throughput_share:.0%} of the baseline"
    seen = f"{now.throughput:.1f} good answers a second"
    if baseline is None or open_question:
        return _unknown("throughput", f"{seen}, and {open_question}", wanted)
    before = baseline.figures.throughput
    least = before * limits.throughput_share
    share = least / now.throughput if now.throughput else None
    return _judged("throughput", now.throughput > least, f"{seen}, were {before:.1f}", wanted, share)


def errors_finding(now: Figures, limits: Limits) -> Finding:
    """Judge the share of requests without a good answer; that needs no baseline."""
    words = f": {'; '.join(now.troubles)}" if now.troubles else ""
    seen = f"{now.errors:.2%} of {now.requests} requests failed{words}"
    share = now.errors / limits.errors_share if limits.errors_share else None
    good = bool(now.requests) and now.errors < limits.errors_share
    return _judged("errors", good, seen, f"less than {limits.errors_share:.0%}", share)


def _judged(name: str, good: bool, observed: str, wanted: str, share: float | None) -> Finding:
    verdict: Verdict = "passed" if good else "failed"
    return Finding("performance", name, verdict, observed, wanted, share=None if share is None else round(share, 4))


def _unknown(name: str, observed: str, wanted: str) -> Finding:
    return Finding("performance", name, "unknown", observed, wanted)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
