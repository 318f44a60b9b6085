# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs at the edge: clusters that are lost, in trouble, or go away in between, and waits that are long."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import (
    BadInput,
    PreconditionFailed,
    StepFailed,
    StepTimeout,
)
from ansible_collections.platform.recovery.plugins.module_utils.journal import Journal
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes import client as client_module
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes import diagnose
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.client import ApiError
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import Fleet, Settings, build
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.follow import Feed, follow
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.kubeconfig import load
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.progress import record, record_lost
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.repoint import repoint
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.rollout import rollout
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.scale import scale
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.selectors import Selector
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.transport import Deadline
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.vantage import observe
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.workloads import Target, Workload
from ansible_collections.platform.recovery.plugins.module_utils.run import Run

from .conftest import FakeApi, Reply, Request, Script, deployment, listing

PAUSED = {"spec": {"paused": True}, "status": {"updatedReplicas": 0}}


def failure(status: int, message: str = "") -> Reply:
    return Reply(status, {"kind": "Status", "message": message})


def named(name: str = "user-service", cluster: str = "fake", **more: Any) -> dict[str, Any]:
    return {"cluster": cluster, "namespace": "production", "name": name, "kind": "Deployment", **more}


def open_fleet(
    fake: FakeApi, *workloads: dict[str, Any], clusters: dict[str, Any] | None = None, **settings: Any
) -> tuple[Fleet, list[Target]]:
    chosen = Settings(timeout_seconds=settings.pop("seconds", 5.0), **settings)
    return build({"fake": {"kubeconfig": fake.kubeconfig()}, **(clusters or {})}, workloads or (named(),), chosen)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "TRANSIENT_ATTEMPTS", 1)


# Clusters that do not answer as they should


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("answer", "words", "vantage"),
    [
        (failure(503, "etcd has no leader"), "it failed inside", "broken: HTTP 503: etcd has no leader"),
        (Reply(429, {}, {"Retry-After": "60"}), "overloaded", "throttled: HTTP 429"),
        (failure(401), "cannot be asked with the kubeconfig's credentials", "unauthorized: HTTP 401"),
        (failure(403, "no"), "does not allow to list", "forbidden: HTTP 403: no"),
    ],
)
def test_a_cluster_in_trouble_refuses_a_change_and_is_news_to_an_observer(
    fake: FakeApi, answer: Reply, words: str, vantage: str
) -> None:
    fake.script = lambda _: answer
    with pytest.raises(PreconditionFailed, match=words) as refused:
        repoint(*open_fleet(fake), "DB_HOST", "db.east")
    assert "recovery_lost_clusters" in str(refused.value)
    seen = observe(*open_fleet(fake), "DB_HOST")
    assert seen["vantages"] == [{"vantage": "kubernetes fake", "observed": vantage, "alive": None}]
    assert list(seen["unreachable_clusters"]) == ["fake"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("exit 1", "the credential program give ended with code 1"),
        ("sleep 5", "the credential program give gave nothing"),
    ],
)
def test_a_credential_program_that_fails_is_its_clusters_trouble(fake: FakeApi, line: str, words: str) -> None:
    program = fake.folder / "give"
    program.write_text(f"#!/bin/sh\necho run >> {fake.folder}/runs\n{line}\n")
    program.chmod(0o755)
    fake.script = lambda _: listing(deployment())
    broken = fake.kubeconfig("broken", exec={"command": "./give"})
    workloads = (named(), named(cluster="broken"), named(cluster="broken", namespace="other"))
    fleet, targets = open_fleet(fake, *workloads, clusters={"broken": {"kubeconfig": broken}}, seconds=0.5)
    assert not (fake.folder / "runs").exists(), "nothing is run before the cluster is asked"
    begin = time.monotonic()
    seen = observe(fleet, targets, "DB_HOST")
    assert time.monotonic() - begin < 5
    assert words in seen["unreachable_clusters"]["broken"]
    assert seen["ready"] == 1
    assert (fake.folder / "runs").read_text().split() == ["run"], "what holds for a cluster is asked once"
    with pytest.raises(PreconditionFailed, match=words):
        repoint(*open_fleet(fake, *workloads, clusters={"broken": {"kubeconfig": broken}}, seconds=0.5), "DB_HOST", "x")


