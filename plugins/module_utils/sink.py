# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The second home of a journal, in object storage: what survives the controller's disk.

The run folder is always written first. What it holds is copied as numbered segments, each created only if nobody has
created that number: so two controllers cannot both go on with one history. docs/journal.md tells what that gives.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from .clock import parse
from .errors import BadInput, PreconditionFailed
from .journal import FILE_NAME, Journal, parse_line

# In the run folder: where the second home is, and how much of the journal it is known to hold. Only a note: whoever
# finds it behind learns better by the next segment, which is there already.
FILE = "sink.json"
LIFE = "controller.json"
SEGMENTS = "journal/"
# What is made of the journal, copied once it is whole. The journal is among it for who reads it without this.
COPIES = (FILE_NAME, "report.json", "report.html", "metrics.prom", "evidence.tar")
DOWN, UP, ASIDE = "sink_down", "sink_up", "journal_set_aside"
STARTS = ("run_started", "run_resumed")
GATE = "journal"

# How often a controller shows in the sink that it lives, and after how long without it is taken for dead.
BEAT_SECONDS = 5.0
SILENT_SECONDS = 30.0
# One that seems silent is watched for a little more than a beat. Beyond this nobody is watched any more.
LONG_DEAD_SECONDS = 300.0
# A sink that is down is asked again this often, and nobody waits for it meanwhile.
RETRY_SECONDS = 5.0
# How long a change waits for whoever copies as the journal grows, before it copies by itself.
PUMP_SECONDS = 3.0
POLL_SECONDS = 0.01
EXPECTED = "s3://bucket/prefix, with ?endpoint=https://host:port and &region=name where it is not AWS"

# The run folders that a companion copies, by the process beside it. Workers are forked after that: they know.
PUMPED: dict[str, int] = {}


class SinkDown(Exception):
    """The sink does not take or give what it is asked for; says why."""


class Store(Protocol):
    """The objects of one run, by name. Each call raises SinkDown."""

    def secrets(self) -> list[str]:
        """Give what must never be written anywhere."""

    def names(self, below: str) -> list[str]:
        """List the objects of which the names begin so, in their order."""

    def runs(self) -> list[str]:
        """List the folders in this one."""

    def create(self, name: str, body: bytes) -> bool:
        """Write an object that is not there yet; False if it is."""

    def put(self, name: str, body: bytes) -> None:
        """Write an object, over whatever is there."""

    def get(self, name: str) -> bytes | None:
        """Read an object; None where there is none."""

    def read(self, names: list[str]) -> list[bytes]:
        """Read several objects, which are there."""

    def age(self, name: str) -> float | None:
        """Say how long ago an object was written; None where there is none."""


@dataclass(frozen=True)
class Address:
    """Where a sink in object storage is."""

    url: str
    bucket: str
    prefix: str
    endpoint: str | None = None
    region: str | None = None

    @classmethod
    def parse(cls, url: str | None) -> Address | None:
        """Read a sink's URL; None where it is none of object storage. Raises BadInput."""
        url = (url or "").strip()
        if not url.lower().startswith("s3:"):
            return None
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        endpoint = query.pop("endpoint", None)
        if "@" in parts.netloc or "@" in (endpoint or ""):
            # Not repeated: what stands there is a secret.
            raise _bad_url("recovery_journal holds credentials", "credentials in a URL", "take them out of it")
        wrong = not parts.netloc or parts.fragment or ":" in parts.netloc
        if wrong or (endpoint is not None and urlsplit(endpoint).scheme not in ("http", "https")):
            raise _bad_url(f"recovery_journal {url!r} names no bucket or no endpoint that is one", url, "correct it")
        if unknown := sorted(set(query) - {"region"}):
            named = ", ".join(unknown)
            raise _bad_url(f"recovery_journal has keys that are not known: {named}", named, "correct or remove them")
        prefix = unquote(parts.path).strip("/")
        return cls(url, parts.netloc, prefix, endpoint, query.get("region"))

    def folder(self, run_id: str | None = None) -> str:
        """Name the folder of a run in the bucket, or that of the sink."""
        return "/".join(part for part in (self.prefix, run_id) if part)


