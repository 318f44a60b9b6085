# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scripts on a member's host, as its server's own account, through the system's ssh client.

A script goes over standard input: its secrets are on no command line. It may be killed with the connection or outlive
it; each is written so that the same one can be sent again.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from .. import service_manager
from .model import Member

SECTION = re.compile(r"^== (\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Done:
    """What came of a script: its exit code, or why it could not be run."""

    code: int | None
    output: str = ""
    problems: str = ""
    trouble: str | None = None

    @property
    def good(self) -> bool:
        """Say whether it ran to its end."""
        return self.code == 0

    @property
    def why_not(self) -> str:
        """Say why it did not, in a line."""
        lines = [line.strip() for line in self.problems.splitlines() if line.strip()]
        return self.trouble or (lines[-1] if lines else f"it ended with exit code {self.code} and no word")

    def sections(self) -> dict[str, str]:
        """Split the output at its headings."""
        parts = SECTION.split(self.output)
        return dict(zip(parts[1::2], parts[2::2], strict=True))


def run_script(member: Member, script: str, *, seconds: float) -> Done:
    """Run a POSIX shell script on a member's host."""
    fence = member.fence
    if fence.method == "none" or not fence.host:
        return Done(None, trouble=f"no channel to the host of {member.name} is described")
    shell = f"sudo -n -u {shlex.quote(member.os_user)} sh -s" if fence.sudo else "sh -s"
    # A connection of its own: a copy of hours must not end with the one that the fence shares.
    command = service_manager.ssh_command(fence, shell, None)
    try:
        done = subprocess.run(
            command, input=script, capture_output=True, text=True, errors="replace", timeout=seconds, check=False
        )
    except FileNotFoundError:
        return Done(None, trouble="no ssh client is installed here")
    except subprocess.TimeoutExpired:
        return Done(None, trouble=f"it did not end on {fence.host} within {seconds:g} s")
    if done.returncode == 255:
        reason = service_manager.last_line(done.stderr)
        return Done(None, trouble=f"ssh to {fence.host}:{fence.port} failed: {reason or 'no reason was given'}")
    return Done(done.returncode, done.stdout, done.stderr)


def assignments(values: Mapping[str, object]) -> str:
    """Give values to a script as its variables."""
    return "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in values.items())


def facts_from(text: str) -> dict[str, str]:
    """Read lines of `name=value`."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name: value for name, _, value in pairs}
