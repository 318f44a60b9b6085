# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role as a play, in ansible-playbook, against real servers: journalled, and its readiness."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.platform.recovery.plugins.module_utils.journal import Journal
from ansible_collections.platform.recovery.plugins.module_utils.run import Run
from tests.integration.kafka.world import ADMIN, EAST, PASSWORDS, WEST, World, eventually

CLONE = Path(__file__).resolve().parents[3]
TOPIC = "payments"


def play(folder: Path, world: World, *entries: str, words: tuple[str, ...] = (), **more: Any) -> tuple[int, Any, str]:
    """Call entry points of the role; give the exit code, the result, and what was printed."""
    variables: dict[str, Any] = {
        "kafka_failover_stores": {"events": world.store()},
        "kafka_failover_credentials": {"kafka": {"user": ADMIN, "password": PASSWORDS[ADMIN]}},
        "kafka_failover_target": EAST,
        **more,
    }
    role = "platform.recovery.kafka_failover"
    tasks: list[dict[str, Any]] = [
        {"name": f"Call {entry}", "ansible.builtin.import_role": {"name": role, "tasks_from": entry}}
        for entry in entries
    ]
    kept = folder / "result.json"
    keep = {"content": "{{ kafka_failover_result | to_json }}", "dest": str(kept), "mode": "0600"}
    tasks.append({"name": "Keep the result", "ansible.builtin.copy": keep, "check_mode": False, "diff": False})
    content = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks}
    (folder / "play.yml").write_text(yaml.safe_dump([content]))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(folder / "play.yml")]
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(CLONE / ".collections"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    done = subprocess.run(
        [*command, "--diff", *words], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    result = json.loads(kept.read_text()) if kept.exists() else None
    kept.unlink(missing_ok=True)
    text = done.stdout + done.stderr
    assert not any(secret in text for secret in PASSWORDS.values())
    return done.returncode, result, text


def test_readiness_and_a_plan(world: World, tmp_path: Path) -> None:
    world.create(TOPIC)
    assert len(world.produce(WEST, TOPIC, 20)) == 20
    world.mirrored(TOPIC)
    code, result, text = play(tmp_path, world, "readiness")
    assert code == 0, text
    verdicts = {f"{one['subject']} {one['check']}": (one["verdict"], one["observed"]) for one in result["checks"]}
    assert {verdict for verdict, _ in verdicts.values()} == {"ready"}, verdicts
    assert len(verdicts) >= 11
    world.silent.add(WEST)
    code, result, text = play(tmp_path, world, "readiness")
    world.silent.clear()
    bad = {one["check"] for one in result["checks"] if one["verdict"] == "not_ready"}
    assert bad == {f"broker of {WEST} at {WEST}", f"mirror into {WEST} at {WEST}"}
    code, result, text = play(tmp_path, world, "preflight", words=("-vvv",))
    assert (code, result["changed"]) == (0, True), text
    assert "+events: kafka-mirror-maker at us-east-1: stopped and masked" in text
    assert world.alive(f"{EAST}/mirror")
    assert len(world.produce(WEST, TOPIC, 1, begin=20)) == 1


@pytest.mark.slow
def test_there_and_back_is_journalled(world: World, tmp_path: Path) -> None:
    Journal.open(tmp_path / "run", "run")
    run = {"recovery_run": {"id": "run", "folder": str(tmp_path / "run")}}
    code, result, text = play(tmp_path, world, "main", **run)
    assert (code, result["changed"], result["stores"]["events"]["rpo"]["lost"]) == (0, True, 0), text
    code, result, text = play(tmp_path, world, "verify")
    assert (code, result["changed"]) == (0, False), text
    assert sorted(world.read(EAST, TOPIC)) == [*range(21)]
    records = [(record["event"], record["data"]) for record in Run.at("run", tmp_path / "run").journal.records()]
    gates = [data["gate"] for event, data in records if event == "decision"]
    assert sorted(gates) == ["mirror of events", "source of events", "target of events"]
    [done] = [data for event, data in records if event == "action"]
    assert (done["target"], done["changed"], done["rpo"]["lost"]) == ("events", True, 0)
    assert len(world.produce(EAST, TOPIC, 5, begin=21)) == 5
    eventually(lambda: len(world.read(WEST, TOPIC)) >= 26, 60)
    code, result, text = play(tmp_path, world, "rollback", kafka_failover_former_target=WEST)
    assert (code, result["target"], result["stores"]["events"]["rpo"]["lost"]) == (0, WEST, 0), text
    assert sorted(world.read(WEST, TOPIC)) == [*range(26)]
