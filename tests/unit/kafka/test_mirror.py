# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mirror's topics mean: how far it came, where groups go on, and how much they read twice."""

from __future__ import annotations

import random
import struct

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.kafka import mirror
from ansible_collections.platform.recovery.plugins.module_utils.kafka.mirror import Checkpoint, Known, Row, Sync, resume
from ansible_collections.platform.recovery.plugins.module_utils.kafka.model import Place

ORDERS = Place("orders", 0)
SYNCS = [Sync(0, 0), Sync(100, 100), Sync(137, 130)]


def string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def sync_row(upstream: int, downstream: int) -> Row:
    return Row(string("orders") + struct.pack(">i", 0), struct.pack(">qq", upstream, downstream), 0.0)


@pytest.mark.parametrize(
    ("upstream", "offset"),
    [
        (0, 0),
        (100, 100),  # the very record of a pair
        (101, 101),
        (136, 101),  # somewhere between two pairs: only what follows the lower one is certain
        (137, 130),
        (138, 131),
        (900, 131),  # it has read what never arrived
    ],
)
def test_translation_is_never_later_than_what_was_read(upstream: int, offset: int) -> None:
    assert mirror.translate(upstream, SYNCS) == offset


def test_nothing_below_tells_nothing() -> None:
    assert mirror.translate(4, [Sync(5, 0)]) is None
    assert mirror.translate(4, []) is None


@pytest.mark.parametrize("seed", range(50))
def test_no_record_is_skipped_whatever_was_mirrored(seed: int) -> None:
    """Some offsets hold no record, some records came twice, some pairs were never told: a group still skips nothing."""
    dice = random.Random(seed)
    upstream = [offset for offset in range(200) if dice.random() > 0.1]
    target: list[int] = []
    syncs = []
    for offset in upstream:
        if dice.random() < 0.05 and target:  # the mirror began again some records before
            back = dice.randrange(1, 6)
            target += target[-back:]
        if dice.random() < 0.2:
            syncs.append(Sync(offset, len(target)))
        target.append(offset)
    for group in range(0, 201, 7):
        high = len(target)
        decided = resume(Known(ORDERS, 0, high, syncs, source=group))
        unread = {offset for offset in upstream if offset >= group}
        assert unread <= {*target[decided.offset :]}
        blind = resume(Known(ORDERS, 0, high, syncs, checkpoint=Checkpoint(group, 0)))
        assert unread <= {*target[blind.offset :]}
        assert blind.duplicates >= sum(offset < group for offset in target[blind.offset :])


@pytest.mark.parametrize(
    ("known", "offset", "duplicates"),
    [
        (Known(ORDERS, 0, 200, SYNCS, source=137), 130, 0),
        (Known(ORDERS, 0, 200, SYNCS, source=136), 101, 35),
        (Known(ORDERS, 0, 110, SYNCS, source=136), 101, 9),  # no more than there are
        (Known(ORDERS, 0, 200, SYNCS, source=136, former=120), 120, 16),  # MirrorMaker knew better
        (Known(ORDERS, 0, 200, SYNCS, source=136, former=250), 101, 35),  # of a topic that was made anew
        (Known(ORDERS, 0, 200, SYNCS, checkpoint=Checkpoint(136, 101)), 101, 99),  # since then it may have read all
        (Known(ORDERS, 0, 200, SYNCS, checkpoint=Checkpoint(136, 110)), 110, 90),
        (Known(ORDERS, 0, 200, SYNCS, source=100, checkpoint=Checkpoint(136, 110)), 100, 0),  # it was set back
        (Known(ORDERS, 20, 200), 20, 180),  # nothing tells: from the first record
        (Known(ORDERS, 120, 200, SYNCS, source=100), 120, 0),  # what it had to read is gone in the target
        (Known(ORDERS, 0, 0), 0, 0),
    ],
)
def test_where_a_group_goes_on(known: Known, offset: int, duplicates: int) -> None:
    decided = resume(known)
    assert (decided.offset, decided.duplicates) == (offset, duplicates)


def test_a_group_that_went_on_is_left_alone() -> None:
    decided = resume(Known(ORDERS, 0, 300, SYNCS, source=136, former=240))
    assert not decided.changes
    assert decided.duplicates == 0


def test_pairs_from_before_a_topic_was_made_anew_mean_nothing() -> None:
    rows = [sync_row(0, 0), sync_row(900, 900), sync_row(0, 0), sync_row(5, 5), Row(None, None, 0.0)]
    assert mirror.syncs_of(rows) == {ORDERS: [Sync(0, 0), Sync(5, 5)]}


def test_a_mirror_that_began_again_has_two_pairs_for_a_record_and_the_first_counts() -> None:
    rows = [sync_row(3, 3), sync_row(5, 5), sync_row(3, 7), sync_row(6, 10)]
    syncs = mirror.syncs_of(rows)[ORDERS]
    assert mirror.translate(3, syncs) == 3
    assert mirror.translate(5, syncs) == 5
    assert mirror.translate(6, syncs) == 10


def test_checkpoints() -> None:
    key = string("billing") + string("orders") + struct.pack(">i", 0)
    rows = [
        Row(key, struct.pack(">hqq", 0, upstream, downstream) + string(""), 0.0)
        for upstream, downstream in ((28, 1), (30, 12))
    ]
    assert mirror.checkpoints_of(rows) == {"billing": {ORDERS: Checkpoint(30, 12)}}


def test_how_far_a_mirror_has_read_by_its_own_note_or_by_pairs() -> None:
    rows = [Row(*pair, 0.0) for pair in mirror.notes_for({ORDERS: 43, Place("orders", 1): 0}, "west")]
    assert rows[0].key == b'["MirrorSourceConnector",{"cluster":"west","partition":0,"topic":"orders"}]'
    assert rows[0].value == b'{"offset":42}'
    read = mirror.read_of(rows, "west")
    assert read == {ORDERS: 42}
    assert mirror.read_of(rows, "north") == {}
    assert mirror.mirrored({}, read, ORDERS) == 43
    assert mirror.mirrored({ORDERS: SYNCS}, read, ORDERS) == 138
    assert mirror.mirrored({}, {}, ORDERS) == 0
    assert mirror.mirrored({ORDERS: [Sync(900, 900), Sync(4, 905)]}, {}, ORDERS) == 5
    assert mirror.read_of([*rows, Row(rows[0].key, None, 0.0)], "west") == {}
