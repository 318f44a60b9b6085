# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two regions that should hold the same: what differs is named, and no value is ever kept."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.kubernetes import parity
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.transport import Deadline
from ansible_collections.platform.recovery.plugins.module_utils.readiness import Check

from .conftest import FakeApi, Reply, Request, deployment, listing

SECRET = "planted-value-of-a-secret"


def named(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "production"}, **more}


def encoded(**values: str) -> dict[str, str]:
    return {key: b64encode(value.encode()).decode() for key, value in values.items()}


def workload(image: str = "app:1", env: tuple[str, ...] = ("DB_HOST",)) -> dict[str, Any]:
    item = deployment()
    reference = {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}
    variables = [{"name": name, "value": "x"} for name in env]
    container = {"name": "app", "image": image, "env": [*variables, reference]}
    item["spec"]["template"]["spec"]["containers"] = [container]
    return item


def region(name: str, **changes: Any) -> dict[str, list[dict[str, Any]]]:
    """What the API of a region lists, by resource."""
    return {
        "deployments": [workload()],
        "statefulsets": [],
        "configmaps": [
            named("settings", data={"log": "info", "endpoint": f"https://api.{name}.example.com"}),
            named("kube-root-ca.crt", data={"ca.crt": name}),
        ],
        "secrets": [
            named("db", type="Opaque", data=encoded(password=SECRET)),
            named("token", type="kubernetes.io/service-account-token", data=encoded(token=name)),
            named("edge", type="kubernetes.io/tls", data=encoded(**{"tls.crt": name, "tls.key": name})),
        ],
        **changes,
    }


def compare(fakes: Callable[[], FakeApi], west: Any, east: Any, *expected: str) -> list[Check]:
    clients = {}
    for name, lists in (("west", west), ("east", east)):
        fake = fakes()

        def script(request: Request, lists: Any = lists) -> Reply:
            found = lists[request.path.rsplit("/", 1)[-1]]
            return found if isinstance(found, Reply) else listing(*found)

        fake.script = script
        clients[name] = fake.client()
    spaces = {name: ["production"] for name in clients}
    seen = parity.read(clients, spaces, {name: name for name in clients}, Deadline.after(10), 4)
    assert SECRET not in repr(seen)
    return list(parity.checks(seen["west"], seen["east"], expected))


def bad(checks: list[Check]) -> dict[str, str]:
    assert all(check.mend for check in checks if check.verdict != "ready")
    return {check.check: check.verdict for check in checks if check.verdict != "ready"}


def changed_secret(**values: str) -> list[dict[str, Any]]:
    return [named("db", type="Opaque", data=encoded(**values)), *region("east")["secrets"][1:]]


@pytest.mark.parametrize(
    ("east", "expected"),
    [
        ({}, {}),
        ({"deployments": [workload("app:0")]}, {"Deployment production/user-service, image of app": "not_ready"}),
        (
            {"deployments": [workload(env=("DB_HOST", "NEW"))]},
            {"Deployment production/user-service, variables of app": "not_ready"},
        ),
        ({"deployments": []}, {"Deployment production/user-service": "not_ready"}),
        (
            {"configmaps": [named("settings", data={"log": "debug", "endpoint": "https://api.east.example.com"})]},
            {"ConfigMap production/settings, key log": "not_ready"},
        ),
        (
            {"configmaps": [named("settings", data={"log": "info", "endpoint": "https://api.west.example.com"})]},
            {"ConfigMap production/settings, key endpoint": "not_ready"},
        ),
        ({"configmaps": []}, {"ConfigMap production/settings": "not_ready"}),
        ({"secrets": changed_secret(password="other")}, {"Secret production/db, key password": "not_ready"}),
        (
            {"secrets": changed_secret(passwort=SECRET)},
            {
                "Secret production/db, key password": "not_ready",
                "Secret production/db, key passwort": "not_ready",
                "Secret production/db, key password needed": "not_ready",
            },
        ),
        (
            {"secrets": region("east")["secrets"][1:]},
            {"Secret production/db": "not_ready", "Secret production/db, key password needed": "not_ready"},
        ),
        (
            {"secrets": Reply(403, {"message": "no"})},
            {"secrets": "unknown", "references": "unknown"},
        ),
        (
            {"deployments": Reply(403, {"message": "no"})},
            {"images": "unknown", "registries": "unknown"},
        ),
    ],
)
def test_each_difference_is_named_and_nothing_else(
    fakes: Callable[[], FakeApi], east: dict[str, Any], expected: dict[str, str]
) -> None:
    checks = compare(fakes, region("west"), region("east", **east))
    assert bad(checks) == expected
    assert not any(SECRET in str(check) for check in checks)


def test_a_difference_that_is_meant_is_none(fakes: Callable[[], FakeApi]) -> None:
    east = region("east", configmaps=[], deployments=[workload("app:0")])
    names = ("ConfigMap/production/set*", "Deployment/production/user-service/image of app")
    assert bad(compare(fakes, region("west"), east, "ConfigMap/production/set*")) != {}
    assert bad(compare(fakes, region("west"), east, names[0], "Deployment/production/*/of app")) == {}


def test_an_image_from_the_registry_of_the_other_region(fakes: Callable[[], FakeApi]) -> None:
    image = "registry.west.example.com/app:1"
    checks = compare(fakes, region("west"), region("east", deployments=[workload(image)]))
    assert bad(checks) == {
        "Deployment production/user-service, image of app": "not_ready",
        "registries": "not_ready",
    }


def test_digests_of_two_comparisons_have_nothing_in_common() -> None:
    one, other = parity.Digester(), parity.Digester()
    assert one.of(b"x") == one.of(b"x") != one.of(b"y")
    assert one.of(b"x") != other.of(b"x")


def test_an_image_of_a_regions_own_registry_is_the_same() -> None:
    west, east = (parity.naming(name) for name in ("us-west-2", "us-east-1"))
    images = [
        parity.workload_of("p", workload(f"1.dkr.ecr.{name}.example.com/app:1"), own).parts["image of app"]
        for name, own in (("us-west-2", west), ("us-east-1", east))
    ]
    assert images[0] == images[1]
