# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scale many workloads in waves, remember their former sizes, and wait until pods are gone or ready.

All is decided before anything is changed: the size of each, what its autoscaler and its disruption budgets make of
that, the order, and whether there is room.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..errors import BadInput, PreconditionFailed, RecoveryError
from ..schema import closest
from . import autoscale, budgets, capacity
from .autoscale import Autoscaler, Bounds
from .budgets import Floor
from .client import MERGE_PATCH, ApiError
from .fleet import Fleet, Observation, Written
from .gone import wait_gone
from .progress import Progress
from .rollout import SCALED, wait_ready
from .sizes import AsIn, Size, Snapshot, Wanted, known_of, said, wanted_of
from .waves import waves
from .workloads import Scale, Target, Workload, plan_scale

SHOWN = 5


@dataclass(frozen=True)
class Rules:
    """What else counts than the size that is wanted. `order` is each service's wave, as `waves.levels` gives it.

    `capacity` is require (refuse where there is no room), report, or ignore. With `keep_unknown` it is no refusal that
    no workload remembers a size. With `stopped_only` whatever runs keeps its size.
    """

    capacity: str = "ignore"
    autoscalers: bool = False
    budgets: bool = False
    order: Mapping[str, int] = field(default_factory=dict)
    snapshot: Snapshot = field(default_factory=Snapshot)
    keep_unknown: bool = False
    stopped_only: bool = False


@dataclass(frozen=True)
class Course:
    """What was decided. `bounds` is what the autoscalers of these workloads may not go below, None to give it back."""

    wanted: Mapping[Target, Wanted]
    scalers: Mapping[Target, Autoscaler]
    bounds: Mapping[Target, int | None]
    floors: Mapping[Target, Floor]
    steps: Sequence[Sequence[Target]]
    lacking: Sequence[capacity.Shortfall] = ()
    unknown: Sequence[ApiError] = ()

    def plan(self, target: Target, workload: Workload) -> Scale:
        """Plan one workload as it is now."""
        wanted = self.wanted[target]
        return plan_scale(target, workload, wanted.size, at_least=wanted.at_least)


@dataclass
class Account:
    """What was done so far, for whoever is told of an error or of the end."""

    workloads: dict[Target, Written] = field(default_factory=dict)
    autoscalers: dict[Target, Written] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def changed(self) -> list[Target]:
        """Give the workloads that were changed."""
        return [target for target, written in self.workloads.items() if written.changed]

    def bounded(self) -> list[Target]:
        """Give the autoscalers that were changed."""
        return [target for target, written in self.autoscalers.items() if written.changed]


def scale(
    fleet: Fleet,
    targets: Sequence[Target],
    size: Size,
    progress: Progress | None = None,
    rules: Rules | None = None,
) -> dict[str, Any]:
    """Scale all and wait until that is so. Nothing is touched if anything is wrong with any of them."""
    seen = fleet.observe(targets)
    rules = rules or Rules()
    if not rules.keep_unknown:
        refuse_unknown(seen, size, rules.snapshot)
    course = decide(fleet, seen, size, rules)
    begin = time.monotonic()
    account = Account()
    for number, step in enumerate(course.steps, 1):
        prefix = f"wave {number} of {len(course.steps)}: " if len(course.steps) > 1 else ""
        with accounting(account, prefix, course.steps[number:]):
            take(fleet, seen, course, step, account, told(progress, prefix), again=number > 1)
    return result_of(fleet, seen, size, course, account, time.monotonic() - begin)


