# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans and predicates: what is, what is wanted, what has to be done."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, PreconditionFailed
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.bulk import connections_for, run_all
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.client import ApiError
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.diagnose import pod_reason, worst
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.gone import Owners
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.progress import paced
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.rollout import rollout_lost
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.selectors import Selector, parse_selector
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.vantage import readiness
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.workloads import (
    REMEMBERED,
    SCALED_TO,
    Target,
    Workload,
    parse,
    plan_repoint,
    plan_scale,
)

from .conftest import deployment

TARGET = Target("west", "production", "Deployment", "user-service")


def read(kind: str = "Deployment", **more: Any) -> Workload:
    return parse(kind, deployment(**more))


@pytest.mark.parametrize(
    ("kind", "more", "complete"),
    [
        ("Deployment", {}, True),
        ("Deployment", {"replicas": 0}, True),
        ("Deployment", {"status": {"observedGeneration": 0}}, False),
        ("Deployment", {"status": {"updatedReplicas": 1}}, False),
        ("Deployment", {"status": {"availableReplicas": 1}}, False),
        ("Deployment", {"status": {"replicas": 3}}, False),
        ("Deployment", {"status": {"unavailableReplicas": 0}}, True),
        ("StatefulSet", {"status": {"currentRevision": "a", "updateRevision": "a"}}, True),
        ("StatefulSet", {"status": {"currentRevision": "a", "updateRevision": "b"}}, False),
    ],
)
def test_complete_means_new_available_and_nothing_old(kind: str, more: dict[str, Any], complete: bool) -> None:
    assert read(kind, **more).complete() is complete


def test_why_no_pod_is_made_is_read() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": 'pods "x" is forbidden: exceeded quota: few'}
    assert read(status={"conditions": [failure]}).status.refused.endswith("exceeded quota: few")
    assert read(status={"conditions": [{**failure, "status": "False"}]}).status.refused == ""
    assert read().status.refused == ""


def test_a_patch_carries_its_lock_and_touches_one_value() -> None:
    plan = plan_repoint(TARGET, read(), "DB_HOST", "db.east")
    assert (plan.containers, plan.before, plan.after) == (("app",), "db.west", "db.east")
    assert plan.operations == (
        {"op": "add", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "add", "path": "/spec/template/spec/containers/0/env/1/value", "value": "db.east"},
    )
    assert plan_repoint(TARGET, read(host="db.east"), "DB_HOST", "db.east").operations == ()


def test_every_container_with_the_variable_is_meant_unless_one_is_named() -> None:
    pod = {
        "initContainers": [{"name": "wait", "env": [{"name": "DB_HOST", "value": "db.old"}]}],
        "containers": [
            {"name": "app", "env": [{"name": "DB_HOST", "value": "db.west"}]},
            {"name": "proxy", "env": [{"name": "PORT", "value": "1"}]},
        ],
    }
    plan = plan_repoint(TARGET, read(pod=pod), "DB_HOST", "db.east")
    assert plan.containers == ("wait", "app")
    assert plan.before == "db.old, db.west"
    assert len(plan.operations) == 3
    named = dataclasses.replace(TARGET, container="app")
    assert plan_repoint(named, read(pod=pod), "DB_HOST", "db.east").containers == ("app",)
    with pytest.raises(BadInput, match="use 'proxy'"):
        plan_repoint(dataclasses.replace(TARGET, container="proxi"), read(pod=pod), "DB_HOST", "db.east")


