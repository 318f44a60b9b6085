# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evidence of a run: one signed file with its journal and all that follows from it, to be checked elsewhere.

It is a tar archive that anybody can unpack, but one of which each byte is determined: by the files in it, which the
manifest lists with their digests; by the manifest, which is made from the files again when it is checked; and by the
signature over the manifest. So there is no byte of it that can be changed without a place that can be named.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .errors import RecoveryError, StepFailed
from .journal import FILE_NAME, GENESIS, Journal, JournalError, parse_line
from .report_words import HEAD_EVENT, NO_KEY, UNSIGNED_EVENT
from .signature import SignatureRefused, check, fingerprint, sign, signer

SCHEMA = 1
BUNDLE = "evidence.tar"
NAMESPACE = "platform.recovery.evidence"
MANIFEST, SIGNATURE, PROVENANCE = "manifest.json", "manifest.json.sig", "provenance.json"
REPORTS = ("report.json", "report.html", "metrics.prom")
ORDER = (MANIFEST, SIGNATURE, FILE_NAME, PROVENANCE, *REPORTS)
NEEDED = (MANIFEST, FILE_NAME, PROVENANCE)
PROVENANCE_EVENT = "provenance"
BLOCK = 512
SIZE_AT, SIZE_DIGITS = 124, 11


@dataclass(frozen=True)
class Sealed:
    """A bundle that was made, and whether it is signed."""

    path: Path
    key: str | None
    why: str | None

    def words(self) -> str:
        """Say it in one line."""
        return f"Evidence {self.path}, " + (f"signed by {self.key}" if self.key else f"NOT SIGNED: {self.why}")


@dataclass(frozen=True)
class Verdict:
    """What a check found. `signed` only where somebody who may sign has signed all of it."""

    run_id: str = ""
    intact: bool = False
    signed: bool = False
    # none, unchecked (it holds, but nobody said who may sign), valid, or refused
    signature: str = "none"
    signer: str | None = None
    key: str | None = None
    records: int = 0
    last_hash: str = GENESIS
    first_bad: int | None = None
    place: str | None = None
    flaw: str | None = None
    # Records that came after the bundle was made, which it says nothing about.
    uncovered: int = 0
    # The last record that a signature covers which was made on the way, at an approval.
    signed_until: int = 0

    def words(self) -> list[str]:
        """Say it to a person."""
        if not self.intact:
            return [f"BROKEN at {self.place}: {self.flaw}.", "Nothing from there on can be trusted."]
        whole = f"The chain of {self.records} records of run {self.run_id} is whole; it ends with {self.last_hash}."
        whole += f" Up to record {self.signed_until} it was signed at an approval." if self.signed_until else ""
        if self.signed:
            return [whole, f"Signed by {self.signer} with {self.key}."]
        if self.uncovered or self.signature == "none":
            rest = "Who can write the file could have made all of it anew. Compare that hash with one kept elsewhere."
            return [whole, f"UNSIGNED. {self.flaw}.", rest]
        if self.signature == "refused":
            return [whole, f"NOT SIGNED BY ANYBODY WHO MAY: {self.flaw}."]
        return [whole, f"Signed with {self.key}; whether that key may sign was not checked: give --allowed-signers."]

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON data."""
        return asdict(self)


class Flaw(Exception):
    """The first place that does not hold."""

    next_action = "find out who changed it; nothing from there on can be trusted"

    def __init__(self, place: str, reason: str, record: int | None = None) -> None:
        super().__init__(f"{place}: {reason}")
        self.place = place
        self.reason = reason
        self.record = record


@dataclass(frozen=True)
class _Signed:
    """A signature, what it was made over and when, and the record that holds it if it is one of the journal's."""

    place: str
    data: bytes
    armoured: bytes
    at: str
    record: int | None = None

    def key(self) -> str:
        """Check it, and give the fingerprint of its key. Raises Flaw."""
        try:
            key = fingerprint(self.armoured, NAMESPACE)
            check(self.data, self.armoured, NAMESPACE)
        except SignatureRefused as error:
            raise Flaw(self.place, f"{error.what} ({error.observed})", self.record) from error
        return key


