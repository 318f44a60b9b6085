# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drill on a real platform under load: production is as it was, asked by other means than its own."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from tests.support.client import Client
from tests.support.platform import (
    BIN,
    EAST,
    EDGE,
    ROOT,
    WEST,
    Ended,
    command,
    environment,
    failover,
    keys_in,
    servers,
    sql,
)

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("healthy")]

DRILL = {"recovery_target": EAST}
SCRATCH = "recovery-drill"
DATA = (ROOT / ".lab").resolve() / "data" / EAST
QUESTIONS = (
    "SELECT datname::text, datdba FROM pg_database ORDER BY 1",
    "SELECT rolname::text, rolsuper, rolreplication, rolcanlogin FROM pg_roles ORDER BY 1",
    "SELECT slot_name::text, slot_type, active FROM pg_replication_slots ORDER BY 1",
    "SELECT application_name, state FROM pg_stat_replication ORDER BY 1",
    "SELECT name, setting FROM pg_settings WHERE source NOT IN ('session', 'client') ORDER BY 1",
    "SELECT relname::text, relkind::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
    "SELECT pubname::text FROM pg_publication ORDER BY 1",
    "SELECT pg_is_in_recovery(), timeline_id FROM pg_control_checkpoint()",
)


def production() -> dict[str, Any]:
    """Count and digest everything, by psql's way and Kubernetes' own client."""
    seen: dict[str, Any] = {}
    for region in (WEST, EAST):
        for question in QUESTIONS:
            seen[f"{region}: {question}"] = sql(region, question, inside=True)
        api = config.new_client_from_config(servers()[f"{region}/kubernetes"]["connect"]["kubeconfig"])
        core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
        names = {item.metadata.name for item in core.list_namespace().items}
        seen[f"{region}: namespaces"] = sorted(names - {SCRATCH})  # of a drill that failed before: the next removes it
        for listing in (
            core.list_namespaced_pod,
            core.list_namespaced_service,
            core.list_namespaced_secret,
            core.list_namespaced_config_map,
            core.list_namespaced_service_account,
            apps.list_namespaced_deployment,
            apps.list_namespaced_replica_set,
        ):
            items = listing("production").items
            seen[f"{region}: {listing.__name__}"] = sorted((i.metadata.uid, digest(i)) for i in items)
    return seen


def digest(item: Any) -> str:
    content = [item.metadata.generation, item.metadata.labels, getattr(item, "data", None), item.metadata.annotations]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def scratch_processes() -> list[str]:
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"{DATA}/postgresql.drill/" in words:
            found.append(words)
    return found


def leftovers() -> list[str]:
    """Name what is left of a drill, anywhere."""
    found = [str(path) for path in DATA.iterdir() if "drill" in path.name] + scratch_processes()
    api = config.new_client_from_config(servers()[f"{EAST}/kubernetes"]["connect"]["kubeconfig"])
    found += [n.metadata.name for n in client.CoreV1Api(api).list_namespace().items if n.metadata.name == SCRATCH]
    return found


@pytest.fixture
def load(healthy: None) -> Iterator[Client]:
    del healthy  # or the client would see the lab being reset
    with Client(EDGE, f"load-{uuid.uuid4().hex[:6]}") as writing:
        writing.wait_for(20)
        yield writing
        writing.wait_for(20)
    assert writing.failed == []
    assert set(writing.acknowledged) - keys_in(WEST, writing.prefix) == set()


def gates(ended: Ended) -> dict[str, str]:
    return {entry["gate"]: entry["verdict"] for entry in ended.report["decisions"]}


@pytest.mark.usefixtures("load")
def test_a_drill_does_everything_and_changes_nothing(tmp_path: Path) -> None:
    before = production()
    ended = failover(tmp_path, playbook="drill", **DRILL)
    assert ended.code == 0, ended.output
    assert production() == before
    assert leftovers() == []
    report = ended.report
    assert (report["outcome"], report["mode"], report["exit_code"]) == ("recovered", "drill", 0)
    names = [phase["name"] for phase in report["phases"]]
    assert names == [
        "scratch", "confirm", "fence", "promote", "configure", "restart", "verify", "replication", "rejoin",
        "remove",
    ]  # fmt: skip
    assert report["outage"]["acknowledged_writes"] > 0
    assert report["outage"]["seconds"] > 0
    assert {goal["name"]: goal["met"] for goal in report["objectives"]} == {"rto": True, "rpo": True}
    assert gates(ended)["production unchanged"] == "pass"
    # The canary of a drill wrote to the scratch, and to nothing else.
    assert keys_in(WEST, f"canary-{report['run_id']}") == set()


