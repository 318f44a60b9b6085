# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles, and what a target on the command line may name."""

from __future__ import annotations

import pytest

from recovery_lab import redis_servers, targets, topology
from recovery_lab.errors import LabError
from recovery_lab.pods import Pod

PODS = [
    Pod("us-west-2", "user-service", "user-service-5d4-aaaaa", pid=1),
    Pod("us-west-2", "user-service", "user-service-5d4-bbbbb", pid=2),
    Pod("us-east-1", "user-service", "user-service-5d4-ccccc", pid=3),
]


def test_small_has_the_four_servers_in_both_regions() -> None:
    layout = topology.build("small")
    assert layout.regions == ["us-west-2", "us-east-1"]
    assert {server.kind for server in layout.servers} == {"postgresql", "kubernetes", "dns", "edge"}
    assert len(layout.servers) == 8


def test_scale_has_one_cluster_without_pods_and_both_databases() -> None:
    layout = topology.build("scale")
    assert [server.target for server in layout.of_kind("kubernetes")] == ["us-west-2/kubernetes"]
    assert len(layout.of_kind("postgresql")) == 2
    assert layout.node == "kwok"
    assert not layout.services
    assert not layout.of_kind("edge")


def test_full_is_small_and_more() -> None:
    small, full = topology.build("small"), topology.build("full")
    assert {server.target for server in small.servers} < {server.target for server in full.servers}
    assert [server.region for server in full.of_kind("dns_authority")] == ["us-west-2", "us-east-1"]
    assert [server.target for server in full.of_kind("aws_api")] == ["us-east-1/aws_api"]


def test_full_has_redis_and_a_sentinel_in_both_regions() -> None:
    full = topology.build("full")
    for kind in ("redis", "sentinel"):
        assert [server.region for server in full.of_kind(kind)] == ["us-west-2", "us-east-1"]
        links = [link for link in full.links if link.target == f"us-west-2/{kind}"]
        assert {link.origin for link in links} == {"operator", "us-east-1"}


def test_each_region_knows_the_redis_servers_by_its_own_links() -> None:
    full = topology.build("full")
    west, east = (
        dict(reversed(row.split()) for row in redis_servers.hosts(region, full).splitlines()) for region in full.regions
    )
    assert west["redis.us-west-2.lab.internal"] == "127.1.0.60"
    assert west["redis.us-east-1.lab.internal"] == "127.112.0.60"
    assert east["redis.us-west-2.lab.internal"] == "127.121.0.60"
    assert east["sentinel.us-east-1.lab.internal"] == "127.2.0.61"


def test_a_fault_on_redis_spares_the_guard_of_its_host() -> None:
    assert targets.select("us-west-2/redis", topology.build("full"), PODS).processes == ["us-west-2/redis/redis"]


def test_the_aws_api_is_reached_by_the_operator_and_by_the_other_region() -> None:
    links = [link for link in topology.build("full").links if link.target == "us-east-1/aws_api"]
    assert {link.origin for link in links} == {"operator", "us-west-2"}


def test_an_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(LabError, match="'smal'; did you mean 'small'"):
        topology.build("smal")


def test_a_region_is_all_its_processes() -> None:
    selection = targets.select("us-west-2", topology.build("small"), PODS)
    assert selection.is_region
    assert len(selection.processes) == 9
    assert "us-west-2/postgresql/guard" in selection.processes
    assert not any(name.startswith("us-east-1") for name in selection.processes)


def test_a_fault_on_a_database_spares_the_guard_of_its_host() -> None:
    selection = targets.select("us-west-2/postgresql", topology.build("small"), PODS)
    assert selection.processes == ["us-west-2/postgresql/postgres"]


def test_an_instance_is_one_process() -> None:
    selection = targets.select("us-east-1/kubernetes/scheduler", topology.build("small"), PODS)
    assert selection.processes == ["us-east-1/kubernetes/scheduler"]


def test_a_service_is_its_pods_in_that_region() -> None:
    selection = targets.select("us-west-2/user-service", topology.build("small"), PODS)
    assert [pod.pid for pod in selection.pods] == [1, 2]
    assert selection.processes == []


def test_a_pod_is_itself() -> None:
    selection = targets.select("us-west-2/user-service/user-service-5d4-bbbbb", topology.build("small"), PODS)
    assert [pod.pid for pod in selection.pods] == [2]


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("us-west-2/postgres", "did you mean 'us-west-2/postgresql'"),
        ("us-west-1", "did you mean 'us-west-2'"),
        ("us-west-2/kubernetes/etc", "did you mean 'us-west-2/kubernetes/etcd'"),
        ("us-west-2/user-servic", "did you mean 'us-west-2/user-service'"),
        ("moon", "A target is a region"),
        ("", "A target is a region"),
        ("us-west-2/", "A target is a region"),
    ],
)
def test_a_wrong_target_names_itself_and_the_nearest(wrong: str, hint: str) -> None:
    with pytest.raises(LabError) as error:
        targets.select(wrong, topology.build("small"), PODS)
    assert repr(wrong) in str(error.value)
    assert hint in str(error.value)