@dataclass(frozen=True)
class _Story:
    """What the manifest says of the journal."""

    records: list[dict[str, Any]]

    @classmethod
    def read(cls, raw: bytes) -> _Story:
        """Check the chain and read it. Raises Flaw naming the first record that does not hold."""
        lines = [line for line in raw.split(b"\n") if line]
        records = [record for line in lines if (record := parse_line(line))]
        run_id = str(records[0].get("run_id")) if records else ""
        audit = Journal(Path(), run_id).audit(lines)
        if audit.first_bad is not None:
            raise Flaw(f"{FILE_NAME}, record {audit.first_bad}", audit.reason, audit.first_bad)
        if not audit.records:
            raise Flaw(f"{FILE_NAME}, record 1", "there is no record that can be read", 1)
        return cls(records)

    @property
    def run_id(self) -> str:
        return str(self.records[0]["run_id"])

    @property
    def head(self) -> dict[str, Any]:
        """Give the end of the chain, which stands for all of it."""
        last = self.records[-1]
        return {"records": len(self.records), "hash": last["hash"], "time": last["time"]}

    def told(self, name: str, *events: str) -> Any:
        """Give what the last of these events said, None where none did."""
        said = [record["data"].get(name) for record in self.records if record["event"] in events]
        return next((value for value in reversed(said) if value), None)

    @property
    def heads(self) -> list[dict[str, Any]]:
        """Give the records that sign the chain on the way."""
        return [record for record in self.records if record["event"] == HEAD_EVENT]

    @property
    def key(self) -> str | None:
        key = self.told("evidence_key", "run_started", "run_resumed")
        return str(key) if key else None

    @property
    def why_unsigned(self) -> str:
        return str(self.told("why", UNSIGNED_EVENT) or ("it was not signed" if self.key else NO_KEY))


def seal(folder: Path | str, key: str | None = None) -> Sealed:
    """Make the bundle beside the report, or leave it where it is made already. Raises OSError, Flaw, StepFailed.

    The key is the one that the run was started with, unless another one is given. That the run's own cannot sign is
    journalled and said in the bundle, for a recovery that went well is no failure. That the one given cannot is one.
    """
    folder = Path(folder)
    contents = _contents(folder)
    story = _Story.read(contents[FILE_NAME])
    made = _made(folder, contents)
    if made and key is None:
        return made
    wanted = key or story.key
    try:
        signature = sign(_manifest(contents, signed=True), wanted, NAMESPACE) if wanted else None
    except StepFailed as error:
        if key:
            raise
        if not story.told("why", UNSIGNED_EVENT):
            return _seal_unsigned(folder, story, error)
        signature = None
    return _write(folder, contents, story, signature)


def conclude(folder: Path | str) -> list[str]:
    """Make the bundle at a run's end; gives what hindered that in words, for it is no failure of the recovery."""
    try:
        sealed = seal(folder)
    except (RecoveryError, JournalError, Flaw, OSError) as error:
        return [f"The evidence could not be made: {error}"]
    return [] if sealed.key or sealed.why == NO_KEY else [f"The evidence is NOT SIGNED: {sealed.why}"]


def _seal_unsigned(folder: Path, story: _Story, error: StepFailed) -> Sealed:
    """Say in the journal that a key could not sign, and in the report, and then make the bundle."""
    from .report import render

    Journal(folder, story.run_id).append(UNSIGNED_EVENT, why=f"{error.what}: {error.observed}", wanted=error.wanted)
    render(folder)
    contents = _contents(folder)
    return _write(folder, contents, _Story.read(contents[FILE_NAME]), None)


def _contents(folder: Path) -> dict[str, bytes]:
    """Read what goes into the bundle; a report that could not be written is missing there too."""
    contents = {FILE_NAME: (folder / FILE_NAME).read_bytes()}
    contents[PROVENANCE] = _provenance(_Story.read(contents[FILE_NAME]))
    for name in REPORTS:
        with contextlib.suppress(FileNotFoundError):
            contents[name] = (folder / name).read_bytes()
    return contents


