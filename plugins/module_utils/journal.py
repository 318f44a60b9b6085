# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a run: append-only JSON lines, each carrying the hash of the one before.

Standard library only and importable alone, because the collection, the embedding package and an auditor's offline
check all read it with this one file.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

SCHEMA = 1
FILE_NAME = "journal.jsonl"
GENESIS = "0" * 64
REDACTED = "[redacted]"

# A controller that loses power must not lose what was decided and done (0.3 ms each on a good disk);
# all else survives a killed process without it.
DURABLE_EVENTS = frozenset({"run_started", "run_resumed", "run_interrupted", "run_ended", "decision", "action"})
REPAIR_EVENT = "journal_repaired"
TAIL_BYTES = 64 * 1024
SHORTEST_SECRET = 4

_SECRET_KEY = re.compile(
    r"(^|[_\-.])(passwd|passcode|pwd|secrets?|token|api_?key|(access|private|signing|encryption)_?key|"
    r"authorization|cookie|bearer)($|[_\-.\d])|password|passphrase|secret_?(string|key)|key[_-]?data",
    re.IGNORECASE,
)
# What carries a secret inside a longer string. Each pattern keeps what names the secret: the text must stay readable.
_KEY = r"(?:(?:api|access|private|signing|encryption)[_-]?key|secret_?string|key[_-]data)"
_NAME = rf"(?:password|passwd|passphrase|secret|token|{_KEY})"
_QUOTED = r"""\\"(?:(?!\\").)*\\"|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.|'')*'"""
SECRET_TEXT = (
    # A URL's user part, whose password may hold an '@' itself.
    re.compile(r"""(\w://[^/\s:@]*:)[^/\s"']+(?=@)"""),
    # key=value, as in connection strings, environments and query strings.
    re.compile(rf"(?i)((?<![\w.-])[\w.-]*{_NAME}[ \t]*=[ \t]*)(?:{_QUOTED}|[^\s&;,]+)"),
    # "key": value, as in JSON, also in JSON that is itself quoted.
    re.compile(rf"""(?i)((?<![\w.-])[\w.-]*{_NAME}\\?["']\s*[:=]\s*)(?:{_QUOTED}|[^\s,;}}]+)"""),
    # key: value, as in YAML. A bare word must speak of a password, for "token: pass" is a gate and its verdict,
    # and "password: got nothing" is how the schema names a problem.
    re.compile(
        r"(?i)((?<![\w./-])(?:[\w.-]*(?:password|passwd|passphrase)|[\w.-]+[_.-](?:secret|token)"
        rf"|[\w.-]*{_KEY})[ \t]*:[ \t]+)(?!got )(?:{_QUOTED}|[^\s,;}}]+)"
    ),
    re.compile(r"(?i)\b(bearer\s+|authorization:\s*basic\s+)[\w.~+/=-]{4,}"),
)


