# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small things that need no server: waiting, state, leftovers, DNS answers, configurations."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from recovery_lab import certificates, dns_edge, faults, identity, leftovers, network, pods, topology
from recovery_lab.errors import LabError, with_advice
from recovery_lab.provision import Lab
from recovery_lab.screen import Screen
from recovery_lab.state import State, state_folder, write
from recovery_lab.survey import Row, Survey, stopped
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
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("RECOVERY_LAB_STATE", str(tmp_path / "link"))
    assert state_folder() == tmp_path / "real"
    monkeypatch.delenv("RECOVERY_LAB_STATE")
    assert state_folder().parent == Path("/var/tmp")


@pytest.mark.parametrize("name", ["with space", "quote'", "ümlaut", "a:b"])
def test_a_state_folder_that_would_need_quotes_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("RECOVERY_LAB_STATE", f"/var/tmp/{name}")
    with pytest.raises(LabError, match="may only have letters"):
        state_folder()


def test_a_folder_with_other_peoples_files_is_never_taken(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    if identity.is_root():
        os.chown(tmp_path, identity.NOBODY, -1)
    with pytest.raises(LabError, match=f"{tmp_path}, which is not empty and no lab's"):
        identity.prepare_root(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_another_users_lab_is_named(tmp_path: Path) -> None:
    (tmp_path / identity.MARKER).touch()
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(LabError, match=f"{tmp_path} belongs to user 12345.*new folder"):
        identity.prepare_root(tmp_path)


def test_a_folder_that_was_prepared_is_known_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "is_root", lambda: False)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "lab"
        identity.prepare_root(root)
        (root / "data").mkdir()
        identity.prepare_root(root)
        assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_status_of_a_lab_that_was_never_up_makes_nothing(tmp_path: Path) -> None:
    root = tmp_path / "never"
    lab = Lab(State(root), topology.build("small"), {}, None, Screen())  # type: ignore[arg-type]
    assert not stopped(lab).healthy
    assert not root.exists()


def test_a_folder_that_was_too_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir(mode=0o755)
    identity.make_folder(tmp_path / "secrets", mode=0o700)
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.settings_file.write_text("{")
    with pytest.raises(LabError, match=f"{state.settings_file} is damaged"):
        state.settings()


def test_another_profile_gets_the_certificates_that_it_misses(tmp_path: Path) -> None:
    state = State(tmp_path)
    certificates.provide(state, topology.build("scale"))
    before = {path: path.read_bytes() for path in [state.ca, *state.pki.iterdir()]}
    assert not (state.pki / "us-east-1-kubernetes.crt").exists()
    certificates.provide(state, topology.build("small"))
    assert (state.pki / "us-east-1-kubernetes.crt").exists()
    assert (state.pki / "us-east-1-service-account.pub").exists()
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ("listen tcp 127.101.0.30:5432: bind: address already in use", "127.101.0.30:5432"),
        ('could not bind IPv4 address "127.1.0.30": Address already in use', "127.1.0.30"),
    ],
)
def test_a_taken_address_is_named_with_what_to_do(said: str, place: str) -> None:
    assert f"Another program listens on {place}: `ss -ltnp` names it." in with_advice(said)
    assert with_advice("out of memory") == "out of memory"


def row(**more: Any) -> Row:
    return Row(**{"target": "us-west-2/postgresql", "region": "us-west-2", "kind": "postgresql", "instance": None,
                  "address": "", "port": 0, "state": "running", **more})  # fmt: skip


def test_only_what_was_fenced_may_stay_down_after_healing() -> None:
    fenced = row(state="stopped", masked=True)
    assert Survey([fenced], ["us-west-2/postgresql is fenced"]).healed
    assert not Survey([fenced], ["us-west-2/postgresql is fenced", "ai-service answers 503"]).healed
    assert not Survey([row(state="failed")], ["us-west-2/postgresql is failed"]).healed


def test_a_pod_is_known_by_where_it_works(tmp_path: Path) -> None:
    known = {"namespace": "production", "name": "a-1-b", "uid": "u", "ip": "127.1.100.1"}
    folder = tmp_path / "production_a-1-b_u"
    folder.mkdir()
    with subprocess.Popen(["sleep", "60"], cwd=folder) as child:
        assert pods.alive({**known, "pid": child.pid}, tmp_path)
        assert not pods.alive({**known, "pid": os.getpid()}, tmp_path)
        assert pods.Pod("us-west-2", "a", "a-1-b", pid=child.pid, ready=False).state == "running"
        child.kill()


def test_no_pod_is_hit_if_one_of_them_cannot_be(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[pods.Pod] = []
    found = [pods.Pod("us-west-2", "ai-service", name, pid=pid) for name, pid in (("ai-1-a", 1), ("ai-1-b", 0))]
    monkeypatch.setattr(pods, "find", lambda cluster: found if cluster.region == "us-west-2" else [])
    monkeypatch.setattr(pods, "send", lambda pod, _: sent.append(pod))
    with pytest.raises(LabError, match="ai-1-b has no process to break"):
        faults.inflict(lab, "kill", "us-west-2/ai-service")
    assert sent == []


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
    with subprocess.Popen(["sleep", "60"], cwd=folder, start_new_session=True, **identity.drop()) as child:
        os.kill(child.pid, 19)  # frozen ones end too
        assert leftovers.find(tmp_path) == [child.pid]
        assert leftovers.end(tmp_path) == 1
    assert leftovers.find(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has other users' processes")
def test_another_users_process_is_no_leftover(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path, start_new_session=True) as child:
        assert leftovers.find(tmp_path) == []
        child.kill()


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
    paths = [path for one in routes for match in one.get("match", ()) for path in match["path"]]
    assert paths == ["/healthz", *(f"/v1/{service}/*" for service in topology.SERVICES)]


def test_a_certificate_has_every_address_of_its_server() -> None:
    names = certificates.names("us-west-2", "postgresql", topology.build("small"))
    assert {"postgresql.us-west-2.lab.internal", "127.1.0.30", "127.101.0.30", "127.121.0.30", "127.151.0.30"} <= {
        *names
    }


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(pods, "find", lambda _: [])
    monkeypatch.setattr(network, "call", lambda *_, **__: None)
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