def _made(folder: Path, contents: Mapping[str, bytes]) -> Sealed | None:
    """Give the bundle that is there, if it holds all that there is now."""
    path = folder / BUNDLE
    try:
        members = unpack(path.read_bytes())
        held = {name: members[name] for name in members if name not in (MANIFEST, SIGNATURE)}
        if held != contents:
            return None
        signature = members.get(SIGNATURE)
        signed_by = fingerprint(signature, NAMESPACE) if signature else None
    except (OSError, Flaw, SignatureRefused):
        return None
    return Sealed(path, signed_by, None if signed_by else _Story.read(contents[FILE_NAME]).why_unsigned)


def _write(folder: Path, contents: Mapping[str, bytes], story: _Story, signature: bytes | None) -> Sealed:
    members = {MANIFEST: _manifest(contents, signed=signature is not None), **contents}
    if signature is not None:
        members[SIGNATURE] = signature
    path = folder / BUNDLE
    draft = path.with_name(f".{BUNDLE}.{os.getpid()}")
    try:
        draft.write_bytes(pack(members))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    key = fingerprint(signature, NAMESPACE) if signature is not None else None
    return Sealed(path, key, None if key else story.why_unsigned)


def _manifest(contents: Mapping[str, bytes], *, signed: bool) -> bytes:
    """Write the manifest: what is signed. All of it follows from the files, so that it can be made again."""
    story = _Story.read(contents[FILE_NAME])
    files = [
        {"name": name, "size": len(contents[name]), "sha256": hashlib.sha256(contents[name]).hexdigest()}
        for name in ORDER
        if name in contents
    ]
    return _pretty(
        {
            "schema": SCHEMA,
            "run_id": story.run_id,
            "playbook": story.told("playbook", "run_started"),
            "outcome": story.told("outcome", "run_ended"),
            "head": story.head,
            "signed": signed,
            "not_signed_because": None if signed else story.why_unsigned,
            "files": files,
        }
    )


def _provenance(story: _Story) -> bytes:
    """Collect what the journal says of where the run came from, so that it need not be looked for."""
    found: dict[str, Any] = {"versions": story.told("versions", "run_started", "run_resumed")}
    for record in story.records:
        if record["event"] == PROVENANCE_EVENT:
            found.update(record["data"])
    return _pretty(found)


def verify(data: bytes, allowed: Path | None = None) -> Verdict:
    """Check a bundle. Raises BadInput where the allowed signers cannot be read, StepFailed without ssh-keygen."""
    verdict = Verdict()
    try:
        members = unpack(data)
        for name in NEEDED:
            if name not in members:
                raise Flaw(name, "it is missing")
        story = _Story.read(members[FILE_NAME])
        verdict = Verdict(run_id=story.run_id, records=len(story.records), last_hash=story.head["hash"])
        _compare(members, story)
        return _signature(replace(verdict, intact=True), members, story, allowed)
    except Flaw as flaw:
        return replace(verdict, intact=False, first_bad=flaw.record, place=flaw.place, flaw=flaw.reason)


def _compare(members: Mapping[str, bytes], story: _Story) -> None:
    """Make the manifest and what follows from the journal again. Raises Flaw."""
    contents = {name: members[name] for name in members if name not in (MANIFEST, SIGNATURE)}
    if members[PROVENANCE] != _provenance(story):
        raise Flaw(PROVENANCE, "it is not what the journal says")
    again = _manifest(contents, signed=SIGNATURE in members)
    manifest = members[MANIFEST]
    if manifest == again:
        return
    listed = _json(manifest)
    known = listed.get("files") if isinstance(listed, dict) else None
    stated = {entry.get("name"): entry for entry in known or [] if isinstance(entry, dict)}
    for entry in _json(again)["files"]:
        name = entry["name"]
        if name in stated and stated[name] != entry:
            raise Flaw(name, "its size or digest is not the one in the manifest")
    raise Flaw(f"{MANIFEST}, byte {_differs(manifest, again)}", "it does not say what follows from the files")


