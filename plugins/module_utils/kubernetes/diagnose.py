# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say why a workload is not ready: its pods' state, the last event, the last log lines. For those that failed only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .bulk import grouped, run_all
from .client import ApiError, Client, brief
from .transport import Deadline
from .workloads import Target, Workload, path_of

LOG_LINES = 5
# Three calls for each: so many take a few seconds, and what is wrong with more of them is one thing.
DIAGNOSED = 200
SECONDS = 10.0


@dataclass(frozen=True)
class Diagnosis:
    """What was found out about one workload. Empty texts: nothing was to be found."""

    pod: str = ""
    reason: str = ""
    event: str = ""
    log: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Give at most two short lines."""
        parts = [f"pod {self.pod} {self.reason}" if self.pod else self.reason or "no pod was made"]
        if self.event:
            parts.append(f"last event: {self.event}")
        return ["; ".join(parts), *([f"log: {brief(self.log[-1], 120)}"] if self.log else [])]

    def as_result(self) -> dict[str, Any]:
        """Give it as part of a task's result."""
        return {"pod": self.pod, "reason": self.reason, "event": self.event, "log": list(self.log)}


def diagnose(clients: Mapping[str, Client], failed: Mapping[Target, Workload]) -> dict[Target, Diagnosis]:
    """Look into the first failed workloads, all at once and within a few seconds."""
    deadline = Deadline.after(SECONDS)
    groups = grouped(list(failed)[:DIAGNOSED], lambda target: target.cluster)

    def look(target: Target) -> Diagnosis:
        return _look(clients[target.cluster], failed[target], deadline)

    answers = run_all(groups, look, concurrency=8)
    unknown = Diagnosis(reason=f"not looked into: only the first {DIAGNOSED} were")
    return dict.fromkeys(failed, unknown) | {
        target: Diagnosis(reason=answer.text) if isinstance(answer, ApiError) else answer
        for target, answer in answers.items()
    }


def _look(client: Client, workload: Workload, deadline: Deadline) -> Diagnosis:
    if workload.status.refused:
        # Its pods that are there are not what is wrong.
        event = _last_event(client, workload.namespace, workload.name, deadline)
        return Diagnosis(reason=f"no more pods are made: {workload.status.refused}", event=event)
    path = path_of(workload.namespace, "pods")
    pods, _ = client.list(
        path,
        lambda item: item,
        deadline=deadline,
        doing="list pods",
        query={"labelSelector": workload.selector.query()},
    )
    pod = worst(pods)
    if pod is None:
        return Diagnosis(event=_last_event(client, workload.namespace, workload.name, deadline))
    name = pod["metadata"]["name"]
    return Diagnosis(
        pod=name,
        reason=pod_reason(pod),
        event=_last_event(client, workload.namespace, name, deadline),
        log=_log(client, f"{path}/{name}/log", pod, deadline),
    )


def _last_event(client: Client, namespace: str, name: str, deadline: Deadline) -> str:
    try:
        events, _ = client.list(
            path_of(namespace, "events"),
            lambda item: (event_time(item), brief(f"{item.get('reason')}: {item.get('message')}", 160)),
            deadline=deadline,
            doing="list events",
            query={"fieldSelector": f"involvedObject.name={name}"},
        )
    except ApiError:
        return ""
    return max(events)[1] if events else ""


def _log(client: Client, path: str, pod: Mapping[str, Any], deadline: Deadline) -> tuple[str, ...]:
    container = broken_container(pod)
    if container is None:
        return ()
    # Of a container that waits for its next start, what it said before it ended is what matters.
    previous = {"previous": "true"} if (container.get("state") or {}).get("waiting") else {}
    for extra in [previous, {}] if previous else [{}]:
        try:
            data = client.request_bytes(
                "GET",
                path,
                deadline=deadline,
                doing="read a log",
                query={"container": container["name"], "tailLines": str(LOG_LINES), "limitBytes": "8192", **extra},
                accept="*/*",
            )
        except ApiError:
            continue
        lines = data.decode("utf-8", "replace").splitlines()[-LOG_LINES:]
        if lines:
            return tuple(brief(line, 300) for line in lines)
    return ()


def worst(pods: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Choose the pod that tells most: one that is not ready and not going, the newest of these."""
    telling = [pod for pod in pods if not is_ready(pod)] or list(pods)
    staying = [pod for pod in telling if not pod["metadata"].get("deletionTimestamp")] or telling
    return max(staying, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), default=None)


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Say whether a pod's Ready condition is true."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(entry.get("type") == "Ready" and entry.get("status") == "True" for entry in conditions)


def broken_container(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Find the container that keeps a pod from being ready."""
    status = pod.get("status") or {}
    initial = [entry for entry in status.get("initContainerStatuses") or [] if not entry.get("ready")]
    later = [entry for entry in status.get("containerStatuses") or [] if not entry.get("ready")]
    return next(iter([*initial, *later]), None)


def pod_reason(pod: Mapping[str, Any]) -> str:
    """Say in a few words what a pod waits for."""
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return f"is still terminating on node {(pod.get('spec') or {}).get('nodeName') or 'unknown'}"
    container = broken_container(pod)
    if container is None:
        return unscheduled(status) or f"is {str(status.get('phase', 'unknown')).lower()}"
    state = container.get("state") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    details = []
    if ended:
        details.append(f"exit code {ended.get('exitCode')}")
    if container.get("restartCount"):
        details.append(f"{container['restartCount']} restarts")
    waiting = state.get("waiting") or {}
    reason = waiting.get("reason") or ended.get("reason") or "runs but its readiness probe fails"
    return f"{reason}" + (f" ({', '.join(details)})" if details else "")


def unscheduled(status: Mapping[str, Any]) -> str | None:
    """Say why no node took a pod."""
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason', 'Unschedulable')}: {brief(str(condition.get('message', '')), 120)}"
    return None


def event_time(event: Mapping[str, Any]) -> str:
    """Give the moment of an event's last sighting; the fields differ by who wrote it."""
    series = event.get("series") or {}
    fallback = event["metadata"].get("creationTimestamp")
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or fallback or "")