def test_a_lost_cluster_is_not_asked_and_is_named(fake: FakeApi) -> None:
    fake.script = lambda request: (
        Reply(body={"metadata": {"generation": 2}}) if request.method == "PATCH" else listing(deployment())
    )
    lost = {"west": {"kubeconfig": str(fake.folder / "lost with its region")}}
    fleet, targets = open_fleet(fake, named(), named(cluster="west"), clusters=lost, lost_clusters=("west",))
    result = repoint(fleet, targets, "DB_HOST", "db.east")
    assert (result["patched"], result["total"], result["lost_clusters"]) == (1, 1, ["west"])
    assert (
        result["lines"][1] == "cluster west is lost by the operator's word: not asked, its 1 workload left as they are"
    )


def test_with_every_cluster_lost_nothing_is_left_to_do(fake: FakeApi) -> None:
    for verb in VERBS:
        result = verb(*open_fleet(fake, lost_clusters=("fake",)))
        assert result["changed"] is False
        assert result["lines"] == [
            "cluster fake is lost by the operator's word: not asked, its 1 workload left as they are"
        ]
    assert fake.requests == []


def test_a_lost_cluster_that_is_unknown_is_a_mistake(fake: FakeApi) -> None:
    with pytest.raises(BadInput, match=r"lost_clusters names 'fale', which is not described.*use 'fake'"):
        open_fleet(fake, lost_clusters=("fale",))


VERBS: tuple[Callable[[Fleet, list[Target]], dict[str, Any]], ...] = (
    lambda fleet, targets: repoint(fleet, targets, "DB_HOST", "db.east"),
    lambda fleet, targets: rollout(fleet, targets, restart_since="2026-11-23T10:30:00Z"),
    lambda fleet, targets: scale(fleet, targets, 0),
    lambda fleet, targets: scale(fleet, targets, None),
    lambda fleet, targets: observe(fleet, targets, "DB_HOST"),
)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("clusters", [{}, {"fake": {}}])
def test_no_workload_is_nothing_to_do(verb: Callable[..., dict[str, Any]], clusters: dict[str, Any]) -> None:
    result = verb(*build(clusters, [], Settings(timeout_seconds=1)))
    assert (result["changed"], result["total"], result["workloads"]) == (False, 0, {})
    assert result["lines"] == ["no workload depends on it"]


# What goes wrong after a change


def going_away(answer: Reply) -> Script:
    """Patch once, and be gone from then on."""
    patched = threading.Event()

    def script(request: Request) -> Reply:
        if request.method == "PATCH":
            patched.set()
            return Reply(body={"metadata": {"generation": 2}})
        if request.path.endswith("/pods"):
            return listing(OLD_POD)
        return answer if patched.is_set() else listing(deployment())

    return script


OLD_POD = {
    "metadata": {"name": "user-service-1", "labels": {"app": "user-service"}},
    "status": {"startTime": "2026-11-23T10:00:00Z"},
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("verb", [VERBS[1], VERBS[2]])
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (failure(503, "no leader"), "Cluster fake was changed and then lost"),
        (listing(), "It was changed, and then: There is no Deployment production/user-service"),
    ],
)
def test_a_cluster_lost_between_two_looks_is_not_done(
    fake: FakeApi, verb: Callable[..., Any], answer: Reply, words: str
) -> None:
    fake.script = going_away(answer)
    with pytest.raises(StepFailed, match=words) as failed:
        verb(*open_fleet(fake))
    assert failed.value.fields["changed"] is True
    assert failed.value.fields["changed_workloads"] == ["fake/production/user-service"]


