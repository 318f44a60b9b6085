# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scripts of a drill on a host, run by a real shell on folders and processes that stand for a server's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import process_manager
from ansible_collections.platform.recovery.plugins.module_utils.postgresql import scratch_scripts
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.scratch import SETTINGS, quoted

# A test run in the background has SIGINT ignored, and its children inherit that; a server's does not.
SLEEP = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL); time.sleep(120)"


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=False, timeout=60)


def scratch(verb: str, data: Path) -> subprocess.CompletedProcess[str]:
    values = {"data": data, "described_bin": "", "described_config": "", "lock_seconds": 5, "old": "o", "new": "n"}
    return run(scratch_scripts.script(verb, values))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """Give a process that is found like a server's: by its data directory, on its command line and in its file."""
    data = tmp_path / "pg.drill" / "o"
    data.mkdir(parents=True)
    process = subprocess.Popen([sys.executable, "-c", SLEEP, "postgres", "-D", str(data)])
    (data / "postmaster.pid").write_text(f"{process.pid}\n")
    yield data, process
    process.kill()
    process.wait()


@pytest.mark.parametrize("signal", ["INT", "KILL"])
def test_a_process_is_shown_and_fenced(server: tuple[Path, subprocess.Popen[bytes]], signal: str) -> None:
    data, process = server
    seen = run(process_manager.script("show", str(data))).stdout
    assert f"ActiveState=active\nMainPID={process.pid}\nUnitFileState=enabled\n" == seen
    seen = run(process_manager.script("stop", str(data), signal=signal, seconds=20)).stdout
    assert seen == "ActiveState=inactive\nMainPID=0\nUnitFileState=masked\n"
    assert (data / "standby.signal").exists()
    assert process.wait(5) != 0


def test_the_process_of_another_with_that_number_is_left_alone(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", SLEEP])
    try:
        (tmp_path / "postmaster.pid").write_text(f"{other.pid}\n")
        seen = run(process_manager.script("stop", str(tmp_path), signal="KILL")).stdout
        assert "ActiveState=inactive" in seen
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_what_a_drill_left_is_found_by_its_mark_and_removed(server: tuple[Path, subprocess.Popen[bytes]]) -> None:
    data, process = server
    work, standby = data.parent, data.parent.with_suffix("")
    (work / "mark").write_text("run-7\n")
    found = scratch("find", standby)
    assert (found.returncode, found.stdout) == (0, "== facts\nmark=run-7\n")
    assert process.poll() is None
    assert scratch("remove", standby).stdout == "== facts\nmark=run-7\n"
    assert process.wait(5) != 0
    assert not work.exists()
    assert scratch("remove", standby).stdout == "== facts\n"


def test_what_has_no_mark_is_not_touched(server: tuple[Path, subprocess.Popen[bytes]]) -> None:
    data, process = server
    done = scratch("remove", data.parent.with_suffix(""))
    assert done.returncode == 1
    assert "no mark of a drill" in done.stderr
    assert data.exists()
    assert process.poll() is None


def test_an_empty_folder_is_a_drill_that_died_before_its_mark(tmp_path: Path) -> None:
    (tmp_path / "pg.drill").mkdir()
    assert scratch("remove", tmp_path / "pg").returncode == 0
    assert not (tmp_path / "pg.drill").exists()


def test_the_scratch_has_nothing_that_works_outside_of_it() -> None:
    assert SETTINGS["archive_mode"] == "off"
    assert SETTINGS["shared_preload_libraries"] == ""
    assert SETTINGS["max_logical_replication_workers"] == "0"


@pytest.mark.parametrize(("value", "written"), [("a", "'a'"), ("it's", "'it''s'"), ("a\\b", "'a\\\\b'")])
def test_values_of_a_configuration_are_quoted(value: str, written: str) -> None:
    assert quoted(value) == written
