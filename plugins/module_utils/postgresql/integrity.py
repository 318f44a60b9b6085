# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in the tables, whether their rules hold, and who is connected."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import StepFailed
from .client import ServerError, Session

# The sum does not depend on the order of rows, and unlike an exclusive or it sees a row that is there twice.
TABLE_QUESTION = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM {table} AS t"
ESTIMATE_QUESTION = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass(%s)"
CONSTRAINTS_QUESTION = """
SELECT conrelid::regclass::text, conname FROM pg_constraint
WHERE NOT convalidated
  AND conrelid = ANY (SELECT to_regclass(name) FROM unnest(%s) AS name) {enforced} ORDER BY 1, 2
"""
INDEXES_QUESTION = """
SELECT indrelid::regclass::text, indexrelid::regclass::text FROM pg_index
WHERE NOT (indisvalid AND indisready)
  AND indrelid = ANY (SELECT to_regclass(name) FROM unnest(%s) AS name) ORDER BY 1, 2
"""
CLIENTS_QUESTION = """
SELECT application_name, coalesce(host(client_addr), 'local'), count(*) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND datname = %s AND application_name <> %s GROUP BY 1, 2 ORDER BY 1, 2
"""


@dataclass(frozen=True)
class TableFacts:
    """A table's rows: exact, or estimated with a note that says why."""

    name: str
    rows: int | None
    checksum: str | None
    note: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give it as a task's result carries it."""
        return {"rows": self.rows, "checksum": self.checksum, "note": self.note}


@dataclass(frozen=True)
class Client:
    """Connections of one application from one address."""

    application_name: str
    address: str
    connections: int

    def as_dict(self) -> dict[str, Any]:
        """Give it as a task's result carries it."""
        return {
            "application_name": self.application_name,
            "address": self.address,
            "connections": self.connections,
        }


def quoted(table: str) -> str:
    """Quote a table's name, with or without its schema."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in table.split("."))


def table_facts(session: Session, tables: Sequence[str], seconds: float) -> dict[str, TableFacts]:
    """Count and sum every table, within a budget for all of them together."""
    end = time.monotonic() + seconds
    return {table: one_table(session, table, end - time.monotonic(), seconds) for table in tables}


def one_table(session: Session, table: str, left: float, budget: float) -> TableFacts:
    """Count and sum a table, or give an estimate where that takes too long. Raises StepFailed if it is missing."""
    name = quoted(table)
    estimate = session.value(ESTIMATE_QUESTION, [name])
    if estimate is None:
        raise StepFailed(
            f"The table {table} is missing in {session.database} on {session.member.name}",
            wanted=f"the table {table}",
            next_action="compare the databases and correct the tables in the platform description",
        )
    note = f"too large to be summed within {budget:g} s: the count is the planner's estimate"
    if left <= 0.01:
        return TableFacts(table, estimate, None, note)
    try:
        # The server stops by itself, so that nothing goes on working there after we have given up.
        session.run(f"SET statement_timeout = {max(1, int(left * 1000))}")
        rows, checksum = session.rows(TABLE_QUESTION.format(table=name), seconds=left + 1)[0]
    except ServerError as error:
        if error.cause != "timeout":
            raise
        return TableFacts(table, estimate, None, note)
    return TableFacts(table, rows, checksum)


def same(left: Mapping[str, TableFacts], right: Mapping[str, TableFacts]) -> list[str]:
    """Name the tables that are known to differ."""
    return [
        name
        for name, facts in left.items()
        if facts.checksum is not None
        and name in right
        and right[name].checksum is not None
        and (facts.rows, facts.checksum) != (right[name].rows, right[name].checksum)
    ]


def shrunk(before: Mapping[str, Any], now: Mapping[str, TableFacts]) -> list[str]:
    """Say which tables hold fewer rows than were known before. Estimates prove nothing."""
    problems = []
    for name, facts in now.items():
        known = before.get(name) or {}
        if known.get("rows") is None or known.get("checksum") is None or facts.checksum is None:
            continue
        if facts.rows is not None and facts.rows < int(known["rows"]):
            problems.append(f"{name} holds {facts.rows} rows, {known['rows']} were known before")
    return problems


def rule_problems(session: Session, tables: Sequence[str]) -> list[str]:
    """Name every constraint that is not validated and every index that is not valid."""
    names = [quoted(table) for table in tables]
    version = int(session.value("SHOW server_version_num"))
    enforced = "AND conenforced" if version >= 180000 else ""
    constraints = session.rows(CONSTRAINTS_QUESTION.format(enforced=enforced), [names])
    indexes = session.rows(INDEXES_QUESTION, [names])
    problems = [f"constraint {name} of {table} is not validated" for table, name in constraints]
    return problems + [f"index {name} of {table} is not valid" for table, name in indexes]


def clients(session: Session, own_name: str) -> list[Client]:
    """Ask the database who is connected to it."""
    return [Client(*row) for row in session.rows(CLIENTS_QUESTION, [session.database, own_name])]