def refuse_unknown(seen: Observation, size: Size, snapshot: Snapshot) -> None:
    """Refuse a size that nothing is known of: of a misspelt region all would stay as it is, and look done."""
    wanted = [wanted_of(size, target, workload, snapshot) for target, workload in seen.workloads.items()]
    if not wanted or not all(one.unknown for one in wanted):
        return
    regions = {name for target, workload in seen.workloads.items() for name in known_of(target, workload, snapshot)}
    region = getattr(size, "region", "")
    near = closest(region, regions)
    raise BadInput(
        f"None of {len(wanted)} workloads remembers a size" + (f" in {region}" if region else ""),
        wanted=f"one of {', '.join(sorted(regions))}" if regions else "sizes that were remembered beforehand",
        next_action=f"use {near!r}" if near else "name a snapshot, or give a number; nothing was touched",
        nearest=near,
    )


def decide(fleet: Fleet, seen: Observation, size: Size, rules: Rules) -> Course:
    """Decide on everything. Raises PreconditionFailed, e.g. if there is no room."""
    workloads = seen.workloads
    wanted = {target: wanted_of(size, target, workload, rules.snapshot) for target, workload in workloads.items()}
    if rules.stopped_only:
        running = Wanted(0, at_least=True)
        wanted = {target: running if workloads[target].replicas else one for target, one in wanted.items()}
    scalers: Mapping[Target, Autoscaler] = {}
    bounds: dict[Target, int | None] = {}
    # A workload of size 0 is no business of its autoscaler.
    governed = [target for target, one in wanted.items() if one.size != 0]
    if rules.autoscalers and governed:
        scalers = allowed("autoscalers", lambda: autoscale.read(fleet, governed))
        for target, scaler in scalers.items():
            bounds[target] = wanted[target].size
            wanted[target] = with_autoscaler(scaler, workloads[target], wanted[target])
    course = Course(wanted, scalers, bounds, {}, ())
    plans = {target: course.plan(target, workload) for target, workload in workloads.items()}
    floors: Mapping[Target, Floor] = {}
    shrinking = [target for target, plan in plans.items() if 0 < plan.after < plan.before]
    if rules.budgets and shrinking:
        found = allowed("disruption_budgets", lambda: budgets.read(fleet, shrinking))
        floors = budgets.floors(found, workloads, {target: plan.after for target, plan in plans.items()})
        wanted |= {target: Wanted(floor.size) for target, floor in floors.items()}
        plans |= {target: course.plan(target, workloads[target]) for target in floors}
    lacking: list[capacity.Shortfall] = []
    unknown: list[ApiError] = []
    if rules.capacity != "ignore":
        lacking, unknown = capacity.shortfalls(fleet, workloads, {target: plan.after for target, plan in plans.items()})
        if rules.capacity == "require":
            capacity.refuse(lacking, unknown)
    return Course(wanted, scalers, bounds, floors, steps_of(plans, rules.order), lacking, unknown)


def allowed(option: str, look: Callable[[], Any]) -> Any:
    """Look at something that has to be respected; where it cannot be seen, refuse."""
    try:
        return look()
    except ApiError as error:
        raise PreconditionFailed(
            f"Nothing was touched: {error.what[0].lower()}{error.what[1:]}",
            observed=error.text,
            next_action=f"{error.next_action}; or set {option} to ignore",
            gate=option,
        ) from None


def with_autoscaler(scaler: Autoscaler, workload: Workload, wanted: Wanted) -> Wanted:
    """Say what size a workload with an autoscaler gets: what it is brought to anyway, never less than it has."""
    if wanted.size is None:
        return Wanted(None, at_least=True)
    size = max(wanted.size, autoscale.owners_bounds(scaler)[0])
    # Bounds that a controller writes stay as they are: what lies beyond them would be taken back.
    return Wanted(min(size, max(scaler.maximum, workload.replicas)) if scaler.keeper else size, at_least=True)


def steps_of(plans: Mapping[Target, Scale], order: Mapping[str, int]) -> list[list[Target]]:
    """Order the work: first what gets smaller, before what it depends on; then the rest, after what it depends on."""
    down = [target for target, plan in plans.items() if plan.after == 0 or plan.after < plan.before]
    up = [target for target, plan in plans.items() if 0 < plan.after >= plan.before]
    return [*reversed(waves(down, order)), *waves(up, order)]


