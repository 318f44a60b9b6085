# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers of a drill's scratch, made of a standby on its own host; and what a drill must leave as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..drill import NEW, OLD, digest
from ..errors import PreconditionFailed, StepFailed
from ..waiting import wait_until
from . import conninfo, rejoin_scripts, scratch_scripts
from .client import ServerError, Session
from .host import Done, facts_from, run_script
from .model import Credentials, Member

QUICK_SECONDS = 60.0
# What a standby must have at least as much of as its primary, and what both need to be reached like the real ones.
KEPT = (
    "max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions",
    "max_locks_per_transaction", "wal_retrieve_retry_interval", "ssl", "password_encryption",
)  # fmt: skip
FILES = ("ssl_cert_file", "ssl_key_file", "ssl_ca_file")
# It archives nothing, follows no publisher, loads no library that works by itself, and takes little memory.
SETTINGS = {
    "unix_socket_directories": "",
    "wal_level": "replica",
    "hot_standby": "on",
    "wal_keep_size": "256MB",
    "archive_mode": "off",
    "archive_command": "",
    "restore_command": "",
    "synchronous_standby_names": "",
    "shared_preload_libraries": "",
    "max_logical_replication_workers": "0",
    "shared_buffers": "64MB",
    "huge_pages": "off",
    "dynamic_shared_memory_type": "mmap",
    "logging_collector": "off",
    "log_destination": "stderr",
}
STANDBY_QUESTION = """
SELECT pg_is_in_recovery(), host(inet_server_addr()), inet_server_port(),
  current_setting('server_version_num')::int / 10000,
  current_setting('hba_file'), current_setting('ident_file'), current_setting('data_directory')
"""
STREAMS = "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'"
SERVER_QUESTIONS = {
    "database": "SELECT datname, pg_get_userbyid(datdba), datallowconn FROM pg_database",
    "role": "SELECT rolname, rolsuper, rolreplication, rolcanlogin, rolconfig::text FROM pg_roles",
    "slot": "SELECT slot_name::text, slot_type, plugin::text FROM pg_replication_slots WHERE NOT temporary",
    "follower": "SELECT application_name FROM pg_stat_replication WHERE application_name <> 'pg_basebackup'",
    "setting": "SELECT name, setting FROM pg_settings WHERE source NOT IN ('session', 'client')",
    "tablespace": "SELECT spcname, pg_tablespace_location(oid) FROM pg_tablespace",
    "recovery": "SELECT 'state', pg_is_in_recovery(), system_identifier::text FROM pg_control_system()",
}
DATABASE_QUESTIONS = {
    "relation": "SELECT n.nspname || '.' || c.relname, c.relkind::text FROM pg_class AS c JOIN pg_namespace AS n "
    "ON n.oid = c.relnamespace WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
    "schema": "SELECT nspname, pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname !~ '^pg_'",
    "extension": "SELECT extname, extversion FROM pg_extension",
    "publication": "SELECT pubname, puballtables FROM pg_publication",
    "subscription": "SELECT subname, subenabled FROM pg_subscription",
}


@dataclass(frozen=True)
class Limits:
    """How long each part may take."""

    connect_seconds: float = 5.0
    statement_seconds: float = 30.0
    copy_seconds: float = 14400.0
    start_seconds: float = 300.0


