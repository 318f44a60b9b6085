# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever was done to the lab: after `reset` it is as it was at first, seen from outside, and what was well ran on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from recovery_lab import databases, lifecycle, network
from recovery_lab.screen import Screen
from tests.support.limits import limit_files
from tests.support.whole import Kubernetes, differences, whole

from .conftest import LabUnderTest, call, eventually, processes_below

pytestmark = pytest.mark.lab

WEST, EAST = "us-west-2", "us-east-1"
WORKLOADS = "/apis/apps/v1/namespaces/production/deployments"
CONTROL_PLANES = ("apiserver", "etcd", "controller-manager", "scheduler", "node-agent")

Disturb = Callable[[LabUnderTest], Any]


@pytest.fixture(scope="module")
def first(lab: LabUnderTest) -> dict[str, Any]:
    """The first state as a whole new start from the kept data gives it, not by what is tested here."""
    lab.run("down")
    lab.run("up", "--fresh")
    return whole(lab.status())


@pytest.fixture(autouse=True)
def healthy(lab: LabUnderTest, first: dict[str, Any], request: pytest.FixtureRequest) -> Iterator[None]:
    """Each of these tests leaves the first state behind, unless it fails."""
    del first
    failures = request.session.testsfailed
    yield
    if request.session.testsfailed != failures:
        lab.make_healthy()


def require_first(lab: LabUnderTest, first: dict[str, Any]) -> dict[str, int]:
    """Probes of a busy machine's pods may fail for a moment. Give the processes of all servers, and of the pods."""
    deadline = time.monotonic() + 30
    while left := differences(first, whole(status := lab.status())):
        assert time.monotonic() < deadline, "\n".join(left)
        time.sleep(0.1)
    return pids(status)


def pids(status: dict[str, Any]) -> dict[str, int]:
    rows = status["servers"]
    found = {one["target"]: one["pid"] for row in rows for one in row["instances"]}
    return found | {row["target"]: row["pid"] for row in rows if row["kind"] == "service"}


def anew(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """Name which processes are others now, pods by their service."""
    changed = {name for name in before if before[name] != after.get(name)}
    return {"/".join(name.split("/")[:2]) if name.count("/") > 1 and "service/" in name else name for name in changed}


def all_of(*disturbances: Disturb) -> Disturb:
    def disturb(lab: LabUnderTest) -> None:
        for one in disturbances:
            one(lab)

    return disturb


def broken(fault: str, target: str) -> Disturb:
    return lambda lab: lab.run("break", fault, target)


def kubernetes(lab: LabUnderTest, region: str, *calls: tuple[str, str, Any]) -> None:
    with closing(Kubernetes(lab.connect(f"{region}/kubernetes")["kubeconfig"])) as api:
        for method, path, body in calls:
            status, content = api.call(method, path, body)
            assert status < 300, (path, status, content)


def objects(region: str, *calls: tuple[str, str, Any]) -> Disturb:
    return lambda lab: kubernetes(lab, region, *calls)


def sql(region: str, *statements: str) -> Disturb:
    def disturb(lab: LabUnderTest) -> None:
        for statement in statements:
            lab.sql(f"{region}/postgresql", statement)

    return disturb


def ssh(lab: LabUnderTest, host: str, command: str, script: str = "") -> None:
    folder = Path(lab.status()["state_folder"]) / "ssh"
    words = ["ssh", "-F", "none", "-p", "2222", "-i", str(folder / "operator"), "-o", "BatchMode=yes"]
    words += ["-o", f"UserKnownHostsFile={folder / 'known_hosts'}", f"operator@{host}", command]
    subprocess.run(words, input=script, text=True, check=True, timeout=30, stdout=subprocess.DEVNULL)


def manifest(kind: str, name: str, version: str = "v1", **more: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **more.pop("metadata", {})}, **more}


def workload(name: str, replicas: int = 1) -> dict[str, Any]:
    labels = {"app": name}
    pod = {"containers": [{"name": "app", "image": "lab-app", "env": [{"name": "SERVICE_NAME", "value": name}]}]}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}}
    spec["template"] = {"metadata": {"labels": labels}, "spec": pod}
    return manifest("Deployment", name, "apps/v1", spec=spec)


def repointed(region: str) -> dict[str, Any]:
    env = [{"name": "DB_HOST", "value": f"postgresql.{region}.lab.internal"}]
    container = {"name": "app", "image": "lab-app", "env": env}
    return {
        "metadata": {"annotations": {"platform.recovery/was": "something"}},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }


def fail_over(lab: LabUnderTest) -> None:
    """What a finished recovery leaves: a fenced primary, another one, all services repointed, a lease, memory."""
    lab.run("break", "kill", f"{WEST}/postgresql")
    ssh(lab, "127.101.0.30", "systemctl mask --now postgresql")
    lab.sql(f"{EAST}/postgresql", "select pg_promote()")
    lab.sql(f"{EAST}/postgresql", "select pg_create_physical_replication_slot('us_west_2')")
    for region in (WEST, EAST):
        names = ("user-service", "tenant-service", "plugin-service", "ai-service")
        kubernetes(lab, region, *(("PATCH", f"{WORKLOADS}/{name}", repointed(EAST)) for name in names))
    lease = manifest("Lease", "recovery-lab", "coordination.k8s.io/v1", spec={"holderIdentity": "run"})
    kubernetes(lab, EAST, ("POST", "/apis/coordination.k8s.io/v1/namespaces/default/leases", lease))
    memory = Path(lab.status()["state_folder"]) / "memory"
    memory.mkdir(exist_ok=True)
    (memory / "primary.json").write_text("{}")


def fail_over_and_back(lab: LabUnderTest) -> None:
    """The same primary again, on timeline 3; each workload says what it did at first, and has done otherwise."""
    lab.sql(f"{EAST}/postgresql", "select pg_promote()")
    for region in (EAST, WEST):
        kubernetes(lab, WEST, ("PATCH", f"{WORKLOADS}/ai-service", repointed(region)))


def drill_left_over(lab: LabUnderTest) -> None:
    """A killed drill leaves a copy with a server that runs, a namespace, and what was saved of a rejoin."""
    folder = Path(lab.status()["state_folder"]) / "data" / EAST
    script = f"mkdir {folder}/postgresql.drill {folder}/postgresql.recovery; cd {folder}/postgresql.drill; "
    ssh(lab, "127.102.0.30", "sh -s", script + "setsid sleep 600 >/dev/null 2>&1 &\n")
    assert {"postgresql.drill", "postgresql.recovery"} <= set(os.listdir(folder))
    kubernetes(
        lab,
        EAST,
        ("POST", "/api/v1/namespaces", manifest("Namespace", "recovery-drill")),
        ("POST", "/apis/apps/v1/namespaces/recovery-drill/deployments", workload("user-service")),
    )


def crash_a_pod_twice(lab: LabUnderTest) -> None:
    for _ in range(2):
        pod = lab.pods("user-service")[0]
        eventually(lambda target=pod["target"]: lab.server(target)["state"] == "running")  # type: ignore[misc]
        lab.run("break", "kill", pod["target"])


def limit_its_files(lab: LabUnderTest) -> None:
    limit_files(lab.server(f"{WEST}/postgresql")["pid"], 1 << 30)


def append(name: str) -> Disturb:
    def disturb(lab: LabUnderTest) -> None:
        with (Path(lab.status()["state_folder"]) / name).open("a") as file:
            file.write("# by hand\n")

    return disturb


def freeze_a_pod(lab: LabUnderTest) -> None:
    lab.run("break", "freeze", lab.pods("ai-service")[0]["target"])


def kill_program(name: str) -> Disturb:
    def disturb(lab: LabUnderTest) -> None:
        for pid in processes_below(Path(lab.status()["state_folder"])):
            with suppress(OSError):
                if Path(os.readlink(f"/proc/{pid}/exe")).name == name:
                    os.kill(pid, signal.SIGKILL)

    return disturb


def meddle_with_links(lab: LabUnderTest) -> None:
    del lab
    mine = {"name": "mine", "listen": "127.0.0.21:7777", "upstream": "127.1.0.80:8080", "enabled": True}
    network.call("POST", "/proxies", mine)
    network.call("POST", "/proxies/operator-to-us-west-2.edge-8080/toxics", {"type": "timeout"})
    network.call("POST", "/proxies/operator-to-us-east-1.edge-8080", {"enabled": False})


DATABASES = {f"{region}/postgresql/{part}" for region in (WEST, EAST) for part in ("postgres", "guard")}
PLANE = {f"{EAST}/kubernetes/{part}" for part in CONTROL_PLANES}
PODS = {f"{EAST}/{name}" for name in ("user-service", "tenant-service", "plugin-service", "ai-service")}
ALL_PODS = PODS | {name.replace(EAST, WEST) for name in PODS}
DNS = f"{EAST}/dns/coredns"
PRODUCTION = "/api/v1/namespaces/production"

