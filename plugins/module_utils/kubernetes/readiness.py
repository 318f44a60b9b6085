# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether every workload could be pointed to another database right now: asked of the clusters, planned, not done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import BadInput, RecoveryError
from ..readiness import FIRST, Check, Checklist
from .bulk import grouped, run_all
from .client import ApiError, Client
from .fleet import Fleet, Observation
from .transport import Deadline
from .vantage import fully_ready, local_name, readiness
from .workloads import KINDS, Target, Workload, mask, plan_repoint

# The roles whose work needs what is checked.
ROLE, WAITS = "service_repoint", "service_restart"
REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
# What repointing, scaling and waiting ask of the API.
VERBS = {"apps": ("get", "list", "watch", "patch"), "": ("list", "watch")}


@dataclass(frozen=True)
class Right:
    """One verb on one resource in one namespace of a cluster."""

    cluster: str
    namespace: str
    group: str
    resource: str
    verb: str


def checks(name: str, fleet: Fleet, targets: Sequence[Target], variable: str, value: str) -> list[Check]:
    """Look at everything once, and judge it."""
    absent, seen = look(fleet, targets)
    allowed = reviews(fleet, targets, seen)
    found: list[Check] = []
    for cluster in fleet.clients:
        ours = [target for target in targets if target.cluster == cluster]
        on, waiting = (Checklist(role, f"{name} cluster {cluster}") for role in (ROLE, WAITS))
        found.append(answer_check(on, seen.unreachable.get(cluster)))
        found.append(rights_check(on, {right: answer for right, answer in allowed.items() if right.cluster == cluster}))
        if cluster not in seen.unreachable:
            found += workload_checks(on, ours, seen, absent, variable, value)
            found.append(service_check(waiting, {t: seen.workloads[t] for t in ours if t in seen.workloads}))
        else:
            why = f"the cluster does not answer, and {len(ours)} workloads cannot be seen"
            found.append(on.judged("workloads", None, why, "an answer", FIRST))
            found.append(waiting.judged("services", None, why, "an answer", FIRST))
    return found


def look(fleet: Fleet, targets: Sequence[Target]) -> tuple[set[Target], Observation]:
    """Read all targets; those that do not exist are data."""
    try:
        return set(), fleet.look(targets)
    except BadInput as error:
        unknown = set(error.fields.get("unknown") or ())
        absent = {target for target in targets if target.key in unknown}
        if not absent:
            raise
        return absent, fleet.look([target for target in targets if target not in absent])


def reviews(fleet: Fleet, targets: Sequence[Target], seen: Observation) -> dict[Right, bool | ApiError]:
    """Ask each cluster whether we may do what a recovery does. A review is answered, and not kept."""
    wanted = [
        Right(target.cluster, target.namespace, group, resource, verb)
        for target in targets
        if target.cluster not in seen.unreachable
        for group, resource in (("apps", KINDS[target.kind]), ("", "pods"))
        for verb in VERBS[group]
    ]
    return reviewed(fleet, wanted)


def reviewed(fleet: Fleet, wanted: Sequence[Right]) -> dict[Right, bool | ApiError]:
    """Ask whether we have these rights."""
    groups = grouped(wanted, lambda right: right.cluster)

    def ask(right: Right) -> bool:
        return may(fleet.clients[right.cluster], right, fleet.deadline)

    return run_all(groups, ask, concurrency=fleet.settings.concurrency)


def may(client: Client, right: Right, deadline: Deadline) -> bool:
    """Ask whether the kubeconfig's user has a right. Raises ApiError."""
    attributes = {
        "namespace": right.namespace,
        "group": right.group,
        "resource": right.resource,
        "verb": right.verb,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = client.request("POST", REVIEW, deadline=deadline, doing="review our rights", body=body)
    return bool((answer.get("status") or {}).get("allowed"))


def answer_check(on: Checklist, trouble: ApiError | None) -> Check:
    """Say whether a cluster answers."""
    if trouble is None:
        return on.judged("API", True, "it answers", "the API answers", "")
    return on.judged("API", False, f"{trouble.reason}: {trouble.text}", "the API answers", trouble.next_action or "")


def rights_check(
    on: Checklist,
    allowed: Mapping[Right, bool | ApiError],
    wanted: str = "get, list, watch and patch workloads, list and watch pods",
) -> Check:
    """Say whether the kubeconfig's user may do what a recovery does. No namespace stands for all of them."""
    errors = [answer for answer in allowed.values() if isinstance(answer, ApiError)]
    if errors or not allowed:
        seen = errors[0].what if errors else "the cluster does not answer"
        return on.judged("rights", None, seen, wanted, FIRST)
    denied = [right for right, answer in allowed.items() if not answer]
    if not denied:
        return on.judged("rights", True, f"all {len(allowed)} rights that are needed", wanted, "")
    words = ", ".join(f"{right.verb} {right.resource} in {right.namespace or 'all namespaces'}" for right in denied)
    return on.judged("rights", False, f"may not {words}", wanted, f"allow the kubeconfig's user to {words}")


def workload_checks(
    on: Checklist,
    ours: Sequence[Target],
    seen: Observation,
    absent: set[Target],
    variable: str,
    value: str,
) -> Iterator[Check]:
    """Plan each workload's repoint. Those that could be repointed are one check; each that could not is its own."""
    wanted = f"every workload can be pointed to {mask(value)}"
    good = 0
    for target in ours:
        if target in absent:
            mend = "correct its name, namespace or kind in the platform description, or deploy it"
            yield on.judged(f"workload {local_name(target)}", False, "it does not exist", wanted, mend)
        elif target in seen.workloads:
            try:
                plan_repoint(target, seen.workloads[target], variable, value)
                good += 1
            except RecoveryError as error:
                yield on.failed(f"workload {local_name(target)}", error)
    names = ", ".join(dict.fromkeys(target.variable or variable for target in ours))
    mend = "mend what is said of each workload"
    yield on.judged("workloads", good == len(ours), f"{good} of {len(ours)} by {names}", wanted, mend)


def service_check(on: Checklist, workloads: Mapping[Target, Workload]) -> Check:
    """Say whether the services run: a recovery waits for all that do not, and would count them as its own failure."""
    wanted = "every service that is not scaled to 0 is ready"
    good = all(fully_ready(workload) for workload in workloads.values() if workload.replicas)
    return on.judged("services", good, readiness(workloads), wanted, "mend the services that are not ready")
