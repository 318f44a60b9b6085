# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation is the argument spec, so it must be there, whole and readable by Ansible's own tool."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ansible_collections.platform.recovery.plugins.plugin_utils.action import PLUGINS, RecoveryAction

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "plugins/action").glob("*.py"))


def test_every_action_has_its_module_and_every_module_its_action() -> None:
    assert sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_action_takes_what_its_module_documents(name: str) -> None:
    action: type[RecoveryAction] = importlib.import_module(f"{PLUGINS}.action.{name}").ActionModule
    module = importlib.import_module(f"{PLUGINS}.modules.{name}")
    assert name == action.MODULE
    tasks = yaml.safe_load(module.EXAMPLES)
    used = {key for task in tasks for key in task.get(f"platform.recovery.{name}", {})}
    assert used
    assert used <= set(action.OPTIONS)


def test_ansible_doc_shows_every_module_with_its_fragments() -> None:
    names = [f"platform.recovery.{name}" for name in NAMES]
    argv = [Path(sys.executable).parent / "ansible-doc", "--json", *names]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections")}
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    shown = json.loads(done.stdout)
    assert set(shown) == set(names)
    assert "members" in shown["platform.recovery.postgresql_promote"]["doc"]["options"]
