# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server's service manager, asked through the system's own ssh client."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from . import process_manager

CONNECT_SECONDS = 2
PERSIST_SECONDS = 30
PROCESS = "process"
STOPPED = frozenset({"inactive", "failed"})
ALLOWED = "recovery-may-fence"
PROPERTIES = "ActiveState,SubState,MainPID,UnitFileState"
ASSIGNMENT = re.compile(r"^(ActiveState|SubState|MainPID|UnitFileState)=(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Fence:
    """How a member's server can be stopped for good."""

    method: str = "none"
    host: str | None = None
    port: int = 22
    user: str | None = None
    identity_file: str | None = None
    known_hosts_file: str | None = None
    unit: str = "postgresql"
    sudo: bool = False
    guard_unit: str | None = None
    os_user: str = "postgres"
    """Whose processes a server's are, where no service manager runs it."""


@dataclass(frozen=True)
class Answer:
    """What came back from a command on a server's host.

    `trouble` says why nothing did; `wordless`, that ssh itself did not say why; `said`, what the command complained
    of.
    """

    output: str = ""
    trouble: str | None = None
    wordless: bool = False
    said: str = ""


@dataclass(frozen=True)
class UnitStatus:
    """A unit as its service manager shows it."""

    observed: str
    answered: bool
    active: str | None = None
    unit_file: str | None = None
    main_pid: int | None = None

    @property
    def alive(self) -> bool | None:
        """Say whether the manager counts it as running; a frozen process is counted so too."""
        return None if not self.answered else self.active not in STOPPED

    @property
    def stopped(self) -> bool:
        """Say whether it is proven stopped."""
        return self.answered and self.active in STOPPED and not self.main_pid

    @property
    def fenced(self) -> bool:
        """Say whether it is stopped and cannot come back by itself."""
        return self.stopped and self.unit_file in {"masked", "masked-runtime"}


def status(fence: Fence, *, seconds: float) -> UnitStatus:
    """Ask how the unit is."""
    if fence.method == PROCESS:
        return read_status(fence, run_process(fence, "show", seconds=seconds))
    return read_status(fence, run(fence, show_command(fence), seconds=seconds))


def stop_for_good(fence: Fence, *, seconds: float, gently: bool) -> UnitStatus:
    """Mask and stop the unit in one call, and read its state after that.

    Gently lets the server send what it still has to its standbys. Otherwise it is killed, for a frozen server would
    hold a stop until its time is up, and would acknowledge writes for a moment if it thawed. Masking comes first:
    nothing may start it in between.
    """
    if fence.method == PROCESS:
        return read_status(fence, run_process(fence, "stop", signal="INT" if gently else "KILL", seconds=seconds))
    unit, manager = shlex.quote(fence.unit), manager_command(fence)
    mask = f"{manager} mask {unit}"
    kill = f"{manager} kill -s SIGKILL {unit}"
    stop = f"{manager} stop {unit}"
    steps = [mask, stop] if gently else [mask, kill, stop]
    command = "; ".join([*steps, show_command(fence)])
    return read_status(fence, run(fence, command, seconds=seconds))


def start_again(fence: Fence, *, seconds: float) -> UnitStatus:
    """Unmask and start the unit, and its guard if it has one; read its state after that."""
    unit, manager = shlex.quote(fence.unit), manager_command(fence)
    steps = [f"{manager} unmask {unit}", f"{manager} start {unit}"]
    if fence.guard_unit:
        steps.append(f"{manager} start {shlex.quote(fence.guard_unit)}")
    return read_status(fence, run(fence, "; ".join([*steps, show_command(fence)]), seconds=seconds))


def may_fence(fence: Fence, *, seconds: float) -> bool:
    """Ask sudo whether it would let us fence, without doing anything."""
    unit = shlex.quote(fence.unit)
    asked = [f"sudo -n -l systemctl {verb} {unit}" for verb in ("mask", "kill -s SIGKILL", "stop")]
    answer = run(fence, " && ".join([*asked, f"echo {ALLOWED}"]), seconds=seconds)
    return ALLOWED in answer.output.splitlines()


def show_command(fence: Fence) -> str:
    """Give the command that shows a unit's state; reading needs no privilege."""
    return f"systemctl show -p {PROPERTIES} {shlex.quote(fence.unit)}"


def manager_command(fence: Fence) -> str:
    """Give the service manager's command, as privileged as the description says."""
    return "sudo -n systemctl" if fence.sudo else "systemctl"


def read_status(fence: Fence, answer: Answer) -> UnitStatus:
    """Read what the service manager shows."""
    if answer.trouble:
        return UnitStatus(observed=answer.trouble, answered=False)
    found = dict(ASSIGNMENT.findall(answer.output))
    active = found.get("ActiveState")
    if not active:
        said = f": {answer.said}" if answer.said else ""
        return UnitStatus(observed=f"the service manager's answer could not be read{said}", answered=False)
    unit_file = found.get("UnitFileState") or None
    main_pid = int(found["MainPID"]) if found.get("MainPID", "").isdigit() else None
    observed = f"{fence.unit} is {active}" + (f" and {unit_file}" if unit_file else "")
    return UnitStatus(observed, True, active, unit_file, main_pid)


def run_process(fence: Fence, verb: str, *, seconds: float, signal: str = "INT") -> Answer:
    """Show or fence a server that no service manager runs. Its unit is its data directory."""
    words = process_manager.script(verb, fence.unit, signal=signal, seconds=max(0.0, seconds - CONNECT_SECONDS))
    shell = f"sudo -n -u {shlex.quote(fence.os_user)} sh -s" if fence.sudo else "sh -s"
    return ask(fence, shell, seconds=seconds, shared=None, script=words)


def run(fence: Fence, command: str, *, seconds: float) -> Answer:
    """Run a command on the server's host, within the deadline.

    A shared connection may end without a word: its server was restarted, or its network came back. That says nothing
    about the host, so it is asked once more over a connection of its own. Every command sent here may be given twice.
    """
    begin = time.monotonic()
    answer = ask(fence, command, seconds=seconds, shared=control_folder())
    if answer.wordless:
        left = max(CONNECT_SECONDS, seconds - (time.monotonic() - begin))
        return ask(fence, command, seconds=left, shared=None)
    return answer


def ask(fence: Fence, command: str, *, seconds: float, shared: Path | None, script: str = "") -> Answer:
    """Call ssh once. `shared` is the folder of the connections that are kept, `script` what the command reads."""
    try:
        done = subprocess.run(
            ssh_command(fence, command, shared),
            input=script,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError:
        return Answer(trouble="no ssh client is installed here")
    except subprocess.TimeoutExpired:
        return Answer(trouble=f"no answer by ssh from {fence.host}:{fence.port} within {seconds:g} s")
    if done.returncode == 255:
        reason = last_line(done.stderr)
        trouble = f"ssh to {fence.host}:{fence.port} failed: {reason or 'the connection ended without a word'}"
        return Answer(trouble=trouble, wordless=not reason)
    return Answer(output=done.stdout, said=last_line(done.stderr))


def ssh_command(fence: Fence, command: str, shared: Path | None) -> list[str]:
    """Build the call of ssh. A shared connection is kept for the steps that follow within half a minute."""
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": str(CONNECT_SECONDS),
        "StrictHostKeyChecking": "yes",
        "ServerAliveInterval": "1",
        "ServerAliveCountMax": "2",
        "LogLevel": "ERROR",
    }
    if fence.known_hosts_file:
        options["UserKnownHostsFile"] = fence.known_hosts_file
        options["GlobalKnownHostsFile"] = "/dev/null"
    if fence.identity_file:
        options["IdentityFile"] = fence.identity_file
        options["IdentitiesOnly"] = "yes"
    if shared is None:
        options["ControlPath"] = "none"
    else:
        options |= {
            "ControlMaster": "auto",
            "ControlPath": str(shared / f"{trust(fence)}-%C"),
            "ControlPersist": str(PERSIST_SECONDS),
        }
    settings = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    user = ["-l", fence.user] if fence.user else []
    return ["ssh", *settings, "-p", str(fence.port), *user, "--", fence.host or "", command]


def trust(fence: Fence) -> str:
    """Say by what a kept connection was trusted, in a few characters; ssh itself asks only for address, port and user.

    At the same address another platform may have another host: behind another VPN, in another network namespace. Over
    a connection that was kept for the one the other would be stopped, and no host key is looked at again.
    """
    try:
        network = os.readlink("/proc/self/ns/net")
    except OSError:  # no Linux
        network = ""
    words = (network, fence.known_hosts_file or "", fence.identity_file or "")
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:8]


def control_folder() -> Path | None:
    """Give a folder that only we can enter, or nothing: then each call connects anew.

    Its path is short, for a socket's path may have 104 characters, and its name takes 66 of them.
    """
    folder = Path(tempfile.gettempdir()) / f"recovery-ssh-{os.getuid()}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        seen = folder.lstat()
        private = stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.getuid() and not seen.st_mode & 0o077
        if private and len(str(folder)) <= 37:
            return folder
    return None


def last_line(text: str) -> str:
    """Give the line of ssh's complaint that says what happened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
