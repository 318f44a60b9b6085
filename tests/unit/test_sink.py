# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sink in object storage: never two histories in it, nothing lost here, and a run that goes on without it."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import lease, report, sink
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, PreconditionFailed
from ansible_collections.platform.recovery.plugins.module_utils.journal import Journal
from ansible_collections.platform.recovery.plugins.module_utils.run import Run, open_run, sink_folder
from ansible_collections.platform.recovery.plugins.plugin_utils.action import secured
from ansible_collections.platform.recovery.plugins.plugin_utils.pump import Pump
from tests.support.bucket import Bucket

URL = "s3://dr/runs"
START = {
    "playbook": "database-failover",
    "mode": "failover",
    "target": "us-east-1",
    "check": False,
    "detected_at": "2026-11-23T10:30:00.000Z",
    "initiator": "maria",
}
# A controller on another machine, of which nobody here knows whether it lives.
ELSEWHERE = {**asdict(lease.Holder("", "far-away", "r1", pid=7, started=7)), "space": "another boot"}


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    made = Bucket()
    monkeypatch.setattr(sink, "open_store", made.open)
    return made


class Controller:
    """A controller with a disk of its own."""

    def __init__(self, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.disk = disk
        self._monkeypatch = monkeypatch
        disk.mkdir(exist_ok=True)

    def open(self, run_id: str = "r1", **start: Any) -> Run:
        self._monkeypatch.chdir(self.disk)
        return open_run(run_id, URL, {**START, **start})[0]

    @property
    def folder(self) -> Path:
        return self.disk / ".recovery/runs/r1"


@pytest.fixture
def controllers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Controller, Controller]:
    return Controller(tmp_path / "a", monkeypatch), Controller(tmp_path / "b", monkeypatch)


def held(bucket: Bucket, run_id: str = "r1") -> bytes:
    """Give the history that the sink holds."""
    below = f"runs/{run_id}/journal/"
    return b"".join(bucket.objects[name] for name in sorted(bucket.objects) if name.startswith(below))


def secure(run: Run) -> None:
    """Ask what every change asks first."""
    secured(run, lambda: None)()


def events(run: Run) -> list[str]:
    return [record["event"] for record in run.journal.records()]


def dies(bucket: Bucket, alive: bool = False) -> None:
    """Let the controller that has the run be one of another machine that showed its last sign of life long ago."""
    bucket.objects["runs/r1/controller.json"] = json.dumps(ELSEWHERE).encode()
    bucket.written["runs/r1/controller.json"] -= 0 if alive else 2 * sink.LONG_DEAD_SECONDS


