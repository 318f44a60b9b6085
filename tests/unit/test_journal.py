# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal: an unbroken chain whoever writes, nothing secret in it, and every break named."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import journal as module
from ansible_collections.platform.recovery.plugins.module_utils.journal import (
    GENESIS,
    REDACTED,
    Journal,
    JournalError,
    canonical,
)

SOURCE = Path(module.__file__)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.open(tmp_path / "run-1", "run-1")


def lines(journal: Journal) -> list[bytes]:
    return journal.path.read_bytes().splitlines(keepends=True)


def test_each_record_carries_the_fixed_fields_and_the_hash_of_the_one_before(journal: Journal) -> None:
    first = journal.append("run_started", playbook="database-failover")
    second = journal.append("observation", what="größer ✓", facts={"b": 1, "a": [1.5, None, True]})
    assert {"schema", "seq", "time", "run_id", "event", "previous", "hash"} <= set(first)
    assert (first["seq"], first["previous"]) == (1, GENESIS)
    assert (second["seq"], second["previous"]) == (2, first["hash"])
    assert list(journal.records()) == [first, second]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["time"])


def test_the_hash_is_what_an_auditor_computes_with_other_code(journal: Journal) -> None:
    journal.append("decision", gate="Größe", observed={"z": 1, "a": 2.5})
    record = json.loads(journal.path.read_text(encoding="utf-8"))
    stated = record.pop("hash")
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == stated


def test_an_append_is_one_line(journal: Journal) -> None:
    for _ in range(150):
        journal.append("observation", facts={"filling": "x" * 400})
    assert len(lines(journal)) == 150


def test_the_newest_of_some_events_is_the_last_whole_record_of_one_of_them(journal: Journal) -> None:
    journal.append("run_started")
    assert journal.newest(["phase_started"]) is None
    first = journal.append("phase_started", phase="confirm")
    # Words of others may look like a record's, and are none.
    journal.append("observation", lines=['"event":"phase_ended"'], nested={"event": "phase_ended"})
    assert journal.newest({"phase_started", "phase_ended"}) == first
    second = journal.append("phase_ended", phase="confirm")
    with journal.path.open("ab") as stream:
        stream.write(b'{"schema":1,"event":"phase_started","seq":9')
    assert journal.newest({"phase_started", "phase_ended"}) == second


def test_records_longer_than_the_window_that_is_read_from_the_end(journal: Journal) -> None:
    journal.append("canary_measured", lost=["k" * 50] * 10_000)
    assert journal.path.stat().st_size > module.TAIL_BYTES * 4
    assert journal.append("next_action", text="x")["seq"] == 2
    assert journal.verify() is None


def test_many_processes_never_break_the_chain(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from journal import Journal\n"
        "journal = Journal.open(sys.argv[2], 'run-1')\n"
        "for number in range(200): journal.append('observation', who=sys.argv[3], number=number)"
    )
    writers = [
        subprocess.Popen([sys.executable, "-I", "-c", program, str(SOURCE.parent), str(tmp_path), str(who)])
        for who in range(8)
    ]
    assert [writer.wait() for writer in writers] == [0] * 8
    journal = Journal.open(tmp_path, "run-1")
    records = list(journal.records())
    assert journal.verify() is None
    assert [record["seq"] for record in records] == list(range(1, 1601))
    assert [record["time"] for record in records] == sorted(record["time"] for record in records)
    for who in range(8):
        assert [r["data"]["number"] for r in records if r["data"]["who"] == str(who)] == list(range(200))


@pytest.mark.parametrize("torn", [b'{"schema":1,"seq":3,"ev', b"\x00\x00\x00\xff", b"{", b'"text"'])
def test_a_torn_line_is_kept_named_and_written_past(journal: Journal, torn: bytes) -> None:
    journal.append("run_started")
    journal.append("observation")
    with journal.path.open("ab") as stream:
        stream.write(torn)
    assert journal.verify() is None
    assert journal.audit().torn_bytes == len(torn)
    record = journal.append("run_resumed")
    assert record["seq"] == 4
    assert [r["event"] for r in journal.records()] == ["run_started", "observation", "journal_repaired", "run_resumed"]
    assert torn in journal.path.read_bytes()
    assert journal.verify() is None
    # What was torn is part of the evidence from now on.
    journal.path.write_bytes(journal.path.read_bytes().replace(b"\n" + torn + b"\n", b"\nx" + torn + b"\n"))
    assert journal.verify() == 3


def test_a_record_that_only_lost_its_line_end_counts(journal: Journal) -> None:
    journal.append("run_started")
    journal.append("observation")
    journal.path.write_bytes(journal.path.read_bytes()[:-1])
    assert journal.append("run_ended")["seq"] == 3
    assert journal.verify() is None
    assert len(lines(journal)) == 3


