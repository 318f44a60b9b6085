# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command without a playbook behind it."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import platform_recovery as pr
from platform_recovery import attached, cli, folders, result, session, views
from platform_recovery._collection import module
from platform_recovery.call import Call
from platform_recovery.errors import WrongCall
from platform_recovery.processes import identify
from platform_recovery.result import unopened


@pytest.mark.parametrize(
    ("texts", "variables", "files"),
    [
        ([], {}, []),
        (["a=1", "b=x=y", "c="], {"a": "1", "b": "x=y", "c": ""}, []),
        (['{"a": 1, "b": [true]}', "@/x/y.yml"], {"a": 1, "b": [True]}, ["/x/y.yml"]),
    ],
)
def test_variables(texts: list[str], variables: dict[str, Any], files: list[str]) -> None:
    assert cli._variables(texts) == (variables, files)


@pytest.mark.parametrize("text", ["planted", "=planted", "a b=planted", '{"a": planted'])
def test_wrong_variables_are_not_repeated(text: str) -> None:
    with pytest.raises(WrongCall) as caught:
        cli._variables([text])
    assert "planted" not in caught.value.message


def test_a_refused_call_has_every_field_of_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "no-such", "-i", "/", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    fields = (
        "schema run_id playbook scenario mode target initiator reason outcome objectives outage phases decisions "
        "next_actions exit_code"
    )
    assert set(fields.split()) <= set(report)
    assert pr.Result.from_report(report).exit_code == 1


def test_a_result_reads_a_report_with_fields_it_does_not_know() -> None:
    report = unopened(
        run_id="r", playbook="p", mode=None, target=None, exit_code=4, failure={"kind": "refused", "msg": "no"}
    )
    report["phases"] = [{"name": "confirm", "outcome": "ok", "attempt": 1, "news": 1}]
    report["outage"] = {"seconds": 1.5, "news": 1}
    read = pr.Result.from_report(report)
    assert (read.outcome, read.phases[0].name) == ("refused", "confirm")
    assert read.outage is not None
    assert read.outage.seconds == 1.5


