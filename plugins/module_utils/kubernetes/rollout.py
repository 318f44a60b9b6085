# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until workloads are rolled out and ready, restarting those that a change did not restart already."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..clock import parse as parse_stamp
from ..clock import utc_now
from ..errors import StepFailed, StepTimeout
from .bulk import grouped, run_all
from .client import MERGE_PATCH, ApiError
from .diagnose import Diagnosis, diagnose
from .fleet import Fleet, Observation, Place
from .follow import Feed, follow
from .transport import Deadline
from .workloads import KINDS, Target, Workload, collection, parse, plan_restart

Progress = Callable[[str], None]

SHOWN = 4
FINAL_LOOK_SECONDS = 5.0


def rollout(
    fleet: Fleet, targets: Sequence[Target], *, restart_since: str | None, progress: Progress | None = None
) -> dict[str, Any]:
    """Wait for all; with `restart_since` also replace what still runs from before that moment."""
    seen = fleet.observe(targets)
    begin = time.monotonic()
    restarted: list[Target] = []
    if fleet.settings.check:
        finished: dict[Target, float] = {}
        if restart_since:
            restarted = [target for target in older(fleet, seen.workloads, restart_since) if complete(seen, target)]
    else:
        # First what is under way: a change of the template is itself the restart, and doing it twice costs an outage.
        seen, finished = wait_ready(fleet, seen, begin, progress)
        if restart_since:
            restarted = restart(fleet, seen, restart_since)
        if restarted:
            seen, again = wait_ready(fleet, fleet.observe(targets), begin, progress)
            finished.update({target: again[target] for target in restarted})
    ready = [target for target in seen.workloads if complete(seen, target)]
    lines = [f"{len(ready)} of {len(targets)} workloads rolled out and ready ({time.monotonic() - begin:.2f} s)"]
    if restart_since:
        verb = "would be restarted" if fleet.settings.check else "restarted"
        lines.append(f"{len(restarted)} {verb}: the others started after {restart_since}")
    lines += [f"cluster {name} skipped: {error.text}" for name, error in seen.unreachable.items()]
    return {
        "changed": bool(restarted),
        "total": len(targets),
        "ready": len(ready),
        "restarted": len(restarted),
        "workloads": {
            target.key: describe(target, workload, target in restarted, finished.get(target))
            for target, workload in seen.workloads.items()
        },
        "unreachable_clusters": {name: error.text for name, error in seen.unreachable.items()},
        "lines": lines,
    }


def wait_ready(
    fleet: Fleet, seen: Observation, begin: float, progress: Progress | None
) -> tuple[Observation, dict[Target, float]]:
    """Watch until every workload is complete. Raises StepTimeout or StepFailed naming each that is not."""
    feeds = workload_feeds(fleet, seen)
    finished: dict[Target, float] = {}

    def current() -> dict[Target, Workload | None]:
        return {target: feeds[place_of(target)].items.get(target.name) for target in seen.workloads}

    def done() -> bool:
        before = len(finished)
        now = current()
        for target, workload in now.items():
            if workload is not None and not workload.complete():
                finished.pop(target, None)
            elif workload is not None:
                finished.setdefault(target, round(time.monotonic() - begin, 4))
        if progress and len(finished) != before:
            progress(f"{len(finished)} of {len(now)} workloads ready")
        return len(finished) == len(now) or any(lost(workload) for workload in now.values())

    follow(list(feeds.values()), done, deadline=fleet.deadline)
    now = current()
    if any(workload is None or not workload.complete() for workload in now.values()):
        now = {**now, **look_again(fleet, now)}
    final = {target: workload for target, workload in now.items() if workload is not None}
    failed = {target: workload for target, workload in now.items() if workload is None or not workload.complete()}
    if failed:
        trouble = {feed.client.name: feed.trouble for feed in feeds.values() if feed.trouble}
        raise not_ready(fleet, failed, len(now), trouble)
    return Observation(final, seen.versions, seen.unreachable), finished


def lost(workload: Workload | None) -> bool:
    """Say whether waiting on makes no sense."""
    return workload is None or (workload.held is not None and not workload.complete())


def look_again(fleet: Fleet, now: Mapping[Target, Workload | None]) -> dict[Target, Workload | None]:
    """Ask once more, directly: a watch that went silent must not turn a success into a failure."""
    deadline = Deadline.after(FINAL_LOOK_SECONDS)
    behind = [target for target, workload in now.items() if workload is None or not workload.complete()]
    groups = grouped(behind, lambda target: target.cluster)

    def read(target: Target) -> Workload:
        item = fleet.clients[target.cluster].request("GET", target.path, deadline=deadline, doing=f"read {target.key}")
        return parse(target.kind, item)

    answers = run_all(groups, read, concurrency=fleet.settings.concurrency)
    return {target: answer for target, answer in answers.items() if isinstance(answer, Workload)}