def take(
    fleet: Fleet,
    seen: Observation,
    course: Course,
    step: Sequence[Target],
    account: Account,
    progress: Progress | None,
    *,
    again: bool,
) -> None:
    """Do one wave: bounds, sizes, and the wait. What was read before an earlier wave is read again for it."""
    begin = time.monotonic()
    part = Observation({target: seen.workloads[target] for target in step}, seen.versions)
    bounds = {target: course.bounds[target] for target in step if target in course.bounds}
    account.autoscalers |= autoscale.write(fleet, course.scalers, bounds, progress)
    done = fleet.write(part, course.plan, lambda plan: plan.patch, MERGE_PATCH, "scale", progress)
    account.workloads |= done
    if not fleet.settings.check:
        changed = any(written.changed for written in done.values())
        settle(fleet, fleet.observe_again(step) if changed or again else part, begin, progress)
    account.seconds.append(round(time.monotonic() - begin, 4))


def settle(fleet: Fleet, seen: Observation, begin: float, progress: Progress | None) -> None:
    """Wait for the pods of what has size 0 to be gone, and for the others to be ready."""
    empty = {target: workload for target, workload in seen.workloads.items() if workload.replicas == 0}
    rest = {target: workload for target, workload in seen.workloads.items() if workload.replicas}
    if empty:
        wait_gone(fleet, Observation(empty, seen.versions), progress)
    if rest:
        wait_ready(fleet, Observation(rest, seen.versions), begin, SCALED, progress)


@contextmanager
def accounting(account: Account, prefix: str, later: Sequence[Sequence[Target]]) -> Iterator[None]:
    """Let an error name the wave that it came in, all that was changed, and what was not begun."""
    try:
        yield
    except RecoveryError as error:
        changed = [target.key for target in account.changed()] + list(error.fields.get("changed_workloads") or ())
        bounded = [target.key for target in account.bounded()]
        if changed or bounded:
            error.fields |= {
                "changed": True,
                "changed_workloads": list(dict.fromkeys(changed)),
                "changed_autoscalers": bounded,
            }
        waiting = [target.key for step in later for target in step]
        error.what = prefix + error.what
        if waiting:
            error.fields["not_begun"] = waiting
            error.what += f"; {len(waiting)} workloads of later waves were not begun"
        error.args = (error.what,)
        raise


def told(progress: Progress | None, prefix: str) -> Progress | None:
    """Tell progress with the wave that it is about."""
    return progress and (lambda text: progress(prefix + text))


def result_of(
    fleet: Fleet, seen: Observation, size: Size, course: Course, account: Account, took: float
) -> dict[str, Any]:
    """Give all as a task's result."""
    # Waves are an order of work; whoever reads the result looks for names.
    done = {target: account.workloads[target] for target in seen.workloads}
    scaled = [target for target in account.changed() if done[target].plan.before != done[target].plan.after]
    lines = lines_of(fleet, done, len(scaled), size, took)
    return {
        "changed": bool(account.changed() or account.bounded()),
        "total": len(done),
        "scaled": len(scaled),
        "unchanged": len(done) - len(scaled),
        "workloads": {target.key: describe(target, written, course) for target, written in done.items()},
        "autoscalers": {target.key: describe_bounds(written) for target, written in account.autoscalers.items()},
        "waves": [
            {"workloads": len(step), "seconds": seconds}
            for step, seconds in zip(course.steps, account.seconds, strict=True)
        ],
        "shortfalls": [entry.as_result() for entry in course.lacking],
        "lost_clusters": list(fleet.lost),
        "lines": fleet.tell(list(done), [*lines, *more_lines(fleet, size, course, account)]),
        "diff": difference(scaled, done, account),
    }


