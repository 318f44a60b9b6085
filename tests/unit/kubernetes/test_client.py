# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client and the verbs at the edge: what a server can answer, and when it does not."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import (
    PreconditionFailed,
    StepFailed,
    StepTimeout,
)
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes import fleet
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.client import ApiError, brief
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import Fleet, Settings, build
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.repoint import repoint
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.rollout import rollout
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.transport import Deadline
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.workloads import Target
from ansible_collections.platform.recovery.plugins.module_utils.lease import LeaseLost

from .conftest import FakeApi, Reply, Request, deployment, listing


def get(fake: FakeApi, seconds: float = 5.0, **more: Any) -> Any:
    return fake.client(**more).request("GET", "/x", deadline=Deadline.after(seconds), doing="read x")


def replies(fake: FakeApi, *answers: Reply) -> None:
    """Answer in this order; the last one for ever."""
    queue: Iterator[Reply] = itertools.chain(answers, itertools.repeat(answers[-1]))
    fake.script = lambda _: next(queue)


def lost() -> None:
    raise LeaseLost("not ours any more", gate="lease")


def open_fleet(
    fake: FakeApi, *names: str, seconds: float = 5.0, guard: Callable[[], None] = lambda: None
) -> tuple[Fleet, list[Target]]:
    workloads = [{"cluster": "fake", "namespace": "production", "name": name, "kind": "Deployment"} for name in names]
    return build({"fake": {"kubeconfig": fake.kubeconfig()}}, workloads, Settings(timeout_seconds=seconds, guard=guard))


def failure(status: int, message: str = "") -> Reply:
    return Reply(status, {"kind": "Status", "message": message})


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (401, "unauthorized", "cannot be asked with the kubeconfig's credentials"),
        (403, "forbidden", "does not allow to read x"),
        (404, "not_found", "could not read x: not found"),
        (409, "conflict", "somebody else changed it"),
        (422, "invalid", "refused to read x"),
    ],
)
def test_answers_become_short_texts(fake: FakeApi, status: int, reason: str, words: str) -> None:
    replies(fake, failure(status, "because password=hunter2 was said"))
    with pytest.raises(ApiError) as raised:
        get(fake)
    assert raised.value.reason == reason
    assert words in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert "t0ken" not in str(raised.value)
    assert len(fake.requests) == 1


def test_a_connection_is_kept(fake: FakeApi) -> None:
    replies(fake, Reply(body={"a": 1}))
    client = fake.client()
    for _ in range(5):
        client.request("GET", "/x", deadline=Deadline.after(5), doing="read x")
    assert fake.connections == 1


def test_a_kept_connection_that_was_closed_is_replaced(fake: FakeApi) -> None:
    replies(fake, Reply(body={"a": 1}), Reply(drop=True), Reply(body={"a": 2}))
    client = fake.client()
    answers = [client.request("GET", "/x", deadline=Deadline.after(5), doing="read x") for _ in range(2)]
    assert answers == [{"a": 1}, {"a": 2}]


def test_throttling_is_waited_out_as_told(fake: FakeApi) -> None:
    replies(fake, Reply(429, {}, {"Retry-After": "0.3"}), Reply(body={"a": 1}))
    begin = time.monotonic()
    assert get(fake) == {"a": 1}
    assert time.monotonic() - begin >= 0.3


def test_throttling_beyond_the_deadline_is_an_error_at_once(fake: FakeApi) -> None:
    replies(fake, Reply(429, {}, {"Retry-After": "60"}))
    begin = time.monotonic()
    with pytest.raises(ApiError, match="overloaded"):
        get(fake, seconds=2)
    assert time.monotonic() - begin < 1.9


def test_a_server_error_is_tried_again_a_few_times(fake: FakeApi) -> None:
    pauses: list[float] = []
    replies(fake, failure(500), failure(503), Reply(body={"a": 1}))
    assert get(fake, sleep=pauses.append) == {"a": 1}
    assert len(pauses) == 2
    replies(fake, failure(500, "etcd has no leader"))
    with pytest.raises(ApiError, match="etcd has no leader"):
        get(fake, sleep=pauses.append)


@pytest.mark.parametrize("reply", [Reply(hang=True, body={"half": 1}), Reply(hang=True, lines=())])
def test_a_server_that_stops_in_the_middle_costs_its_deadline(fake: FakeApi, reply: Reply) -> None:
    replies(fake, reply)
    begin = time.monotonic()
    with pytest.raises(ApiError, match="gave no answer in time"):
        get(fake, request_seconds=0.3)
    assert time.monotonic() - begin < 4


def test_nobody_listening_is_known_at_once(fake: FakeApi) -> None:
    path = fake.kubeconfig()
    fake.port = 1
    workloads = [{"cluster": "fake", "namespace": "production", "name": "a", "kind": "Deployment"}]
    clusters = {"fake": {"kubeconfig": fake.kubeconfig("other")}, "unused": {"kubeconfig": path}}
    with pytest.raises(PreconditionFailed, match="cluster fake is unreachable"):
        repoint(*build(clusters, workloads, Settings(timeout_seconds=5)), "DB_HOST", "x")