# What is done to the lab, and which processes are others after a reset: those that were broken, and no more.
SERVERS: dict[str, tuple[Disturb, set[str]]] = {
    "nothing": (lambda _: None, set()),
    "a killed primary": (broken("kill", f"{WEST}/postgresql"), DATABASES),
    "a frozen primary, a stopped standby": (
        all_of(broken("freeze", f"{WEST}/postgresql"), broken("stop", f"{EAST}/postgresql")),
        DATABASES,
    ),
    "a killed guard": (broken("kill", f"{EAST}/postgresql/guard"), DATABASES),
    "an isolated region": (broken("isolate", WEST), DATABASES),
    "edges, DNS and links": (
        all_of(
            broken("kill", f"{EAST}/edge"),
            append(f"{WEST}/edge/caddy.json"),
            broken("freeze", f"{EAST}/dns"),
            broken("isolate", f"{WEST}/edge"),
            broken("slow", f"{WEST}/postgresql"),
            meddle_with_links,
        ),
        {f"{EAST}/edge/caddy", f"{WEST}/edge/caddy", DNS},
    ),
    "a dead network": (kill_program("toxiproxy"), DATABASES),
    "a killed scheduler": (broken("kill", f"{EAST}/kubernetes/scheduler"), PLANE | PODS | {DNS}),
    "a frozen control plane": (broken("freeze", f"{EAST}/kubernetes"), PLANE | PODS | {DNS}),
    "a killed region": (broken("kill", EAST), DATABASES | PLANE | PODS | {DNS, f"{EAST}/edge/caddy"}),
    "a pod in its back-off, a frozen one": (
        all_of(crash_a_pod_twice, freeze_a_pod),
        {f"{WEST}/user-service", f"{WEST}/ai-service"},
    ),
    "a failed over database": (fail_over, DATABASES | ALL_PODS),
    "a database that is back": (fail_over_and_back, DATABASES | {f"{WEST}/ai-service"}),
    "what a killed drill leaves": (drill_left_over, set()),
    "extra objects": (
        objects(
            EAST,
            ("POST", "/api/v1/namespaces", manifest("Namespace", "extra")),
            ("POST", "/apis/apps/v1/namespaces/extra/deployments", workload("extra", 2)),
            ("POST", "/api/v1/namespaces/extra/configmaps", manifest("ConfigMap", "extra", data={"a": "b"})),
            (
                "POST",
                f"{PRODUCTION}/configmaps",
                manifest("ConfigMap", "held", metadata={"finalizers": ["example.org/held"]}),
            ),
            ("POST", f"{PRODUCTION}/secrets", manifest("Secret", "extra", stringData={"a": "b"})),
            (
                "POST",
                "/apis/rbac.authorization.k8s.io/v1/clusterroles",
                manifest("ClusterRole", "extra", "rbac.authorization.k8s.io/v1", rules=[]),
            ),
            (
                "POST",
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                manifest(
                    "CustomResourceDefinition",
                    "moons.example.org",
                    "apiextensions.k8s.io/v1",
                    spec={
                        "group": "example.org",
                        "scope": "Cluster",
                        "names": {"plural": "moons", "kind": "Moon"},
                        "versions": [
                            {
                                "name": "v1",
                                "served": True,
                                "storage": True,
                                "schema": {"openAPIV3Schema": {"type": "object"}},
                            }
                        ],
                    },
                ),
            ),
        ),
        set(),
    ),
    "missing objects": (
        objects(
            EAST,
            ("DELETE", f"{PRODUCTION}/secrets/platform-db", None),
            ("DELETE", f"{PRODUCTION}/services/user-service", None),
            ("DELETE", f"{PRODUCTION}/configmaps/kube-root-ca.crt", None),
            ("DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterroles/view", None),
            ("DELETE", f"{WORKLOADS}/ai-service", None),
        ),
        {f"{EAST}/ai-service"},
    ),
    "changed objects": (
        objects(
            EAST,
            ("PATCH", f"{WORKLOADS}/ai-service", {"spec": {"replicas": 0}}),
            ("PATCH", f"{PRODUCTION}/secrets/platform-db", {"data": {"password": "eA=="}}),
            ("PATCH", PRODUCTION, {"metadata": {"labels": {"x": "y"}}}),
            ("PATCH", f"/api/v1/nodes/{EAST}", {"spec": {"unschedulable": True}}),
            ("PATCH", f"{PRODUCTION}/services/user-service", {"spec": {"selector": {"app": "nobody"}}}),
        ),
        {f"{EAST}/ai-service"},
    ),
    "a namespace that is being deleted": (objects(EAST, ("DELETE", PRODUCTION, None)), PODS),
}


@pytest.mark.parametrize("name", SERVERS)
def test_after_a_reset_all_is_as_at_first(lab: LabUnderTest, first: dict[str, Any], name: str) -> None:
    disturb, expected = SERVERS[name]
    before = pids(lab.status())
    disturb(lab)
    done = lab.run("reset")
    assert "Everything is made anew" not in done.stderr, done.stderr
    assert anew(before, require_first(lab, first)) == expected


