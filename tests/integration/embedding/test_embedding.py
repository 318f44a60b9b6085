# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python API, by what a program that embeds it can see."""

from __future__ import annotations

import getpass
import threading
import time
from pathlib import Path

import pytest

import platform_recovery as pr

from .conftest import Place, processes


def test_events_come_as_things_happen_and_the_result_has_the_reports_fields(place: Place) -> None:
    seen: list[tuple[float, pr.Event]] = []
    result = place.run(
        target="us-east-1",
        confirm="us-east-1",
        reason="a test",
        run_id="first",
        variables={"pause": 0.5},
        on_event=lambda event: seen.append((time.time(), event)),
    )
    assert [type(event) for _at, event in seen] == [
        pr.RunStarted, pr.Event, pr.Forecast, pr.PhaseStarted, pr.Decision, pr.PhaseEnded, pr.PhaseStarted,
        pr.NextAction, pr.PhaseEnded, pr.RunEnded,
    ]  # fmt: skip
    assert [event.seq for _at, event in seen] == list(range(1, 11))
    started, decision = seen[0][1], seen[4][1]
    assert isinstance(started, pr.RunStarted)
    assert (started.run_id, started.target, started.reason) == ("first", "us-east-1", "a test")
    assert isinstance(decision, pr.Decision)
    assert (decision.observed, decision.wanted, decision.verdict) == ("us-east-1", "us-east-1", "pass")
    # Heard of long before the end, not after it.
    assert seen[-1][0] - seen[4][0] > 0.4
    assert (result.outcome, result.exit_code, result.run_id) == ("recovered", 0, "first")
    assert [phase.name for phase in result.phases] == ["confirm", "verify"]
    assert result.objectives[0].met is True
    assert result.next_actions == ("Plan the way back",)
    assert result.folder == place.cwd / ".recovery/runs/first"
    assert {"report.json", "report.html", "metrics.prom", "journal.jsonl"} <= {p.name for p in result.folder.iterdir()}
    with pytest.raises(AttributeError):
        result.outcome = "failed"  # type: ignore[misc]


def test_a_missed_objective_is_exit_3(place: Place) -> None:
    result = place.run(detected_at="2020-01-01T00:00:00Z")
    assert (result.outcome, result.exit_code) == ("recovered", 3)


@pytest.mark.parametrize(("fault", "outcome", "code"), [("bad_input", "failed", 1), ("failed", "failed", 2)])
def test_failures_say_what_and_what_next(place: Place, fault: str, outcome: str, code: int) -> None:
    result = place.run(variables={"fault": fault})
    assert (result.outcome, result.exit_code) == (outcome, code)
    assert result.failures
    assert result.next_actions


def test_a_run_is_resumed_by_its_name_and_only_the_new_attempt_is_told(place: Place) -> None:
    assert place.run(run_id="again", variables={"fault": "failed"}).exit_code == 2
    seen: list[pr.Event] = []
    result = place.run(run_id="again", on_event=seen.append)
    assert isinstance(seen[0], pr.RunResumed)
    assert not any(isinstance(event, pr.StepFailed) for event in seen)
    assert result.exit_code == 0


def test_cancel_ends_a_module_that_sleeps(place: Place) -> None:
    run = place.start(variables={"pause": 300})
    for event in run.events():
        if isinstance(event, pr.Decision):
            break
    deadline = time.monotonic() + 60
    while not any("sleep 300" in process.command for process in processes(run)) and time.monotonic() < deadline:
        time.sleep(0.02)
    before = processes(run)
    assert any("sleep 300" in process.command for process in before)
    files = Path(f"~{getpass.getuser()}/.ansible/tmp").expanduser()
    assert any(f"-{process.pid}-" in path.name for process in before for path in files.glob("ansible-tmp-*"))
    begin = time.monotonic()
    cancelled = run.cancel("enough")
    assert time.monotonic() - begin < 3
    assert cancelled.remaining == ()
    assert not any(process.alive for process in before)
    assert processes(run) == set()
    assert not any(f"-{process.pid}-" in path.name for process in before for path in files.glob("ansible-tmp-*"))
    result = run.wait(30)
    assert (result.outcome, result.exit_code) == ("cancelled", 5)
    assert result.next_actions
    rest = list(run.events())
    assert isinstance(rest[-1], pr.RunEnded)
    assert run.cancel().reason == "enough"


