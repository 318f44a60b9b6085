# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_fence
short_description: Stop an old PostgreSQL primary for good, and prove it
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Sees to it that no member beside the target can accept a write, now or after a restart by itself.
  - A live primary (switchover) is drained first. New transactions become read-only, sessions are ended, the standby replays the last write, tables are compared on both sides; then it is stopped. Whatever fails before that lets the applications write again.
  - A silent one (killed, frozen) is masked and killed through its service manager, in this order, for a frozen server acknowledges writes for a moment when it thaws.
  - Where no channel proves it, only O(statement) with a O(reason) lets a recovery go on; otherwise it is refused with what every vantage point saw.
  - Where Patroni, an operator or RDS runs the database, they are told to hand over and to stop, through their own API. Their word counts as proof only with the port's or the pods'.
  - A member that is fenced already, or is a standby, is left alone.
requirements: [psycopg2 in the Python that runs Ansible]
extends_documentation_fragment:
  - platform.recovery.postgresql
  - platform.recovery.postgresql.target
  - platform.recovery.postgresql.evidence
  - platform.recovery.postgresql.left_out
  - platform.recovery.postgresql.databases
options:
  state:
    description:
      - V(fenced), or V(released) to let applications write again after a drain that was cut short.
      - V(verified) changes nothing and fails where a member would have to be fenced.
    type: str
    choices: [fenced, released, verified]
    default: fenced
  statement:
    description: A statement that the old primary is down, where no channel can prove it. Needs O(reason).
    type: str
  reason:
    description: Why the statement is made. It is journalled.
    type: str
  drain_seconds:
    description: Longest time for each part of a drain (sessions end, standby catches up). Applications cannot write meanwhile.
    type: float
    default: 10
  stop_seconds:
    description: Longest time for a stop through the service manager.
    type: float
    default: 20
  provider_seconds:
    description: >-
      Longest time for what Patroni, an operator or RDS is told to do, in place of O(stop_seconds). They work at their own pace: minutes are usual.
    type: float
    default: 600
  database:
    description: The SQL database that holds O(tables).
    type: str
    default: postgres
  tables:
    description: Tables that are counted and summed on both sides while nothing writes.
    type: list
    elements: str
    default: []
  table_seconds:
    description: Budget for that. What takes longer is not compared, and the result says so.
    type: float
    default: 0.5
attributes:
  check_mode:
    description: Runs every look and every decision for real, and says what would be done.
    support: full
  diff_mode:
    description: Results carry what was before and after.
    support: none
"""

EXAMPLES = r"""
- name: Fence the old primary
  platform.recovery.postgresql_fence:
    mode: failover
    members: "{{ recovery_platform.databases.platform_db.members }}"
    credentials: "{{ recovery_credentials.postgresql_admin }}"
    target: us-east-1
"""

RETURN = r"""
databases:
  description: The result for each database by its name, as it is returned for one. Those that failed are not in it.
  returned: where O(databases) is given
  type: dict
failures:
  description: What failed for some databases, by name, those that an earlier step left out included.
  returned: where O(databases) is given
  type: dict
fenced:
  description: "A mapping of each member beside the target to the proof: V(stopped), V(standby), V(statement) or V(none)."
  returned: always
  type: dict
proof:
  description: The weakest of these proofs. After V(statement) and V(none) application writes must be stopped by other means.
  returned: always
  type: str
details:
  description: Per member the proof, what was observed, the last position, the rows of the tables, and the seconds of each part.
  returned: always
  type: dict
source:
  description: The member that was drained or killed, or stands as fenced.
  returned: always
  type: str
final_lsn:
  description: The old primary's position after its last write.
  returned: after a drain
  type: str
tables:
  description: Rows and checksum of each table at that position.
  returned: always
  type: dict
lines:
  description: The facts for the operator, a line each.
  returned: always
  type: list
  elements: str
next_actions:
  description: What is to be done after this, in words.
  returned: always
  type: list
  elements: str
"""
