# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether a run could begin right now, and whether one region can stand in for another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils import certificates, controller_readiness, lease
from ansible_collections.platform.recovery.plugins.module_utils import gates_readiness as gates
from ansible_collections.platform.recovery.plugins.module_utils import run as runs
from ansible_collections.platform.recovery.plugins.module_utils.approvals import Rule
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes import parity
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import Fleet, Settings
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import build as build_fleet
from ansible_collections.platform.recovery.plugins.module_utils.readiness import Check, Checklist, result
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "platform_readiness"

    def act(self, call: Call) -> dict[str, Any]:
        """Look at what stands before the first change."""
        return result(call.run, PARTS[call.options["part"]](call))


def of_gates(call: Call) -> list[Check]:
    """Look at lease, approvals and objectives."""
    options, who = call.options, runs.initiator(call.task_vars)
    me = lease.holder(who, call.run.id if call.run else "", runs.controller())
    return [
        *gates.lease_checks(options["homes"], me, time.time()),
        gates.approval_check(Rule.of(options["approvals"]) if options["approvals"] else None, [who]),
        *gates.objective_checks(options["databases"]),
        gates.canary_check(options["canary"]),
    ]


def of_run(call: Call) -> list[Check]:
    """Look at where this run's own journal is kept, for there the next one's will be."""
    folder = call.run.folder.parent if call.run else runs.sink_folder(None)
    return [*gates.sink_checks(folder), gates.evidence_check(call.options["evidence_key"])]


def of_regions(call: Call) -> list[Check]:
    """Look at the controller, at certificates and at both regions' clusters, all side by side."""
    options = call.options
    platform = {**options["platform"], **{name: {} for name in options["without"]}}
    asked = [name for name in platform["clusters"] if name not in options["regions"]["lost_clusters"]]
    days, seconds = options["certificate_days"], options["connect_seconds"]
    with ThreadPoolExecutor(2) as beside:
        shown = beside.submit(certificates.checks, platform, asked, days, seconds)
        compared = beside.submit(of_clusters, options)
        found = controller_readiness.checks(platform, options["credentials"])
    likes, held = compared.result()
    found += shown.result()
    return found + [check for piece in held for check in certificates.held_checks(piece, days, time.time())] + likes


def of_clusters(options: Mapping[str, Any]) -> tuple[list[Check], list[certificates.Held]]:
    """Compare the clusters of the target with those of the region that it would stand in for."""
    regions = options["regions"]
    source, target = regions["source"], regions["target"]
    on = Checklist(parity.ROLE, f"{target} like {source or 'none'}")
    if not regions["workloads"] or not source:
        return [on.judged("clusters", True, "no service is described in both regions", "nothing to compare", "")], []
    found: list[tuple[list[Check], list[certificates.Held]]] = []

    def look() -> list[Check]:
        seen = read_regions(options)
        found.append((list(parity.checks(seen[source], seen[target], options["expected_differences"])), held_of(seen)))
        return []

    failed = on.attempt("clusters", look)
    return found[0] if found else (failed, [])


def held_of(seen: Mapping[str, parity.Region]) -> list[certificates.Held]:
    """Give the certificates that both regions hold as secrets."""
    return [certificates.Held(*pair) for region in seen.values() for pair in parity.certificates(region)]


def read_regions(options: Mapping[str, Any]) -> dict[str, parity.Region]:
    """Read the namespaces of the services in every cluster of both regions. Raises RecoveryError."""
    regions = options["regions"]
    named = [*regions["workloads"], *regions["source_workloads"]]
    spaces: dict[str, list[str]] = {}
    for entry in named:
        known = spaces.setdefault(entry["cluster"], [])
        if entry["namespace"] not in known:
            known.append(entry["namespace"])
    settings = Settings(
        timeout_seconds=2 * options["request_timeout_seconds"],
        concurrency=options["concurrency"],
        request_seconds=options["request_timeout_seconds"],
        lost_clusters=tuple(regions["lost_clusters"]),
        check=True,
    )
    fleet: Fleet
    fleet, _ = build_fleet(regions["clusters"], [], settings, also=list(spaces))
    with closing(fleet):
        where = {name: regions["clusters"][name]["region"] for name in fleet.clients}
        found = parity.read(fleet.clients, spaces, where, fleet.deadline, options["concurrency"])
    return {region: found.get(region, parity.Region(region)) for region in (regions["source"], regions["target"])}


PARTS: Mapping[str, Callable[[Call], list[Check]]] = {"gates": of_gates, "run": of_run, "regions": of_regions}
