# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that must stop a failover before it touches anything: a clear error and the right exit code."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.client import Client
from tests.support.platform import BIN, EAST, EDGE, ROOT, WEST, environment, keys_in, lab, servers, sql

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("healthy")]


def recovery(sink: Path, *words: str, inventory: Path | str = "inventories/lab") -> tuple[int, dict[str, Any], str]:
    """Run the CLI; give its exit code, the report that --json prints, and what it printed beside."""
    argv = [
        BIN / "recovery",
        "run",
        "database-failover",
        "--inventory",
        inventory,
        "--journal",
        f"file:{sink}",
        "--json",
    ]
    done = subprocess.run(
        [*argv, *words], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=200
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}, done.stderr


def changed_inventory(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Copy the lab's inventory with a mistake in it."""
    shutil.copytree(ROOT / "inventories/lab", folder / "inventory")
    path = folder / "inventory/group_vars/all/platform.yml"
    description = yaml.safe_load(path.read_text())
    description["lab_folder"] = str(ROOT / ".lab")
    change(description)
    path.write_text(yaml.safe_dump(description))
    return folder / "inventory"


def standing() -> tuple[Any, ...]:
    """What must be the same before and after a refusal."""
    found = servers()
    pods = {target: row["pid"] for target, row in found.items() if row["kind"] == "service"}
    state = {region: found[f"{region}/postgresql"]["state"] for region in (WEST, EAST)}
    standby = state[EAST] == "running" and sql(EAST, "SELECT pg_is_in_recovery()", inside=True)
    return pods, state, found[f"{WEST}/postgresql"]["masked"], standby


def message(report: dict[str, Any]) -> str:
    return json.dumps(report["failures"]) + json.dumps(report["decisions"])


def unknown_service(description: dict[str, Any]) -> None:
    services = description["recovery_platform"]["services"]
    services["usr-service"] = services.pop("user-service")
    description["recovery_platform"]["canary"]["service"] = "usr-service"


def wrong_password(description: dict[str, Any]) -> None:
    description["recovery_credentials"]["postgresql_admin"]["password"] = "planted-wrong-password"


def strict_rpo(description: dict[str, Any]) -> None:
    description["recovery_platform"]["databases"]["platform_db"]["objectives"]["rpo_seconds"] = 1


def other_identity(description: dict[str, Any]) -> None:
    description["recovery_platform"]["databases"]["platform_db"]["system_identifier"] = "7000000000000000001"


TO_EAST = ("--target", EAST, "--confirm", EAST)


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("--target", "us-est-1", "--confirm", "us-est-1"), 1, "us-east-1"),
        (("--target", EAST), 4, "recovery_confirm=us-east-1"),
        (("--target", EAST, "--confirm", WEST), 4, "recovery_confirm=us-east-1"),
        ((*TO_EAST, "--allow-data-loss"), 1, "recovery_reason"),
        ((*TO_EAST, "--detected-at", "just now"), 1, "RFC 3339"),
        ((*TO_EAST,), 4, "switchover"),
    ],
)
def test_a_wrong_call_touches_nothing(tmp_path: Path, words: tuple[str, ...], code: int, expected: str) -> None:
    before = standing()
    found, report, _ = recovery(tmp_path, *words)
    assert found == code, report
    assert expected in message(report)
    assert standing() == before


def test_an_unknown_service_is_named_with_the_nearest_before_anything_is_touched(tmp_path: Path) -> None:
    lab("break", "kill", f"{WEST}/postgresql")
    before = standing()
    found, report, _ = recovery(tmp_path, *TO_EAST, inventory=changed_inventory(tmp_path, unknown_service))
    assert found == 1, report
    assert "usr-service" in message(report)
    assert "user-service" in message(report)
    assert standing()[1:] == before[1:]


def test_a_standby_of_another_lineage_is_refused_even_with_the_primary_gone(tmp_path: Path) -> None:
    lab("break", "kill", f"{WEST}/postgresql")
    before = standing()
    found, report, _ = recovery(tmp_path, *TO_EAST, inventory=changed_inventory(tmp_path, other_identity))
    assert found == 4, report
    assert "lineage" in message(report)
    assert "7000000000000000001" in message(report)
    assert standing()[1:] == before[1:]


def test_a_wrong_password_is_said_and_not_shown(tmp_path: Path) -> None:
    before = standing()
    inventory = changed_inventory(tmp_path, wrong_password)
    found, report, printed = recovery(tmp_path / "runs", *TO_EAST, "--mode", "switchover", inventory=inventory)
    assert found == 1, report
    assert "password" in message(report)
    assert standing() == before
    for text in [printed, *(path.read_text() for path in (tmp_path / "runs").rglob("*") if path.is_file())]:
        assert "planted-wrong-password" not in text


def test_a_standby_that_is_down_cannot_be_promoted(tmp_path: Path) -> None:
    lab("break", "kill", f"{EAST}/postgresql")
    lab("break", "kill", f"{WEST}/postgresql")
    before = standing()
    found, report, _ = recovery(tmp_path, *TO_EAST)
    assert found == 4, report
    assert EAST in message(report)
    assert standing() == before


def test_a_cluster_out_of_reach_refuses_before_anything_is_touched(tmp_path: Path) -> None:
    lab("break", "kill", f"{WEST}/postgresql")
    lab("break", "isolate", f"{EAST}/kubernetes")
    before = standing()
    found, report, _ = recovery(tmp_path, *TO_EAST)
    assert found == 4, report
    assert EAST in message(report)
    assert standing()[1:] == before[1:]


def test_a_standby_far_behind_needs_a_reason_and_its_loss_is_exact(tmp_path: Path) -> None:
    inventory = changed_inventory(tmp_path, strict_rpo)
    prefix = f"behind-{time.time_ns()}"
    with Client(EDGE, prefix) as client:
        client.wait_for(50)
        lab("break", "isolate", f"{EAST}/postgresql")
        client.wait_for(150)
        time.sleep(2)
        lab("break", "kill", f"{WEST}/postgresql")
        lab("heal", f"{EAST}/postgresql", ok=False)
        before = standing()
        found, report, _ = recovery(tmp_path / "runs", *TO_EAST, inventory=inventory)
        assert found == 4, report
        assert "loss" in message(report)
        assert standing()[1:] == before[1:]
        reason = ("--allow-data-loss", "--reason", "the rows can be entered again")
        found, report, _ = recovery(tmp_path / "runs", *TO_EAST, *reason, inventory=inventory)
        # Recovered, but what clients lost is beyond the objective that the override gave up.
        assert (found, report["outcome"]) == (3, "recovered"), report
        client.wait_for(20)
    assert len(set(client.acknowledged) - keys_in(EAST, prefix)) >= 100
    assert any(decision["verdict"] == "override" for decision in report["decisions"])
