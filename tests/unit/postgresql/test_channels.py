# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edges: what servers, the ssh client and files give, and what is made of it."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import service_manager
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput
from ansible_collections.platform.recovery.plugins.module_utils.postgresql import client, fence, steps
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import (
    Credentials,
    Fence,
    Known,
    Member,
    MemberState,
    members_from,
)
from ansible_collections.platform.recovery.plugins.module_utils.service_manager import UnitStatus

FENCE = Fence("systemd", "h", 2222, "recovery", "/key", "/hosts", "postgresql@15-main", sudo=True)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that accepts and never says a word, as a frozen one does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_silent_server_costs_its_deadline(silent_port: int) -> None:
    member = Member("west", "localhost", "127.0.0.1", silent_port, "prefer")
    begin = time.monotonic()
    with pytest.raises(client.ServerError) as failed:
        client.Session(member, Credentials("postgres", "secret"), connect_seconds=0.3).open()
    assert 0.3 <= time.monotonic() - begin < 4
    assert failed.value.cause == "timeout"


def test_a_closed_port_is_refused_at_once() -> None:
    member = Member("west", "localhost", "127.0.0.1", 1, "prefer")
    with pytest.raises(client.ServerError, match=r"west: connection refused at 127\.0\.0\.1:1"):
        client.Session(member, Credentials("postgres", "secret")).open()


def test_a_password_in_a_servers_words_is_hidden() -> None:
    session = client.Session(Member("west", "h"), Credentials("postgres", "secret"))
    assert "secret" not in str(session._explained(Exception("strange: secret was seen")))
    assert "secret" not in repr(session.credentials)


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ('connection to server at "h", port 1 failed: Connection refused\n\tIs the server running', "refused"),
        ('FATAL:  password authentication failed for user "postgres"', "authentication"),
        ("fe_sendauth: no password supplied", "authentication"),
        ('FATAL:  no pg_hba.conf entry for host "1.2.3.4", SSL encryption', "authentication"),
        ("SSL error: certificate verify failed", "tls"),
        ("FATAL:  the database system is starting up", "starting"),
        ("FATAL:  the database system is not yet accepting connections", "starting"),
        ("FATAL:  the database system is shutting down", "lost"),
        ("server closed the connection unexpectedly", "lost"),
        ("something new", "other"),
    ],
)
def test_causes(words: str, cause: str) -> None:
    assert client.classify(Exception(words)) == cause


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "psycopg2", None)
    with pytest.raises(BadInput, match="psycopg2-binary"):
        client.require_psycopg2()


def test_the_command_of_ssh_asks_nobody(tmp_path: Path) -> None:
    command = service_manager.ssh_command(FENCE, "true", tmp_path)
    for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", "UserKnownHostsFile=/hosts", "IdentityFile=/key"):
        assert option in command
    assert command[-7:] == ["-p", "2222", "-l", "recovery", "--", "h", "true"]
    assert f"ControlPath={tmp_path}/{service_manager.trust(FENCE)}-%C" in command
    assert "ControlPath=none" in service_manager.ssh_command(FENCE, "true", None)


@pytest.mark.parametrize("file", ["known_hosts_file", "identity_file"])
def test_a_kept_connection_is_not_used_for_another_host_at_the_same_address(file: str) -> None:
    other = replace(FENCE, **{file: "/of/another/platform"})
    assert service_manager.trust(other) != service_manager.trust(FENCE)
    assert service_manager.trust(replace(FENCE)) == service_manager.trust(FENCE)


def test_a_control_folder_fits_a_sockets_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / ("x" * 60)))
    assert service_manager.control_folder() is None


@pytest.mark.parametrize(("words", "asked"), [("", 2), ("Permission denied (publickey).", 1)])
def test_a_shared_connection_that_ends_without_a_word_is_asked_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str, asked: int
) -> None:
    calls = tmp_path / "calls"
    ssh = tmp_path / "ssh"
    answer = "ActiveState=inactive\\nMainPID=0\\nUnitFileState=masked\\n"
    ssh.write_text(
        f"""#!/bin/sh
echo >>{calls}
case "$*" in *ControlPath=none*) printf '{answer}' ;; *) printf '%s' '{words}' >&2; exit 255 ;; esac
"""
    )
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(service_manager, "control_folder", lambda: tmp_path)
    status = service_manager.status(FENCE, seconds=5)
    assert len(calls.read_text().splitlines()) == asked
    assert status.fenced is (asked == 2)
    assert words in status.observed


def test_a_control_folder_of_others_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    (tmp_path / f"recovery-ssh-{os.getuid()}").symlink_to(tmp_path)
    assert service_manager.control_folder() is None


@pytest.mark.parametrize(
    ("output", "alive", "stopped", "fenced"),
    [
        ("ActiveState=active\nMainPID=12\nUnitFileState=enabled\n", True, False, False),
        ("ActiveState=deactivating\nMainPID=12\nUnitFileState=masked\n", True, False, False),
        ("ActiveState=inactive\nMainPID=0\nUnitFileState=enabled\n", False, True, False),
        ("ActiveState=failed\nMainPID=0\nUnitFileState=masked\n", False, True, True),
        ("", None, False, False),
    ],
)
def test_unit_states(output: str, alive: bool | None, stopped: bool, fenced: bool) -> None:
    status = service_manager.read_status(FENCE, service_manager.Answer(output))
    assert (status.alive, status.stopped, status.fenced) == (alive, stopped, fenced)


