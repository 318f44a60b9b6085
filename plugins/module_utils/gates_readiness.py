# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the gates of a run could be passed right now, and its journal be kept. Nothing is taken or asked for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from . import approvals, lease, lease_file, lease_homes, signature
from .approvals import Rule
from .readiness import Check, Checklist
from .report_words import NO_KEY, duration

GATES, RUN = "platform", "recovery_run"
# A run of hours, with the log of its canary, its reports and its evidence.
ROOM_BYTES, ROOM_FILES = 256 * 1024**2, 1000
# A cluster that takes longer than this to tell who holds a lease is not one to rely on.
ASK_SECONDS = 3.0
LEASE_VERBS = ("get", "create", "update")


def lease_checks(homes: Sequence[Mapping[str, Any]], me: lease.Holder, now: float) -> list[Check]:
    """See in every place that keeps the lease who holds it, and whether we may write it."""
    found = []
    for home in homes:
        place = f"cluster {home['cluster']}" if home["provider"] == "kubernetes" else "file"
        on = Checklist(GATES, f"lease, {place}")
        found += on.attempt("lease", lambda on=on, home=home: home_checks(on, home, me, now))  # type: ignore[misc]
    return found


def home_checks(on: Checklist, home: Mapping[str, Any], me: lease.Holder, now: float) -> list[Check]:
    """Look into one of them."""
    [store] = lease_homes.open_stores([home], ASK_SECONDS)
    with closing(store):
        held = on.attempt("lease", lambda: [holder_check(on, store, me, now)])
        may = kubernetes_rights if home["provider"] == "kubernetes" else folder_rights
        return held + on.attempt("right to take it", lambda: [may(on, home, store)])


def holder_check(on: Checklist, store: lease.Store, me: lease.Holder, now: float) -> Check:
    """Say whether this run could take it."""
    record, _ = store.read()
    free = lease.patience(lease.standing(record, me, now), record.seconds) is not None
    mend = "wait until that run is over, or end it (recovery cancel)"
    return on.judged("lease", free, f"held by {record.describe()}", "a lease that no living run holds", mend)


def kubernetes_rights(on: Checklist, home: Mapping[str, Any], store: Any) -> Check:
    """Ask the cluster whether we may write its lease."""
    # Not needed where a file is the home, and not cheap.
    from .kubernetes.readiness import Right, may
    from .kubernetes.transport import Deadline

    deadline = Deadline.after(ASK_SECONDS)
    space = home["namespace"]
    rights = [Right(home["cluster"], space, "coordination.k8s.io", "leases", verb) for verb in LEASE_VERBS]
    denied = [right.verb for right in rights if not may(store.client, right, deadline)]
    wanted = f"{', '.join(LEASE_VERBS)} on leases in namespace {space}"
    seen = f"may not {', '.join(denied)}" if denied else "all of them"
    return on.judged("right to take it", not denied, seen, wanted, f"allow the kubeconfig's user {wanted}")


def folder_rights(on: Checklist, home: Mapping[str, Any], _store: Any) -> Check:
    """See whether the folder can be written, or made."""
    folder = Path(home["folder"] or lease_file.DEFAULT_FOLDER).expanduser()
    place = existing(folder)
    good = os.access(place, os.W_OK | os.X_OK)
    seen = f"{place} can{'' if good else 'not'} be written"
    return on.judged("right to take it", good, seen, f"{folder} can be written", f"correct the permissions of {place}")


def approval_check(rule: Rule | None, initiators: Sequence[str]) -> Check:
    """See that enough people could approve a run that whoever asks now would start."""
    on = Checklist(GATES, "approvals")
    if rule is None:
        return on.judged("people", True, "nobody has to approve", "enough people who can approve", "")
    own = approvals.persons(initiators, rule)
    able = [name for name in rule.approvers if name not in own and rule.keys.get(name)]
    tool = shutil.which(signature.PROGRAM) is not None
    seen = f"{', '.join(able) or 'nobody'} could approve a run started by {initiators[0]}"
    seen += "" if tool else f"; {signature.PROGRAM} is not installed here"
    mend = "name more people with keys in the platform description" if tool else f"install {signature.PROGRAM}"
    return on.judged("people", tool and len(able) >= rule.needed, seen, rule.wanted, mend)


def objective_checks(databases: Sequence[Mapping[str, Any]]) -> list[Check]:
    """See that there is something to measure a recovery against."""
    found = []
    for database in databases:
        on, goals = Checklist(GATES, str(database["name"])), database["objectives"]
        seen = ", ".join(f"{name.upper()} {duration(goals[f'{name}_seconds'])}" for name in ("rto", "rpo"))
        mend = f"set databases.{database['name']}.objectives.rto_seconds to what was promised"
        found.append(on.judged("objectives", goals["rto_seconds"] > 0, seen, "an RTO and an RPO", mend))
    return found


def canary_check(described: bool) -> Check:
    """Say whether anything is measured from outside; who describes no canary has chosen that."""
    seen = "described" if described else "none is described: outage and loss are bounded, not measured"
    return Checklist(GATES, "canary").judged("description", True, seen, "a choice", "")


def sink_checks(folder: Path) -> list[Check]:
    """See that a run's journal can be kept."""
    on, place = Checklist(RUN, "journal"), existing(folder)
    writable = os.access(place, os.W_OK | os.X_OK)
    found = [
        on.judged(
            "sink",
            writable,
            f"{place} can{'' if writable else 'not'} be written",
            "a folder that this user can write",
            f"correct the permissions of {place}, or point recovery_journal elsewhere",
        )
    ]
    wanted = f"{ROOM_BYTES // 1024**2} MiB and {ROOM_FILES} files free"
    mend = f"free space on the disk of {place}, or point recovery_journal elsewhere"
    try:
        disk = os.statvfs(place)
    except OSError as error:
        return [*found, on.judged("room", None, error.strerror or str(error), wanted, mend)]
    free = disk.f_bavail * disk.f_frsize
    # Some file systems have no number of files that could run out, and say 0 of 0.
    files = disk.f_favail >= ROOM_FILES or not disk.f_files
    seen = f"{free // 1024**2} MiB free" + ("" if files else f", {disk.f_favail} files")
    return [*found, on.judged("room", free >= ROOM_BYTES and files, seen, wanted, mend)]


def evidence_check(key: str | None) -> Check:
    """See that the evidence could be signed, where that is wanted."""
    on, wanted = Checklist(RUN, "evidence"), "a key that can be read, or none by choice"
    if not key:
        return on.judged("key", True, f"not signed: {NO_KEY}", wanted, "")
    path = Path(key).expanduser()
    good = path.is_file() and os.access(path, os.R_OK) and shutil.which(signature.PROGRAM) is not None
    seen = f"{path} {'can be read' if good else 'cannot be used'}"
    return on.judged("key", good, seen, wanted, f"correct recovery_evidence_key, and install {signature.PROGRAM}")


def existing(path: Path) -> Path:
    """Give the nearest folder above that is there."""
    path = path.absolute()
    return next((place for place in (path, *path.parents) if place.exists()), Path("/"))
