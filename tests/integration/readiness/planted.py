# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defects, planted in a healthy platform: each in a server or in the description, as it would come about."""

from __future__ import annotations

import datetime
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import boto3
import trustme

from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.client import JSON, MERGE_PATCH, Client
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.kubeconfig import load
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.transport import Deadline
from recovery_lab import certificates, topology
from recovery_lab.state import State, state_folder
from tests.support.platform import EAST, WEST, connect, lab, sql

SPACE = "production"
APPS, CORE = f"/apis/apps/v1/namespaces/{SPACE}", f"/api/v1/namespaces/{SPACE}"
ZONE = "lab.example"
# Values of secrets: they may appear nowhere.
VALUES = {WEST: "planted-secret-of-the-west", EAST: "planted-secret-of-the-east"}


def until(seen: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """Wait for a predicate."""
    deadline = time.monotonic() + seconds
    while not (found := seen()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


class Cluster:
    """A region's cluster, changed as its administrators would."""

    def __init__(self, region: str) -> None:
        self.client = Client(region, load(connect(f"{region}/kubernetes")["kubeconfig"], None))

    def call(self, method: str, path: str, body: Any = None, kind: str = JSON) -> Any:
        """Do one call."""
        return self.client.request(method, path, deadline=Deadline.after(20), doing=path, body=body, content_type=kind)

    def patch(self, path: str, body: Any) -> Any:
        """Change an object."""
        return self.call("PATCH", path, body, MERGE_PATCH)

    def close(self) -> None:
        """Close its connections."""
        self.client.close()


def secret(name: str, **values: str) -> dict[str, Any]:
    """Write a secret."""
    data = {key: b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": SPACE}, "data": data}


def settings(name: str, **values: str) -> dict[str, Any]:
    """Write a ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": SPACE}, "data": values}


def workload(name: str, image: str, *variables: str, needs: str = "") -> dict[str, Any]:
    """Write a Deployment without pods: what differs about it disturbs nothing that runs."""
    env: list[dict[str, Any]] = [{"name": one, "value": "x"} for one in variables]
    if needs:
        env.append({"name": "KEY", "valueFrom": {"secretKeyRef": {"name": needs, "key": "key"}}})
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": image, "env": env}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": SPACE}, "spec": spec}


def unlike_clusters(west: Cluster, east: Cluster) -> None:
    """Let what the two clusters hold drift apart."""
    for cluster, image in ((west, "reports:2"), (east, "reports:1")):
        cluster.call("POST", f"{APPS}/deployments", workload("reports", image))
    west.call("POST", f"{APPS}/deployments", workload("billing", "billing:1", "CURRENCY", "TAX"))
    east.call("POST", f"{APPS}/deployments", workload("billing", "billing:1", "CURRENCY"))
    for cluster in (west, east):
        cluster.call("POST", f"{APPS}/deployments", workload("mailer", "mailer:1", needs="mail"))
    west.call("POST", f"{APPS}/deployments", workload("search", "search:1"))
    west.call("POST", f"{CORE}/secrets", secret("mail", key="k"))
    for cluster, region in ((west, WEST), (east, EAST)):
        cluster.call("POST", f"{CORE}/secrets", secret("payments", token=VALUES[region]))
        cluster.call("POST", f"{CORE}/secrets", secret("shared", token="the same"))
        search = "on" if region == WEST else "off"
        own = f"https://files.{region}.example.com"
        cluster.call("POST", f"{CORE}/configmaps", settings("features", plugins="on", search=search, files=own))
    west.call("POST", f"{CORE}/configmaps", settings("limits", requests="9"))


def too_little_room(west: Cluster, east: Cluster) -> None:
    """Let the west grow, and the east have no room for that."""
    path = f"{APPS}/deployments/tenant-service"
    west.patch(path, {"spec": {"replicas": 4}})
    hard = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight", "namespace": SPACE}}
    east.call("POST", f"{CORE}/resourcequotas", {**hard, "spec": {"hard": {"pods": "9"}}})
    [node] = east.call("GET", "/api/v1/nodes")["items"]
    east.patch(f"/api/v1/nodes/{node['metadata']['name']}", {"spec": {"unschedulable": True}})
    until(
        lambda: (east.call("GET", f"{CORE}/resourcequotas/tight").get("status") or {}).get("used"),
        "the quota is not counted",
    )
    until(lambda: west.call("GET", path)["status"].get("availableReplicas") == 4, "the west does not grow")


def unlike_databases() -> None:
    """Let the standby stay behind while the schema goes on, make it read only, and let the archive fail."""
    sql(EAST, "SELECT pg_wal_replay_pause()")
    until(lambda: sql(EAST, "SELECT pg_get_wal_replay_pause_state()") == [("paused",)], "replay is not paused")
    sql(WEST, "ALTER TABLE tenants ADD COLUMN planted text")
    sql(WEST, "CREATE EXTENSION amcheck")
    sql(EAST, "ALTER SYSTEM SET default_transaction_read_only = on")
    sql(EAST, "SELECT pg_reload_conf()")
    sql(WEST, "ALTER SYSTEM SET archive_command = 'false'")
    sql(WEST, "SELECT pg_reload_conf()")
    sql(WEST, "SELECT pg_switch_wal()")
    until(
        lambda: sql(WEST, "SELECT last_failed_time > now() - interval '1 min' FROM pg_stat_archiver")[0][0],
        "it archives",
    )


def route53() -> Any:
    """Open the API of the lab's zone."""
    known = connect(f"{EAST}/aws_api")
    return boto3.client(
        "route53",
        endpoint_url=known["url"],
        region_name=EAST,
        aws_access_key_id=known["access_key_id"],
        aws_secret_access_key=known["secret_access_key"],
    )


def wrong_names() -> str:
    """Invert the health check of the west, and let clients keep an answer for an hour. Gives the check's id."""
    api = route53()
    [zone] = [one for one in api.list_hosted_zones()["HostedZones"] if one["Name"] == f"{ZONE}."]
    sets = api.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]
    ours = [one for one in sets if one["Name"] == f"api.{ZONE}."]
    changes = [{"Action": "UPSERT", "ResourceRecordSet": {**one, "TTL": 3600}} for one in ours]
    api.change_resource_record_sets(HostedZoneId=zone["Id"], ChangeBatch={"Changes": changes})
    [check] = [one["HealthCheckId"] for one in ours if one["SetIdentifier"] == WEST]
    api.update_health_check(HealthCheckId=check, Inverted=True)
    return str(check)


@contextmanager
def expiring(region: str, days: float) -> Iterator[None]:
    """Give a region's PostgreSQL a certificate that ends soon, as one that nobody renewed."""
    state = State(state_folder())
    authority = trustme.CA.from_pem(state.ca.read_bytes(), (state.pki / "ca.key").read_bytes())
    names = certificates.names(region, "postgresql", topology.build("full"))
    now = datetime.datetime.now(datetime.timezone.utc)
    made = authority.issue_cert(*names, not_before=now, not_after=now + datetime.timedelta(days=days))
    files = {
        state.pki / f"{region}-postgresql.key": made.private_key_pem.bytes(),
        state.pki / f"{region}-postgresql.crt": b"".join(pem.bytes() for pem in made.cert_chain_pems),
    }
    former = {path: path.read_bytes() for path in files}
    try:
        load_certificate(region, files)
        yield
    finally:
        load_certificate(region, former)


def load_certificate(region: str, files: dict[Any, bytes]) -> None:
    """Write a pair where its server reads it. The files keep their owner."""
    for path, content in files.items():
        path.write_bytes(content)
    sql(region, "SELECT pg_reload_conf()", inside=True)


@contextmanager
def everything() -> Iterator[str]:
    """Plant all that can be wrong with servers at once. Gives the id of the health check that is inverted."""
    with ExitStack() as stack:
        west, east = (stack.enter_context(closing(Cluster(region))) for region in (WEST, EAST))
        unlike_clusters(west, east)
        too_little_room(west, east)
        unlike_databases()
        lab("break", "kill", f"{EAST}/postgresql/guard")
        stack.enter_context(expiring(EAST, 5))
        yield wrong_names()