def test_cancel_before_the_run_was_opened(place: Place) -> None:
    run = place.start()
    deadline = time.monotonic() + 10
    while not processes(run):  # once it is there, half a second is left until it opens its run
        assert time.monotonic() < deadline
        time.sleep(0.005)
    run.cancel()
    result = run.wait(30)
    assert (result.outcome, result.exit_code, result.folder) == ("cancelled", 5, None)
    assert processes(run) == set()


def test_a_time_out_cancels(place: Place) -> None:
    run = place.start(variables={"pause": 300}, timeout=12)
    result = run.wait(60)
    assert (result.outcome, result.exit_code) == ("cancelled", 5)
    assert processes(run) == set()
    assert "timed out after 12 s" in (place.cwd / f".recovery/runs/{run.id}/journal.jsonl").read_text()


def test_an_exception_of_the_listener_cancels_and_is_raised(place: Place) -> None:
    def listen(event: pr.Event) -> None:
        if isinstance(event, pr.Decision):
            raise RuntimeError("the embedding program is broken")

    begin = time.monotonic()
    with pytest.raises(RuntimeError, match="broken"):
        place.run(variables={"pause": 300}, on_event=listen)
    assert time.monotonic() - begin < 90


def test_two_runs_at_once_do_not_touch_each_other(place: Place) -> None:
    slow, other = place.start(variables={"pause": 300}), place.start()
    assert other.wait(90).exit_code == 0
    assert slow.running
    with pytest.raises(TimeoutError):
        slow.wait(0.1)
    threading.Thread(target=slow.cancel).start()
    assert slow.wait(30).exit_code == 5


def test_the_same_run_twice_at_once_is_refused(place: Place) -> None:
    run = place.start(run_id="one", variables={"pause": 300})
    next(iter(run.events()))
    with pytest.raises(pr.WrongCall, match="going on already") as caught:
        place.start(run_id="one")
    assert caught.value.exit_code == 4
    run.cancel()
    run.wait(30)


def test_secrets_are_in_no_argument_list_and_in_no_file_left_behind(place: Place) -> None:
    secret = "planted-9d2c41"
    run = place.start(variables={"secret": secret, "db_password": secret, "pause": 1.5})
    lines: set[bytes] = set()
    while run.running:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                lines.add(path.read_bytes())
            except OSError:
                continue
        time.sleep(0.02)
    result = run.wait()
    assert result.exit_code == 0
    assert any(b"ansible-playbook" in line for line in lines)
    assert [line for line in lines if secret.encode() in line] == []
    for path in place.cwd.rglob("*"):
        assert not path.is_file() or secret not in path.read_text(errors="replace"), path
    assert secret not in repr(run.call) + run.output + repr(result)


def test_wrong_calls_start_nothing(place: Place) -> None:
    for wish, words in (
        ({"playbook": "database-failovr"}, "did you mean 'database-failover'"),
        ({"playbook": "missing.yml"}, "does not exist"),
        ({"inventory": "nowhere"}, "does not exist"),
        ({"inventory": []}, "No inventory"),
        ({"mode": "switchovr"}, "did you mean 'switchover'"),
        ({"run_id": "../up"}, "cannot name a run"),
        ({"journal": "ftp://x"}, "no sink"),
        ({"variable_files": ["gone.yml"]}, "does not exist"),
        ({"timeout": 0}, "more than 0"),
    ):
        with pytest.raises(pr.WrongCall, match=words):
            place.start(**wish)
    assert list(place.cwd.iterdir()) == []


def test_what_ansible_cannot_read_is_exit_1_and_what_breaks_is_exit_2(place: Place) -> None:
    broken = place.cwd / "broken.yml"
    broken.write_text("all: [unbalanced\n")
    result = place.run(inventory=str(broken))
    assert (result.exit_code, result.folder) == (1, None)
    assert result.failures[0].msg
    odd = place.cwd / "odd.yml"
    odd.write_text("- hosts: localhost\n  gather_facts: false\n  tasks: [{fail: {msg: too early}}]\n")
    result = place.run(playbook=str(odd))
    assert result.exit_code == 2
    assert "too early" in result.failures[0].msg
