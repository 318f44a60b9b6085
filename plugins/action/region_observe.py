# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See whether a whole region is lost, and whether the target's databases take writes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.postgresql import steps, vantage
from ansible_collections.platform.recovery.plugins.module_utils.region import decide, observe, writable
from ansible_collections.platform.recovery.plugins.module_utils.region.decide import Verdict
from ansible_collections.platform.recovery.plugins.module_utils.region.model import (
    Database,
    Platform,
    View,
    platform_of,
)
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "region_observe"
    MAPS = frozenset(
        {
            "credentials",
            "databases",
            "databases.members",
            "regions",
            "regions.clusters",
            "regions.edges",
            "zones",
            "zones.targets",
        }
    )

    def act(self, call: Call) -> dict[str, Any]:
        """Look, judge, and refuse where that is the purpose."""
        if call.options["statement"]:
            steps.require_reason(call.options, "statement")
        platform = platform_of(call.options)
        if call.options["purpose"] == "writable":
            return self._writable(call, platform)
        return self._confirm(call, platform)

    def _confirm(self, call: Call, platform: Platform) -> dict[str, Any]:
        options = call.options
        word = bool((options["statement"] or "").strip())
        # Where a person vouches for it nobody waits for the checkers' next round.
        view = observe.look(platform, options["connect_seconds"], patience=0.0 if word else options["patience_seconds"])
        verdict = decide.judge(view, platform.others, word=word)
        mode = decide.effective_mode(options["mode"], verdict)
        if mode == "switchover":
            verdict = Verdict(verdict.standing)
        lines = decide.lines(view, verdict)
        record_view(call, view)
        gates = decide.gates(view, verdict, mode, options["reason"], returning=options["returning"])
        steps.record(call.run, gates)
        steps.refuse(gates, f"The region {mode} to {platform.target} is refused", lines)
        return {**result_of(platform, view, verdict, options), "effective_mode": mode, "lines": lines}

    def _writable(self, call: Call, platform: Platform) -> dict[str, Any]:
        gates = writable.gates(platform, call.options["connect_seconds"])
        gates += [writable.store_gate(kind, platform.target, found) for kind, found in call.options["stores"].items()]
        if not call.check:  # a plan has promoted nobody
            steps.record(call.run, gates)
            steps.refuse(gates, f"No traffic is let into {platform.target}", [])
        return {"lines": [f"{gate.gate}: {gate.observed}" for gate in gates]}


def record_view(call: Call, view: View) -> None:
    """Journal who said what."""
    if call.run:
        call.run.journal.append(
            "observation",
            what="regions",
            lines=vantage.table(view.statements),
            statements=[item.as_dict() for item in view.statements],
        )


def result_of(platform: Platform, view: View, verdict: Verdict, options: Mapping[str, Any]) -> dict[str, Any]:
    """Give what later steps need: which regions are out, and what is left to work on without them."""
    silent = [name for region in verdict.lost for name in platform.regions[region].clusters]
    back = [name for region in verdict.left for name in platform.regions[region].clusters]
    return {
        "standing": verdict.standing,
        "lost": list(verdict.lost),
        "left": list(verdict.left),
        "lost_region": next(iter(verdict.leaving), ""),
        "returned_clusters": back,
        "services": [outside(one, {*silent, *back}) for one in options["services"]],
        "services_here": services_here(platform, view, options["services"]),
        "zones": {name: without(zone, verdict.lost) for name, zone in options["zones"].items()},
        "next_actions": decide.pending(verdict, silent, platform.target),
    }


def services_here(platform: Platform, view: View, services: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give what a step on the target's own services needs to let them work with the primaries as they are now."""
    own = platform.regions[platform.target].clusters
    elsewhere = {name for one in services for name in one["clusters"] if name not in own}
    hosts = {one.name: present_host(one, view) for one in platform.databases}
    return [{**outside(one, elsewhere), "value": hosts[one["name"]]} for one in services if hosts.get(one["name"])]


def present_host(database: Database, view: View) -> str | None:
    """Give where a database is written to now, as applications are told."""
    primaries = [region for region, state in view.databases[database.name].items() if state.is_primary]
    return database.members[primaries[0]].host if len(primaries) == 1 else None


def outside(database: Mapping[str, Any], out: Collection[str]) -> dict[str, Any]:
    """Give what a step on services needs of a database, without the clusters of regions that are out."""
    return {
        **database,
        "clusters": {name: one for name, one in database["clusters"].items() if name not in out},
        "workloads": [one for one in database["workloads"] if one["cluster"] not in out],
        "lost_clusters": [name for name in database["lost_clusters"] if name not in out],
    }


def without(zone: Mapping[str, Any], lost: Sequence[str]) -> dict[str, Any]:
    """Give a zone without the servers that are lost with their region: nobody waits for them, and nobody asks them."""
    kept = {kind: [one for one in zone[kind] if one["region"] not in lost] for kind in ("servers", "resolvers")}
    # Where none is left those of the zone's NS records would be asked, lost ones among them.
    return {**zone, **{kind: rows or zone[kind] for kind, rows in kept.items()}}
