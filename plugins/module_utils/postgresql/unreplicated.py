# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transactions that an old primary committed and the present one never got, as rows that a person can read."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .client import Session

Fate = Literal["missing", "different", "there", "deleted"]
BATCH = 500
SHOWN = 20
COMPARE_SECONDS = 60.0

# The key's columns take the types of the table itself, whatever they are.
ROWS_BY_KEY = """
SELECT row_to_json(t)::text FROM {table} AS t
JOIN json_populate_recordset(NULL::{table}, %s::json) AS k ON {same}
"""
ROWS_BY_PLACE = """
SELECT ctid::text, row_to_json(t)::text FROM {table} AS t WHERE ctid = ANY (%s::tid[]) AND xmin::text::bigint < %s
"""


@dataclass(frozen=True)
class Transaction:
    """One commit beyond the fork."""

    number: str
    committed_at: str
    parts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Row:
    """A row as the old primary has it, and what the present primary has in its place."""

    database: str
    table: str
    key: Mapping[str, Any]
    values: Mapping[str, Any]
    fate: Fate
    committed_at: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give it as the list keeps it."""
        return {
            "database": self.database,
            "table": self.table,
            "key": dict(self.key),
            "fate": self.fate,
            "committed_at": self.committed_at,
            "row": dict(self.values),
        }

    @property
    def words(self) -> str:
        """Say which row it is; its values may be nobody's business."""
        key = ", ".join(f"{name}={value}" for name, value in self.key.items()) or "a row without a key"
        told = {
            "missing": "missing here",
            "different": "different here",
            "deleted": "deleted there",
            "there": "here too",
        }
        return f"{self.table} {key}: {told[self.fate]}, committed {self.committed_at or 'before the fork'}"


@dataclass(frozen=True)
class Saved:
    """What was saved of an old primary: where on its host, and what of it the present primary does not have."""

    folder: str
    transactions: tuple[Transaction, ...]
    rows: tuple[Row, ...] = ()
    file: str | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def lost(self) -> tuple[Row, ...]:
        """Give the rows that the present primary does not have as they were."""
        return tuple(row for row in self.rows if row.fate != "there")

    def as_dict(self) -> dict[str, Any]:
        """Give it as a task's result carries it: keys, and no values."""
        return {
            "folder": self.folder,
            "file": self.file,
            "transactions": len(self.transactions),
            "rows": [{"table": row.table, "key": dict(row.key), "fate": row.fate} for row in self.lost],
        }


@dataclass(frozen=True)
class Found:
    """What the host gave."""

    transactions: tuple[Transaction, ...]
    rows: tuple[Mapping[str, Any], ...]
    tables: Mapping[str, Mapping[str, Any]]
    deleted: tuple[tuple[str, str, str], ...]


def read(sections: Mapping[str, str]) -> Found:
    """Read the host's answer: commits, rows, and the tables behind the log's numbers."""
    commits, deleted = [], []
    for line in sections.get("changes", "").splitlines():
        words = line.split()
        if words[:1] == ["commit"] and len(words) >= 4:
            commits.append(Transaction(words[1], f"{words[2]}T{words[3]}Z", frozenset(words[1:2] + words[4:])))
        elif words[:1] == ["deleted"] and len(words) == 5:
            deleted.append((words[1], words[2], f"({words[3]},{words[4]})"))
    entries = [json.loads(line) for line in sections.get("rows", "").splitlines() if line.strip()]
    return Found(
        tuple(commits),
        tuple(entry for entry in entries if "row" in entry),
        {entry["relation"]: entry for entry in entries if "relation" in entry},
        tuple(deleted),
    )


def compare(found: Found, session_of: Callable[[str], Session]) -> list[Row]:
    """Hold every row against the present primary."""
    stamps = {part: item.committed_at for item in found.transactions for part in item.parts}
    rows: list[Row] = []
    for database, table, entries in grouped(found.rows):
        session = session_of(database)
        for begin in range(0, len(entries), BATCH):
            rows += one_batch(session, database, table, entries[begin : begin + BATCH], stamps)
    first = min((int(part) for part in stamps), default=0)
    for relation, entry in found.tables.items():
        places = [(xid, place) for xid, where, place in found.deleted if where == relation]
        if places:
            rows += deleted_rows(session_of(entry["database"]), entry, places, stamps, first)
    return rows


