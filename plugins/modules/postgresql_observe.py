# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_observe
short_description: Look at every member of a PostgreSQL database from several vantage points
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Asks all members at once, each within a deadline, and judges who is primary, who may hold a lost one, what a promotion would lose.
  - Vantage points are the operator's SQL, what the standbys hear from their primary, the service manager of members that SQL does not reach,
    the O(edges), and O(evidence) of the caller. Each says lost, alive, or that it cannot say.
  - A member that is out of reach is data. Only O(purpose=confirm) refuses, before anything was touched.
  - Changes nothing.
requirements: [psycopg2 in the Python that runs Ansible]
extends_documentation_fragment:
  - platform.recovery.postgresql
  - platform.recovery.postgresql.target
  - platform.recovery.postgresql.loss
  - platform.recovery.postgresql.evidence
  - platform.recovery.postgresql.left_out
  - platform.recovery.postgresql.databases
options:
  purpose:
    description:
      - V(look) gives data and never refuses.
      - V(confirm) is the gate before a recovery. It refuses a failover beside a healthy primary, a switchover without one, a standby that is
        down, of another lineage, far behind or without room, two primaries, and a loss beyond the objective.
      - It refuses a failover also unless vantage points of two different kinds say lost and none says alive. An operator's O(statement)
        passes that.
      - V(watch) says how the primary is protected by standbys.
      - V(rejoin) says what is to be done with each old primary.
    type: str
    choices: [look, confirm, watch, rejoin]
    default: look
  max_lag_bytes:
    description: How far behind a standby may be at the beginning of a switchover. Applications wait while it catches up.
    type: int
    default: 134217728
  ask_service_managers:
    description: Whether the service managers of silent members are asked, too.
    type: bool
    default: true
  edges:
    description:
      - Where clients reach the services of this database. All are asked for their services' health while the servers are asked.
      - They are waited for, for as long as O(connect_seconds), only while no service manager has shown the lost primary's unit stopped.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the edge.
        type: str
        required: true
      url:
        description: Its address.
        type: str
        required: true
      paths:
        description: >-
          Where the services answer for their health. A status of 200 whose JSON names in C(database) the C(host) that has just been asked
          is life; 5xx, or no answer to a request that was taken, is a loss; anything else says nothing.
        type: list
        elements: str
        required: true
      ca_file:
        description: Certificate authority of an https edge, where it is not one that the system knows.
        type: path
  statement:
    description: A statement that the old primary is down. With O(purpose=confirm) it overrides what the vantage points say. Needs O(reason).
    type: str
  check_room:
    description: >-
      With O(purpose=confirm), whether the target spills 18 MiB into temporary files, to find a full disk before a promotion does.
    type: bool
    default: true
  max_transaction_seconds:
    description: >-
      With O(purpose=confirm), refuses a switchover while a transaction of the primary is older: it would be ended. 0 does not judge it.
    type: float
    default: 0
  max_write_bytes_per_second:
    description: With O(purpose=confirm), refuses a switchover while the primary writes more log. 0 does not judge it.
    type: int
    default: 0
  fenced:
    description: "A mapping of a member's name to the proof of its fence: RV(platform.recovery.postgresql_fence#module:fenced)."
    type: dict
    default: {}
  promoted_lsn:
    description: With O(purpose=rejoin), the position at which the new timeline began.
    type: str
attributes:
  check_mode:
    description: Runs every look and every decision for real, and says what would be done.
    support: full
  diff_mode:
    description: Results carry what was before and after.
    support: none
"""

EXAMPLES = r"""
- name: Confirm that the primary is lost
  platform.recovery.postgresql_observe:
    purpose: confirm
    mode: failover
    rpo_seconds: 3600
    members: "{{ recovery_platform.databases.platform_db.members }}"
    credentials: "{{ recovery_credentials.postgresql_admin }}"
    target: us-east-1

- name: Say who is primary
  platform.recovery.postgresql_observe:
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
standing:
  description:
    - V(healthy), one primary beside the target answers; V(converged), the target is the primary and no other member answers as one.
    - V(failed), no primary answers; V(isolated), none answers but one may live, by what a vantage point sees; V(split_brain), two answer.
  returned: always
  type: str
primary:
  description: The one member that answers as primary.
  returned: always
  type: str
source:
  description: The member to be replaced, where it is known.
  returned: always
  type: str
suspects:
  description: Members that may hold a writable old primary.
  returned: always
  type: list
  elements: str
disagreement:
  description: Where vantage points contradict each other.
  returned: always
  type: str
effective_mode:
  description: O(mode), or for V(plan) the mode that fits.
  returned: always
  type: str
members:
  description: State of each member by name.
  returned: always
  type: dict
evidence:
  description: What every vantage point saw, in the form of O(evidence).
  returned: always
  type: list
  elements: dict
expected_loss:
  description: What promoting the target would lose (seconds, bytes, basis). Seconds are an upper bound.
  returned: always
  type: dict
covered_until:
  description: UTC stamp up to which the target is known to hold everything, where no primary answers.
  returned: always
  type: str
lag_bytes:
  description: How far the target is behind the primary, where both answer.
  returned: always
  type: int
lag_seconds:
  description: Age of the newest change that the target holds.
  returned: always
  type: float
protected:
  description: Whether a standby streams from the primary.
  returned: with O(purpose=watch)
  type: bool
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