def test_lists_are_paged_and_begun_again_if_the_snapshot_is_gone(fake: FakeApi) -> None:
    pages = iter([listing(1, 2, token="next"), failure(410), listing(1, 2, token="next"), listing(3)])
    fake.script = lambda _: next(pages)
    items, version = fake.client().list("/x", lambda item: str(item), deadline=Deadline.after(5), doing="list")
    assert (items, version) == (["1", "2", "3"], "10")
    assert "continue=next" in fake.requests[-1].query


def conflicting(fake: FakeApi, conflicts: int, **changed: Any) -> None:
    """Let the first patches conflict with a change that `changed` describes."""
    left = [conflicts]

    def script(request: Request) -> Reply:
        if request.method == "PATCH":
            left[0] -= 1
            return failure(409) if left[0] >= 0 else Reply(body={"metadata": {"generation": 2}})
        if request.path.endswith("user-service"):
            return Reply(body=deployment(version=str(100 - left[0]), **changed))
        return listing(deployment())

    fake.script = script


def test_a_conflict_is_planned_again_on_what_is_there_now(fake: FakeApi) -> None:
    env = [{"name": "DB_HOST", "value": "db.other"}, {"name": "NEW", "value": "1"}]
    conflicting(fake, 2, env=env)
    result = repoint(*open_fleet(fake, "user-service"), "DB_HOST", "db.east")
    assert result["patched"] == 1
    assert result["workloads"]["fake/production/user-service"]["before"] == "db.other"
    first, *_, final = fake.asked("PATCH")
    assert first.body[0]["value"] == "7"
    assert first.body[1]["path"] == "/spec/template/spec/containers/0/env/1/value"
    assert final.body[1] == {"op": "add", "path": "/spec/template/spec/containers/0/env/0/value", "value": "db.east"}


def test_somebody_who_did_the_same_saves_us_the_patch(fake: FakeApi) -> None:
    conflicting(fake, 1, host="db.east")
    assert repoint(*open_fleet(fake, "user-service"), "DB_HOST", "db.east")["patched"] == 0


def test_a_conflict_with_whoever_took_the_lease_over_changes_nothing_more(fake: FakeApi) -> None:
    conflicting(fake, 1)
    answers = iter([lambda: None, lost])
    with pytest.raises(LeaseLost) as caught:
        repoint(*open_fleet(fake, "user-service", guard=lambda: next(answers)()), "DB_HOST", "db.east")
    assert len(fake.asked("PATCH")) == 1
    assert caught.value.fields["changed"] is True


def test_a_run_that_was_frozen_between_two_patches_asks_again(fake: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("user-service", "ai-service", "plugin-service")
    asked: list[int] = []
    moments = iter([0.0, 0.1, 60.0, 60.1])
    monkeypatch.setattr(fleet, "elapsed", lambda: next(moments))
    fake.script = lambda request: (
        Reply(body={"metadata": {"generation": 2}})
        if request.method == "PATCH"
        else listing(*(deployment(name=name) for name in names))
    )
    repoint(*open_fleet(fake, *names, guard=lambda: asked.append(len(fake.asked("PATCH")))), "DB_HOST", "db.east")
    assert asked == [0, 1]


def test_somebody_who_keeps_changing_it_is_a_refusal(fake: FakeApi) -> None:
    conflicting(fake, 1000)
    with pytest.raises(PreconditionFailed, match="somebody else changed them 8 times") as refused:
        repoint(*open_fleet(fake, "user-service"), "DB_HOST", "db.east")
    assert refused.value.fields["changed"] is False
    assert len(fake.asked("PATCH")) == 8


def test_a_patch_whose_answer_was_lost_counts_as_ours(fake: FakeApi) -> None:
    patches = iter([failure(504), failure(409)])

    def script(request: Request) -> Reply:
        if request.method == "PATCH":
            return next(patches)
        return (
            Reply(body=deployment(host="db.east")) if request.path.endswith("user-service") else listing(deployment())
        )

    fake.script = script
    result = repoint(*open_fleet(fake, "user-service"), "DB_HOST", "db.east")
    assert result["patched"] == 1
    assert result["workloads"]["fake/production/user-service"]["before"] == "db.west"


def test_a_partial_failure_names_what_failed_and_what_is_done(fake: FakeApi) -> None:
    def script(request: Request) -> Reply:
        if request.method == "PATCH":
            bad = request.path.endswith("/b")
            return failure(422, "denied by a webhook") if bad else Reply(body={"metadata": {"generation": 2}})
        return listing(deployment("a"), deployment("b"))

    fake.script = script
    with pytest.raises(StepFailed) as failed:
        repoint(*open_fleet(fake, "a", "b"), "DB_HOST", "db.east")
    assert "Could not repoint 1 of 2 workloads" in str(failed.value)
    assert "denied by a webhook" in str(failed.value)
    assert failed.value.fields["changed"] is True
    assert failed.value.fields["changed_workloads"] == ["fake/production/a"]


def event(kind: str, item: Any) -> dict[str, Any]:
    return {"type": kind, "object": item}


def watched(fake: FakeApi, *streams: Reply, lists: tuple[Reply, ...] = ()) -> None:
    """List unready first, then as `lists` say; watch as `streams` say."""
    unready = {"readyReplicas": 1, "availableReplicas": 1}
    listed: Iterator[Reply] = iter([listing(deployment(status=unready)), *lists])
    stream = iter(streams)

    def script(request: Request) -> Reply:
        if "watch=1" in request.query:
            return next(stream, Reply(lines=(), hang=True))
        if request.path.endswith("/deployments"):
            return next(listed)
        if request.path.endswith("/pods"):
            return listing(POD)
        if request.path.endswith("/events"):
            return listing(EVENT)
        if request.path.endswith("/log"):
            return Reply(lines=("cannot connect", "password=hunter2 refused"))
        return Reply(body=deployment(status=unready))

    fake.script = script


POD = {
    "metadata": {"name": "user-service-1", "creationTimestamp": "2026-11-23T10:00:00Z"},
    "status": {
        "phase": "Running",
        "containerStatuses": [
            {
                "name": "app",
                "ready": False,
                "restartCount": 4,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 2}},
            }
        ],
    },
}
EVENT = {
    "metadata": {"creationTimestamp": "2026-11-23T10:00:01Z"},
    "reason": "BackOff",
    "message": "Back-off restarting failed container",
}


