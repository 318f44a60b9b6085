# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on real servers, seen from outside; and what heals them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg2
import pytest

from .conftest import LabUnderTest, eventually, processes_below

pytestmark = pytest.mark.lab
WEST, EAST = "us-west-2/postgresql", "us-east-1/postgresql"


@pytest.fixture(autouse=True)
def mend(lab: LabUnderTest) -> Iterator[None]:
    """Heal what a test has broken, or reset all if that does not help."""
    yield
    lab.make_healthy()


def one_row(lab: LabUnderTest, target: str, key: str) -> bool:
    return bool(lab.sql(target, f"select 1 from users where key = '{key}'"))


@pytest.mark.parametrize(("fault", "state"), [("kill", "failed"), ("stop", "stopped")])
def test_a_dead_database_refuses_and_comes_back_with_its_rows(lab: LabUnderTest, fault: str, state: str) -> None:
    _, key = lab.write("us-west-2")
    lab.run("break", fault, WEST)
    assert lab.server(WEST)["state"] == state
    with pytest.raises(psycopg2.OperationalError, match=r"refused|closed the connection"):
        lab.sql(WEST, "select 1")
    assert lab.write("us-west-2")[0] == 503
    assert lab.sql(EAST, "select pg_is_in_recovery()") == [(True,)]
    lab.run("heal", WEST)
    assert lab.status()["healthy"]
    assert one_row(lab, WEST, key)
    assert lab.write("us-east-1")[0] == 201


def test_a_frozen_database_hangs_and_thaws(lab: LabUnderTest) -> None:
    lab.run("break", "freeze", WEST)
    assert lab.server(WEST)["state"] == "frozen"
    with pytest.raises(psycopg2.OperationalError, match="timeout"):
        lab.sql(WEST, "select 1")
    lab.run("heal", WEST)
    assert lab.sql(WEST, "select 1") == [(1,)]
    assert lab.status()["healthy"]


def test_an_isolated_database_lives_on_in_its_own_region(lab: LabUnderTest) -> None:
    lab.run("break", "isolate", WEST)
    assert lab.server(WEST)["state"] == "isolated"
    with pytest.raises(psycopg2.OperationalError, match=r"refused|closed"):
        lab.sql(WEST, "select 1")
    status, key = lab.write("us-west-2")
    assert status == 201
    eventually(lambda: lab.write("us-east-1")[0] == 503)
    assert not one_row(lab, EAST, key)
    lab.run("heal", WEST)
    eventually(lambda: one_row(lab, EAST, key))
    assert lab.status()["healthy"]


def test_an_isolated_region_is_out_of_reach_and_alive_inside(lab: LabUnderTest) -> None:
    lab.run("break", "isolate", "us-west-2")
    with pytest.raises(OSError, match="refused"):
        lab.write("us-west-2")
    assert lab.write("us-west-2", direct=True)[0] == 201
    assert {row["state"] for target, row in lab.servers().items() if target.startswith("us-west-2")} == {"isolated"}
    lab.run("heal", "us-west-2")
    assert lab.status()["healthy"]
    assert lab.write("us-west-2")[0] == 201


def seconds_of(action: Callable[[], object]) -> float:
    """The shortest of three: a busy machine makes any one long."""
    measured = []
    for _ in range(3):
        begin = time.monotonic()
        action()
        measured.append(time.monotonic() - begin)
    return min(measured)


def test_a_slow_server_answers_late(lab: LabUnderTest) -> None:
    lab.run("break", "slow", "us-east-1/edge")
    assert lab.server("us-east-1/edge")["state"] == "slow"
    assert seconds_of(lambda: lab.call("us-east-1", "GET", "/healthz")) > 0.2
    # Within the region nothing is slow.
    assert seconds_of(lambda: lab.call("us-east-1", "GET", "/healthz", direct=True)) < 0.2
    lab.run("heal")
    assert seconds_of(lambda: lab.call("us-east-1", "GET", "/healthz")) < 0.2
    assert lab.server("us-east-1/edge")["state"] == "running"