def test_the_folder_of_a_sink_in_object_storage_is_the_usual_one() -> None:
    assert sink_folder(URL, Path("/here")) == Path("/here/.recovery/runs")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (None, None),
        ("file:runs", None),
        ("s3://dr", ("dr", "", None, None)),
        ("s3://dr/a/b/", ("dr", "a/b", None, None)),
        ("S3://dr/a?region=eu-1", ("dr", "a", None, "eu-1")),
        ("s3://dr/a?endpoint=https://minio:9000&region=x", ("dr", "a", "https://minio:9000", "x")),
    ],
)
def test_addresses(url: str | None, address: tuple[Any, ...] | None) -> None:
    found = sink.Address.parse(url)
    assert (found and (found.bucket, found.prefix, found.endpoint, found.region)) == address


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3:", "names no bucket"),
        ("s3:///runs", "names no bucket"),
        ("s3://dr/a?endpoint=minio:9000", "endpoint"),
        ("s3://dr/a?key=x", "keys that are not known: key"),
        ("s3://AKIA:planted@dr/a", "holds credentials"),
        ("s3://dr/a?endpoint=https://u:planted@minio", "holds credentials"),
    ],
)
def test_addresses_that_are_refused(url: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        sink_folder(url)
    assert says in caught.value.what
    assert "planted" not in str(caught.value)


def test_before_a_change_the_sink_holds_all_of_it_in_few_objects(
    bucket: Bucket, controllers: tuple[Controller, Controller]
) -> None:
    run = controllers[0].open()
    assert held(bucket) == run.journal.path.read_bytes()
    for number in range(20):
        run.journal.append("observation", what=str(number))
    run.journal.append("decision", gate="fence", verdict="pass")
    secure(run)
    assert held(bucket) == run.journal.path.read_bytes()
    assert len([name for name in bucket.objects if "/journal/" in name]) == 2
    before = len(bucket.calls)
    secure(run)
    assert len(bucket.calls) == before, "nothing is new, so nothing is asked"


def test_another_controller_takes_over_on_an_empty_disk_with_history_and_clock(
    bucket: Bucket, controllers: tuple[Controller, Controller]
) -> None:
    first, second = controllers
    run = first.open()
    run.journal.append("phase_started", phase="promote")
    run.journal.append("action", what="promote", changed=True)
    secure(run)
    dies(bucket)
    other = second.open(detected_at="2026-11-23T11:11:11.000Z", initiator="otto")
    assert events(other) == ["run_started", "phase_started", "action", "run_resumed"]
    assert other.journal.verify() is None
    told = other.render()
    assert (told["attempts"], told["clock"], told["initiator"]) == (
        2, {"started_at": START["detected_at"], "how": "the alert"}, "maria",
    )  # fmt: skip
    other.journal.append("run_ended", outcome="recovered")
    other.render()
    assert sink.finish(other.folder, other.journal) == []
    assert held(bucket) == other.journal.path.read_bytes() == bucket.objects["runs/r1/journal.jsonl"]
    assert {"report.json", "report.html", "metrics.prom"} <= {Path(name).name for name in bucket.objects}


def test_who_was_taken_over_from_is_refused_before_its_next_change_and_keeps_what_it_wrote(
    bucket: Bucket, controllers: tuple[Controller, Controller]
) -> None:
    first, second = controllers
    run = first.open()
    dies(bucket)
    second.open()
    run.journal.append("decision", gate="promote", verdict="pass")
    for _ in range(2):
        with pytest.raises(PreconditionFailed, match="Another controller has gone on with run r1"):
            secure(run)
    written = run.journal.path.read_bytes()
    assert "ours is in aside/" in sink.finish(run.folder, run.journal)[0]
    assert written in bucket.objects.values()
    assert b"promote" not in held(bucket)
    assert Journal(second.folder, "r1").verify() is None
    # Once the other has ended, it goes on from there, and what only it knew is set aside and named.
    other = Run.at("r1", second.folder)
    other.journal.append("run_ended", outcome="failed")
    secure(other)
    again = first.open()
    assert events(again) == ["run_started", "run_resumed", "run_ended", "run_resumed", "journal_set_aside"]
    aside = list(again.journal.records())[-1]["data"]["file"]
    assert (again.folder / aside).read_bytes() == written
    secure(again)
    assert again.journal.verify() is None


def test_controllers_that_go_on_at_the_same_instant_are_told_apart_by_the_sink(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Controller(tmp_path / "first", monkeypatch).open()
    first.journal.append("run_ended", outcome="failed")
    secure(first)
    mirrors, refused = [], []
    for number in range(8):
        folder = tmp_path / str(number) / "r1"
        mirror = sink.Mirror(folder, Journal.open(folder, "r1"), sink.Address.parse(URL))  # type: ignore[arg-type]
        mirror.fetch(lambda _first: None)
        mirror.journal.append("run_resumed", controller={"pid": number, "host": "here"})
        mirrors.append(mirror)

    def claim(mirror: sink.Mirror) -> None:
        try:
            mirror.claim(ELSEWHERE)
        except PreconditionFailed as error:
            refused.append(str(error))

    threads = [threading.Thread(target=claim, args=(mirror,)) for mirror in mirrors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == len(mirrors) - 1
    assert all("the next record is by process" in text for text in refused)
    (winner,) = [mirror for mirror in mirrors if mirror.standing.taken is None]
    assert held(bucket) == winner.journal.path.read_bytes()


@pytest.mark.usefixtures("bucket")
def test_two_new_runs_of_one_name_at_the_same_instant(
    controllers: tuple[Controller, Controller], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = controllers
    first.open()
    # Who looked before the other had written.
    monkeypatch.setattr(sink.Mirror, "_history", lambda _self: (b"", []))
    with pytest.raises(PreconditionFailed, match="Another controller has gone on") as caught:
        second.open()
    assert f"process {os.getpid()} on" in str(caught.value.observed)


@pytest.mark.parametrize("how", ["this machine", "another machine"])
def test_a_run_that_goes_on_is_not_taken_over(
    bucket: Bucket, controllers: tuple[Controller, Controller], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    first, second = controllers
    first.open()
    if how == "another machine":
        dies(bucket, alive=True)
        ages = iter([9.0, 9.0, 10.0, 0.0])
        monkeypatch.setattr("tests.support.bucket.BucketStore.age", lambda _self, _name: next(ages))
        monkeypatch.setattr(sink.time, "sleep", lambda _seconds: None)
    with pytest.raises(PreconditionFailed, match="is going on elsewhere"):
        second.open()
    assert not (second.folder / "journal.jsonl").exists()


def test_a_silent_controller_is_watched_until_it_is_dead(
    bucket: Bucket, controllers: tuple[Controller, Controller], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = controllers
    first.open()
    dies(bucket, alive=True)
    clock = {"now": 100.0}
    monkeypatch.setattr("tests.support.bucket.BucketStore.age", lambda _self, _name: clock["now"] - 95)
    monkeypatch.setattr(sink.time, "monotonic", lambda: clock["now"])
    monkeypatch.setattr(sink.time, "sleep", lambda seconds: clock.update(now=clock["now"] + seconds))
    second.open()
    assert 95 + sink.SILENT_SECONDS <= clock["now"] < 95 + sink.SILENT_SECONDS + 2


def test_a_sink_that_is_down_stops_nobody_and_is_told_loudly_until_it_has_caught_up(
    bucket: Bucket, controllers: tuple[Controller, Controller], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = controllers[0].open()
    bucket.down = "it cannot be reached"
    run.journal.append("action", what="promote", changed=True)
    secure(run)
    secure(run)
    assert events(run) == ["run_started", "action", "sink_down"], "said once"
    told = run.render()
    assert told["journal"]["sink"]["state"] == "down"
    assert "its sink s3://dr/runs is down" in told["marks"][0]
    assert "is DOWN (it cannot be reached)" in sink.loud(run.folder)[0]
    for name in ("report.html", "metrics.prom"):
        content = (run.folder / name).read_text()
        assert "s3://dr/runs is down" in content or "recovery_journal_sink_up" in content
    assert "does NOT hold this run's end" in sink.finish(run.folder, run.journal)[0]
    bucket.down = ""
    monkeypatch.setattr(sink, "RETRY_SECONDS", 0.0)
    sink.Mirror.of(run.folder, run.journal).attempt()  # type: ignore[union-attr]
    assert events(run)[-1] == "sink_up"
    assert held(bucket) == run.journal.path.read_bytes()
    assert run.render()["marks"] == []
    assert sink.loud(run.folder) == []
    assert run.journal.verify() is None


def test_nobody_waits_for_a_sink_that_is_down(bucket: Bucket, controllers: tuple[Controller, Controller]) -> None:
    bucket.down = "it cannot be reached"
    run = controllers[0].open()
    asked = len(bucket.calls)
    for _ in range(5):
        run.journal.append("action", what="x", changed=True)
        secure(run)
    assert len(bucket.calls) == asked


def test_a_clock_that_was_set_back_keeps_no_sink_from_being_asked_again(
    bucket: Bucket, controllers: tuple[Controller, Controller], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.down = "it cannot be reached"
    run = controllers[0].open()
    bucket.down = ""
    now = sink.time.time()
    monkeypatch.setattr(sink.time, "time", lambda: now - 3600)
    sink.Mirror.of(run.folder, run.journal).attempt()  # type: ignore[union-attr]
    assert events(run)[-1] == "sink_up"
    last = list(run.journal.records())[-1]
    assert (last["event"], last["data"]["seconds"]) == ("sink_up", 0.0)


def test_a_run_that_began_without_the_sink_is_there_when_the_sink_is(
    bucket: Bucket, controllers: tuple[Controller, Controller], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.down = "it cannot be reached"
    run = controllers[0].open()
    assert events(run) == ["run_started", "sink_down"]
    bucket.down = ""
    monkeypatch.setattr(sink, "RETRY_SECONDS", 0.0)
    run.journal.append("run_ended", outcome="recovered")
    assert sink.finish(run.folder, run.journal) == []
    assert held(bucket) == run.journal.path.read_bytes()


def test_a_run_that_began_blindly_beside_another_history_goes_on_and_keeps_both(
    bucket: Bucket, controllers: tuple[Controller, Controller], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = controllers
    history = first.open().journal.path.read_bytes()
    dies(bucket)
    bucket.down = "it cannot be reached"
    run = second.open()
    bucket.down = ""
    monkeypatch.setattr(sink, "RETRY_SECONDS", 0.0)
    run.journal.append("action", what="promote", changed=True)
    secure(run)
    assert held(bucket) == history
    assert "has another history of this run" in sink.finish(run.folder, run.journal)[0]
    assert run.journal.path.read_bytes() in bucket.objects.values()
    assert run.render()["marks"]
    again = second.open()
    assert again.journal.path.read_bytes().startswith(history)
    assert events(again)[-1] == "journal_set_aside"


def test_an_answer_that_was_lost_is_found_out(
    bucket: Bucket, controllers: tuple[Controller, Controller], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = controllers[0].open()
    run.journal.append("action", what="promote", changed=True)
    bucket.unheard = 1
    secure(run)
    assert events(run)[-1] == "sink_down"
    monkeypatch.setattr(sink, "RETRY_SECONDS", 0.0)
    sink.Mirror.of(run.folder, run.journal).attempt()  # type: ignore[union-attr]
    assert held(bucket) == run.journal.path.read_bytes()


@pytest.mark.parametrize("torn", [b'{"schema":1,"seq"', b"\x00\x00\n"])
def test_a_torn_tail_never_gets_there_before_it_is_accounted_for(
    bucket: Bucket, controllers: tuple[Controller, Controller], torn: bytes
) -> None:
    run = controllers[0].open()
    with run.journal.path.open("ab") as stream:
        stream.write(torn)
    before = held(bucket)
    secure(run)
    assert held(bucket) == before
    run.journal.append("action", what="promote")
    secure(run)
    assert held(bucket) == run.journal.path.read_bytes()
    dies(bucket)
    assert controllers[1].open().journal.verify() is None


@pytest.mark.usefixtures("bucket")
def test_a_disk_that_lost_its_end_gets_it_back_from_the_sink(controllers: tuple[Controller, Controller]) -> None:
    run = controllers[0].open()
    run.journal.append("action", what="promote")
    secure(run)
    run.journal.append("run_ended", outcome="failed")
    secure(run)
    content = run.journal.path.read_bytes()
    run.journal.path.write_bytes(content[: len(content) // 2])
    again = controllers[0].open()
    assert again.journal.path.read_bytes().startswith(content)
    assert again.journal.verify() is None


def test_a_history_that_was_changed_in_the_sink_is_refused(
    bucket: Bucket, controllers: tuple[Controller, Controller]
) -> None:
    first, second = controllers
    first.open()
    dies(bucket)
    name = "runs/r1/journal/0000000001.jsonl"
    bucket.objects[name] = bucket.objects[name].replace(b"maria", b"mario")
    with pytest.raises(PreconditionFailed, match="does not hold") as caught:
        second.open()
    assert "record 1: its content does not match its hash" in str(caught.value.observed)


def test_a_run_of_that_name_for_something_else_is_refused_and_left_alone(
    bucket: Bucket, controllers: tuple[Controller, Controller]
) -> None:
    first, second = controllers
    first.open()
    dies(bucket)
    before = held(bucket)
    with pytest.raises(BadInput, match="has target 'us-east-1' and cannot be resumed with 'us-west-2'"):
        second.open(target="us-west-2")
    assert held(bucket) == before


def test_a_store_without_conditional_writes_is_refused(
    bucket: Bucket, controllers: tuple[Controller, Controller]
) -> None:
    bucket.conditional = False
    with pytest.raises(PreconditionFailed, match="does not honour conditional writes"):
        controllers[0].open()


def test_without_boto3_the_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "boto3", None)
    monkeypatch.delitem(__import__("sys").modules, f"{sink.__package__}.sink_s3", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="the Python package boto3 is missing") as caught:
        open_run("r1", URL, START)
    assert "install boto3" in str(caught.value.next_action)


def test_the_pump_copies_as_the_journal_grows_and_changes_wait_for_it(
    bucket: Bucket, controllers: tuple[Controller, Controller], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = controllers[0].open()
    monkeypatch.setattr(sink, "PUMP_SECONDS", 60.0)
    pump = Pump()
    pump.follow(run)
    try:
        for number in range(5):
            run.journal.append("action", what=str(number))
            secure(run)
            assert held(bucket) == run.journal.path.read_bytes()
    finally:
        pump.end()
    # From then on a change copies by itself.
    run.journal.append("action", what="last")
    secure(run)
    assert held(bucket) == run.journal.path.read_bytes()


def test_no_credential_is_written(bucket: Bucket, controllers: tuple[Controller, Controller]) -> None:
    run = controllers[0].open()
    sink.Mirror.of(run.folder, run.journal).store()  # type: ignore[union-attr]
    run.journal.append("observation", what="planted-secret-key")
    secure(run)
    everything = b"".join(bucket.objects.values()) + (run.folder / sink.FILE).read_bytes()
    assert b"planted-secret-key" not in everything


def test_a_run_of_a_folder_alone_asks_nobody(bucket: Bucket, tmp_path: Path) -> None:
    run, _ = open_run("r1", f"file:{tmp_path}", START)
    secure(run)
    assert sink.finish(run.folder, run.journal) == []
    assert bucket.calls == []
    assert run.render()["journal"]["sink"] is None
    assert report.load(run.folder)["marks"] == []
