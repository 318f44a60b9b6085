# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_promote
short_description: Make a PostgreSQL standby the primary, safely and fast
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Decides by lineage, fence, settings and expected loss; prints these facts; promotes; proves a committed write.
  - Does not promote while another member answers as primary, or is not proven or stated to be stopped in O(fenced).
  - The startup process of a standby may sleep through a promotion for C(wal_retrieve_retry_interval), 5 seconds by default. It is woken by reloads; no setting is changed.
  - Where Patroni, an operator or RDS runs the database, they are told to promote, and SQL shows whether they did.
  - Does nothing to a server that is the primary already.
  - C(community.postgresql) promotes by a plain query, without any of these checks, and waits in steps of 100 ms.
requirements: [psycopg2 in the Python that runs Ansible]
extends_documentation_fragment:
  - platform.recovery.postgresql
  - platform.recovery.postgresql.target
  - platform.recovery.postgresql.loss
  - platform.recovery.postgresql.left_out
  - platform.recovery.postgresql.databases
options:
  fenced:
    description: "A mapping of a member's name to the proof of its fence: RV(platform.recovery.postgresql_fence#module:fenced)."
    type: dict
    default: {}
  final_lsn:
    description: RV(platform.recovery.postgresql_fence#module:final_lsn), against which the standby's position is held.
    type: str
  covered_until:
    description: >-
      RV(platform.recovery.postgresql_observe#module:covered_until) of the look before the fence. Killing a primary ends what its standbys
      know of it.
    type: str
  promote_seconds:
    description: Longest time for the promotion. A standby replays all that it received first.
    type: float
    default: 60
  provider_seconds:
    description: >-
      Longest time for what Patroni, an operator or RDS is told to do, in place of O(promote_seconds). They work at their own pace: minutes are usual.
    type: float
    default: 600
attributes:
  check_mode:
    description: Runs every look and every decision for real, and says what would be done.
    support: full
  diff_mode:
    description: Results carry what was before and after.
    support: none
"""

EXAMPLES = r"""
- name: Promote the standby
  platform.recovery.postgresql_promote:
    rpo_seconds: 3600
    fenced: {us-west-2: stopped}
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
target:
  description: The primary now.
  returned: always
  type: str
promoted_at:
  description: UTC stamp of the first committed write.
  returned: when promoted
  type: str
promotion_seconds:
  description: From the request to the first committed write.
  returned: when promoted
  type: float
promoted_lsn:
  description: The position up to which the standby had replayed the old timeline.
  returned: always
  type: str
timeline:
  description: Timeline before and after.
  returned: always
  type: dict
system_identifier:
  description: System identifier of the database.
  returned: always
  type: str
write_proven:
  description: Whether a write was committed.
  returned: always
  type: bool
expected_loss:
  description: What was expected to be lost (seconds, bytes, basis).
  returned: always
  type: dict
lag_bytes:
  description: How far the target was behind, where the primary's last position is known.
  returned: always
  type: int
lag_seconds:
  description: Age of the newest change that it held.
  returned: always
  type: float
nudges:
  description: How many reloads it took to wake the startup process.
  returned: when promoted
  type: int
gates:
  description: Every decision with what was observed, what was wanted, and its verdict (pass, refuse or override).
  returned: always
  type: list
  elements: dict
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