def test_a_wait_that_ends_badly_names_what_was_changed(fake: FakeApi) -> None:
    fake.script = going_away(listing(deployment(replicas=0, status={"replicas": 2})))
    with pytest.raises(StepTimeout) as failed:
        scale(*open_fleet(fake, seconds=0.4), 0)
    assert failed.value.fields["changed_workloads"] == ["fake/production/user-service"]


def test_a_deletion_during_the_wait_names_what_was_changed(fake: FakeApi) -> None:
    deleted = Reply(lines=({"type": "DELETED", "object": deployment(replicas=3)},), hang=True)
    normal = going_away(listing(deployment(replicas=3, status={"availableReplicas": 2})))

    def script(request: Request) -> Reply:
        if "watch=1" in request.query:
            return deleted
        return failure(404) if request.path.endswith("/user-service") and request.method == "GET" else normal(request)

    fake.script = script
    with pytest.raises(StepFailed, match="it was deleted meanwhile") as failed:
        scale(*open_fleet(fake), 3)
    assert not isinstance(failed.value, StepTimeout)
    assert failed.value.fields["changed_workloads"] == ["fake/production/user-service"]


# Sizes and rollouts


def test_what_is_held_can_be_scaled(fake: FakeApi) -> None:
    lists = iter([listing(deployment(replicas=0, **PAUSED)), listing(deployment(replicas=2, **PAUSED))])
    fake.script = lambda request: (
        Reply(body={"metadata": {"generation": 2}}) if request.method == "PATCH" else next(lists)
    )
    result = scale(*open_fleet(fake), 2)
    assert (result["scaled"], result["lines"][0].split(" (")[0]) == (1, "1 of 1 workloads at 2 replicas, all ready")


def test_a_forgotten_memory_is_told(fake: FakeApi) -> None:
    annotations = {"platform.recovery/replicas": "2", "platform.recovery/scaled-to": "0"}
    lists = iter([listing(deployment(replicas=6, annotations=annotations)), listing(deployment(replicas=6))])
    fake.script = lambda request: (
        Reply(body={"metadata": {"generation": 1}}) if request.method == "PATCH" else next(lists)
    )
    result = scale(*open_fleet(fake), None)
    assert (result["changed"], result["scaled"]) == (True, 0)
    assert result["lines"][1] == (
        "fake/production/user-service was scaled to 6 by somebody else: it keeps that, "
        "and the remembered size 2 is forgotten"
    )
    assert fake.asked("PATCH")[0].body["spec"] == {"replicas": 6}


def test_a_rollout_that_is_given_up_while_we_wait_fails_at_once(fake: FakeApi) -> None:
    behind = {"availableReplicas": 1, "readyReplicas": 1}
    condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    words = {"lastUpdateTime": "2026-11-23T10:30:00Z", "message": 'ReplicaSet "x" has timed out progressing.'}
    given_up = deployment(status={**behind, "conditions": [{**condition, **words}]})

    def script(request: Request) -> Reply:
        if "watch=1" in request.query:
            return Reply(lines=({"type": "MODIFIED", "object": given_up},), hang=True)
        if request.path.endswith("/user-service"):
            return Reply(body=given_up)
        return listing(deployment(status=behind)) if request.path.endswith("/deployments") else listing()

    fake.script = script
    begin = time.monotonic()
    with pytest.raises(StepFailed, match=r'gave the rollout up: ReplicaSet "x" has timed out progressing') as failed:
        rollout(*open_fleet(fake), restart_since=None)
    assert not isinstance(failed.value, StepTimeout)
    assert time.monotonic() - begin < 2