def test_what_is_remembered_of_a_call_holds_no_value_of_a_variable(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("")
    call = Call.of(
        "database_failover", "hosts", cwd=tmp_path, variables={"db_password": "planted"}, allow_data_loss=True,
        fence_statement="it is off", target="us-east-1", confirm="us-east-1",
    )  # fmt: skip
    text = json.dumps(call.remembered())
    assert "planted" not in text + repr(call)
    assert call.remembered()["overrides"] == ["allow_data_loss", "fence_statement"]
    assert call.remembered()["variable_names"] == ["db_password"]
    assert call.extra_variables()["recovery_allow_data_loss"] is True
    assert call.extra_variables()["recovery_run_id"] == call.run_id
    assert call.name == "database-failover"


@pytest.mark.parametrize("name", ["recovery_confrim", "recovery_allow_dataloss", "recovery_fence_statment"])
def test_a_misspelt_variable_is_not_ignored_silently(tmp_path: Path, name: str) -> None:
    (tmp_path / "hosts").write_text("")
    with pytest.raises(WrongCall, match=f"no variable '{name}'; did you mean"):
        Call.of("database-failover", "hosts", cwd=tmp_path, variables={name: "x"})
    others = {"recovery_target": "x", "recovery_run_target": "x", "recovery_ticket": "x", "recover_confirm": "x"}
    assert Call.of("database-failover", "hosts", cwd=tmp_path, variables=others).variables == others
    (tmp_path / "own.yml").write_text("[]")
    assert Call.of("own.yml", "hosts", cwd=tmp_path, variables={name: "x"}).name == "own"


def test_the_schema_is_the_reports() -> None:
    # Kept beside it, because a call that never became a run has a report even where the collection is missing.
    assert result.SCHEMA == module("report").SCHEMA


def journalled(folder: Path, **started: Any) -> Any:
    """Make a run that died in the middle."""
    journal = module("journal").Journal.open(folder, folder.name)
    journal.append("run_started", playbook="database-failover", mode="failover", target="us-east-1", **started)
    return journal


@pytest.fixture
def resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Resume the run r of a sink with an odd name; gives what session.start was given."""
    wishes: list[dict[str, Any]] = []

    def start(playbook: str, **wish: Any) -> None:
        wishes.append({"playbook": playbook, **wish})
        raise WrongCall("heard")

    def resume(*arguments: str) -> dict[str, Any]:
        sink = f"file:{quote(str(tmp_path / '100%25 runs#1'))}"
        assert cli.main(["resume", "r", "-i", "hosts", "--journal", sink, *arguments]) == 1
        return wishes[-1] if wishes else {}

    monkeypatch.setattr(session, "start", start)
    return resume


def test_resume_keeps_the_alert_and_the_folder(tmp_path: Path, resumed: Callable[..., dict[str, Any]]) -> None:
    folder = tmp_path / "100%25 runs#1/r"
    journalled(folder, detected_at="2026-11-23T10:30:00.000Z")
    assert resumed()["detected_at"] == "2026-11-23T10:30:00.000Z"
    assert folders.sink(resumed()["journal"]) == folder.parent
    folders.write(folder / folders.CALL, json.dumps({"detected_at": None, "target": "us-west-2"}))
    assert (resumed()["detected_at"], resumed()["target"]) == ("2026-11-23T10:30:00.000Z", "us-west-2")


def test_resume_takes_secrets_from_a_file(tmp_path: Path, resumed: Callable[..., dict[str, Any]]) -> None:
    folder = tmp_path / "100%25 runs#1/r"
    journalled(folder)
    folders.write(folder / folders.CALL, json.dumps({"variable_names": ["password"], "variable_files": ["/first"]}))
    assert resumed() == {}
    assert resumed("-e", "@/secrets.yml")["variable_files"] == ["/first", "/secrets.yml"]
    assert resumed("-e", "password=x")["variables"] == {"password": "x"}


def test_a_living_controller_is_seen_and_not_doubled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = identify(os.getpid())
    assert own is not None
    controller = {"pid": own.pid, "started": own.started, "host": socket.gethostname()}
    journalled(tmp_path / "r", controller=controller)
    sink = f"file:{tmp_path}"
    assert cli.main(["status", "r", "--journal", sink, "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert [status[name] for name in ("state", "outcome", "exit_code", "pid")] == ["running", None, None, own.pid]
    assert cli.main(["list", "--journal", sink, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "running"
    for arguments in (["resume", "r", "-i", "/"], ["run", "database-failover", "-i", "/", "--run-id", "r"]):
        assert cli.main([*arguments, "--journal", sink]) == 4
        assert f"process {own.pid} on {socket.gethostname()}" in capsys.readouterr().err
    assert cli.main(["cancel", "r", "--journal", sink]) == 1
    assert f"kill -INT {own.pid}" in capsys.readouterr().err


def test_a_journal_that_cannot_be_read_is_exit_2_and_hides_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journalled(tmp_path / "good")
    journalled(tmp_path / "later")
    journal = tmp_path / "later" / folders.JOURNAL
    journal.write_text(journal.read_text().replace('"schema":1', '"schema":9'))
    sink = f"file:{tmp_path}"
    assert cli.main(["list", "--journal", sink, "--json"]) == 0
    told = capsys.readouterr()
    assert {row["run_id"]: row["state"] for row in json.loads(told.out)} == {
        "good": "unfinished",
        "later": "unreadable",
    }
    assert "schema 9" in told.err
    for command in (["status"], ["report"], ["verify-evidence"], ["resume", "-i", "/"]):
        assert cli.main([*command, "later", "--journal", sink, "--json"]) == 2
        told = capsys.readouterr()
        assert json.loads(told.out)["exit_code"] == 2
        assert "Next: read it with the version" in told.err


def test_what_nobody_foresaw_is_exit_2_and_says_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(folders, "sink", lambda *_: 1 / 0)
    assert cli.main(["list"]) == 2
    assert "division by zero (ZeroDivisionError at test_cli.py" in capsys.readouterr().err


def test_a_cancel_does_not_end_in_the_journal_what_another_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its owner is about to write the end, or hangs; a second end would change the outcome of the first."""
    journalled(tmp_path / "r")
    owner = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(300)"])
    hold = folders.Hold(tmp_path / "r")
    try:
        found = identify(owner.pid)
        assert found is not None
        folders.Owner(found, None, "no-process-has-this-mark").write(tmp_path / "r")
        monkeypatch.setattr(attached, "CANCEL_SECONDS", 0.2)
        assert cli.main(["cancel", "r", "--journal", f"file:{tmp_path}"]) == 4
        assert f"process {owner.pid} does not let go" in capsys.readouterr().err
        assert "run_ended" not in (tmp_path / "r" / folders.JOURNAL).read_text()
    finally:
        hold.release()
        owner.kill()
        owner.wait()


class FakeRun:
    """A run whose cancel lasts until it is hurried."""

    def __init__(self) -> None:
        self.cancelled: str | None = None
        self.hurried = threading.Event()
        self.hurry = self.hurried.set

    def cancel(self, reason: str) -> None:
        self.cancelled = reason
        self.hurried.wait(10)


def test_the_first_signal_cancels_and_the_second_hurries() -> None:
    run, said = FakeRun(), io.StringIO()
    before = signal.getsignal(signal.SIGINT)
    with cli._Signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)  # before there is a run
        os.kill(os.getpid(), signal.SIGHUP)  # means nothing
        signals.watch(run, views.Lines(said))  # type: ignore[arg-type]
        deadline = time.monotonic() + 5
        while run.cancelled is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert run.cancelled == "interrupted by SIGINT"
        assert not run.hurried.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert run.hurried.wait(5)
    assert "once more kills" in said.getvalue()
    assert signal.getsignal(signal.SIGINT) is before


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys, platform_recovery.cli; print([m for m in ('ansible_runner', 'yaml', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": str(Path(pr.__file__).parents[1])})  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_unknown_names_are_no_attributes() -> None:
    assert all(getattr(pr, name) for name in pr.__all__)
    with pytest.raises(AttributeError):
        pr.nothing  # noqa: B018
