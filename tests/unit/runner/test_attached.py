# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs as any process sees them, by the journal alone, and what of the package is public."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import tracemalloc
from pathlib import Path

import pytest

import platform_recovery as pr
from platform_recovery import folders
from platform_recovery._collection import module
from platform_recovery.detached import _understood
from platform_recovery.errors import Busy
from platform_recovery.events import KINDS
from platform_recovery.processes import identify
from platform_recovery.result import unopened

VERSIONED = ("pyproject.toml", "galaxy.yml")


def journalled(folder: Path, *events: str) -> None:
    journal = module("journal").Journal.open(folder, folder.name)
    for event in events:
        journal.append(event, **({"outcome": "recovered"} if event == "run_ended" else {"playbook": "p"}))


@pytest.mark.parametrize(
    ("events", "owned", "state", "outcome", "code"),
    [
        (("run_started",), True, "running", None, None),
        (("run_started",), False, "unfinished", "failed", 2),
        (("run_started", "run_ended"), True, "finished", "recovered", 0),
        (("run_started", "run_ended"), False, "finished", "recovered", 0),
        (("run_started", "run_ended", "run_resumed"), False, "unfinished", "failed", 2),
    ],
)
def test_how_a_run_stands(
    tmp_path: Path, events: tuple[str, ...], owned: bool, state: str, outcome: str | None, code: int | None
) -> None:
    folder = tmp_path / "r"
    journalled(folder, *events)
    own = identify(os.getpid())
    assert own is not None
    if owned:
        folders.Owner(own, None, "m").write(folder)
    run = pr.attach("r", journal=f"file:{tmp_path}")
    status = run.status()
    assert (status.state, status.outcome, status.exit_code) == (state, outcome, code)
    assert (run.running, status.pid) == (owned, own.pid if owned else None)


def test_events_begin_where_the_reader_wants(tmp_path: Path) -> None:
    journalled(tmp_path / "r", "run_started", "action", "run_ended", "run_resumed", "something_new", "run_ended")
    run = pr.attach("r", journal=f"file:{tmp_path}")
    for after, expected in ((None, [4, 5, 6]), (0, [1, 2, 3, 4, 5, 6]), (5, [6]), (6, []), (99, [])):
        assert [event.seq for event in run.events(after)] == expected

        async def read(after: int | None = after) -> list[int]:
            return [event.seq async for event in run.events_async(after)]

        assert asyncio.run(read()) == expected
    assert [type(event) for event in run.events()] == [pr.RunResumed, pr.Event, pr.RunEnded]


def test_a_follower_misses_nothing_that_was_written_before_the_end(tmp_path: Path) -> None:
    journalled(tmp_path, "run_started")
    tail = folders.Tail(tmp_path / folders.JOURNAL)
    left = [("action", True), ("action", True), ("run_ended", False)]

    def more() -> bool:
        event, going = left.pop(0)
        journalled(tmp_path, event)
        return going

    assert [event.event for event in folders.follow(tail, more)] == ["run_started", "action", "action", "run_ended"]


def test_following_holds_no_more_than_one_event(tmp_path: Path) -> None:
    with (tmp_path / folders.JOURNAL).open("w") as file:
        for seq in range(1, 5001):
            record = {"seq": seq, "time": "t", "run_id": "r", "event": "observation", "hash": "", "data": {}}
            file.write(json.dumps({**record, "data": {"what": "x" * 1000}}) + "\n")
    tracemalloc.start()
    try:
        told = sum(1 for _event in folders.follow(folders.Tail(tmp_path / folders.JOURNAL), lambda: False))
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert told == 5000
    assert peak < 500_000  # of 5 MB


def test_what_a_keeper_answers_is_understood(tmp_path: Path) -> None:
    assert _understood({"opened": True}, tmp_path).id == tmp_path.name
    for kind, error in ((Busy.kind, Busy), ("bad_input", pr.WrongCall)):
        with pytest.raises(error, match="no") as caught:
            _understood({"refused": {"kind": kind, "msg": "no", "next_action": "wait"}}, tmp_path)
        assert caught.value.next_action == "wait"
    failure = {"kind": "failed", "msg": "broken", "next_action": None}
    report = unopened(run_id="r", playbook="p", mode=None, target=None, exit_code=2, failure=failure)
    with pytest.raises(pr.NotOpened, match="broken") as refused:
        _understood({"report": report}, tmp_path)
    assert refused.value.result.exit_code == 2
    with pytest.raises(RuntimeError, match="without a word"):
        _understood({}, tmp_path)


def test_all_that_is_public_is_there_and_says_what_it_is() -> None:
    assert pr.__all__ == sorted(pr.__all__)
    for name in pr.__all__:
        assert inspect.getdoc(getattr(pr, name)), name
    assert {kind.__name__ for kind in KINDS.values()} <= set(pr.__all__)


def test_package_and_collection_have_one_version() -> None:
    root = Path(__file__).parents[3]
    said = {(root / name).read_text().partition("\nversion")[2].partition("\n")[0].strip(' =":') for name in VERSIONED}
    assert said == {pr.__version__}
