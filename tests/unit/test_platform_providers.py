# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each provider needs in the platform description, and how it reaches the roles."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.platform.recovery.plugins.module_utils import platform, schema
from ansible_collections.platform.recovery.plugins.modules.platform_description import DOCUMENTATION

ROOT = Path(__file__).resolve().parents[2]
CALL = {
    "playbook": "database-failover",
    "modes": ["plan", "switchover", "failover"],
    "mode": "failover",
    "target": "us-east-1",
}
REGIONS = ("us-west-2", "us-east-1")
OPERATOR = {
    "database": {"provider": "kubernetes_resource", "flavour": "cloudnativepg"},
    "member": {"resource": {"cluster": "us-west-2", "namespace": "databases", "name": "platform-db"}},
}
REPLICA = {"database": {"provider": "rds"}, "member": {"rds": {"region": "us-west-2", "instance": "platform-db"}}}
AURORA = {
    "database": {"provider": "rds", "rds": {"global_cluster": "platform"}},
    "member": {"rds": {"region": "us-west-2", "cluster": "platform-db"}},
}
NODES = {"pg-1": {"url": "https://10.1.0.11:8008", "fence": {"host": "h", "user": "u", "unit": "patroni"}}}
PATRONI = {
    "database": {"provider": "patroni", "patroni": {"credentials": "postgresql_admin", "topology": "standby_cluster"}},
    "member": {"patroni": {"nodes": NODES, "source": {"primary_slot_name": "other"}}},
}


def described(base: dict[str, Any], database: dict[str, Any], member: dict[str, Any]) -> tuple[Any, list[str]]:
    """Describe the example's database with a provider, and change it; None takes a key out."""
    variables = yaml.safe_load((ROOT / "inventories/example/group_vars/all/platform.yml").read_text())
    content = copy.deepcopy(variables["recovery_platform"])
    found = content["databases"]["platform_db"]
    for target, changes in (
        (found, {**base["database"], **database}),
        *((found["members"][region], {"fence": None, **base["member"], **member}) for region in REGIONS[:1]),
        *((found["members"][region], {"fence": None, **base["member"]}) for region in REGIONS[1:]),
    ):
        target |= changes
        for key in [key for key, value in changes.items() if value is None]:
            target.pop(key, None)
    call = {**CALL, "platform": content, "credentials": variables["recovery_credentials"]}
    options, problems = schema.Validator(maps=platform.MAPS).check(yaml.safe_load(DOCUMENTATION)["options"], call)
    if not problems:
        problems += platform.cross_check(options["platform"], options["credentials"])
    return options, [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("base", "database", "member", "expected"),
    [
        pytest.param(OPERATOR, {}, {}, None, id="an operator"),
        pytest.param(OPERATOR, {"flavour": None}, {}, r"platform_db\.flavour: got nothing.*cloudnativepg or zalando"),
        pytest.param(OPERATOR, {"flavour": "zalandoo"}, {}, r"flavour.*did you mean 'zalando'"),
        pytest.param(OPERATOR, {}, {"resource": None}, r"members\.us-west-2\.resource: got nothing.*a mapping"),
        pytest.param(
            OPERATOR,
            {},
            {"resource": {"cluster": "us-wst-2", "namespace": "databases", "name": "x"}},
            r"members\.us-west-2\.resource\.cluster: got 'us-wst-2'.*did you mean 'us-west-2'",
        ),
        pytest.param(OPERATOR, {}, {"resource": {"cluster": "us-west-2", "name": "x"}}, r"resource\.namespace"),
        pytest.param(
            OPERATOR,
            {},
            {"fence": {"host": "h", "user": "u", "unit": "p"}},
            r"fence.*nothing: kubernetes_resource fences",
        ),
        pytest.param(OPERATOR, {"rds": {"global_cluster": "x"}}, {}, r"platform_db\.rds: .*nothing with the provider"),
        pytest.param(REPLICA, {}, {}, None, id="a read replica"),
        pytest.param(
            REPLICA, {"flavour": "zalando"}, {}, r"platform_db\.flavour: got 'zalando'.*nothing with the provider rds"
        ),
        pytest.param(REPLICA, {}, {"rds": {"region": "us-west-2"}}, r"us-west-2\.rds\.instance: got nothing"),
        pytest.param(
            REPLICA,
            {},
            {"rds": {"region": "us-west-2", "instance": "a", "cluster": "b"}},
            r"rds\.cluster: got 'b'.*nothing beside instance",
        ),
        pytest.param(AURORA, {}, {}, None, id="an Aurora global database"),
        pytest.param(AURORA, {}, {"rds": {"region": "us-west-2"}}, r"us-west-2\.rds\.cluster: got nothing"),
        pytest.param(AURORA, {"rds": {"global_cluster": "x", "failover": "manged"}}, {}, r"did you mean 'managed'"),
        pytest.param(AURORA, {"provider": "streaming"}, {}, r"nothing with the provider streaming"),
        pytest.param(PATRONI, {}, {}, None, id="Patroni"),
        pytest.param(PATRONI, {"patroni": None}, {"patroni": {"nodes": NODES}}, r"source.*nothing in one cluster"),
        pytest.param(PATRONI, {}, {"patroni": None}, r"members\.us-west-2\.patroni: got nothing.*a mapping"),
        pytest.param(PATRONI, {}, {"patroni": {"nodes": {}}}, r"us-west-2\.patroni\.nodes: got 'none'"),
        pytest.param(
            PATRONI,
            {},
            {"patroni": {"nodes": {"pg": {"url": "10.1.0.1:8008"}}}},
            r"nodes\.pg\.url: got '10\.1\.0\.1:8008'",
        ),
        pytest.param(
            PATRONI,
            {},
            {"patroni": {"nodes": {"a": {"url": "http://a"}, "b": {"url": "http://b", "host": "b"}}}},
            r"nodes\.a\.host: got nothing",
        ),
        pytest.param(PATRONI, {}, {"patroni": {"nodes": {"pg": {}}}}, r"nodes\.pg\.url: got nothing.*required"),
        pytest.param(
            PATRONI,
            {},
            {"patroni": {"nodes": {"pg": {"url": "http://h", "port": 0}}}},
            r"patroni\.nodes\.pg\.port: got 0",
        ),
        pytest.param(
            PATRONI,
            {},
            {"fence": {"host": "h", "user": "u", "unit": "p"}},
            r"us-west-2\.fence.*nothing here: each node",
        ),
        pytest.param(PATRONI, {"patroni": {"credentials": "postgresql_admn"}}, {}, r"did you mean 'postgresql_admin'"),
        pytest.param(PATRONI, {"patroni": {"topology": "standby_cluser"}}, {}, r"did you mean 'standby_cluster'"),
        pytest.param(PATRONI, {"patroni": {"topology": "standby_cluster", "cert_file": "c"}}, {}, r"both, or neither"),
        pytest.param(PATRONI, {"provider": "streaming"}, {}, r"nothing with the provider streaming"),
    ],
)
def test_a_provider_has_what_it_needs_and_no_more(
    base: dict[str, Any], database: dict[str, Any], member: dict[str, Any], expected: str | None
) -> None:
    _options, problems = described(base, database, member)
    if expected is None:
        assert problems == []
    else:
        assert problems
        assert re.search(expected, problems[0])


