# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role scale_cluster on the lab: real pods of two regions, one of which is lost."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.platform.recovery.plugins.module_utils.errors import StepTimeout
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import Fleet, Settings, build
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.repoint import repoint
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.scale import Rules, scale
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.waves import levels
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.workloads import Target
from tests.support.platform import BIN, EAST, ROOT, WEST, environment, lab, servers

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("healthy")]

SPACE = "production"
SERVICES = ("user-service", "tenant-service", "plugin-service", "ai-service")


def role(folder: Path, entry: str, *words: str, **values: Any) -> tuple[int, dict[str, Any], str]:
    """Call the role with the lab's inventory; gives the exit code, its result, and what was printed."""
    inputs = {
        "scale_cluster_clusters": "{{ recovery_platform.clusters }}",
        "scale_cluster_services": "{{ recovery_platform.services }}",
        **{f"scale_cluster_{name}": value for name, value in values.items()},
    }
    kept = folder / "result.json"
    kept.unlink(missing_ok=True)
    call = {"name": "platform.recovery.scale_cluster", "tasks_from": entry}
    copy = {"content": "{{ scale_cluster_result | to_json }}", "dest": str(kept), "mode": "0600"}
    tasks = [
        {"name": "Call the role", "ansible.builtin.import_role": call},
        {"name": "Keep the result", "ansible.builtin.copy": copy, "check_mode": False},
    ]
    book = folder / "play.yml"
    book.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "vars": inputs, "tasks": tasks}]))
    argv = [str(BIN / "ansible-playbook"), "-i", "inventories/lab", str(book), *words]
    done = subprocess.run(argv, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=120)
    result: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    return done.returncode, result, done.stdout + done.stderr


def fleet_of(region: str, *names: str, seconds: float = 30.0) -> tuple[Fleet, list[Target]]:
    """Open workloads of a region, or its whole namespace."""
    clusters = {region: {"kubeconfig": servers()[f"{region}/kubernetes"]["connect"]["kubeconfig"]}}
    workloads = [{"cluster": region, "namespace": SPACE, "name": name, "kind": "Deployment"} for name in names]
    spaces = [] if names else [{"cluster": region, "namespace": SPACE}]
    return build(clusters, workloads, Settings(timeout_seconds=seconds), spaces)


def space(region: str) -> list[dict[str, str]]:
    return [{"cluster": region, "namespace": SPACE}]


def pods(region: str) -> int:
    return sum(row["kind"] == "service" and row["region"] == region for row in servers().values())


def test_the_surviving_region_takes_the_sizes_of_the_lost_one(tmp_path: Path) -> None:
    snapshot = str(tmp_path / "sizes.json")
    scale(*fleet_of(WEST, "user-service"), 3)
    remembering = {"region": WEST, "namespaces": space(WEST), "remember_in": [EAST], "snapshot": snapshot}
    code, noted, text = role(tmp_path, "remember", **remembering)
    assert (code, noted["noted"], noted["absent"]) == (0, 4, []), text
    code, noted, text = role(tmp_path, "remember", **remembering)
    assert (code, noted["changed"]) == (0, False), text

    wish = {"namespaces": space(EAST), "replicas": "lost_region", "lost_region": WEST}
    code, found, text = role(tmp_path, "readiness", **wish)
    assert code == 0, text
    verdicts = {check["check"]: check["verdict"] for check in found["checks"]}
    assert verdicts == {"rights": "ready", "sizes": "ready", "room": "ready"}

    lab("break", "kill", f"{WEST}/kubernetes")
    code, planned, text = role(tmp_path, "preflight", **wish)
    assert (code, planned["scaled"], pods(EAST)) == (0, 1, 8), text
    code, done, text = role(tmp_path, "main", **wish)
    assert (code, done["scaled"], done["total"]) == (0, 1, 4), text
    assert done["workloads"][f"{EAST}/{SPACE}/user-service"]["after"] == 3
    # plugin-service depends on tenant-service.
    assert [wave["workloads"] for wave in done["waves"]] == [3, 1]
    assert pods(EAST) == 9
    code, again, text = role(tmp_path, "verify", **wish)
    assert (code, again["changed"]) == (0, False), text
    code, back, text = role(tmp_path, "rollback", namespaces=space(EAST))
    assert (code, back["scaled"]) == (0, 1), text
    assert pods(EAST) == 8


def test_a_region_that_is_too_small_refuses_with_what_is_short(tmp_path: Path) -> None:
    wish = {"namespaces": space(EAST), "replicas": "5000"}
    code, _, text = role(tmp_path, "main", **wish)
    assert code == 2
    assert f"There is no room in cluster {EAST}: nothing was touched" in text
    assert "1 node: pods short of " in text
    assert "Traceback" not in text
    assert pods(EAST) == 8
    code, found, text = role(tmp_path, "readiness", **wish)
    assert code == 0, text
    short = [check for check in found["checks"] if check["verdict"] == "not_ready"]
    assert [check["check"] for check in short] == ["room 1 node pods"]
    assert short[0]["mend"] == "add nodes, or make room on them"


def test_each_workload_that_never_gets_ready_is_named_with_event_and_log() -> None:
    repoint(*fleet_of(EAST, "ai-service"), "DB_HOST", "nowhere.invalid")
    told: list[str] = []
    rules = Rules(capacity="require", autoscalers=True, order=levels({"ai-service": {}}))
    with pytest.raises(StepTimeout) as failed:
        scale(*fleet_of(EAST, seconds=8.0), 3, told.append, rules)
    entries = failed.value.fields["failed_workloads"]
    assert entries.keys() == {f"{EAST}/{SPACE}/ai-service"}
    entry = entries[f"{EAST}/{SPACE}/ai-service"]
    assert "3 of 4 workloads are ready after 8 s" in str(failed.value)
    assert entry["event"].startswith("Unhealthy: Readiness probe failed")
    assert entry["log"], "the last lines that its process wrote"
    assert told[-1].endswith("of 4 workloads ready")
    repoint(*fleet_of(EAST, "ai-service"), "DB_HOST", "postgresql.us-west-2.lab.internal")
    assert scale(*fleet_of(EAST), 3, None, rules)["changed"] is False, "all was scaled already, and is waited for"
    assert scale(*fleet_of(EAST), None, None, rules)["scaled"] == 4
