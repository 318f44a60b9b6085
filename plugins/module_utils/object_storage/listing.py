# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What two buckets hold, version by version, compared as both are listed: memory stays the same for any number."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from ..errors import StepFailed
from .api import Api, refused

# How many parts of the two buckets are listed at the same time.
PARTS = 8
# How many pages of 1,000 versions wait for the other side.
AHEAD = 4
# How many objects one request may name.
PAGE = 1000
# How many versions that differ are kept; all are counted.
KEPT = 10_000


class Version(NamedTuple):
    """One version of an object, or a delete marker."""

    key: str
    id: str
    marker: bool
    latest: bool
    size: int
    etag: str
    modified: datetime

    def as_dict(self) -> dict[str, Any]:
        """Give it as a task's result carries it."""
        return {
            "key": self.key,
            "version_id": self.id,
            "delete_marker": self.marker,
            "size": self.size,
            "last_modified": self.modified.isoformat(timespec="milliseconds"),
        }

    def same(self, other: Version) -> bool:
        """Tell whether the other side has the same under this id. How something was cut into parts may differ."""
        if (self.marker, self.size) != (other.marker, other.size):
            return False
        return "-" in self.etag or "-" in other.etag or self.etag == other.etag


@dataclass
class Found:
    """Versions of some kind: how many, between when, and the first of them."""

    count: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    rows: list[Version] = field(default_factory=list)

    def add(self, version: Version) -> None:
        """Count one."""
        self.count += 1
        self.oldest = version.modified if self.oldest is None else min(self.oldest, version.modified)
        self.newest = version.modified if self.newest is None else max(self.newest, version.modified)
        if len(self.rows) < KEPT:
            self.rows.append(version)

    def merge(self, other: Found) -> None:
        """Take what another part found."""
        self.count += other.count
        moments = [one for one in (self.oldest, other.oldest) if one]
        self.oldest = min(moments, default=None)
        self.newest = max([one for one in (self.newest, other.newest) if one], default=None)
        self.rows = (self.rows + other.rows)[:KEPT]


@dataclass
class Comparison:
    """How the versions of a source and of its copy differ."""

    versions: int = 0  # of the source
    markers: int = 0  # of these
    missing: Found = field(default_factory=Found)  # the copy does not have them
    extra: Found = field(default_factory=Found)  # only the copy has them
    different: Found = field(default_factory=Found)  # the same id, and something else below it
    turned: Found = field(default_factory=Found)  # what the copy gives for a key and the source does not
    newest: datetime | None = None  # of the source's

    def merge(self, other: Comparison) -> None:
        """Take what another part found."""
        self.versions += other.versions
        self.markers += other.markers
        for name in ("missing", "extra", "different", "turned"):
            getattr(self, name).merge(getattr(other, name))
        self.newest = max([one for one in (self.newest, other.newest) if one], default=None)


def entries(page: Any) -> list[Version]:
    """Read a page of a listing, key by key."""
    rows = [
        Version(
            row["Key"],
            row["VersionId"],
            "Size" not in row,
            row["IsLatest"],
            row.get("Size", 0),
            row.get("ETag", "").strip('"'),
            row["LastModified"],
        )
        for kind in ("Versions", "DeleteMarkers")
        for row in page.get(kind) or ()
    ]
    return sorted(rows, key=lambda row: row.key.encode())


def pages(api: Api, prefix: str, delimiter: str) -> Iterator[Any]:
    """Ask for one page after the other."""
    words: dict[str, Any] = {"Prefix": prefix, **({"Delimiter": delimiter} if delimiter else {})}
    while True:
        page = api.call("list_object_versions", **words)
        yield page
        if not page.get("IsTruncated"):
            return
        words["KeyMarker"] = page["NextKeyMarker"]
        if "NextVersionIdMarker" in page:
            words["VersionIdMarker"] = page["NextVersionIdMarker"]


def ahead(made: Iterable[Any]) -> Iterator[Any]:
    """Have the next pages fetched while this one is looked at."""
    waiting: queue.Queue[Any] = queue.Queue(AHEAD)
    ended = threading.Event()

    def put(item: Any) -> bool:
        while not ended.is_set():
            try:
                waiting.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def fetch() -> None:
        try:
            for item in made:
                if not put((item, None)):
                    return
            put((None, None))
        except Exception as error:  # whoever reads raises it
            put((None, error))

    threading.Thread(target=fetch, daemon=True).start()
    try:
        while True:
            item, error = waiting.get()
            if error:
                raise error
            if item is None:
                return
            yield item
    finally:
        ended.set()


def groups(api: Api, prefix: str, delimiter: str) -> Iterator[tuple[bytes, list[Version]]]:
    """Give the versions of one key after the other. Raises StepFailed."""
    rows = (row for page in ahead(pages(api, prefix, delimiter)) for row in entries(page))
    before = b""
    for key, group in groupby(rows, key=lambda row: row.key.encode()):
        if key < before:
            raise StepFailed(
                f"{api.member.words} lists its objects in no order, so they cannot be compared",
                wanted="keys in the order of their bytes",
                observed=f"{key.decode()} after {before.decode()}",
                next_action="compare the two buckets by other means",
            )
        before = key
        yield key, list(group)


