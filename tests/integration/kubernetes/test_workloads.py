# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs against real servers."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.clock import stamp
from ansible_collections.platform.recovery.plugins.module_utils.errors import (
    BadInput,
    PreconditionFailed,
    RecoveryError,
    StepFailed,
    StepTimeout,
)
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.client import MERGE_PATCH
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import Fleet, Settings, build
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.repoint import repoint
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.rollout import rollout
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.scale import scale
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.vantage import observe
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.workloads import (
    REMEMBERED,
    SCALED_TO,
    Target,
)
from tests.integration.kubernetes.plane import NAMESPACE, Plane, Puppet, wait_for, workload

SERVICES = ("user-service", "tenant-service", "plugin-service", "ai-service")


def create(plane: Plane, *manifests: dict[str, Any]) -> None:
    for manifest in manifests:
        plane.call("POST", f"/apis/apps/v1/namespaces/{NAMESPACE}/{manifest['kind'].lower()}s", manifest)


def open_fleet(plane: Plane, *names: str, kind: str = "Deployment", **more: Any) -> tuple[Fleet, list[Target]]:
    settings = Settings(timeout_seconds=more.pop("seconds", 20.0), **more)
    workloads = [{"cluster": "plane", "namespace": NAMESPACE, "name": name, "kind": kind} for name in names]
    return build({"plane": {"kubeconfig": str(plane.kubeconfig)}}, workloads, settings)


def host_of(deployment: Any) -> str:
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    return str(next(entry["value"] for entry in env if entry["name"] == "DB_HOST"))


def ready(plane: Plane, *names: str, kind: str = "Deployment") -> dict[str, Any]:
    return rollout(*open_fleet(plane, *names, kind=kind), restart_since=None)


def test_repoint_rolls_all_out_and_is_idempotent(plane: Plane) -> None:
    create(plane, *(workload(name) for name in SERVICES))
    assert ready(plane, *SERVICES)["ready"] == 4

    first = repoint(*open_fleet(plane, *SERVICES), "DB_HOST", "db.east")
    assert (first["changed"], first["patched"], first["unchanged"]) == (True, 4, 0)
    assert first["lines"][0].startswith("4 of 4 workloads point to db.east (4 patched in ")
    assert first["workloads"]["plane/production/user-service"]["before"] == "db.west"
    assert "plane/production/ai-service DB_HOST=db.east\n" in first["diff"]["after"]

    told: list[str] = []
    waited = rollout(*open_fleet(plane, *SERVICES), restart_since=None, progress=told.append)
    assert (waited["changed"], waited["ready"]) == (False, 4)
    assert told[-1] == "4 of 4 workloads ready"
    assert all(entry["ready_after_seconds"] > 0 for entry in waited["workloads"].values())
    assert {host_of(plane.deployment(name)) for name in SERVICES} == {"db.east"}

    versions = {name: plane.deployment(name)["metadata"]["resourceVersion"] for name in SERVICES}
    fleet, targets = open_fleet(plane, *SERVICES)
    second = repoint(fleet, targets, "DB_HOST", "db.east")
    assert (second["changed"], second["patched"], second["unchanged"]) == (False, 0, 4)
    assert fleet.clients["plane"].requests == 1, "a second run reads once and writes nothing"
    assert versions == {name: plane.deployment(name)["metadata"]["resourceVersion"] for name in SERVICES}


def test_stateful_sets_roll_out(plane: Plane) -> None:
    create(plane, workload("queue", kind="StatefulSet"))
    ready(plane, "queue", kind="StatefulSet")
    assert repoint(*open_fleet(plane, "queue", kind="StatefulSet"), "DB_HOST", "db.east")["patched"] == 1
    done = ready(plane, "queue", kind="StatefulSet")
    assert done["workloads"]["plane/production/statefulset/queue"]["complete"] is True


def test_check_mode_touches_nothing(plane: Plane) -> None:
    create(plane, workload("user-service"))
    ready(plane, "user-service")
    result = repoint(*open_fleet(plane, "user-service", check=True), "DB_HOST", "db.east")
    assert (result["changed"], result["patched"]) == (True, 1)
    assert scale(*open_fleet(plane, "user-service", check=True), 0)["scaled"] == 1
    past = stamp(time.time() + 60)
    assert rollout(*open_fleet(plane, "user-service", check=True), restart_since=past)["restarted"] == 1
    deployment = plane.deployment("user-service")
    assert (host_of(deployment), deployment["spec"]["replicas"]) == ("db.west", 2)


