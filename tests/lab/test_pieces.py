# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small things that need no server: waiting, state, leftovers, DNS answers, configurations."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from recovery_lab import certificates, dns_edge, faults, leftovers, network, pods, topology
from recovery_lab.errors import LabError
from recovery_lab.provision import Lab
from recovery_lab.screen import Screen
from recovery_lab.state import State, state_folder, write
from recovery_lab.wait import NotYet, until


def test_waiting_ends_with_the_last_thing_seen() -> None:
    now = [0.0]

    def probe() -> None:
        raise NotYet(f"seen at {now[0]:.0f}")

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with pytest.raises(LabError, match=r"Waited 3 s for a miracle in vain\. Last seen: seen at 3"):
        until(probe, seconds=3, what="a miracle", interval=1, clock=lambda: now[0], sleep=sleep)


def test_waiting_returns_what_the_probe_gave() -> None:
    answers = iter(["", "there"])

    def probe() -> str:
        answer = next(answers)
        if not answer:
            raise ConnectionError("refused")
        return answer

    assert until(probe, seconds=5, what="it", sleep=lambda _: None) == "there"


def test_the_state_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RECOVERY_LAB_STATE", str(tmp_path))
    assert state_folder() == tmp_path
    monkeypatch.delenv("RECOVERY_LAB_STATE")
    assert state_folder().parent == Path("/var/tmp")


def test_a_secret_is_made_once_and_private(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert state.secret("postgres") == state.secret("postgres") != state.secret("replicator")
    assert stat.S_IMODE((state.secrets / "postgres").stat().st_mode) == 0o600


def test_writing_replaces_the_file_whole(tmp_path: Path) -> None:
    write(tmp_path / "a/file", "one")
    write(tmp_path / "a/file", "two")
    assert [path.read_text() for path in (tmp_path / "a").iterdir()] == ["two"]


def test_leftovers_are_found_by_where_they_work_and_ended(tmp_path: Path) -> None:
    folder = tmp_path / "below"
    folder.mkdir()
    with subprocess.Popen(["sleep", "60"], cwd=folder, start_new_session=True) as child:
        os.kill(child.pid, 19)  # frozen ones end too
        assert leftovers.find(tmp_path) == [child.pid]
        assert leftovers.end(tmp_path) == 1
    assert leftovers.find(tmp_path) == []


def test_we_and_our_ancestors_are_no_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert leftovers.find(tmp_path) == []
    assert os.getppid() in leftovers.ancestors(os.getpid())


def test_addresses_are_read_from_an_answer() -> None:
    question = struct.pack(">HHHHHH", 1, 0x8180, 1, 2, 0, 0) + b"\x01a\x00" + struct.pack(">HH", 1, 1)
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4)
    answer = question + record + bytes([127, 1, 100, 1]) + record + bytes([127, 1, 100, 2])
    assert dns_edge.read_addresses(answer, len(question)) == ["127.1.100.1", "127.1.100.2"]


def test_each_region_has_its_own_view_of_names() -> None:
    layout = topology.build("small")
    west = dns_edge.corefile("us-west-2", layout, Path("k"))
    east = dns_edge.corefile("us-east-1", layout, Path("k"))
    assert "127.1.0.30 postgresql.us-west-2.lab.internal" in west
    assert "127.112.0.30 postgresql.us-east-1.lab.internal" in west
    assert "127.121.0.30 postgresql.us-west-2.lab.internal" in east


def test_an_edge_has_a_route_for_each_service() -> None:
    config = dns_edge.caddy_config("us-west-2", topology.SERVICES)
    routes = config["apps"]["http"]["servers"]["edge"]["routes"]
    assert len([one for one in routes if "match" in one]) >= len(topology.SERVICES)


def test_a_certificate_has_every_address_of_its_server() -> None:
    names = certificates.names("us-west-2", "postgresql", topology.build("small"))
    assert {"postgresql.us-west-2.lab.internal", "127.1.0.30", "127.101.0.30", "127.121.0.30", "127.151.0.30"} <= {
        *names
    }


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(pods, "find", lambda _: [])
    monkeypatch.setattr(network, "call", lambda *_: None)
    return Lab(State(tmp_path), topology.build("small"), {}, None, Screen())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fault", "target", "message"),
    [
        ("freze", "us-west-2", "no fault 'freze'; did you mean 'freeze'"),
        ("corrupt", "us-west-2/postgresql", "'corrupt' is not in this lab yet"),
        ("fill", "us-west-2/postgresql", "'fill' is not in this lab yet"),
        ("isolate", "us-west-2/dns", "us-west-2/dns cannot be hit by isolate"),
        ("slow", "us-west-2/kubernetes/etcd", "us-west-2/kubernetes/etcd cannot be hit by slow"),
        ("kill", "us-west-2/postgre", "no target 'us-west-2/postgre'; did you mean 'us-west-2/postgresql'"),
    ],
)
def test_what_cannot_be_broken_says_why(lab: Lab, fault: str, target: str, message: str) -> None:
    with pytest.raises(LabError, match=message):
        faults.inflict(lab, fault, target)