def _signature(verdict: Verdict, members: Mapping[str, bytes], story: _Story, allowed: Path | None) -> Verdict:
    """Check who signed, when all else holds: it is the only check that costs time. Raises Flaw."""
    made = _heads(story)
    verdict = replace(verdict, signed_until=max((head["data"]["record"] for head in story.heads), default=0))
    if SIGNATURE in members:
        made.append(_Signed(SIGNATURE, members[MANIFEST], members[SIGNATURE], story.head["time"]))
    keys = [one.key() for one in made]
    if SIGNATURE in members:
        verdict = replace(verdict, key=keys[-1], signature="unchecked")
    names = []
    for one in made:
        try:
            names += [signer(one.data, one.armoured, NAMESPACE, allowed, one.at)] if allowed else []
        except SignatureRefused as error:
            said = f"{error.what} ({error.observed})"
            return replace(verdict, signature="refused", place=one.place, flaw=said, signed_until=0)
    if SIGNATURE not in members:
        why = story.why_unsigned if MANIFEST in members else f"there is no {BUNDLE}, which a run gets at its end"
        return replace(verdict, flaw=f"not signed: {why}")
    return replace(verdict, signature="valid", signer=names[-1], signed=True) if names else verdict


def sign_head(journal: Journal, record: Mapping[str, Any]) -> list[str]:
    """Sign the chain up to this record where the run has a key, and journal it: from now on nobody can make it anew.

    Gives it in words. A key that cannot sign stops no recovery.
    """
    key = _Story(list(journal.records())).key
    if key is None:
        return []
    try:
        armoured = sign(_head(record), key, NAMESPACE).decode("ascii")
        # A short password may stand in a signature by chance, and would be taken out of it.
        why = None if journal.redacted(armoured) == armoured else "the signature holds what is a secret elsewhere"
    except StepFailed as error:
        why = f"{error.what}: {error.observed}"
    if why:
        lines = [f"The journal is NOT SIGNED at this approval: {why}"]
        journal.append("observation", what=HEAD_EVENT, lines=lines)
        return lines
    journal.append(HEAD_EVENT, record=record["seq"], signature=armoured)
    return [f"The journal is signed up to record {record['seq']}"]


def _head(record: Mapping[str, Any]) -> bytes:
    """Write what is signed of a chain on the way: its run, and its end."""
    return _pretty({"schema": SCHEMA, "run_id": record["run_id"], "records": record["seq"], "hash": record["hash"]})


def _heads(story: _Story) -> list[_Signed]:
    """Find what was signed on the way. Raises Flaw where that is not of this chain."""
    found = []
    for record in story.heads:
        number, place = record["data"].get("record"), f"{FILE_NAME}, record {record['seq']}"
        if not isinstance(number, int) or not 0 < number < record["seq"]:
            raise Flaw(place, "it signs no record before it", record["seq"])
        armoured = str(record["data"].get("signature")).encode("ascii", "replace")
        found.append(_Signed(place, _head(story.records[number - 1]), armoured, record["time"], record["seq"]))
    return found


def verify_folder(folder: Path, allowed: Path | None = None) -> Verdict:
    """Check a run's folder: its journal, and what its bundle says of it. Raises as `verify`, and JournalError."""
    next(Journal(folder, folder.name).records(), None)  # a journal of another version is not broken but not known
    raw = (folder / FILE_NAME).read_bytes()
    try:
        story = _Story.read(raw)
    except Flaw as flaw:
        return Verdict(folder.name, first_bad=flaw.record, place=flaw.place, flaw=flaw.reason)
    now = {"run_id": story.run_id, "records": len(story.records), "last_hash": story.head["hash"]}
    if story.run_id != folder.name:
        why = f"it is the journal of run {story.run_id}, in the folder of run {folder.name}"
        return Verdict(**now, first_bad=1, place=f"{FILE_NAME}, record 1", flaw=why)
    path = folder / BUNDLE
    if not path.exists():
        try:
            return _signature(Verdict(**now, intact=True), {}, story, allowed)
        except Flaw as flaw:
            return Verdict(**now, first_bad=flaw.record, place=flaw.place, flaw=flaw.reason)
    data = path.read_bytes()
    verdict = replace(verify(data, allowed), **now)
    if not verdict.intact:
        return replace(verdict, place=f"{BUNDLE}: {verdict.place}")
    members = unpack(data)
    try:
        uncovered = _uncovered(raw, members[FILE_NAME])
        if not uncovered:
            _beside(folder, members)
    except Flaw as flaw:
        return replace(verdict, intact=False, signed=False, first_bad=flaw.record, place=flaw.place, flaw=flaw.reason)
    if uncovered:
        said = f"{uncovered} records came after {BUNDLE} was made: recovery evidence {story.run_id} makes it anew"
        return replace(verdict, signed=False, uncovered=uncovered, flaw=said)
    return verdict


