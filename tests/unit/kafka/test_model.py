# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a description of a store means, and what of it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput
from ansible_collections.platform.recovery.plugins.module_utils.kafka.model import Store, stores_of
from ansible_collections.platform.recovery.plugins.module_utils.schema import Validator
from ansible_collections.platform.recovery.plugins.plugin_utils.action import documented_options

MAPS = frozenset({"stores", "stores.members", "credentials"})
MEMBERS = {"west": {"bootstrap": ["w:9092"]}, "east": {"bootstrap": ["e:9092"], "alias": "eastern"}}


def store(**more: Any) -> Store:
    entry = {"members": MEMBERS, "credentials": "kafka", **more}
    given = {
        "stores": {"events": entry},
        "credentials": {"kafka": {"user": "admin", "password": "p"}},
        "target": "east",
    }
    options, problems = Validator(maps=MAPS).check(documented_options("kafka_failover"), given)
    assert not problems
    return stores_of(options)[0]


@pytest.mark.parametrize(
    ("topic", "held"),
    [
        ("orders", True),
        ("orders.v1", True),
        ("__consumer_offsets", False),
        ("mm2-offsets.west.internal", False),
        ("west.checkpoints.internal", False),
        ("heartbeats", False),
        ("west.heartbeats", False),
    ],
)
def test_what_mirrors_and_brokers_keep_is_not_the_stores(topic: str, held: bool) -> None:
    assert store().holds(topic) is held


def test_patterns_choose_topics_and_groups() -> None:
    chosen = store(topics=["orders.*"], groups=["billing", "ai-service", "report-.*"])
    assert chosen.holds("orders.v1")
    assert not chosen.holds("payments")
    assert chosen.serves("report-7")
    assert not chosen.serves("platform.recovery.west")
    assert chosen.named_groups == ["billing", "ai-service"]


def test_a_member_is_called_by_its_region_unless_it_has_an_alias() -> None:
    found = store()
    assert (found.members["west"].alias, found.members["east"].alias) == ("west", "eastern")
    assert found.source_of("east").region == "west"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"credentials": "other"}, "stores.events.credentials is 'other'"),
        ({"credentials": None}, "stores.events.credentials is None"),
        ({"topics": ["("]}, r"stores.events.topics is '\('"),
    ],
)
def test_what_cannot_be_is_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        store(**more)


def test_an_unknown_target_and_a_third_region_are_refused() -> None:
    with pytest.raises(BadInput, match="target is 'north'"):
        store().source_of("north")
    with pytest.raises(BadInput, match="members is"):
        store(members={**MEMBERS, "north": {"bootstrap": ["n:9092"]}}).source_of("east")
