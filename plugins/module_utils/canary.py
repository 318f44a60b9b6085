# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start, measure and stop a canary; the writing is done by `canary_client`, the judging by `canary_analysis`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import canary_client as client
from .canary_analysis import (
    Loss,
    Outage,
    find_loss,
    find_outage,
    is_quiet,
    last_acknowledged,
    last_words,
    read_attempts,
    read_history,
    rotated_away,
    shown,
)
from .canary_client import MICROSECONDS
from .errors import BadInput, PreconditionFailed, StepFailed, StepTimeout
from .postgresql.client import Session
from .waiting import wait_until

START_SECONDS = 10.0
STOP_SECONDS = 5.0
READ_BACK_SECONDS = 10.0
# What the canary is given of our environment: where its interpreter's libraries and the certificates lie.
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True)
class Wish:
    """What a canary is to do."""

    folder: Path
    url: str
    service: str
    prefix: str
    path: str | None = None
    interval: float = 0.02
    timeout: float = 1.0
    workers: int | None = None
    max_seconds: float = 14400.0
    forever: bool = False
    ca_file: str | None = None
    resolver: str | None = None
    authorization: str | None = None

    def arguments(self) -> list[str]:
        """Give the command line; what is secret goes through standard input."""
        arguments = ["--folder", str(self.folder), "--url", self.url, "--service", self.service]
        arguments += ["--run-prefix", self.prefix, "--interval", str(self.interval), "--timeout", str(self.timeout)]
        arguments += ["--max-seconds", str(self.max_seconds)]
        named = {"--path": self.path, "--workers": self.workers, "--ca-file": self.ca_file, "--resolver": self.resolver}
        for name, value in named.items():
            arguments += [name, str(value)] if value else []
        arguments += ["--authorization-stdin"] if self.authorization else []
        return arguments + (["--forever"] if self.forever else [])


@dataclass(frozen=True)
class Canary:
    """A folder's canary, running or not."""

    folder: Path
    pid: int
    prefix: str
    url: str
    service: str
    path: str
    interval: float
    timeout: float

    @property
    def probe(self) -> str:
        """Say in words what it does."""
        return f"a write every {self.interval * 1000:g} ms by POST {self.path} through {self.url}"

    @property
    def running(self) -> bool:
        """Whether it writes now."""
        return client.is_running(str(self.folder))


