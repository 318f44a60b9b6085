# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which size a workload gets, and in which order: autoscalers, budgets, memories, waves."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, PreconditionFailed
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes import autoscale, budgets
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.client import ApiError
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import Settings, build
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.scale import (
    Rules,
    scale,
    steps_of,
    with_autoscaler,
)
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.scale_readiness import checks, memory_checks
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.sizes import (
    KEEP,
    AsIn,
    Memory,
    Share,
    Size,
    Snapshot,
    Wanted,
    load_snapshot,
    parse_size,
    wanted_of,
)
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.transport import Deadline
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.waves import levels, waves
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.workloads import (
    REMEMBERED,
    SCALED_TO,
    SIZES,
    Scale,
    Target,
    Workload,
    parse,
    plan_scale,
)

from .conftest import FakeApi, Reply, Request, deployment, listing

TARGET = Target("east", "production", "Deployment", "web")


def read(replicas: int = 2, **annotations: str) -> Workload:
    return parse("Deployment", deployment("web", replicas=replicas, annotations=annotations))


def scaler(minimum: int = 2, maximum: int = 10, kept: tuple[str | None, ...] = (None, None, None), **meta: Any) -> Any:
    names = (autoscale.MINIMUM, autoscale.MAXIMUM, autoscale.RAISED_TO)
    annotations = {name: text for name, text in zip(names, kept, strict=True) if text is not None}
    item = {
        "metadata": {
            "name": "web",
            "namespace": "production",
            "resourceVersion": "5",
            "annotations": annotations,
            **meta,
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": minimum,
            "maxReplicas": maximum,
        },
    }
    return autoscale.parse("east", item)


@pytest.mark.parametrize(
    ("bounds", "kept", "wanted", "expected"),
    [
        # expected: bounds after, and what is remembered (minReplicas, maxReplicas, what we set); None: no patch
        ((2, 10), (None, None, None), 6, ((6, 10), ("2", None, "6"))),
        ((2, 10), (None, None, None), 2, None),
        ((2, 10), (None, None, None), 1, None),
        ((2, 10), (None, None, None), 12, ((12, 12), ("2", "10", "12"))),
        ((2, 10), (None, None, None), None, None),
        # A second run changes nothing, and another size starts from what its owner wrote.
        ((6, 10), ("2", None, "6"), 6, None),
        ((6, 10), ("2", None, "6"), 4, ((4, 10), ("2", None, "4"))),
        ((12, 12), ("2", "10", "12"), 12, None),
        ((12, 12), ("2", "10", "12"), 6, ((6, 10), ("2", None, "6"))),
        ((6, 10), ("2", None, "6"), 1, ((2, 10), (None, None, None))),
        # The return.
        ((6, 10), ("2", None, "6"), None, ((2, 10), (None, None, None))),
        ((12, 12), ("2", "10", "12"), None, ((2, 10), (None, None, None))),
        # Somebody else has changed it since: theirs holds, and what was remembered is forgotten.
        ((3, 10), ("2", None, "6"), None, ((3, 10), (None, None, None))),
        ((6, 20), ("2", "5", "6"), None, ((2, 20), (None, None, None))),
        ((3, 10), ("2", None, "6"), 5, ((5, 10), ("3", None, "5"))),
    ],
)
def test_bounds(
    bounds: tuple[int, int], kept: tuple[str | None, ...], wanted: int | None, expected: tuple[Any, ...] | None
) -> None:
    plan = autoscale.plan_bounds(scaler(*bounds, kept), wanted)
    if expected is None:
        assert (plan.patch, plan.after) == (None, bounds)
        return
    after, remembered = expected
    names = (autoscale.MINIMUM, autoscale.MAXIMUM, autoscale.RAISED_TO)
    assert plan.after == after
    assert plan.patch == {
        "metadata": {"resourceVersion": "5", "annotations": dict(zip(names, remembered, strict=True))},
        "spec": {"minReplicas": after[0], "maxReplicas": after[1]},
    }


def test_bounds_that_a_controller_writes_are_left_alone() -> None:
    owner = {"kind": "ScaledObject", "name": "web", "controller": True}
    kept = scaler(2, 5, ownerReferences=[owner])
    assert kept.keeper == "ScaledObject web"
    assert autoscale.plan_bounds(kept, 6).patch is None
    assert with_autoscaler(kept, read(2), Wanted(6)) == Wanted(5, at_least=True)
    assert with_autoscaler(kept, read(7), Wanted(6)) == Wanted(6, at_least=True)


