# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many real databases in one run, of which one, or its services, are beyond rescue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.client import MERGE_PATCH, Client
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.kubeconfig import load
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.transport import Deadline
from tests.integration.postgresql.servers import PASSWORD, wait_for
from tests.support.many import Database, databases, inventory
from tests.support.platform import EAST, failover, servers, variables

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.usefixtures("healthy")]
COUNT = 20


def test_of_twenty_databases_nineteen_recover_and_the_broken_one_is_named(tmp_path: Path) -> None:
    with databases(COUNT) as made:
        *_, broken = made
        place = inventory(made, tmp_path)
        for database in made:
            database.west.act("kill")
        broken.east.act("stop")
        ended = failover(tmp_path, inventory=place, run_id="many", **variables())
        outcomes = {entry["name"]: entry["outcome"] for entry in ended.report["database_results"]}
        assert outcomes.pop(broken.name) != "recovered", ended.output
        assert set(outcomes.values()) == {"recovered"}, ended.output
        assert (ended.code, ended.report["exit_code"]) == (2, 2)
        assert "1 of 20 databases did not come to the end of the checklist" in ended.output
        assert any(line.startswith(f"{broken.name}: ") for line in ended.report["next_actions"])
        assert all(database.is_primary(database.east) for database in made if database is not broken)

        broken.east.act("start")
        again = failover(tmp_path, inventory=place, run_id="many", **variables())
        assert again.code == 0, again.output
        assert all(database.is_primary(database.east) for database in made)


NAMESPACE = "default"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
Call = Callable[..., Any]


@contextmanager
def cluster() -> Iterator[Call]:
    """Give calls to the east's API, and take away what they made."""
    made: list[str] = []
    kubeconfig = servers()[f"{EAST}/kubernetes"]["connect"]["kubeconfig"]
    with closing(Client(EAST, load(kubeconfig, None))) as client:

        def call(method: str, path: str, body: Any = None, **more: Any) -> Any:
            if method == "POST":
                made.append(f"{path}/{body['metadata']['name']}")
            return client.request(method, path, deadline=Deadline.after(10), doing="test", body=body, **more)

        try:
            yield call
        finally:
            for path in made:
                client.request("DELETE", path, deadline=Deadline.after(10), doing="tidy up")


def service(database: Database, works_with: str) -> dict[str, Any]:
    """Describe a service that keeps a session on its database, and runs only while it is pointed to a certain host."""
    server = database.east.server
    session = f"host=$DB_HOST user=postgres password={PASSWORD} dbname=postgres sslmode=disable"
    query = f"exec {server.programs.path('psql')} '{session}' -c 'SELECT pg_sleep(600)'".replace("'", '"')
    script = f"case $DB_HOST in {works_with}) {query};; *) exit 1;; esac"
    variables = {**server.programs.environment, "PGAPPNAME": database.name, "DB_HOST": database.west.server.address}
    container = {
        "name": "session",
        "image": "lab-app",
        "command": ["/bin/sh", "-c", script],
        "env": [{"name": key, "value": value} for key, value in variables.items()],
    }
    labels = {"app": database.name}
    pod = {"containers": [container], "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False}
    spec = {
        "replicas": 1,
        "minReadySeconds": 2,  # without a probe a pod counts as ready before it fails
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": database.name}, "spec": spec}


def test_a_database_whose_services_do_not_come_back_is_named_and_the_others_recover(tmp_path: Path) -> None:
    with databases(3) as made, cluster() as call:
        served, broken, alone = made
        call("POST", DEPLOYMENTS, service(served, "*"))
        call("POST", DEPLOYMENTS, service(broken, broken.west.server.address))
        for database in (served, broken):
            wait_for(lambda path=f"{DEPLOYMENTS}/{database.name}": call("GET", path)["status"].get("availableReplicas"))
        described = {"clusters": [EAST], "namespace": NAMESPACE}
        services = {database.name: {**described, "database": database.name} for database in (served, broken)}
        place = inventory(made, tmp_path, services)
        for database in made:
            database.west.act("kill")
        wish = variables(scale_cluster_timeout_seconds=10, service_restart_timeout_seconds=10)
        ended = failover(tmp_path, inventory=place, run_id="services", **wish)
        results = {entry["name"]: entry for entry in ended.report["database_results"]}
        assert {name: entry["outcome"] for name, entry in results.items()} == {
            served.name: "recovered",
            broken.name: "failed",
            alone.name: "recovered",
        }, ended.output
        assert results[broken.name]["phase"] == "restart"
        assert (ended.code, ended.report["exit_code"]) == (2, 2)
        (failure,) = ended.report["failures"]
        assert failure["host"] == broken.name
        assert f"{EAST}/{NAMESPACE}/{broken.name}" in failure["observed"]
        assert all(database.is_primary(database.east) for database in made)

        mended = service(broken, "*")["spec"]["template"]["spec"]["containers"]
        mended[0]["env"] = call("GET", f"{DEPLOYMENTS}/{broken.name}")["spec"]["template"]["spec"]["containers"][0][
            "env"
        ]
        patch = {"spec": {"template": {"spec": {"containers": mended}}}}
        call("PATCH", f"{DEPLOYMENTS}/{broken.name}", patch, content_type=MERGE_PATCH)
        again = failover(tmp_path, inventory=place, run_id="services", **variables())
        assert again.code == 0, again.output
        assert {entry["outcome"] for entry in again.report["database_results"]} == {"recovered"}


def test_a_database_whose_services_cannot_be_asked_is_refused_before_its_first_change(tmp_path: Path) -> None:
    with databases(2) as made:
        fine, refused = made
        described = {"clusters": [EAST], "namespace": NAMESPACE, "database": refused.name}
        place = inventory(made, tmp_path, {"no-such-service": described})
        for database in made:
            database.west.act("kill")
        ended = failover(tmp_path, inventory=place, run_id="refused", **variables())
        results = {entry["name"]: entry for entry in ended.report["database_results"]}
        assert results[fine.name]["outcome"] == "recovered", ended.output
        assert (results[refused.name]["outcome"], results[refused.name]["phase"]) == ("failed", "confirm")
        assert (ended.code, ended.report["exit_code"]) == (2, 2)
        assert fine.is_primary(fine.east)
        assert not refused.is_primary(refused.east)
