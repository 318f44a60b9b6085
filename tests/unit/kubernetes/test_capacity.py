# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether there is room: quantities, what a pod asks for, quotas, and nodes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import PreconditionFailed
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.capacity import (
    Need,
    Node,
    Room,
    Shortfall,
    node_shortfalls,
    parse_limits,
    parse_node,
    parse_quota,
    quota_shortfalls,
    refuse,
)
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.client import ApiError
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.resources import (
    Defaults,
    Pod,
    amounts,
    milli,
    parse_pod,
    shown,
)
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.workloads import Target

TARGET = Target("east", "production", "Deployment", "web")
MIB = 1024**2 * 1000


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1", 1000),
        ("250m", 250),
        ("0.1", 100),
        ("1.5", 1500),
        ("100u", 1),
        ("1Gi", 1024**3 * 1000),
        ("1G", 10**9 * 1000),
        ("128Mi", 128 * MIB),
        ("1e3", 10**6),
        ("5E", 5 * 10**18 * 1000),
        ("0", 0),
    ],
)
def test_quantities(text: str, amount: int) -> None:
    assert milli(text) == amount


def test_what_is_no_quantity_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="'many' is no quantity"):
        milli("many")


@pytest.mark.parametrize(
    ("resource", "amount", "words"),
    [
        ("cpu", 1500, "1.5"),
        ("requests.memory", 2 * 1024 * MIB, "2 GiB"),
        ("memory", 5 * MIB, "5 MiB"),
        ("pods", 3000, "3"),
    ],
)
def test_amounts_in_words(resource: str, amount: int, words: str) -> None:
    assert shown(resource, amount) == words


def asks(cpu: str | None = None, memory: str | None = None, **more: Any) -> dict[str, Any]:
    requests = {name: text for name, text in (("cpu", cpu), ("memory", memory)) if text}
    return {"name": "c", "resources": {"requests": requests, **more.pop("resources", {})}, **more}


@pytest.mark.parametrize(
    ("spec", "defaults", "expected"),
    [
        ({"containers": [asks("1"), asks("500m")]}, {}, {"cpu": 1500}),
        # The largest init container counts if it is more than all that run later.
        ({"containers": [asks("1")], "initContainers": [asks("3"), asks("2")]}, {}, {"cpu": 3000}),
        # A sidecar runs beside the init containers that come after it, and beside the rest.
        (
            {"containers": [asks("1")], "initContainers": [asks("1", restartPolicy="Always"), asks("3")]},
            {},
            {"cpu": 4000},
        ),
        ({"containers": [asks("1")], "overhead": {"cpu": "250m"}}, {}, {"cpu": 1250}),
        # A limit stands for a request that is not written.
        ({"containers": [asks(resources={"limits": {"cpu": "2"}})]}, {}, {"cpu": 2000}),
        ({"containers": [asks()]}, {"requests": {"cpu": 100}}, {"cpu": 100}),
        ({"containers": [asks()]}, {"limits": {"cpu": 300}}, {"cpu": 300}),
        ({"containers": [asks(resources={"limits": {"cpu": "2"}})]}, {"requests": {"cpu": 100}}, {"cpu": 2000}),
        ({"containers": [asks("1")], "resources": {"requests": {"cpu": "5"}}}, {}, {"cpu": 5000}),
        ({"containers": [{"name": "c"}]}, {}, {}),
    ],
)
def test_what_a_pod_asks_for(spec: dict[str, Any], defaults: dict[str, Any], expected: dict[str, int]) -> None:
    assert parse_pod({}, spec).requests(Defaults(**defaults)) == {**expected, "pods": 1000}


def pod(cpu: str = "1", memory: str = "1Gi", **spec: Any) -> Pod:
    return parse_pod({"labels": {"app": "web"}}, {"containers": [asks(cpu, memory)], **spec})


def need(more: int, unbound: int | None = None, name: str = "web", **spec: Any) -> Need:
    return Need(
        Target("east", "production", "Deployment", name), pod(**spec), more, more if unbound is None else unbound
    )


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> Any:
    return parse_quota({"metadata": {"name": "q"}, "spec": {"hard": hard, **spec}, "status": {"used": used or {}}})


