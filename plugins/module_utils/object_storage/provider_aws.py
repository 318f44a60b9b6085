# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Amazon S3, and what takes policies and replication rules as it does: doors are statements of a bucket's policy.

What was written before replication began is replicated by S3 Batch Replication only, which is a job of the account.
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import PreconditionFailed
from .model import Member
from .provider import REPLICATING, WRITES, WRITING, Provider, Way

GONE = ("ReplicationConfigurationNotFoundError",)
NO_POLICY = ("NoSuchBucketPolicy",)
SIDS = {True: "RecoveryFenceWrites", False: "RecoveryFenceArrivals"}
BUCKET = "arn:aws:s3:::"


class AWS(Provider):
    """See above."""

    def is_open(self, door: str) -> bool:
        """Tell whether the policy lets anybody through a door."""
        wanted = self._statement(door)
        return not any(
            row.get("Sid") == wanted["Sid"]
            and row.get("Effect") == "Deny"
            and row.get("Principal") in ("*", {"AWS": "*"})
            and not row.get("Condition")
            and {*wanted["Action"]} <= {*listed(row.get("Action"))}
            and wanted["Resource"] in listed(row.get("Resource"))
            for row in self._statements()
        )

    def shut(self, door: str) -> None:
        """Deny it to everybody; what others wrote into the policy stays."""
        wanted = self._statement(door)
        self._put([*(row for row in self._statements() if row.get("Sid") != wanted["Sid"]), wanted])

    def open(self, door: str) -> None:
        """Take that statement out again."""
        sid = SIDS[door == WRITES]
        found = self._statements()
        kept = [row for row in found if row.get("Sid") != sid]
        if kept != found:
            self._put(kept)

    def _statement(self, door: str) -> dict[str, Any]:
        actions = WRITING if door == WRITES else REPLICATING
        return {
            "Sid": SIDS[door == WRITES],
            "Effect": "Deny",
            "Principal": "*",
            "Action": list(actions),
            "Resource": f"{BUCKET}{self.member.bucket}/*",
        }

    def _statements(self) -> list[dict[str, Any]]:
        found = self.api.call("get_bucket_policy", missing=NO_POLICY)
        return list(json.loads(found["Policy"]).get("Statement", [])) if found else []

    def _put(self, statements: list[dict[str, Any]]) -> None:
        if statements:
            policy = {"Version": "2012-10-17", "Statement": statements}
            self.api.call("put_bucket_policy", Policy=json.dumps(policy))
        else:
            self.api.call("delete_bucket_policy")

    def way(self) -> Way | None:
        """Give where its rules lead."""
        found = self.api.call("get_bucket_replication", missing=GONE)
        if not found:
            return None
        rules = found["ReplicationConfiguration"]["Rules"]
        rule = next((row for row in rules if row.get("Status") == "Enabled"), rules[0])
        return Way(rule["Destination"]["Bucket"].removeprefix(BUCKET), None, whole=whole(rule))

    def lead(self, other: Member) -> None:
        """Put one rule for everything."""
        if not self.member.replication_role:
            raise PreconditionFailed(
                f"{self.member.words} has no role by which S3 could replicate out of it",
                wanted="replication_role, the ARN of a role of IAM",
                observed="none",
                next_action="describe the role of this member, then run again",
                gate=f"store {self.store.name}",
            )
        rule = {
            "ID": "recovery",
            "Priority": 1,
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "DeleteMarkerReplication": {"Status": "Enabled"},
            "Destination": {"Bucket": f"{BUCKET}{other.bucket}"},
        }
        wanted = {"Role": self.member.replication_role, "Rules": [rule]}
        self.api.call("put_bucket_replication", ReplicationConfiguration=wanted)

    def catch_up(self) -> str:
        """Say what S3 leaves to a job."""
        return f"start an S3 Batch Replication job for {self.member.words}: rules send only what is written from now on"


def listed(value: Any) -> list[str]:
    """Read what may be one or several."""
    return [value] if isinstance(value, str) else list(value or ())


def whole(rule: dict[str, Any]) -> bool:
    """Tell whether a rule replicates every object, and delete markers too."""
    filtered = rule.get("Filter") or {}
    return (
        rule.get("Status") == "Enabled"
        and not rule.get("Prefix")
        and not any(filtered.get(word) for word in ("Prefix", "Tag", "And"))
        and rule.get("DeleteMarkerReplication", {}).get("Status") == "Enabled"
    )
