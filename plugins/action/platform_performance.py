# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remember the platform's performance, or compare it with what is remembered."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils import clock
from ansible_collections.platform.recovery.plugins.module_utils.validation import load as generator
from ansible_collections.platform.recovery.plugins.module_utils.validation import performance
from ansible_collections.platform.recovery.plugins.module_utils.validation.front import Front
from ansible_collections.platform.recovery.plugins.module_utils.validation.load import Figures, Load
from ansible_collections.platform.recovery.plugins.module_utils.validation.model import overall
from ansible_collections.platform.recovery.plugins.module_utils.validation.performance import Baseline, Limits
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction
from ansible_collections.platform.recovery.plugins.plugin_utils.validation import record, stamp


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "platform_performance"

    def act(self, call: Call) -> dict[str, Any]:
        """Put load on the platform, then remember or compare what came back."""
        options = call.options
        front, load, limits = Front.of(options), Load.of(options), Limits.of(options)
        generator.find(options["generator"])
        # Before the load: one that cannot be read is known without it.
        before = performance.recall(options["memory"])
        if call.check:
            lines = [f"performance: {load.count} requests in {load.seconds} s", age(before)]
            record(call, [], lines)
            return {"verdict": "unknown", "figures": None, "baseline": shown(before), "lines": lines}
        now = generator.attack(front, load, options["generator"], stamp(call))
        if options["state"] == "remembered":
            return self._remember(call, load, now, limits)
        findings = performance.compare(before, load, now, limits)
        record(call, findings, [f"performance: {told(now)}", age(before)])
        verdict = overall(findings)
        return {
            "verdict": verdict,
            "figures": asdict(now),
            "baseline": shown(before),
            "lines": [finding.line for finding in findings] + ([age(before)] if before else []),
            "next_actions": [] if verdict == "passed" else [advice(findings)],
        }

    def _remember(self, call: Call, load: Load, now: Figures, limits: Limits) -> dict[str, Any]:
        performance.require_health(now, limits)
        run_id = call.run.id if call.run else ""
        baseline = Baseline(clock.stamp(time.time()), run_id, load.settings, now)
        performance.memorise(call.options["memory"], baseline)
        lines = [f"performance remembered: {told(now)}"]
        record(call, [], lines)
        # What is remembered is ours: nothing of the platform has changed.
        return {"verdict": "passed", "figures": asdict(now), "baseline": shown(baseline), "lines": lines}


def shown(baseline: Baseline | None) -> dict[str, Any] | None:
    """Give a baseline as results and the journal show it."""
    return None if baseline is None else {"taken_at": baseline.taken_at, **asdict(baseline.figures)}


def age(baseline: Baseline | None) -> str:
    """Say which baseline there is."""
    return "baseline: " + (
        performance.NO_BASELINE if baseline is None else f"of {baseline.taken_at}, {told(baseline.figures)}"
    )


def told(figures: Figures) -> str:
    """Say figures in words."""
    return (
        f"p95 {figures.p95 * 1000:.1f} ms, {figures.throughput:.1f} good answers a second, {figures.errors:.2%} errors"
    )


def advice(findings: Any) -> str:
    """Say what to do about performance that is not as it was, or of which that is not known."""
    unknown = [finding for finding in findings if finding.verdict == "unknown"]
    if unknown and all(finding.verdict != "failed" for finding in findings):
        return "judge the performance by hand, and remember a baseline once the platform is well"
    worst: Mapping[str, str] = {"response time": "slow", "throughput": "short of capacity", "errors": "failing"}
    words = ", ".join(worst[finding.name] for finding in findings if finding.verdict == "failed")
    return f"the platform is {words}: look at its sizes and its stores, then validate again"