def not_ready(
    fleet: Fleet,
    failed: Mapping[Target, Workload | None],
    total: int,
    trouble: Mapping[str, ApiError],
) -> StepFailed:
    """Make the error that names each workload and why it is not ready."""
    there = {target: workload for target, workload in failed.items() if workload is not None}
    found = diagnose(fleet.clients, there)
    texts: dict[Target, list[str]] = {}
    for target, workload in failed.items():
        if workload is None:
            texts[target] = ["it was deleted meanwhile"]
        elif workload.held:
            texts[target] = [workload.held]
        else:
            texts[target] = found.get(target, Diagnosis()).lines()
    shown = []
    for target, lines in list(texts.items())[:SHOWN]:
        workload = failed[target]
        state = f"{workload.readiness()} ready" if workload else "is gone"
        shown.append(f"{target.key} {state}: " + "\n    ".join(lines))
    if len(texts) > SHOWN:
        shown.append(f"and {len(texts) - SHOWN} more, named in failed_workloads")
    shown += [f"cluster {name}: {error.text}" for name, error in trouble.items()]
    kind = StepTimeout if fleet.deadline.passed() else StepFailed
    return kind(
        f"{total - len(failed)} of {total} workloads are ready after {fleet.settings.timeout_seconds:g} s"
        if kind is StepTimeout
        else f"{len(failed)} of {total} workloads cannot become ready",
        observed="\n  " + "\n  ".join(shown) + "\n ",
        wanted="all rolled out and ready",
        next_action="mend what is named here and run it again; nothing that is ready is touched",
        failed_workloads={
            target.key: {
                "ready": workload.status.ready if workload else 0,
                "replicas": workload.replicas if workload else 0,
                "why": texts[target],
                **found.get(target, Diagnosis()).as_result(),
            }
            for target, workload in failed.items()
        },
    )


def restart(fleet: Fleet, seen: Observation, since: str) -> list[Target]:
    """Restart what runs from before a moment, and only that."""
    old = older(fleet, seen.workloads, since)
    if not old:
        return []
    moment = utc_now()
    chosen = Observation({target: seen.workloads[target] for target in old}, seen.versions, seen.unreachable)

    def plan(_: Target, workload: Workload) -> dict[str, Any]:
        return plan_restart(workload, moment)

    fleet.write(chosen, plan, lambda patch: patch, MERGE_PATCH, "restart")
    return old


def older(fleet: Fleet, workloads: Mapping[Target, Workload], since: str) -> list[Target]:
    """Find the workloads of which a container has been running since before a moment: one LIST of pods a namespace."""
    limit = parse_stamp(since)
    groups = grouped(((target.cluster, target.namespace) for target in workloads), lambda place: place[0])

    def read(place: tuple[str, str]) -> list[tuple[dict[str, str], float]]:
        found, _ = fleet.clients[place[0]].list(
            f"/api/v1/namespaces/{place[1]}/pods", pod_start, deadline=fleet.deadline, doing="list pods"
        )
        return found

    old: dict[tuple[str, str], list[dict[str, str]]] = {}
    for place, answer in run_all(groups, read, concurrency=fleet.settings.concurrency).items():
        if isinstance(answer, ApiError):
            raise answer
        old[place] = [labels for labels, start in answer if start < limit]
    return [
        target
        for target, workload in workloads.items()
        if any(workload.selector.matches(labels) for labels in old[(target.cluster, target.namespace)])
    ]


def pod_start(pod: Mapping[str, Any]) -> tuple[dict[str, str], float] | None:
    """Give a pod's labels and when the oldest of its processes started; None for one that goes or has ended."""
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp") or status.get("phase") in ("Succeeded", "Failed"):
        return None
    starts = [
        entry["state"]["running"]["startedAt"]
        for entry in status.get("containerStatuses") or []
        if (entry.get("state") or {}).get("running")
    ]
    stamps = starts or [status.get("startTime") or pod["metadata"]["creationTimestamp"]]
    return dict(pod["metadata"].get("labels") or {}), min(parse_stamp(stamp) for stamp in stamps)


def workload_feeds(fleet: Fleet, seen: Observation) -> dict[Place, Feed[Workload]]:
    """Make a feed for each cluster, namespace and kind that starts where the observation ended."""
    feeds: dict[Place, Feed[Workload]] = {}
    names: dict[Place, set[str]] = {}
    for target, workload in seen.workloads.items():
        place = place_of(target)
        names.setdefault(place, set()).add(target.name)
        if place not in feeds:
            cluster, namespace, kind = place
            feeds[place] = Feed(
                client=fleet.clients[cluster],
                path=collection(namespace, kind),
                doing=f"watch the {KINDS[kind]} of namespace {namespace}",
                parse=parser(kind, names[place]),
                items={},
                version=seen.versions[place],
                listed=True,
            )
        feeds[place].items[target.name] = workload
    return feeds


def parser(kind: str, names: set[str]) -> Callable[[dict[str, Any]], tuple[str, Workload] | None]:
    """Make a feed's parser, which keeps only what was asked for: memory follows the targets, not the namespace."""

    def read(item: dict[str, Any]) -> tuple[str, Workload] | None:
        name = item["metadata"]["name"]
        return (name, parse(kind, item)) if name in names else None

    return read


def place_of(target: Target) -> Place:
    """Give the feed in which a target stands."""
    return (target.cluster, target.namespace, target.kind)


def complete(seen: Observation, target: Target) -> bool:
    """Say whether a target was complete when it was read."""
    return seen.workloads[target].complete()


def describe(target: Target, workload: Workload, restarted: bool, seconds: float | None) -> dict[str, Any]:
    """Show one workload's result."""
    return {
        "cluster": target.cluster,
        "namespace": target.namespace,
        "kind": target.kind,
        "name": target.name,
        "ready": workload.status.ready,
        "replicas": workload.replicas,
        "complete": workload.complete(),
        "restarted": restarted,
        "ready_after_seconds": seconds,
    }
