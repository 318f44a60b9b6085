# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The provider of AWS against moto, which keeps policies and rules as S3 does and replicates nothing; and listings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, PreconditionFailed, StepFailed
from ansible_collections.platform.recovery.plugins.module_utils.object_storage import listing
from ansible_collections.platform.recovery.plugins.module_utils.object_storage.model import stores_of
from ansible_collections.platform.recovery.plugins.module_utils.object_storage.provider import ARRIVALS, WRITES, Way
from ansible_collections.platform.recovery.plugins.module_utils.object_storage.provider_aws import AWS, whole

# The oldest ansible-core is tested without the library; `aws` is one of two providers.
boto3 = pytest.importorskip("boto3")
mock_aws = pytest.importorskip("moto").mock_aws

WEST, EAST = "us-west-2", "us-east-1"
ROLE = "arn:aws:iam::123456789012:role/replication"
MEMBER: dict[str, Any] = dict.fromkeys(("endpoint", "peer_endpoint", "signing_region", "ca_file", "replicator"))


def options(**more: Any) -> dict[str, Any]:
    members = {
        region: {**MEMBER, "bucket": f"files-{region}", "credentials": "key", "replication_role": ROLE}
        for region in (WEST, EAST)
    }
    entry = {"provider": "aws", "members": members, "writers": [], "objectives": None, **more}
    return {"stores": {"files": entry}, "credentials": {"key": {"user": "AKIA", "password": "planted"}}}


@pytest.fixture
def sides() -> Iterator[dict[str, AWS]]:
    with mock_aws():
        [store] = stores_of(options())
        for region in store.members:
            client = boto3.client("s3", region_name=EAST, aws_access_key_id="a", aws_secret_access_key="b")
            client.create_bucket(Bucket=f"files-{region}")
            wanted = {"Status": "Enabled"}
            client.put_bucket_versioning(Bucket=f"files-{region}", VersioningConfiguration=wanted)
        yield {region: AWS(store, member) for region, member in store.members.items()}


def test_doors_are_statements_and_others_stay(sides: dict[str, AWS]) -> None:
    west = sides[WEST]
    own = {"Sid": "Own", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
    own["Resource"] = "arn:aws:s3:::files-us-west-2/*"
    west.api.call("put_bucket_policy", Policy=json.dumps({"Version": "2012-10-17", "Statement": [own]}))
    assert west.look().primary is False
    for door in (ARRIVALS, WRITES):
        assert west.is_open(door)
        west.shut(door)
        west.shut(door)
        assert not west.is_open(door)
    west.open(WRITES)
    assert west.look().primary
    west.open(ARRIVALS)
    assert json.loads(west.api.call("get_bucket_policy")["Policy"])["Statement"] == [own]


def test_a_statement_that_denies_too_little_is_no_fence(sides: dict[str, AWS]) -> None:
    west = sides[WEST]
    west.shut(WRITES)
    policy = json.loads(west.api.call("get_bucket_policy")["Policy"])
    policy["Statement"][0]["Action"] = "s3:PutObject"
    west.api.call("put_bucket_policy", Policy=json.dumps(policy))
    assert west.is_open(WRITES)
    west.shut(WRITES)
    west.open(WRITES)
    assert west.api.call("get_bucket_policy", missing=("NoSuchBucketPolicy",)) is None


def test_replication_leads_on_and_stops(sides: dict[str, AWS]) -> None:
    west, east = sides[WEST], sides[EAST]
    assert west.way() is None
    west.lead(east.member)
    rules = west.api.call("get_bucket_replication")["ReplicationConfiguration"]
    assert rules["Role"] == ROLE
    # moto takes the word about delete markers and forgets it.
    assert west.way() == Way(east.member.bucket, None, whole=False)
    [rule] = rules["Rules"]
    rule["DeleteMarkerReplication"]["Status"] = "Enabled"
    assert whole(rule)
    for change in ({"Status": "Disabled"}, {"Filter": {"Prefix": "a"}}, {"DeleteMarkerReplication": {}}):
        assert not whole({**rule, **change})
    west.stop()
    west.stop()
    assert west.way() is None
    assert "Batch Replication" in west.catch_up()


def test_without_a_role_nothing_is_led(sides: dict[str, AWS]) -> None:
    given = options()
    given["stores"]["files"]["members"][WEST]["replication_role"] = None
    [store] = stores_of(given)
    with pytest.raises(PreconditionFailed, match="no role"):
        AWS(store, store.members[WEST]).lead(store.members[EAST])
    del sides


def test_buckets_are_compared_in_folders_and_over_pages(sides: dict[str, AWS], monkeypatch: Any) -> None:
    west, east = sides[WEST], sides[EAST]
    for number in range(25):
        west.api.call("put_object", Key=f"a/{number:02}", Body=b"x")
        east.api.call("put_object", Key=f"b/{number:02}", Body=b"x")
    west.api.call("put_object", Key="top", Body=b"x")
    west.api.call("delete_object", Key="a/03")
    asked = listing.Api.call

    def small(self: Any, verb: str, **words: Any) -> Any:
        return asked(self, verb, **{**words, **({"MaxKeys": 4} if verb == "list_object_versions" else {})})

    monkeypatch.setattr(listing.Api, "call", small)
    found = listing.compare(west.api, east.api)
    assert (found.versions, found.markers) == (27, 1)
    assert (found.missing.count, found.extra.count, found.turned.count) == (27, 25, 25)
    assert listing.compare(west.api, west.api).missing.count == 0
    assert listing.newest(west.api)[0] == 27
    assert listing.confirm(found.missing, west.api).count == 0
    assert listing.confirm(found.missing, east.api).count == 27
    listing.touch(west.api, found.missing.rows)
    listing.discard(west.api, found.missing.rows)
    assert listing.newest(west.api) == (0, None)


def test_a_bucket_that_is_not_there_is_said_in_words(sides: dict[str, AWS]) -> None:
    given = options()
    given["stores"]["files"]["members"][WEST]["bucket"] = "another"
    [store] = stores_of(given)
    with pytest.raises(StepFailed, match="NoSuchBucket"):
        AWS(store, store.members[WEST]).look()
    del sides


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"members": {}}, "stores.files.members"),
        ({"provider": "minio"}, "writers"),
        ({"provider": "minio", "writers": ["app"]}, "endpoint"),
    ],
)
def test_a_description_that_cannot_be_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        stores_of(options(**change))


def test_an_account_that_nobody_described_is_refused() -> None:
    with pytest.raises(BadInput, match="credentials"):
        stores_of({**options(), "credentials": {}})
