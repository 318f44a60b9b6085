# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scaling whole namespaces against real servers: room, autoscalers, budgets, waves, kills."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, PreconditionFailed, StepTimeout
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.autoscale import MINIMUM, RAISED_TO
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.client import MERGE_PATCH
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import Fleet, Settings, build
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.scale import Rules, scale
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.sizes import AsIn, Share
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.waves import levels
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.workloads import (
    REMEMBERED,
    SCALED_TO,
    SIZES,
    Target,
)
from tests.integration.kubernetes.plane import NAMESPACE, Plane, wait_for, workload
from tests.integration.kubernetes.test_workloads import create, open_fleet, ready

RULES = Rules(capacity="require", autoscalers=True, budgets=True)
SCALERS = f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers"


def whole(plane: Plane, namespace: str = NAMESPACE, **more: Any) -> tuple[Fleet, list[Target]]:
    settings = Settings(timeout_seconds=more.pop("seconds", 20.0), **more)
    spaces = [{"cluster": "plane", "namespace": namespace}]
    return build({"plane": {"kubeconfig": str(plane.kubeconfig)}}, [], settings, spaces)


def asking(name: str, cpu: str, replicas: int = 1, **pod: Any) -> dict[str, Any]:
    manifest = workload(name, replicas=replicas, **pod)
    resources = {"requests": {"cpu": cpu, "memory": "64Mi"}}
    manifest["spec"]["template"]["spec"]["containers"][0]["resources"] = resources
    return manifest


def autoscaler(plane: Plane, name: str, minimum: int, maximum: int) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    spec = {"scaleTargetRef": target, "minReplicas": minimum, "maxReplicas": maximum}
    plane.call("POST", SCALERS, {"metadata": {"name": name}, "spec": spec})


def sizes(plane: Plane) -> dict[str, int]:
    found = plane.call("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments")["items"]
    return {item["metadata"]["name"]: item["spec"]["replicas"] for item in found}


