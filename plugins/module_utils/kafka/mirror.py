# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What MirrorMaker 2 leaves in the target, and what follows from it: how far it came, and where groups go on.

Pure functions over what was read. The formats are those of KIP-382 (syncs, checkpoints, heartbeats) and of Connect's
offsets (KIP-875).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .model import Place

CONNECTOR = "MirrorSourceConnector"


class Row(NamedTuple):
    """One record as it was read."""

    key: bytes | None
    value: bytes | None
    seconds: float  # when it was made, since 1970


class Sync(NamedTuple):
    """The record that is at `upstream` in the source is at `downstream` in the target."""

    upstream: int
    downstream: int


class Checkpoint(NamedTuple):
    """A group's offset in the source, and what MirrorMaker made of it for the target."""

    upstream: int
    downstream: int


@dataclass(frozen=True)
class Names:
    """The topics by which a mirror of `alias` is known in its target."""

    alias: str

    @property
    def syncs(self) -> str:
        """Where offsets are paired."""
        return f"mm2-offset-syncs.{self.alias}.internal"

    @property
    def offsets(self) -> str:
        """Where the mirror notes how far it has read."""
        return f"mm2-offsets.{self.alias}.internal"

    @property
    def configs(self) -> str:
        """Where the mirror's tasks are remembered."""
        return f"mm2-configs.{self.alias}.internal"

    @property
    def checkpoints(self) -> str:
        """Where the groups' offsets come."""
        return f"{self.alias}.checkpoints.internal"

    @property
    def heartbeats(self) -> str:
        """What is mirrored of the source's own clock."""
        return f"{self.alias}.heartbeats"


def text(raw: bytes, start: int) -> tuple[str, int]:
    """Read a string of Kafka's protocol; give where the next field begins."""
    (length,) = struct.unpack_from(">h", raw, start)
    end = start + 2 + length
    return raw[start + 2 : end].decode(), end


def syncs_of(rows: Iterable[Row]) -> dict[Place, list[Sync]]:
    """Read pairs of offsets, in the order in which they were written.

    Where the target's offset goes back its topic was made anew: what was paired before means nothing any more.
    """
    found: dict[Place, list[Sync]] = {}
    for row in rows:
        if row.key is None or row.value is None:
            continue
        topic, end = text(row.key, 0)
        place = Place(topic, *struct.unpack_from(">i", row.key, end))
        sync = Sync(*struct.unpack(">qq", row.value))
        known = found.setdefault(place, [])
        if known and sync.downstream < known[-1].downstream:
            known.clear()
        known.append(sync)
    return found


def checkpoints_of(rows: Iterable[Row]) -> dict[str, dict[Place, Checkpoint]]:
    """Read the newest checkpoint of every group and partition."""
    found: dict[str, dict[Place, Checkpoint]] = {}
    for row in rows:
        if row.key is None or row.value is None:
            continue
        group, end = text(row.key, 0)
        topic, end = text(row.key, end)
        place = Place(topic, *struct.unpack_from(">i", row.key, end))
        found.setdefault(group, {})[place] = Checkpoint(*struct.unpack_from(">qq", row.value, 2))
    return found


def read_of(rows: Iterable[Row], alias: str) -> dict[Place, int]:
    """Read the offset of the last record that the mirror has brought, as it noted it itself."""
    found: dict[Place, int] = {}
    for row in rows:
        if row.key is None:
            continue
        connector, where = json.loads(row.key)
        if connector != CONNECTOR or where.get("cluster") != alias:
            continue
        place = Place(where["topic"], where["partition"])
        if row.value is None:
            found.pop(place, None)
        else:
            found[place] = json.loads(row.value)["offset"]
    return found


def notes_for(ends: Mapping[Place, int], alias: str) -> list[tuple[bytes, bytes]]:
    """Write what lets a mirror begin where each partition of its source ends now, and not at its beginning.

    Connect looks such a key up by its bytes: no spaces, the names in this order.
    """
    return [
        (
            json.dumps(
                [CONNECTOR, {"cluster": alias, "partition": place.partition, "topic": place.topic}],
                separators=(",", ":"),
            ).encode(),
            json.dumps({"offset": end - 1}, separators=(",", ":")).encode(),
        )
        for place, end in sorted(ends.items())
        if end > 0
    ]


def forgotten() -> list[tuple[bytes, None]]:
    """Write what takes a mirror's task out of Connect's memory."""
    return [(f"{kind}-{CONNECTOR}".encode(), None) for kind in ("connector", "target-state")]


def mirrored(syncs: Mapping[Place, Sequence[Sync]], read: Mapping[Place, int], place: Place) -> int:
    """Say up to which offset of the source all was brought. It may have been more: nothing tells of the last moment."""
    pairs = syncs.get(place, ())
    # The newest one: of a topic that was made anew in the source, older ones are higher.
    return max(pairs[-1].upstream if pairs else -1, read.get(place, -1)) + 1


def pair_below(upstream: int, syncs: Sequence[Sync]) -> Sync | None:
    """Give the nearest pair at or below an offset; of several the earliest in the target."""
    below = [sync for sync in syncs if sync.upstream <= upstream]
    return max(below, key=lambda sync: (sync.upstream, -sync.downstream), default=None)


def translate(upstream: int, syncs: Sequence[Sync]) -> int | None:
    """Give an offset of the target from which nothing is skipped that a group at `upstream` has not read.

    The record of a pair below was read, so the next one in the target is where to go on: what lies between the pair and
    the group is read twice. None if no pair tells.
    """
    pair = pair_below(upstream, syncs)
    if pair is None:
        return None
    return pair.downstream if pair.upstream == upstream else pair.downstream + 1


@dataclass(frozen=True)
class Resume:
    """Where a group goes on in one partition of the target, and how many records it reads twice at most."""

    place: Place
    offset: int
    duplicates: int
    former: int | None
    how: str

    @property
    def changes(self) -> bool:
        """Tell whether the group's offset has to be changed for it."""
        return self.offset != self.former


@dataclass(frozen=True)
class Known:
    """What is known of a group in one partition."""

    place: Place
    low: int
    high: int
    syncs: Sequence[Sync] = ()
    source: int | None = None  # its offset in the source, asked now
    checkpoint: Checkpoint | None = None
    former: int | None = None  # its offset in the target


def resume(known: Known) -> Resume:
    """Decide where a group goes on in one partition. A pure function of what was seen.

    Never later than the first record that it has not read, and never before what it has reached in the target already.
    Where nothing tells, it begins at the first record: its own rule for that case may be to skip all there is.
    """
    at = known.checkpoint.upstream if known.source is None and known.checkpoint else known.source
    options = [] if at is None else [translate(at, known.syncs)]
    if known.checkpoint and (at is None or known.checkpoint.upstream <= at):
        options.append(known.checkpoint.downstream)
    told = [option for option in options if option is not None]
    wanted = min(max(max(told, default=known.low), known.low), known.high)
    how = "translated" if told else "nothing tells where it was: from the first record"
    offset = wanted
    if known.former is not None and wanted <= known.former <= known.high:
        offset, how = known.former, "it is there already" if known.former == wanted else "it is further already"
    return Resume(known.place, offset, duplicates(known, wanted, offset), known.former, how)


def duplicates(known: Known, wanted: int, offset: int) -> int:
    """Say how many records a group that goes on at `offset` may read for a second time, at most."""
    most = known.high - offset
    if known.source is None:
        return most  # since its last checkpoint it may have read all there is
    pair = pair_below(known.source, known.syncs)
    if pair is None:
        return most
    again = max(0, known.source - pair.upstream - 1)
    return max(0, min(most, again - (offset - wanted)))
