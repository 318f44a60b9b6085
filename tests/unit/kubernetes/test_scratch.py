# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is copied into a drill's namespace, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import PreconditionFailed
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes import scratch
from tests.unit.kubernetes.conftest import FakeApi, Reply, Request

COPIED = scratch.Copied("production", "Deployment", "user-service", {"DB_HOST": "db.east", "DB_PORT": "5433"})


def deployment(**pod: Any) -> dict[str, Any]:
    container = {
        "name": "app",
        "env": [
            {"name": "DB_HOST", "value": "db.west"},
            {"name": "DB_PORT", "value": "5432"},
            {"name": "OTHER", "value": "kept"},
            {"name": "DB_USER", "valueFrom": {"secretKeyRef": {"name": "db", "key": "u"}}},
        ],
        "envFrom": [{"configMapRef": {"name": "common"}}, {"secretRef": {"name": "tokens"}}],
    }
    template = {
        "metadata": {"labels": {"app": "user-service"}, "annotations": {"kubectl.kubernetes.io/restartedAt": "x"}},
        "spec": {"serviceAccountName": "mighty", "nodeName": "n1", "containers": [container], **pod},
    }
    return {
        "metadata": {"name": "user-service", "labels": {"app": "user-service"}, "resourceVersion": "7", "uid": "u"},
        "spec": {
            "replicas": 40,
            "paused": True,
            "selector": {"matchLabels": {"app": "user-service"}},
            "template": template,
        },
        "status": {"replicas": 40},
    }


def test_a_copy_is_one_pod_that_points_to_the_scratch_and_has_no_rights() -> None:
    copy = scratch.workload_copy(deployment(), COPIED)
    assert set(copy) == {"apiVersion", "kind", "metadata", "spec"}
    assert set(copy["metadata"]) == {"name", "labels"}
    assert copy["spec"]["replicas"] == 1
    assert "paused" not in copy["spec"]
    pod = copy["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert not {"serviceAccountName", "nodeName"} & set(pod)
    values = {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}
    assert values == {"DB_HOST": "db.east", "DB_PORT": "5433", "OTHER": "kept", "DB_USER": None}


@pytest.mark.parametrize("more", ["volume", "template"])
def test_what_keeps_data_of_its_own_is_refused(more: str) -> None:
    source = deployment(volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}])
    if more == "template":
        source = deployment()
        source["spec"]["volumeClaimTemplates"] = [{}]
    with pytest.raises(PreconditionFailed, match="keeps data of its own"):
        scratch.workload_copy(source, COPIED)


def test_everything_that_a_pod_refers_to_is_found() -> None:
    volumes = [
        {"name": "a", "configMap": {"name": "files"}},
        {"name": "b", "secret": {"secretName": "keys"}},
        {"name": "c", "projected": {"sources": [{"secret": {"name": "part"}}, {"configMap": {"name": "piece"}}]}},
        {"name": "d", "emptyDir": {}},
    ]
    template = deployment(volumes=volumes, imagePullSecrets=[{"name": "registry"}])["spec"]["template"]
    assert {(kind, name) for kind, _, name in scratch.references("production", template)} == {
        ("Secret", "db"), ("ConfigMap", "common"), ("Secret", "tokens"), ("ConfigMap", "files"), ("Secret", "keys"),
        ("Secret", "part"), ("ConfigMap", "piece"), ("Secret", "registry"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"clusterIP": "None"}, {"clusterIP": "None"}),
        ({"clusterIP": "10.0.0.7", "type": "ClusterIP"}, {}),
        ({"clusterIP": "10.0.0.7", "type": "LoadBalancer", "externalIPs": ["1.2.3.4"], "loadBalancerIP": "x"}, {}),
    ],
)
def test_a_service_is_reached_from_within_only(spec: dict[str, Any], wanted: dict[str, str]) -> None:
    ports = [{"name": "http", "port": 80, "nodePort": 30000}]
    source = {"metadata": {"name": "s"}, "spec": {"selector": {"app": "x"}, "ports": ports, **spec}}
    copy = scratch.service_copy(source)["spec"]
    assert copy == {
        "type": "ClusterIP", "selector": {"app": "x"}, "ports": [{"name": "http", "port": 80}], **wanted
    }  # fmt: skip


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({"app": "user-service"}, True),
        ({"app": "other"}, False),
        ({}, False),
        ({"app": "user-service", "x": "y"}, False),
    ],
)
def test_which_services_are_copied(selector: dict[str, str], selected: bool) -> None:
    template = deployment()["spec"]["template"]
    assert scratch.selects({"spec": {"selector": selector}}, template) is selected


