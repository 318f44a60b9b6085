# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""With a whole region gone, a run goes there for nothing but what a fence needs, and no longer than its deadline."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.checklists.test_refusals import changed_inventory
from tests.support.lost_region import lost
from tests.support.platform import BIN, EAST, ROOT, WEST, environment, failover, sql, variables

# A host has this long to obey, by ssh; a last look at its port is much shorter.
FENCE_SECONDS, LAST_LOOK_SECONDS = 3.0, 0.75

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("healthy")]


def canary_in_the_east(description: dict[str, Any]) -> None:
    description["recovery_platform"]["canary"]["edge"] = EAST


def test_after_confirm_nothing_but_the_fence_and_its_proof_goes_to_the_lost_region(tmp_path: Path) -> None:
    inventory = changed_inventory(tmp_path, canary_in_the_east)
    assert linted(inventory) == 0
    assert linted(ROOT / "inventories/lab", lost=EAST) == 4
    with lost(WEST) as region:
        ended = failover(
            tmp_path / "runs",
            inventory=str(inventory),
            **variables(
                recovery_lost_clusters=[WEST],
                recovery_fence_statement="the region is lost, by the provider's word",
                recovery_reason="region lost",
            ),
        )
        phases = region.by_phase(ended)
    assert ended.code == 0, ended.output
    assert sql(EAST, "SELECT pg_is_in_recovery()") == [(False,)]
    seen = {phase: [(one.server, one.protocol) for one in attempts] for phase, attempts in phases.items()}
    # Everything is asked that could know whether it is lost, but not a cluster that is so by the operator's word.
    assert {server for server, _ in seen.pop("confirm")} == {"edge", "postgresql", "ssh"}
    # Then the way goes to the database's host alone: to fence it, and to see that nothing there answers as a primary.
    # The last two phases, when all is recovered, see whether it could be taken back.
    assert set(seen) == {"fence", "promote", "verify", "replication", "rejoin"}
    assert {one for attempts in seen.values() for one in attempts} == {("ssh", "ssh"), ("postgresql", "postgresql")}
    assert sorted(seen["fence"]) == [("postgresql", "postgresql"), ("ssh", "ssh")]
    assert seen["promote"] == seen["verify"] == [("postgresql", "postgresql")]
    # Each has a deadline, and nothing waits longer for the region than its fence does.
    assert max(one.seconds for one in region.attempts) < FENCE_SECONDS
    waited = sum(one.seconds for phase in ("promote", "verify") for one in phases[phase])
    assert waited < 2 * LAST_LOOK_SECONDS, "looks that a recovery waits for"


def linted(inventory: Path, lost: str = WEST) -> int:
    """Call the linter; gives its exit code."""
    argv = [BIN / "recovery", "lint", "-i", inventory, "--lost", lost]
    done = subprocess.run(argv, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=60)
    return done.returncode
