# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until workloads are rolled out and ready, restarting those that a change did not restart already."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..clock import parse as parse_stamp
from ..clock import utc_now
from ..errors import StepFailed, StepTimeout
from .bulk import grouped, run_all
from .client import MERGE_PATCH, ApiError
from .diagnose import Diagnosis, diagnose
from .fleet import Fleet, Observation, Place, owning
from .follow import Feed, changes, follow
from .progress import Progress
from .transport import Deadline
from .workloads import KINDS, Target, Workload, collection, parse, path_of, plan_restart

SHOWN = 4
FINAL_LOOK_SECONDS = 5.0


@dataclass(frozen=True)
class Goal:
    """What is waited for, in words and as a question, and what makes the wait pointless (given before and now)."""

    words: str
    met: Callable[[Workload], bool]
    lost: Callable[[Workload, Workload], str | None]


def rollout_lost(before: Workload, now: Workload) -> str | None:
    """Say why a template would not reach the pods any more, if so."""
    gave_up = now.gave_up()
    # What the controller said before the wait is about the past: with the database back, such pods do become ready.
    if gave_up and gave_up != before.status.gave_up:
        return f"its controller gave the rollout up: {gave_up.message}"
    return now.held


def never_lost(_before: Workload, _now: Workload) -> str | None:
    """Nothing but its deletion makes it pointless to wait for a size."""
    return None


ROLLED_OUT = Goal("rolled out and ready", Workload.complete, rollout_lost)
SCALED = Goal("ready", Workload.scaled, never_lost)


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
        seen, finished = wait_ready(fleet, seen, begin, ROLLED_OUT, progress)
        if restart_since:
            restarted = restart(fleet, seen, restart_since)
        if restarted:
            with owning(restarted):
                seen, again = wait_ready(fleet, fleet.observe_again(targets), begin, ROLLED_OUT, progress)
            finished.update({target: again[target] for target in restarted})
    ready = [target for target in seen.workloads if complete(seen, target)]
    lines = [f"{len(ready)} of {len(targets)} workloads rolled out and ready ({time.monotonic() - begin:.2f} s)"]
    if restart_since:
        verb = "would be restarted" if fleet.settings.check else "restarted"
        lines.append(f"{len(restarted)} {verb}: the others started after {restart_since}")
    return {
        "changed": bool(restarted),
        "total": len(targets),
        "ready": len(ready),
        "restarted": len(restarted),
        "workloads": {
            target.key: describe(target, workload, target in restarted, finished.get(target))
            for target, workload in seen.workloads.items()
        },
        "lost_clusters": list(fleet.lost),
        "lines": fleet.tell(targets, lines),
    }


def wait_ready(
    fleet: Fleet, seen: Observation, begin: float, goal: Goal, progress: Progress | None
) -> tuple[Observation, dict[Target, float]]:
    """Watch until every workload meets the goal. Raises StepTimeout or StepFailed naming each that does not."""
    feeds = workload_feeds(fleet, seen)
    named = {(place_of(target), target.name): target for target in seen.workloads}
    finished: dict[Target, float] = {}
    hopeless: set[Target] = set()

    def done() -> bool:
        for place, name, workload in changes(feeds):
            target = named[place, name]
            hopeless.discard(target)
            if workload is not None and goal.met(workload):
                finished.setdefault(target, round(time.monotonic() - begin, 4))
                continue
            finished.pop(target, None)
            if workload is None or goal.lost(seen.workloads[target], workload):
                hopeless.add(target)
        if progress:
            progress(f"{len(finished)} of {len(named)} workloads ready")
        return len(finished) == len(named) or bool(hopeless)

    follow(list(feeds.values()), done, deadline=fleet.deadline)
    now = {target: feeds[place_of(target)].items.get(target.name) for target in seen.workloads}
    behind = [target for target, workload in now.items() if workload is None or not goal.met(workload)]
    now.update(look_again(fleet, behind))
    failed = {target: now[target] for target in behind if not met(goal, now[target])}
    if failed:
        trouble = {feed.client.name: feed.trouble for feed in feeds.values() if feed.trouble}
        whys = {target: why_lost(goal, seen.workloads[target], workload) for target, workload in failed.items()}
        raise not_ready(fleet, failed, whys, goal, len(now), trouble)
    final = {target: workload for target, workload in now.items() if workload is not None}
    return Observation(final, seen.versions), finished


def met(goal: Goal, workload: Workload | None) -> bool:
    """Say whether a workload is there and meets the goal."""
    return workload is not None and goal.met(workload)


def why_lost(goal: Goal, before: Workload, now: Workload | None) -> str | None:
    """Say why waiting on makes no sense, if so."""
    return "it was deleted meanwhile" if now is None else goal.lost(before, now)


def look_again(fleet: Fleet, behind: Sequence[Target]) -> dict[Target, Workload | None]:
    """Ask once more, directly: a watch that went silent must not turn a success into a failure."""
    deadline = Deadline.after(FINAL_LOOK_SECONDS)
    groups = grouped(behind, lambda target: target.cluster)

    def read(target: Target) -> Workload:
        item = fleet.clients[target.cluster].request("GET", target.path, deadline=deadline, doing=f"read {target.key}")
        return parse(target.kind, item)

    answers = run_all(groups, read, concurrency=fleet.settings.concurrency)
    return {target: answer for target, answer in answers.items() if isinstance(answer, Workload)}


def not_ready(
    fleet: Fleet,
    failed: Mapping[Target, Workload | None],
    whys: Mapping[Target, str | None],
    goal: Goal,
    total: int,
    trouble: Mapping[str, ApiError],
) -> StepFailed:
    """Make the error that names each workload and why it is not ready."""
    there = {target: workload for target, workload in failed.items() if workload is not None}
    found = diagnose(fleet.clients, there)
    texts: dict[Target, list[str]] = {}
    for target in failed:
        first, *more = found[target].lines() if target in found else [""]
        texts[target] = ["; ".join(part for part in (whys[target], first) if part), *more]
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
        wanted=f"all {goal.words}",
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
    chosen = Observation({target: seen.workloads[target] for target in old}, seen.versions)

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
            path_of(place[1], "pods"), pod_start, deadline=fleet.deadline, doing="list pods"
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
    """Give a pod's labels and when the oldest of its processes started; None for one that goes or has ended.

    Kubernetes cuts its stamps to whole seconds, so a process can seem up to a second older than it is, never younger:
    within that second one may be restarted without need, but none is left that has not seen the change.
    """
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
        feeds[place].changed.add(target.name)
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
