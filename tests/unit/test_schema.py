# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import schema
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput

OPTIONS: dict[str, Any] = {
    "mode": {"type": "str", "choices": ["plan", "failover"], "required": True},
    "seconds": {"type": "float", "default": 5},
    "names": {"type": "list", "elements": "str", "default": []},
    "members": {
        "type": "dict",
        "suboptions": {
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "default": 5432},
            "password": {"type": "int"},
        },
    },
    "credentials": {
        "type": "dict",
        "suboptions": {"user": {"type": "str"}, "method": {"type": "str", "choices": ["scram"]}},
    },
    "token": {"type": "str", "choices": ["none"]},
    "fence": {"type": "dict", "suboptions": {"sudo": {"type": "bool", "default": True}}},
}
VALIDATOR = schema.Validator(maps=frozenset({"members", "credentials"}))


def test_fills_defaults_and_coerces_what_templating_made() -> None:
    data = {
        "mode": "plan",
        "seconds": "2.5",
        "members": {"west": {"host": "a", "port": "6432"}},
        "fence": {"sudo": "no"},
    }
    options, problems = VALIDATOR.check(OPTIONS, data)
    assert problems == []
    assert options == {
        "mode": "plan",
        "seconds": 2.5,
        "names": [],
        "members": {"west": {"host": "a", "port": 6432, "password": None}},
        "fence": {"sudo": False},
        "credentials": None,
        "token": None,
    }


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, "mode: got nothing, expected one of plan, failover (it is required)"),
        ({"mode": "failovr"}, "mode: got 'failovr', expected one of plan, failover; did you mean 'failover'?"),
        (
            {"mode": "plan", "secnds": 1},
            "secnds: got 'secnds', expected one of the keys credentials, fence, members, mode, names, seconds, "
            "token; did you mean 'seconds'?",
        ),
        ({"mode": "plan", "seconds": "soon"}, "seconds: got 'soon', expected a number"),
        ({"mode": "plan", "names": "west"}, "names: got 'west', expected a list"),
        (
            {"mode": "plan", "members": {"west": "a"}},
            "members.west: got 'a', expected a mapping with host, port, password",
        ),
        ({"mode": "plan", "members": {"west": {}}}, "members.west.host: got nothing, expected a text (it is required)"),
        (
            {"mode": "plan", "members": {"west": {"host": "a", "prot": 1}}},
            "members.west.prot: got 'prot', expected one of the keys host, password, port; did you mean 'port'?",
        ),
        (
            {"mode": "plan", "members": {"west": {"host": "a", "port": 5.5}}},
            "members.west.port: got 5.5, expected a whole number",
        ),
        ({"mode": "plan", "fence": {"sudo": "maybe"}}, "fence.sudo: got 'maybe', expected true or false"),
    ],
)
def test_names_key_value_expectation_and_nearest(data: dict[str, Any], expected: str) -> None:
    _options, problems = VALIDATOR.check(OPTIONS, data)
    assert [str(problem) for problem in problems] == [expected]


@pytest.mark.parametrize(
    "data",
    [
        {"members": {"w": {"host": "a", "password": "hunter2"}}},
        {"credentials": {"pg": "hunter2"}},
        {"credentials": "hunter2"},
        {"credentials": {"pg": {"user": ["hunter2"]}}},
        {"credentials": {"pg": {"method": "hunter2"}}},
        {"token": "hunter2"},
    ],
)
def test_never_shows_a_secret(data: dict[str, Any]) -> None:
    _options, problems = VALIDATOR.check(OPTIONS, {"mode": "plan", **data})
    assert len(problems) == 1
    assert "hunter2" not in str(problems[0])
    assert "a hidden value" in str(problems[0])


def test_refuses_with_every_problem_at_once() -> None:
    _options, problems = VALIDATOR.check(OPTIONS, {"seconds": "soon", "names": "x"})
    with pytest.raises(BadInput) as caught:
        schema.refuse(problems, "The input", "correct it")
    assert len(caught.value.fields["problems"]) == 3
    assert "Next: correct it." in str(caught.value)


def test_an_empty_list_of_problems_is_no_refusal() -> None:
    schema.refuse([], "The input", "correct it")


def test_long_values_are_cut() -> None:
    assert len(schema.shown("x" * 500)) == 80