def test_an_autoscaler_of_something_else_is_not_read() -> None:
    item = {
        "metadata": {"name": "x", "namespace": "p", "resourceVersion": "1"},
        "spec": {"scaleTargetRef": {"apiVersion": "x/v1", "kind": "Rollout", "name": "x"}, "maxReplicas": 3},
    }
    assert autoscale.parse("east", item) is None


def test_a_bound_that_is_no_number_is_not_guessed_at() -> None:
    with pytest.raises(PreconditionFailed, match="remembers no usable bound"):
        autoscale.plan_bounds(scaler(6, 10, ("two", None, "6")), None)


@pytest.mark.parametrize(
    ("replicas", "wanted", "after"),
    [
        # (minReplicas is 3)
        (2, 6, 6),
        (2, 1, 3),
        (8, 6, 8),
        (0, 6, 6),
        (0, 1, 3),
    ],
)
def test_a_governed_workload_is_hastened_and_never_shrunk(replicas: int, wanted: int, after: int) -> None:
    decided = with_autoscaler(scaler(3), read(replicas), Wanted(wanted))
    assert plan_scale(TARGET, read(replicas), decided.size, at_least=decided.at_least).after == after


@pytest.mark.parametrize(
    ("replicas", "after"),
    # Stopped, it comes back; running, its size is the autoscaler's.
    [(0, 4), (7, 7), (6, 6)],
)
def test_the_return_of_a_governed_workload(replicas: int, after: int) -> None:
    workload = read(replicas, **{REMEMBERED: "4", SCALED_TO: "6" if replicas else "0"})
    decided = with_autoscaler(scaler(), workload, Wanted(None))
    plan = plan_scale(TARGET, workload, decided.size, at_least=decided.at_least)
    assert (plan.after, plan.forgotten) == (after, None)
    assert plan.patch is not None
    assert plan.patch["metadata"]["annotations"] == {REMEMBERED: None, SCALED_TO: None}


def budget(minimum: Any, selector: dict[str, Any] | None, expected: int = 0, **spec: Any) -> budgets.Budget | None:
    item = {
        "metadata": {"name": "pdb", "namespace": "production"},
        "spec": {"minAvailable": minimum, "selector": selector, **spec},
        "status": {"expectedPods": expected},
    }
    return budgets.parse("east", item)


ALL: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("minimum", "selector", "sizes", "wanted", "expected", "floors"),
    [
        (3, ALL, (5,), (1,), 5, {0: 3}),
        (3, ALL, (5,), (4,), 5, {}),
        # A stop on purpose has no floor.
        (3, ALL, (5,), (0,), 5, {}),
        # More than there are now cannot be kept.
        (9, ALL, (5,), (1,), 5, {0: 5}),
        # What others have counts.
        (3, ALL, (5,), (1,), 7, {}),
        (3, ALL, (5, 4), (1, 1), 9, {0: 2}),
        (8, ALL, (5, 4), (1, 1), 9, {0: 5, 1: 3}),
        (3, {"matchLabels": {"app": "other"}}, (5,), (1,), 0, {}),
        (3, {"matchLabels": {"app": "svc-0"}}, (5, 5), (1, 1), 5, {0: 3}),
        # What grows makes up for what shrinks.
        (6, ALL, (5, 1), (1, 5), 6, {}),
    ],
)
def test_budgets(
    minimum: int,
    selector: dict[str, Any],
    sizes: tuple[int, ...],
    wanted: tuple[int, ...],
    expected: int,
    floors: dict[int, int],
) -> None:
    found = budget(minimum, selector, expected)
    assert found is not None
    targets = [Target("east", "production", "Deployment", f"svc-{number}") for number in range(len(sizes))]
    workloads = {target: labelled(target.name, size) for target, size in zip(targets, sizes, strict=True)}
    kept = budgets.floors([found], workloads, dict(zip(targets, wanted, strict=True)))
    assert {targets.index(target): floor.size for target, floor in kept.items()} == floors


def labelled(name: str, replicas: int) -> Workload:
    item = deployment(name, replicas=replicas)
    item["spec"]["template"]["metadata"] = {"labels": {"app": name}}
    return parse("Deployment", item)