def lines_of(fleet: Fleet, done: Mapping[Target, Written], scaled: int, size: Size, took: float) -> list[str]:
    """Say in few words what was done."""
    if fleet.settings.check:
        lines = [f"{scaled} of {len(done)} workloads would be scaled to {said(size)}"]
    else:
        state = "no pod left" if size == 0 else "all ready"
        lines = [f"{len(done)} of {len(done)} workloads at {said(size)}, {state} ({scaled} scaled, {took:.2f} s)"]
    for target, written in done.items():
        plan: Scale = written.plan
        if plan.forgotten is not None:
            lines.append(
                f"{target.key} was scaled to {plan.before} by somebody else: it keeps that, "
                f"and the remembered size {plan.forgotten} is forgotten"
            )
        elif size is None and not written.changed and plan.after == 0:
            lines.append(f"{target.key} has no replicas and remembers no size: left as it is")
    return lines


def more_lines(fleet: Fleet, size: Size, course: Course, account: Account) -> Iterator[str]:
    """Say where the size that was wanted is not the whole story."""
    if len(course.steps) > 1:
        sizes = ", ".join(
            f"{len(step)} in {seconds:.2f} s" for step, seconds in zip(course.steps, account.seconds, strict=True)
        )
        yield f"{len(course.steps)} waves: {sizes}"
    bounded = account.bounded()
    if bounded:
        verb = "would be " if fleet.settings.check else ""
        what = "given back" if size is None else "changed, so that they do not undo it"
        yield f"minReplicas of {len(bounded)} HorizontalPodAutoscalers {verb}{what}"
    kept = [scaler for target, scaler in course.scalers.items() if scaler.keeper and size is not None]
    if kept:
        names = named([f"{scaler.target.key} by {scaler.keeper}" for scaler in kept])
        yield f"HorizontalPodAutoscalers that a controller writes were left alone: {names}"
    held = [f"{target.key} at {floor.size} by {floor.budget}" for target, floor in course.floors.items()]
    if held:
        yield f"kept by PodDisruptionBudgets: {named(held)}"
    unknown = [target.key for target, wanted in course.wanted.items() if wanted.unknown]
    if unknown:
        of = f" in {size.region}" if isinstance(size, AsIn) else ""
        yield f"{len(unknown)} remember no size{of} and stay as they are: {named(unknown)}"
    for entry in course.lacking[:SHOWN]:
        yield f"no room in cluster {entry.cluster}: {entry.line()}"
    for error in course.unknown:
        yield f"whether there is room is not known: {error.what}"


def named(texts: Sequence[str]) -> str:
    """Name the first few."""
    return ", ".join(texts[:SHOWN]) + (f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else "")


def difference(scaled: Sequence[Target], done: Mapping[Target, Written], account: Account) -> dict[str, str]:
    """Show before and after as Ansible prints them."""
    before = [f"{target.key} replicas={done[target].plan.before}\n" for target in scaled]
    after = [f"{target.key} replicas={done[target].plan.after}\n" for target in scaled]
    for target in account.bounded():
        plan: Bounds = account.autoscalers[target].plan
        before.append(f"{target.key} minReplicas={plan.before[0]} maxReplicas={plan.before[1]}\n")
        after.append(f"{target.key} minReplicas={plan.after[0]} maxReplicas={plan.after[1]}\n")
    return {"before": "".join(before), "after": "".join(after)}


def describe(target: Target, written: Written, course: Course) -> dict[str, Any]:
    """Show one workload's result."""
    plan: Scale = written.plan
    floor = course.floors.get(target)
    return {
        "cluster": target.cluster,
        "namespace": target.namespace,
        "kind": target.kind,
        "name": target.name,
        "before": plan.before,
        "after": plan.after,
        "remembered": plan.remembered,
        "changed": written.changed,
        "kept_by": floor.budget if floor else None,
    }


def describe_bounds(written: Written) -> dict[str, Any]:
    """Show one autoscaler's result, each bound as minReplicas and maxReplicas."""
    plan: Bounds = written.plan
    return {"before": list(plan.before), "after": list(plan.after), "changed": written.changed}