def test_a_killed_pod_is_restarted_by_its_node(lab: LabUnderTest) -> None:
    pod = lab.pods("user-service")[0]
    lab.run("break", "kill", pod["target"])
    eventually(lambda: lab.server(pod["target"])["pid"] not in (0, pod["pid"]))
    eventually(lambda: bool(lab.status()["healthy"]))


def test_a_frozen_pod_is_seen_and_thawed(lab: LabUnderTest) -> None:
    pod = lab.pods("ai-service")[0]
    lab.run("break", "freeze", pod["target"])
    assert lab.server(pod["target"])["state"] == "frozen"
    lab.run("heal", pod["target"])
    assert lab.server(pod["target"])["state"] != "frozen"


def test_one_process_of_a_control_plane_can_die_alone(lab: LabUnderTest) -> None:
    lab.run("break", "kill", "us-east-1/kubernetes/scheduler")
    row = lab.server("us-east-1/kubernetes")
    states = {one["instance"]: one["state"] for one in row["instances"]}
    assert states.pop("scheduler") == "failed"
    assert set(states.values()) == {"running"}
    assert row["state"] == "failed"
    lab.run("heal", "us-east-1/kubernetes")
    assert lab.status()["healthy"]


def test_a_killed_region_comes_back(lab: LabUnderTest) -> None:
    _, key = lab.write("us-west-2")
    lab.run("break", "kill", "us-east-1")
    rows = [row for target, row in lab.servers().items() if target.startswith("us-east-1/")]
    assert {row["state"] for row in rows} == {"failed"}
    with pytest.raises(OSError, match=r"refused|closed|reset|pipe"):
        lab.write("us-east-1")
    assert lab.write("us-west-2")[0] == 201
    lab.run("heal", "us-east-1")
    assert lab.status()["healthy"]
    eventually(lambda: one_row(lab, EAST, key))


def test_an_old_primary_that_was_cut_off_is_stopped_when_it_meets_the_new_one(lab: LabUnderTest) -> None:
    lab.run("break", "isolate", WEST)
    lab.sql(EAST, "select pg_promote()")
    assert lab.write("us-west-2")[0] == 201  # two primaries: exactly what isolation is there to provoke
    # The applications of both regions still want the old primary: healing cannot make the lab healthy.
    assert lab.run("heal", WEST, ok=False).returncode == 1
    assert lab.server(WEST)["guarded"]
    eventually(lambda: lab.write("us-west-2")[0] == 503)
    lab.run("reset")


def test_a_fenced_server_is_named_and_left_alone_until_reset(lab: LabUnderTest) -> None:
    _, key = lab.write("us-west-2")
    folder = Path(lab.status()["state_folder"]) / "ssh"
    words = f"-F none -p 2222 -i {folder}/operator -o UserKnownHostsFile={folder}/known_hosts"
    assert os.system(f"ssh {words} operator@127.101.0.30 systemctl mask --now postgresql") == 0
    assert lab.server(WEST)["masked"]
    done = lab.run("heal", ok=False)
    assert done.returncode == 1  # no service has its database
    assert f"{WEST}/postgres is fenced" in done.stderr
    assert lab.server(WEST)["state"] == "stopped"
    begin = time.monotonic()
    lab.run("reset")
    assert time.monotonic() - begin < 40
    assert lab.status()["healthy"]
    assert not one_row(lab, WEST, key)


def test_down_leaves_no_process_and_up_brings_the_data_back(lab: LabUnderTest) -> None:
    _, key = lab.write("us-west-2")
    folder = Path(lab.status()["state_folder"])
    running = births({row["pid"] for row in lab.status()["servers"]} | set(processes_below(folder)))
    assert len(running) > 20
    lab.run("down")
    assert processes_below(folder) == []
    assert not births(set(running)).items() & running.items()
    status = lab.status()
    assert not status["healthy"]
    assert {row["state"] for row in status["servers"]} == {"stopped"}
    begin = time.monotonic()
    lab.run("up")
    assert time.monotonic() - begin < 60
    assert lab.status()["healthy"]
    assert one_row(lab, WEST, key)