def _bad_url(what: str, observed: str, next_action: str) -> BadInput:
    return BadInput(what, wanted=EXPECTED, observed=observed, next_action=next_action)


def open_store(address: Address, run_id: str | None = None) -> Store:
    """Open a run's objects, or the sink's. Raises BadInput where boto3 is missing, and SinkDown."""
    try:
        from .sink_s3 import S3Store
    except ImportError as error:
        raise BadInput(
            "recovery_journal is in object storage, for which the Python package boto3 is missing",
            wanted="boto3 1.36 or newer beside ansible-core",
            observed=str(error),
            next_action="install boto3 where ansible-playbook runs, or use file: with a folder that outlives the run",
        ) from error
    return S3Store(address, address.folder(run_id))


def runs_of(address: Address) -> list[str]:
    """Name the runs that a sink holds. Raises SinkDown."""
    return open_store(address).runs()


@dataclass(frozen=True)
class Standing:
    """How much the sink is known to hold, and what is wrong with it."""

    url: str
    seq: int = 0
    offset: int = 0
    down_since: float | None = None
    why: str | None = None
    tried: float = 0.0
    # Who goes on with this run instead of us: nothing more of it is changed from here.
    taken: str | None = None
    # The sink was down when this attempt began: nobody knows what it holds of this run.
    blind: bool = False
    # It turned out to hold another history than one that was begun blindly: that one is only kept here.
    foreign: bool = False
    # What was copied last of what is made of the journal, by the size of the journal then.
    copied: int = 0

    @property
    def closed(self) -> bool:
        """Whether nothing more of this history can go there."""
        return self.foreign or self.taken is not None


