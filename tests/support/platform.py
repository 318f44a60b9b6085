# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab and the checklists, used through their command lines as people use them."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
WEST, EAST = "us-west-2", "us-east-1"
EDGE = "http://127.101.0.80:8080"
CANARY_CLIENT = ROOT / "plugins/module_utils/canary_client.py"


@dataclass(frozen=True)
class Ended:
    """A run that ended: what it printed, its exit code, and its report if it got so far."""

    code: int
    output: str
    folder: Path

    @property
    def report(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        return content

    @property
    def journal(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "journal.jsonl").read_text().splitlines()]


def lab(*words: str, ok: bool = True) -> str:
    """Call recovery-lab."""
    done = subprocess.run(
        [BIN / "recovery-lab", *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0 or not ok, done.stdout + done.stderr
    return done.stdout


def lab_version() -> str:
    """Name the PostgreSQL version to test on: the newest, unless the environment says another."""
    return os.environ.get("RECOVERY_TEST_POSTGRESQL", "18")


def end_canaries() -> None:
    """End what killed runs of this checkout left writing: a canary outlives its controller on purpose."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it may end meanwhile
            words = (folder / "cmdline").read_text().split("\0")
            if any(word.startswith(str(ROOT)) and word.endswith("/canary_client.py") for word in words):
                os.kill(int(folder.name), signal.SIGTERM)


def healthy_lab() -> None:
    """Bring the lab back to its first healthy state, data included. Where nothing happened to it, that only looks."""
    end_canaries()
    lab("reset")
    # Whoever loses the primary next is to find a standby that holds something of now, not of the lab's first start.
    marker = f"marker-{uuid.uuid4().hex}"
    sql(WEST, f"INSERT INTO users (key, value) VALUES ('{marker}', 'fresh')")
    deadline = time.monotonic() + 10
    while not keys_in(EAST, marker):
        assert time.monotonic() < deadline, "the standby does not follow"
        time.sleep(0.02)


def servers() -> dict[str, dict[str, Any]]:
    """Give the lab's servers by target."""
    return {row["target"]: row for row in json.loads(lab("status", "--json"))["servers"]}


@functools.cache
def connect(target: str) -> dict[str, str]:
    """Say how to reach a server: it stays the same for the lab's life, and asking costs more than most questions."""
    found: dict[str, str] = servers()[target]["connect"]
    return found


def sql(region: str, statement: str, *, inside: bool = False) -> list[tuple[Any, ...]]:
    """Ask a region's PostgreSQL, from the operator's place or from inside its region."""
    url = connect(f"{region}/postgresql")["direct_url" if inside else "url"]
    with closing(psycopg2.connect(url, connect_timeout=3)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []


def keys_in(region: str, prefix: str) -> set[str]:
    """Give the keys of a client's rows as the database holds them, asked by plain SQL."""
    return {row[0] for row in sql(region, f"SELECT key FROM users WHERE key LIKE '{prefix}%'")}


def variables(**more: Any) -> dict[str, Any]:
    """Give the operator's variables for a failover to the east."""
    return {"recovery_target": EAST, "recovery_confirm": EAST, **more}


def written_inventory(platform: dict[str, Any], password: str, folder: Path, **accounts: dict[str, str]) -> str:
    """Write the inventory of a platform whose databases all have the account `admin`, as an operator would."""
    content = {
        "recovery_platform": platform,
        "recovery_credentials": {"admin": {"user": "postgres", "password": password}, **accounts},
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    file = folder / "hosts.yml"
    file.write_text(json.dumps({"all": {"hosts": {"localhost": {}}, "vars": content}}))
    return str(file)


def command(
    run_id: str,
    sink: Path,
    wish: dict[str, Any],
    inventory: str = "inventories/lab",
    playbook: str = "database_failover",
) -> list[str]:
    """Give the plain ansible-playbook call."""
    full = {"recovery_run_id": run_id, "recovery_journal": f"file:{sink}", **wish}
    full = {name: value for name, value in full.items() if value is not None}
    return [str(BIN / "ansible-playbook"), f"platform.recovery.{playbook}", "-i", inventory, "-e", json.dumps(full)]


def environment() -> dict[str, str]:
    """Give the environment of a call from the checkout."""
    return {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}


def failover(
    sink: Path,
    *,
    run_id: str | None = None,
    inventory: str = "inventories/lab",
    verbose: bool = False,
    playbook: str = "database_failover",
    surroundings: dict[str, str] | None = None,
    **wish: Any,
) -> Ended:
    """Run a checklist with plain ansible-playbook to its end."""
    run_id = run_id or f"test-{uuid.uuid4().hex[:8]}"
    argv = command(run_id, sink, wish, inventory, playbook) + (["-vvvv"] if verbose else [])
    env = surroundings or environment()
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=240)
    return Ended(done.returncode, done.stdout + done.stderr, sink / run_id)


def failback(sink: Path, target: str = WEST, **more: Any) -> Ended:
    """Run the way back to a region to its end."""
    return failover(sink, playbook="database_failback", recovery_target=target, recovery_confirm=target, **more)


@contextmanager
def canary(folder: Path, prefix: str, url: str = EDGE, *more: str) -> Iterator[Path]:
    """Have the project's own canary write through the west edge, or another address."""
    argv = [sys.executable, CANARY_CLIENT, "--url", url, "--service", "user-service", "--folder", folder, *more]
    subprocess.run([*argv, "--run-prefix", prefix, "--max-seconds", "300"], check=True, capture_output=True)
    try:
        yield folder
    finally:
        (folder / "stop").touch()