def test_of_two_variables_with_one_name_the_one_in_force_is_changed() -> None:
    env = [{"name": "DB_HOST", "value": "x"}, {"name": "DB_HOST", "value": "db.west"}]
    assert plan_repoint(TARGET, read(env=env), "DB_HOST", "db.east").operations[1]["path"].endswith("/env/1/value")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"secretKeyRef": {"name": "db", "key": "host"}}, "key host of Secret db"),
        ({"configMapKeyRef": {"name": "db", "key": "host"}}, "key host of ConfigMap db"),
        ({"fieldRef": {"fieldPath": "status.podIP"}}, "the pod itself"),
    ],
)
def test_a_value_from_elsewhere_is_refused_with_its_source(source: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        plan_repoint(TARGET, read(env=[{"name": "DB_HOST", "valueFrom": source}]), "DB_HOST", "x")


def test_a_missing_variable_names_the_nearest_and_where_else_it_may_be() -> None:
    with pytest.raises(BadInput, match="use 'DB_HOST'"):
        plan_repoint(TARGET, read(), "DB_HOTS", "x")
    pod = {"containers": [{"name": "app", "envFrom": [{"configMapRef": {"name": "settings"}}]}]}
    with pytest.raises(BadInput, match="ConfigMap settings, change it there"):
        plan_repoint(TARGET, read(pod=pod), "DB_HOST", "x")


@pytest.mark.parametrize(
    ("kind", "spec", "words"),
    [
        ("Deployment", {"paused": True}, "paused"),
        ("StatefulSet", {"updateStrategy": {"type": "OnDelete"}}, "OnDelete"),
        ("StatefulSet", {"updateStrategy": {"rollingUpdate": {"partition": 1}}}, "partition 1"),
    ],
)
def test_pods_that_would_not_follow_are_a_refusal(kind: str, spec: dict[str, Any], words: str) -> None:
    with pytest.raises(PreconditionFailed, match=words):
        plan_repoint(TARGET, read(kind, spec=spec), "DB_HOST", "db.east")
    assert plan_repoint(TARGET, read(kind, spec=spec), "DB_HOST", "db.west").operations == ()


def test_values_are_shown_without_the_user_part_of_a_url() -> None:
    env = [{"name": "DB_HOST", "value": "postgres://app:hunter2@db.west/x"}]
    plan = plan_repoint(TARGET, read(env=env), "DB_HOST", "postgres://app:hunter2@db.east/x")
    assert (plan.before, plan.after) == tuple(f"postgres://app:[redacted]@db.{where}/x" for where in ("west", "east"))
    assert "hunter2" not in repr(read(env=env))


@pytest.mark.parametrize(
    ("replicas", "kept", "wanted", "expected"),
    [
        # kept and expected memory: (remembered size, what we scaled to then)
        (3, None, 0, (0, 3, (0, "3", "0"))),
        (0, ("3", "0"), 0, (0, 3, None)),
        (0, None, 0, (0, None, None)),
        (3, None, 5, (5, 3, (5, "3", "5"))),
        (0, ("3", "0"), 5, (5, 3, (5, "3", "5"))),
        (0, ("3", "0"), None, (3, None, (3, None, None))),
        (3, None, None, (3, None, None)),
        (0, None, None, (0, None, None)),
        # Somebody else has scaled it since: theirs is the size to keep, and to remember.
        (1, ("3", "0"), 0, (0, 1, (0, "1", "0"))),
        (6, ("3", "0"), None, (6, None, (6, None, None))),
        (6, ("3", None), None, (6, None, (6, None, None))),
        (5, ("3", "0"), 5, (5, None, None)),
    ],
)
def test_sizes(
    replicas: int, kept: tuple[str, str | None] | None, wanted: int | None, expected: tuple[Any, ...]
) -> None:
    annotations = {} if kept is None else {REMEMBERED: kept[0], **({SCALED_TO: kept[1]} if kept[1] else {})}
    plan = plan_scale(TARGET, read(replicas=replicas, annotations=annotations), wanted)
    after, remembered, patch = expected
    assert (plan.after, plan.remembered) == (after, remembered)
    written = patch and {
        "metadata": {"resourceVersion": "7", "annotations": {REMEMBERED: patch[1], SCALED_TO: patch[2]}},
        "spec": {"replicas": patch[0]},
    }
    assert plan.patch == written
    assert plan.forgotten == (3 if replicas == 6 else None)


def test_a_repeated_call_finds_nothing_to_do() -> None:
    once = plan_scale(TARGET, read(replicas=3), 0).patch
    assert once is not None
    again = read(replicas=once["spec"]["replicas"], annotations=once["metadata"]["annotations"])
    assert plan_scale(TARGET, again, 0).patch is None
    assert plan_scale(TARGET, again, None).after == 3


@pytest.mark.parametrize(
    ("kind", "more", "scaled"),
    [
        ("Deployment", {}, True),
        ("Deployment", {"spec": {"paused": True}, "status": {"updatedReplicas": 0}}, True),
        ("StatefulSet", {"status": {"currentRevision": "a", "updateRevision": "b"}}, True),
        ("Deployment", {"status": {"observedGeneration": 0}}, False),
        ("Deployment", {"status": {"availableReplicas": 1}}, False),
        ("Deployment", {"status": {"replicas": 3}}, False),
    ],
)
def test_scaled_asks_for_pods_and_not_for_their_template(kind: str, more: dict[str, Any], scaled: bool) -> None:
    assert read(kind, **more).scaled() is scaled


def gave_up(stamp: str, **more: Any) -> Workload:
    condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    words = {"lastUpdateTime": stamp, "message": "ReplicaSet has timed out progressing."}
    return read(status={"conditions": [{**condition, **words}], "availableReplicas": 1, **more})


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        (read(), gave_up("2"), "timed out progressing"),
        (gave_up("1"), gave_up("2"), "timed out progressing"),
        (gave_up("1"), gave_up("1"), None),
        (read(), gave_up("2", observedGeneration=0), None),
        (read(), read(), None),
        (read(), read(spec={"paused": True}), "it is paused"),
    ],
)
def test_a_rollout_is_lost_if_it_is_given_up_while_we_wait(before: Workload, now: Workload, words: str | None) -> None:
    why = rollout_lost(before, now)
    assert why is None if words is None else words in (why or "")


def test_a_workloads_own_variable_is_meant() -> None:
    env = [{"name": "DB_HOST", "value": "db.west"}, {"name": "PGHOST", "value": "db.west"}]
    plan = plan_repoint(dataclasses.replace(TARGET, variable="PGHOST"), read(env=env), "DB_HOST", "db.east")
    assert plan.variable == "PGHOST"
    assert [operation["path"] for operation in plan.operations[1:]] == ["/spec/template/spec/containers/0/env/1/value"]