def _uncovered(raw: bytes, sealed: bytes) -> int:
    """Count the records that were appended since. Raises Flaw where what was sealed is not what is there now."""
    now, then = raw.splitlines(), sealed.splitlines()
    for number, line in enumerate(then, 1):
        if number > len(now) or now[number - 1] != line:
            raise Flaw(f"{FILE_NAME}, line {number}", f"it is not the one in {BUNDLE}", number)
    return len(now) - len(then)


def _beside(folder: Path, members: Mapping[str, bytes]) -> None:
    """Compare the reports that lie in the folder, for they are what people open."""
    for name in REPORTS:
        with contextlib.suppress(FileNotFoundError):
            if name in members and (folder / name).read_bytes() != members[name]:
                raise Flaw(name, f"it is not the one in {BUNDLE}")


def pack(members: Mapping[str, bytes]) -> bytes:
    """Write the archive, in the one way in which it is read."""
    parts: list[bytes] = []
    for name in ORDER:
        if name in members:
            content = members[name]
            parts += [_header(name, len(content)), content, bytes(-len(content) % BLOCK)]
    return b"".join([*parts, bytes(2 * BLOCK)])


def unpack(data: bytes) -> dict[str, bytes]:
    """Read an archive, and raise Flaw at the first byte that this module would not have written."""
    members: dict[str, bytes] = {}
    offset, names = 0, list(ORDER)
    while data[offset : offset + BLOCK] not in (bytes(BLOCK), b""):
        name, size = _entry(data, offset, names)
        names = names[names.index(name) + 1 :]
        begin = offset + BLOCK
        offset = begin + size + -size % BLOCK
        if offset > len(data):
            raise Flaw(name, f"it is cut short: the bundle ends with byte {len(data)}")
        members[name] = data[begin : begin + size]
        if any(padding := data[begin + size : offset]):
            raise Flaw(f"byte {begin + size + _differs(padding, bytes(len(padding)))}", f"no part of {name} behind it")
    if data[offset:] != bytes(2 * BLOCK):
        place = offset + _differs(data[offset:], bytes(2 * BLOCK))
        raise Flaw(f"byte {place}", "the bundle does not end as it should")
    return members


def _entry(data: bytes, offset: int, names: list[str]) -> tuple[str, int]:
    """Read the header of a file. Raises Flaw."""
    block = data[offset : offset + BLOCK]
    name = block[:100].rstrip(b"\0").decode("ascii", "replace")
    if name not in names:
        raise Flaw(f"byte {offset}", f"a file {name!r} where one of {', '.join(names) or 'none'} belongs")
    digits = block[SIZE_AT : SIZE_AT + SIZE_DIGITS]
    size = int(digits, 8) if digits and all(digit in b"01234567" for digit in digits) else 0
    if block != (wanted := _header(name, size)):
        raise Flaw(f"byte {offset + _differs(block, wanted)}", f"the header of {name} is not as it was written")
    return name, size


def _header(name: str, size: int) -> bytes:
    """Write the header of a file as POSIX ustar has it: nobody's, of no time, for all to read."""
    fields: Iterable[tuple[bytes, int]] = (
        (name.encode("ascii"), 100),
        (b"0000644", 8),
        (b"0000000", 8),
        (b"0000000", 8),
        (f"{size:0{SIZE_DIGITS}o}".encode(), 12),
        (b"0" * 11, 12),
        (b" " * 8, 8),
        (b"0", 1),
        (b"", 100),
        (b"ustar\00000", 8),
        (b"", 64),
        (b"0000000", 8),
        (b"0000000", 8),
        (b"", 167),
    )
    block = b"".join(value.ljust(width, b"\0") for value, width in fields)
    return block[:148] + f"{sum(block):06o}\0 ".encode() + block[156:]


def _differs(one: bytes, other: bytes) -> int:
    """Give the first place at which two byte strings differ."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _pretty(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
