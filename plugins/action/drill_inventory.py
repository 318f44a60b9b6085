# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that a drill left production as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils import drill
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, StepFailed
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes import scratch as objects
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.client import Client
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.kubeconfig import load
from ansible_collections.platform.recovery.plugins.module_utils.postgresql import scratch as servers
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import Credentials, members_from
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction

FILE = "production.json"
GATE = "production unchanged"
WANTED = "all that a drill could touch is as it was before"


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "drill_inventory"
    MAPS = frozenset({"credentials"})

    def act(self, call: Call) -> dict[str, Any]:
        """List, and keep the list or hold it against the one that was kept."""
        if call.run is None:
            raise BadInput(
                "No run is open, so there is no place for the list",
                wanted="a run opened by checkpoint",
                next_action="open a run first (checkpoint with state: begin)",
            )
        file = call.run.folder / FILE
        now = inventory(call.options)
        told = {"changed": False, "total": len(now), "digest": drill.digest(now)}
        if call.options["moment"] == "before":
            keep(file, now)
            call.run.journal.append("observation", what="production before the drill", lines=drill.counts(now), **told)
            return {**told, "lines": [f"{len(now)} things of production are remembered"]}
        different = drill.differences(kept(file), now)
        said = {"gate": GATE, "wanted": WANTED, "by": "observation"}
        seen = drill.shown(different) or f"{len(now)} things compared: {'; '.join(drill.counts(now))}"
        call.run.journal.append("decision", verdict="refuse" if different else "pass", observed=seen, **said)
        if different:
            raise StepFailed(
                f"Production is not as it was before the drill: {len(different)} differences",
                wanted=WANTED,
                observed=seen,
                next_action="find out who changed it meanwhile; if nobody did, the drill has, and that is a defect",
                differences=different,
                gates=[GATE],
            )
        return {**told, "lines": [f"Production is as it was: {len(now)} things compared"]}


def keep(file: Path, found: Mapping[str, str]) -> None:
    """Write the list, unless an earlier attempt of the run has: what a killed one did must show."""
    if not file.exists():
        draft = file.with_suffix(".new")
        draft.write_text(json.dumps(found, indent=1, sort_keys=True))
        draft.replace(file)


def kept(file: Path) -> dict[str, str]:
    """Read the list that was kept. Raises StepFailed."""
    try:
        found: dict[str, str] = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise StepFailed(
            "The list of what production was before the drill cannot be read",
            observed=str(error),
            next_action="run the drill again under another id",
        ) from error
    return found


def inventory(options: Mapping[str, Any]) -> dict[str, str]:
    """List everything, all places at once."""
    platform, target = options["platform"], options["target"]
    limits = servers.Limits(options["connect_seconds"], options["statement_seconds"])
    work: list[Callable[[], dict[str, str]]] = []
    for name, database in drill.selected(platform, target).items():
        account = options["credentials"][database["credentials"]]
        credentials = Credentials(account["user"], account["password"])
        members = members_from(database["members"])
        work.append(partial(servers.inventory, name, members, database["database"], credentials, limits))
    for name, cluster in platform["clusters"].items():
        work.append(partial(objects_of, platform, name, cluster, limits.statement_seconds))
    with ThreadPoolExecutor(max_workers=len(work)) as pool:
        parts = pool.map(lambda one: one(), work)
        return {key: value for part in parts for key, value in part.items()}


def objects_of(platform: Mapping[str, Any], name: str, cluster: Mapping[str, Any], seconds: float) -> dict[str, str]:
    """List one cluster's objects."""
    used = sorted({s["namespace"] for s in platform["services"].values() if name in s["clusters"]})
    with closing(Client(name, load(cluster["kubeconfig"], cluster["context"]))) as client:
        return objects.inventory(client, used, platform["drill"]["namespace"], seconds=seconds)
