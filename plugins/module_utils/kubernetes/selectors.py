# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Label selectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Selector:
    """A label selector."""

    labels: tuple[tuple[str, str], ...] = ()
    expressions: tuple[tuple[str, str, frozenset[str]], ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether labels are selected. An empty selector selects nothing: it would mean everything."""
        if not self.labels and not self.expressions:
            return False
        return all(labels.get(key) == value for key, value in self.labels) and all(
            holds(operator, labels.get(key), values) for key, operator, values in self.expressions
        )

    def query(self) -> str:
        """Write the selector as the API's labelSelector parameter."""
        parts = [f"{key}={value}" for key, value in self.labels]
        for key, operator, values in self.expressions:
            names = f"({','.join(sorted(values))})"
            words = {"In": f"{key} in {names}", "NotIn": f"{key} notin {names}", "Exists": key}
            parts.append(words.get(operator, f"!{key}"))
        return ",".join(parts)


def parse_selector(selector: Mapping[str, Any]) -> Selector:
    """Read a label selector."""
    return Selector(
        tuple(sorted((selector.get("matchLabels") or {}).items())),
        tuple(
            (entry["key"], entry["operator"], frozenset(entry.get("values") or ()))
            for entry in selector.get("matchExpressions") or []
        ),
    )


def holds(operator: str, value: str | None, values: frozenset[str]) -> bool:
    """Evaluate one match expression."""
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    return (value in values) == (operator == "In")