class Mirror:
    """Copies the journal of one run folder to its sink."""

    def __init__(self, folder: Path, journal: Journal, address: Address) -> None:
        self.folder = folder
        self.journal = journal
        self.address = address
        self._store: Store | None = None
        self._owner = 0

    @classmethod
    def of(cls, folder: Path, journal: Journal | None = None) -> Mirror | None:
        """Give the mirror of a run whose folder names a sink, None of any other."""
        standing = _read(folder)
        address = Address.parse(standing.url) if standing else None
        return cls(folder, journal or Journal(folder, folder.name), address) if address else None

    @property
    def standing(self) -> Standing:
        """What is known at present."""
        return _read(self.folder) or Standing(self.address.url)

    def store(self) -> Store:
        """Open the sink, once in each process: a connection cannot be shared with a process that was forked."""
        if self._store is None or self._owner != os.getpid():
            self._store, self._owner = open_store(self.address, self.folder.name), os.getpid()
            self.journal.redact(self._store.secrets())
        return self._store

    # Before a run is opened

    def fetch(self, same: Callable[[Mapping[str, Any]], None]) -> Path | None:
        """Bring here what the sink knows of this run, so that it is gone on with; gives what was set aside for it.

        `same` refuses a history that is another run's. Raises SinkDown, and PreconditionFailed where the history does
        not hold or its controller lives.
        """
        history, records = self._history()
        for record in records[:1]:
            same(record["data"])
        aside = None
        if not self._here().startswith(history):
            self._refuse_living(records)
            aside = self.journal.adopt(history)
        self._hold(history, records)
        return aside

    def catch_up(self) -> None:
        """Bring here or there what is missing, for who only reads; two histories that differ are left as they are.

        Raises SinkDown, and PreconditionFailed where the history does not hold.
        """
        history, records = self._history()
        here = self._here()
        if here.startswith(history):
            self._hold(history, records)
            if len(here) > len(history):
                self.push()
                self._copy()
        elif history.startswith(here):
            self.journal.adopt(history)
            self._hold(history, records)
            self._bring()
            # Else every run that was fetched would be the newest.
            moment = parse(records[-1]["time"])
            os.utime(self.journal.path, (moment, moment))

    def _history(self) -> tuple[bytes, list[dict[str, Any]]]:
        store = self.store()
        history = b"".join(store.read(store.names(SEGMENTS)))
        return history, self._checked(history)

    def _here(self) -> bytes:
        return self.journal.since(0) if self.journal.path.exists() else b""

    def _hold(self, history: bytes, records: list[dict[str, Any]]) -> None:
        self._note(Standing(self.address.url, records[-1]["seq"] if records else 0, len(history)))

    def _checked(self, history: bytes) -> list[dict[str, Any]]:
        lines = [line for line in history.split(b"\n") if line]
        audit = self.journal.audit(lines)
        if audit.first_bad is not None:
            raise PreconditionFailed(
                f"The history of run {self.folder.name} in {self.address.url} does not hold",
                wanted="a chain of records that is whole",
                observed=f"record {audit.first_bad}: {audit.reason}",
                next_action="start a new run with another recovery_run_id, and find out who changed the sink",
                gate=GATE,
            )
        return [record for line in lines if (record := parse_line(line))]

    def _refuse_living(self, records: list[dict[str, Any]]) -> None:
        """Refuse to take a run from a controller that lives; one that is silent is watched for a moment."""
        from .lease import Holder, alive, pid_space

        if any(record["event"] == "run_ended" for record in records[_last_start(records) :]):
            return
        store = self.store()
        body = store.get(LIFE)
        if body is None:
            return
        with contextlib.suppress(ValueError, TypeError):
            holder = Holder(**json.loads(body))
            if holder.space and holder.space == pid_space():
                if alive(holder):
                    raise self._lives(f"process {holder.pid} of this machine")
                return
        begin, before = time.monotonic(), store.age(LIFE)
        while before is not None and before < LONG_DEAD_SECONDS:
            watched = time.monotonic() - begin
            age = store.age(LIFE)
            # A sign of life makes it younger. The ages are the sink's own; they are whole seconds.
            if age is not None and age < before - 1:
                raise self._lives(f"{_controller(records)}, which gave a sign of life {age:.0f} s ago")
            if age is None or (age >= SILENT_SECONDS and watched >= BEAT_SECONDS + 1):
                return
            before = age
            time.sleep(0.5)

    def _lives(self, who: str) -> PreconditionFailed:
        return PreconditionFailed(
            f"Run {self.folder.name} is going on elsewhere",
            wanted="a run whose controller is dead or has ended it",
            observed=who,
            next_action="follow that one, or end it there; this run can be taken over as soon as it is silent",
            gate=GATE,
        )

    # While it is open

    def claim(self, holder: Mapping[str, Any]) -> None:
        """Make the history ours, with the record that says who goes on.

        Raises PreconditionFailed where another controller was quicker.
        """
        try:
            self.push()
            self._prove_conditional()
            self.beat(holder)
        except SinkDown as error:
            self._down(str(error))

    def begin_blindly(self, why: str) -> None:
        """Begin without the sink, which is down: no recovery waits for it."""
        self._note(replace(self.standing, url=self.address.url, blind=True, taken=None, foreign=False, down_since=None))
        self._down(why)

    def push(self) -> None:
        """Bring the sink what it lacks. Raises SinkDown, and PreconditionFailed where another controller went on."""
        while True:
            standing = self.standing
            if standing.taken:
                raise self._taken(standing.taken)
            chunk = b"" if standing.foreign else self.journal.since(standing.offset)
            if not chunk:
                return
            name = _segment(standing.seq + 1)
            held = chunk if self.store().create(name, chunk) else self.store().get(name) or b""
            if held is not chunk and not (held and self.journal.since(standing.offset).startswith(held)):
                self._conflict(standing, held)
            offset = standing.offset + len(held)
            self._note(replace(standing, seq=_last(held)["seq"], offset=offset, blind=False))

    def secure(self) -> None:
        """See to it, before something is changed, that the sink holds all that is written here.

        A sink that is down stops nobody; the journal and the report say so. Raises PreconditionFailed where another
        controller has gone on with this run.
        """
        deadline = time.monotonic() + PUMP_SECONDS
        pumped = PUMPED.get(str(self.folder)) in (os.getpid(), os.getppid())
        while pumped and not self._settled() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        standing = self.standing
        if standing.taken:
            raise self._taken(standing.taken)
        if not self._settled():
            self.attempt()

    def attempt(self) -> None:
        """Copy once, and say in the journal if the sink is down, or is there again."""
        standing = self.standing
        # A clock that was set back must not keep the sink from being asked for as long as that.
        if standing.down_since and 0 <= time.time() - standing.tried < RETRY_SECONDS:
            return
        try:
            self.push()
        except SinkDown as error:
            self._down(str(error))
        else:
            self._up()

    def beat(self, holder: Mapping[str, Any]) -> None:
        """Show that this run's controller lives. Raises SinkDown."""
        self.store().put(LIFE, json.dumps(holder).encode())

    def finish(self) -> str | None:
        """Copy the rest, and what was made of the journal; says in words what the sink does not hold."""
        try:
            if not self.standing.closed:
                self.attempt()
            if self.standing.closed:
                body = self.journal.since(0)
                self.store().put(f"aside/{hashlib.sha256(body).hexdigest()[:12]}.jsonl", body)
            elif not self._behind() and not self.standing.down_since:
                self._copy()
        except SinkDown as error:
            self._down(str(error))
        except PreconditionFailed as error:
            return str(error)
        return self.trouble()

    def trouble(self) -> str | None:
        """Say what the sink does not hold, None where it holds everything."""
        standing = self.standing
        if standing.taken:
            return f"The sink {self.address.url} has another end of this run, by {standing.taken}; ours is in aside/"
        if standing.foreign:
            return f"The sink {self.address.url} has another history of this run; ours is in aside/"
        if standing.down_since or self._behind():
            return f"The sink {self.address.url} does NOT hold this run's end ({standing.why}); it is in {self.folder}"
        return None

    def _settled(self) -> bool:
        standing = self.standing
        return standing.closed or bool(standing.down_since) or not self._behind()

    def _behind(self) -> bool:
        return bool(self.journal.since(self.standing.offset))

    def _copy(self) -> None:
        size = self.journal.path.stat().st_size
        if self.standing.copied == size:
            return
        for name in COPIES:
            with contextlib.suppress(FileNotFoundError):
                self.store().put(name, (self.folder / name).read_bytes())
        self._note(replace(self.standing, copied=size))

    def _prove_conditional(self) -> None:
        """Make sure that the sink refuses to write twice; one that does not protects nothing."""
        name = _segment(1)
        body = self.store().get(name)
        if body and self.store().create(name, body):
            raise PreconditionFailed(
                f"The sink {self.address.url} does not honour conditional writes",
                wanted="a store that refuses If-None-Match: * for an object that exists",
                observed="it wrote the object again",
                next_action="use a store that does (AWS, MinIO, Ceph and others do), or file:",
                gate=GATE,
            )

    def _bring(self) -> None:
        """Bring here what was made of the journal where it was written: the bundle may be signed, and is only there."""
        for name in COPIES[1:]:
            body = self.store().get(name)
            if body is not None:
                (self.folder / name).write_bytes(body)

    def _conflict(self, standing: Standing, held: bytes) -> NoReturn:
        """Say that another history goes on where ours would."""
        records = [record for line in held.split(b"\n") if (record := parse_line(line))]
        who = _controller(records)
        if standing.blind:
            # Not refused in the middle: whether two act at once is for the lease to say, and this began knowing less.
            self._note(replace(standing, foreign=True))
            raise SinkDown(f"it holds another history of this run, by {who}")
        self._note(replace(standing, taken=who))
        raise self._taken(who)

    def _taken(self, who: str) -> PreconditionFailed:
        return PreconditionFailed(
            f"Another controller has gone on with run {self.folder.name}",
            wanted="a history in the sink that only this controller continues",
            observed=f"in {self.address.url}: the next record is by {who}",
            next_action="follow that one; to go on from here, end it and run again with the same recovery_run_id",
            gate=GATE,
        )

    def _down(self, why: str) -> None:
        """Say once that the sink is down: under the journal's lock, for several may find out at once."""
        lost = 0.0

        def first() -> Iterator[tuple[str, Mapping[str, Any]]]:
            nonlocal lost
            standing = self.standing
            lost = standing.down_since or time.time()
            self._note(replace(standing, down_since=lost, why=why, tried=time.time()))
            if standing.down_since is None:
                yield DOWN, {"sink": self.address.url, "why": why, "holds": standing.seq}

        self.journal.append_all(first)

    def _up(self) -> None:
        def again() -> Iterator[tuple[str, Mapping[str, Any]]]:
            standing = self.standing
            if standing.down_since is not None:
                self._note(replace(standing, down_since=None, why=None))
                seconds = round(max(0.0, time.time() - standing.down_since), 3)
                yield UP, {"sink": self.address.url, "seconds": seconds, "holds": standing.seq}

        if self.standing.down_since is not None and self.journal.append_all(again):
            with contextlib.suppress(SinkDown):
                self.push()

    def _note(self, standing: Standing) -> None:
        """Write the note, as a whole or not at all; two that write at once leave one of them."""
        path = self.folder / FILE
        draft = path.with_name(f".{FILE}.{os.getpid()}.{threading.get_ident()}")
        with contextlib.suppress(OSError):  # a full disk: the journal itself will say so
            draft.write_text(json.dumps(asdict(standing)), encoding="utf-8")
            draft.replace(path)