@pytest.mark.parametrize(
    ("names", "variable", "expected"),
    [
        (("user-service", "tenant-servise"), "DB_HOST", "did you mean 'tenant-service'?"),
        (("user-service", "tenant-service"), "DB_HOTS", "use 'DB_HOST'"),
        (("user-service", "tenant-service"), "DB_PASSWORD", "comes from key password of Secret database"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_touched(
    plane: Plane, names: tuple[str, ...], variable: str, expected: str
) -> None:
    create(plane, workload("user-service", replicas=0), workload("tenant-service", replicas=0))
    with pytest.raises(BadInput) as refused:
        repoint(*open_fleet(plane, *names), variable, "db.east")
    assert expected in str(refused.value)
    assert host_of(plane.deployment("user-service")) == "db.west"


def test_an_unreachable_cluster_refuses_unless_it_is_lost_by_the_operators_word(plane: Plane) -> None:
    create(plane, workload("user-service", replicas=0))
    lost = plane.folder / "lost.kubeconfig"
    lost.write_text(plane.kubeconfig.read_text().replace(f"{plane.address}:6443", f"{plane.address}:6444"))
    clusters = {"plane": {"kubeconfig": str(plane.kubeconfig)}, "lost": {"kubeconfig": str(lost)}}
    workloads = [
        {"cluster": cluster, "namespace": NAMESPACE, "name": "user-service", "kind": "Deployment"}
        for cluster in clusters
    ]
    begin = time.monotonic()
    with pytest.raises(PreconditionFailed, match="cluster lost is unreachable") as refused:
        repoint(*build(clusters, workloads, Settings(timeout_seconds=20)), "DB_HOST", "db.east")
    assert time.monotonic() - begin < 1, "a refused connection is known at once"
    assert "refused the connection" in str(refused.value)
    assert host_of(plane.deployment("user-service")) == "db.west"

    seen = observe(*build(clusters, workloads, Settings(timeout_seconds=5)), "DB_HOST")
    assert [entry["alive"] for entry in seen["vantages"]] == [None, None]
    assert "unreachable" in seen["vantages"][1]["observed"]

    without = repoint(
        *build(clusters, workloads, Settings(timeout_seconds=20, lost_clusters=("lost",))), "DB_HOST", "x"
    )
    assert without["patched"] == 1
    assert without["lost_clusters"] == ["lost"]


def test_missing_rights_are_named(plane: Plane) -> None:
    create(plane, workload("user-service", replicas=0))
    clusters = {"plane": {"kubeconfig": str(plane.folder / "nobody.kubeconfig")}}
    workloads = [{"cluster": "plane", "namespace": NAMESPACE, "name": "user-service", "kind": "Deployment"}]
    with pytest.raises(PreconditionFailed, match="does not allow to list the deployments of namespace production"):
        repoint(*build(clusters, workloads, Settings(timeout_seconds=20)), "DB_HOST", "db.east")


def test_a_concurrent_change_is_seen_and_planned_again(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    create(plane, workload("user-service", replicas=0))
    fleet, targets = open_fleet(plane, "user-service")
    seen = fleet.observe(targets)
    plane.patch("user-service", {"metadata": {"labels": {"by": "somebody"}}})
    # What was read is stale by now.
    monkeypatch.setattr(fleet, "observe", lambda _: seen)
    assert repoint(fleet, targets, "DB_HOST", "db.east")["patched"] == 1
    deployment = plane.deployment("user-service")
    assert host_of(deployment) == "db.east"
    assert deployment["metadata"]["labels"] == {"by": "somebody"}


def test_a_failed_rollout_names_each_workload_and_why(plane: Plane) -> None:
    create(plane, workload("user-service"), workload("ai-service"))
    ready(plane, "user-service", "ai-service")
    repoint(*open_fleet(plane, "ai-service"), "DB_HOST", "dead.east")
    with pytest.raises(StepTimeout) as failed:
        rollout(*open_fleet(plane, "user-service", "ai-service", seconds=1.5), restart_since=None)
    text = str(failed.value)
    assert "1 of 2 workloads are ready after 1.5 s" in text
    assert "plane/production/ai-service" in text
    assert "CrashLoopBackOff (exit code 1, 3 restarts)" in text
    assert "user-service" not in text
    assert len(text.splitlines()) <= 15
    assert failed.value.fields["failed_workloads"].keys() == {"plane/production/ai-service"}


def test_a_paused_deployment_is_refused(plane: Plane) -> None:
    create(plane, workload("user-service"))
    ready(plane, "user-service")
    plane.patch("user-service", {"spec": {"paused": True}})
    with pytest.raises(PreconditionFailed, match="would keep its old pods: it is paused"):
        repoint(*open_fleet(plane, "user-service"), "DB_HOST", "db.east")


def test_restart_happens_once_and_not_after_a_repoint(plane: Plane) -> None:
    create(plane, workload("user-service"), workload("ai-service"))
    ready(plane, "user-service", "ai-service")
    # The API's stamps are whole seconds: the moment must lie after the pods' second and before the next pods'.
    time.sleep(1.1)
    since = stamp(time.time())
    time.sleep(1.1)
    repoint(*open_fleet(plane, "user-service"), "DB_HOST", "db.east")
    first = rollout(*open_fleet(plane, "user-service", "ai-service"), restart_since=since)
    assert (first["changed"], first["restarted"]) == (True, 1)
    assert first["workloads"]["plane/production/ai-service"]["restarted"] is True
    assert plane.deployment("user-service")["metadata"]["generation"] == 2
    second = rollout(*open_fleet(plane, "user-service", "ai-service"), restart_since=since)
    assert (second["changed"], second["ready"]) == (False, 2)


def test_scale_remembers_and_restores(plane: Plane) -> None:
    create(plane, workload("user-service", replicas=3), workload("ai-service", replicas=1))
    ready(plane, "user-service", "ai-service")
    down = scale(*open_fleet(plane, "user-service", "ai-service"), 0)
    assert down["scaled"] == 2
    assert plane.pods() == []
    annotations = plane.deployment("user-service")["metadata"]["annotations"]
    assert (annotations[REMEMBERED], annotations[SCALED_TO]) == ("3", "0")
    again = scale(*open_fleet(plane, "user-service", "ai-service"), 0)
    assert (again["changed"], again["scaled"]) == (False, 0)
    up = scale(*open_fleet(plane, "user-service", "ai-service"), None)
    assert up["workloads"]["plane/production/user-service"]["after"] == 3
    assert len(plane.pods()) == 4
    left = plane.deployment("user-service")["metadata"].get("annotations", {})
    assert not {REMEMBERED, SCALED_TO} & left.keys()
    assert scale(*open_fleet(plane, "user-service", "ai-service"), None)["changed"] is False


def test_a_size_that_somebody_else_gave_is_kept(plane: Plane) -> None:
    create(plane, workload("user-service", replicas=1))
    ready(plane, "user-service")
    scale(*open_fleet(plane, "user-service"), 0)
    plane.patch("user-service", {"spec": {"replicas": 3}})
    restored = scale(*open_fleet(plane, "user-service"), None)
    assert (restored["changed"], restored["scaled"]) == (True, 0)
    assert "was scaled to 3 by somebody else" in restored["lines"][1]
    deployment = plane.deployment("user-service")
    assert deployment["spec"]["replicas"] == 3
    assert not {REMEMBERED, SCALED_TO} & deployment["metadata"].get("annotations", {}).keys()


def test_what_is_held_is_scaled_like_everything_else(plane: Plane) -> None:
    create(plane, workload("user-service"), workload("queue", kind="StatefulSet"))
    ready(plane, "user-service")
    ready(plane, "queue", kind="StatefulSet")
    # A change that does not reach the pods: complete() is never true again.
    plane.patch("user-service", {"spec": {"paused": True, "template": {"metadata": {"labels": {"new": "1"}}}}})
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets/queue"
    held = {
        "updateStrategy": {"type": "OnDelete", "rollingUpdate": None},
        "template": {"metadata": {"labels": {"new": "1"}}},
    }
    plane.call("PATCH", path, {"spec": held}, MERGE_PATCH)
    for fleet, targets in (open_fleet(plane, "user-service"), open_fleet(plane, "queue", kind="StatefulSet")):
        assert scale(fleet, targets, 3)["scaled"] == 1
    for kind, name in (("Deployment", "user-service"), ("StatefulSet", "queue")):
        assert scale(*open_fleet(plane, name, kind=kind), 0)["scaled"] == 1
        assert scale(*open_fleet(plane, name, kind=kind), None)["scaled"] == 1


def test_a_rollout_that_its_controller_gives_up_is_not_waited_for(plane: Plane) -> None:
    manifest = workload("user-service")
    manifest["spec"]["progressDeadlineSeconds"] = 2
    create(plane, manifest)
    ready(plane, "user-service")
    repoint(*open_fleet(plane, "user-service"), "DB_HOST", "dead.east")
    with pytest.raises(StepFailed, match=r"its controller gave the rollout up: ReplicaSet .* has timed out") as failed:
        rollout(*open_fleet(plane, "user-service", seconds=30.0), restart_since=None)
    assert not isinstance(failed.value, StepTimeout)
    # What was given up before is no reason not to wait: back on a template that works, all becomes ready.
    repoint(*open_fleet(plane, "user-service"), "DB_HOST", "db.west")
    assert ready(plane, "user-service")["ready"] == 1


def test_scaled_down_means_that_pods_are_gone(plane: Plane, puppet: Puppet) -> None:
    create(plane, workload("user-service"))
    ready(plane, "user-service")
    puppet.clinging.set()
    with pytest.raises(StepTimeout, match="2 pods are not gone after 1 s") as failed:
        scale(*open_fleet(plane, "user-service", seconds=1.0), 0)
    assert failed.value.fields["changed"] is True
    assert len(failed.value.fields["pods"]) == 2
    timer = threading.Timer(0.5, puppet.release)
    timer.start()
    result = scale(*open_fleet(plane, "user-service"), 0)
    assert result["changed"] is False, "the run that was cut short had scaled it"
    assert plane.pods() == []
    assert plane.deployment("user-service")["metadata"]["annotations"][REMEMBERED] == "2"


def test_a_frozen_api_server_costs_its_deadline(plane: Plane) -> None:
    create(plane, workload("user-service", replicas=0))
    process = plane.processes["apiserver"]
    process.send_signal(signal.SIGSTOP)
    try:
        begin = time.monotonic()
        with pytest.raises(PreconditionFailed, match="gave no answer in time"):
            repoint(*open_fleet(plane, "user-service", request_seconds=1.0), "DB_HOST", "db.east")
        assert time.monotonic() - begin < 3
    finally:
        process.send_signal(signal.SIGCONT)
    wait_for(lambda: repoint(*open_fleet(plane, "user-service"), "DB_HOST", "db.east"), "the server to thaw")


def test_a_kill_of_the_watch_does_not_end_the_wait(plane: Plane) -> None:
    create(plane, workload("user-service", host="dead.west"))
    fleet, targets = open_fleet(plane, "user-service")
    results: list[Any] = []

    def wait() -> None:
        try:
            results.append(rollout(fleet, targets, restart_since=None))
        except RecoveryError as error:
            results.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    time.sleep(0.5)
    fleet.clients["plane"].interrupt()
    repoint(*open_fleet(plane, "user-service"), "DB_HOST", "db.east")
    thread.join(20)
    assert results[0]["ready"] == 1


def test_observe_tells_values_and_evidence(plane: Plane) -> None:
    create(plane, workload("user-service"), workload("ai-service", host="dead.west"))
    ready(plane, "user-service")
    seen = observe(*open_fleet(plane, "user-service", "ai-service"), "DB_HOST")
    assert seen["workloads"]["plane/production/ai-service"]["value"] == "dead.west"
    assert seen["vantages"][0]["alive"] is True
    assert (
        "1 of 2 services ready: production/user-service 2/2 ready, production/ai-service 0/2 ready"
        in seen["vantages"][0]["observed"]
    )