@pytest.mark.parametrize(
    ("hard", "used", "more", "lines"),
    [
        ({"pods": "10"}, {"pods": "8"}, 2, []),
        (
            {"pods": "10"},
            {"pods": "8"},
            3,
            ["quota q of namespace production: pods short of 1 (3 more wanted, 2 free)"],
        ),
        (
            {"count/pods": "1"},
            {},
            2,
            ["quota q of namespace production: count/pods short of 1 (2 more wanted, 1 free)"],
        ),
        (
            {"cpu": "4"},
            {"cpu": "3500m"},
            1,
            ["quota q of namespace production: cpu short of 0.5 (1 more wanted, 0.5 free)"],
        ),
        (
            {"requests.memory": "2Gi", "limits.cpu": "1"},
            {"requests.memory": "1Gi"},
            2,
            ["quota q of namespace production: requests.memory short of 1 GiB (2 GiB more wanted, 1 GiB free)"],
        ),
        # Over its limit already, but nothing is added.
        ({"pods": "1"}, {"pods": "3"}, -1, []),
        ({"secrets": "1"}, {"secrets": "1"}, 5, []),
    ],
)
def test_quotas(hard: dict[str, str], used: dict[str, str], more: int, lines: list[str]) -> None:
    found = quota_shortfalls(("east", "production"), [quota(hard, used)], [need(more)], Defaults())
    assert [entry.line() for entry in found] == lines


def test_what_gets_smaller_gives_its_room() -> None:
    needs = [need(3), need(-2, name="old")]
    space = ("east", "production")
    assert not list(quota_shortfalls(space, [quota({"pods": "1"})], needs, Defaults()))
    assert list(quota_shortfalls(space, [quota({"pods": "1"})], needs[:1], Defaults()))


@pytest.mark.parametrize(
    ("scope", "spec", "counted"),
    [
        ({"scopes": ["NotTerminating"]}, {}, True),
        ({"scopes": ["Terminating"]}, {}, False),
        ({"scopes": ["Terminating"]}, {"activeDeadlineSeconds": 5}, True),
        ({"scopes": ["BestEffort"]}, {}, False),
        ({"scopes": ["NotBestEffort", "NotTerminating"]}, {}, True),
        ({"scopes": ["NotBestEffort", "Terminating"]}, {}, False),
        ({"scopes": ["BestEffort"]}, {"cpu": "", "memory": ""}, True),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]
                }
            },
            {"priorityClassName": "high"},
            True,
        ),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]
                }
            },
            {},
            False,
        ),
        (
            {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "DoesNotExist"}]}},
            {},
            True,
        ),
    ],
)
def test_scopes(scope: dict[str, Any], spec: dict[str, Any], counted: bool) -> None:
    found = quota_shortfalls(("east", "production"), [quota({"pods": "0"}, **scope)], [need(1, **spec)], Defaults())
    assert bool(list(found)) is counted


def node(name: str, cpu: str = "4", memory: str = "8Gi", pods: str = "10", **more: Any) -> Node:
    conditions = [{"type": "Ready", "status": more.pop("ready", "True")}]
    item = {
        "metadata": {"name": name, "labels": more.pop("labels", {})},
        "spec": more,
        "status": {"conditions": conditions, "allocatable": {"cpu": cpu, "memory": memory, "pods": pods}},
    }
    found = parse_node(item)
    assert found is not None
    return found


def short_on(nodes: list[Node], *needs: Need, used: dict[str, dict[str, str]] | None = None) -> list[str]:
    room = Room(nodes, {name: amounts(asked) for name, asked in (used or {}).items()}, Counter())
    return [entry.line() for entry in node_shortfalls("east", room, [(one, Defaults()) for one in needs])]


def test_pods_fit_as_long_as_there_is_room() -> None:
    nodes = [node("a"), node("b")]
    assert short_on(nodes, need(8)) == []
    assert short_on(nodes, need(9)) == [
        "2 nodes: cpu short of 1 (9 more wanted, 8 free)",
    ]
    assert short_on(nodes, need(8), used={"a": {"cpu": "1", "pods": "1"}}) == [
        "2 nodes: cpu short of 1 (8 more wanted, 7 free)"
    ]


