# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The approver's side: read a run's request, and sign a statement about it. Needs no connection to anything."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._collection import module
from .errors import WrongCall


@dataclass(frozen=True)
class Asked:
    """A run's request as it lies in its folder, with what the platform's rule allows."""

    path: Path
    request: Any
    needed: int
    approvers: tuple[str, ...]
    valid_seconds: float
    break_glass_seconds: float


@dataclass(frozen=True)
class Answer:
    """Who approves, with which key, and how."""

    name: str
    key: Path
    reason: str
    break_glass: bool
    seconds: float | None


def read(path: Path) -> Asked:
    """Read a request. Raises WrongCall."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Asked(
            path,
            module("approvals").Request.of(data["request"]),
            int(data["needed"]),
            tuple(str(name) for name in data["approvers"]),
            float(data["valid_seconds"]),
            float(data["break_glass_seconds"]),
        )
    except FileNotFoundError:
        raise WrongCall(
            f"There is no request for approvals in {path}",
            next_action="start the run: where approvals are missing it is refused and leaves one",
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WrongCall(f"{path} is no request for approvals: {error}") from None


def words(asked: Asked) -> Iterator[str]:
    """Say what is to be approved, and let nothing in it write over what was said before."""
    for line in _told(asked):
        yield "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in line)


def _told(asked: Asked) -> Iterator[str]:
    request = asked.request
    yield f"Platform  {request.platform} ({request.description[:23]}…)"
    yield f"Checklist {request.playbook}, mode {request.mode}, to {request.target}"
    yield f"Overrides {', '.join(request.overrides) or 'none'}"
    yield f"Run       {request.run_id}, started by {', '.join(request.initiators)}, asked at {request.requested_at}"
    yield f"Needed    {asked.needed} of {', '.join(asked.approvers)}"


def approve(asked: Asked, answer: Answer, output: Path | None) -> dict[str, Any]:
    """Sign and write the file. Raises WrongCall."""
    tools, errors = module("approvals"), module("errors")
    if answer.name not in asked.approvers:
        raise WrongCall(
            f"{answer.name} is no approver of {asked.request.platform}",
            next_action=f"the approvers are {', '.join(asked.approvers)}",
        )
    if answer.break_glass and not answer.reason.strip():
        raise WrongCall("Break-glass needs a reason", next_action="say why with --reason")
    longest = asked.break_glass_seconds if answer.break_glass else asked.valid_seconds
    seconds = longest if answer.seconds is None else answer.seconds
    if not 0 < seconds <= longest:
        raise WrongCall(f"An approval may hold for {longest:g} s at most, not {seconds:g} s")
    text = tools.statement(
        asked.request, answer.name, time.time(), seconds, reason=answer.reason, break_glass=answer.break_glass
    )
    try:
        signature = tools.sign(text, answer.key)
    except errors.StepFailed as error:
        raise WrongCall(f"{error.what}: {error.observed}", next_action=error.next_action) from None
    file = output or asked.path.parent / tools.FOLDER / f"{answer.name}.json"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(tools.written(text, signature), encoding="utf-8")
    except OSError as error:
        raise WrongCall(
            f"{file} cannot be written: {error.strerror}", next_action="name another file with --output"
        ) from None
    said = json.loads(text)
    told = {name: said[name] for name in ("approver", "expires_at", "break_glass", "reason")}
    return {"run_id": asked.request.run_id, **told, "file": str(file)}
