# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done in which order, and what is refused."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import PreconditionFailed
from ansible_collections.platform.recovery.plugins.module_utils.object_storage.decide import (
    FAILOVER,
    SWITCHOVER,
    Request,
    Seen,
    Verb,
    plan,
    require,
)
from ansible_collections.platform.recovery.plugins.module_utils.object_storage.listing import (
    Comparison,
    Found,
    Version,
    compare_key,
)
from ansible_collections.platform.recovery.plugins.module_utils.object_storage.model import Member, Store
from ansible_collections.platform.recovery.plugins.module_utils.object_storage.provider import Side, Way

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=timezone.utc)
WEST, EAST = (
    Member(region, f"files-{region}", f"https://{region}:9000", f"https://{region}.peer:9000", region)
    for region in ("west", "east")
)
STORE = Store("files", "minio", {"west": WEST, "east": EAST}, ("app",), 60.0)


def side(member: Member, doors: str = "", *, to: Member | None = None, whole: bool = True) -> Side:
    """A side with these doors open: w for writes, a for arrivals."""
    way = Way(to.bucket, f"{to.region}.peer:9000", whole) if to else None
    return Side(member, None, True, "w" in doors, "a" in doors, way)


PRIMARY, STANDBY = side(WEST, "w", to=EAST), side(EAST, "a")
GONE = Side(WEST, "it cannot be reached")
SHUT, DRAIN, ARRIVE, LEAD = Verb.SHUT_WRITES, Verb.DRAIN, Verb.OPEN_ARRIVALS, Verb.LEAD
WRITE, CLOSE, STOP, CATCH = Verb.OPEN_WRITES, Verb.SHUT_ARRIVALS, Verb.STOP, Verb.CATCH_UP


@pytest.mark.parametrize(
    ("target", "other", "mode", "wanted"),
    [
        (STANDBY, PRIMARY, SWITCHOVER, [SHUT, DRAIN, ARRIVE, LEAD, WRITE, CLOSE, STOP]),
        # Killed after each step, it goes on with the next.
        (STANDBY, side(WEST, "", to=EAST), SWITCHOVER, [DRAIN, ARRIVE, LEAD, WRITE, CLOSE, STOP]),
        (STANDBY, side(WEST, "a", to=EAST), SWITCHOVER, [DRAIN, LEAD, WRITE, CLOSE, STOP]),
        (side(EAST, "a", to=WEST), side(WEST, "a", to=EAST), SWITCHOVER, [DRAIN, WRITE, CLOSE, STOP]),
        (side(EAST, "aw", to=WEST), side(WEST, "a", to=EAST), SWITCHOVER, [DRAIN, CLOSE, STOP]),
        (side(EAST, "w", to=WEST), side(WEST, "a", to=EAST), SWITCHOVER, [STOP]),
        (side(EAST, "w", to=WEST), side(WEST, "a"), SWITCHOVER, []),
        (side(EAST, "w", to=WEST), side(WEST, "a"), FAILOVER, []),
        # A standby that nobody had fenced is no primary: what the other side has is waited for.
        (side(EAST, "aw"), PRIMARY, SWITCHOVER, [SHUT, DRAIN, ARRIVE, LEAD, CLOSE, STOP, CATCH]),
        # The way back to a primary whose switchover was broken off.
        (side(WEST, "", to=EAST), STANDBY, SWITCHOVER, [DRAIN, WRITE]),
        # Lost: nothing of the other side is touched.
        (STANDBY, GONE, FAILOVER, [CLOSE, WRITE]),
        (side(EAST), GONE, FAILOVER, [WRITE]),
        (side(EAST, "w"), GONE, FAILOVER, []),
        # It comes back: fenced first, kept from sending, then protected anew with all that was written meanwhile.
        (side(EAST, "w"), PRIMARY, FAILOVER, [SHUT, STOP, ARRIVE, LEAD, CATCH]),
        (side(EAST, "w"), PRIMARY, SWITCHOVER, [SHUT, STOP, ARRIVE, LEAD, CATCH]),
        # It comes back as it was made on the first day.
        (side(EAST, "w", to=WEST), side(WEST, "w"), FAILOVER, [SHUT, ARRIVE]),
        # A forced one while the other side lives: nothing more may arrive before applications write.
        (STANDBY, PRIMARY, FAILOVER, [SHUT, DRAIN, CLOSE, STOP, WRITE, ARRIVE, LEAD]),
        # Half a rule is none.
        (side(EAST, "w", to=WEST, whole=False), side(WEST, "a"), SWITCHOVER, [LEAD, CATCH]),
    ],
)
def test_the_order_of_steps(target: Side, other: Side, mode: str, wanted: list[Verb]) -> None:
    assert [step.verb for step in plan(Seen(target, other), mode)] == wanted


def version(key: str = "k", number: str = "1", seconds: float = 5, **more: Any) -> Version:
    row = {"marker": False, "latest": True, "size": 1, "etag": "e", "modified": NOW - timedelta(seconds=seconds)}
    return Version(key=key, id=number, **{**row, **more})


def found(*rows: Version) -> Found:
    kept = Found()
    for row in rows:
        kept.add(row)
    return kept


