# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role as a play, in ansible-playbook, against real servers: journalled, killed, and its readiness."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.platform.recovery.plugins.module_utils.journal import Journal
from ansible_collections.platform.recovery.plugins.module_utils.run import Run
from tests.integration.redis.world import EAST, PASSWORD, STORE, WEST, World, Writer, eventually, link
from tests.support.killer import below, send

CLONE = Path(__file__).resolve().parents[3]


def book(world: World, folder: Path, *entries: str, **values: Any) -> list[str]:
    """Write a play that calls entry points of the role; give the command that runs it."""
    variables: dict[str, Any] = {
        "redis_failover_stores": world.described(),
        "redis_failover_credentials": {"redis": {"password": PASSWORD}},
        "redis_failover_target": EAST,
        "redis_failover_mode": "switchover",
        "redis_failover_timeout_seconds": 20,
        **values,
    }
    role = "platform.recovery.redis_failover"
    tasks: list[dict[str, Any]] = [
        {"name": f"Call {entry}", "ansible.builtin.import_role": {"name": role, "tasks_from": entry}}
        for entry in entries
    ]
    keep = {"content": "{{ redis_failover_result | to_json }}", "dest": str(folder / "result.json"), "mode": "0600"}
    tasks.append({"name": "Keep the result", "ansible.builtin.copy": keep, "check_mode": False, "diff": False})
    content = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks}
    path = folder / "play.yml"
    path.write_text(yaml.safe_dump([content]))
    return [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(path), "--diff"]


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(CLONE / ".collections"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }


def play(world: World, folder: Path, *entries: str, words: tuple[str, ...] = (), **values: Any) -> tuple[int, Any, str]:
    """Run it; gives the exit code, the result, and what was printed."""
    command = [*book(world, folder, *entries, **values), *words]
    done = subprocess.run(command, env=environment(), cwd=folder, capture_output=True, text=True, check=False)
    kept = folder / "result.json"
    result = json.loads(kept.read_text()) if kept.exists() else None
    kept.unlink(missing_ok=True)
    text = done.stdout + done.stderr
    assert PASSWORD not in text
    return done.returncode, result, text


def test_the_role_over_and_back(world: World, tmp_path: Path) -> None:
    code, result, text = play(world, tmp_path, "main", words=("--check",))
    assert (code, result["changed"], world.role(WEST)) == (0, True, "master"), text
    assert f"-{STORE}: {WEST}" in text
    assert f"+{STORE}: {EAST}" in text
    with Writer(world) as writer:
        eventually(lambda: writer.count() > 50)
        code, result, text = play(world, tmp_path, "preflight", "main", "verify", words=("-vvv",))
    assert (code, result["changed"], result["stores"][STORE]["leads"]) == (0, False, True), text
    assert writer.missing(EAST) == []
    eventually(lambda: world.follows(WEST))
    code, result, text = play(world, tmp_path, "rollback", redis_failover_former_target=WEST)
    assert (code, result["changed"], result["stores"][STORE]["rpo"]["lost"]) == (0, True, 0), text
    assert world.role(WEST) == "master"


def test_forced_journalled_and_rejoined(world: World, tmp_path: Path) -> None:
    Journal.open(tmp_path / "run", "run")
    run = {"recovery_run": {"id": "run", "folder": str(tmp_path / "run")}}
    more: dict[str, Any] = {"redis_failover_mode": "failover", "redis_failover_lost_regions": [WEST], **run}
    world.act("freeze", WEST)
    code, _result, text = play(world, tmp_path, "main", **more)
    assert (code, "no reason for it" in text) == (2, True), text
    code, result, text = play(world, tmp_path, "main", **more, redis_failover_reason="no power there")
    assert (code, result["stores"][STORE]["fenced"]) == (0, {WEST: "stopped"}), text
    assert any("rejoin" in action for action in result["next_actions"])
    code, result, text = play(world, tmp_path, "rejoin", "verify", **more, redis_failover_reason="no power there")
    assert code == 0, text
    assert world.follows(WEST)
    records = [(record["event"], record["data"]) for record in Run.at("run", tmp_path / "run").journal.records()]
    gates = [data["gate"] for event, data in records if event == "decision" and data["verdict"] == "pass"]
    assert {f"{STORE}: candidate", f"{STORE}: loss", f"{STORE}: fence {WEST}"} <= set(gates)
    actions = {data["what"]: data for event, data in records if event == "action"}
    assert actions["redis"]["rpo"]["seconds"] is not None
    assert actions["redis rejoin"]["changed"]
    assert PASSWORD not in (tmp_path / "run/journal.jsonl").read_text()


