# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back of an old primary, as a table of what its host shows and what follows."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import PreconditionFailed
from ansible_collections.platform.recovery.plugins.module_utils.postgresql import (
    conninfo,
    host,
    load,
    rejoin,
    rejoin_scripts,
    rejoin_work,
    unreplicated,
)
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.lineage import (
    Beyond,
    Fork,
    Line,
    Switch,
    beyond_from,
    fork_of,
    parse_control,
    parse_history,
    segment_names,
)
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import Credentials, Member
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.rejoin import HostFacts, Primary

CONTROL = """\
pg_control version number:            1800
Database system identifier:           7711886568646310083
Database cluster state:               in production
Latest checkpoint location:           0/2000080
Latest checkpoint's TimeLineID:       1
wal_level setting:                    replica
wal_log_hints setting:                off
max_prepared_xacts setting:           3
Bytes per WAL segment:                16777216
Data page checksum version:           1
"""
PARSED = parse_control(CONTROL)
assert PARSED
CLEAN = replace(PARSED, state="shut down")
PRIMARY = Primary("east", PARSED.system_identifier, Line(2, (Switch(1, 0x3000000),)), 180006, 0x4000000)
FORK = Fork(1, 0x3000000)
HOST = HostFacts("/usr/bin", "present", "18", control=PARSED, line=Line(1))
NOTHING = Beyond(0x3000000)
SOME = Beyond(0x3000540, 11, 2)


def test_a_control_file() -> None:
    assert PARSED is not None
    assert (PARSED.checkpoint, PARSED.timeline, PARSED.prepared_transactions) == (0x2000080, 1, 3)
    assert (PARSED.can_rewind, PARSED.shut_down, CLEAN.shut_down) == (True, False, True)
    bare = parse_control(CONTROL.replace("checksum version:           1", "checksum version:           0"))
    assert bare is not None
    assert not bare.can_rewind
    broken = "WARNING: Calculated CRC checksum does not match value stored in control file.\n" + CONTROL
    assert parse_control(broken) is None
    assert parse_control('pg_controldata: fatal: could not open file "global/pg_control"') is None


HISTORY = "1\t0/3000000\tno recovery target specified\n\n2\t0/0A000148\tno recovery target specified\n"


def test_a_history() -> None:
    assert parse_history(HISTORY) == (Switch(1, 0x3000000), Switch(2, 0xA000148))
    assert parse_history(None) == ()


@pytest.mark.parametrize(
    ("own", "other", "fork"),
    [
        (Line(1), Line(1), Fork(1, None)),
        (Line(1), Line(2, (Switch(1, 100),)), Fork(1, 100)),
        (Line(1), Line(3, parse_history(HISTORY)), Fork(1, 0x3000000)),
        (Line(2, (Switch(1, 100),)), Line(3, (Switch(1, 100), Switch(2, 300))), Fork(2, 300)),
        # Both were promoted at another place: they parted where the first of them did.
        (Line(2, (Switch(1, 90),)), Line(3, (Switch(1, 100),)), Fork(1, 90)),
        # Both went to a timeline of the same number by themselves.
        (Line(2, (Switch(1, 90),)), Line(2, (Switch(1, 100),)), Fork(1, 90)),
        (Line(3, (Switch(2, 90),)), Line(4, (Switch(1, 100),)), None),
    ],
)
def test_where_two_lines_part(own: Line, other: Line, fork: Fork | None) -> None:
    assert fork_of(own, other) == fork


END = "error: error in WAL record at 0/3000508: invalid record length at 0/3000540: expected at least 24, got 0"
NONE_AFTER = "error: could not find a valid record after 0/3000000"
GONE = 'error: could not open file "x/000000010000000000000003": No such file or directory'


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        ({"last_lsn": "0/03000508", "last_length": "50", "records": "11", "transactions": "2", "trouble": END}, SOME),
        ({"last_lsn": "", "records": "0", "trouble": NONE_AFTER}, NOTHING),
        ({"records": "0", "trouble": GONE}, replace(NOTHING, trouble=GONE)),
    ],
)
def test_what_a_log_holds_beyond(facts: dict[str, Any], wanted: Beyond) -> None:
    assert beyond_from(facts, 0x3000000) == wanted


