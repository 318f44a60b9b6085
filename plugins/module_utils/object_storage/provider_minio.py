# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MinIO: doors are policies of its users, for it asks bucket policies about anonymous requests only.

Its administrative calls are signed like any request. Some bodies are encrypted with the caller's secret: in the form
that MinIO calls PBKDF2 with AES-GCM, for which nothing is needed that ansible-core does not bring.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..errors import PreconditionFailed, StepFailed
from .model import Account, Member
from .provider import REPLICATING, WRITES, WRITING, Provider, Way, host

ADMIN = "/minio/admin/v3"
PBKDF2, ROUNDS = b"\x02", 8192
# How often a source looks whether its target is there (nanoseconds, as Go writes durations).
HEALTH_CHECK = 5 * 10**9
GONE = ("ReplicationConfigurationNotFoundError", "NoSuchReplicationConfiguration")
NO_POLICY = frozenset({"XMinioAdminNoSuchPolicy"})
# DeleteReplication is MinIO's own. Without it, a delete marker that could not be sent at once is never sent again.
PARTS = ("DeleteMarkerReplication", "DeleteReplication", "ExistingObjectReplication")
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def encrypted(secret: str, content: bytes) -> bytes:
    """Encrypt the body of an administrative call: salt, kind, nonce, and one sealed fragment."""
    salt, nonce = os.urandom(32), os.urandom(8)
    box = AESGCM(hashlib.pbkdf2_hmac("sha256", secret.encode(), salt, ROUNDS, 32))
    # The stream is bound together by the seal of nothing; the mark before it says that this fragment is the last.
    seal = box.encrypt(nonce + (0).to_bytes(4, "little"), b"", b"")
    return salt + PBKDF2 + nonce + box.encrypt(nonce + (1).to_bytes(4, "little"), content, b"\x80" + seal)


