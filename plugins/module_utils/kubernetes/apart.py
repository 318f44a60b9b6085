# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The workloads of many databases in one task: their options taken apart, and their results put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..apart import attempt_all, none_left
from ..errors import RecoveryError
from ..report_words import counted
from .fleet import NO_WORKLOAD

SHOWN = 3

Options = Mapping[str, Any]
Result = dict[str, Any]
Work = Callable[[Options, str], Result]
"""Gets the options of one database, and its name where there are several; gives a verb's result."""


def apart(options: Options, work: Work) -> tuple[Result, dict[str, RecoveryError]]:
    """Work on each database's workloads, all at the same time. Gives one result, and what stood in the way of some.

    Raises the error where databases are not told apart, or where it is that of the only one. Where all of several
    fail, the error names each in `each`.
    """
    own = {entry["name"]: of_database(options, entry) for entry in options["databases"]}
    if not own:
        return {**work(options, ""), "failures": {}}, {}
    if len(own) == 1:
        return joined({name: work(given, "") for name, given in own.items()}), {}

    results, failures = attempt_all(list(own), lambda name: work(own[name], name))
    if not results:
        raise none_left(failures)
    return joined(results), failures


def of_database(options: Options, database: Mapping[str, Any]) -> Options:
    """Give the options as they are for one database."""
    own = {key: database[key] for key in ("clusters", "workloads", "lost_clusters")}
    value = database["value"]
    return {**options, **own, **({} if value is None else {"value": value})}


def joined(results: Mapping[str, Result]) -> Result:
    """Make one result of several."""
    parts = list(results.values())
    result = {key: together([part[key] for part in parts]) for key in parts[0]}
    result["lines"] = lines_of(results)
    if "diff" in result:
        result["diff"] = {key: "".join(part["diff"][key] for part in parts) for key in ("before", "after")}
    if "vantages" in result:
        result["vantages_of"] = {name: part["vantages"] for name, part in results.items()}
    return {**result, "failures": {}}


def together(values: Sequence[Any]) -> Any:
    """Join what several results say under one key: counts add up, texts and lists are put side by side, each once."""
    first = values[0]
    if isinstance(first, bool):
        return any(values)
    if isinstance(first, int):
        return sum(values)
    if isinstance(first, float):
        return max(values)
    if isinstance(first, Mapping):
        return {key: entry for value in values for key, entry in value.items()}
    if isinstance(first, str):
        texts = list(dict.fromkeys(values))
        return ", ".join(texts[:SHOWN]) + (f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else "")
    return [entry for number, value in enumerate(values) for entry in value if not seen(entry, values[:number])]


def seen(entry: Any, earlier: Sequence[Sequence[Any]]) -> bool:
    """Say whether an entry stands in an earlier list."""
    return any(entry in value for value in earlier)


def lines_of(results: Mapping[str, Result]) -> list[str]:
    """Give the facts of all, each with its database where there are several. Those without workloads have no more."""
    if len(results) == 1:
        return [line for result in results.values() for line in result["lines"]]
    told = {name: result["lines"] for name, result in results.items() if result["lines"] != [NO_WORKLOAD]}
    lines = [f"{name}: {line}" for name, lines in told.items() for line in lines]
    silent = len(results) - len(told)
    return lines + ([f"no workload depends on {counted(silent, 'database')}"] if silent else [])
