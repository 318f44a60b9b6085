# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checklists and roles read for what would be gone with a region: named with file and line, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput
from ansible_collections.platform.recovery.plugins.module_utils.lint import tasks
from ansible_collections.platform.recovery.plugins.module_utils.lint.places import Atlas
from platform_recovery.cli import main

ROOT = Path(__file__).resolve().parents[3]
WEST, EAST = "us-west-2", "us-east-1"
ATLAS = Atlas((WEST, EAST), hosts={"10.1.0.30": WEST, "10.2.0.30": EAST})


def found(folder: Path, text: str) -> list[tuple[int | None, str]]:
    file = folder / "main.yml"
    file.write_text(text)
    return [(finding.line, finding.key) for finding in tasks.findings(file, "main.yml", ATLAS, WEST)]


ASK = "- name: Ask\n  ansible.builtin.uri:\n    url: "
IMAGE = "spec:\n  containers:\n    - name: app\n      image: "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{ASK}https://db.us-west-2.example.com\n", [(3, "ansible.builtin.uri.url")]),
        (f"{ASK}https://status.example.com\n", [(3, "ansible.builtin.uri.url")]),
        (f"{ASK}'{{{{ status_url }}}}/health'\n", []),
        (f"{ASK}'https://{{{{ host }}}}/health'\n", []),
        (f"{ASK}http://localhost:8080\n", []),
        ("- name: Call us-west-2\n  ansible.builtin.debug:\n    msg: us-west-2 is lost\n", []),
        ("target: us-west-2\n", [(1, "target")]),
        ("target: us-east-1\n", []),
        ("target: us-west-22\n", []),
        ("hosts: [10.1.0.30, 10.2.0.30]\n", [(1, "hosts")]),
        ("host: 10.9.9.9\n", [(1, "host")]),
        ("version: 1.2.3.4-5\n", []),
        ("- name: Get it\n  get_url:\n    url: '{{ u }}'\n    dest: x\n", [(2, "get_url")]),
        ("- name: Add it\n  pip:\n    name: boto3\n", [(2, "pip")]),
        ("- block:\n    - name: Add\n      ansible.builtin.apt: {name: jq}\n", [(3, "block.ansible.builtin.apt")]),
        ("- name: Add it\n  command: ansible-galaxy collection install x.y\n", [(2, "command")]),
        ("- name: Add it\n  ansible.builtin.shell:\n    cmd: docker pull app:1\n", [(3, "ansible.builtin.shell.cmd")]),
        ("- name: List it\n  ansible.builtin.command: ls /srv\n", []),
        ("package: jq\nvalues:\n  package: jq\n", [(1, "package")]),
        (f"{IMAGE}1.dkr.ecr.us-west-2.amazonaws.com/app:1\n", [(4, "spec.containers.image")]),
        (f"{IMAGE}1.dkr.ecr.us-east-1.amazonaws.com/app:1\n", []),
        ("target: us-west-2 # recovery-lint: ok it is the cold archive\n", []),
        ("target: us-west-2 # recovery-lint: ok\n", [(1, "target")]),
        ("key: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n", []),
    ],
)
def test_what_a_file_says(tmp_path: Path, text: str, expected: list[tuple[int, str]]) -> None:
    assert found(tmp_path, text) == expected


def test_what_is_no_yaml_is_a_wrong_call(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="line 1"):
        found(tmp_path, "a: [")
    with pytest.raises(BadInput, match="no"):
        tasks.files_of([tmp_path / "none"])


def test_the_own_checklists_and_roles_need_no_region(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "--lost", WEST, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["outcome"], said["findings"], said["files"] > 50) == ("ready", [], True)


def test_the_command_refuses_with_4_and_a_wrong_call_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "role.yml").write_text("endpoint: https://vault.us-west-2.example.com\n")
    assert main(["lint", str(tmp_path), "--lost", WEST]) == 4
    assert "role.yml:1  endpoint:" in capsys.readouterr().out
    assert main(["lint", str(tmp_path)]) == 1
    assert main(["lint", str(tmp_path / "none"), "--lost", WEST]) == 1
    assert main(["lint", "-i", str(ROOT / "inventories/example"), "--lost", "us-west-1"]) == 1
    assert f"use '{WEST}'" in capsys.readouterr().err


def test_a_description_is_read_without_the_platform(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inventory = ROOT / "inventories/example"
    (tmp_path / "none.yml").write_text("x: 1\n")
    assert main(["lint", str(tmp_path), "-i", str(inventory), "--lost", EAST, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lost"] == [EAST]
    broken = tmp_path / "hosts.yml"
    broken.write_text("all: {vars: {recovery_platform: {name: x}}}\n")
    assert main(["lint", str(tmp_path / "none.yml"), "-i", str(broken)]) == 1
    assert "platform.regions" in capsys.readouterr().err
