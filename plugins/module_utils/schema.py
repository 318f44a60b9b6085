# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validate nested data against the options of a DOCUMENTATION block, and say exactly what is wrong.

The documentation is the one truth: what a module documents is what is accepted. Ansible's own validator stops at
the first problem and cannot name the nearest valid key, and "which of forty lines is wrong" is what matters at 3 a.m.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import BadInput
from .journal import is_secret_key

Spec = Mapping[str, Any]

TRUE = {"true", "yes", "on", "1"}
FALSE = {"false", "no", "off", "0"}


@dataclass(frozen=True)
class Problem:
    """One thing wrong: the dotted key, the value seen, what was expected, and the nearest valid name."""

    key: str
    value: Any
    expected: str
    nearest: str | None = None

    def __str__(self) -> str:
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        return f"{self.key}: got {shown(self.value)}, expected {self.expected}{hint}"


@dataclass(frozen=True)
class Validator:
    """Walks data beside its documentation.

    `maps` holds the dotted option paths (names of map entries left out) whose suboptions describe each *value* of a
    mapping with free keys, e.g. `databases` or `databases.members`. Values of secret options, and all below
    `credentials`, are never shown: a password may stand where an account was expected.
    """

    maps: frozenset[str] = frozenset()

    def check(self, options: Spec, data: Mapping[str, Any], where: str = "") -> tuple[dict[str, Any], list[Problem]]:
        """Give the data with defaults filled in and types coerced, and every problem found."""
        problems: list[Problem] = []
        return self._struct(options, data, where, where, problems), problems

    def _struct(
        self, options: Spec, data: Mapping[str, Any], key: str, path: str, problems: list[Problem]
    ) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name in data:
            if name not in options:
                problems.append(unknown(join(key, str(name)), str(name), options))
        for name, option in options.items():
            value = data.get(name)
            here, there = join(key, name), join(path, name)
            if value is None:
                value = option.get("default")
            if value is None:
                if option.get("required"):
                    problems.append(Problem(here, None, f"{expectation(option)} (it is required)"))
                result[name] = None
                continue
            result[name] = self._value(option, value, here, there, problems)
        return result

    def _value(self, option: Spec, value: Any, key: str, path: str, problems: list[Problem]) -> Any:
        kind = option.get("type", "str")
        try:
            value = coerce(kind, value)
        except ValueError:
            problems.append(Problem(key, _told(path, value), expectation(option)))
            return value
        choices = option.get("choices")
        if choices and value not in choices:
            problems.append(Problem(key, _told(path, value), expectation(option), closest(str(value), choices)))
        if kind == "list":
            element = {"type": option.get("elements", "raw"), "suboptions": option.get("suboptions")}
            return [self._value(element, item, f"{key}[{i}]", path, problems) for i, item in enumerate(value)]
        suboptions = option.get("suboptions")
        if kind != "dict" or not suboptions:
            return value
        if path not in self.maps:
            return self._struct(suboptions, value, key, path, problems)
        result = {}
        for name, entry in value.items():
            here = join(key, str(name))
            if not isinstance(entry, Mapping):
                problems.append(Problem(here, _told(path, entry), "a mapping with " + ", ".join(suboptions)))
                continue
            result[str(name)] = self._struct(suboptions, entry, here, path, problems)
        return result


def _told(path: str, value: Any) -> Any:
    """Give the value as a problem may show it."""
    hidden = any(part == "credentials" or is_secret_key(part) for part in path.split("."))
    return "a hidden value" if hidden else value


def reference(key: str, value: str, valid: Collection[str], what: str) -> Problem | None:
    """Check that a value names something that exists."""
    if value in valid:
        return None
    expected = f"the name of a {what} ({', '.join(sorted(valid)) or 'none is described'})"
    return Problem(key, value, expected, closest(value, valid))


def refuse(problems: Iterable[Problem], what: str, next_action: str) -> None:
    """Raise BadInput naming every problem, if there is one."""
    found = list(problems)
    if not found:
        return
    lines = "; ".join(str(problem) for problem in found)
    raise BadInput(
        f"{what} is not valid: {lines}",
        next_action=next_action,
        problems=[{"key": p.key, "value": shown(p.value), "expected": p.expected, "nearest": p.nearest} for p in found],
    )


def unknown(key: str, name: str, valid: Collection[str]) -> Problem:
    """Describe a key that nobody documents."""
    return Problem(key, name, f"one of the keys {', '.join(sorted(valid))}", closest(name, valid))


def closest(value: str, valid: Iterable[str]) -> str | None:
    """Give the valid name nearest to what was typed, if any is near."""
    matches = difflib.get_close_matches(value, [str(item) for item in valid], n=1, cutoff=0.5)
    return matches[0] if matches else None


def join(key: str, name: str) -> str:
    """Add a name to a dotted key."""
    return f"{key}.{name}" if key else name


def shown(value: Any) -> str:
    """Show a value briefly: an operator needs to recognise it, not to read it whole."""
    if value is None:
        return "nothing"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def expectation(option: Spec) -> str:
    """Say in words what an option accepts."""
    choices = option.get("choices")
    if choices:
        return "one of " + ", ".join(str(choice) for choice in choices)
    words = {"str": "a text", "path": "a path", "int": "a whole number", "float": "a number", "bool": "true or false"}
    words |= {"dict": "a mapping", "list": "a list", "raw": "a value"}
    return words.get(str(option.get("type", "str")), "a value")


def coerce(kind: str, value: Any) -> Any:
    """Turn what templating made of a value into its documented type. Raises ValueError."""
    converter = CONVERTERS.get(kind)
    return converter(value) if converter else value


def _text(value: Any) -> str:
    if isinstance(value, (Mapping, list, tuple)):
        raise ValueError("not a text")
    return str(value)


def _integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError("not a whole number")
    return int(_scalar(value))


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError("not a number")
    return float(_scalar(value))


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word not in TRUE | FALSE:
        raise ValueError("not a boolean")
    return word in TRUE


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("not a mapping")
    return value


def _sequence(value: Any) -> list[Any]:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise ValueError("not a list")
    return list(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, (Mapping, list, tuple)) or value is None:
        raise ValueError("not a single value")
    return value


CONVERTERS: dict[str, Any] = {
    "str": _text,
    "path": _text,
    "int": _integer,
    "float": _number,
    "bool": _boolean,
    "dict": _mapping,
    "list": _sequence,
}