def test_a_watch_ends_the_wait(fake: FakeApi) -> None:
    bookmark = event("BOOKMARK", {"metadata": {"resourceVersion": "20"}})
    watched(fake, Reply(lines=(bookmark,)), Reply(lines=(event("MODIFIED", deployment(version="21")),), hang=True))
    assert rollout(*open_fleet(fake, "user-service"), restart_since=None)["ready"] == 1
    versions = [request.query.split("resourceVersion=")[1].split("&")[0] for request in fake.requests[1:]]
    assert versions == ["10", "20"], "the second watch begins where the bookmark was"


@pytest.mark.parametrize(
    "gone", [Reply(lines=(event("ERROR", {"code": 410, "message": "too old"}),)), failure(410, "too old")]
)
def test_a_forgotten_version_means_a_new_list(fake: FakeApi, gone: Reply) -> None:
    watched(fake, gone, lists=(listing(deployment(version="30"), version="31"),))
    assert rollout(*open_fleet(fake, "user-service"), restart_since=None)["ready"] == 1
    assert len([request for request in fake.requests if "limit=" in request.query]) == 2


def test_a_missing_right_to_watch_is_told_at_once(fake: FakeApi) -> None:
    watched(fake, failure(403, "cannot watch"))
    with pytest.raises(ApiError, match="does not allow to watch the deployments"):
        rollout(*open_fleet(fake, "user-service"), restart_since=None)


def test_a_deleted_workload_is_not_waited_for(fake: FakeApi) -> None:
    watched(fake, Reply(lines=(event("DELETED", deployment()),), hang=True))
    normal = fake.script
    fake.script = lambda request: failure(404) if request.path.endswith("/user-service") else normal(request)
    begin = time.monotonic()
    with pytest.raises(StepFailed, match="it was deleted meanwhile"):
        rollout(*open_fleet(fake, "user-service"), restart_since=None)
    assert time.monotonic() - begin < 4


def test_what_is_not_ready_in_time_is_explained(fake: FakeApi) -> None:
    watched(fake)
    with pytest.raises(StepTimeout) as failed:
        rollout(*open_fleet(fake, "user-service", seconds=0.5), restart_since=None)
    text = str(failed.value)
    assert (
        "fake/production/user-service 1/2 ready: pod user-service-1 CrashLoopBackOff (exit code 2, 4 restarts)" in text
    )
    assert "last event: BackOff: Back-off restarting failed container" in text
    assert "log: " in text
    assert "hunter2" not in text + str(failed.value.fields)
    assert "previous=true" in next(request.query for request in fake.requests if request.path.endswith("/log"))
    assert len(text.splitlines()) <= 15


@pytest.mark.parametrize(
    "text",
    [
        "postgres://app:hunter2@db/x",
        "password=hunter2",
        "password:hunter2",
        "token: hunter2",
        '"token": "hunter2"',
        "Authorization: Bearer hunter2",
    ],
)
def test_foreign_texts_lose_their_secrets(text: str) -> None:
    assert "hunter2" not in brief(text)