class MinIO(Provider):
    """See above."""

    @property
    def fence(self) -> str:
        """Name the policy that denies writing to this bucket."""
        return f"recovery-fence-{self.member.bucket}"

    def policy(self) -> dict[str, Any]:
        """Give that policy."""
        bucket = f"arn:aws:s3:::{self.member.bucket}"
        denied = {"Effect": "Deny", "Action": sorted({*WRITING, *REPLICATING}), "Resource": [f"{bucket}/*"]}
        return {"Version": "2012-10-17", "Statement": [denied]}

    def users(self, door: str) -> tuple[str, ...]:
        """Name who comes through a door."""
        if door == WRITES:
            return self.store.writers
        return (self.member.replicator.user,) if self.member.replicator else ()

    def is_open(self, door: str) -> bool:
        """Tell whether one of the door's users may write."""
        return any(self.fence not in self.policies(user) for user in self.users(door)) or not self._fence_stands()

    def policies(self, user: str) -> list[str]:
        """Give the policies of a user. Raises PreconditionFailed for one that no policy can bind."""
        try:
            found = self._admin("GET", "user-info", accessKey=user)
        except StepFailed as error:
            if error.fields.get("code") != "XMinioAdminNoSuchUser":
                raise
            raise PreconditionFailed(
                f"{user} is no user of {self.member.words}, or its root, so nothing can be denied to it",
                wanted="applications and replication have users of their own",
                observed=str(error.fields.get("code")),
                next_action=f"make the user {user} with a policy of its own, or correct the description",
                gate=f"users of {self.store.name}",
            ) from None
        return [name for name in str(found.get("policyName") or "").split(",") if name]

    def shut(self, door: str) -> None:
        """Deny writing to the door's users."""
        if not self._fence_stands():
            self._admin("PUT", "add-canned-policy", json.dumps(self.policy()).encode(), name=self.fence)
        for user in self.users(door):
            found = self.policies(user)
            if self.fence not in found:
                self._give(user, [*found, self.fence])

    def open(self, door: str) -> None:
        """Deny it no longer."""
        for user in self.users(door):
            found = self.policies(user)
            if self.fence in found:
                self._give(user, [name for name in found if name != self.fence])

    def _fence_stands(self) -> bool:
        """Tell whether the policy denies what it has to: under its name there may be anything."""
        try:
            found = self._admin("GET", "info-canned-policy", name=self.fence)
        except StepFailed as error:
            if error.fields.get("code") in NO_POLICY:
                return False
            raise
        wanted = self.policy()["Statement"][0]
        return any(
            row.get("Effect") == "Deny"
            and not row.get("Condition")
            and {*wanted["Action"]} <= {*row.get("Action", ())}
            and {*wanted["Resource"]} <= {*row.get("Resource", ())}
            for row in found.get("Statement", ())
        )

    def _give(self, user: str, policies: list[str]) -> None:
        self._admin("PUT", "set-user-or-group-policy", policyName=",".join(policies), userOrGroup=user, isGroup="false")

    def way(self) -> Way | None:
        """Give where it replicates to: its rules name a target, and its targets say where that is."""
        rules = self._rules()
        if not rules:
            return None
        targets = {row["arn"]: row for row in self._targets()}
        for rule in rules:
            if rule.arn in targets:
                target = targets[rule.arn]
                return Way(target["targetbucket"], target["endpoint"], whole=rule.whole)
        return Way("", None, whole=False)

    def lead(self, other: Member) -> None:
        """Make the target if it is missing, and one rule for everything."""
        content = rules_for(self._target(other) or self._new_target(other))
        self.api.signed("PUT", f"/{self.member.bucket}", {"replication": ""}, content)

    def catch_up(self) -> str:
        """Replicate everything anew that the other side does not have."""
        for rule in self._rules():
            query = {"replication-reset": "", "arn": rule.arn}
            self.api.signed("PUT", f"/{self.member.bucket}", query)
        return ""

    def _rules(self) -> list[Rule]:
        try:
            content = self.api.signed("GET", f"/{self.member.bucket}", {"replication": ""})
        except StepFailed as error:
            if error.fields.get("code") in GONE:
                return []
            raise
        return rules_in(content)

    def _targets(self) -> list[dict[str, Any]]:
        found = self._admin("GET", "list-remote-targets", bucket=self.member.bucket, type="replication")
        return list(found or [])

    def _target(self, other: Member) -> str:
        for row in self._targets():
            if (row["targetbucket"], row["endpoint"]) == (other.bucket, host(other)):
                return str(row["arn"])
        return ""

    def _new_target(self, other: Member) -> str:
        replicator = other.replicator or Account("")
        target = {
            "sourcebucket": self.member.bucket,
            "endpoint": host(other),
            "credentials": {"accessKey": replicator.user, "secretKey": replicator.password},
            "targetbucket": other.bucket,
            "secure": urlsplit(other.peer_endpoint or "").scheme == "https",
            "type": "replication",
            "region": other.signing_region,
            "replicationSync": False,
            # Each side answers for itself alone: what only the other one has is not there.
            "disableProxy": True,
            "healthCheckDuration": HEALTH_CHECK,
        }
        secret = self.member.account.password if self.member.account else ""
        body = encrypted(secret, json.dumps(target).encode())
        return str(self._admin("PUT", "set-remote-target", body, bucket=self.member.bucket))

    def _admin(self, method: str, what: str, body: bytes = b"", **query: str) -> Any:
        content = self.api.signed(method, f"{ADMIN}/{what}", query, body)
        return json.loads(content) if content.strip() else None


@dataclass(frozen=True)
class Rule:
    """A rule of replication: its target, and whether everything goes there."""

    arn: str
    whole: bool


def rules_for(arn: str) -> bytes:
    """Write the rules that replicate everything to a target. boto3 has no words for all of it."""
    parts = "".join(f"<{name}><Status>Enabled</Status></{name}>" for name in PARTS)
    rule = f"<ID>recovery</ID><Status>Enabled</Status><Priority>1</Priority>{parts}<Filter><Prefix></Prefix></Filter>"
    rule += f"<Destination><Bucket>{escape(arn)}</Bucket></Destination>"
    return f"<ReplicationConfiguration><Role></Role><Rule>{rule}</Rule></ReplicationConfiguration>".encode()


def rules_in(content: bytes) -> list[Rule]:
    """Read rules."""
    found = []
    for row in ElementTree.fromstring(content.replace(NAMESPACE[1:-1].encode(), b"")).iter("Rule"):
        states = [row.findtext("Status"), *(row.findtext(f"{name}/Status") for name in PARTS)]
        some = any(row.findtext(name) for name in ("Prefix", "Filter/Prefix")) or any(
            row.find(name) is not None and len(row.find(name) or ()) for name in ("Filter/Tag", "Filter/And")
        )
        found.append(Rule(row.findtext("Destination/Bucket") or "", {*states} == {"Enabled"} and not some))
    return found