def grouped(entries: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, list[Mapping[str, Any]]]]:
    """Put rows of the same table together."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for entry in entries:
        found.setdefault((entry["database"], entry["table"]), []).append(entry)
    return [(database, table, rows) for (database, table), rows in found.items()]


def one_batch(
    session: Session, database: str, table: str, entries: Sequence[Mapping[str, Any]], stamps: Mapping[str, str]
) -> list[Row]:
    """Say what became of some rows of a table."""
    keys = list(entries[0]["keys"])
    here = rows_here(session, table, keys, entries)
    rows = []
    for entry in entries:
        values = entry["row"]
        key = {name: values[name] for name in keys}
        other = here.get(json.dumps(list(key.values()))) if keys else None
        fate: Fate = "missing" if other is None else "there" if other == values else "different"
        rows.append(Row(database, table, key, values, fate, stamps.get(str(entry["transaction"]))))
    return rows


def rows_here(
    session: Session, table: str, keys: Sequence[str], entries: Sequence[Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """Give the present primary's rows with the same keys. A table that is not there has none."""
    if not keys or session.value("SELECT to_regclass(%s)", [table]) is None:
        return {}
    columns = ['"' + name.replace('"', '""') + '"' for name in keys]
    same = " AND ".join(f"t.{column} = k.{column}" for column in columns)
    wanted = json.dumps([{name: entry["row"][name] for name in keys} for entry in entries])
    statement = ROWS_BY_KEY.format(table=table.replace("%", "%%"), same=same.replace("%", "%%"))
    found = session.rows(statement, [wanted], seconds=COMPARE_SECONDS)
    rows = [json.loads(row[0]) for row in found]
    return {json.dumps([row[name] for name in keys]): row for row in rows}


def deleted_rows(
    session: Session, entry: Mapping[str, Any], places: Sequence[tuple[str, str]], stamps: Mapping[str, str], first: int
) -> list[Row]:
    """Give the rows that the old primary deleted. Both are copies of the same files up to the fork, so that a row older
    than it still lies where the log says, unless it was changed here since.
    """
    rows = []
    for begin in range(0, len(places), BATCH):
        some = places[begin : begin + BATCH]
        writers = {place: xid for xid, place in some}
        statement = ROWS_BY_PLACE.format(table=entry["table"].replace("%", "%%"))
        places_here = "{" + ",".join(f'"{place}"' for place in writers) + "}"
        for place, text in session.rows(statement, [places_here, first], seconds=COMPARE_SECONDS):
            values = json.loads(text)
            committed = stamps.get(writers[place])
            key = {name: values[name] for name in entry["keys"]}
            rows.append(Row(entry["database"], entry["table"], key, values, "deleted", committed))
    return rows


def write_list(folder: Path, name: str, member: str, saved: Saved) -> str:
    """Write the list where the run is kept, whole or not at all, for nobody else's eyes."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / f"{name}-{member}.json"
    content = {
        "member": member,
        "folder_on_its_host": saved.folder,
        "transactions": [{"number": item.number, "committed_at": item.committed_at} for item in saved.transactions],
        "rows": [row.as_dict() for row in saved.lost],
    }
    handle, part = tempfile.mkstemp(dir=folder, prefix=".new-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, ensure_ascii=False)
        file.write("\n")
    Path(part).replace(target)
    return str(target)


def lines(member: str, saved: Saved) -> list[str]:
    """Say what was saved."""
    lost = saved.lost
    told = [
        f"{member} committed {len(saved.transactions)} transactions that were never replicated; "
        + ("which rows is not known" if saved.notes else f"{len(lost)} rows of them are not here"),
        *[row.words for row in lost[:SHOWN]],
    ]
    if len(lost) > SHOWN:
        told.append(f"and {len(lost) - SHOWN} more")
    told.append(f"kept on the host of {member}: {saved.folder}" + (f"; the rows: {saved.file}" if saved.file else ""))
    return [*told, *saved.notes]