def test_only_the_first_failed_ones_are_looked_into(fake: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnose, "DIAGNOSED", 1)
    names = ("a", "b")
    behind = {"availableReplicas": 1, "readyReplicas": 1}

    def script(request: Request) -> Reply:
        if "watch=1" in request.query:
            return Reply(lines=(), hang=True)
        if request.path.endswith("/deployments"):
            return listing(*(deployment(name, status=behind) for name in names))
        name = request.path.rpartition("/")[2]
        return Reply(body=deployment(name, status=behind)) if name in names else listing()

    fake.script = script
    with pytest.raises(StepTimeout) as failed:
        rollout(*open_fleet(fake, *map(named, names), seconds=0.3), restart_since=None)
    whys = {key: entry["why"] for key, entry in failed.value.fields["failed_workloads"].items()}
    assert whys == {
        "fake/production/a": ["no pod was made"],
        "fake/production/b": ["not looked into: only the first 1 were"],
    }


def test_a_thousand_workloads_cost_by_what_changes(fake: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"svc-{number}" for number in range(1000)]
    pods = [
        {"metadata": {"name": f"{name}-{number}", "labels": {"app": name, "part-of": "platform"}}}
        for name in names
        for number in range(2)
    ]
    asked = {"matches": 0, "scaled": 0}

    def count(kind: type, name: str) -> None:
        real = getattr(kind, name)

        def counted(*values: Any) -> Any:
            asked[name] += 1
            return real(*values)

        monkeypatch.setattr(kind, name, counted)

    count(Selector, "matches")
    count(Workload, "scaled")
    # Each deletion comes alone, so that each is looked at alone.
    gone = tuple({"type": "DELETED", "object": pod} for pod in pods)

    def script(request: Request) -> Reply:
        if "watch=1" in request.query:
            return Reply(lines=gone if request.path.endswith("/pods") else (), hang=True)
        if request.path.endswith("/pods"):
            return listing(*pods)
        return listing(*(deployment(name, replicas=0) for name in names), version="10")

    fake.script = lambda request: listing() if request.path.endswith("/replicasets") else script(request)
    result = scale(*open_fleet(fake, *map(named, names), seconds=60), 0)
    assert result["total"] == 1000
    assert asked["matches"] <= 2 * len(pods), "each pod is compared when it is listed and when it goes"
    assert asked["scaled"] <= 2 * len(names)


# Requests


def test_all_threads_hold_still_when_one_is_told_to_wait(fake: FakeApi) -> None:
    times: list[float] = []

    def script(_: Request) -> Reply:
        times.append(time.monotonic())
        return Reply(429, {}, {"Retry-After": "0.4"}) if len(times) == 1 else Reply(body={"a": 1})

    fake.script = script
    client = fake.client()

    def ask() -> None:
        client.request("GET", "/x", deadline=Deadline.after(5), doing="read x")

    first = threading.Thread(target=ask)
    first.start()
    limit = Deadline.after(2)
    while not client._not_before and not limit.passed():
        time.sleep(0.005)
    others = [threading.Thread(target=ask) for _ in range(3)]
    for thread in others:
        thread.start()
    for thread in (first, *others):
        thread.join(5)
    assert len(times) == 5
    assert min(times[1:]) - times[0] >= 0.39


@pytest.fixture
def stalled(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[float]]:
    """Let the next so many connections time out; gives the limits that they were tried with."""

    def arrange(times: int) -> list[float]:
        real, limits = socket.create_connection, []

        def connect(address: Any, timeout: float) -> socket.socket:
            limits.append(timeout)
            if len(limits) <= times:
                raise TimeoutError("timed out")
            return real(address, timeout=timeout)

        monkeypatch.setattr(socket, "create_connection", connect)
        return limits

    return arrange


def test_one_stall_is_forgiven(fake: FakeApi, stalled: Callable[[int], list[float]]) -> None:
    fake.script = lambda _: listing(deployment(host="db.east"))
    limits = stalled(1)
    assert repoint(*open_fleet(fake), "DB_HOST", "db.east")["unchanged"] == 1
    assert len(limits) == 2