def test_each_resource_that_is_short_is_named() -> None:
    assert short_on([node("a", cpu="2", memory="1Gi", pods="3")], need(4)) == [
        "1 node: cpu short of 2 (4 more wanted, 2 free)",
        "1 node: memory short of 3 GiB (4 GiB more wanted, 1 GiB free)",
        "1 node: pods short of 1 (4 more wanted, 3 free)",
    ]


def test_enough_in_sum_is_not_enough_for_a_large_pod() -> None:
    assert short_on([node("a"), node("b")], need(3, cpu="3")) == [
        "2 nodes: cpu short of 1 (9 more wanted, 8 free)",
    ]
    used = {"a": {"cpu": "2"}, "b": {"cpu": "2"}}
    assert short_on([node("a"), node("b")], need(1, cpu="3"), used=used) == [
        "2 nodes: 1 pods of east/production/web (cpu 3, memory 1 GiB) "
        "fit on no single node, though there is enough in sum"
    ]


def test_the_largest_pods_are_placed_first() -> None:
    assert short_on([node("a"), node("b")], need(4, name="small"), need(1, name="large", cpu="4")) == []


TAINT = {"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}
SOFT = {"taints": [{"key": "gpu", "effect": "PreferNoSchedule"}]}
TERM = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
AFFINITY = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [TERM]}}}


@pytest.mark.parametrize(
    ("place", "spec", "fits"),
    [
        ({}, {}, True),
        (TAINT, {}, False),
        (SOFT, {}, True),
        (TAINT, {"tolerations": [{"key": "gpu", "operator": "Exists"}]}, True),
        (TAINT, {"tolerations": [{"operator": "Exists"}]}, True),
        (TAINT, {"tolerations": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}, True),
        (TAINT, {"tolerations": [{"key": "gpu", "value": "no"}]}, False),
        (TAINT, {"tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoExecute"}]}, False),
        ({"labels": {"disk": "ssd"}}, {"nodeSelector": {"disk": "ssd"}}, True),
        ({}, {"nodeSelector": {"disk": "ssd"}}, False),
        ({"labels": {"zone": "a"}}, {"affinity": AFFINITY}, True),
        ({"labels": {"zone": "b"}}, {"affinity": AFFINITY}, False),
    ],
)
def test_where_pods_may_run(place: dict[str, Any], spec: dict[str, Any], fits: bool) -> None:
    assert (short_on([node("a", **place)], need(1, **spec)) == []) is fits


@pytest.mark.parametrize("more", [{"ready": "Unknown"}, {"unschedulable": True}])
def test_a_node_that_takes_no_pods_is_no_room(more: dict[str, Any]) -> None:
    conditions = [{"type": "Ready", "status": more.get("ready", "True")}]
    assert parse_node({"metadata": {"name": "a"}, "spec": more, "status": {"conditions": conditions}}) is None


def test_pods_that_may_run_on_few_nodes_are_not_crowded_out() -> None:
    nodes = [node("a", cpu="1", labels={"disk": "ssd"}), node("b", cpu="1")]
    assert short_on(nodes, need(1, name="any"), need(1, name="picky", nodeSelector={"disk": "ssd"})) == []


def test_limit_ranges() -> None:
    item = {"spec": {"limits": [{"type": "Pod"}, {"type": "Container", "defaultRequest": {"cpu": "50m"}}]}}
    assert parse_limits(item) == Defaults({"cpu": 50}, {})
    assert parse_limits({"spec": {"limits": [{"type": "Pod"}]}}) is None


def test_a_refusal_names_what_is_short_and_what_could_not_be_asked() -> None:
    refuse([], [])
    with pytest.raises(PreconditionFailed, match=r"no room in cluster east.*cpu short of 1") as refused:
        refuse([Shortfall("east", "2 nodes", "cpu", 3000, 2000)], [])
    assert refused.value.fields["shortfalls"] == [
        {"cluster": "east", "where": "2 nodes", "resource": "cpu", "note": "", "wanted": 3.0, "free": 2.0, "short": 1.0}
    ]
    denied = ApiError("forbidden", "HTTP 403", cluster="east", doing="list the nodes")
    with pytest.raises(PreconditionFailed, match=r"could not be asked.*does not allow to list the nodes"):
        refuse([], [denied])
