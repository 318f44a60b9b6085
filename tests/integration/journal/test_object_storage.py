# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sink in real object storage, by the client and in runs of a playbook."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest

from ansible_collections.platform.recovery.plugins.module_utils import sink
from ansible_collections.platform.recovery.plugins.module_utils.journal import Journal
from ansible_collections.platform.recovery.plugins.module_utils.sink_s3 import S3Store
from tests.support.keys import make_key, public
from tests.support.killer import kill

from .conftest import SECRET, Server

ROOT = Path(__file__).resolve().parents[3]
CHECKLIST = ROOT / "tests/integration/embedding/checklist.yml"
HOSTS = ROOT / "tests/integration/embedding/hosts.yml"


def store(url: str) -> S3Store:
    address = sink.Address.parse(url)
    assert address is not None
    return S3Store(address, address.folder("r1"))


def command(cwd: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "runner"), "ANSIBLE_FORKS": "1"}
    cwd.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "platform_recovery", *arguments],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def call(cwd: Path, *arguments: str) -> tuple[int, str, str]:
    process = command(cwd, *arguments)
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


def run(url: str, *arguments: str) -> tuple[str, ...]:
    return ("run", str(CHECKLIST), "-i", str(HOSTS), "--journal", url, "--run-id", "r1", "--target", "here", *arguments)


def everything(server: Server) -> Mapping[str, bytes]:
    client = boto3.client("s3", endpoint_url=server.endpoint)
    keys = [entry["Key"] for entry in client.list_objects_v2(Bucket="journals").get("Contents") or ()]
    return {key: client.get_object(Bucket="journals", Key=key)["Body"].read() for key in keys}


def history(server: Server) -> bytes:
    held = everything(server)
    return b"".join(held[key] for key in sorted(held) if key.startswith("runs/r1/journal/"))


def records(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


def test_the_client_creates_once_lists_reads_and_tells_ages(url: str) -> None:
    place = store(url)
    assert place.create("journal/0000000002.jsonl", b"two")
    assert place.create("journal/0000000001.jsonl", b"one")
    assert not place.create("journal/0000000001.jsonl", b"other")
    names = place.names("journal/")
    assert (names, place.read(names)) == (
        ["journal/0000000001.jsonl", "journal/0000000002.jsonl"], [b"one", b"two"],
    )  # fmt: skip
    assert (place.get("nothing"), place.age("nothing")) == (None, None)
    age = place.age("journal/0000000001.jsonl")
    assert age is not None
    assert -2 <= age < 60
    place.put("journal/0000000001.jsonl", b"over")
    assert place.get("journal/0000000001.jsonl") == b"over"
    address = sink.Address.parse(url)
    assert address is not None
    assert sink.runs_of(address) == ["r1"]
    assert place.secrets() == [SECRET]


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ("s3://missing/runs?endpoint={}", "NoSuchBucket"),
        ("s3://journals/runs?endpoint=http://127.0.0.1:9", "cannot be reached"),
    ],
)
def test_a_sink_that_does_not_serve_is_down(url: str, server: Server, other: str, says: str) -> None:
    del url
    with pytest.raises(sink.SinkDown, match=says):
        store(other.format(server.endpoint)).names("journal/")


def test_a_sink_that_is_silent_is_down_within_seconds(url: str, server: Server) -> None:
    place = store(url)
    server.freeze()
    begin = time.monotonic()
    with pytest.raises(sink.SinkDown, match="does not answer in time"):
        place.create("journal/0000000001.jsonl", b"one")
    assert time.monotonic() - begin < 30


