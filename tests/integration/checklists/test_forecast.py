# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan says of the next run, once ten are in the journal, against how long the next run takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.platform import failback, failover, variables

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("healthy"), pytest.mark.slow]

RUNS = 10
WITHIN = 0.3


def switchover(sink: Path) -> float:
    """Move the primary to the east and give how long that took; the way back is another playbook's history."""
    ended = failover(sink, **variables(recovery_mode="switchover"))
    assert ended.code == 0, ended.output
    return float(ended.report["seconds"])


def test_a_plan_predicts_the_next_run(tmp_path: Path) -> None:
    for _ in range(RUNS):
        switchover(tmp_path)
        ended = failback(tmp_path)
        assert ended.code == 0, ended.output
    plan = failover(tmp_path, **variables(recovery_mode="plan"))
    assert plan.code == 0, plan.output
    [told] = [entry for entry in plan.report["forecast"]["modes"] if entry["mode"] == "switchover"]
    assert (told["runs"], told["same_target"]) == (RUNS, True)
    assert "Forecast: " in plan.output
    assert switchover(tmp_path) == pytest.approx(told["seconds"]["median"], rel=WITHIN)