def holds_for(seconds: float, probe: Callable[[], bool]) -> bool:
    """Say whether something stays true: what would undo it comes every second."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not probe():
            return False
        time.sleep(0.1)
    return True


def test_a_whole_namespace_is_scaled_and_comes_back(plane: Plane) -> None:
    create(plane, workload("user-service", replicas=1), workload("queue", kind="StatefulSet", replicas=2))
    first = scale(*whole(plane), 3, None, RULES)
    assert (first["total"], first["scaled"]) == (2, 2)
    assert len(plane.pods()) == 6
    fleet, targets = whole(plane)
    again = scale(fleet, targets, 3, None, RULES)
    assert (again["changed"], again["scaled"]) == (False, 0)
    assert fleet.clients["plane"].requests == 3, "a list of each kind, and one of the autoscalers"
    back = scale(*whole(plane), None, None, RULES)
    assert back["workloads"]["plane/production/statefulset/queue"]["after"] == 2
    assert sizes(plane) == {"user-service": 1}
    assert scale(*whole(plane), None, None, RULES)["changed"] is False


def test_a_namespace_that_is_not_there_is_no_empty_one(plane: Plane) -> None:
    with pytest.raises(BadInput, match=r"no namespace productoin in cluster plane.*use 'production'"):
        scale(*whole(plane, "productoin"), 3, None, RULES)
    assert scale(*whole(plane), 3, None, RULES)["total"] == 0


# Room


def test_a_quota_without_room_refuses_before_anything_is_touched(plane: Plane) -> None:
    create(plane, asking("user-service", "500m", 1), asking("ai-service", "1", 1))
    ready(plane, "user-service", "ai-service")
    hard = {"pods": "10", "requests.cpu": "4"}
    quotas = f"/api/v1/namespaces/{NAMESPACE}/resourcequotas"
    plane.call("POST", quotas, {"metadata": {"name": "compute"}, "spec": {"hard": hard}})
    wait_for(lambda: used_cpu(plane) == "1500m", "the quota to be counted")
    for check in (True, False):
        with pytest.raises(PreconditionFailed) as refused:
            scale(*whole(plane, check=check), 4, None, RULES)
        assert "quota compute of namespace production: requests.cpu short of 2 (4.5 more wanted, 2.5 free)" in str(
            refused.value
        )
        assert sizes(plane) == {"user-service": 1, "ai-service": 1}
    assert [entry["resource"] for entry in refused.value.fields["shortfalls"]] == ["requests.cpu"]
    assert scale(*whole(plane), 2, None, RULES)["scaled"] == 2


def test_what_no_pod_can_be_made_for_is_told_in_the_servers_words(plane: Plane) -> None:
    create(plane, workload("user-service", replicas=1))
    ready(plane, "user-service")
    quotas = f"/api/v1/namespaces/{NAMESPACE}/resourcequotas"
    plane.call("POST", quotas, {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "2"}}})
    with pytest.raises(StepTimeout, match=r"no more pods are made: .*exceeded quota: few, requested: pods=1"):
        scale(*whole(plane, seconds=2.0), 4, None, Rules())


def used_cpu(plane: Plane) -> str | None:
    found = plane.call("GET", f"/api/v1/namespaces/{NAMESPACE}/resourcequotas/compute")
    used: dict[str, str] = found.get("status", {}).get("used", {})
    return used.get("requests.cpu")


def provide_node(plane: Plane, name: str, cpu: str, pods: str = "20") -> None:
    plane.call("POST", "/api/v1/nodes", {"metadata": {"name": name}})
    conditions = [{"type": "Ready", "status": "True"}]
    status = {"allocatable": {"cpu": cpu, "memory": "1Gi", "pods": pods}, "conditions": conditions}
    plane.call("PATCH", f"/api/v1/nodes/{name}/status", {"status": status}, MERGE_PATCH)
    # A new node is tainted until it is ready, and nobody is here to see that.
    plane.call("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": None}}, MERGE_PATCH)


def test_nodes_without_room_refuse_with_each_resource(plane: Plane) -> None:
    provide_node(plane, "small", "2", pods="3")
    create(plane, asking("user-service", "1", 0, nodeName=""), asking("ai-service", "500m", 2, nodeName="small"))
    ready(plane, "ai-service")
    with pytest.raises(PreconditionFailed) as refused:
        scale(*open_fleet(plane, "user-service"), 3, None, RULES)
    assert "1 node: cpu short of 2 (3 more wanted, 1 free); 1 node: pods short of 2 (3 more wanted, 1 free)" in str(
        refused.value
    )
    assert sizes(plane)["user-service"] == 0
    provide_node(plane, "large", "4")
    planned = scale(*open_fleet(plane, "user-service", check=True), 3, None, RULES)
    assert (planned["scaled"], planned["shortfalls"]) == (1, [])


def test_a_lack_of_room_can_be_reported_only(plane: Plane) -> None:
    create(plane, asking("user-service", "1", 0, nodeName=""))
    rules = Rules(capacity="report")
    planned = scale(*open_fleet(plane, "user-service", check=True), 1, None, rules)
    assert planned["shortfalls"][0]["resource"] == "cpu"
    assert "no room in cluster plane: 0 nodes: cpu short of 1" in planned["lines"][1]


def test_without_the_right_to_see_it_room_is_not_taken_for_granted(plane: Plane) -> None:
    create(plane, workload("user-service", replicas=0))
    grant(plane)
    clusters = {"plane": {"kubeconfig": str(plane.folder / "nobody.kubeconfig")}}
    spaces = [{"cluster": "plane", "namespace": NAMESPACE}]
    with pytest.raises(PreconditionFailed, match="does not allow to list the nodes"):
        scale(*build(clusters, [], Settings(timeout_seconds=20), spaces), 1, None, Rules(capacity="require"))
    with pytest.raises(PreconditionFailed, match="does not allow to list the horizontalpodautoscalers"):
        scale(*build(clusters, [], Settings(timeout_seconds=20), spaces), 1, None, RULES)
    assert sizes(plane) == {"user-service": 0}


def grant(plane: Plane) -> None:
    """Let nobody do what needs neither room nor autoscalers to be seen."""
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}"
    rule = {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["*"]}
    plane.call("POST", f"{path}/roles", {"metadata": {"name": "scaling"}, "rules": [rule]})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "scaling"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"}
    binding = {"metadata": {"name": "scaling"}, "roleRef": reference, "subjects": [subject]}
    plane.call("POST", f"{path}/rolebindings", binding)


# Autoscalers


def test_an_autoscaler_is_raised_and_given_its_bounds_back(plane: Plane) -> None:
    create(plane, workload("user-service", replicas=1), workload("ai-service", replicas=1))
    autoscaler(plane, "user-service", 1, 3)
    ready(plane, "user-service", "ai-service")

    # Past its autoscaler a size does not last: that is what the rule is for.
    scale(*open_fleet(plane, "user-service"), 5, None, Rules())
    wait_for(lambda: sizes(plane)["user-service"] == 3, "the autoscaler to take it back")

    first = scale(*whole(plane), 5, None, RULES)
    key = "plane/production/horizontalpodautoscaler/user-service"
    assert first["autoscalers"][key] == {"before": [1, 3], "after": [5, 5], "changed": True}
    assert "minReplicas of 1 HorizontalPodAutoscalers changed, so that they do not undo it" in first["lines"]
    assert holds_for(3, lambda: sizes(plane) == {"user-service": 5, "ai-service": 5})
    annotations = plane.call("GET", f"{SCALERS}/user-service")["metadata"]["annotations"]
    assert (annotations[MINIMUM], annotations[RAISED_TO]) == ("1", "5")
    assert scale(*whole(plane), 5, None, RULES)["changed"] is False

    back = scale(*whole(plane), None, None, RULES)
    assert "minReplicas of 1 HorizontalPodAutoscalers given back" in back["lines"]
    given = plane.call("GET", f"{SCALERS}/user-service")
    assert (given["spec"]["minReplicas"], given["spec"]["maxReplicas"]) == (1, 3)
    assert MINIMUM not in given["metadata"].get("annotations", {})
    assert sizes(plane)["ai-service"] == 1
    # Its owner's bounds hold again, and shrinking it is the autoscaler's own business.
    wait_for(lambda: sizes(plane)["user-service"] == 3, "the autoscaler to hold its bounds")
    assert scale(*whole(plane), None, None, RULES)["changed"] is False


def test_check_mode_leaves_autoscalers_alone(plane: Plane) -> None:
    create(plane, workload("user-service", replicas=1))
    autoscaler(plane, "user-service", 1, 3)
    planned = scale(*whole(plane, check=True), 5, None, RULES)
    assert planned["changed"] is True
    assert (
        "plane/production/horizontalpodautoscaler/user-service minReplicas=5 maxReplicas=5\n"
        in planned["diff"]["after"]
    )
    given = plane.call("GET", f"{SCALERS}/user-service")
    assert (given["spec"]["minReplicas"], sizes(plane)) == (1, {"user-service": 1})


# Budgets


def test_a_budget_keeps_what_it_asks_for(plane: Plane) -> None:
    create(plane, workload("user-service", replicas=4), workload("ai-service", replicas=4))
    ready(plane, "user-service", "ai-service")
    path = f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets"
    selector = {"matchLabels": {"app": "user-service"}}
    plane.call("POST", path, {"metadata": {"name": "users"}, "spec": {"minAvailable": 3, "selector": selector}})
    wait_for(
        lambda: plane.call("GET", f"{path}/users").get("status", {}).get("expectedPods") == 4,
        "the budget to be counted",
    )
    down = scale(*whole(plane), 1, None, RULES)
    assert sizes(plane) == {"user-service": 3, "ai-service": 1}
    assert down["workloads"]["plane/production/user-service"]["kept_by"] == "users"
    assert "kept by PodDisruptionBudgets: plane/production/user-service at 3 by users" in down["lines"]
    assert scale(*whole(plane), 1, None, RULES)["changed"] is False
    assert scale(*whole(plane), 0, None, RULES)["scaled"] == 2
    assert scale(*whole(plane), None, None, RULES)["scaled"] == 2
    assert sizes(plane) == {"user-service": 4, "ai-service": 4}


# Waves


def test_a_wave_that_is_not_ready_keeps_the_next_from_beginning(plane: Plane) -> None:
    services = {"tenant-service": {"depends_on": ["user-service"]}, "user-service": {}, "ai-service": {}}
    rules = Rules(order=levels(services))
    create(plane, *(workload(name, replicas=1) for name in ("tenant-service", "ai-service")))
    create(plane, workload("user-service", replicas=0, host="dead.west"))
    with pytest.raises(StepTimeout, match=r"wave 1 of 2: 1 of 2 workloads are ready") as failed:
        scale(*whole(plane, seconds=1.5), 2, None, rules)
    assert "plane/production/user-service 0/2 ready" in str(failed.value)
    assert "CrashLoopBackOff" in str(failed.value)
    assert failed.value.fields["not_begun"] == ["plane/production/tenant-service"]
    changed = set(failed.value.fields["changed_workloads"])
    assert changed == {"plane/production/user-service", "plane/production/ai-service"}
    assert sizes(plane)["tenant-service"] == 1

    env = [{"name": "DB_HOST", "value": "db.west"}]
    fixed = {"spec": {"template": {"spec": {"containers": [{"name": "app", "env": env}]}}}}
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/user-service"
    plane.call("PATCH", path, fixed, "application/strategic-merge-patch+json")
    done = scale(*whole(plane), 2, None, rules)
    assert (done["scaled"], [wave["workloads"] for wave in done["waves"]]) == (1, [2, 1])
    assert set(sizes(plane).values()) == {2}
    assert done["lines"][1].startswith("2 waves: 2 in ")


def test_what_depends_on_others_stops_before_them(plane: Plane) -> None:
    rules = Rules(order=levels({"tenant-service": {"depends_on": ["user-service"]}, "user-service": {}}))
    create(plane, workload("tenant-service", replicas=1), workload("user-service", replicas=1))
    ready(plane, "tenant-service", "user-service")
    told: list[str] = []
    scale(*whole(plane), 0, told.append, rules)
    assert plane.pods() == []
    assert [text for text in told if "patched" in text] == [
        "wave 1 of 2: scale: 1 of 1 patched",
        "wave 2 of 2: scale: 1 of 1 patched",
    ]
    generations = {name: plane.deployment(name)["metadata"]["resourceVersion"] for name in sizes(plane)}
    assert int(generations["tenant-service"]) < int(generations["user-service"])


# Sizes of a region that is lost


def test_sizes_of_a_lost_region_and_shares_of_the_largest(plane: Plane) -> None:
    create(plane, *(workload(name, replicas=1) for name in ("user-service", "ai-service", "new-service")))
    for name, text in (("user-service", '{"size":3,"maximum":5}'), ("ai-service", '{"size":1,"maximum":4}')):
        plane.patch(name, {"metadata": {"annotations": {SIZES: f'{{"west":{text}}}'}}})
    with pytest.raises(BadInput, match=r"None of 3 workloads remembers a size in wset.*use 'west'"):
        scale(*whole(plane), AsIn("wset"), None, RULES)
    up = scale(*whole(plane), AsIn("west"), None, RULES)
    assert sizes(plane) == {"user-service": 3, "ai-service": 1, "new-service": 1}
    assert "1 remember no size in west and stay as they are: plane/production/new-service" in up["lines"]
    assert scale(*whole(plane), AsIn("west"), None, RULES)["changed"] is False
    scale(*whole(plane), Share(50), None, RULES)
    assert sizes(plane) == {"user-service": 3, "ai-service": 2, "new-service": 1}
    scale(*whole(plane), None, None, RULES)
    assert sizes(plane) == {"user-service": 1, "ai-service": 1, "new-service": 1}
    assert SIZES in plane.deployment("user-service")["metadata"]["annotations"], "what is remembered of west stays"


# Kills

RUN = """
import sys
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import Settings, build
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.scale import Rules, scale
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.waves import levels
order = levels({"user-service": {"depends_on": ["svc-0", "svc-1"]}, **{f"svc-{n}": {} for n in range(6)}})
rules = Rules(capacity="require", autoscalers=True, budgets=True, order=order)
spaces = [{"cluster": "plane", "namespace": "production"}]
settings = Settings(timeout_seconds=20, concurrency=1)
scale(*build({"plane": {"kubeconfig": sys.argv[1]}}, [], settings, spaces), 2, None, rules)
"""


@pytest.mark.parametrize("moment", [0, 1, 3, 5, 6])
def test_killed_anywhere_and_run_again_it_converges(plane: Plane, moment: int) -> None:
    names = [f"svc-{number}" for number in range(6)]
    create(plane, *(workload(name, replicas=1) for name in (*names, "user-service")))
    autoscaler(plane, "svc-0", 1, 1)
    ready(plane, *names, "user-service")
    process = subprocess.Popen([sys.executable, "-c", RUN, str(plane.kubeconfig)])
    try:
        wait_for(
            lambda: sum(size == 2 for size in sizes(plane).values()) >= moment or process.poll() is not None, "a kill"
        )
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    rules = Rules("require", True, True, levels({"user-service": {"depends_on": names}, **dict.fromkeys(names)}))
    scale(*whole(plane), 2, None, rules)
    assert set(sizes(plane).values()) == {2}
    for name in (*names[1:], "user-service"):
        annotations = plane.deployment(name)["metadata"]["annotations"]
        assert (annotations[REMEMBERED], annotations[SCALED_TO]) == ("1", "2")
    assert scale(*whole(plane), 2, None, rules)["changed"] is False
    scale(*whole(plane), None, None, rules)
    wait_for(lambda: set(sizes(plane).values()) == {1}, "all to have their former sizes")