# What is done to a database, and by what that is seen. A promotion is not among them: a guard then stops the other
# server, which cannot be asked any more; a failed over database has its place above.
TOUCHES: dict[str, tuple[Disturb, str]] = {
    "a row": (sql(WEST, "insert into users (key, value) values ('k', 'v')"), f"{WEST}/postgresql: next"),
    "a number of a sequence": (sql(WEST, "select nextval('users_id_seq')"), f"{WEST}/postgresql: sequences"),
    "a database": (sql(WEST, "create database extra"), f"{WEST}/postgresql: next"),
    "a role": (sql(WEST, "create role extra login"), f"{WEST}/postgresql: next"),
    "a dropped table": (sql(WEST, "drop table ai_requests"), f"{WEST}/postgresql: next"),
    "a setting": (
        sql(WEST, "alter system set work_mem = '1MB'", "select pg_reload_conf()"),
        f"{WEST}/postgresql: settings",
    ),
    "a setting for the next start": (sql(EAST, "alter system set max_connections = 300"), f"{EAST}/postgresql: files"),
    "a setting of a role": (sql(WEST, "alter role platform_app set work_mem = '1MB'"), f"{WEST}/postgresql: next"),
    "a slot": (sql(WEST, "select pg_create_physical_replication_slot('extra')"), f"{WEST}/postgresql: slots"),
    "a slot of the standby": (
        sql(EAST, "select pg_create_physical_replication_slot('x')"),
        f"{EAST}/postgresql: slots",
    ),
    "a segment of WAL": (sql(WEST, "select pg_switch_wal()"), f"{WEST}/postgresql: archive"),
    "a configuration": (append(f"{EAST}/postgresql/postgresql.conf"), f"{EAST}/postgresql: configuration"),
    "an access rule": (append(f"{WEST}/postgresql/pg_hba.conf"), f"{WEST}/postgresql: configuration"),
    "a limit of its process": (limit_its_files, f"{WEST}/postgresql: limits"),
}


def test_every_touch_of_a_database_is_seen_and_all_are_put_back(lab: LabUnderTest, first: dict[str, Any]) -> None:
    running = lifecycle.load(Screen())
    for name, (touch, expected) in TOUCHES.items():
        before = json.loads(json.dumps(databases.observe(running)))
        touch(lab)

        def seen(before: dict[str, Any] = before, expected: str = expected) -> bool:
            return expected in databases.differences(before, databases.observe(running))

        try:
            eventually(seen)
        except AssertionError:
            pytest.fail(f"{name} was not seen")
    assert databases.touched(running)
    lab.run("reset")
    require_first(lab, first)
    assert databases.touched(running) == []


def test_each_pod_takes_writes_at_once_after_a_reset(lab: LabUnderTest, first: dict[str, Any]) -> None:
    """None is left with a connection to the database that is gone."""
    lab.write(WEST)
    lab.run("reset")
    pods = [row for row in lab.status()["servers"] if row["kind"] == "service"]
    for number, row in enumerate(pods):
        assert call(row["connect"]["url"], "POST", "/rows", {"key": f"k{number}", "value": "v"})[0] == 201, row[
            "target"
        ]
    lab.run("reset")
    require_first(lab, first)


def test_a_client_that_was_forgotten_is_cut_off(lab: LabUnderTest, first: dict[str, Any]) -> None:
    with closing(psycopg2.connect(lab.connect(f"{WEST}/postgresql")["url"])) as forgotten:
        with forgotten.cursor() as cursor:
            cursor.execute("lock table users; select pg_advisory_lock(1)")
        time.sleep(1.1)  # a young transaction may be anybody's
        lab.run("reset")
        require_first(lab, first)
        with pytest.raises(psycopg2.OperationalError), forgotten.cursor() as cursor:
            cursor.execute("select 1")


def test_without_a_supervisor_everything_is_made_anew(lab: LabUnderTest, first: dict[str, Any]) -> None:
    lab.write(WEST)
    kill_program("lab-supervisor")(lab)
    lab.run("reset")
    require_first(lab, first)


def test_what_cannot_be_judged_is_made_anew(lab: LabUnderTest, first: dict[str, Any]) -> None:
    """By its own account of the first state it would do nothing."""
    lab.write(WEST)
    shutil.rmtree(Path(lab.status()["state_folder"]) / "first")
    before = pids(lab.status())
    assert "not known what the servers held at first" in lab.run("reset").stderr
    after = require_first(lab, first)
    assert len(anew(before, after)) == len(anew(before, {}))
    # By now it is known again.
    lab.run("reset")
    assert anew(after, pids(lab.status())) == set()


def test_up_fresh_needs_no_running_lab(lab: LabUnderTest, first: dict[str, Any]) -> None:
    lab.write(WEST)
    lab.run("down")
    lab.run("up", "--fresh")
    require_first(lab, first)