@pytest.mark.parametrize(
    ("minimum", "selector", "more"),
    [("50%", ALL, {}), (None, ALL, {"maxUnavailable": 1}), (2, None, {})],
)
def test_what_follows_the_size_is_no_floor(minimum: Any, selector: Any, more: dict[str, Any]) -> None:
    assert budget(minimum, selector, **more) is None


@pytest.mark.parametrize(
    ("text", "region", "size"),
    [
        ("0", None, 0),
        ("12", None, 12),
        ("remembered", None, None),
        ("lost_region", "west", AsIn("west")),
        ("50%", None, Share(50)),
        ("150%", "west", Share(150, "west")),
    ],
)
def test_sizes_are_read(text: str, region: str | None, size: Size) -> None:
    assert parse_size(text, region) == size


@pytest.mark.parametrize("text", ["", "-1", "x", "5 %", "%", "1.5", "lost_region", "²", "1000000"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="replicas: "):
        parse_size(text, None)


WEST = '{"west":{"size":4,"maximum":7},"north":{"size":1,"maximum":9}}'


@pytest.mark.parametrize(
    ("size", "sizes", "wanted"),
    [
        (5, WEST, Wanted(5)),
        (None, WEST, Wanted(None)),
        (AsIn("west"), WEST, Wanted(4, at_least=True)),
        (AsIn("south"), WEST, KEEP),
        (AsIn("west"), None, KEEP),
        (Share(50, "west"), WEST, Wanted(4)),
        (Share(100), WEST, Wanted(9)),
        (Share(1, "west"), WEST, Wanted(1)),
        (Share(50), None, KEEP),
    ],
)
def test_what_is_wanted_of_one(size: Size, sizes: str | None, wanted: Wanted) -> None:
    workload = read(**({SIZES: sizes} if sizes else {}))
    assert wanted_of(size, TARGET, workload, Snapshot()) == wanted


def test_a_snapshot_stands_in_for_what_is_not_written_on_the_workload(tmp_path: Path) -> None:
    content = {"west": {"size": 3, "maximum": 3}, "south": {"size": 8, "maximum": 8}}
    data = {"schema": 1, "taken_at": "2026-11-29T12:00:00Z", "workloads": {"production/Deployment/web": content}}
    path = tmp_path / "sizes.json"
    path.write_text(json.dumps(data))
    snapshot = load_snapshot(str(path))
    assert snapshot.of(TARGET)["west"] == Memory(3, 3)
    assert wanted_of(AsIn("west"), TARGET, read(), snapshot) == Wanted(3, at_least=True)
    assert wanted_of(AsIn("west"), TARGET, read(**{SIZES: WEST}), snapshot) == Wanted(4, at_least=True)
    assert wanted_of(AsIn("south"), TARGET, read(**{SIZES: WEST}), snapshot) == Wanted(8, at_least=True)
    path.write_text("{}")
    with pytest.raises(BadInput, match="cannot be read"):
        load_snapshot(str(path))
    with pytest.raises(BadInput, match="FileNotFoundError"):
        load_snapshot(str(tmp_path / "nothing"))


def test_a_memory_that_is_no_memory_is_not_guessed_at() -> None:
    for text in ("four", "[]", '{"west": 4}', '{"west": {"size": 4}}'):
        with pytest.raises(PreconditionFailed, match="remembers no usable sizes"):
            wanted_of(AsIn("west"), TARGET, read(**{SIZES: text}), Snapshot())


def test_keeping_is_no_change() -> None:
    for replicas in (0, 3):
        plan = plan_scale(TARGET, read(replicas), KEEP.size, at_least=KEEP.at_least)
        assert (plan.after, plan.patch) == (replicas, None)


SERVICES = {
    "db-proxy": {"depends_on": []},
    "user": {"depends_on": ["db-proxy"]},
    "ai": {"depends_on": ["user", "db-proxy"]},
    "plugin": {"depends_on": ["db-proxy"]},
    "edge": {"depends_on": ["ai", "plugin"]},
}


def test_a_service_comes_after_all_that_it_depends_on() -> None:
    order = levels(SERVICES)
    assert order == {"db-proxy": 0, "user": 1, "plugin": 1, "ai": 2, "edge": 3}
    targets = [Target("east", "p", "Deployment", name) for name in ("edge", "ai", "user", "other", "db-proxy")]
    assert [[t.name for t in wave] for wave in waves(targets, order)] == [
        ["other", "db-proxy"],
        ["user"],
        ["ai"],
        ["edge"],
    ]
    assert levels({}) == {}
    assert levels({"a": None}) == {"a": 0}


def test_a_circle_and_an_unknown_service_are_named() -> None:
    with pytest.raises(BadInput, match="in a circle: b -> c -> b"):
        levels({"a": {"depends_on": ["b"]}, "b": {"depends_on": ["c"]}, "c": {"depends_on": ["b"]}})
    with pytest.raises(BadInput, match=r"depends on 'usr', which is not described.*use 'user'"):
        levels({**SERVICES, "x": {"depends_on": ["usr"]}})


def test_what_stops_stops_in_the_other_order_and_first() -> None:
    order = levels(SERVICES)

    def plans(**sizes: tuple[int, int]) -> dict[Target, Scale]:
        named = {name.replace("_", "-"): size for name, size in sizes.items()}
        return {
            Target("east", "p", "Deployment", n): Scale(before, after, None, None)
            for n, (before, after) in named.items()
        }

    down = steps_of(plans(db_proxy=(2, 0), user=(2, 0), ai=(0, 0)), order)
    assert [[t.name for t in step] for step in down] == [["ai"], ["user"], ["db-proxy"]]
    up = steps_of(plans(user=(0, 2), db_proxy=(2, 2)), order)
    assert [[t.name for t in step] for step in up] == [["db-proxy"], ["user"]]
    both = steps_of(plans(user=(1, 4), ai=(4, 1), db_proxy=(1, 4), edge=(2, 1)), order)
    assert [[t.name for t in step] for step in both] == [["edge"], ["ai"], ["db-proxy"], ["user"]]
    assert steps_of(plans(user=(1, 4), ai=(1, 4)), {}) == [list(plans(user=(1, 4), ai=(1, 4)))]
    assert steps_of({}, order) == []


# At the edge


def test_a_server_that_asks_to_wait_is_obeyed_and_all_is_done(fake: FakeApi) -> None:
    names = [f"svc-{number}" for number in range(40)]
    begin: list[float] = []
    held = 0.6
    patched: set[str] = set()

    def script(request: Request) -> Reply:
        nonlocal early
        name = request.path.rpartition("/")[2]
        if request.method == "PATCH":
            begin.append(time.monotonic())
            if begin[-1] - begin[0] < held:
                early += 1
                return Reply(429, {}, {"Retry-After": "1"})
            patched.add(name)
            return Reply(body={"metadata": {"generation": 2}})
        return listing(*(deployment(name, replicas=4 if name in patched else 2) for name in names))

    early = 0
    fake.script = script
    workloads = [{"cluster": "fake", "namespace": "production", "name": n, "kind": "Deployment"} for n in names]
    fleet, targets = build({"fake": {"kubeconfig": fake.kubeconfig()}}, workloads, Settings(timeout_seconds=20))
    result = scale(fleet, targets, 4)
    assert result["scaled"] == 40
    assert early <= 16, "whoever is told to wait speaks for all connections to that server"
    assert len(fake.asked("PATCH")) == 40 + early


@pytest.mark.parametrize(
    ("size", "sizes", "words"),
    [
        (AsIn("wset"), WEST, "remembers a size in wset.*one of north, west.*use 'west'"),
        (Share(50, "south"), WEST, "remembers a size in south.*one of north, west"),
        (AsIn("west"), None, "sizes that were remembered beforehand"),
        (Share(50), None, "remembers a size.*Wanted: sizes that were remembered beforehand"),
    ],
)
def test_where_nothing_is_known_of_any_nothing_is_taken_for_done(
    fake: FakeApi, size: Size, sizes: str | None, words: str
) -> None:
    item = deployment("web", annotations={SIZES: sizes} if sizes else {})
    fake.script = lambda request: listing(*([item] if request.path.endswith("/deployments") else []))
    spaces = [{"cluster": "fake", "namespace": "production"}]
    fleet, targets = build({"fake": {"kubeconfig": fake.kubeconfig()}}, [], Settings(timeout_seconds=5), spaces)
    with pytest.raises(BadInput, match=words):
        scale(fleet, targets, size)
    # A recovery that must not stop there keeps the sizes, and says so.
    kept = scale(fleet, targets, size, None, Rules(keep_unknown=True))
    assert (kept["scaled"], kept["changed"]) == (0, False)
    assert any("1 remember no size" in line for line in kept["lines"])


def test_what_was_stopped_comes_back_and_what_runs_keeps_its_size(fake: FakeApi) -> None:
    """A region's sizes were taken over, which is remembered too: to start what is stopped must not take them back."""
    runs = deployment("grown", replicas=3, annotations={REMEMBERED: "2", SCALED_TO: "3"})
    stopped = deployment("stopped", replicas=0, annotations={REMEMBERED: "2", SCALED_TO: "0"})
    fake.script = lambda request: listing(*([runs, stopped] if request.path.endswith("/deployments") else []))
    spaces = [{"cluster": "fake", "namespace": "production"}]
    fleet, targets = build(
        {"fake": {"kubeconfig": fake.kubeconfig()}}, [], Settings(timeout_seconds=5, check=True), spaces
    )
    result = scale(fleet, targets, None, None, Rules(stopped_only=True))
    sizes = {key.rpartition("/")[2]: (one["before"], one["after"]) for key, one in result["workloads"].items()}
    assert sizes == {"grown": (3, 3), "stopped": (0, 2)}


def test_a_thousand_cost_a_patch_each_and_a_few_lists(fake: FakeApi) -> None:
    names = [f"svc-{number}" for number in range(1000)]
    patched: set[str] = set()
    node = {
        "metadata": {"name": "a"},
        "spec": {},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"pods": "5000"}},
    }

    def script(request: Request) -> Reply:
        name = request.path.rpartition("/")[2]
        if request.method == "PATCH":
            patched.add(name)
            return Reply(body={"metadata": {"generation": 2}})
        if "watch=1" in request.query:
            return Reply(lines=(), hang=True)
        if name == "deployments":
            return listing(*(deployment(one, replicas=3 if one in patched else 1) for one in names))
        return listing(*([node] if name == "nodes" else []))

    fake.script = script
    spaces = [{"cluster": "fake", "namespace": "production"}]
    fleet, targets = build({"fake": {"kubeconfig": fake.kubeconfig()}}, [], Settings(timeout_seconds=60), spaces)
    told: list[str] = []
    result = scale(fleet, targets, 3, told.append, Rules(capacity="require", autoscalers=True, budgets=True))
    assert (result["total"], result["scaled"]) == (1000, 1000)
    assert len(fake.asked("PATCH")) == 1000
    assert len(fake.asked("GET")) <= 10, "one of each kind, and the workloads once more"
    assert fake.connections <= Settings.concurrency
    assert {"scale: 1000 of 1000 patched", "1000 of 1000 workloads ready"} <= set(told)


