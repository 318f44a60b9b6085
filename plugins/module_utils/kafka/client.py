# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cluster of Kafka, asked and told through librdkafka."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeVar

from ..errors import BadInput, RecoveryError, StepFailed
from .mirror import Row
from .model import MARK, Account, Member, Place, Security

try:
    import confluent_kafka as kafka
    from confluent_kafka import admin
except ImportError:  # said by require()
    kafka = admin = None

T = TypeVar("T")
BATCH = 1000
# A broker that has just started, or whose host is busy, may send nothing for some seconds.
SILENCE_SECONDS = 10.0


class Unreachable(StepFailed):
    """A cluster does not answer."""


class Unguarded(StepFailed):
    """A cluster has no authorizer, so nothing there can be forbidden."""


def require() -> None:
    """Refuse to begin without the client library."""
    if kafka is None:
        raise BadInput(
            "Python's confluent_kafka is missing beside Ansible",
            wanted="confluent-kafka 2.6 or newer",
            next_action="pip install 'platform-recovery[kafka]' into the Python that runs Ansible",
        )


@dataclass(frozen=True)
class Offsets:
    """The first offset of a partition, and the one that its next record will have."""

    low: int
    high: int


@dataclass
class Cluster:
    """A client of one member."""

    member: Member
    security: Security
    account: Account | None
    seconds: float
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """Give librdkafka's settings. Its own log is for nobody: what goes wrong is told by the calls."""
        found: dict[str, Any] = {
            "bootstrap.servers": ",".join(self.member.bootstrap),
            "security.protocol": self.security.protocol,
            "socket.connection.setup.timeout.ms": max(1000, int(self.seconds * 1000)),
            "log_level": 0,
            **self.options,
        }
        if self.security.ca_file:
            found["ssl.ca.location"] = self.security.ca_file
        if self.account and self.security.protocol.startswith("SASL"):
            found["sasl.mechanism"] = self.security.mechanism
            found["sasl.username"] = self.account.user
            found["sasl.password"] = self.account.password
        return found

    @cached_property
    def admin(self) -> Any:
        """Give the one client that asks and changes; what it promises ends with it."""
        return self._made(lambda: admin.AdminClient(self.settings))

    def _made(self, make: Callable[[], T]) -> T:
        try:
            return make()
        except kafka.KafkaException as error:
            raise self._failed("be spoken to as described", error) from None

    def _ask(self, what: str, question: Callable[[], T]) -> T:
        try:
            return question()
        except kafka.KafkaException as error:
            raise self._failed(what, error) from None
        except TimeoutError:
            raise Unreachable(
                f"Kafka of {self.member.region} could not {what}",
                observed=f"{', '.join(self.member.bootstrap)}: no answer in time",
                wanted="an answer",
                next_action=f"see whether the brokers of {self.member.region} run and can be reached from here",
            ) from None

    def _failed(self, what: str, error: Any) -> RecoveryError:
        reason = error.args[0]
        code = reason.code()
        words = f"Kafka of {self.member.region} could not {what}"
        if code == kafka.KafkaError.SECURITY_DISABLED:
            return Unguarded(
                words,
                observed=f"{', '.join(self.member.bootstrap)}: it has no authorizer",
                wanted="an authorizer, by which writes can be forbidden",
                next_action="set authorizer.class.name on its brokers",
            )
        return Unreachable(
            words,
            observed=f"{', '.join(self.member.bootstrap)}: {reason.str()}",
            wanted="an answer",
            next_action=f"see whether the brokers of {self.member.region} run, can be reached, and know this account",
        )

    def _results(self, what: str, futures: Mapping[Any, Future[T]]) -> dict[Any, T]:
        return {key: self._ask(what, partial(one.result, timeout=self.seconds * 2)) for key, one in futures.items()}

    # ---- topics and records

    def topics(self) -> dict[str, int]:
        """List all topics with the number of their partitions."""
        found = self._ask("list its topics", lambda: self.admin.list_topics(timeout=self.seconds)).topics
        return {name: len(one.partitions) for name, one in found.items()}

    def offsets(self, places: Iterable[Place]) -> dict[Place, Offsets]:
        """Ask where partitions begin and end, all in two requests."""
        wanted = list(places)
        ends: list[dict[Place, int]] = []
        for spec in (admin.OffsetSpec.earliest(), admin.OffsetSpec.latest()):
            asked = {kafka.TopicPartition(*place): spec for place in wanted}
            futures = self.admin.list_offsets(asked, request_timeout=self.seconds) if asked else {}
            found = self._results("tell its offsets", futures)
            ends.append({Place(one.topic, one.partition): result.offset for one, result in found.items()})
        return {place: Offsets(ends[0][place], ends[1][place]) for place in wanted}

    def places(self, topics: Mapping[str, int], chosen: Callable[[str], bool]) -> list[Place]:
        """List the partitions of the topics that are chosen."""
        return [Place(name, number) for name, count in topics.items() if chosen(name) for number in range(count)]

    def rows(self, topic: str, topics: Mapping[str, int]) -> list[Row]:
        """Read all that a topic holds; nothing where there is no such topic."""
        places = [Place(topic, number) for number in range(topics.get(topic, 0))]
        found = self.offsets(places)
        return self.between({place: (one.low, one.high) for place, one in found.items()})

    def between(self, ranges: Mapping[Place, tuple[int, int]]) -> list[Row]:
        """Read the records between offsets. Some offsets hold none: they are skipped as any consumer would."""
        return [row for _, row in self.placed(ranges)]

    def placed(self, ranges: Mapping[Place, tuple[int, int]]) -> list[tuple[Place, Row]]:
        """Read the records between offsets, each with its partition."""
        left = {place: end for place, (begin, end) in ranges.items() if begin < end}
        found: list[tuple[Place, Row]] = []
        if not left:
            return found
        own = {
            "group.id": MARK,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
        with closing(self._made(lambda: kafka.Consumer({**self.settings, **own}))) as consumer:
            consumer.assign([kafka.TopicPartition(*place, ranges[place][0]) for place in left])
            silence = max(self.seconds, SILENCE_SECONDS)
            deadline = time.monotonic() + silence
            while left:
                for message in self._ask("be read", lambda: consumer.consume(BATCH, 0.1)):
                    deadline = time.monotonic() + silence
                    self._take(message, left, found)
                if time.monotonic() > deadline:
                    raise Unreachable(
                        f"Kafka of {self.member.region} gives nothing more",
                        observed=f"{next(iter(left))} is read only in part, and nothing came for {silence:g} s",
                        wanted="all of its records",
                        next_action=f"see whether the brokers of {self.member.region} are well, and run again",
                    )
        return found

    def _take(self, message: Any, left: dict[Place, int], found: list[tuple[Place, Row]]) -> None:
        place = Place(message.topic(), message.partition())
        error = message.error()
        if error and error.code() == kafka.KafkaError._PARTITION_EOF:
            left.pop(place, None)
        elif error:
            raise self._failed("be read", kafka.KafkaException(error))
        elif place in left and message.offset() < left[place]:
            found.append((place, Row(message.key(), message.value(), message.timestamp()[1] / 1000)))
            if message.offset() + 1 >= left[place]:
                del left[place]
        else:
            left.pop(place, None)

    def newest(self, topic: str, topics: Mapping[str, int]) -> float | None:
        """Give the time of a topic's newest record, None where it has none."""
        places = [Place(topic, number) for number in range(topics.get(topic, 0))]
        tails = {place: (max(one.low, one.high - 1), one.high) for place, one in self.offsets(places).items()}
        return max((row.seconds for row in self.between(tails)), default=None)

    def append(self, topic: str, rows: Sequence[tuple[bytes, bytes | None]], topics: Mapping[str, int]) -> None:
        """Write records, each partition chosen as a Java client would; the topic is made if it is missing."""
        if topic not in topics:
            made = admin.NewTopic(topic, 1, config={"cleanup.policy": "compact"})
            self._results(f"make {topic}", self.admin.create_topics([made]))
        refused: list[Any] = []
        own = {"acks": "all", "partitioner": "murmur2_random", "message.timeout.ms": int(self.seconds * 2000)}
        producer = self._made(lambda: kafka.Producer({**self.settings, **own}))
        for key, value in rows:
            producer.produce(topic, value, key, on_delivery=lambda error, _: refused.append(error) if error else None)
        producer.flush(self.seconds * 2)
        if refused:
            raise self._failed(f"take records of {topic}", kafka.KafkaException(refused[0]))

    # ---- who may write

    def _closing(self, kind: Any) -> list[Any]:
        """Give the rights that close a cluster: nobody writes, and no group goes on. Super users are above them."""
        common = ("*", admin.ResourcePatternType.LITERAL, "User:*", "*")
        deny = admin.AclPermissionType.DENY
        return [
            kind(admin.ResourceType.TOPIC, *common, admin.AclOperation.WRITE, deny),
            kind(admin.ResourceType.GROUP, *common, admin.AclOperation.READ, deny),
        ]

    def closed(self) -> bool:
        """Tell whether nobody but a mirror may write here, and no group may consume."""
        for wanted in self._closing(admin.AclBindingFilter):
            question = self.admin.describe_acls(wanted, request_timeout=self.seconds)
            if not self._ask("tell its rights", partial(question.result, timeout=self.seconds * 2)):
                return False
        return True

    def close(self) -> None:
        """Forbid writes and groups. It holds over restarts."""
        self._results(
            "be closed", self.admin.create_acls(self._closing(admin.AclBinding), request_timeout=self.seconds)
        )

    def open(self) -> None:
        """Allow what was forbidden by closing."""
        asked = self._closing(admin.AclBindingFilter)
        self._results("be opened", self.admin.delete_acls(asked, request_timeout=self.seconds))

    # ---- groups

    def groups(self) -> list[str]:
        """List all consumer groups."""
        question = self.admin.list_consumer_groups(request_timeout=self.seconds)
        found = self._ask("list its groups", lambda: question.result(timeout=self.seconds * 2))
        if found.errors:
            # A group that a broker could not tell of yet would count as one that never read, and begin anew.
            raise self._failed("list all of its groups", found.errors[0])
        return [one.group_id for one in found.valid]

    def group_offsets(self, groups: Iterable[str]) -> dict[str, dict[Place, int]]:
        """Ask where groups are."""
        found = {}
        for group in groups:
            asked = [kafka.ConsumerGroupTopicPartitions(group)]
            futures = self.admin.list_consumer_group_offsets(asked, request_timeout=self.seconds)
            rows = self._results(f"tell the offsets of {group}", futures)[group].topic_partitions
            for row in rows:
                if row.error:
                    raise self._failed(f"tell the offsets of {group}", kafka.KafkaException(row.error))
            found[group] = {Place(one.topic, one.partition): one.offset for one in rows if one.offset >= 0}
        return found

    def set_offsets(self, group: str, offsets: Mapping[Place, int]) -> None:
        """Let a group go on elsewhere. One that has members is not moved: UNKNOWN_MEMBER_ID."""
        rows = [kafka.TopicPartition(*place, offset) for place, offset in offsets.items()]
        asked = [kafka.ConsumerGroupTopicPartitions(group, rows)]
        futures = self.admin.alter_consumer_group_offsets(asked, request_timeout=self.seconds)
        done = self._results(f"move the group {group}", futures)[group]
        for row in done.topic_partitions:
            if row.error:
                raise self._failed(f"move the group {group}", kafka.KafkaException(row.error))

    def busy(self, groups: Sequence[str]) -> set[str]:
        """Tell which of the groups have members, who say themselves where they are."""
        if not groups:
            return set()
        futures = self.admin.describe_consumer_groups(list(groups), request_timeout=self.seconds)
        found = self._results("describe its groups", futures)
        return {group for group, one in found.items() if one.members}