EMPTY = Comparison()
BEHIND = Comparison(versions=2, missing=found(version()))
LATE = Comparison(versions=2, missing=found(version(seconds=90)))
TURNED = Comparison(versions=2, turned=found(version()))
OTHER = Comparison(versions=2, different=found(version()))
WORDS = {"lost_regions": frozenset({"west"}), "reason": "it burns"}
SILENT = Side(EAST, "it does not answer")
FRESH, OLD = NOW - timedelta(seconds=30), NOW - timedelta(seconds=90)


@pytest.mark.parametrize(
    ("seen", "mode", "words", "said"),
    [
        (Seen(SILENT, PRIMARY), SWITCHOVER, {}, "nothing can move there"),
        (Seen(SILENT, PRIMARY), FAILOVER, {}, "nothing can move there"),
        (Seen(Side(EAST), PRIMARY, EMPTY), SWITCHOVER, {}, "keeps no versions"),
        (Seen(STANDBY, PRIMARY, BEHIND), SWITCHOVER, {}, ""),
        (Seen(side(EAST), PRIMARY, BEHIND), SWITCHOVER, {}, "no replication brings it"),
        (Seen(STANDBY, side(WEST, "w"), BEHIND), SWITCHOVER, {}, "no replication brings it"),
        (Seen(STANDBY, PRIMARY, TURNED), SWITCHOVER, {}, "something else"),
        (Seen(side(EAST, "aw"), PRIMARY, TURNED), SWITCHOVER, {}, ""),
        (Seen(STANDBY, PRIMARY, OTHER), SWITCHOVER, {}, "other contents"),
        (Seen(STANDBY, GONE, None, FRESH), SWITCHOVER, WORDS, "a switchover would lose"),
        (Seen(STANDBY, GONE, None, FRESH), FAILOVER, {}, "nobody has said"),
        (Seen(STANDBY, GONE, None, FRESH), FAILOVER, {**WORDS, "reason": " "}, "nobody has said"),
        (Seen(STANDBY, GONE, None, FRESH), FAILOVER, {"fence_statement": "off", "reason": "seen"}, ""),
        (Seen(STANDBY, GONE, None, FRESH), FAILOVER, WORDS, ""),
        (Seen(STANDBY, GONE, None, OLD), FAILOVER, WORDS, "may lose more"),
        (Seen(STANDBY, GONE, None, None), FAILOVER, WORDS, "may lose more"),
        (Seen(STANDBY, GONE, None, OLD), FAILOVER, {**WORDS, "allow_data_loss": True}, ""),
        (Seen(side(EAST, "w"), GONE), FAILOVER, {}, ""),
        (Seen(side(EAST, "w"), GONE), SWITCHOVER, {}, ""),
        (Seen(side(EAST, "w"), PRIMARY, LATE), FAILOVER, {}, ""),
        (Seen(STANDBY, PRIMARY, BEHIND), FAILOVER, {}, ""),
        (Seen(STANDBY, PRIMARY, LATE), FAILOVER, {}, "may lose more"),
        (Seen(STANDBY, PRIMARY, LATE), FAILOVER, {"allow_data_loss": True}, "may lose more"),
        (Seen(STANDBY, PRIMARY, LATE), FAILOVER, {"allow_data_loss": True, "reason": "so be it"}, ""),
    ],
)
def test_what_is_refused(seen: Seen, mode: str, words: dict[str, Any], said: str) -> None:
    passed: list[tuple[str, ...]] = []
    request = Request("east", mode, passed=lambda *told: passed.append(told), **words)
    if not said:
        require(STORE, seen, request, NOW)
        assert all(told[3] == ("override" if words and "operator" in told[4] else "pass") for told in passed)
        return
    with pytest.raises(PreconditionFailed) as error:
        require(STORE, seen, request, NOW)
    assert said in str(error.value)
    assert error.value.fields["gate"].endswith("files")


@pytest.mark.parametrize(
    ("ours", "theirs", "counts"),
    [
        ([version()], [version()], (1, 0, 0, 0, 0)),
        ([version()], [], (1, 1, 0, 0, 0)),
        ([], [version()], (0, 0, 1, 0, 1)),
        ([version(number="2"), version(latest=False)], [version()], (2, 1, 0, 0, 0)),
        ([version()], [version(number="2"), version(latest=False)], (1, 0, 1, 0, 1)),
        # What is below the latest version is not what clients are given.
        ([version()], [version(), version(number="0", latest=False)], (1, 0, 1, 0, 0)),
        ([version()], [version(size=2)], (1, 0, 0, 1, 0)),
        ([version()], [version(etag="f")], (1, 0, 0, 1, 0)),
        ([version()], [version(etag="f-2")], (1, 0, 0, 0, 0)),
        ([version()], [version(marker=True)], (1, 0, 0, 1, 0)),
    ],
)
def test_the_versions_of_a_key(ours: list[Version], theirs: list[Version], counts: tuple[int, ...]) -> None:
    seen = Comparison()
    compare_key(seen, ours, theirs)
    numbers = (seen.versions, seen.missing.count, seen.extra.count, seen.different.count, seen.turned.count)
    assert numbers == counts
