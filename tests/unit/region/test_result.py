# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What later steps get of a region that is out: nothing that leads there."""

from __future__ import annotations

from ansible_collections.platform.recovery.plugins.action import region_observe
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import Credentials, Member, MemberState
from ansible_collections.platform.recovery.plugins.module_utils.region.model import Database, Platform, Region, View

SERVICES = {
    "name": "db",
    "value": "db.east",
    "clusters": {"west-1": {"kubeconfig": "w"}, "east-1": {"kubeconfig": "e"}},
    "workloads": [{"cluster": "west-1", "name": "a"}, {"cluster": "east-1", "name": "a"}],
    "lost_clusters": ["west-1"],
}
ZONE = {
    "servers": [
        {"address": "a", "region": "west"},
        {"address": "b", "region": "east"},
        {"address": "c", "region": None},
    ],
    "resolvers": [{"address": "d", "region": "west"}],
}
PRIMARY = MemberState("east", "b:1", True, in_recovery=False, system_identifier="7", timeline=2)


def test_services_lose_the_clusters_that_are_out() -> None:
    left = region_observe.outside(SERVICES, {"west-1"})
    assert left["clusters"] == {"east-1": {"kubeconfig": "e"}}
    assert left["workloads"] == [{"cluster": "east-1", "name": "a"}]
    assert left["lost_clusters"] == []


def test_a_zone_loses_the_servers_of_a_lost_region_unless_none_would_be_left() -> None:
    zone = region_observe.without(ZONE, ["west"])
    assert [one["address"] for one in zone["servers"]] == ["b", "c"]
    assert zone["resolvers"] == ZONE["resolvers"]


def test_the_targets_own_services_work_with_the_primary_as_it_is_now() -> None:
    members = {name: Member(name, f"db.{name}") for name in ("west", "east")}
    regions = {name: Region(name, {f"{name}-1": {}}) for name in ("west", "east")}
    platform = Platform("west", regions, (Database("db", members, Credentials("u", "p")),))
    down = MemberState("west", "a:1", False, why_not="refused", cause="refused")
    [here] = region_observe.services_here(
        platform, View("west", (), {"db": {"west": down, "east": PRIMARY}}), [SERVICES]
    )
    assert here["value"] == "db.east"
    assert [one["cluster"] for one in here["workloads"]] == ["west-1"]
    nobody = View("west", (), {"db": {"west": down, "east": down}})
    assert region_observe.services_here(platform, nobody, [SERVICES]) == []
