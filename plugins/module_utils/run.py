# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run that is open: its name, its folder, who started it, and its journal."""

from __future__ import annotations

import contextlib
import functools
import getpass
import hashlib
import multiprocessing
import os
import pwd
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from . import lease, sink
from .errors import BadInput, RecoveryError, StepFailed
from .journal import Journal, JournalError, is_secret_key

DEFAULT_SINK = "file:.recovery/runs"
# The registered result of `checkpoint` with state begin. A fact would outlive the run in a fact cache.
REGISTERED = "recovery_run"
# Read for secrets in the raw, because it is the one place where they may stand.
CREDENTIALS = "recovery_credentials"
HIDDEN = "what it said is hidden, because the task has no_log"
_RUN_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


class RunJournal(Journal):
    """A journal whose failure is a step's failure."""

    def append_all(self, choose: Callable[[], Iterable[tuple[str, Mapping[str, Any]]]]) -> list[dict[str, Any]]:
        """Append events; raises StepFailed where the journal cannot be written."""
        with _step():
            return super().append_all(choose)

    def since(self, offset: int) -> bytes:
        """Give what a copy lacks; raises StepFailed where the journal cannot be read."""
        with _step():
            return super().since(offset)


@contextlib.contextmanager
def _step() -> Iterator[None]:
    try:
        yield
    except JournalError as error:
        raise StepFailed(
            error.what, wanted=error.wanted, observed=error.observed, next_action=error.next_action
        ) from error


@dataclass(frozen=True)
class Run:
    """An open run, as every action sees it."""

    id: str
    folder: Path
    journal: RunJournal = field(repr=False, compare=False)

    @classmethod
    def at(cls, run_id: str, folder: Path | str) -> Run:
        """Return the run of this name in this folder."""
        return cls(run_id, Path(folder), RunJournal(Path(folder), run_id))

    @classmethod
    def from_vars(cls, variables: Mapping[str, Any]) -> Run | None:
        """Return the run that `checkpoint` opened, None where none is open."""
        opened = variables.get(REGISTERED)
        if opened is None:
            # A result belongs to the host that opened the run, and later plays work on other hosts.
            with contextlib.suppress(KeyError, AttributeError, TypeError):
                opened = variables["hostvars"]["localhost"][REGISTERED]
        if not isinstance(opened, Mapping) or "id" not in opened or "folder" not in opened:
            return None
        run = cls.at(str(opened["id"]), str(opened["folder"]))
        run.learn_secrets({CREDENTIALS: variables.get(CREDENTIALS)})
        return run

    def learn_secrets(self, data: Any, template: Callable[[Any], Any] | None = None) -> None:
        """Register every value that stands under a secret's name, so that it is redacted wherever it turns up."""
        self.journal.redact(_secrets(data, template=template))

    def learn_credentials(self, variables: Mapping[str, Any], template: Callable[[Any], Any]) -> None:
        """Register the credentials that lookups give; worth their time only once something failed."""
        self.learn_secrets({CREDENTIALS: variables.get(CREDENTIALS)}, template)

    def step_failed(
        self, task: str, action: str, error: RecoveryError, *, host: str | None = None, hidden: bool = False
    ) -> None:
        """Journal a failed step and render, so that the report tells of it even if nothing more ever runs."""
        said = {
            "msg": error.what,
            "wanted": error.wanted,
            "observed": error.observed,
            "next_action": error.next_action,
        }
        if error.fields.get("changed"):
            # A step that broke half way has changed something all the same.
            done = [] if hidden else error.fields.get("changed_workloads") or []
            with contextlib.suppress(RecoveryError):
                self.journal.append("action", what=action, changed=True, lines=done)
        where = {"host": host} if host else {}
        self.failed(task=task, action=action, **where, kind=error.kind, **({"msg": HIDDEN} if hidden else said))

    def failed(self, **failure: Any) -> None:
        """Journal a failure; where not even that is possible, the failure itself still reaches the operator."""
        with contextlib.suppress(RecoveryError, JournalError, OSError):
            self.journal.append("step_failed", **failure)
            self.render()

    def report(self) -> dict[str, Any]:
        """Say what the journal tells, as the report does. Raises StepFailed where there is no journal any more."""
        from .report import build

        if not self.journal.path.exists():
            raise StepFailed(
                f"the journal of run {self.id} is gone",
                wanted=str(self.journal.path),
                observed="no such file",
                next_action=f"find out who removed {self.folder}, then start a new run",
            )
        try:
            return build(self.journal.records())
        except JournalError as error:
            raise StepFailed(
                error.what, wanted=error.wanted, observed=error.observed, next_action=error.next_action
            ) from error

    def render(self) -> dict[str, Any]:
        """Render the report files from the journal."""
        # The renderer is not needed by the many actions that only append.
        from .report import render

        return render(self.folder)


