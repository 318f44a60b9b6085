# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How both databases are when nobody has touched them, and how they become so again."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import copies, faults, provision, supervisor
from .errors import LabError
from .postgresql import DATABASE, Member
from .provision import Lab
from .state import State, write
from .supervisor import Process
from .wait import NotYet, until

# What a server is asked, beside its files. Every change to what a database holds takes the number of a transaction:
# while the next one is the same, no row, role, database or table has changed. What takes none is asked for by name.
QUESTIONS = {
    "standby": "select pg_is_in_recovery()",
    "system": "select system_identifier::text from pg_control_system()",
    "timeline": """
        select case when pg_is_in_recovery() then lpad(to_hex(timeline_id), 8, '0')
                    else left(pg_walfile_name(pg_current_wal_lsn()), 8) end from pg_control_checkpoint()""",
    "settings": "select name, setting, source, pending_restart from pg_settings order by name",
    "slots": "select slot_name::text, slot_type, temporary, active from pg_replication_slots order by 1",
    "sequences": "select schemaname::text, sequencename::text, last_value from pg_sequences order by 1, 2",
    "followers": "select application_name, state from pg_stat_replication order by 1",
    "follows": "select status from pg_stat_wal_receiver",
}
# Only the primary gives numbers; where its standby is by now is the standby's own affair.
NEXT = "select pg_snapshot_xmax(pg_current_snapshot())::text where not pg_is_in_recovery()"
# Clients that a test forgot hold locks and transactions, which nothing above shows.
FORGOTTEN = """
    select count(pg_terminate_backend(pid)) from pg_stat_activity
    where backend_type = 'client backend' and pid <> pg_backend_pid() and (xact_start < now() - interval '1 second'
    or pid in (select pid from pg_locks where locktype = 'advisory'))"""
# Of one start only.
VOLATILE = ("postmaster.pid",)

Observation = dict[str, Any]


def observe(lab: Lab) -> dict[str, Observation]:
    """Look at both servers, which must run. OSError if one does not answer."""
    seen = supervisor.processes()
    return {member.region: _look(member, seen[f"{member.target}/postgres"]) for member in provision.members(lab)}


def _look(member: Member, process: Process) -> Observation:
    answers = member.ask(DATABASE, {"forgotten": FORGOTTEN, **QUESTIONS, "next": NEXT})
    del answers["forgotten"]
    return answers | {
        "files": _digests(member.data),
        "configuration": _digests(member.folder),
        "archive": sorted(path.name for path in member.state.archive(member.region).iterdir()),
        # One that somebody has limited is no fresh one.
        "limits": Path(f"/proc/{process.pid}/limits").read_text(),
    }


def _digests(folder: Path) -> dict[str, str]:
    """Give what lies in a folder, by name: of files what is in them, for some are only read at the next start."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.iterdir()
        if path.name not in VOLATILE
    }


def remember(lab: Lab, folder: Path) -> None:
    """Write down how the databases are now, untouched."""
    _write(folder, observe(lab))


def _write(folder: Path, observation: dict[str, Observation]) -> None:
    write(folder / "databases.json", json.dumps(observation, sort_keys=True), mode=0o600)


def _remembered(lab: Lab) -> dict[str, Observation]:
    content: dict[str, Observation] = json.loads((lab.state.first / "databases.json").read_text())
    return content


def touched(lab: Lab) -> list[str]:
    """Name what is not as in the first state; nothing if the databases can be left as they are."""
    seen = supervisor.processes()
    names = [f"{member.target}/{part}" for member in provision.members(lab) for part in ("postgres", "guard")]
    down = [f"{name} is {seen[name].state}" for name in names if seen[name].state != "running" or seen[name].masked]
    if down:
        return down
    try:
        return differences(_remembered(lab), observe(lab))
    except (OSError, LabError) as error:
        return [str(error)]


def differences(wanted: dict[str, Observation], seen: dict[str, Observation], ignored: str = "") -> list[str]:
    """Name what differs between two observations."""
    plain = json.loads(json.dumps(seen))  # rows are lists there
    return [
        f"{region}/postgresql: {what}"
        for region in wanted
        for what in sorted(wanted[region])
        if what != ignored and wanted[region][what] != plain[region].get(what)
    ]


def end(lab: Lab) -> None:
    """End both servers and their guards at once, fenced or not; what they hold is thrown away."""
    names = [f"{member.target}/{part}" for member in provision.members(lab) for part in ("guard", "postgres")]
    faults.at_once(lambda name: supervisor.act(name, "kill"), names)
    for name in names:
        supervisor.act(name, "unmask")


def put_back(lab: Lab) -> None:
    """Start both servers from the kept copy of their data."""
    primary, standby = provision.members(lab)
    with ThreadPoolExecutor() as pool:
        ready = pool.submit(_restore, lab, primary)
        waiting = pool.submit(_restore, lab, standby)
        ready.result()
        primary.start_guard()
        primary.start()
        waiting.result()
    standby.start_guard()
    # After its primary: it would wait five seconds before it asks for it again.
    standby.start()
    until(standby.receives, seconds=30, what=f"{standby.target} to stream")


def _restore(lab: Lab, member: Member) -> None:
    kept = State(lab.state.snapshot)
    copies.bring_back(kept.data(member.region, "postgresql"), member.data)
    copies.bring_back(kept.archive(member.region), member.state.archive(member.region))
    # Nothing runs here, whatever process has that number by now.
    (member.data / "postmaster.pid").unlink(missing_ok=True)


def confirm(lab: Lab) -> None:
    """See that all is as at first, with a fresh mark that the standby has replayed. LabError names what is not."""
    primary, standby = provision.members(lab)
    primary.leave_mark()
    [[mark]] = primary.execute("postgres", "select pg_current_wal_lsn()::text")

    def same() -> dict[str, Observation]:
        if not standby.execute("postgres", f"select pg_last_wal_replay_lsn() >= '{mark}'")[0][0]:
            raise NotYet(f"{standby.target} has not replayed {mark}")
        now = observe(lab)
        different = differences(_remembered(lab), now, ignored="next")
        if different:
            raise NotYet(", ".join(different))
        return now

    _write(lab.state.first, until(same, seconds=10, what="the databases to be as at first", interval=0.02))