def test_names_of_segments() -> None:
    names = segment_names(2, 0xFF_FF000000, 0x100_00000001, 16 * 1024 * 1024)
    assert names == ["00000002000000FF000000FF", "000000020000010000000000"]


REWRITTEN = replace(HOST, marker="rewound", marker_timeline=2)


@pytest.mark.parametrize(
    ("facts", "fork", "beyond", "way", "saves", "unsaved"),
    [
        (HOST, FORK, NOTHING, "follow", False, False),
        (HOST, FORK, SOME, "rewind", True, False),
        (HOST, FORK, replace(SOME, transactions=0), "rewind", False, False),
        (HOST, Fork(1, None), Beyond(0x2000080), "follow", False, False),
        (replace(HOST, control=replace(CLEAN, can_rewind=False)), FORK, SOME, "rebuild", True, False),
        (HOST, FORK, replace(NOTHING, trouble=GONE), "rebuild", False, True),
        (HOST, None, None, "rebuild", False, True),
        # The log says less than the last checkpoint: it is broken somewhere.
        (replace(HOST, control=replace(PARSED, checkpoint=0x5000000)), FORK, SOME, "rebuild", False, True),
        (replace(HOST, data="missing", control=None), None, None, "rebuild", False, False),
        (replace(HOST, data="empty", control=None), None, None, "rebuild", False, False),
        (replace(HOST, data="damaged", control=None), None, None, "rebuild", False, True),
        (replace(HOST, version="15"), FORK, SOME, "rebuild", False, True),
        (replace(HOST, control=None), None, None, "rebuild", False, True),
        (replace(HOST, control=replace(PARSED, system_identifier="8")), FORK, SOME, "rebuild", False, True),
        (replace(HOST, marker="rewinding", marker_timeline=2), FORK, SOME, "rebuild", False, False),
        (replace(HOST, marker="rebuilding", data="damaged", control=None), None, None, "rebuild", False, False),
        (REWRITTEN, FORK, SOME, "follow", False, False),
        # What an earlier failover left says nothing about this one.
        (replace(REWRITTEN, marker_timeline=1), FORK, SOME, "rewind", True, False),
    ],
)
def test_the_way_back(
    facts: HostFacts, fork: Fork | None, beyond: Beyond | None, way: str, saves: bool, unsaved: bool
) -> None:
    chosen = rejoin.plan(streams=False, primary=PRIMARY, host=facts, fork=fork, beyond=beyond)
    assert (chosen.way, chosen.save, chosen.unsaved is not None) == (way, saves, unsaved), chosen
    gate = rejoin.unsaved_gate(chosen, accepted=False, reason=None)
    assert gate.refuses is unsaved
    assert not rejoin.unsaved_gate(chosen, accepted=True, reason="nothing of worth").refuses


def test_one_that_streams_is_left_alone() -> None:
    assert rejoin.plan(streams=True, primary=PRIMARY, host=None).way == "already"


def test_room_for_a_copy() -> None:
    assert not rejoin.room_gate(replace(HOST, free_kib=100, used_kib=1000), 1000).refuses
    assert rejoin.room_gate(replace(HOST, free_kib=50, used_kib=1000), 1000).refuses


def test_what_a_host_says() -> None:
    output = (
        "== facts\nbin=/usr/bin\ndata=present\nversion=18\nmarker=rewound 2\nconninfo=host=east user=r\nslot=west\n"
        f"newest=00000002\n== control\n{CONTROL}== history\n1\t0/3000000\tx\n"
    )
    facts = rejoin.facts_of(host.Done(0, output).sections())
    assert facts.line == Line(2, (Switch(1, 0x3000000),))
    assert (facts.marker, facts.marker_timeline, facts.conninfo, facts.slot) == (
        "rewound",
        2,
        "host=east user=r",
        "west",
    )
    assert facts.control == PARSED
    assert rejoin.facts_of({}).data == "missing"