def bind(folder: Path, url: str | None, journal: Journal) -> Mirror | None:
    """Give the mirror of a run in this folder: the sink that its URL names, else the one that it had before."""
    address = Address.parse(url)
    if address is None:
        return Mirror.of(folder, journal)
    return Mirror(folder, journal, address)


def secure(folder: Path, journal: Journal) -> None:
    """Do what `Mirror.secure` does, where the run has a sink beside its folder."""
    mirror = Mirror.of(folder, journal)
    if mirror:
        mirror.secure()


def bound(folder: Path, address: Address) -> bool:
    """Tell whether the run in this folder was kept in this sink too."""
    standing = _read(folder)
    return standing is not None and standing.url == address.url


def loud(folder: Path) -> list[str]:
    """Say that the sink is down, while a run goes on without it."""
    standing = _read(folder)
    if standing is None or standing.down_since is None:
        return []
    return [f"The journal's sink is DOWN ({standing.why}); the run goes on, and its journal is in {folder} alone"]


def secure_end(folder: Path, journal: Journal) -> None:
    """Copy the end of a run before its report is made, so that the report can say if that was not possible."""
    mirror = Mirror.of(folder, journal)
    if mirror and not mirror.standing.closed:
        with contextlib.suppress(PreconditionFailed, BadInput):
            mirror.attempt()


def finish(folder: Path, journal: Journal | None = None) -> list[str]:
    """Copy the rest of a run that ends; says what the sink does not hold."""
    try:
        mirror = Mirror.of(folder, journal)
        trouble = mirror.finish() if mirror else None
    except BadInput as error:
        trouble = str(error)
    return [trouble] if trouble else []


def _read(folder: Path) -> Standing | None:
    try:
        return Standing(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _segment(seq: int) -> str:
    return f"{SEGMENTS}{seq:010d}.jsonl"


def _last(segment: bytes) -> dict[str, Any]:
    return parse_line(segment.rstrip(b"\n").rpartition(b"\n")[2]) or {"seq": 0}


def _last_start(records: list[dict[str, Any]]) -> int:
    return max((n for n, record in enumerate(records) if record["event"] in STARTS), default=0)


def _controller(records: list[dict[str, Any]]) -> str:
    """Name the controller that began the last attempt in these records."""
    known = [record["data"].get("controller") for record in records if record["event"] in STARTS]
    last = known[-1] if known and known[-1] else {}
    return f"process {last.get('pid') or 'unknown'} on {last.get('host') or 'an unknown host'}"
