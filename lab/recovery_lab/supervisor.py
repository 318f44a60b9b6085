# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client of the lab's supervisor: HTTP over an abstract socket, so that a machine has at most one lab."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import identity
from .errors import LabError, with_advice
from .leftovers import process_state
from .state import State, clone_folder
from .wait import NotYet, until

SOCKET = "\0platform-recovery-lab"


@dataclass(frozen=True)
class Definition:
    """How a process is started and stopped."""

    argv: Sequence[str | Path]
    env: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = "TERM"
    stop_seconds: float = 5


@dataclass(frozen=True)
class Process:
    """What the supervisor sees of one process."""

    state: str = "stopped"  # running, stopped, frozen or failed
    pid: int = 0
    exit_code: int | None = None
    resident_kib: int = 0  # memory shared by several processes counts once
    masked: bool = False


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)


def call(method: str, path: str, body: Mapping[str, Any] | None = None, seconds: float = 60) -> dict[str, Any]:
    """Make one call. OSError if no supervisor answers, LabError if it says no."""
    connection = _Connection("lab", timeout=seconds)
    try:
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"the supervisor broke off its answer to {method} {path}") from error
    finally:
        connection.close()
    if response.status >= 300:
        raise LabError(f"The supervisor refused {method} {path}: {_reason(content)}")
    answer: dict[str, Any] = json.loads(content) if content.strip() else {}
    return answer


def _reason(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace").strip()


def lab() -> dict[str, Any] | None:
    """Say which lab runs on this machine, if one does."""
    try:
        return call("GET", "/v1/lab", seconds=5)
    except OSError:
        return None


def running_here(state: State) -> bool:
    """Tell whether this clone's lab runs. LabError names the other one if it is another's."""
    found = lab()
    if found is None:
        return False
    if Path(found["state"]).resolve() == state.root.resolve():
        return True
    raise LabError(
        f"Another lab runs on this machine: that of {found['name']} (state in {found['state']}). "
        f"One at a time: end it there with `recovery-lab down`."
    )


def start(program: Path, state: State) -> None:
    """Start the supervisor in a session of its own and wait until it answers."""
    state.logs.mkdir(parents=True, exist_ok=True)
    with (state.logs / "supervisor.log").open("ab") as log:
        child = subprocess.Popen(
            [program, "--state", state.root, "--name", clone_folder()],
            cwd=state.root,
            env=identity.clean_environment(state.root),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **identity.drop(),
        )

    def answers() -> None:
        if child.poll() is not None:
            tail = identity.last_lines((state.logs / "supervisor.log").read_text())
            raise LabError(f"The supervisor ended at once: {tail}")
        if lab() is None:
            raise NotYet("no answer")

    until(answers, seconds=10, what="the supervisor", interval=0.02)


def shut_down(seconds: float = 60) -> None:
    """Let the supervisor stop everything and end."""
    pid = (lab() or {}).get("pid", 0)
    # It may be gone before it has answered.
    with suppress(ConnectionError):
        call("POST", "/v1/shutdown", seconds=seconds)

    def gone() -> None:
        if process_state(pid):
            raise NotYet(f"process {pid} still runs")

    until(gone, seconds=seconds, what="the supervisor's end", interval=0.02)


def define(process: str, definition: Definition, state: State) -> None:
    """Tell the supervisor how a process is started; a running one keeps its old definition."""
    log = state.log(process)
    log.parent.mkdir(parents=True, exist_ok=True)
    identity.own(log.parent)
    body = {
        "argv": [str(word) for word in definition.argv],
        "env": identity.clean_environment(state.root, definition.env),
        "cwd": str(state.root),
        "log": str(log),
        "stop_signal": definition.stop_signal,
        "stop_seconds": definition.stop_seconds,
    }
    call("PUT", f"/v1/processes/{process}", body)


def act(process: str, verb: str) -> None:
    """Start, stop, kill, freeze, thaw, mask or unmask a process."""
    call("POST", f"/v1/processes/{process}/{verb}")


def define_host(target: str, body: Mapping[str, Any]) -> None:
    """Open the SSH entrance of a server's host."""
    call("PUT", f"/v1/hosts/{target}", body)


def close_host(target: str) -> None:
    """Close the SSH entrance of a server's host, where it is open."""
    if target in hosts():
        call("DELETE", f"/v1/hosts/{target}")


def hosts() -> dict[str, Any]:
    """List the open SSH entrances by server."""
    return call("GET", "/v1/hosts")


def processes(memory: bool = False) -> dict[str, Process]:
    """List all processes by id; their memory is measured only on request, it takes a while."""
    query = "?memory=proportional" if memory else ""
    return {name: _process(row) for name, row in call("GET", f"/v1/processes{query}").items()}


def _process(row: Mapping[str, Any]) -> Process:
    state = str(row.get("state", "stopped"))
    # The supervisor did as it was told; for whoever looks at the server, its process was killed.
    killed = state == "stopped" and row.get("exit_code") == -signal.SIGKILL
    return Process(
        state="failed" if killed else state,
        pid=int(row.get("pid") or 0),
        exit_code=row.get("exit_code"),
        resident_kib=int(row.get("proportional_kib") or 0),
        masked=bool(row.get("masked")),
    )


def log_tail(state: State, process: str, count: int = 8) -> str:
    """Give the last lines of a process's log."""
    try:
        return identity.last_lines(state.log(process).read_text(errors="replace"), count)
    except FileNotFoundError:
        return "(no log)"


def wait_for(probe: Any, *, process: str, state: State, seconds: float, what: str) -> Any:
    """Wait for a server's answer, but not for one whose process has ended: its last words are the better error."""

    def guarded() -> Any:
        try:
            return probe()
        except (NotYet, OSError):
            seen = processes().get(process, Process())
            if seen.state in ("failed", "stopped"):
                said = with_advice(log_tail(state, process))
                raise LabError(f"{process} ended (exit {seen.exit_code}): {said}") from None
            raise

    return until(guarded, seconds=seconds, what=what)