def test_an_object_is_told_by_its_content_and_not_by_its_version() -> None:
    name, before = scratch.object_digest(deployment())
    changed = deployment()
    changed["metadata"]["resourceVersion"] = "8"
    changed["status"] = {}
    assert (name, before) == scratch.object_digest(changed)
    changed["spec"]["replicas"] = 41
    assert before != scratch.object_digest(changed)[1]


def test_the_policy_lets_nothing_out_but_dns_and_the_scratch() -> None:
    spec = scratch.network_policy(["10.0.0.5", "fd00::5"])["spec"]
    assert spec["policyTypes"] == ["Egress"]
    assert [block["ipBlock"]["cidr"] for block in spec["egress"][2]["to"]] == ["10.0.0.5/32", "fd00::5/128"]
    assert len(scratch.network_policy([])["spec"]["egress"]) == 2


def cluster(store: dict[str, Any]) -> Callable[[Request], Reply]:
    """Answer like an API server that keeps objects by their path."""

    def answer(request: Request) -> Reply:
        path = request.path
        if request.method == "POST":
            store[f"{path}/{request.body['metadata']['name']}"] = request.body
            if path == scratch.NAMESPACES:
                store[f"{path}/{request.body['metadata']['name']}/serviceaccounts/default"] = {}
            return Reply(201, request.body)
        if request.method == "DELETE":
            part = f"/namespaces/{path.rpartition('/')[2]}/"
            for name in [name for name in store if part in f"{name}/"]:
                del store[name]
            return Reply()
        if path in store:
            return Reply(body=store[path])
        if path.rpartition("/")[2] in ("services", "namespaces", "secrets"):
            items = [item for name, item in store.items() if name.rpartition("/")[0] == path]
            return Reply(body={"metadata": {}, "items": items})
        return Reply(404, {"message": "not found"})

    return answer


def platform() -> dict[str, Any]:
    place = "/api/v1/namespaces/production"
    return {
        "/apis/apps/v1/namespaces/production/deployments/user-service": deployment(),
        f"{place}/services/front": {"metadata": {"name": "front"}, "spec": {"selector": {"app": "user-service"}}},
        f"{place}/services/other": {"metadata": {"name": "other"}, "spec": {"selector": {"app": "other"}}},
        f"{place}/secrets/db": {"metadata": {"name": "db", "uid": "x"}, "data": {"u": "eA=="}, "type": "Opaque"},
        f"{place}/configmaps/common": {"metadata": {"name": "common"}, "data": {"a": "b"}},
    }


def test_a_namespace_is_made_of_copies_and_removed_again(fake: FakeApi) -> None:
    store = platform()
    before = dict(store)
    fake.script = cluster(store)
    place = scratch.Namespace(fake.client(), "drill", seconds=10)
    assert place.find() is None
    assert place.remove() is None
    made = place.create("run-7", [COPIED], ["10.0.0.5"])
    # Of what is referred to, that which is not there (tokens) is left to the pods to miss.
    assert made == ["Deployment user-service", "ConfigMap common", "Secret db", "Service front"]
    assert store["/api/v1/namespaces/drill/secrets/db"]["metadata"] == {"name": "db"}
    assert place.find() == "run-7"
    assert place.remove() == "run-7"
    assert store == before


def test_a_namespace_of_others_is_not_touched(fake: FakeApi) -> None:
    store: dict[str, Any] = {"/api/v1/namespaces/drill": {"metadata": {"name": "drill", "labels": {"team": "x"}}}}
    fake.script = cluster(store)
    with pytest.raises(PreconditionFailed, match="is no drill's"):
        scratch.Namespace(fake.client(), "drill", seconds=10).remove()
    assert fake.asked("DELETE") == []


def test_a_cluster_that_cannot_be_asked_is_no_proof(fake: FakeApi) -> None:
    fake.script = lambda _: Reply(403, {"message": "no"})
    with pytest.raises(PreconditionFailed, match="could not be shown"):
        scratch.inventory(fake.client(), ["production"], "drill", seconds=10)