@pytest.mark.parametrize(
    ("gently", "order"),
    [(True, ["mask", "stop", "show"]), (False, ["mask", "kill", "stop", "show"])],
)
def test_masking_comes_first(monkeypatch: pytest.MonkeyPatch, gently: bool, order: list[str]) -> None:
    commands: list[str] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command[-1])
        return subprocess.CompletedProcess(command, 0, "ActiveState=inactive\nMainPID=0\nUnitFileState=masked\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert service_manager.stop_for_good(FENCE, seconds=1, gently=gently).fenced
    words = [next(w for w in part.split() if w in {"mask", "kill", "stop", "show"}) for part in commands[0].split("; ")]
    assert words == order
    assert commands[0].startswith("sudo -n systemctl mask postgresql@15-main")


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (subprocess.CompletedProcess([], 255, "", "Permission denied (publickey).\n"), "Permission denied"),
        (subprocess.TimeoutExpired("ssh", 2), "no answer by ssh"),
        (FileNotFoundError(), "no ssh client"),
    ],
)
def test_trouble_of_ssh_is_no_proof(monkeypatch: pytest.MonkeyPatch, outcome: Any, words: str) -> None:
    def run(*_: Any, **__: Any) -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(subprocess, "run", run)
    status = service_manager.status(FENCE, seconds=2)
    assert words in status.observed
    assert (status.alive, status.fenced) == (None, False)


ANSWERING = MemberState("west", "a:1", True, in_recovery=False)
SILENT = MemberState("west", "a:1", False, cause="timeout", why_not="no answer")
STANDBY = MemberState("west", "a:1", True, in_recovery=True)
NO_UNIT = UnitStatus("ssh failed", answered=False)
RUNNING = UnitStatus("active", True, "active", "enabled", 1)
MASKED = UnitStatus("inactive and masked", True, "inactive", "masked", 0)


@pytest.mark.parametrize(
    ("state", "unit", "mode", "target_is_primary", "statement", "step"),
    [
        (STANDBY, None, "failover", False, None, "nothing"),
        (ANSWERING, RUNNING, "failover", False, None, "refuse"),
        (ANSWERING, RUNNING, "failover", False, "it is down", "refuse"),
        (ANSWERING, RUNNING, "switchover", False, None, "drain"),
        (ANSWERING, RUNNING, "switchover", True, None, "refuse"),
        (SILENT, RUNNING, "failover", False, None, "kill"),
        (SILENT, RUNNING, "failover", False, "it is down", "kill"),
        (SILENT, MASKED, "failover", False, None, "nothing"),
        (SILENT, NO_UNIT, "failover", False, None, "refuse"),
        (SILENT, None, "failover", False, None, "refuse"),
        (SILENT, NO_UNIT, "failover", False, "it is down", "rely"),
        (SILENT, NO_UNIT, "failover", True, None, "note"),
        (SILENT, NO_UNIT, "failover", True, "it is down", "note"),
        (SILENT, RUNNING, "failover", True, None, "kill"),
    ],
)
def test_what_a_member_needs(
    state: MemberState, unit: UnitStatus | None, mode: Any, target_is_primary: bool, statement: str | None, step: str
) -> None:
    situation = fence.Situation(Member("west", "h"), state, unit)
    assert fence.choose(situation, mode=mode, target_is_primary=target_is_primary, statement=statement) == step


def test_the_weakest_proof_counts() -> None:
    outcomes = [fence.Fenced("a", "kill", "stopped", ""), fence.Fenced("b", "rely", "statement", "")]
    assert fence.weakest(outcomes) == "statement"
    assert fence.weakest([]) == "none"


def test_what_is_remembered_survives_and_what_is_broken_is_forgotten(tmp_path: Path) -> None:
    path = str(tmp_path / "deep" / "known.json")
    known = Known("west", "7", 2, 1000, 5.0)
    steps.memorise(path, known)
    assert steps.recall(path) == known
    Path(path).write_text("{")
    assert steps.recall(path) is None
    assert steps.recall(None) is None


def test_members_are_read_without_a_channel_where_none_is_described() -> None:
    members = members_from({"west": {"host": "h", "address": None, "fence": None}})
    assert members["west"].fence.method == "none"
    assert members["west"].sslmode == "verify-full"


def test_overrides_need_a_reason() -> None:
    with pytest.raises(BadInput, match="reason"):
        steps.request_from({"target": "east", "allow_data_loss": True}, "failover")
    with pytest.raises(BadInput, match="no stamp"):
        steps.request_from({"target": "east", "detected_at": "noon"}, "failover")


@pytest.mark.parametrize(
    ("answer", "refuses", "words"),
    [
        (b"S", False, "the port answers"),
        (b"N", False, "the port answers"),
        (b"", True, "nobody answers behind the port"),
    ],
)
def test_a_port_is_asked_as_postgresql(answer: bytes, refuses: bool, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(8)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        member = Member("w", "h", "127.0.0.1", server.getsockname()[1])
        assert client.port_refuses(member, 2) == (refuses, words)
        thread.join()


def test_silent_and_closed_ports(silent_port: int) -> None:
    assert client.port_refuses(Member("w", "h", "127.0.0.1", silent_port), 0.1) == (True, "the port is silent")
    assert client.port_refuses(Member("w", "h", "127.0.0.1", 1), 0.1) == (True, "the port refuses")
