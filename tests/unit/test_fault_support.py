# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools of the fault campaigns do what they say: a killer that came late would prove nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import killer, ledger
from tests.support.standing import differences

RECORDS = 99
WRITER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
journal = open(sys.argv[1], "a")
for number in range(1, 100):
    journal.write(f'{{"seq": {number}, "child": {child.pid}}}\\n')
    journal.flush()
    time.sleep(0.2)
child.kill()
"""


@pytest.mark.parametrize("number", [1, 3])
def test_the_killer_comes_right_after_the_record_and_takes_all_below(tmp_path: Path, number: int) -> None:
    journal = tmp_path / "journal.jsonl"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(journal)])
    done = subprocess.run(
        [sys.executable, killer.__file__, str(writer.pid), str(tmp_path), str(number)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert writer.wait(timeout=10) == -9
    # Between the record and the kill lies a moment, on a busy machine perhaps that of other records.
    assert number <= int(done.stdout) < RECORDS
    child = int(journal.read_text().partition('"child": ')[2].partition("}")[0])
    deadline = time.monotonic() + 10
    while killer.alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_killer_tells_that_the_process_ended_before(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text("{}\n")
    over = subprocess.Popen(["true"])
    over.wait()
    argv = [sys.executable, killer.__file__, str(over.pid), str(tmp_path), "5"]
    assert subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout == "-1\n"


def test_results_are_kept_and_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "OWN", tmp_path / "faults.json")
    monkeypatch.delenv("RECOVERY_FAULTS_RECORD", raising=False)
    ledger.note("Kill points of a, b", "1", "ok")
    ledger.note("Kill points of a, b", "2", "two writers")
    ledger.note("step a b: fail", "role : task", "noticed")
    ledger.note("step a b: lie", "role : other", "noticed")
    ledger.size("Kill points of a, b", 7)
    page = ledger.render()
    assert "2 of 7 tried, 1 of them as wanted" in page
    assert "- 2: two writers" in page
    assert "| step | fail | lie |" in page
    assert "| role : other | not yet | noticed" in page
    assert ledger.oldest_first("Kill points of a, b", ["2", "1", "3"])[0] == "3"


@pytest.mark.parametrize(
    ("wanted", "seen", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ["/a/b: 1 was expected, 2 is there"]),
        ({"a": 1}, {"b": 1}, ["/a: 1 was expected, None is there", "/b: None was expected, 1 is there"]),
    ],
)
def test_states_are_compared_place_by_place(wanted: object, seen: object, expected: list[str]) -> None:
    assert differences(wanted, seen) == expected