def test_a_journal_that_is_nothing_but_torn(journal: Journal) -> None:
    journal.path.write_bytes(b'{"sch')
    assert journal.append("run_started")["seq"] == 2
    assert journal.verify() is None


def edit(change: dict[str, Any]) -> Any:
    def apply(all_lines: list[bytes]) -> list[bytes]:
        record = json.loads(all_lines[2])
        record.update(change)
        return [*all_lines[:2], json.dumps(record).encode() + b"\n", *all_lines[3:]]

    return apply


@pytest.mark.parametrize(
    ("tamper", "first_bad"),
    [
        (edit({"event": "other"}), 3),
        (edit({"time": "2020-01-01T00:00:00.000Z"}), 3),
        (edit({"run_id": "run-2"}), 3),
        (edit({"seq": 9}), 3),
        (edit({"previous": GENESIS}), 3),
        (edit({"hash": GENESIS}), 3),
        (lambda all_lines: all_lines[:1] + all_lines[2:], 2),
        (lambda all_lines: [all_lines[1], all_lines[0], *all_lines[2:]], 1),
        (lambda all_lines: [*all_lines[:2], all_lines[1], *all_lines[2:]], 3),
        (lambda all_lines: [*all_lines[:3], b"garbage\n", *all_lines[3:]], 4),
    ],
)
def test_tampering_is_found_and_its_place_named(journal: Journal, tamper: Any, first_bad: int) -> None:
    for number in range(5):
        journal.append("observation", number=number)
    assert journal.verify() is None
    journal.path.write_bytes(b"".join(tamper(lines(journal))))
    assert journal.verify() == first_bad
    assert journal.audit().reason


def test_a_changed_record_with_a_new_hash_breaks_the_next_one(journal: Journal) -> None:
    for number in range(3):
        journal.append("observation", number=number)
    record = json.loads(lines(journal)[1])
    record["data"]["number"] = 99
    record["hash"] = module.digest(record)
    changed = [lines(journal)[0], module.canonical(record) + b"\n", lines(journal)[2]]
    journal.path.write_bytes(b"".join(changed))
    assert journal.verify() == 3


@pytest.mark.parametrize(
    ("spelt", "becomes"),
    [
        (rb"\\udce9", rb" \udce9"),  # half of a surrogate pair, which no file can hold
        (b'"data":{', b'"atad":{'),
        (b'"event":"observation"', b'"event":["observation"]'),
        (b'"time":"', b'"emit":"'),
    ],
)
def test_what_is_no_record_any_more_is_found_and_breaks_no_reader(
    journal: Journal, spelt: bytes, becomes: bytes
) -> None:
    journal.append("run_started")
    journal.append("observation", what=r"\udce9")
    before = journal.path.read_bytes()
    first, second, _ = before.split(b"\n")
    assert spelt in second
    journal.path.write_bytes(first + b"\n" + second.replace(spelt, becomes) + b"\n")
    assert journal.verify() == 2


def test_a_line_of_bottomless_nesting_is_a_torn_one(journal: Journal) -> None:
    journal.append("run_started")
    with journal.path.open("ab") as stream:
        stream.write(b"[" * 200_000)
    assert journal.audit().torn_bytes == 200_000
    assert journal.append("run_ended")["seq"] == 3


def test_an_unknown_schema_is_refused_by_name(journal: Journal) -> None:
    journal.append("run_started")
    record = {**json.loads(lines(journal)[0]), "schema": 7}
    journal.path.write_text(json.dumps(record) + "\n")
    for attempt in (lambda: list(journal.records()), lambda: journal.append("x")):
        with pytest.raises(JournalError, match="schema 7") as caught:
            attempt()
        assert caught.value.next_action
    assert journal.verify() == 1


@pytest.mark.parametrize("partial", [True, False])
def test_a_full_disk_is_an_error_and_loses_nothing(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, partial: bool
) -> None:
    journal.append("run_started")
    real = os.write

    def full(descriptor: int, content: bytes) -> int:
        if partial:
            return real(descriptor, content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(JournalError, match="No space left") as caught:
            journal.append("observation")
    assert "recovery_run_id" in str(caught.value.next_action)
    assert [record["event"] for record in journal.records()] == ["run_started"]
    assert journal.append("observation")["seq"] == 2
    assert journal.verify() is None


def test_a_disk_that_fills_up_at_any_byte_of_a_record_loses_nothing(journal: Journal) -> None:
    journal.append("run_started")
    before = journal.path.read_bytes()
    whole = len(canonical(journal.append("observation", what="as long as the next")))
    journal.path.write_bytes(before)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in range(0, whole, 7):
        # What the kernel then does is what it does on a full disk: it writes as much as there is room for.
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, limits[1]))
        try:
            with pytest.raises(JournalError):
                journal.append("observation", what="as long as the next")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert journal.path.read_bytes() == before
    assert journal.append("observation")["seq"] == 2
    assert journal.verify() is None