def test_names() -> None:
    assert rejoin.slot_name("", "us-west-2") == "us_west_2"
    assert rejoin.slot_name("own", "us-west-2") == "own"
    assert rejoin.history_name(26) == "pg_wal/0000001A.history"
    assert rejoin.fork_name(FORK, SOME, "7") == "7-timeline-1-from-0-3000000-transactions-2"
    assert rejoin_work.followers(["west", "east", "north"], "east", None) == ["west", "north"]
    assert rejoin_work.followers(["west", "east", "north"], "east", "west") == ["west"]
    assert rejoin_work.followers(["west", "east", "north"], "east", "east") == ["west", "north"]


EAST = Member("east", "db.east.example", "10.0.0.2", sslmode="verify-full")
WEST = Member("west", "db.west.example")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("host=a port=5433 user='it''s'", {"host": "a", "port": "5433"}),
        (r"host = a password='x \' y\\' sslmode=require", {"host": "a", "password": "x ' y\\", "sslmode": "require"}),
        ("postgresql://u:p%40@h:5433/db?sslmode=require", {"host": "h", "password": "p@", "sslmode": "require"}),
        ("", {}),
    ],
)
def test_a_connection_string_is_read(text: str, wanted: dict[str, str]) -> None:
    found = conninfo.parse(text)
    assert {key: found.get(key) for key in wanted} == wanted
    if text.startswith("host") and "''" not in text:
        assert conninfo.parse(conninfo.write(found)) == found


@pytest.mark.parametrize(
    ("own", "pattern", "wanted"),
    [
        # Its own counts where it leads to the primary, be it by name or by address.
        ("host=db.east.example hostaddr=9.9.9.9 user=r", "", "host=db.east.example hostaddr=9.9.9.9 user=r"),
        ("host=10.0.0.2 user=r", "host=x user=s", "host=10.0.0.2 user=r"),
        # One that leads elsewhere is turned round.
        (
            "host=old hostaddr=1.1.1.1 user=r application_name=w",
            "",
            "host=db.east.example hostaddr=10.0.0.2 port=5432 user=r application_name=w",
        ),
        # The other member's is its pattern, but for the name.
        ("", "host=w user=r application_name=east", "host=db.east.example port=5432 user=r application_name=west"),
        ("", "host=w user=r", "host=db.east.example port=5432 user=r"),
    ],
)
def test_whom_a_standby_follows(own: str, pattern: str, wanted: str) -> None:
    assert conninfo.replication(own, pattern, EAST, WEST) == conninfo.parse(wanted)


def test_without_any_pattern_nobody_can_follow() -> None:
    with pytest.raises(PreconditionFailed, match="primary_conninfo"):
        conninfo.replication("", "", EAST, WEST)


def test_no_password_is_ever_in_the_words() -> None:
    following = conninfo.parse("host=e user=r password='top: secret' sslmode=prefer application_name=w passfile=/p")
    tools = conninfo.for_tools(following, Credentials("admin", "a\\b:c"), EAST)
    copy = conninfo.for_copy(following)
    assert tools.conninfo == "host=e sslmode=require user=admin dbname=postgres"
    assert "secret" not in tools.conninfo + copy.conninfo + repr(tools) + repr(copy)
    assert "passfile" not in copy.conninfo
    assert conninfo.passfile(tools, copy) == "*:*:*:admin:a\\\\b\\:c\n*:*:*:r:top\\: secret\n"
    assert conninfo.for_copy(conninfo.parse("host=e passfile=/p")).conninfo == "host=e passfile=/p"


@pytest.mark.parametrize("verb", sorted(rejoin_scripts.VERBS))
def test_the_scripts_are_shell(verb: str) -> None:
    text = rejoin_scripts.script(verb, {"data": "/a 'folder'"})
    done = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert text.startswith("data='/a '\"'\"'folder'\"'\"''\n")


