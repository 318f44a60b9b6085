# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.variables import VARIABLES, misspelt

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("name", "meant"),
    [("recovery_mod", "recovery_mode"), ("recovery_lost_cluster", "recovery_lost_clusters")],
)
def test_a_misspelt_variable_is_named_with_the_one_that_was_meant(name: str, meant: str) -> None:
    [problem] = misspelt([name, "recovery_target", "recovery_ticket", "other"])
    assert f"{name!r}" in str(problem)
    assert f"did you mean {meant!r}" in str(problem)


def test_no_name_of_our_own_looks_like_a_mistake() -> None:
    files = [*ROOT.glob("playbooks/**/*.yml"), *ROOT.glob("roles/**/*.yml"), *ROOT.glob("inventories/**/*.yml")]
    names = {name for path in files for name in re.findall(r"\brecovery_\w+", path.read_text())}
    assert len(names) > 20
    assert list(misspelt(names)) == []


def test_each_variable_is_read_somewhere() -> None:
    files = [path for folder in ("playbooks", "roles", "plugins") for path in (ROOT / folder).rglob("*.*")]
    text = "".join(p.read_text() for p in files if p.suffix in (".yml", ".py") and p.name != "variables.py")
    assert [name for name in VARIABLES if not re.search(rf"\b{name}\b", text)] == []
