# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Readiness on a real platform: it tells what is so and leaves everything as it was."""

from __future__ import annotations

import json
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import lease, lease_homes
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.client import Client
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.kubeconfig import load
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.transport import Deadline
from ansible_collections.platform.recovery.plugins.module_utils.run import controller
from tests.integration.checklists.test_refusals import changed_inventory, recovery, standing, wrong_password
from tests.support.platform import BIN, EAST, ROOT, WEST, environment, lab, servers, sql

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("healthy")]

COUNTED = (
    "SELECT count(*) FROM pg_database",
    "SELECT count(*) FROM pg_roles",
    "SELECT count(*) FROM pg_class",
    "SELECT array_agg(slot_name::text ORDER BY 1) FROM pg_replication_slots",
    "SELECT md5(string_agg(name || setting, ',' ORDER BY name)) FROM pg_settings WHERE source <> 'session'",
    "SELECT count(*) FROM users",
    "SELECT pg_is_in_recovery()",
    "SELECT timeline_id FROM pg_control_checkpoint()",
)
LISTED = (
    "/api/v1/namespaces",
    "/api/v1/namespaces/production/pods",
    "/apis/apps/v1/deployments",
    "/apis/coordination.k8s.io/v1/namespaces/default/leases",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
)


def readiness(sink: Path, *words: str, inventory: Path | str = "inventories/lab") -> tuple[int, dict[str, Any]]:
    """Call the CLI; gives its exit code and its report."""
    argv = [BIN / "recovery", "readiness", "--inventory", inventory, "--journal", f"file:{sink}", "--json", *words]
    done = subprocess.run(argv, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip(), done.stderr
    return done.returncode, json.loads(done.stdout)


def verdicts(report: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(check["subject"], check["check"]): check["verdict"] for check in report["checks"]}


def everything() -> dict[str, Any]:
    """Count what is there, in both regions."""
    found: dict[str, Any] = {"standing": standing()}
    for region in (WEST, EAST):
        for question in COUNTED:
            found[f"{region}: {question}"] = sql(region, question, inside=True)
        with closing(Client(region, load(servers()[f"{region}/kubernetes"]["connect"]["kubeconfig"], None))) as client:
            for path in LISTED:
                items, _ = client.list(
                    path,
                    lambda item: (item["metadata"]["uid"], item["metadata"].get("generation")),
                    deadline=Deadline.after(10),
                    doing="count",
                )
                found[f"{region}: {path}"] = sorted(items, key=str)
    return found


def test_a_healthy_platform_is_ready_and_stays_as_it_was(tmp_path: Path) -> None:
    before = everything()
    code, report = readiness(tmp_path, "--target", EAST)
    bad = [check for check in report["checks"] if check["verdict"] != "ready"]
    assert (code, report["outcome"], bad) == (0, "ready", [])
    assert everything() == before
    assert report["changed"] is False
    assert {check["role"] for check in report["checks"]} == {
        "recovery_run", "platform", "pg_observe", "pg_fence", "pg_promote", "data_integrity", "service_repoint",
        "service_restart", "canary", "scale_cluster",
    }  # fmt: skip
    told = verdicts(report)
    for region in (WEST, EAST):
        for name in ("sql", "account", "encryption", "service manager", "guard"):
            assert told[f"platform_db {region}", name] == "ready"
        assert told[f"platform_db cluster {region}", "rights"] == "ready"
        assert told[f"lease, cluster {region}", "right to take it"] == "ready"
    folder = tmp_path / report["run_id"]
    for name in ("report.html", "metrics.prom"):
        assert "standby follows" in (folder / name).read_text()


def test_without_a_target_it_is_the_region_that_stands_by_and_the_mode_is_the_same(tmp_path: Path) -> None:
    code, report = readiness(tmp_path)
    assert (code, report["target"]) == (0, EAST)
    code, by_mode, _ = recovery(tmp_path, "--mode", "readiness", "--target", EAST)
    assert (code, by_mode["playbook"], by_mode["outcome"]) == (0, "readiness", "ready")
    assert verdicts(by_mode) == verdicts(report)


def test_what_is_broken_is_named_with_its_mend_and_hides_nothing_else(tmp_path: Path) -> None:
    _, whole = readiness(tmp_path, "--target", EAST)
    lab("break", "kill", f"{WEST}/postgresql")
    lab("break", "isolate", f"{EAST}/kubernetes")
    before = standing()
    code, report = readiness(tmp_path, "--target", EAST)
    assert (code, report["outcome"], report["exit_code"]) == (4, "not_ready", 4)
    told = verdicts(report)
    # The same questions, all of them.
    assert set(verdicts(whole)) <= set(told)
    assert told[f"platform_db {WEST}", "sql"] == "not_ready"
    assert told["platform_db", "one primary"] == "not_ready"
    assert told[f"platform_db cluster {EAST}", "API"] == "not_ready"
    assert told[f"platform_db cluster {EAST}", "workloads"] == "unknown"
    assert told[f"platform_db cluster {WEST}", "rights"] == "ready"
    assert told[f"platform_db {EAST}", "guard"] == "ready"
    assert all(check["mend"] for check in report["checks"] if check["verdict"] != "ready")
    assert report["next_actions"]
    assert standing()[1:] == before[1:]


def test_an_account_that_is_refused_is_not_ready_and_its_password_is_not_shown(tmp_path: Path) -> None:
    inventory = changed_inventory(tmp_path, wrong_password)
    code, report = readiness(tmp_path / "runs", "--target", EAST, inventory=inventory)
    assert code == 4
    assert verdicts(report)[f"platform_db {WEST}", "sql"] == "not_ready"
    assert verdicts(report)[f"platform_db cluster {EAST}", "rights"] == "ready"
    for path in (tmp_path / "runs").rglob("*"):
        assert not path.is_file() or "planted-wrong-password" not in path.read_text(errors="replace")


def test_while_a_lease_is_held_the_next_run_is_not_ready(tmp_path: Path) -> None:
    _, before = readiness(tmp_path, "--target", EAST)
    assert verdicts(before)[f"lease, cluster {EAST}", "lease"] == "ready"
    home = {"provider": "kubernetes", "cluster": EAST, "context": None, "namespace": "default", "name": "recovery-lab"}
    home["kubeconfig"] = servers()[f"{EAST}/kubernetes"]["connect"]["kubeconfig"]
    [store] = lease_homes.open_stores([home])
    grant, _ = lease.take(store, lease.holder("ann", "another-run", controller()), 60)
    held = lease.Held([(store, grant)])
    try:
        code, report = readiness(tmp_path, "--target", EAST)
        assert store.read()[0].term == grant.term
    finally:
        held.release()
        held.close()
    assert code == 4
    [found] = [c for c in report["checks"] if (c["subject"], c["check"]) == (f"lease, cluster {EAST}", "lease")]
    assert (found["verdict"], "another-run" in found["observed"]) == ("not_ready", True)