BEFORE_16 = """\
rmgr: Heap        len (rec/tot):     59/   143, tx:        745, lsn: 0/03000090, prev 0/03000028, \
desc: INSERT+INIT off 1 flags 0x00, blkref #0: rel 1663/5/16385 blk 0
rmgr: Heap        len (rec/tot):     54/    54, tx:        746, lsn: 0/03000120, prev 0/03000090, \
desc: DELETE off 3 flags 0x00 KEYS_UPDATED , blkref #0: rel 1663/5/16386 blk 2 FPW
rmgr: Heap        len (rec/tot):     54/    54, tx:        747, lsn: 0/03000160, prev 0/03000120, \
desc: INSERT off 2 flags 0x00, blkref #0: rel 1663/5/16399 blk 0
rmgr: Transaction len (rec/tot):     34/    34, tx:        747, lsn: 0/03000198, prev 0/03000160, \
desc: ABORT 2026-11-24 23:38:41.011423 UTC
rmgr: Transaction len (rec/tot):     50/    50, tx:        745, lsn: 0/030001C0, prev 0/03000198, \
desc: COMMIT 2026-11-24 23:38:41.019971 UTC; subxacts: 746
"""
SINCE_16 = """\
rmgr: Heap        len (rec/tot):     54/   342, tx:        745, lsn: 0/03000090, prev 0/03000028, \
desc: INSERT off: 6, flags: 0x00, blkref #0: rel 1663/5/16385 blk 0 FPW
rmgr: Heap        len (rec/tot):     54/    54, tx:        746, lsn: 0/03000120, prev 0/03000090, \
desc: DELETE xmax: 746, off: 3, infobits: [KEYS_UPDATED], flags: 0x00, blkref #0: rel 1663/5/16386 blk 2
rmgr: Transaction len (rec/tot):     50/    50, tx:          0, lsn: 0/030001C0, prev 0/03000120, \
desc: COMMIT_PREPARED 745: 2026-11-24 23:38:41.019971 UTC; subxacts: 746; origin: node 1
pg_waldump: first record is after 0/3000000, at 0/3000028, skipping over 40 bytes
"""


@pytest.mark.parametrize(("text", "records"), [(BEFORE_16, 5), (SINCE_16, 3)])
def test_a_dump_of_the_log_is_summed_up(text: str, records: int) -> None:
    done = subprocess.run(
        ["awk", "-v", "most=10", rejoin_scripts.SUMMARY], input=text, capture_output=True, text=True, check=True
    )
    lines = sorted(done.stdout.splitlines())
    assert lines == [
        "commit 745 2026-11-24 23:38:41.019971 746",
        "deleted 746 1663/5/16386 2 3",
        f"total {records} 1 0/030001C0 50",
        "wrote 1663/5/16385 1",
        "wrote 1663/5/16386 1",
    ]
    found = unreplicated.read({"changes": done.stdout})
    assert found.transactions == (
        unreplicated.Transaction("745", "2026-11-24T23:38:41.019971Z", frozenset({"745", "746"})),
    )
    assert found.deleted == (("746", "1663/5/16386", "(2,3)"),)


def test_the_list_of_saved_rows(tmp_path: Path) -> None:
    rows = tuple(
        unreplicated.Row("db", "public.users", {"id": number}, {"id": number, "name": "somebody"}, "missing", "then")
        for number in range(25)
    )
    there = replace(rows[0], fate="there")
    saved = unreplicated.Saved("/saved", (unreplicated.Transaction("745", "then"),), (*rows, there))
    file = Path(unreplicated.write_list(tmp_path / "lists", "db", "west", saved))
    assert file.stat().st_mode & 0o077 == 0
    assert file.read_text().count("somebody") == 25
    lines = unreplicated.lines("west", replace(saved, file=str(file)))
    assert lines[0].startswith("west committed 1 transactions that were never replicated; 25 rows")
    assert "and 5 more" in lines
    # Values may be nobody's business: the report has keys, the file has the rows.
    assert "somebody" not in "".join(lines) + str(saved.as_dict())


@pytest.mark.parametrize(
    ("seen", "refused"),
    [(load.Load(1.0, 1000.0), False), (load.Load(61.0, 1000.0), True), (load.Load(1.0, 5000.0), True)],
)
def test_load_forbids_a_switchover(seen: load.Load, refused: bool) -> None:
    assert load.gate(seen, load.Limits(60.0, 2000)).refuses is refused
    assert not load.gate(load.Load(99.0, 99.0), load.Limits()).refuses
