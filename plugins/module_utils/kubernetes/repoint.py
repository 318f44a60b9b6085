# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Point an environment variable of many workloads to a new value."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from . import vantage
from .client import JSON_PATCH
from .fleet import Fleet, Written
from .workloads import Repoint, Target, Workload, mask, plan_repoint


def repoint(fleet: Fleet, targets: Sequence[Target], variable: str, value: str) -> dict[str, Any]:
    """Observe all, plan all, then patch those that differ, all clusters at once."""
    seen = fleet.observe(targets)

    def plan(target: Target, workload: Workload) -> Repoint:
        return plan_repoint(target, workload, variable, value)

    begin = time.monotonic()
    done = fleet.write(seen, plan, lambda planned: list(planned.operations) or None, JSON_PATCH, "repoint")
    took = time.monotonic() - begin
    patched = [target for target, written in done.items() if written.changed]
    verb = "would be patched" if fleet.settings.check else "patched"
    number = len(targets) - len(patched) if fleet.settings.check else len(targets)
    counts = f"{len(patched)} {verb}" + ("" if fleet.settings.check else f" in {took:.2f} s")
    lines = [f"{number} of {len(targets)} workloads point to {mask(value)} ({counts})"]
    # A preflight is also how a recovery hears the clusters; right before a patch nobody decides by it.
    vantages = vantage.vantages_of(seen, targets) if fleet.settings.check else []
    return {
        "changed": bool(patched),
        "variable": ", ".join(dict.fromkeys(written.plan.variable for written in done.values())) or variable,
        "value": mask(value),
        "total": len(targets),
        "patched": len(patched),
        "unchanged": len(done) - len(patched),
        "patch_seconds": round(took, 4),
        "workloads": {target.key: describe(target, written) for target, written in done.items()},
        "lost_clusters": list(fleet.lost),
        "vantages": vantages,
        "lines": fleet.tell(targets, [*vantage.told(vantages), *lines]),
        "diff": difference(done),
    }


def describe(target: Target, written: Written) -> dict[str, Any]:
    """Show one workload's result."""
    plan: Repoint = written.plan
    return {
        "cluster": target.cluster,
        "namespace": target.namespace,
        "kind": target.kind,
        "name": target.name,
        "variable": plan.variable,
        "containers": list(plan.containers),
        "before": plan.before,
        "after": plan.after,
        "changed": written.changed,
        "generation": written.generation,
    }


def difference(done: dict[Target, Written]) -> dict[str, str]:
    """Show before and after as Ansible prints them."""
    changed = [(target.key, written.plan) for target, written in done.items() if written.changed]
    return {
        "before": "".join(f"{key} {plan.variable}={plan.before}\n" for key, plan in changed),
        "after": "".join(f"{key} {plan.variable}={plan.after}\n" for key, plan in changed),
    }
