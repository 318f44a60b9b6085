# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller that is frozen, taken over and woken, as processes: it changes nothing any more."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.unit.kubernetes.conftest import FakeApi, Reply, Request, deployment, listing
from tests.unit.test_lease_runs import SECONDS, Runs, runs, until

__all__ = ["runs"]


@pytest.mark.parametrize("taken_over", [True, False])
def test_a_frozen_controller_that_is_woken(runs: Runs, fake: FakeApi, taken_over: bool) -> None:
    size = {"replicas": 2}

    def answer(request: Request) -> Reply:
        if request.method == "PATCH":
            size["replicas"] = 0
        now = deployment(generation=2 - size["replicas"] // 2, **size)
        return (
            listing(now) if request.method == "GET" and not request.path.endswith("user-service") else Reply(200, now)
        )

    fake.script = answer
    fake.kubeconfig()
    assert fake.folder == runs.folder
    frozen = runs.start("frozen", "while ! test -e go; do sleep 0.05; done", scale=True)
    runs.working("frozen")
    os.killpg(frozen.pid, signal.SIGSTOP)
    until(lambda: time.time() > runs.lease()["renewed"] + SECONDS, "the lease to expire")
    if taken_over:
        second = runs.start("second", "true")
        output = second.communicate(timeout=60)[0]
        assert second.returncode == 0, output
        assert "taken over from run frozen" in " ".join(output.split())
    Path(runs.folder / "go").touch()
    os.killpg(frozen.pid, signal.SIGCONT)
    output = " ".join(frozen.communicate(timeout=60)[0].split())
    if taken_over:
        assert fake.asked("PATCH") == []
        assert runs.outcome("frozen") == "refused", output
        assert frozen.returncode == 2
        assert "is not this run's any more" in output
        assert runs.lease()["term"] == 2
    else:  # nobody took it: it is its own still, and the clock does not decide
        assert len(fake.asked("PATCH")) == 1, output
        assert "is not this run's any more" not in output
