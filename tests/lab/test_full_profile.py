# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The profile `full`: names that answer as Route 53 would, before and after faults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import dns.message
import dns.query
import pytest
import redis
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.lab.conftest import LabUnderTest, eventually

WEST, EAST = "127.101.0.80", "127.102.0.80"
APP = "app.lab.example"


@pytest.fixture(scope="module")
def full(lab: LabUnderTest) -> Iterator[LabUnderTest]:
    """The same lab made anew with more in it, and small again afterwards."""
    lab.run("down")
    lab.connects.clear()
    if lab.run("up", "--profile", "full", ok=False).returncode:
        lab.run("reset")
    yield lab
    lab.run("down")
    lab.connects.clear()
    lab.make_healthy()


def place(url: str) -> tuple[str, int]:
    host, _, port = url.rpartition("/")[2].partition(":")
    return host, int(port)


def told(lab: LabUnderTest, region: str, name: str = APP) -> list[str]:
    """What a region's name server tells the world outside."""
    host, port = place(lab.connect(f"{region}/dns_authority")["url"])
    response = dns.query.tcp(dns.message.make_query(name, "A"), host, timeout=3, port=port)
    return [item.to_text() for rrset in response.answer for item in rrset]


def cached(lab: LabUnderTest, name: str = APP) -> list[str]:
    host, port = place(lab.connect("us-east-1/dns_authority")["resolver"])
    response = dns.query.udp(dns.message.make_query(name, "A"), host, timeout=3, port=port)
    return [item.to_text() for rrset in response.answer for item in rrset]


def route53(lab: LabUnderTest, **config: Any) -> Any:
    connect = lab.connect("us-east-1/aws_api")
    return boto3.client(
        "route53",
        endpoint_url=connect["url"],
        region_name=connect["region"],
        aws_access_key_id=connect["access_key_id"],
        aws_secret_access_key=connect["secret_access_key"],
        config=Config(**config),
    )


def west_check(lab: LabUnderTest) -> Any:
    checks = route53(lab).list_health_checks()["HealthChecks"]
    return next(one for one in checks if one["HealthCheckConfig"]["IPAddress"] == WEST)


def test_every_name_leads_to_the_west_on_the_first_day(full: LabUnderTest) -> None:
    for name in (APP, "user-service.lab.example", "api.lab.example"):
        assert told(full, "us-west-2", name) == told(full, "us-east-1", name) == cached(full, name) == [WEST]
    assert cached(full, "app.dynamic.example") == [WEST]


def test_names_leave_a_region_that_does_not_answer(full: LabUnderTest) -> None:
    full.run("break", "kill", "us-west-2/edge")
    eventually(lambda: told(full, "us-east-1") == [EAST] and cached(full) == [EAST], 30)
    full.run("heal")
    eventually(lambda: told(full, "us-east-1") == [WEST] and cached(full) == [WEST], 30)


def test_a_region_that_is_cut_off_takes_its_name_server_along(full: LabUnderTest) -> None:
    full.run("break", "isolate", "us-west-2/dns_authority")
    with pytest.raises((OSError, EOFError)):
        told(full, "us-west-2")
    assert cached(full) == [WEST]
    full.run("heal")
    assert told(full, "us-west-2") == [WEST]


def test_name_servers_need_no_control_plane_and_it_forgets_nothing(full: LabUnderTest) -> None:
    identifier = west_check(full)["Id"]
    route53(full).update_health_check(HealthCheckId=identifier, Disabled=True, Inverted=True)
    eventually(lambda: told(full, "us-west-2") == told(full, "us-east-1") == [EAST])
    full.run("break", "kill", "us-east-1/aws_api")
    full.run("break", "kill", "us-east-1/dns_authority")
    assert told(full, "us-west-2") == [EAST]
    # One that begins while the API is down knows what it knew.
    full.run("heal", "us-east-1/dns_authority", ok=False)
    eventually(lambda: told(full, "us-east-1") == [EAST])
    full.run("heal")
    assert west_check(full)["HealthCheckConfig"]["Inverted"]


def roles(lab: LabUnderTest) -> dict[str, str]:
    return {row["region"]: row.get("role", "") for row in lab.status()["servers"] if row["kind"] == "redis"}