def sink_folder(url: str | None, cwd: Path | None = None) -> Path:
    """Return the folder of a journal sink's runs on this machine: for object storage the usual one. Raises BadInput."""
    url = (url or DEFAULT_SINK).strip()
    expected = f"file: and a folder, such as file:.recovery/runs or file:///var/lib/recovery/runs; or {sink.EXPECTED}"
    scheme, colon, rest = url.partition(":")
    if sink.Address.parse(url):
        return sink_folder(None, cwd)
    if not colon or scheme.lower() != "file" or not rest:
        raise BadInput(
            f"recovery_journal {url!r} names no sink that is known",
            wanted=expected,
            observed=url,
            next_action=f"set recovery_journal to {expected}" if colon else f"write it as file:{url}",
        )
    if rest.startswith("//"):
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost"):
            raise BadInput(
                f"recovery_journal {url!r} names the host {parts.netloc!r}, but file: is this machine",
                wanted=expected,
                observed=url,
                next_action="write three slashes before an absolute path: file:///path",
            )
        rest = parts.path
    return (cwd or Path.cwd()) / Path(unquote(rest)).expanduser()


def run_id(wish: str | None, playbook: str, now: float | None = None) -> str:
    """Return the caller's run id if it is a usable name, else make one up that sorts by time."""
    if wish in (None, ""):
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        return f"{moment}-{dashed(playbook)}-{secrets.token_hex(2)}"[:100]
    if not _RUN_ID.fullmatch(str(wish)) or str(wish) in (".", ".."):
        raise BadInput(
            f"recovery_run_id {wish!r} cannot name a run",
            wanted="1 to 100 letters, digits, dots, underscores and dashes",
            observed=str(wish),
            next_action="choose another recovery_run_id, or leave it out to have one made up",
        )
    return str(wish)


def dashed(playbook: str) -> str:
    """Return a playbook's name as people type it: `platform.recovery.database_failover` is `database-failover`."""
    return re.sub(r"[^a-z0-9]+", "-", playbook.rpartition(".")[2].lower()).strip("-") or "run"