def test_a_watch_that_is_told_to_wait_holds_the_others_too(fake: FakeApi) -> None:
    fake.script = lambda _: Reply(429, {}, {"Retry-After": "0.5"})
    client = fake.client()
    with pytest.raises(ApiError, match="asks to wait"):
        list(client.watch("/x", "1", deadline=Deadline.after(5), doing="watch x"))
    fake.script = lambda _: Reply(body={})
    begin = time.monotonic()
    client.request("GET", "/x", deadline=Deadline.after(5), doing="read x")
    assert time.monotonic() - begin > 0.4


@pytest.mark.parametrize(
    ("sizes", "cpu", "keeper", "denied", "verdicts"),
    [
        ('{"west":{"size":3,"maximum":3}}', "8", False, "", {"rights": "ready", "sizes": "ready", "room": "ready"}),
        (None, "8", False, "", {"rights": "ready", "sizes": "not_ready", "room": "ready"}),
        (
            '{"west":{"size":3,"maximum":3}}',
            "0",
            False,
            "nodes",
            {"rights": "not_ready", "sizes": "ready", "room 1 node cpu": "not_ready"},
        ),
        (
            '{"west":{"size":9,"maximum":9}}',
            "8",
            True,
            "",
            {
                "rights": "ready",
                "sizes": "ready",
                "room": "ready",
                "autoscaler production/horizontalpodautoscaler/web": "not_ready",
            },
        ),
    ],
)
def test_readiness(
    fake: FakeApi, sizes: str | None, cpu: str, keeper: bool, denied: str, verdicts: dict[str, str]
) -> None:
    item = deployment("web", replicas=2, annotations={SIZES: sizes} if sizes else {})
    item["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    owners = [{"kind": "ScaledObject", "name": "web", "controller": True}] if keeper else []
    governing = {
        "metadata": {"name": "web", "namespace": "production", "resourceVersion": "1", "ownerReferences": owners},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 4},
    }
    room = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"cpu": cpu, "pods": "10"}}
    node = {"metadata": {"name": "a"}, "spec": {}, "status": room}

    def script(request: Request) -> Reply:
        if request.path.endswith("selfsubjectaccessreviews"):
            attributes = request.body["spec"]["resourceAttributes"]
            return Reply(body={"status": {"allowed": attributes["resource"] != denied}})
        kind = request.path.rpartition("/")[2]
        found = {"deployments": [item], "horizontalpodautoscalers": [governing], "nodes": [node]}
        return listing(*found.get(kind, []))

    fake.script = script
    spaces = [{"cluster": "fake", "namespace": "production"}]
    settings = Settings(timeout_seconds=5, check=True)
    fleet, targets = build({"fake": {"kubeconfig": fake.kubeconfig()}}, [], settings, spaces)
    rules = Rules(autoscalers=True, budgets=True)
    found = checks("platform", fleet, targets, AsIn("west"), rules)
    assert {check.check: check.verdict for check in found} == verdicts
    assert {check.subject for check in found} == {"platform cluster fake"}
    assert all(check.mend for check in found if check.verdict != "ready")
    assert not fake.asked("PATCH")


