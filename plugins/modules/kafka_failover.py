# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_failover
short_description: Move the writes and the consumer groups of Kafka clusters to the region they are mirrored to
version_added: 0.2.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Works on stores that MirrorMaker 2 mirrors with C(IdentityReplicationPolicy), all of them side by side. Nothing is touched unless all
    gates of all stores pass.
  - As a V(switchover) the source is closed (rights forbid writes and groups), the mirror brings the rest, and only when the source ends
    where the mirror has read to is it ended, the groups moved, the target opened, and the mirroring reversed from exactly there. What
    fails before that opens the source again.
  - As a V(failover) the mirror is ended, what never arrived is counted where the source still answers, and the source's brokers and mirrors
    are stopped and masked through their hosts' service managers. What nobody can count is returned as unknown, with a bound in seconds.
  - A group goes on at an offset translated from its own in the source (or its newest checkpoint) and from the pairs of offsets that the
    mirror has left. The translation may let it read records twice, never skip one; how many at most is returned. A partition
    for which nothing tells is read from its first record. A group that has members in the target already is left to them.
  - Closing denies C(User:*) the right to write to any topic and to read as any group. Super users, such as the mirrors, are above that.
requirements: [confluent-kafka in the Python that runs Ansible, ssh]
extends_documentation_fragment:
  - platform.recovery.kafka
options:
  lost_regions:
    description: Regions that are lost, by the operator's word. A source there is fenced although it answers. Needs a O(reason).
    type: list
    elements: str
    default: []
  mode:
    description: Whether the source is alive and nothing may be lost, or it is lost.
    type: str
    choices: [switchover, failover]
    default: switchover
  allow_data_loss:
    description: Accept more loss than the objective allows, for this run only. Needs a O(reason).
    type: bool
    default: false
  fence_statement:
    description: A statement that the brokers of the source are down, where no channel can prove it. Needs a O(reason).
    type: str
    default: ""
  failed_at:
    description: >-
      UTC stamp (RFC 3339) from which on the source has taken no writes, as far as it is known. The age of the newest mirrored heartbeat is
      measured against it; left out, against now.
    type: str
  reason:
    description: Why regions are given up, loss is accepted, or a statement stands for a proof. Journalled.
    type: str
    default: ""
  timeout_seconds:
    description: How long the mirror may take to bring the rest while the source is closed.
    type: float
    default: 60
  drain_seconds:
    description: The same in a failover whose source still answers; what has not come by then is lost.
    type: float
    default: 5
  stop_seconds:
    description: How long a unit may take to stop.
    type: float
    default: 20
attributes:
  check_mode:
    description: Observes and plans for real, then returns what would change.
    support: full
  diff_mode:
    description: Shows rights, units and groups before and after.
    support: full
"""

EXAMPLES = r"""
- name: Move the events to the east without loss
  platform.recovery.kafka_failover:
    target: us-east-1
    stores:
      events:
        credentials: kafka
        security: {ca_file: /etc/ssl/kafka-ca.crt}
        members:
          us-west-2:
            bootstrap: ["kafka-1.us-west-2.example.com:9092"]
            brokers: [{host: kafka-1.us-west-2.example.com, unit: kafka}]
            mirrors: [{host: mirror.us-west-2.example.com, unit: kafka-mirror-maker}]
          us-east-1:
            bootstrap: ["kafka-1.us-east-1.example.com:9092"]
            brokers: [{host: kafka-1.us-east-1.example.com, unit: kafka}]
            mirrors: [{host: mirror.us-east-1.example.com, unit: kafka-mirror-maker}]
    credentials: "{{ recovery_credentials }}"
"""

RETURN = r"""
lines:
  description: Short facts for people.
  returned: always
  type: list
  elements: str
  sample: ["events: us-east-1 takes the writes after 4.1 s; 3 partitions, 0 records lost; 2 groups go on, at most 12 records twice"]
seconds:
  description: What the task took.
  returned: always
  type: float
target:
  description: The region that takes the writes.
  returned: success
  type: str
stores:
  description: What became of each store.
  returned: success
  type: dict
  contains:
    source: {description: The region that took the writes before., type: str, returned: always}
    changed: {description: Whether anything was changed., type: bool, returned: always}
    changes: {description: "What was (or would be) changed, each with C(what), C(before) and C(after).", type: list, elements: dict, returned: always}
    partitions: {description: "By C(topic/partition): C(source_end), C(mirrored) up to which offset of the source, C(target_end), C(lost) (null if unknown).", type: dict, returned: always}
    groups: {description: "By name: C(offsets) in the target, C(moved) partitions, C(duplicates) at most, C(busy) if it has members there.", type: dict, returned: always}
    duplicates: {description: How many records are read twice at most., type: int, returned: always}
    fence: {description: What keeps the source from taking writes., type: str, returned: always}
    mirrors_back: {description: Whether the target is mirrored to the old source now., type: bool, returned: always}
    closed_seconds: {description: From the closing of the source to the opening of the target., type: float, returned: always}
    rpo: {description: "C(lost) records (null if unknown), C(seconds) that they span or at most span, and C(how) that is known.", type: dict, returned: always}
"""
