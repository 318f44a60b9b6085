# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that works on the objects that two regions keep."""

from __future__ import annotations


class ModuleDocFragment:
    """See the modules that extend it."""

    DOCUMENTATION = r"""
options:
  stores:
    description: >-
      The stores, a mapping of a store's name to what it is: one bucket in each of two regions, with the same objects. The entries of a
      platform description fit as they are.
    type: dict
    required: true
    suboptions:
      provider:
        description:
          - How writing is denied and replication led.
          - V(minio) gives users a policy that denies, and makes targets and rules of bucket replication.
          - V(aws) puts statements into bucket policies, and rules of replication. Any store that takes both as S3 does will do.
        type: str
        choices: [minio, aws]
        default: minio
      members:
        description: A mapping of a region's name to its bucket. There are two.
        type: dict
        required: true
        suboptions:
          bucket:
            description: Name of the bucket. It has to keep versions.
            type: str
            required: true
          endpoint:
            description: URL of the store as the controller reaches it. Left out, that of AWS.
            type: str
          peer_endpoint:
            description: URL by which the other region's store reaches this one, where it is not O(stores.members.endpoint).
            type: str
          signing_region:
            description: Name by which requests are signed, where it is not that of the region.
            type: str
          ca_file:
            description: Certificate authority of the endpoint, where it is not one that the system knows.
            type: path
          credentials:
            description: >-
              Name in O(credentials) of the operator's account, which may list, change policies and replication. Left out, boto3's own chain
              of credentials is used; V(minio) needs it.
            type: str
          replicator:
            description: >-
              For V(minio), name in O(credentials) of the user under which the other region's store writes into this bucket. It must
              be used for nothing else, and must not be root.
            type: str
          replication_role:
            description: For V(aws), the ARN of the role by which this bucket is replicated into the other one.
            type: str
      writers:
        description: >-
          For V(minio), the access keys of the users by which applications write. They are the same in both regions. Root cannot be
          denied anything, so it must not be one of them.
        type: list
        elements: str
        default: []
      objectives:
        description: What a recovery has to reach.
        type: dict
        suboptions:
          rpo_seconds:
            description: How much may be lost.
            type: float
            default: 3600
          rto_seconds:
            description: Longest time without the store. It is the run that measures it.
            type: float
  credentials:
    description: A mapping of a name to the account behind it.
    type: dict
    default: {}
    suboptions:
      user:
        description: Access key.
        type: str
        required: true
      password:
        description: Its secret.
        type: str
  target:
    description: The region that applications are to write to.
    type: str
    required: true
"""
