# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The address plan: who reaches whom where, and which links a partition cuts."""

from __future__ import annotations

import pytest

from recovery_lab import addresses
from recovery_lab.addresses import Link

REGIONS = ["us-west-2", "us-east-1"]
KINDS = {"postgresql", "kubernetes", "edge", "dns"}


@pytest.fixture
def links() -> dict[str, Link]:
    return {link.name: link for link in addresses.links(REGIONS, KINDS)}


@pytest.mark.parametrize(
    ("origin", "region", "kind", "address"),
    [
        ("operator", "us-west-2", "postgresql", "127.101.0.30"),
        ("operator", "us-east-1", "edge", "127.102.0.80"),
        ("operator", "us-east-1", "kubernetes", "127.102.0.2"),
        ("us-west-2", "us-west-2", "postgresql", "127.1.0.30"),
        ("us-west-2", "us-east-1", "postgresql", "127.112.0.30"),
        ("us-east-1", "us-west-2", "postgresql", "127.121.0.30"),
        ("us-west-2/postgresql", "us-east-1", "postgresql", "127.142.0.30"),
        ("us-east-1/postgresql", "us-west-2", "postgresql", "127.151.0.30"),
        ("us-west-2/postgresql", "us-west-2", "postgresql", "127.1.0.30"),
    ],
)
def test_each_origin_has_its_own_address_for_a_server(origin: str, region: str, kind: str, address: str) -> None:
    assert addresses.reach(origin, region, kind) == address


def test_no_two_links_share_an_address(links: dict[str, Link]) -> None:
    assert len({link.listen for link in links.values()}) == len(links) == 20


def test_every_link_is_an_unprivileged_loopback_address(links: dict[str, Link]) -> None:
    for link in links.values():
        for end in (link.listen, link.upstream):
            host, _, port = end.partition(":")
            assert host.startswith("127.")
            assert all(int(part) < 256 for part in host.split("."))
            assert int(port) > 1024


@pytest.mark.parametrize(
    ("victim", "cut"),
    [
        (
            "us-west-2/edge",
            {
                "operator-to-us-west-2.edge-8080",
                "operator-to-us-west-2.edge-8081",
                "us-east-1-to-us-west-2.edge-8080",
            },
        ),
        (
            "us-west-2/postgresql",
            {
                "operator-to-us-west-2.postgresql-5432",
                "operator-to-us-west-2.postgresql-2222",
                "operator-to-us-west-2.postgresql-5433",
                "operator-to-us-west-2.postgresql-5434",
                "us-east-1-to-us-west-2.postgresql-5432",
                "us-east-1.postgresql-to-us-west-2.postgresql-5432",
                "us-west-2.postgresql-to-us-east-1.postgresql-5432",
            },
        ),
        ("us-west-2/kubernetes", {"operator-to-us-west-2.kubernetes-6443"}),
        ("us-west-2/dns", set()),
    ],
)
def test_isolating_a_server_cuts_exactly_its_links(links: dict[str, Link], victim: str, cut: set[str]) -> None:
    assert {name for name, link in links.items() if link.crosses(victim)} == cut


def test_isolating_a_region_cuts_all_but_what_the_operator_has_with_the_other(links: dict[str, Link]) -> None:
    spared = {name for name, link in links.items() if not link.crosses("us-west-2")}
    ends = {f"postgresql-{port}" for port in (5432, 5433, 5434, 2222)} | {"edge-8080", "edge-8081", "kubernetes-6443"}
    assert spared == {f"operator-to-us-east-1.{end}" for end in ends}


def test_links_out_of_a_place_are_told_from_those_into_it(links: dict[str, Link]) -> None:
    out = links["us-west-2.postgresql-to-us-east-1.postgresql-5432"]
    assert out.leaves("us-west-2")
    assert out.leaves("us-west-2/postgresql")
    assert not out.leaves("us-east-1")


def test_a_name_that_begins_like_a_region_does_not_lie_in_it() -> None:
    assert not addresses.inside("us-west-20/postgresql", "us-west-2")
