# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one task on many databases is given of each: of its description, and of what earlier tasks found of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

Database = Mapping[str, Any]


def known(
    databases: Sequence[Database],
    *,
    names: Collection[str],
    credentials: Mapping[str, Any],
    memories: str,
    left_out: Mapping[str, Any],
    vantages: Mapping[str, Any],
    results: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Give the databases of these names with their accounts and with all that was found of each, by the step."""
    return [
        {
            **database,
            "account": credentials[database["credentials"]],
            "credentials": accounts(database, credentials),
            "memory": f"{memories}/{database['name']}.seen.json",
            "rpo_seconds": rpo if (rpo := database["objectives"]["rpo_seconds"]) > 0 else None,
            "left_out": left_out.get(database["name"]),
            "evidence": [*vantages.get(database["name"], []), *database["identity"]],
            **{step: (result.get("databases") or {}).get(database["name"]) or {} for step, result in results.items()},
        }
        for database in databases
        if database["name"] in names
    ]


def accounts(database: Database, credentials: Mapping[str, Any]) -> dict[str, Any]:
    """Give the account of a database, and that of Patroni's REST API where it has one."""
    account = dict(credentials[database["credentials"]])
    api = database.get("api_credentials")
    return {**account, "api": credentials[api]} if api else account


def inputs(databases: Sequence[Database], *same: str, **places: str) -> list[dict[str, Any]]:
    """Give the options of a step for each database: those that it has under their names, and others by their place.

    A place is a dotted path. What is not there is nothing, which stands for the step's default: left out, it would be
    what the task has in common for all.
    """
    wanted = {**{name: name for name in ("name", "left_out", *same)}, **places}
    return [{option: found(database, place) for option, place in wanted.items()} for database in databases]


def found(database: Database, place: str) -> Any:
    """Follow a dotted path, as far as there is one."""
    value: Any = database
    for key in place.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value
