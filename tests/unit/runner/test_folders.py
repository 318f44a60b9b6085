# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run folders and the journal that is followed."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from platform_recovery import folders
from platform_recovery._collection import collections_path, module, playbooks
from platform_recovery.errors import Busy, WrongCall
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
    assert folders.run_id(None, "database-failover").partition("-")[2].startswith("database-failover-")
    assert folders.run_id("mine", "database-failover") == "mine"
    for wrong in ("..", "a/b", "a b", "x" * 101):
        with pytest.raises(WrongCall, match="cannot name a run"):
            folders.run_id(wrong, "database-failover")
    assert folders.sink("file:runs", tmp_path) == tmp_path / "runs"
    assert folders.sink("s3://bucket", tmp_path) == tmp_path / ".recovery/runs"
    with pytest.raises(WrongCall, match="names no bucket"):
        folders.sink("s3:")


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


def test_a_plain_playbook_is_known_by_the_controller_in_its_journal(tmp_path: Path) -> None:
    own = identify(os.getpid())
    assert own is not None
    journal = module("journal").Journal.open(tmp_path, "r")
    journal.append("run_started")
    assert folders.worker(tmp_path) is None
    for controller, seen in (
        ({"pid": own.pid, "started": own.started, "host": socket.gethostname()}, own),
        ({"pid": own.pid, "started": own.started - 1, "host": socket.gethostname()}, None),
        ({"pid": own.pid, "started": own.started, "host": "elsewhere"}, None),
        ({"pid": own.pid, "started": None, "host": socket.gethostname()}, None),
    ):
        journal.append("run_resumed", controller=controller)
        assert folders.worker(tmp_path) == seen
    journal.append("run_resumed", controller={"pid": own.pid, "started": own.started, "host": socket.gethostname()})
    with pytest.raises(Busy, match=f"process {own.pid} on {socket.gethostname()}"):
        folders.refuse_second(tmp_path, "r")


def test_a_run_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "runs/r"
    hold = folders.Hold(folder)
    with pytest.raises(Busy, match="being started or ended"):
        folders.Hold(folder)
    child = os.fork()
    if child == 0:
        time.sleep(5)
        os._exit(0)
    hold.release()
    assert not folder.exists()
    make(tmp_path / "runs", "r", 1000)
    folders.Hold(folder).release()  # although the forked child still has the folder open
    assert folder.exists()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    (tmp_path / "file").write_text("")
    folders.Hold(tmp_path / "file/r").release()  # for the playbook to refuse


def test_a_run_that_vanishes_while_it_is_listed_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = make(tmp_path, "kept", 1000)
    gone = tmp_path / "gone"
    monkeypatch.setattr(Path, "glob", lambda *_: iter([gone / folders.JOURNAL, kept / folders.JOURNAL]))
    assert folders.runs(tmp_path) == [kept, gone]


def test_a_tail_gives_each_whole_record_once(tmp_path: Path) -> None:
    journal = module("journal").Journal.open(tmp_path, "r")
    tail = folders.Tail(tmp_path / folders.JOURNAL)
    assert list(tail.read()) == []
    first = journal.append("run_started")
    assert list(tail.read()) == [first]
    line = json.dumps({**first, "seq": 2}).encode()
    with (tmp_path / folders.JOURNAL).open("ab") as file:
        file.write(line[:10])
        file.flush()
        assert list(tail.read()) == []
        file.write(line[10:] + b"\nnot json\n" + b'{"seq": 3, "hash": "a record of nothing known"}\n')
        file.flush()
        assert [record["seq"] for record in tail.read()] == [2]
    assert list(tail.read()) == []
    assert [r["seq"] for r in folders.Tail(tmp_path / folders.JOURNAL, from_seq=2).read()] == [2]


def test_the_collection_is_found_in_the_checkout() -> None:
    assert (collections_path() / "ansible_collections/platform/recovery/galaxy.yml").exists()
    assert "database-failover" in playbooks()
