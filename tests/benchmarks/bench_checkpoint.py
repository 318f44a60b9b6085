# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""(d) What a checkpoint costs: the call itself in Ansible's worker, over a journal that grows by it."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.support.platform import BIN, ROOT, environment

ROUNDS = 5
CALLS = 50

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{{{ ansible_playbook_python }}}}"
  tasks:
    - platform.recovery.checkpoint: {{state: begin, playbook: benchmark, journal: "file:{sink}"}}
      register: recovery_run
{tasks}
    - platform.recovery.checkpoint: {{state: end}}
"""
CHECKPOINT = (
    '    - platform.recovery.checkpoint: {state: phase, phase: "p%d", budget_seconds: 5}\n      register: took_%d\n'
)
SHOW = "    - ansible.builtin.copy: {{content: '{{{{ {names} | to_json }}}}', dest: '{path}', mode: '0600'}}\n"


def bench() -> dict[str, Any]:
    """Read the seconds that each call states of itself, inside Ansible's own worker."""
    calls: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            calls += one_round(Path(folder), number)
    median = statistics.median(calls)
    worst = max(calls)
    return {
        "rows": [
            ("call", "median ms", "worst ms"),
            ("checkpoint: phase", f"{median * 1000:.1f}", f"{worst * 1000:.1f}"),
        ],
        "claims": [("seconds per checkpoint", median, 0.020)],
    }


def one_round(folder: Path, number: int) -> list[float]:
    """Run one playbook and collect its calls."""
    path = folder / f"took-{number}.json"
    tasks = "".join(CHECKPOINT % (i, i) for i in range(CALLS))
    names = "[" + ", ".join(f"took_{i}.seconds" for i in range(CALLS)) + "]"
    playbook = folder / "playbook.yml"
    playbook.write_text(
        PLAYBOOK.format(sink=folder / f"runs-{number}", tasks=tasks + SHOW.format(names=names, path=path))
    )
    argv = [str(BIN / "ansible-playbook"), "-i", "localhost,", "-c", "local", str(playbook)]
    subprocess.run(argv, cwd=ROOT, env=environment(), check=True, capture_output=True)
    seconds: list[float] = json.loads(path.read_text())
    return seconds
