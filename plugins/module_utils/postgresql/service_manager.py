# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stops a PostgreSQL for good: its host's service manager, or a script where none runs it."""

from __future__ import annotations

import shlex

from .. import service_manager as shared
from ..service_manager import (
    CONNECT_SECONDS,
    Answer,
    Fence,
    UnitStatus,
    ask,
    last_line,
    may_fence,
    read_status,
    ssh_command,
    start_again,
)
from . import process_manager

__all__ = ["Answer", "UnitStatus", "last_line", "may_fence", "ssh_command", "start_again", "status", "stop_for_good"]

PROCESS = "process"


def status(fence: Fence, *, seconds: float) -> UnitStatus:
    """Ask how the server is."""
    if fence.method == PROCESS:
        return read_status(fence, run_process(fence, "show", seconds=seconds))
    return shared.status(fence, seconds=seconds)


def stop_for_good(fence: Fence, *, seconds: float, gently: bool) -> UnitStatus:
    """Stop the server so that nothing starts it again by itself, and read its state after that."""
    if fence.method == PROCESS:
        return read_status(fence, run_process(fence, "stop", signal="INT" if gently else "KILL", seconds=seconds))
    return shared.stop_for_good(fence, seconds=seconds, gently=gently)


def run_process(fence: Fence, verb: str, *, seconds: float, signal: str = "INT") -> Answer:
    """Show or fence a server that no service manager runs. Its unit is its data directory."""
    words = process_manager.script(verb, fence.unit, signal=signal, seconds=max(0.0, seconds - CONNECT_SECONDS))
    shell = f"sudo -n -u {shlex.quote(fence.os_user)} sh -s" if fence.sudo else "sh -s"
    return ask(fence, shell, seconds=seconds, shared=None, script=words)
