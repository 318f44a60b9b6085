# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the platform's lease for this run, or give it back."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils import lease, lease_homes
from ansible_collections.platform.recovery.plugins.module_utils import run as runs
from ansible_collections.platform.recovery.plugins.module_utils.errors import (
    BadInput,
    PreconditionFailed,
    RecoveryError,
)
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction

WANTED = "nobody else recovers this platform"


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "recovery_lease"

    def act(self, call: Call) -> dict[str, Any]:
        """Take it, say in check mode whether it could be taken, or give it back."""
        if call.options["state"] == "released":
            return give_back(call)
        if call.run is None:
            raise BadInput(
                "recovery_lease found no open run",
                wanted="a run opened by checkpoint in an earlier task of this playbook",
                observed="no registered result recovery_run",
                next_action="open the run first: the role platform.recovery.recovery_run does it",
            )
        refuse_without_home(call)
        with lease.closing(lease_homes.open_stores(call.options["homes"])) as stores:
            if call.check:
                return {"grants": [], "lines": [foretell(stores[0])]}
            return take(call, call.run, stores)


def take(call: Call, run: runs.Run, stores: Sequence[lease.Store]) -> dict[str, Any]:
    """Become the holder in every home that answers, and journal by whose word one was left out."""
    options = call.options
    who, reason = runs.initiator(call.task_vars), options["reason"] or "no reason given"
    for cluster in options["left_out"]:
        gate, observed = f"lease without cluster {cluster}", "not asked: the operator says that it is lost"
        wanted = "an answer from every place where the lease is kept"
        by = f"operator: {reason}"
        run.journal.append("decision", gate=gate, observed=observed, wanted=wanted, verdict="override", by=by)
    me = lease.holder(who, run.id, runs.controller(), options["playbook"] or "", options["target"] or "")
    taken, before, silent = lease.take_all(stores, me, options["seconds"])
    lines = told(taken, before, silent)
    run.journal.append(
        "decision", gate=lease.GATE, observed="; ".join(lines), wanted=WANTED, verdict="pass", by="observation"
    )
    homes = {store.name: home for store, home in zip(stores, options["homes"], strict=True)}
    return {
        "grants": [{"home": homes[store.name], **asdict(grant)} for store, grant in taken],
        "holder": {"run_id": me.run_id, "who": me.who, "host": me.host, "pid": me.pid},
        "silent": silent,
        "lines": lines,
    }


def told(
    taken: Sequence[tuple[lease.Store, lease.Grant]], before: Sequence[lease.Record], silent: Sequence[str]
) -> list[str]:
    """Say what was taken, from whom, and where nobody answered."""
    lines = [f"lease taken in {store.name}, fencing token {grant.term}" for store, grant in taken]
    lines += [f"taken over from {record.describe()}" for record in before[:1] if record.holder]
    return lines + [f"a further copy of the lease is not kept: {text}" for text in silent]


def foretell(store: lease.Store) -> str:
    """Say who holds it now; a plan takes none and is refused by none."""
    try:
        record, _ = store.read()
    except RecoveryError as error:
        return f"the lease could not be taken now: {error.what} ({error.observed})"
    return f"the lease in {store.name} is held by {record.describe()}"


def refuse_without_home(call: Call) -> None:
    """Refuse where nothing is left to keep the lease in. Raises PreconditionFailed."""
    if call.options["homes"]:
        return
    raise PreconditionFailed(
        "There is no place left to keep the platform's lease in",
        wanted="one cluster of the platform description's lease that lives",
        observed=f"all are lost by the operator's word: {', '.join(call.options['left_out'])}",
        next_action=(
            "make sure that nobody else recovers this platform, then set lease.provider to file in the platform "
            "description, on the one machine that everybody uses"
        ),
        gate=lease.GATE,
    )


def released(result: Mapping[str, Any]) -> str:
    """Release a lease and say so. What was recovered must not fail because of it: it expires by itself."""
    try:
        held = lease_homes.reopened(result)
        if held is None:
            return "no lease was taken"
        with contextlib.closing(held):
            given = held.release()
    except RecoveryError as error:
        return f"the platform's lease could not be given back and expires by itself: {error.what}"
    return "the platform's lease is given back" if given else "the lease was this run's no more"


def give_back(call: Call) -> dict[str, Any]:
    """Release what an earlier task of this playbook took."""
    result = lease_homes.registered(call.task_vars)
    if result is None or call.check:
        return {"lines": []}
    lines = [released(result)]
    if call.run:
        call.run.journal.append("observation", what=lease.GATE, lines=lines)
    return {"lines": lines}