def test_writers_that_are_killed_leave_every_earlier_record_readable(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from journal import Journal\n"
        "journal = Journal.open(sys.argv[2], 'run-1')\n"
        "while True: print(journal.append('observation', filling='x' * 3000)['hash'], flush=True)"
    )
    command = [sys.executable, "-I", "-c", program, str(SOURCE.parent), str(tmp_path)]
    acknowledged: set[str] = set()
    for _ in range(5):
        writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        for writer in writers:
            assert writer.stdout
            acknowledged |= {writer.stdout.readline().strip() for _ in range(5)}
            writer.kill()
        for writer in writers:
            # The last line may be cut by the kill.
            acknowledged |= {line for line in writer.communicate()[0].splitlines() if len(line) == 64}
        journal = Journal(tmp_path, "run-1")
        assert journal.verify() is None
        assert acknowledged <= {record["hash"] for record in journal.records()}


def test_a_process_that_is_forked_while_the_lock_is_held_does_not_keep_it(journal: Journal) -> None:
    children = []

    def fork() -> list[tuple[str, dict[str, Any]]]:
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        children.append(child)
        return [("observation", {})]

    try:
        journal.append_all(fork)
        assert journal.append("observation")["seq"] == 2
    finally:
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)


@pytest.mark.parametrize("spelt", [b" %s", b"%s ", b"%s\r"])
def test_a_record_that_only_looks_different_is_found(journal: Journal, spelt: bytes) -> None:
    journal.append("run_started")
    journal.path.write_bytes(spelt % journal.path.read_bytes().rstrip() + b"\n")
    assert journal.verify() == 1


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="cannot make the run folder"):
        Journal.open(tmp_path / "file" / "run", "run")


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "db_password",
        "PGPASSWORD",
        "passphrase",
        "secret",
        "client_secret",
        "secretString",
        "token",
        "api_key",
        "private_key",
        "aws_secret_access_key",
        "client-key-data",
        "authorization",
        "auth.token",
    ],
)
@pytest.mark.parametrize("value", ["hunter22", ["a", "b"], {"x": "y"}, 123456])
def test_values_under_secret_names_never_arrive(journal: Journal, key: str, value: Any) -> None:
    journal.append("action", deep=[{"er": {key: value}}])
    assert next(journal.records())["data"] == {"deep": [{"er": {key: REDACTED}}]}


@pytest.mark.parametrize(
    "key", ["key", "key_column", "keys", "lost", "passed", "tokens_seen_at", "secretary", "bypass"]
)
def test_harmless_names_are_left_alone(journal: Journal, key: str) -> None:
    assert journal.append("action", **{key: "value"})["data"] == {key: "value"}