@contextlib.contextmanager
def held(world: World, folder: Path, **values: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run the role until the test says what is to happen, and kill it."""
    with subprocess.Popen(
        book(world, folder, "main", **values),
        env=environment(),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        yield running
        for pid in below(running.pid):
            send(pid, signal.SIGKILL)


def test_killed_after_the_demotion_and_run_again(world: World, tmp_path: Path) -> None:
    """No Sentinel answers in time to promote: the run is killed while nobody is primary."""
    with Writer(world) as writer:
        eventually(lambda: writer.count() > 50)
        with held(world, tmp_path, redis_failover_connect_seconds=20, redis_failover_drain_seconds=30):
            eventually(lambda: paused_or_demoted(world))
            for region in (WEST, EAST):
                world.act("freeze", region, "sentinel")
        for region in (WEST, EAST):
            world.act("thaw", region, "sentinel")
        # Whatever the moment was, it is finished or done anew.
        code, _result, text = play(world, tmp_path, "main")
        assert code == 0, text
    assert (world.role(EAST), world.role(WEST)) == ("master", "slave")
    assert writer.missing(EAST) == []


def paused_or_demoted(world: World) -> bool:
    """Whether a run has begun to move the store: its clients wait, or there is no primary there."""
    clients = world.ask(WEST, "INFO", "clients")
    return int(clients["blocked_clients"]) > 0 or world.role(WEST) == "slave"


@pytest.mark.slow  # what is killed later leaves more to be done, and CI tries that
def test_killed_after_the_fence_and_run_again(world: World, tmp_path: Path) -> None:
    more = {"redis_failover_mode": "failover"}
    world.act("kill", WEST)
    with held(world, tmp_path, **more):
        eventually(lambda: bool(world.state(WEST).get("masked")))
    code, _result, text = play(world, tmp_path, "main", **more)
    assert (code, world.role(EAST)) == (0, "master"), text


def verdicts(result: Any) -> dict[str, tuple[str, str]]:
    return {one["check"]: (one["verdict"], one["observed"]) for one in result["checks"]}


def test_readiness_names_each_defect(world: World, tmp_path: Path) -> None:
    world.ask(EAST, "CONFIG", "SET", "replica-priority", "0")
    world.ask(EAST, "CONFIG", "SET", "maxmemory", "10mb")
    world.ask(EAST, "REPLICAOF", "127.60.9.9", "6379")
    world.ask(EAST, "SENTINEL", "SET", STORE, "quorum", "1", kind="sentinel")
    world.act("kill", WEST, "sentinel")
    world.close_host(EAST)
    given = world.described()
    given[STORE]["members"][WEST]["fence"] = {"method": "none"}
    given[STORE]["sentinels"].append({"host": "127.60.9.61", "region": EAST})
    code, result, text = play(world, tmp_path, "readiness", redis_failover_stores=given)
    assert code == 0, text
    found = verdicts(result)
    for check, words in {
        "replica to be promoted": "replica-priority of us-east-1 is 0",
        f"room of {EAST}": "maxmemory 10485760, the primary unlimited",
        f"replication to {EAST}": "replica of 127.60.9.9:6379, link down",
        f"Sentinel {link(WEST, 'sentinel')}:26379": "Sentinel 127.60.101.61:26379:",
        "Sentinel 127.60.9.61:26379": "refused",
        f"fence of {WEST}": "no channel is described",
        f"fence of {EAST}": "ssh",
        "automatic failover": "quorum 1 of 3 Sentinels",
    }.items():
        assert found[check][0] == "not_ready", (check, found[check])
        assert words in found[check][1], (check, found[check])


@pytest.fixture(autouse=True)
def tidy(tmp_path: Path) -> Iterator[None]:
    yield
    shutil.rmtree(tmp_path, ignore_errors=True)