def test_readiness_of_a_cluster_that_does_not_answer_says_nothing_of_the_others(fake: FakeApi) -> None:
    fake.script = lambda request: (
        Reply(body={"status": {"allowed": True}}) if request.method == "POST" else listing(deployment("web"))
    )
    dead = fake.folder / "dead"
    dead.write_text(Path(fake.kubeconfig()).read_text().replace(f":{fake.port}", ":1"))
    clusters = {"fake": {"kubeconfig": fake.kubeconfig()}, "dead": {"kubeconfig": str(dead)}}
    spaces = [{"cluster": name, "namespace": "production"} for name in clusters]
    fleet, targets = build(clusters, [], Settings(timeout_seconds=5, check=True), spaces)
    found = checks("platform", fleet, targets, 2, Rules())
    subjects = {check.subject: check.verdict for check in found if check.check == "sizes"}
    assert subjects == {"platform cluster fake": "ready", "platform cluster dead": "not_ready"}


@pytest.mark.parametrize(
    ("live", "remembered", "verdict"),
    [(2, None, "ready"), (4, None, "not_ready"), (4, 4, "ready"), (5, 4, "not_ready"), (None, 4, "unknown")],
)
def test_what_is_remembered_has_to_be_as_large_as_what_runs(
    fake: FakeApi, live: int | None, remembered: int | None, verdict: str
) -> None:
    memory = {SIZES: json.dumps({"west": {"size": remembered, "maximum": remembered}})} if remembered else {}
    fake.script = lambda _: listing(deployment("web", replicas=2, annotations=memory))
    named = [{"cluster": "fake", "namespace": "production", "kind": "Deployment", "name": "web"}]
    fleet, targets = build({"fake": {"kubeconfig": fake.kubeconfig()}}, named, Settings(timeout_seconds=5, check=True))
    now = {"production/Deployment/web": {"west": Memory(live, live)}} if live else {}
    [found] = memory_checks("platform", fleet, targets, "west", now, Snapshot())
    assert (found.check, found.verdict) == ("memory of sizes", verdict)


def test_what_was_seen_a_moment_ago_is_newer_than_what_a_workload_remembers() -> None:
    target = Target("east", "production", "Deployment", "web")
    workload = parse("Deployment", deployment("web", annotations={SIZES: '{"west": {"size": 4, "maximum": 4}}'}))
    for newest, size in ((True, 6), (False, 4)):
        seen = Snapshot(workloads={"production/Deployment/web": {"west": Memory(6, 6)}}, newest=newest)
        assert wanted_of(AsIn("west"), target, workload, seen).size == size