def test_a_killed_supervisor_leaves_nothing_that_up_cannot_clean(lab: LabUnderTest) -> None:
    _, key = lab.write("us-west-2")
    folder = Path(lab.status()["state_folder"])
    lab.run("break", "freeze", EAST)
    before = births(set(processes_below(folder)))
    assert lab.server(EAST)["pid"] in before
    os.kill(named(list(before), b"lab-supervisor"), signal.SIGKILL)
    lab.run("up")
    assert not births(set(before)).items() & before.items()
    assert lab.status()["healthy"]
    assert one_row(lab, WEST, key)


def births(pids: set[int]) -> dict[int, str]:
    """When each of these processes was born, without zombies: a number may be another's later."""
    found = {}
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if fields[0] not in "ZX":
                found[pid] = fields[19]
    return found


def named(pids: list[int], name: bytes) -> int:
    found = [pid for pid in pids if name in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]]
    assert len(found) == 1
    return found[0]


def test_a_dead_network_proxy_is_seen_and_comes_back_with_what_was_cut(lab: LabUnderTest) -> None:
    lab.run("break", "isolate", "us-east-1/edge")
    os.kill(named(processes_below(Path(lab.status()["state_folder"])), b"toxiproxy"), signal.SIGKILL)
    assert "network/toxiproxy is failed: no link works" in lab.status()["problems"]
    assert lab.run("heal", "us-west-2", ok=False).returncode == 1
    assert lab.write("us-west-2")[0] == 201
    assert lab.server("us-east-1/edge")["state"] == "isolated"
    lab.run("heal")
    assert lab.status()["healthy"]


def test_up_does_not_undo_what_a_recovery_did(lab: LabUnderTest) -> None:
    lab.run("break", "stop", WEST)
    lab.sql(EAST, "select pg_promote()")
    container = {"name": "app", "env": [{"name": "DB_HOST", "value": "postgresql.us-east-1.lab.internal"}]}
    patch = {"spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}}}
    path = "/apis/apps/v1/namespaces/production/deployments/ai-service"
    lab.kubernetes("us-west-2", "PATCH", path, json.dumps(patch))
    lab.run("down")
    # The services that nobody repointed find no primary where they look: up says so, and all of it stays up.
    done = lab.run("up", ok=False)
    assert done.returncode == 1
    assert "Up, but not healthy" in done.stderr
    spec = lab.kubernetes("us-west-2", "GET", path)["spec"]
    assert spec["replicas"] == 1
    assert container["env"][0] in spec["template"]["spec"]["containers"][0]["env"]
    assert lab.sql(EAST, "select pg_is_in_recovery()") == [(False,)]
    lab.run("reset")


def test_up_starts_what_is_there_and_names_what_is_missing(lab: LabUnderTest) -> None:
    _, key = lab.write("us-west-2")
    lab.run("down")
    shutil.rmtree(Path(lab.status()["state_folder"]) / "data/us-east-1/postgresql")
    done = lab.run("up", ok=False)
    assert done.returncode == 1
    assert f"{EAST} has no data" in done.stderr
    assert one_row(lab, WEST, key)
    lab.run("reset")


def test_up_gives_the_standby_a_fresh_change(lab: LabUnderTest) -> None:
    begin = lab.sql(EAST, "select now()")[0][0]
    lab.run("up")
    eventually(lambda: bool(lab.sql(EAST, f"select pg_last_xact_replay_timestamp() > '{begin}'")[0][0]))


def test_resets_leave_no_shared_memory(lab: LabUnderTest) -> None:
    before = set(os.listdir("/dev/shm"))
    lab.run("reset")
    assert {name for name in os.listdir("/dev/shm") if name.startswith("PostgreSQL")} <= before


def test_postgresql_15_runs_as_well(lab: LabUnderTest) -> None:
    lab.run("up", "--fresh", "--postgresql", "15")
    assert lab.status()["healthy"]
    assert lab.sql(WEST, "show server_version")[0][0].startswith("15.")
    assert lab.write("us-east-1")[0] == 201
    # A wish that does not name a version is one for that of the last time.
    lab.run("up", "--fresh")
    assert lab.status()["postgresql_version"] == "15"
    assert lab.sql(WEST, "select count(*) from users") == [(0,)]