def compare(source: Api, copy: Api) -> Comparison:
    """List both buckets side by side and compare them. Raises StepFailed."""
    prefixes = sorted({*first_level(source), *first_level(copy)})
    parts = [("", "/"), *((prefix, "") for prefix in prefixes)]
    found = Comparison()
    with ThreadPoolExecutor(max_workers=min(PARTS, len(parts))) as pool:
        for part in pool.map(lambda part: compare_part(source, copy, *part), parts):
            found.merge(part)
    return found


def first_level(api: Api) -> list[str]:
    """List the folders at the top of a bucket."""
    return [row["Prefix"] for page in pages(api, "", "/") for row in page.get("CommonPrefixes") or ()]


def compare_part(source: Api, copy: Api, prefix: str, delimiter: str) -> Comparison:
    """Compare the keys below a prefix."""
    found = Comparison()
    left, right = groups(source, prefix, delimiter), groups(copy, prefix, delimiter)
    for ours, theirs in paired(left, right):
        compare_key(found, ours, theirs)
    return found


def paired(
    left: Iterator[tuple[bytes, list[Version]]], right: Iterator[tuple[bytes, list[Version]]]
) -> Iterator[tuple[list[Version], list[Version]]]:
    """Give the versions of each key on both sides."""
    one, other = next(left, None), next(right, None)
    while one or other:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield one[1], []
            one = next(left, None)
        elif one is None or other[0] < one[0]:
            yield [], other[1]
            other = next(right, None)
        else:
            yield one[1], other[1]
            one, other = next(left, None), next(right, None)


def compare_key(found: Comparison, ours: list[Version], theirs: list[Version]) -> None:
    """Compare the versions of one key: those of the source with those of its copy."""
    known = {row.id: row for row in theirs}
    whole = all(row.id in known for row in ours)
    for row in ours:
        found.versions += 1
        found.markers += row.marker
        found.newest = row.modified if found.newest is None else max(found.newest, row.modified)
        same = known.pop(row.id, None)
        if same is None:
            found.missing.add(row)
        elif not row.same(same):
            found.different.add(row)
    for row in known.values():
        found.extra.add(row)
    given = {row.id for row in ours if row.latest}
    for row in theirs:
        # Where something has still to arrive it is no wonder that another version is the latest.
        if whole and row.latest and row.id not in given:
            found.turned.add(row)


def newest(api: Api) -> tuple[int, datetime | None]:
    """Count the versions of a bucket, and give when the newest was written. Raises StepFailed."""
    parts = [("", "/"), *((prefix, "") for prefix in first_level(api))]

    def look(part: tuple[str, str]) -> tuple[int, datetime | None]:
        count, moment = 0, None
        for page in ahead(pages(api, *part)):
            rows = entries(page)
            count += len(rows)
            moment = max([row.modified for row in rows] + ([moment] if moment else []), default=None)
        return count, moment

    with ThreadPoolExecutor(max_workers=min(PARTS, len(parts))) as pool:
        found = list(pool.map(look, parts))
    return sum(count for count, _ in found), max([moment for _, moment in found if moment], default=None)


def touch(api: Api, rows: Iterable[Version]) -> None:
    """Ask for these versions: a store that looks at what it has not replicated tries again. Raises StepFailed."""
    gone = ("404", "405", "NoSuchKey", "NoSuchVersion", "MethodNotAllowed")
    with ThreadPoolExecutor(max_workers=PARTS) as pool:
        jobs = [pool.submit(api.call, "head_object", missing=gone, Key=row.key, VersionId=row.id) for row in rows]
        for job in jobs:
            job.result()


def confirm(found: Found, api: Api) -> Found:
    """Keep what this side really does not have: under load it is there a moment after its page was read."""

    def has(row: Version) -> bool:
        rows = (one for page in pages(api, row.key, "") for one in entries(page))
        return any(one.id == row.id for one in itertools.takewhile(lambda one: one.key == row.key, rows))

    with ThreadPoolExecutor(max_workers=PARTS) as pool:
        there = list(pool.map(has, found.rows))
    kept = Found(count=found.count - len(found.rows))
    for row, known in zip(found.rows, there, strict=True):
        if not known:
            kept.add(row)
    return kept


def discard(api: Api, rows: Sequence[Version]) -> None:
    """Remove versions for good, a thousand at a time. Raises StepFailed."""
    for at in range(0, len(rows), PAGE):
        wanted = [{"Key": row.key, "VersionId": row.id} for row in rows[at : at + PAGE]]
        answer = api.call("delete_objects", Delete={"Objects": wanted, "Quiet": True})
        for row in answer.get("Errors") or ():
            raise refused(api.member, f"remove a version of {row.get('Key')}", str(row.get("Code")), "")