@pytest.mark.parametrize("value", [None, True, False, ""])
def test_that_a_secret_is_missing_may_be_known(journal: Journal, value: Any) -> None:
    assert journal.append("action", password=value)["data"] == {"password": value}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("login as s3cr3t-Value failed", f"login as {REDACTED} failed"),
        (base64.b64encode(b"s3cr3t-Value").decode(), REDACTED),
        ("x%26y=s3cr3t-Value&z", f"x%26y={REDACTED}&z"),
        ("postgresql://postgres:other@db:5432/x", f"postgresql://postgres:{REDACTED}@db:5432/x"),
        ("host=db password='it''s' user=me", f"host=db password={REDACTED} user=me"),
        (r"host=db password='it\'s' user=me", f"host=db password={REDACTED} user=me"),
        ("host=db password=other user=me", f"host=db password={REDACTED} user=me"),
        ("Authorization: Bearer abcdef.ghi", f"Authorization: Bearer {REDACTED}"),
        ("abc is too short to hide", "abc is too short to hide"),
    ],
)
def test_registered_values_and_tell_tale_texts_are_redacted_inside_strings(
    journal: Journal, text: str, clean: str
) -> None:
    journal.redact(["s3cr3t-Value", "abc", "s3cr3t", None])
    assert journal.append("x", text=text, nested=[{"x": (text,)}])["data"] == {
        "text": clean,
        "nested": [{"x": [clean]}],
    }


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("PGPASSWORD=hunter22 psql", f"PGPASSWORD={REDACTED} psql"),
        ("DB_PASSWORD=hunter22", f"DB_PASSWORD={REDACTED}"),
        ("db_password=hunter22,user=x", f"db_password={REDACTED},user=x"),
        ('db_password="correct horse" x', f"db_password={REDACTED} x"),
        ("AWS_SECRET_ACCESS_KEY=a/b+c AWS_REGION=x", f"AWS_SECRET_ACCESS_KEY={REDACTED} AWS_REGION=x"),
        ("PGPASSWORD=\nHOME=/root", "PGPASSWORD=\nHOME=/root"),
        ('{"password": "correct \\" horse", "user": "x"}', f'{{"password": {REDACTED}, "user": "x"}}'),
        ('{"a":{"password":"hunter22"}}', f'{{"a":{{"password":{REDACTED}}}}}'),
        (r"{\"password\": \"correct horse\", \"user\": 1}", rf"{{\"password\": {REDACTED}, \"user\": 1}}"),
        ("{'api_token': 'hunter22', 'x': 1}", f"{{'api_token': {REDACTED}, 'x': 1}}"),
        ('"SecretString": "hunter22"', f'"SecretString": {REDACTED}'),
        ("password: hunter22", f"password: {REDACTED}"),
        ("  db_password: 'it is'\n  user: x", f"  db_password: {REDACTED}\n  user: x"),
        ("client_secret: hunter22", f"client_secret: {REDACTED}"),
        ("client-key-data: LS0tLS1C", f"client-key-data: {REDACTED}"),
        ("postgresql://me:p@ss:w@db:5432/x?y=a@b", f"postgresql://me:{REDACTED}@db:5432/x?y=a@b"),
        ('["redis://:one@a","redis://:two@b"]', f'["redis://:{REDACTED}@a","redis://:{REDACTED}@b"]'),
        ("https://host:8443/path, mail ops@example.com", "https://host:8443/path, mail ops@example.com"),
        ("FATAL:  password authentication failed for user", "FATAL:  password authentication failed for user"),
        ("token: pass; observed 3", "token: pass; observed 3"),
        ("secret: not found", "secret: not found"),
        ("Secret production/db-password: not found", "Secret production/db-password: not found"),
        ("pg.password: got nothing, expected a text", "pg.password: got nothing, expected a text"),
        ("password_encryption=scram-sha-256, tokens=3", "password_encryption=scram-sha-256, tokens=3"),
        ("aws_access_key_id=AKIA", "aws_access_key_id=AKIA"),
    ],
)
def test_what_looks_like_a_secret_is_hidden_and_nothing_else(text: str, clean: str) -> None:
    assert module.hide_secrets(text) == clean
    assert module.hide_secrets(clean) == clean


def test_hiding_takes_no_time_in_a_long_word() -> None:
    begin = time.process_time()
    module.hide_secrets("a" * 200_000 + "-" * 200_000)
    # Of the processor: a search that goes back again and again would need minutes.
    assert time.process_time() - begin < 5


def test_what_is_appended_is_chosen_once_nobody_else_can_write(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from journal import Journal\n"
        "journal = Journal.open(sys.argv[2], 'run-1')\n"
        "def once(name):\n"
        "    seen = [r['data']['name'] for r in journal.records()] if journal.path.exists() else []\n"
        "    return [] if name in seen else [('phase_started', {'name': name})]\n"
        "for number in range(50): journal.append_all(lambda: once(number))"
    )
    writers = [subprocess.Popen([sys.executable, "-I", "-c", program, SOURCE.parent, tmp_path]) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    journal = Journal.open(tmp_path, "run-1")
    assert [record["data"]["name"] for record in journal.records()] == list(range(50))
    assert journal.verify() is None


def test_nothing_chosen_writes_nothing(journal: Journal) -> None:
    journal.append("run_started")
    with journal.path.open("ab") as stream:
        stream.write(b"{torn")
    before = journal.path.read_bytes()
    assert journal.append_all(list) == []
    assert journal.path.read_bytes() == before
    assert [record["seq"] for record in journal.append_all(lambda: [("a", {}), ("b", {"password": "x"})])] == [3, 4]
    assert journal.verify() is None


def test_a_secret_that_became_a_key_is_redacted(journal: Journal) -> None:
    journal.redact(["s3cr3t-Value"])
    assert journal.append("x", hosts={"s3cr3t-Value": 1})["data"] == {"hosts": {REDACTED: 1}}


def test_anything_becomes_plain_json(journal: Journal, tmp_path: Path) -> None:
    data = journal.append("x", path=tmp_path, nan=float("nan"), many={2, 1}, pair=(1, 2), raw=b"\xff", odd="\ud800")
    assert data["data"] == {
        "path": str(tmp_path),
        "nan": None,
        "many": [1, 2],
        "pair": [1, 2],
        "raw": "\\xff",
        "odd": "\\ud800",
    }
    assert journal.verify() is None


def test_it_imports_alone_with_nothing_but_the_standard_library() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(SOURCE.parent)!r}); import journal\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('ansible', 'yaml', 'ansible_collections')]"
    )
    subprocess.run([sys.executable, "-I", "-c", program], check=True)