def test_a_member_carries_what_its_provider_needs() -> None:
    options, _problems = described(OPERATOR, {}, {})
    [database] = platform.select(platform.Wish.of(options), options["platform"])
    resource = database["members"]["us-west-2"]["resource"]
    cluster = options["platform"]["clusters"]["us-west-2"]
    assert (resource["flavour"], resource["name"]) == ("cloudnativepg", "platform-db")
    assert (resource["kubeconfig"], resource["context"]) == (cluster["kubeconfig"], cluster["context"])
    assert "rds" not in database["members"]["us-west-2"]
    assert not {"resource", "fence"} & set(database["target_member"])
    options, _problems = described(AURORA, {}, {})
    [database] = platform.select(platform.Wish.of(options), options["platform"])
    place = database["members"]["us-east-1"]["rds"]
    assert (place["cluster"], place["global_cluster"], place["failover"]) == ("platform-db", "platform", "managed")
    options, _problems = described(PATRONI, {}, {})
    [database] = platform.select(platform.Wish.of(options), options["platform"])
    found = database["members"]["us-east-1"]["patroni"]
    assert (database["api_credentials"], found["topology"]) == ("postgresql_admin", "standby_cluster")
    assert (found["nodes"]["pg-1"]["fence"]["unit"], found["source"]) == ("patroni", {"primary_slot_name": "other"})
    assert "credentials" not in found


def test_one_cluster_has_each_node_once() -> None:
    _options, problems = described(PATRONI, {"patroni": None}, {"patroni": {"nodes": NODES}})
    assert any("names that no other region has" in problem for problem in problems)