class Scratch:
    """The two scratch servers of one database."""

    def __init__(
        self, standby: Member, servers: Mapping[str, Member], database: str, credentials: Credentials, limits: Limits
    ) -> None:
        self.standby = standby
        self.servers = servers
        self.database = database
        self.credentials = credentials
        self.limits = limits
        self.address = ""
        """Where its servers listen, known once they were made."""

    def find(self) -> str | None:
        """Give the run that left a scratch here, if there is one."""
        return self._left("find")

    def remove(self) -> str | None:
        """Remove the scratch, whoever made it. Gives whose it was."""
        return self._left("remove")

    def create(self, run_id: str) -> None:
        """Copy the standby, and the copy once more; start both, and see that the second follows the first."""
        with self._session(self.standby) as session:
            recovery, address, port, major, hba, ident, data = session.rows(STANDBY_QUESTION)[0]
            kept = {name: session.value("SELECT current_setting(%s)", [name]) for name in KEPT}
            files = {name: session.value("SELECT current_setting(%s)", [name]) for name in FILES}
            streams = session.value(STREAMS)
        self.address = address
        if not recovery or not streams:
            raise PreconditionFailed(
                f"{self.standby.name} is no standby that follows its primary: a drill copies one, and nothing else",
                wanted=f"{self.standby.name} is a standby and streams",
                observed="it receives nothing" if recovery else "it answers as primary",
                next_action="repair the replication, then run again"
                if recovery
                else "choose the region of a standby as recovery_target",
                gate="drill standby",
            )
        absolute = {name: path if path.startswith("/") else f"{data}/{path}" for name, path in files.items() if path}
        settings = {"listen_addresses": address, **kept, **absolute, **SETTINGS}
        way = conninfo.write({"host": address, "user": self.credentials.user, "sslmode": "prefer"})
        access = conninfo.Access(way, ((self.credentials.user, self.credentials.password or ""),))
        values = {
            "run": run_id,
            "major": major,
            "described_bin": self.standby.bin_directory or "",
            "port": port,
            "old_port": self.servers[OLD].port,
            "new_port": self.servers[NEW].port,
            "own_address": f"{address}/{128 if ':' in address else 32}",
            "way": way,
            "passwords": conninfo.passfile(access),
            "hba": hba,
            "ident": ident,
            "settings": "".join(f"{name} = {quoted(value)}\n" for name, value in settings.items()),
            "start_seconds": int(self.limits.start_seconds),
        }
        self._must(self._run("create", values, seconds=self.limits.copy_seconds), "made")
        with self._session(self.servers[NEW]) as session:
            wait_until(
                lambda: session.value(STREAMS),
                seconds=self.limits.start_seconds,
                describe=f"{NEW} to stream from {OLD}",
                next_action="look at the log in the scratch's folder on the standby's host, then run again",
            )

    def strike(self) -> None:
        """Kill the pretended old primary, as a disaster would."""
        self._must(self._run("strike", {}, seconds=QUICK_SECONDS), "struck")

    def _left(self, verb: str) -> str | None:
        done = self._run(verb, {}, seconds=self.limits.start_seconds)
        return facts_from(self._must(done, "removed").sections().get("facts", "")).get("mark")

    def _run(self, verb: str, values: Mapping[str, object], *, seconds: float) -> Done:
        given = {
            "data": str(self.standby.data_directory).rstrip("/"),
            "described_config": "",
            "lock_seconds": rejoin_scripts.LOCK_SECONDS,
            "old": OLD,
            "new": NEW,
            **values,
        }
        return run_script(self.standby, scratch_scripts.script(verb, given), seconds=seconds)

    def _must(self, done: Done, what: str) -> Done:
        if done.good:
            return done
        raise StepFailed(
            f"The scratch of {self.database} on the host of {self.standby.name} could not be {what}",
            observed=done.why_not,
            next_action="mend that and run the drill again: it removes what this one left",
        )

    def _session(self, member: Member) -> Session:
        return Session(
            member,
            self.credentials,
            connect_seconds=self.limits.connect_seconds,
            statement_seconds=self.limits.statement_seconds,
        )


def quoted(value: str) -> str:
    """Quote a value of postgresql.conf."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def inventory(
    name: str, members: Mapping[str, Member], database: str, credentials: Credentials, limits: Limits
) -> dict[str, str]:
    """Give a digest of all that a drill could have touched at every member. Raises PreconditionFailed."""
    found: dict[str, str] = {}
    for member in members.values():
        for where, questions in (("postgres", SERVER_QUESTIONS), (database, DATABASE_QUESTIONS)):
            place = f"{name} {member.name}"
            found |= ask(member, credentials, where, questions, place, limits)
    return found


def ask(
    member: Member,
    credentials: Credentials,
    database: str,
    questions: Mapping[str, str],
    place: str,
    limits: Limits,
) -> dict[str, str]:
    """Ask one database of one member. Raises PreconditionFailed."""
    wait = {"connect_seconds": limits.connect_seconds, "statement_seconds": limits.statement_seconds}
    try:
        with Session(member, credentials, database, **wait) as session:
            rows = [(kind, row) for kind, question in questions.items() for row in session.rows(question)]
    except ServerError as error:
        raise PreconditionFailed(
            f"{place} cannot be asked: whether the drill leaves it as it was could not be shown",
            wanted="every member answers before and after a drill",
            observed=error.detail,
            next_action="mend that first; a drill is for a healthy platform",
            gate="production unchanged",
        ) from error
    return {f"{place}: {kind} {row[0]}": digest(as_text(row[1:])) for kind, row in rows}


def as_text(values: tuple[Any, ...]) -> list[str]:
    """Give values as the words of an answer."""
    return [str(value) for value in values]