class JournalError(Exception):
    """The journal could not be written or read; carries the same fields as the collection's own errors."""

    kind = "failed"

    def __init__(self, what: str, *, wanted: Any = None, observed: Any = None, next_action: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.wanted = wanted
        self.observed = observed
        self.next_action = next_action


@dataclass(frozen=True)
class Audit:
    """What an offline check of a journal found."""

    records: int
    first_bad: int | None
    reason: str
    last_hash: str
    torn_bytes: int


@dataclass(frozen=True)
class _Tail:
    """The end of the file, as the next append needs it."""

    seq: int = 0
    hash: str = GENESIS
    torn: bytes = b""
    unterminated: bool = False


def canonical(record: Mapping[str, Any]) -> bytes:
    """Return the one byte string that stands for this record: what is hashed, and what is written."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # What the journal writes holds no half of a surrogate pair; what somebody made of it may.
    return text.encode("utf-8", "surrogatepass")


def digest(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the record's canonical JSON without its own hash."""
    return hashlib.sha256(canonical({key: value for key, value in record.items() if key != "hash"})).hexdigest()


def timestamp() -> str:
    """Return now as RFC 3339 UTC with milliseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds // 1_000_000:03d}Z"


def hide_secrets(text: str) -> str:
    """Return the text without what looks like a secret, for whoever shows the words of a foreign program."""
    for pattern in SECRET_TEXT:
        text = pattern.sub(rf"\g<1>{REDACTED}", text)
    return text


def is_secret_key(key: str) -> bool:
    """Tell whether a field of this name holds a secret."""
    return _SECRET_KEY.search(key) is not None


@dataclass
class Redactor:
    """Takes secrets out of anything on its way into the journal, and makes it plain JSON."""

    values: list[str] = field(default_factory=list)

    def register(self, values: Iterable[Any]) -> None:
        """Learn secret values, also in the forms in which they travel (base64, URL-quoted, JSON-escaped)."""
        forms: set[str] = set(self.values)
        for value in values:
            text = str(value)
            if len(text) < SHORTEST_SECRET:
                continue
            encoded = text.encode("utf-8", "backslashreplace")
            forms |= {text, base64.b64encode(encoded).decode(), quote(text, safe=""), json.dumps(text)[1:-1]}
        # Longest first, so that a secret that contains another one leaves no rest behind.
        self.values = sorted(forms, key=len, reverse=True)

    def text(self, value: str) -> str:
        """Return the string without any secret, and without what UTF-8 cannot carry."""
        # str() also drops the tags that newer ansible-core hangs on strings.
        clean = value.encode("utf-8", "backslashreplace").decode("utf-8")
        for secret in self.values:
            if secret in clean:
                clean = clean.replace(secret, REDACTED)
        return hide_secrets(clean)

    def clean(self, value: Any) -> Any:
        """Return the value as plain JSON data with every secret replaced, however deep it sits."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            # NaN and infinities are not JSON.
            return float(value) if value == value and abs(value) != float("inf") else None
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._field(str(key), item) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
            return [self.clean(item) for item in items]
        if isinstance(value, bytes):
            return self.text(value.decode("utf-8", "backslashreplace"))
        return self.text(str(value))

    def _field(self, key: str, value: Any) -> Any:
        if is_secret_key(key) and value not in (None, "", True, False):
            return REDACTED
        return self.clean(value)


class Journal:
    """One run's journal; safe to append to from many processes at once."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self.folder = folder
        self.run_id = run_id
        self.path = folder / FILE_NAME
        self._redactor = Redactor()

    @classmethod
    def open(cls, folder: Path | str, run_id: str) -> Journal:
        """Return the journal in this folder, which is made if missing."""
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(
                f"cannot make the run folder {folder}: {error.strerror}",
                wanted="a folder that this user can write",
                observed=error.strerror,
                next_action="point recovery_journal at a writable folder, as file:/path",
            ) from error
        return cls(folder, run_id)

    def redact(self, values: Iterable[Any]) -> None:
        """Register secret values that must never be written, whatever field they turn up in."""
        self._redactor.register(values)

    def redacted(self, value: Any) -> Any:
        """Return the value as the journal would hold it, for whatever else shows it to people."""
        return self._redactor.clean(value)

    def append(self, event: str, **data: Any) -> dict[str, Any]:
        """Append one event and return its record."""
        return self.append_all(lambda: [(event, data)])[0]

    def append_all(self, choose: Callable[[], Iterable[tuple[str, Mapping[str, Any]]]]) -> list[dict[str, Any]]:
        """Append the events that are chosen once nobody else can write, so that the choice is still true."""
        with self._locked() as descriptor:
            tail = self._tail(descriptor)
            entries = [(event, self._redactor.clean(data)) for event, data in choose()]
            if tail.torn and entries:
                entries.insert(0, (REPAIR_EVENT, _torn(tail.torn)))
            seq, previous, records = tail.seq, tail.hash, []
            for event, data in entries:
                record = self._record(event, data, seq + 1, previous)
                seq, previous = record["seq"], record["hash"]
                records.append(record)
            lines = b"".join(canonical(record) + b"\n" for record in records)
            if lines:
                durable = any(event in DURABLE_EVENTS for event, _ in entries)
                self._write(descriptor, (b"\n" if tail.unterminated else b"") + lines, durable=durable)
        return [record for record in records if record["event"] != REPAIR_EVENT]

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield every readable record in order; what was torn by a crash is passed over."""
        for line in self._lines():
            record = parse_line(line)
            if record is not None:
                yield self._known(record)

    def newest(self, events: Iterable[str]) -> dict[str, Any] | None:
        """Give the last record of one of these events. Every task asks, so only lines that may be one are parsed."""
        wanted = frozenset(events)
        # As `canonical` spells it.
        marks = [f'"event":{json.dumps(event)}'.encode() for event in wanted]
        for line in reversed(list(self._lines())):
            if any(mark in line for mark in marks):
                record = parse_line(line)
                if record is not None and self._known(record)["event"] in wanted:
                    return record
        return None

    def since(self, offset: int) -> bytes:
        """Give what stands from this place on, up to the end of the last whole record: what a copy may hold."""
        with self._locked() as descriptor:  # what a full disk cut off again must not have been seen
            rest = os.fstat(descriptor).st_size - offset
            return whole(os.pread(descriptor, rest, offset)) if rest > 0 else b""

    def adopt(self, history: bytes) -> Path | None:
        """Make this the content, which another controller wrote. What is here and not in it is set aside; gives where.

        The file stays the same one, for others may wait for its lock. Cut off in the middle it is the beginning of the
        history, and the next adoption completes it.
        """
        with self._locked() as descriptor:
            here = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            if history.startswith(here):
                self._write(descriptor, history[len(here) :], durable=True)
                return None
            aside = self.folder / f"journal.aside-{hashlib.sha256(here).hexdigest()[:12]}.jsonl"
            try:
                with open(aside, "wb") as stream:
                    stream.write(here)
                    stream.flush()
                    os.fsync(stream.fileno())
                os.ftruncate(descriptor, 0)
            except OSError as error:
                raise self._failed("write", error) from error
            self._write(descriptor, history, durable=True)
            return aside

    def audit(self, lines: Iterable[bytes] | None = None) -> Audit:
        """Check the whole chain, or that of a copy's lines, and say where and why it breaks first."""
        count, previous, torn = 0, GENESIS, b""
        for line in self._lines() if lines is None else lines:
            record = parse_line(line)
            if record is None:
                torn = _join_torn([torn, line])
                continue
            reason = self._broken(record, count + 1, previous, torn)
            if not reason and canonical(record) != line:
                reason = "it is not spelt as the journal spells it"
            if reason:
                return Audit(count, count + 1, reason, previous, len(torn))
            count, previous, torn = count + 1, record["hash"], b""
        return Audit(count, None, "", previous, len(torn))

    def verify(self) -> int | None:
        """Return the number of the first record that cannot be trusted, None if all can."""
        return self.audit().first_bad

    def _broken(self, record: dict[str, Any], seq: int, previous: str, torn: bytes) -> str:
        """Say what is wrong with this record at this place in the chain, or nothing."""
        if record.get("schema") != SCHEMA:
            return f"schema {record.get('schema')!r} instead of {SCHEMA}"
        if torn and (record.get("event") != REPAIR_EVENT or record.get("data") != _torn(torn)):
            return "an unreadable line before it that it does not account for"
        kinds = (("event", str), ("time", str), ("data", dict))
        if wrong := [key for key, kind in kinds if not isinstance(record.get(key), kind)]:
            return f"it has no {' and no '.join(wrong)} as a record has"
        if record.get("seq") != seq:
            return f"number {record.get('seq')!r} where {seq} belongs"
        if record.get("run_id") != self.run_id:
            return f"a record of run {record.get('run_id')!r}"
        if record.get("previous") != previous:
            return "it does not follow the record before it"
        if record.get("hash") != digest(record):
            return "its content does not match its hash"
        return ""

    def _record(self, event: str, data: dict[str, Any], seq: int, previous: str) -> dict[str, Any]:
        record = {
            "schema": SCHEMA,
            "seq": seq,
            # Taken under the lock, so that times never run against the order of the records.
            "time": timestamp(),
            "run_id": self.run_id,
            "event": event,
            "previous": previous,
            "data": data,
        }
        return {**record, "hash": digest(record)}

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self._failed("open", error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            # A process that is forked meanwhile has the descriptor too, and would keep the lock.
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def _tail(self, descriptor: int) -> _Tail:
        """Find the last record from the end of the file, so that an append costs the same in a long journal."""
        size = os.fstat(descriptor).st_size
        if not size:
            return _Tail()
        window = TAIL_BYTES
        while True:
            start = max(0, size - window)
            chunk = os.pread(descriptor, size - start, start)
            # The first line of a window may be cut: it only counts where the window holds the whole file.
            lines = chunk.split(b"\n")[0 if start == 0 else 1 :]
            tail = self._last(lines)
            if tail or start == 0:
                return tail or _Tail(torn=_join_torn(lines), unterminated=not chunk.endswith(b"\n"))
            window *= 4

    def _last(self, lines: list[bytes]) -> _Tail | None:
        """Return the last whole record among these lines and what stands torn behind it."""
        for index in range(len(lines) - 1, -1, -1):
            record = parse_line(lines[index])
            if record is not None:
                self._known(record)
                rest = lines[index + 1 :]
                return _Tail(int(record["seq"]), str(record["hash"]), _join_torn(rest), lines[-1] != b"")
        return None

    def _write(self, descriptor: int, lines: bytes, *, durable: bool) -> None:
        """Write whole lines or nothing."""
        size = os.fstat(descriptor).st_size
        try:
            written = os.write(descriptor, lines)
            if written != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if durable:
                os.fsync(descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
            raise self._failed("write", error) from error

    def _known(self, record: dict[str, Any]) -> dict[str, Any]:
        if record.get("schema") != SCHEMA:
            raise JournalError(
                f"{self.path} holds records of schema {record.get('schema')!r}, which this version does not know",
                wanted=f"schema {SCHEMA}",
                observed=f"schema {record.get('schema')!r} in record {record.get('seq')!r}",
                next_action="read it with the version of platform.recovery that wrote it, or start a new run",
            )
        return record

    def _lines(self) -> Iterator[bytes]:
        try:
            with open(self.path, "rb") as stream:
                for line in stream:
                    if stripped := line.rstrip(b"\n"):
                        yield stripped
        except OSError as error:
            raise self._failed("read", error) from error

    def _failed(self, verb: str, error: OSError) -> JournalError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return JournalError(
            f"cannot {verb} the journal {self.path}: {error.strerror}",
            wanted="a journal that can be written" if verb != "read" else "a journal that can be read",
            observed=error.strerror,
            next_action=(
                "free space on the journal's disk, then run again with the same recovery_run_id: "
                "what was written so far is intact"
                if full
                else "check the path and its permissions, or point recovery_journal elsewhere"
            ),
        )


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Return the record on this line, None where a crash left something else."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(record, dict) and isinstance(record.get("seq"), int) and isinstance(record.get("hash"), str)
    return record if whole else None


def whole(data: bytes) -> bytes:
    """Return the part up to the end of the last line that is a record."""
    end = data.rfind(b"\n")
    while end >= 0:
        start = data.rfind(b"\n", 0, end) + 1
        if parse_line(data[start:end]) is not None:
            return data[: end + 1]
        end = start - 1
    return b""


def _join_torn(lines: list[bytes]) -> bytes:
    return b"\n".join(line for line in lines if line)


def _torn(rest: bytes) -> dict[str, Any]:
    """Describe what a crash left behind, so that the chain accounts for it."""
    return {"bytes": len(rest), "sha256": hashlib.sha256(rest).hexdigest()}