@pytest.mark.slow
@pytest.mark.usefixtures("load")
def test_a_killed_drill_is_removed_by_the_next(tmp_path: Path) -> None:
    before = production()
    for number, marker in enumerate(("make", "fence")):
        run_id = f"killed-{uuid.uuid4().hex[:8]}"
        kill_at(tmp_path, run_id, marker)
        assert leftovers() != []
        # Once under the same name, and once under another, when the dead one's lease has expired.
        ended = failover(tmp_path, playbook="drill", run_id=None if number else run_id, **DRILL)
        deadline = time.monotonic() + 60
        while ended.report["exit_code"] == 4 and time.monotonic() < deadline:
            ended = failover(tmp_path, playbook="drill", **DRILL)
        assert ended.code == 0, ended.output
        assert gates(ended)["production unchanged"] == "pass"
        assert leftovers() == []
    assert production() == before


def test_what_somebody_changed_meanwhile_fails_the_drill_and_is_named(tmp_path: Path) -> None:
    name = f"stranger_{uuid.uuid4().hex[:6]}"
    run_id = f"changed-{uuid.uuid4().hex[:8]}"
    process = start(tmp_path, run_id)
    await_text(tmp_path / run_id, "scratch primary killed")
    sql(WEST, f"CREATE ROLE {name}")
    output, _ = process.communicate(timeout=240)
    try:
        ended = Ended(process.returncode, output, tmp_path / run_id)
        assert ended.code != 0, ended.output
        assert (ended.report["outcome"], ended.report["exit_code"]) == ("failed", 2)
        assert f"role {name} is new" in ended.report["failures"][-1]["observed"]
        assert leftovers() == []
    finally:
        sql(WEST, f"DROP ROLE {name}")


def test_the_command_line_does_it_too_and_a_namespace_of_others_is_not_touched(tmp_path: Path) -> None:
    api = config.new_client_from_config(servers()[f"{EAST}/kubernetes"]["connect"]["kubeconfig"])
    core = client.CoreV1Api(api)
    core.create_namespace({"metadata": {"name": SCRATCH}})
    try:
        argv = [BIN / "recovery", "run", "database-failover", "--inventory", "inventories/lab", "--mode", "drill"]
        argv += ["--target", EAST, "--journal", f"file:{tmp_path}", "--json"]
        done = subprocess.run(
            argv, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=240
        )
        report = json.loads(done.stdout)
        assert (done.returncode, report["outcome"]) == (4, "refused")
        assert "is no drill's" in report["failures"][-1]["msg"]
        assert core.read_namespace(SCRATCH).status.phase == "Active"
    finally:
        core.delete_namespace(SCRATCH)
        deadline = time.monotonic() + 30
        while SCRATCH in [n.metadata.name for n in core.list_namespace().items]:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def start(sink: Path, run_id: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(run_id, sink, DRILL, playbook="drill"),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def await_text(folder: Path, text: str, seconds: float = 120) -> None:
    """Wait until the journal tells something."""
    deadline = time.monotonic() + seconds
    journal = folder / "journal.jsonl"
    while not journal.exists() or text not in journal.read_text():
        assert time.monotonic() < deadline, f"{text} was never journalled"
        time.sleep(0.02)


def kill_at(sink: Path, run_id: str, marker: str) -> None:
    """Kill the controller with all of its processes while it makes the scratch, or after it has fenced."""
    process = start(sink, run_id)
    if marker == "make":
        deadline = time.monotonic() + 60
        while not (DATA / "postgresql.drill" / "mark").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    else:
        await_text(sink / run_id, '"what":"fence"')
    for pid in family(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait()


def family(pid: int) -> list[int]:
    """Give a process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(words[1]), []).append(int(place.parent.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found
