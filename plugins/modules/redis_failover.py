# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_failover
short_description: Make the Redis servers of a region the primaries of their stores, never two at a time
version_added: 0.2.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Looks at every server, Sentinel and service manager of all stores at once, and chooses what each needs. Nothing is touched unless every
    store could be planned; then they go on side by side.
  - A living primary (V(switchover)) may take no more writes (C(CLIENT PAUSE), which ends by itself if this process dies), the target catches
    up, and the old one is demoted at an offset that the target holds. Then a Sentinel promotes the target. Whatever fails before that lets
    applications write to the old one again.
  - One that does not answer (V(failover)) is masked and killed through its service manager, in this order, because a server that stands still
    goes on as primary when it thaws, for seconds. Where no channel proves it, only O(statement) with a O(reason) lets a failover go on.
  - A primary that only we cannot reach is not failed over. Its replica and the Sentinels of the target's side must have lost it as well.
  - It is done when the target is the only primary and every Sentinel that answers leads clients there.
  - What a run that was killed left is finished by running the same again.
requirements: [redis in the Python that runs Ansible]
extends_documentation_fragment:
  - platform.recovery.redis
options:
  mode:
    description: Whether the primary is alive and nothing may be lost, or it is gone.
    type: str
    choices: [switchover, failover]
    default: failover
  lost_regions:
    description: Regions that are lost, by the operator's word. Their Sentinels are not asked to promote. Needs a O(reason).
    type: list
    elements: str
    default: []
  statement:
    description: A statement that the old primary is down, where no channel can prove it. Needs O(reason).
    type: str
  reason:
    description: Why regions are given up, a statement is made, or loss is allowed. Journalled.
    type: str
  allow_data_loss:
    description: Whether more may be lost than the objective allows. Needs O(reason).
    type: bool
    default: false
  most_lag_bytes:
    description: How far behind a replica may be that is to catch up while nothing may be written.
    type: int
    default: 67108864
  confirm_seconds:
    description: How long the target's side may take to notice that a primary which is silent for us is gone.
    type: float
    default: 10
  drain_seconds:
    description: Longest time for the target to catch up. Applications cannot write meanwhile.
    type: float
    default: 10
  stop_seconds:
    description: Longest time for a stop through the service manager.
    type: float
    default: 20
  timeout_seconds:
    description: Longest time for all of it.
    type: float
    default: 60
attributes:
  check_mode:
    description: Observes and plans for real, then returns what would change.
    support: full
  diff_mode:
    description: Shows who is primary before and after.
    support: full
"""

EXAMPLES = r"""
- name: Move the sessions to the east
  platform.recovery.redis_failover:
    mode: switchover
    target: us-east-1
    credentials: {redis: {password: "{{ redis_password }}"}}
    stores:
      sessions:
        credentials: redis
        members:
          us-west-2:
            host: redis.us-west-2.example.com
            fence: {host: redis.us-west-2.example.com, user: recovery, guard_unit: recovery-redis-guard}
          us-east-1:
            host: redis.us-east-1.example.com
            fence: {host: redis.us-east-1.example.com, user: recovery, guard_unit: recovery-redis-guard}
        sentinels:
          - {host: sentinel.us-west-2.example.com, region: us-west-2}
          - {host: sentinel.us-east-1.example.com, region: us-east-1}
"""

RETURN = r"""
lines:
  description: Short facts for people.
  returned: always
  type: list
  elements: str
  sample: ["sessions: us-east-1 is the primary, writes were refused for 0.31 s, loss none"]
seconds:
  description: What the task took.
  returned: always
  type: float
target:
  description: The region.
  returned: success
  type: str
stores:
  description: What became of each store.
  returned: success
  type: dict
  contains:
    primary: {description: The region of the primary., type: str, returned: always}
    source: {description: The region that was drained or fenced., type: str, returned: always}
    changed: {description: Whether anything was changed., type: bool, returned: always}
    fenced:
      description: "A mapping of each other region to the proof that it takes no writes: V(replica), V(stopped), V(statement) or V(none)."
      type: dict
      returned: always
    offset: {description: Offset of the replication at which the target took over., type: int, returned: always}
    pause_seconds: {description: For how long nobody took writes., type: float, returned: after a switchover}
    leads: {description: "Whether all Sentinels that answer lead to the target, in check mode before anything would change.", type: bool, returned: always}
    rpo:
      description: >-
        What was lost, C(lost) in bytes of the replication (null where nobody can know), C(seconds) as the upper bound of the time of lost
        writes, and C(how) it is known.
      type: dict
      returned: always
"""
