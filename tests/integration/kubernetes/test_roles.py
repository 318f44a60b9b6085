# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles as plays, in ansible-playbook, against real servers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.platform.recovery.plugins.module_utils.journal import Journal
from ansible_collections.platform.recovery.plugins.module_utils.run import Run
from tests.integration.kubernetes.plane import NAMESPACE, Plane, workload
from tests.integration.kubernetes.test_workloads import create, host_of, ready

CLONE = Path(__file__).resolve().parents[3]


def play(
    plane: Plane, folder: Path, *roles: tuple[str, str], check: bool = False, **values: Any
) -> tuple[int, Any, str]:
    """Run roles (name, entry point) in one play; gives the exit code, the results, and what was printed."""
    services = [{"cluster": "plane", "namespace": NAMESPACE, "name": name} for name in ("user-service", "ai-service")]
    variables: dict[str, Any] = {}
    for name in {name for name, _ in roles}:
        clusters = {"plane": {"kubeconfig": str(plane.kubeconfig), "region": "here"}}
        variables |= {f"{name}_clusters": clusters, f"{name}_workloads": services, f"{name}_timeout_seconds": 15}
    tasks: list[dict[str, Any]] = [
        {
            "name": f"Call {name}",
            "ansible.builtin.import_role": {"name": f"platform.recovery.{name}", "tasks_from": entry},
        }
        for name, entry in roles
    ]
    results = "{{ lookup('vars', '" + f"{roles[-1][0]}_result" + "') | to_json }}"
    tasks.append(
        {
            "name": "Keep the result",
            "ansible.builtin.copy": {"content": results, "dest": str(folder / "result.json"), "mode": "0600"},
            "check_mode": False,
            "diff": False,
        }
    )
    book = folder / "play.yml"
    content = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables | values}
    book.write_text(yaml.safe_dump([{**content, "tasks": tasks}]))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(book), "--diff"]
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(CLONE / ".collections"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    done = subprocess.run(
        command + (["--check"] if check else []),
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    kept = folder / "result.json"
    result = json.loads(kept.read_text()) if kept.exists() else None
    kept.unlink(missing_ok=True)
    return done.returncode, result, done.stdout + done.stderr


def test_repoint_and_restart(plane: Plane, tmp_path: Path) -> None:
    create(plane, workload("user-service"), workload("ai-service"))
    ready(plane, "user-service", "ai-service")
    roles = (("service_repoint", "main"), ("service_restart", "main"))
    code, result, text = play(plane, tmp_path, *roles, service_repoint_value="db.east", check=True)
    assert code == 0, text
    assert host_of(plane.deployment("ai-service")) == "db.west"
    assert "+plane/production/ai-service DB_HOST=db.east" in text

    code, result, text = play(plane, tmp_path, *roles, service_repoint_value="db.east")
    assert code == 0, text
    assert (result["changed"], result["ready"]) == (False, 2)
    assert host_of(plane.deployment("ai-service")) == "db.east"

    verify = (("service_repoint", "verify"), ("service_restart", "verify"))
    code, result, text = play(plane, tmp_path, *roles, *verify, service_repoint_value="db.east")
    assert code == 0, text
    code, result, text = play(plane, tmp_path, ("service_repoint", "main"), service_repoint_value="db.east")
    assert (code, result["changed"], result["patched"]) == (0, False, 0), text

    code, result, text = play(plane, tmp_path, ("service_repoint", "rollback"), service_repoint_former_value="db.west")
    assert (code, result["patched"]) == (0, 2), text


def test_a_lost_cluster_is_left_out_and_journalled(plane: Plane, tmp_path: Path) -> None:
    manifest = workload("user-service", replicas=0)
    manifest["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "PGHOST", "value": "db.west"})
    create(plane, manifest)
    Journal.open(tmp_path / "run", "run")
    entry = {"namespace": NAMESPACE, "name": "user-service", "variable": "PGHOST"}
    code, result, text = play(
        plane,
        tmp_path,
        ("service_repoint", "observe"),
        ("service_repoint", "preflight"),
        ("service_repoint", "main"),
        recovery_run={"id": "run", "folder": str(tmp_path / "run")},
        service_repoint_clusters={"plane": {"kubeconfig": str(plane.kubeconfig)}, "west": {"kubeconfig": "/nowhere"}},
        service_repoint_workloads=[{**entry, "cluster": cluster} for cluster in ("plane", "west")],
        service_repoint_value="db.east",
        service_repoint_lost_clusters=["west"],
        service_repoint_reason="no power in the west",
    )
    assert (code, result["patched"], result["lost_clusters"]) == (0, 1, ["west"]), text
    records = [(record["event"], record["data"]) for record in Run.at("run", tmp_path / "run").journal.records()]
    told = [(event, data.get("what") or data.get("gate")) for event, data in records]
    assert told[-4:] == [
        ("observation", "workloads"),
        ("observation", "plan: repoint"),
        ("decision", "repoint without cluster west"),
        ("action", "repoint"),
    ]
    assert records[-2][1]["by"] == "operator: no power in the west"
    assert records[-1][1]["target"] == "PGHOST=db.east"


def test_without_services_there_is_nothing_to_do(plane: Plane, tmp_path: Path) -> None:
    roles = ("service_repoint", "scale_cluster", "service_restart")
    empty = {f"{role}_{key}": value for role in roles for key, value in (("clusters", {}), ("workloads", []))}
    calls = tuple((role, entry) for role in roles for entry in ("preflight", "main", "verify"))
    code, result, text = play(plane, tmp_path, *calls, service_repoint_value="db.east", **empty)
    assert (code, result["changed"], result["lines"]) == (0, False, ["no workload depends on it"]), text


def test_scale_and_restore(plane: Plane, tmp_path: Path) -> None:
    create(plane, workload("user-service"), workload("ai-service"))
    ready(plane, "user-service", "ai-service")
    code, result, text = play(plane, tmp_path, ("scale_cluster", "main"), ("scale_cluster", "verify"))
    assert code == 0, text
    assert plane.pods() == []
    code, result, text = play(plane, tmp_path, ("scale_cluster", "rollback"))
    assert (code, result["scaled"]) == (0, 2), text
    assert len(plane.pods()) == 4


def test_a_failure_is_told_in_words(plane: Plane, tmp_path: Path) -> None:
    create(plane, workload("user-service"), workload("ai-servise"))
    code, result, text = play(plane, tmp_path, ("service_repoint", "main"), service_repoint_value="db.east")
    assert code == 2
    assert result is None
    assert "There is no Deployment production/ai-service in cluster plane (did you mean 'ai-servise'?)" in text
    assert "Traceback" not in text
    assert "admin-token" not in text
    assert host_of(plane.deployment("user-service")) == "db.west"