def test_a_name_cannot_leave_its_place_in_the_path() -> None:
    target = Target("west", "a/b", "Deployment", "../x?y")
    assert target.path == "/apis/apps/v1/namespaces/a%2Fb/deployments/..%2Fx%3Fy"


def test_a_pod_is_compared_with_the_few_workloads_that_can_own_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    matches = Selector.matches
    monkeypatch.setattr(Selector, "matches", lambda self, labels: asked.append(1) or matches(self, labels))
    workloads = [
        dataclasses.replace(read(), selector=Selector((("app", f"svc-{number}"), ("part-of", "platform"))))
        for number in range(1000)
    ]
    expressions = Selector(expressions=(("batch", "Exists", frozenset()),))
    owners = Owners([*workloads, dataclasses.replace(read(), selector=expressions)])
    assert all(owners.own({"app": f"svc-{number % 1000}", "part-of": "platform"}) for number in range(2000))
    assert len(asked) == 4000, "each pod with the one of its label, and with the one that could mean any"
    assert not owners.own({"app": "other", "part-of": "platform"})
    assert owners.own({"batch": "1"})


def test_progress_is_told_seldom_and_only_if_it_is_news() -> None:
    now, told = [0.0], []
    offer = paced(told.append, seconds=5.0, clock=lambda: now[0])
    for moment, text in ((0.0, "a"), (4.9, "b"), (5.0, "c"), (6.0, "d"), (10.0, "c"), (11.0, "e")):
        now[0] = moment
        offer(text)
    assert told == ["c", "e"]


def seen(*sizes: tuple[int, int]) -> dict[Target, Workload]:
    return {
        dataclasses.replace(TARGET, namespace=f"space-{number}"): read(replicas=size, status={"readyReplicas": ready})
        for number, (size, ready) in enumerate(sizes)
    }


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        (((2, 2), (2, 2)), "2 of 2 services ready"),
        (((2, 2), (2, 0)), "1 of 2 services ready: space-0/user-service 2/2 ready, space-1/user-service 0/2 ready"),
        (((2, 2), (0, 0)), "1 of 1 services ready, 1 scaled to 0"),
        (((0, 0), (0, 0)), "all scaled to 0"),
    ],
)
def test_readiness_in_words(sizes: tuple[tuple[int, int], ...], words: str) -> None:
    assert readiness(seen(*sizes)) == words


def test_a_remembered_size_that_is_no_number_is_not_guessed_at() -> None:
    with pytest.raises(PreconditionFailed, match="remembers no usable size"):
        plan_scale(TARGET, read(annotations={REMEMBERED: "many"}), None)


def test_selectors() -> None:
    selector = parse_selector(
        {
            "matchLabels": {"app": "a"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["web", "api"]},
                {"key": "old", "operator": "DoesNotExist"},
            ],
        }
    )
    assert selector.matches({"app": "a", "tier": "web"})
    assert not selector.matches({"app": "a", "tier": "db"})
    assert not selector.matches({"app": "a", "tier": "web", "old": ""})
    assert selector.query() == "app=a,tier in (api,web),!old"
    assert not Selector().matches({"app": "a"}), "an empty selector must not mean everything"


def test_the_pod_that_tells_most_is_chosen() -> None:
    def pod(name: str, created: str, ready: str, **meta: Any) -> dict[str, Any]:
        conditions = [{"type": "Ready", "status": ready}]
        return {"metadata": {"name": name, "creationTimestamp": created, **meta}, "status": {"conditions": conditions}}

    pods = [pod("ready", "3", "True"), pod("going", "2", "False", deletionTimestamp="x"), pod("stuck", "1", "False")]
    chosen = worst(pods)
    assert chosen is not None
    assert chosen["metadata"]["name"] == "stuck"
    assert worst([]) is None


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"phase": "Pending"}, "is pending"),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "full"}]},
            "Unschedulable: full",
        ),
        ({"containerStatuses": [{"name": "a", "ready": False, "state": {"running": {}}}]}, "readiness probe fails"),
        (
            {
                "initContainerStatuses": [
                    {"name": "i", "ready": False, "state": {"waiting": {"reason": "ErrImagePull"}}}
                ]
            },
            "ErrImagePull",
        ),
    ],
)
def test_a_pods_reason(status: dict[str, Any], words: str) -> None:
    assert words in pod_reason({"metadata": {}, "status": status})


def test_connections_follow_the_work() -> None:
    assert [connections_for(calls, 16) for calls in (1, 4, 8, 200)] == [1, 1, 2, 16]


def test_all_results_are_kept_and_a_defect_is_raised() -> None:
    def work(key: int) -> int:
        if key == 2:
            raise ApiError("broken", "no", cluster="a", doing="x")
        return key * 10

    results = run_all({"a": [1, 2, 3], "b": [4]}, work, concurrency=4)
    assert {key: value for key, value in results.items() if isinstance(value, int)} == {1: 10, 3: 30, 4: 40}
    assert isinstance(results[2], ApiError)
    with pytest.raises(ZeroDivisionError):
        run_all({"a": [0]}, lambda key: 1 // key, concurrency=2)
