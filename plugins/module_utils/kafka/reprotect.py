# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mirror to a region that was lost, once it is back: it is closed, and what never came out of it is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import service_manager
from ..errors import RecoveryError
from ..waiting import wait_until
from . import client, mirror
from .failover import POLL_SECONDS, Move, Outcome, Request, at_once, fenced, key, look, words
from .mirror import Names
from .model import MARK, Place, Store


class Reprotect(Move):
    """The work on one store. Its target is the region that takes the writes now, its source the one that was lost."""

    def prepare(self) -> None:
        """Look at everything, without touching anything. Raises RecoveryError."""
        self.there, self.here = at_once(look, [self.source, self.target])
        self.units = self._units()
        self._require_target()
        if self.here.closed or not fenced(self.units.forth):
            raise self._refuse(
                "direction",
                f"{self.into.region} is not where the writes are, so nothing may be mirrored out of it",
                "it is open, and the mirror into it is stopped and masked",
                f"{'closed' if self.here.closed else 'open'}; {words(self.units.forth)}",
                f"move the writes to {self.into.region} first, or name the region that takes them as the target",
            )
        self._require_hosts()
        for fence, unit in [*self.units.brokers.items(), *self.units.back.items()]:
            if not unit.alive:
                self._change(f"{fence.unit} at {fence.host}", unit.observed, "runs")
        if not self.there.closed:
            self._change(f"writes and groups in {self.out_of.region}", "not known to be forbidden", "forbidden")

    def _require_hosts(self) -> None:
        seen = {**self.units.brokers, **self.units.back}
        if not self.units.back or not all(unit.answered for unit in seen.values()):
            raise self._refuse(
                "hosts",
                f"Kafka of {self.out_of.region} cannot be started",
                "the units of its brokers and of the mirror into it are described, and their hosts answer",
                words(seen),
                f"mend {self.out_of.region}, and the way to its hosts",
            )

    def act(self) -> None:
        """Start the lost region's brokers closed, and mirror to them. Raises RecoveryError."""
        down = [fence for fence, unit in self.units.brokers.items() if not unit.alive]
        if down:
            self._touch()
            at_once(lambda fence: service_manager.start_again(fence, seconds=self.request.stop_seconds), down)
        self._close_source()
        self._name_what_stayed()
        if not any(unit.alive for unit in self.units.back.values()):
            self._prepare_mirror()
        self._mirror_back()
        self.outcome.fence = self._fence_words()

    def _close_source(self) -> None:
        """Forbid writes there at the first moment at which it answers."""

        def closed() -> bool:
            if not self.source.closed():
                self._touch()
                self.source.close()
            return True

        wait_until(
            closed,
            seconds=self.request.timeout_seconds,
            interval=POLL_SECONDS,
            describe=f"Kafka of {self.out_of.region} to answer",
            next_action=f"see why the brokers of {self.out_of.region} do not come up, then run the same again",
        )
        self.there = look(self.source)

    def _name_what_stayed(self) -> None:
        """Say what is in the lost region and nowhere else. It stays there; nobody's group comes past it."""
        self._count_parts(self.source_ends() if not self._is_mirrored_to else None)
        self.outcome.loss = f"read in {self.out_of.region}: what nothing tells to have left it"
        for place, part in sorted(self.outcome.parts.items()):
            if part.lost:
                self.outcome.notes.append(
                    f"{key(place)}: {part.lost} records from offset {part.mirrored} on are in {self.out_of.region} only"
                )

    @property
    def _is_mirrored_to(self) -> bool:
        """Tell whether the mirror back runs already: then the source's ends are not its own any more."""
        return any(unit.alive for unit in self.units.back.values())

    def _prepare_mirror(self) -> None:
        """Let the mirror begin where both regions were the same; where a partition is gone, at the beginning."""
        back = Names(self.into.alias)
        known = mirror.read_of(self.source.rows(back.offsets, self.there.topics), self.into.alias)
        ends = self.source_ends()
        notes = {
            place: end for place, end in self._agreed().items() if ends.get(place) and known.get(place, -1) < end - 1
        }
        if notes:
            self._touch()
            self.source.append(back.offsets, mirror.notes_for(notes, self.into.alias), self.there.topics)

    def _agreed(self) -> Mapping[Place, int]:
        """Give where each partition of the target ended when it took over: as marked, or after the last pair."""
        paired = {
            place: pairs[-1].downstream + 1 for place, pairs in self._syncs().items() if self.store.holds(place.topic)
        }
        group = f"{MARK}.{self.out_of.alias}"
        return {**paired, **self.target.group_offsets([group])[group]}


def reprotect(stores: Sequence[Store], request: Request) -> list[Outcome]:
    """Mirror all stores to the region that was lost. Nothing is touched before all were looked at."""
    client.require()
    works = [Reprotect(store, request) for store in stores]
    at_once(Reprotect.prepare, works)
    if request.check:
        return [one.outcome for one in works]
    failed = [error for error in at_once(_finished, works) if error]
    if failed:
        failed[0].fields["changed"] = any(one.outcome.changed for one in works)
        raise failed[0]
    return [one.outcome for one in works]


def _finished(work: Reprotect) -> RecoveryError | None:
    try:
        work.act()
    except RecoveryError as error:
        return error
    return None


def line(one: Outcome, request: Request) -> str:
    """Say in a line what became of a store."""
    if request.check:
        return f"{one.store}: {len(one.changes)} changes would mirror it to {one.source}"
    left = sum(part.lost or 0 for part in one.parts.values())
    return f"{one.store}: {request.target} is mirrored to {one.source}; {left} records there never left it"
