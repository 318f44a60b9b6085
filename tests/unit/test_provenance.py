# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run was made of: digests as others compute them, whole in the journal, bounded."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import provenance
from ansible_collections.platform.recovery.plugins.module_utils.journal import REDACTED, Journal

ROOT = Path(__file__).resolve().parents[2]


def test_the_collection_is_listed_as_sha256sum_checks_it(tmp_path: Path) -> None:
    found = provenance.collection(ROOT)
    listing = "".join(f"{line}\n" for line in found["listing"])
    assert hashlib.sha256(listing.encode()).hexdigest() == found["sha256"]
    assert found["files"] == len(found["listing"]) > 100
    names = [line.partition("  ")[2] for line in found["listing"]]
    assert {"galaxy.yml", "playbooks/database_failover.yml", "roles/pg_fence/tasks/apply.yml"} <= set(names)
    assert not [name for name in names if "__pycache__" in name]
    (tmp_path / "sums").write_text(listing)
    subprocess.run(["sha256sum", "--check", "--quiet", tmp_path / "sums"], cwd=ROOT, check=True)


def test_an_inventory_is_taken_with_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all: {}\n")
    (tmp_path / "unrelated.txt").write_text("x")
    (tmp_path / "group_vars/all").mkdir(parents=True)
    (tmp_path / "group_vars/all/passwords.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n")
    os.mkfifo(tmp_path / "group_vars/all/pipe")
    for name in (str(tmp_path / "hosts.yml"), os.path.relpath(tmp_path / "hosts.yml")):
        found = provenance.source(name)
        assert [line[66:] for line in found["listing"]] == ["hosts.yml", "group_vars/all/passwords.yml"]
        assert found["root"] == str(tmp_path / "hosts.yml")
    assert provenance.source(str(tmp_path))["files"] == 3
    assert provenance.source("localhost,")["files"] == 0


def test_a_changed_file_changes_the_digest(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("a")
    before = provenance.source(str(tmp_path))["sha256"]
    (tmp_path / "hosts.yml").write_text("b")
    assert provenance.source(str(tmp_path))["sha256"] != before


def test_very_many_files_are_given_as_one_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "MOST_LISTED", 3)
    monkeypatch.setattr(provenance, "MOST_FILES", 5)
    for number in range(9):
        (tmp_path / str(number)).write_text("")
    found = provenance.source(str(tmp_path))
    assert (found["files"], found["listing"]) == (5, [])


def test_the_journal_leaves_digests_and_takes_secrets(tmp_path: Path) -> None:
    (tmp_path / "secrets.yml").write_text("x")
    journal = Journal.open(tmp_path / "run", "run")
    platform = {"name": "prod", "edge": {"api_token": "hunter22", "url": "https://u:hunter23@edge"}}
    data = journal.append(
        "provenance", inventory=[provenance.source(str(tmp_path))], platform_description=provenance.document(platform)
    )["data"]
    assert data["inventory"][0]["listing"] == [f"{hashlib.sha256(b'x').hexdigest()}  secrets.yml"]
    assert data["platform_description"]["content"]["edge"]["api_token"] == REDACTED
    assert "hunter2" not in journal.path.read_text()
    assert provenance.document({**platform, "name": "other"})["sha256"] != data["platform_description"]["sha256"]
    assert provenance.versions()["python"]
    assert all(len(line.partition("  ")[0]) == 64 for line in provenance.programs())


def test_the_digest_is_of_what_a_document_says_and_not_of_how() -> None:
    one = provenance.digest({"a": 1, "b": ["x", {"c": None}]})
    assert one == provenance.digest({"b": ["x", {"c": None}], "a": 1})
    assert one != provenance.digest({"b": ["x", {"c": 0}], "a": 1})
    assert one == provenance.document({"b": ["x", {"c": None}], "a": 1})["sha256"]