def initiator(variables: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> str:
    """Say who started this run: whom the caller names, else the person behind the automation job, else user@host."""
    environment = os.environ if environment is None else environment
    if named := variables.get("recovery_initiator"):
        return str(named)
    for prefix in ("awx", "tower"):
        if job := variables.get(f"{prefix}_job_id"):
            user = variables.get(f"{prefix}_user_name") or "a schedule or workflow"
            return f"{user} (job {job})"
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a passwd entry
        user = f"uid {os.getuid()}"
    person = environment.get("SUDO_USER")
    host = socket.gethostname()
    return f"{person}@{host} (as {user})" if person and person != user else f"{user}@{host}"


def accounts() -> list[str]:
    """Name the accounts behind this process as the system knows them; the environment says what its owner likes."""
    found = []
    numbers = [os.getuid()]
    with contextlib.suppress(OSError, ValueError):
        # Whoever logged in, whatever account was taken on since.
        numbers.append(int(Path("/proc/self/loginuid").read_text(encoding="ascii")))
    for number in numbers:
        with contextlib.suppress(KeyError, OverflowError):
            found.append(f"{pwd.getpwuid(number).pw_name}@{socket.gethostname()}")
    return found


def open_run(wish: str | None, url: str | None, started: Mapping[str, Any]) -> tuple[Run, bool]:
    """Open a run, or the one that already has this name, here or in the sink. Returns it and whether it is resumed.

    The first start stays in the journal and keeps its clock: an operator who tries again is not given a new half hour.
    """
    name = run_id(wish, str(started["playbook"]))
    folder = sink_folder(url) / name
    run = Run.at(name, folder)
    mirror = sink.bind(folder, url, run.journal)
    begin = _begin_here if mirror is None else functools.partial(_begin_mirrored, mirror)
    return run, begin(run, started)


def _begin_mirrored(mirror: sink.Mirror, run: Run, started: Mapping[str, Any]) -> bool:
    """Begin with what the sink knows of this run. Whether it can be reached or not, the run begins."""
    down = aside = None
    _make(run)
    try:
        aside = mirror.fetch(lambda first: _refuse_other(run.id, first, started))
    except sink.SinkDown as error:
        down = str(error)
    resumed = _begin_here(run, {**started, "sink": mirror.address.url})
    if aside:
        run.journal.append(sink.ASIDE, file=aside.name, sha256=hashlib.sha256(aside.read_bytes()).hexdigest())
    if down is None:
        mirror.claim(life(run.id))
    else:
        mirror.begin_blindly(down)
    return resumed


def _begin_here(run: Run, started: Mapping[str, Any]) -> bool:
    """Journal the start, or the next one; tells which."""
    first = _first_start(run) if run.journal.path.exists() else None
    if first is None:
        _make(run)
        run.journal.append("run_started", **started, controller=controller())
        return False
    _refuse_other(run.id, first, started)
    again = {key: started[key] for key in ("initiator", "reason", "versions", "evidence_key", "sink") if key in started}
    run.journal.append("run_resumed", **again, controller=controller())
    return True


def _make(run: Run) -> None:
    try:
        Journal.open(run.folder, run.id)
    except JournalError as error:
        raise BadInput(
            error.what, wanted=error.wanted, observed=error.observed, next_action=error.next_action
        ) from error


def _refuse_other(name: str, first: Mapping[str, Any], started: Mapping[str, Any]) -> None:
    """Refuse to go on with a run that was begun as another one."""
    for what in ("playbook", "mode", "target", "check"):
        before, now = first.get(what), started.get(what)
        if before not in (None, "") and now not in (None, "") and before != now:
            raise BadInput(
                f"run {name} has {what} {before!r} and cannot be resumed with {now!r}",
                wanted=f"{what} {before!r}",
                observed=f"{what} {now!r}",
                next_action="call it as it was called first, or choose another recovery_run_id",
            )


def life(run_id: str) -> dict[str, Any]:
    """Say who drives the run, as the sink shows it to another controller that would take it over."""
    return asdict(lease.holder("", run_id, controller()))


def controller() -> dict[str, Any]:
    """Say which process drives the run, so that a living run can be told from a dead one.

    A process id is given again; together with the start time, in clock ticks since boot, it is not.
    """
    # A step runs in a worker that the controller forked.
    parent = multiprocessing.parent_process()
    pid = (parent.pid if parent else None) or os.getpid()
    started = None
    with contextlib.suppress(OSError, ValueError, IndexError):
        # The name before it may hold blanks and parentheses; field 22 is the twentieth behind it.
        started = int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    return {"pid": pid, "started": started, "host": socket.gethostname()}


def _first_start(run: Run) -> dict[str, Any] | None:
    try:
        for record in run.journal.records():
            if record["event"] == "run_started":
                return dict(record["data"])
    except JournalError as error:
        raise BadInput(
            error.what, wanted=error.wanted, observed=error.observed, next_action=error.next_action
        ) from error
    return None


def _secrets(data: Any, secret: bool = False, template: Callable[[Any], Any] | None = None) -> Iterator[str]:
    """Find the values under secret names; a template is none yet, and a vaulted one opens as it is read."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            hidden = secret or key == CREDENTIALS or is_secret_key(str(key))
            yield from _secrets(value, hidden and key != "user", template)
    elif isinstance(data, (list, tuple)):
        for value in data:
            yield from _secrets(value, secret, template)
    elif secret and data is not None and not isinstance(data, bool):
        with contextlib.suppress(Exception):
            text = str(data)
            if "{{" not in text:
                yield text
            elif template:
                yield from _secrets(template(data), secret)
