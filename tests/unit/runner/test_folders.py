# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run folders and the journal that is followed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from platform_recovery import folders
from platform_recovery._collection import collections_path, module, playbooks
from platform_recovery.errors import WrongCall
from platform_recovery.processes import Process, identify


def make(root: Path, name: str, at: float) -> Path:
    folder = root / name
    journal = module("journal").Journal.open(folder, name)
    journal.append("run_started", playbook="database-failover")
    os.utime(folder / folders.JOURNAL, (at, at))
    return folder


def test_runs_are_found_by_name_beginning_and_folder(tmp_path: Path) -> None:
    old, new = make(tmp_path, "20260101-a", 1000), make(tmp_path, "20260102-b", 2000)
    assert folders.runs(tmp_path) == [new, old]
    assert folders.find(tmp_path, None) == new
    assert folders.find(tmp_path, "20260101-a") == old
    assert folders.find(tmp_path, "20260101") == old
    assert folders.find(tmp_path / "elsewhere", str(old)) == old
    with pytest.raises(WrongCall, match="begins the names of 2 runs"):
        folders.find(tmp_path, "2026")
    with pytest.raises(WrongCall, match="did you mean '20260101-a'"):
        folders.find(tmp_path, "20260101-x")
    with pytest.raises(WrongCall, match="no run in"):
        folders.find(tmp_path / "elsewhere", None)


def test_ids(tmp_path: Path) -> None:
    assert folders.check_id(folders.new_id("database-failover"))
    for wrong in ("", "..", "a/b", "a b", "x" * 101):
        with pytest.raises(WrongCall, match="cannot name a run"):
            folders.check_id(wrong)
    assert folders.sink("file:runs", tmp_path) == tmp_path / "runs"
    with pytest.raises(WrongCall, match="object storage"):
        folders.sink("s3://bucket")


def test_an_owner_is_believed_only_while_it_lives(tmp_path: Path) -> None:
    own = identify(os.getpid())
    assert own is not None
    assert folders.working(tmp_path) is None
    folders.Owner(own, None, "m").write(tmp_path)
    assert folders.working(tmp_path) == folders.Owner(own, None, "m")
    assert (tmp_path / folders.OWNER).stat().st_mode & 0o777 == 0o600
    folders.Owner(Process(own.pid, own.started - 1), None, "m").write(tmp_path)
    assert folders.working(tmp_path) is None
    (tmp_path / folders.OWNER).write_text("{")
    assert folders.working(tmp_path) is None


def test_a_tail_gives_each_whole_record_once(tmp_path: Path) -> None:
    journal = module("journal").Journal.open(tmp_path, "r")
    tail = folders.Tail(tmp_path / folders.JOURNAL)
    assert list(tail.read()) == []
    first = journal.append("run_started")
    assert list(tail.read()) == [first]
    line = json.dumps({"seq": 2, "hash": "x", "event": "y"}).encode()
    with (tmp_path / folders.JOURNAL).open("ab") as file:
        file.write(line[:10])
        file.flush()
        assert list(tail.read()) == []
        file.write(line[10:] + b"\nnot json\n")
        file.flush()
        assert [record["seq"] for record in tail.read()] == [2]
    assert list(tail.read()) == []
    assert [r["seq"] for r in folders.Tail(tmp_path / folders.JOURNAL, from_seq=2).read()] == [2]


def test_the_collection_is_found_in_the_checkout() -> None:
    assert (collections_path() / "ansible_collections/platform/recovery/galaxy.yml").exists()
    assert "database-failover" in playbooks()