def find(folder: Path) -> Canary | None:
    """Give the canary that runs, or last ran, in this folder."""
    state = client.read_state(str(folder))
    try:
        return Canary(
            folder=folder,
            pid=int(state["pid"]),
            prefix=str(state["prefix"]),
            url=str(state["url"]),
            service=str(state["service"]),
            path=str(state["path"]),
            interval=float(state["interval"]),
            timeout=float(state["timeout"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def start(wish: Wish) -> tuple[Canary, bool]:
    """Start a canary, or attach to the one that runs in the folder. Returns it and whether it was there already."""
    running = find(wish.folder)
    if running and running.running:
        _same(running, wish)
        return running, True
    try:
        wish.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        done = subprocess.run(  # it detaches itself, and ends when the canary stands
            [sys.executable, "-I", "-S", client.__file__, *wish.arguments()],
            input=wish.authorization or "",
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
            check=False,
        )
    except OSError as error:
        raise _not_started(wish, str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise _not_started(wish, f"it did not stand after {START_SECONDS:g} s") from error
    if done.returncode == 2:
        raise BadInput(
            f"The canary was called wrongly: {_last_line(done.stderr)}",
            next_action="correct what is named here, and start it again",
        )
    found = find(wish.folder)
    if done.returncode or found is None or not found.running:
        raise _not_started(wish, _last_line(done.stderr))
    attached = bool(json.loads(done.stdout).get("attached"))
    if attached:
        _same(found, wish)
    return found, attached


def stop(folder: Path) -> Canary | None:
    """Stop the canary of this folder, and wait until its last writes are written down. None if none ran."""
    canary = find(folder)
    if canary is None or not canary.running:
        return None
    (folder / "stop").touch()
    try:
        wait_until(lambda: not canary.running, seconds=canary.timeout + STOP_SECONDS, describe="the canary's end")
    except StepTimeout as error:
        raise StepTimeout(
            f"The canary in {folder} did not stop",
            observed=f"process {canary.pid} still holds the folder",
            next_action=f"look at process {canary.pid}; it ends by itself when its time is over",
        ) from error
    return canary


@dataclass(frozen=True)
class Measurement:
    """The outage and the loss as seen from outside."""

    outage: Outage
    loss: Loss | None
    waited: float = 0.0

    @property
    def rpo(self) -> tuple[float | None, str]:
        """Give the seconds of acknowledged writes that were lost, and how that is known."""
        outage, loss = self.outage, self.loss
        if loss is None:
            return None, "the canary's rows were not read back"
        if outage.first_failed is not None and outage.last_before is None and not loss.lost:
            return None, "the canary had no acknowledged write before the failure that could have been lost"
        if not loss.checked:
            return None, f"no acknowledged write was there to be read back; {loss.doubts}".removesuffix("; ")
        reach = f"{loss.checked} acknowledged writes from {shown(loss.earliest)} on"
        if loss.doubts:
            return None, f"{loss.lost} of {reach} are missing, but {loss.doubts}"
        if not loss.lost:
            return 0.0, f"all {reach} were read back"
        how = f"from the acknowledgement of the oldest of {loss.lost} lost writes to the failure"
        return loss.rpo_seconds(outage.first_failed), how

    def as_result(self, probe: str) -> dict[str, Any]:
        """Give what is journalled and returned."""
        lost = None if self.loss is None else self.loss.lost
        seconds, how = self.rpo
        return {
            "outage": self.outage.as_report(probe, lost),
            "acknowledged_writes": self.outage.acknowledged,
            "lost_writes": lost,
            "lost": [] if self.loss is None else self.loss.keys,
            "checked_writes": None if self.loss is None else self.loss.checked,
            "checked_since": None if self.loss is None else shown(self.loss.earliest),
            "unchecked_writes": None if self.loss is None else self.loss.unchecked,
            "rpo_seconds": seconds,
            "rpo_how": how,
        }


def await_recovery(
    canary: Canary, *, after: int, since: int | None, until: int | None, deadline: float, quiet: float
) -> tuple[Outage, float]:
    """Wait until a write is acknowledged after that time, no outage is open, and it was quiet as long as asked.

    Raises StepTimeout, or StepFailed where the canary itself is gone.
    """

    def probe() -> tuple[Outage | None] | None:
        running = canary.running  # asked first: what it wrote before it ended is then surely there
        last = last_acknowledged(canary.folder)
        if last is None or last < after:
            return None if running else (None,)
        if quiet and running:
            now = _now()
            span = int(quiet * MICROSECONDS)
            if now < after + span or not is_quiet(canary.folder, now - span):
                return None
        outage = find_outage(read_history(canary.folder, since), since, until)
        if outage.seconds is not None:
            return (outage,)
        return None if running else (replace(outage, how=f"{outage.how}; the canary no longer runs"),)

    wanted = f"an acknowledged write through the application's edge after {shown(after)}"
    wanted += f", and {quiet:g} s without a failed one" if quiet else ""
    try:
        waited = wait_until(probe, seconds=deadline, describe=wanted)
    except StepTimeout as error:
        raise StepTimeout(
            error.what,
            wanted=wanted,
            observed=last_words(canary.folder),
            next_action=f"see why {canary.url} does not serve {canary.path}, then measure again",
        ) from error
    outage = waited.value[0]
    if outage is None:
        raise StepFailed(
            f"The canary in {canary.folder} no longer runs, and saw no acknowledged write after the wanted time",
            wanted=wanted,
            observed=last_words(canary.folder),
            next_action="start it again (state: started) in the same folder, and measure once more",
        )
    return outage, waited.elapsed


def read_back(session: Session, table: str, key_column: str) -> Callable[[list[str]], list[str]]:
    """Give the function that asks the primary which keys it holds, by its index and in batches."""
    if session.value("SELECT pg_is_in_recovery()"):
        raise PreconditionFailed(
            f"{session.member.name} is a standby: what it holds says nothing about lost writes",
            wanted="the member that is primary now",
            observed=f"{session.member.name} is in recovery",
            next_action="name the present primary and measure again",
        )
    # For many keys the planner may choose to read the whole table: the last thing that a new primary needs.
    session.run("SET enable_seqscan = off")
    column = _quoted(key_column)
    source = ".".join(_quoted(part) for part in table.split("."))
    statement = f"SELECT {column}::text FROM {source} WHERE {column} = ANY(%s)"

    def present(keys: list[str]) -> list[str]:
        return [str(row[0]) for row in session.rows(statement, (keys,), seconds=READ_BACK_SECONDS)]

    return present


def measure_loss(
    canary: Canary, outage: Outage, since: int | None, lookback: int, present: Callable[[list[str]], list[str]]
) -> Loss:
    """Name each acknowledged write of the raw log that the database does not hold.

    It looks back from the failure, which may be much older than the run: what was lost was written before that.
    """
    reach = None
    if since is not None:
        reach = min(since, since if outage.last_before is None else outage.last_before) - lookback
    loss = find_loss(read_attempts(canary.folder, reach), canary.prefix, present)
    return replace(loss, unchecked=rotated_away(canary.folder, reach))


def measure_so_far(canary: Canary, since: int | None, until: int | None) -> Measurement:
    """Give the outage as it stands now, without waiting and without reading rows back."""
    return Measurement(find_outage(read_history(canary.folder, since), since, until), None)


def microseconds(epoch: float) -> int:
    """Turn epoch seconds into the canary's unit."""
    return int(epoch * MICROSECONDS)


def _same(canary: Canary, wish: Wish) -> None:
    if (canary.url, canary.service) != (wish.url, wish.service):
        raise BadInput(
            f"Another canary runs in {wish.folder}",
            wanted=f"one that writes to {wish.service} through {wish.url}",
            observed=f"it writes to {canary.service} through {canary.url}",
            next_action="choose another folder, or stop that canary first",
        )


def _not_started(wish: Wish, observed: str) -> StepFailed:
    return StepFailed(
        f"The canary could not be started in {wish.folder}",
        observed=observed,
        next_action=f"see that {wish.folder} can be written to and has room, then start it again",
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _now() -> int:
    return microseconds(time.time())