def test_without_credentials_the_sink_is_down(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(sink.SinkDown, match="no credentials"):
        store(url).names("journal/")


def test_a_run_is_read_elsewhere_from_the_sink_alone_and_its_evidence_holds_there(
    url: str, server: Server, tmp_path: Path
) -> None:
    key = make_key(tmp_path / "evidence")
    code, out, err = call(tmp_path / "a", *run(url, "-e", f"evidence_key={key}", "--json"))
    assert code == 0, err
    report = json.loads(out)
    assert report["journal"]["sink"]["state"] == "up"
    local = tmp_path / "a/.recovery/runs/r1"
    assert history(server) == (local / "journal.jsonl").read_bytes()
    held = everything(server)
    for name in sink.COPIES:
        assert held[f"runs/r1/{name}"] == (local / name).read_bytes()
    assert len([name for name in held if name.startswith("runs/r1/journal/")]) < report["journal"]["records"]
    everywhere = b"".join([*held.values(), *(p.read_bytes() for p in local.rglob("*") if p.is_file()), err.encode()])
    assert SECRET.encode() not in everywhere

    other = tmp_path / "b"
    code, out, err = call(other, "status", "r1", "--journal", url, "--json")
    assert (code, json.loads(out)["outcome"]) == (0, "recovered"), err
    assert [row["run_id"] for row in json.loads(call(other, "list", "--journal", url, "--json")[1])] == ["r1"]
    signers = tmp_path / "signers"
    signers.write_text(f'controller namespaces="platform.recovery.evidence" {public(key)}\n')
    code, out, _ = call(other, "verify-evidence", "r1", "--journal", url, "--allowed-signers", str(signers), "--json")
    assert (code, json.loads(out)["signed"]) == (0, True), out


def test_another_controller_takes_a_killed_run_over_on_an_empty_disk(url: str, server: Server, tmp_path: Path) -> None:
    first = command(tmp_path / "a", *run(url, "-e", "pause=300", "--detected-at", "2026-11-20T10:00:00Z"))
    deadline = time.monotonic() + 120
    while b'"gate":"confirmation"' not in history(server):
        assert time.monotonic() < deadline, first.poll()
        time.sleep(0.1)
    kill(first.pid)
    first.wait()
    shutil.rmtree(tmp_path / "a")

    code, out, err = call(
        tmp_path / "b", "resume", "r1", "--journal", url, "-i", str(HOSTS), "--confirm", "here", "--json"
    )
    # The playbook is none of the collection's, so that its name alone does not tell where it is.
    assert code == 1, out
    assert "embedding-test" in err
    code, out, err = call(tmp_path / "b", *run(url, "--json"))
    assert code == 3, err
    report = json.loads(out)
    assert (report["attempts"], report["clock"]["started_at"]) == (2, "2026-11-20T10:00:00.000Z")
    content = history(server)
    assert content == (tmp_path / "b/.recovery/runs/r1/journal.jsonl").read_bytes()
    told = [record["event"] for record in records(content)]
    assert (told[0], told.count("run_resumed"), told[-1]) == ("run_started", 1, "run_ended")
    assert Journal(tmp_path / "b/.recovery/runs/r1", "r1").verify() is None


def test_a_sink_that_is_down_from_the_begin_is_caught_up_later(url: str, server: Server, tmp_path: Path) -> None:
    server.freeze()
    code, out, err = call(tmp_path, *run(url, "--json"))
    assert code == 0, err
    report = json.loads(out)
    assert report["journal"]["sink"]["state"] == "down"
    assert "down since" in report["marks"][0]
    assert "is DOWN" in err
    server.thaw()
    assert history(server) == b""
    code, out, err = call(tmp_path, "status", "r1", "--journal", url, "--json")
    assert code == 0, err
    assert history(server) == (tmp_path / ".recovery/runs/r1/journal.jsonl").read_bytes()


def test_a_sink_that_comes_back_while_the_run_goes_on(url: str, server: Server, tmp_path: Path) -> None:
    first = command(tmp_path, *run(url, "-e", "pause=25", "--json"))
    journal = tmp_path / ".recovery/runs/r1/journal.jsonl"
    _until(first, lambda: journal.exists() and b'"gate":"confirmation"' in journal.read_bytes())
    server.freeze()
    Journal(journal.parent, "r1").append("observation", what="while it is down")
    _until(first, lambda: b"sink_down" in journal.read_bytes())
    server.thaw()
    out, err = first.communicate(timeout=200)
    assert first.returncode == 0, err
    told = [record["event"] for record in records(history(server))]
    assert told.index("sink_down") < told.index("sink_up") < told.index("run_ended")
    assert history(server) == journal.read_bytes()
    assert json.loads(out)["marks"] == []


def _until(process: subprocess.Popen[str], happened: Any) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
