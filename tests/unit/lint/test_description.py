# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A description read as if a region were gone: what needs it is named with its key, and nothing else is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.platform.recovery.plugins.module_utils import platform, schema
from ansible_collections.platform.recovery.plugins.module_utils.lint import description
from ansible_collections.platform.recovery.plugins.module_utils.lint.places import Atlas, atlas_of
from ansible_collections.platform.recovery.plugins.modules.platform_description import DOCUMENTATION

ROOT = Path(__file__).resolve().parents[3]
WEST, EAST = "us-west-2", "us-east-1"
OPTIONS = yaml.safe_load(DOCUMENTATION)["options"]["platform"]
Change = Callable[[dict[str, Any]], Any]


def described() -> dict[str, Any]:
    """The example platform, with its canary where it outlives the west."""
    text = (ROOT / "inventories/example/group_vars/all/platform.yml").read_text()
    data: dict[str, Any] = yaml.safe_load(text)["recovery_platform"]
    data["canary"]["edge"] = EAST
    return data


def keys(change: Change = lambda _: None, lost: str = WEST) -> set[str]:
    data = copy.deepcopy(described())
    change(data)
    made, problems = schema.Validator(maps=platform.MAPS).check({"platform": OPTIONS}, {"platform": data})
    assert problems == []
    found = description.findings(made["platform"], lost, "inventory")
    assert all(finding.why and finding.mend and finding.lost == lost for finding in found)
    return {finding.key.removeprefix("platform.") for finding in found}


def service(name: str, **more: Any) -> Change:
    return lambda data: data["services"][name].update(more)


def zone(**more: Any) -> Change:
    return lambda data: data["zones"]["example.com"].update(more)


def member(region: str, **more: Any) -> Change:
    return lambda data: data["databases"]["platform_db"]["members"][region].update(more)


def rfc2136(address: str) -> dict[str, Any]:
    return {"provider": "rfc2136", "rfc2136": {"address": address}}


def test_a_platform_that_has_everything_twice_has_no_finding() -> None:
    assert keys() == set()
    assert keys(lost="eu-west-1") == set()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda data: data["canary"].update(edge=WEST), {"canary.edge"}),
        (lambda data: data.update(lease={"clusters": [WEST]}), {"lease.clusters"}),
        (lambda data: data.update(lease={"clusters": [WEST, EAST]}), set()),
        (lambda data: data["clusters"].pop(EAST), {"clusters", "lease.clusters"}),
        (lambda data: data["edges"].pop(EAST), {"edges"}),
        (service("ai-service", clusters=[WEST]), {"services.ai-service.clusters"}),
        (service("ai-service", clusters=[EAST]), set()),
        (member(EAST, host="db.us-west-2.example.com"), {"databases.platform_db.members.us-east-1.host"}),
        (member(EAST, address="10.1.0.30"), set()),
        (
            lambda data: data["databases"]["platform_db"]["members"][EAST]["fence"].update(host="bmc.us-west-2.net"),
            {"databases.platform_db.members.us-east-1.fence.host"},
        ),
        (lambda data: data["zones"]["example.com"]["targets"].pop(EAST), {"zones.example.com.targets"}),
        (
            lambda data: data["zones"]["example.com"]["targets"][EAST].update(
                probe="https://edge.us-west-2.example.com/healthz"
            ),
            {"zones.example.com.targets.us-east-1.probe"},
        ),
        (zone(servers=[{"address": "10.1.0.53", "region": WEST}]), {"zones.example.com.servers"}),
        (zone(servers=[{"address": f"10.{n}.0.53", "region": r} for n, r in ((1, WEST), (2, EAST))]), set()),
        (zone(resolvers=[{"address": "10.1.0.53", "region": WEST}]), {"zones.example.com.resolvers"}),
        (zone(**rfc2136("ns.us-west-2.example.com")), {"zones.example.com.rfc2136.address"}),
        (zone(**rfc2136("ns.us-east-1.example.com")), set()),
        (
            zone(
                provider="arc",
                arc={"endpoints": [{"url": "https://a", "region": WEST}], "controls": {WEST: "arn:w", EAST: "arn:e"}},
            ),
            {"zones.example.com.arc.endpoints"},
        ),
        (
            zone(
                provider="arc",
                arc={
                    "endpoints": [{"url": f"https://{r}.example.com", "region": r} for r in (WEST, EAST)],
                    "controls": {WEST: "arn:aws:us-west-2:1", EAST: "arn:aws:us-east-1:1"},
                },
            ),
            set(),
        ),
        (
            zone(route53={"endpoint_url": "https://route53.us-west-2.example.com"}),
            {"zones.example.com.route53.endpoint_url"},
        ),
    ],
)
def test_what_needs_the_lost_region_is_named(change: Change, expected: set[str]) -> None:
    assert keys(change) == expected


def test_the_control_plane_of_route_53_has_a_home() -> None:
    assert keys(zone(provider="route53_records"), lost=EAST) >= {"zones.example.com.provider"}
    assert keys(zone(provider="route53_records"), lost=WEST) == set()


def test_a_kubeconfig_that_leads_through_the_lost_region(tmp_path: Path) -> None:
    path = tmp_path / "east.yml"
    arguments = ["eks", "get-token", "--region", WEST, "--cluster-name", "east"]
    content = {
        "clusters": [{"name": "c", "cluster": {"server": "https://api.us-east-1.example.com"}}],
        "users": [{"name": "u", "user": {"exec": {"command": "aws", "args": arguments}}}],
        "contexts": [{"name": "production", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(yaml.safe_dump(content))
    change = {"kubeconfig": str(path)}
    assert keys(lambda data: data["clusters"][EAST].update(change)) == {"credential program"}
    assert keys(lambda data: data["clusters"][WEST].update(change)) == set()


@pytest.mark.parametrize(
    ("variables", "environment", "expected"),
    [
        ({"recovery_journal": "s3://journal-us-west-2/runs"}, {}, {"recovery_journal"}),
        ({"recovery_journal": "s3://journal/runs"}, {"AWS_REGION": WEST}, {"AWS_REGION"}),
        ({"recovery_journal": "s3://journal/runs"}, {"AWS_REGION": EAST}, set()),
        ({"recovery_journal": "file:runs"}, {"AWS_REGION": WEST}, set()),
        ({"recovery_approvals": ["https://files.us-west-2.example.com/a"]}, {}, {"recovery_approvals[0]"}),
        (
            {
                "recovery_credentials": {
                    "db": {"password": "{{ lookup('x', url='https://vault.us-west-2.example.com') }}"}
                }
            },
            {},
            {"recovery_credentials.db.password"},
        ),
        ({"recovery_credentials": {"db": {"password": "{{ lookup('file', '/keys/us-west-2/db') }}"}}}, {}, set()),
    ],
)
def test_what_the_operator_keeps_in_the_lost_region(
    variables: dict[str, Any], environment: dict[str, str], expected: set[str]
) -> None:
    found = list(description.of_variables(variables, environment, WEST, "inventory", atlas_of(described())))
    assert {finding.key for finding in found} == expected


def test_a_password_that_names_a_region_is_not_shown() -> None:
    accounts = {"recovery_credentials": {"db": {"user": "u", "password": "us-west-2"}}}
    [found] = description.of_variables(accounts, {}, WEST, "inventory", Atlas((WEST, EAST)))
    assert found.value == "a hidden value"