def test_redis_is_never_promoted_by_itself(full: LabUnderTest) -> None:
    """Not even where only its primary is killed, which both Sentinels see."""
    with redis.Redis.from_url(full.connect("us-west-2/redis")["url"]) as client:
        client.set("first", "day")
    with redis.Redis.from_url(full.connect("us-east-1/redis")["url"]) as client:
        eventually(lambda: client.get("first") == b"day")
    full.run("break", "kill", "us-west-2/redis")
    with redis.Redis.from_url(full.connect("us-east-1/sentinel")["url"], protocol=2) as client:
        eventually(lambda: "s_down" in str(client.execute_command("SENTINEL", "MASTER", "sessions")))  # type: ignore[no-untyped-call]
    assert roles(full)["us-east-1"] == "replica"
    full.run("heal")
    assert roles(full) == {"us-west-2": "primary", "us-east-1": "replica"}
    with redis.Redis.from_url(full.connect("us-east-1/sentinel")["url"], protocol=2) as client:
        client.execute_command("SENTINEL", "FAILOVER", "sessions")  # type: ignore[no-untyped-call]
    eventually(lambda: roles(full) == {"us-west-2": "replica", "us-east-1": "primary"}, 30)


def test_a_reset_gives_the_first_day_back(full: LabUnderTest) -> None:
    full.run("reset")
    eventually(lambda: told(full, "us-west-2") == told(full, "us-east-1") == [WEST])
    assert not west_check(full)["HealthCheckConfig"]["Inverted"]
    assert roles(full) == {"us-west-2": "primary", "us-east-1": "replica"}


def test_too_many_requests_are_refused_and_name_servers_go_on(full: LabUnderTest) -> None:
    client = route53(full, retries={"total_max_attempts": 1})
    codes = []
    for _ in range(12):
        try:
            client.list_health_checks()
            codes.append("done")
        except ClientError as error:
            codes.append(error.response["Error"]["Code"])
    assert set(codes) == {"done", "Throttling"}
    assert told(full, "us-east-1") == [WEST]


def files(lab: LabUnderTest, region: str, *, root: bool = False) -> tuple[Any, str]:
    """Somebody's client of a region's objects, and the name of the bucket."""
    connect = lab.connect(f"{region}/object_storage")
    who = "" if root else "application_"
    client = boto3.client(
        "s3",
        endpoint_url=connect["url"],
        verify=connect["ca_file"],
        region_name=region,
        aws_access_key_id=connect[f"{who}access_key"],
        aws_secret_access_key=connect[f"{who}secret_key"],
        config=Config(s3={"addressing_style": "path"}, connect_timeout=2, retries={"total_max_attempts": 1}),
    )
    return client, connect["bucket"]


def held(lab: LabUnderTest, region: str) -> set[tuple[str, str, str]]:
    client, bucket = files(lab, region, root=True)
    page = client.list_object_versions(Bucket=bucket)
    return {
        (kind, row["Key"], row["VersionId"]) for kind in ("Versions", "DeleteMarkers") for row in page.get(kind, ())
    }


def test_objects_are_replicated_to_the_east_and_written_in_the_west_only(full: LabUnderTest) -> None:
    client, bucket = files(full, "us-west-2")
    client.put_object(Bucket=bucket, Key="a", Body=b"1")
    client.delete_object(Bucket=bucket, Key="a")
    eventually(lambda: len(held(full, "us-east-1")) == 2)
    assert held(full, "us-east-1") == held(full, "us-west-2")
    other, name = files(full, "us-east-1")
    with pytest.raises(ClientError, match="AccessDenied"):
        other.put_object(Bucket=name, Key="b", Body=b"1")
    full.run("break", "isolate", "us-east-1/object_storage")
    client.put_object(Bucket=bucket, Key="c", Body=b"1")
    full.run("heal")
    eventually(lambda: held(full, "us-east-1") == held(full, "us-west-2"), 30)
    full.run("break", "kill", "us-west-2/object_storage")
    assert full.server("us-west-2/object_storage")["state"] == "failed"
    full.run("heal")
    assert len(held(full, "us-west-2")) == 3
    full.run("reset")
    assert held(full, "us-west-2") == held(full, "us-east-1") == set()