@pytest.mark.parametrize(("request_seconds", "limit"), [(10.0, 2.0), (30.0, 6.0), (1.0, 1.0)])
def test_a_dead_cluster_is_tried_twice_however_much_is_in_it(
    fake: FakeApi, stalled: Callable[[int], list[float]], request_seconds: float, limit: float
) -> None:
    limits = stalled(1000)
    workloads = [named(), named(namespace="a"), named(namespace="b"), named(kind="StatefulSet")]
    with pytest.raises(PreconditionFailed, match="cluster fake is unreachable"):
        repoint(*open_fleet(fake, *workloads, seconds=60, request_seconds=request_seconds), "DB_HOST", "x")
    assert limits == pytest.approx([limit, limit], abs=0.2)


def test_a_patch_sent_twice_on_a_dying_connection_counts_as_ours(fake: FakeApi) -> None:
    patches: Iterator[Reply] = iter([Reply(drop=True), failure(409)])

    def script(request: Request) -> Reply:
        if request.method == "PATCH":
            return next(patches)
        done = deployment(host="db.east")
        return Reply(body=done) if request.path.endswith("user-service") else listing(deployment())

    fake.script = script
    result = repoint(*open_fleet(fake), "DB_HOST", "db.east")
    assert (result["patched"], len(fake.asked("PATCH"))) == (1, 2)


def test_credentials_are_renewed_once_wherever_the_refusal_comes(fake: FakeApi) -> None:
    (fake.folder / "token").write_text("one")
    answers = iter([failure(503), failure(401), Reply(body={"a": 1}), failure(401), failure(401)])
    fake.script = lambda _: next(answers)
    client = client_module.Client("fake", load(fake.kubeconfig("with-file", tokenFile="token")))
    ask = {"deadline": Deadline.after(5), "doing": "read x"}
    assert client.request("GET", "/x", **ask) == {"a": 1}
    with pytest.raises(ApiError, match="cannot be asked"):
        client.request("GET", "/x", **ask)


# Watches


def feed_of(fake: FakeApi) -> Feed[int]:
    return Feed(
        fake.client(), "/x", "watch x", lambda item: (item["metadata"]["name"], 1), {}, version="10", listed=True
    )


def test_a_stream_that_ends_at_once_is_not_asked_for_in_a_tight_loop(fake: FakeApi) -> None:
    fake.script = lambda _: Reply(lines=())
    assert not follow([feed_of(fake)], lambda: False, deadline=Deadline.after(1.0))
    assert 3 <= len(fake.requests) <= 7


def test_after_three_failures_a_new_list_is_taken_and_the_trouble_is_over(fake: FakeApi) -> None:
    lists: list[int] = []

    def script(request: Request) -> Reply:
        if "watch=1" in request.query:
            return Reply(lines=(), hang=True) if lists else failure(500)
        lists.append(len(fake.requests))
        return listing({"metadata": {"name": "a"}}, version="20")

    fake.script = script
    feed = feed_of(fake)
    assert follow([feed], lambda: "a" in feed.items, deadline=Deadline.after(5.0))
    assert lists == [4]
    assert feed.trouble is None


# The journal


def test_what_is_left_out_and_what_is_planned_is_journalled(tmp_path: Path) -> None:
    Journal.open(tmp_path, "run")
    run = Run.at("run", tmp_path)
    result = {"changed": True, "lines": ["a line"]}
    for check in (True, False):
        record_lost(run, "repoint", ["west"], "no power", check=check)
        record(run, "repoint", "DB_HOST=x", result, check=check)
    told = [(entry["event"], entry["data"]) for entry in run.journal.records()][-3:]
    assert told[0] == ("observation", {"what": "plan: repoint", "lines": ["a line"]})
    assert told[1][0] == "decision"
    assert told[1][1]["verdict"] == "override"
    assert (told[1][1]["gate"], told[1][1]["by"]) == ("repoint without cluster west", "operator: no power")
    assert told[2] == (
        "action",
        {"what": "repoint", "target": "DB_HOST=x", "changed": True, "lines": ["a line"]},
    )
    record(None, "repoint", "DB_HOST=x", result, check=False)
