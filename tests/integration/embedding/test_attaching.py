# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that outlive who started them, readers that are slow, and several runs in one process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

import platform_recovery as pr
from platform_recovery import folders
from platform_recovery._collection import module
from platform_recovery.processes import of_run

from .conftest import Place

LAUNCH = """
import sys
import platform_recovery as pr
playbook, inventory, cwd, pause = sys.argv[1:]
run = pr.launch(playbook, inventory=inventory, cwd=cwd, run_id="r", variables={"pause": float(pause)})
print(run.folder, flush=True)
"""
START = (
    LAUNCH.replace("pr.launch", "pr.start").replace("print(run.folder", "print(next(run.events()).run_id")
    + "run.wait()"
)
CANCEL = """
import sys, time
import platform_recovery as pr
run = pr.attach("r", cwd=sys.argv[1])
begin = time.monotonic()
cancelled = run.cancel("enough")
print(time.monotonic() - begin, cancelled.remaining, run.wait(10).outcome)
"""


def python(place: Place, code: str, *arguments: object) -> str:
    """Run another embedding program to its end; gives what it prints."""
    argv = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(argv, env=place.environment, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.strip()


def owned(folder: Path) -> folders.Owner:
    owner = folders.Owner.read(folder)
    assert owner is not None
    return owner


def at_work(run: pr.AttachedRun | pr.Run) -> None:
    """Wait until the checklist sleeps in its module."""
    for event in run.events(after=0):
        if isinstance(event, pr.Decision):
            return
    raise AssertionError("the run ended before it worked")


@pytest.fixture
def launched(place: Place) -> Iterator[pr.AttachedRun]:
    """A run whose starter is gone."""
    folder = python(place, LAUNCH, place.playbook, place.inventory, place.cwd, 300)
    run = pr.attach("r", cwd=place.cwd)
    assert str(run.folder) == folder
    yield run
    if run.running:
        run.cancel("the test is over")


def test_a_launched_run_outlives_its_starter_and_any_process_attaches_to_it(place: Place) -> None:
    python(place, LAUNCH, place.playbook, place.inventory, place.cwd, 3)
    run = pr.attach("r", cwd=place.cwd)
    assert run.running
    assert (run.status().state, run.status().outcome) == ("running", None)
    with pytest.raises(TimeoutError):
        run.wait(0.1)
    with pytest.raises(pr.WrongCall, match="going on already"):
        pr.launch(place.playbook, inventory=place.inventory, cwd=place.cwd, run_id="r")
    events = list(run.events())
    assert isinstance(events[0], pr.RunStarted)
    assert isinstance(events[-1], pr.RunEnded)
    result = run.wait(30)
    assert (result.outcome, result.exit_code, result.folder) == ("recovered", 0, run.folder)
    after = pr.attach("r", cwd=place.cwd)  # as another process does after the end
    assert (after.running, after.status().state, after.status().exit_code) == (False, "finished", 0)
    assert list(after.events()) == events
    assert list(after.events(after=events[3].seq)) == events[4:]
    assert after.wait(0).outcome == "recovered"
    with pytest.raises(pr.WrongCall, match="not going on"):
        after.cancel()
    # Resumed under its name: an attempt of its own, behind which the whole story stands.
    again = pr.launch(place.playbook, inventory=place.inventory, cwd=place.cwd, run_id="r")
    assert again.wait(60).exit_code == 0
    assert isinstance(next(again.events()), pr.RunResumed)
    assert list(again.events(after=0))[: len(events)] == events


def test_a_cancel_from_another_process_ends_all_of_it_at_once(place: Place, launched: pr.AttachedRun) -> None:
    at_work(launched)
    owner = owned(launched.folder)
    seconds, remaining, outcome = python(place, CANCEL, place.cwd).split(" ")
    assert (remaining, outcome) == ("()", "cancelled")
    assert of_run(owner.mark) == set()
    assert float(seconds) < 5  # in 1 s as a rule, but the machine may be busy
    assert "enough" in (launched.folder / folders.JOURNAL).read_text()
    assert launched.status().exit_code == 5
    assert isinstance(list(launched.events())[-1], pr.RunEnded)


def test_a_keeper_that_is_killed_leaves_a_run_that_can_be_ended_and_resumed(
    place: Place, launched: pr.AttachedRun
) -> None:
    at_work(launched)
    owner = owned(launched.folder)
    owner.runner.send(signal.SIGKILL)
    # Whether the playbook outlives the terminal of its keeper is Ansible's business; that it can be ended is ours.
    try:
        launched.cancel("the keeper is dead")
    except pr.WrongCall:
        assert not launched.running
    assert of_run(owner.mark) == set()
    assert launched.wait(10).outcome in ("cancelled", "failed")
    again = pr.launch(place.playbook, inventory=place.inventory, cwd=place.cwd, run_id="r")
    assert again.wait(60).exit_code == 0


def test_a_run_is_attached_to_after_its_embedding_process_was_killed(place: Place) -> None:
    argv = [sys.executable, "-c", START, place.playbook, place.inventory, str(place.cwd), "300"]
    process = subprocess.Popen(argv, env=place.environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline().strip() == "r"
    run = pr.attach("r", cwd=place.cwd)
    at_work(run)
    mark = owned(run.folder).mark
    process.kill()
    process.wait()
    process.stdout.close()
    try:
        run.cancel("its process is dead")
    except pr.WrongCall:  # the playbook went with the terminal of who ran it
        assert not run.running
    assert of_run(mark) == set()
    status = run.status()
    assert (status.state == "running", status.pid) == (False, None)
    assert run.wait(10).outcome in ("cancelled", "failed")


def test_a_launched_run_is_timed_out_by_its_keeper(place: Place) -> None:
    run = pr.launch(
        place.playbook, inventory=place.inventory, cwd=place.cwd, run_id="r", variables={"pause": 300}, timeout=25
    )
    mark = owned(run.folder).mark
    result = run.wait(90)
    assert (result.outcome, result.exit_code) == ("cancelled", 5)
    assert of_run(mark) == set()
    assert "timed out after 25 s" in (run.folder / folders.JOURNAL).read_text()


def test_the_keepers_own_signal_cancels(launched: pr.AttachedRun) -> None:
    at_work(launched)
    owned(launched.folder).runner.send(signal.SIGTERM)
    assert launched.wait(30).outcome == "cancelled"
    assert "interrupted by SIGTERM" in (launched.folder / folders.JOURNAL).read_text()


def test_what_was_never_opened_is_told_to_who_launched(place: Place) -> None:
    broken = place.cwd / "broken.yml"
    broken.write_text("all: [unbalanced\n")
    with pytest.raises(pr.NotOpened) as caught:
        pr.launch(place.playbook, inventory=broken, cwd=place.cwd, run_id="r")
    assert (caught.value.result.exit_code, caught.value.result.run_id) == (1, "r")
    with pytest.raises(pr.WrongCall, match="did you mean 'database-failover'"):
        pr.launch("database-failovr", inventory=place.inventory, cwd=place.cwd)
    with pytest.raises(pr.WrongCall, match="cannot be given to another process"):
        pr.launch(place.playbook, inventory=place.inventory, cwd=place.cwd, variables={"x": object()})
    for name, words in (("r", "There is no run 'r'"), ("../r", "cannot name a run"), ("", "There is no run")):
        with pytest.raises(pr.WrongCall, match=words):
            pr.attach(name, cwd=place.cwd)
    assert not (place.cwd / ".recovery/runs/r").exists()


def test_the_secrets_of_a_launched_run_are_on_no_command_line_and_in_no_file_left_behind(place: Place) -> None:
    secret = "planted-4b1f77"
    wish = {"run_id": "r", "variables": {"secret": secret, "pause": 1}}
    seen: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        result = pr.launch(place.playbook, inventory=place.inventory, cwd=place.cwd, **wish).wait(60)
    finally:
        over.set()
        watcher.join()
    assert result.exit_code == 0
    assert any(b"platform_recovery.detached" in line for line in seen)
    assert [line for line in seen if secret.encode() in line] == []
    for path in place.cwd.rglob("*"):
        assert not path.is_file() or secret not in path.read_text(errors="replace"), path


def test_a_reader_that_sleeps_while_thousands_of_events_arrive_holds_none_of_them(place: Place) -> None:
    count, batch = 8_000, 500
    run = place.start(run_id="r", variables={"pause": 300})
    reader = run.events()
    assert isinstance(next(reader), pr.RunStarted)
    at_work(run)
    folder = place.cwd / ".recovery/runs/r"
    journal = module("journal").Journal(folder, "r")
    tracemalloc.start()
    try:
        for begin in range(0, count, batch):
            told = [("observation", {"what": str(i), "lines": ["seen " * 40]}) for i in range(begin, begin + batch)]
            journal.append_all(lambda told=told: told)
        deadline = time.monotonic() + 120
        while run._seen < count and time.monotonic() < deadline:
            time.sleep(0.05)
        held, _peak = tracemalloc.get_traced_memory()
        heard = [int(event.what or 0) for event in observed(reader, count)]
        after, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert run._seen >= count
    assert heard == list(range(count))
    # All of them, typed, are some 16 MB; the numbers that this test keeps are less than one.
    assert (folder / folders.JOURNAL).stat().st_size > 3_000_000
    assert max(held, after) < 4_000_000
    # Another reader begins where it wants, as often as it wants, and takes nothing from the first.
    assert next(run.events(after=count)).seq == next(run.events(after=count)).seq == count + 1
    run.cancel()
    assert run.wait(60).exit_code == 5
    assert [type(event) for event in reader][-1] is pr.RunEnded


def observed(events: Iterator[pr.Event], count: int) -> Iterator[pr.Observation]:
    """Give that many of the numbered observations."""
    while count:
        event = next(events)
        if isinstance(event, pr.Observation) and (event.what or "").isdigit():
            count -= 1
            yield event


def test_several_runs_at_once_each_tell_their_own_story_in_order(place: Place) -> None:
    runs = [place.start(run_id=f"r{number}", variables={"pause": 1}) for number in range(4)]
    heard: dict[str, list[pr.Event]] = {run.id: [] for run in runs}
    readers = [threading.Thread(target=lambda run=run: heard[run.id].extend(run.events())) for run in runs]
    for reader in readers:
        reader.start()
    results = [run.wait(120) for run in runs]
    for reader in readers:
        reader.join(10)
    assert [result.outcome for result in results] == ["recovered"] * 4
    for name, events in heard.items():
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert {event.run_id for event in events} == {name}
        assert isinstance(events[-1], pr.RunEnded)


def test_a_program_with_an_event_loop_follows_runs_without_threads(place: Place) -> None:
    async def follow() -> tuple[list[int], list[int]]:
        async def numbers(run_id: str, after: int | None) -> list[int]:
            run = pr.attach(run_id, cwd=place.cwd)
            return [event.seq async for event in run.events_async(after)]

        first, second = await asyncio.gather(numbers("r", None), numbers("r", 4))
        return first, second

    run = place.start(run_id="r", variables={"pause": 1})
    next(run.events())
    first, second = asyncio.run(follow())
    assert first == list(range(1, len(first) + 1))
    assert second == first[4:]
    assert run.wait(30).exit_code == 0
    assert json.loads((place.cwd / ".recovery/runs/r/report.json").read_text())["outcome"] == "recovered"
    assert os.listdir(place.cwd / ".recovery/runs") == ["r"]
