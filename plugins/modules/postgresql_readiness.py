# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_readiness
short_description: Check whether a PostgreSQL database could be switched or failed over right now
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Asks on a healthy database all that the gates and steps of a recovery to O(target) would need, and gives each answer a verdict. What is
    not ready comes with the mend.
  - Never refuses and never fails for what it finds, so that one look shows everything. The checks are journalled, and the run's report
    lists them.
  - Changes nothing. The target spills 18 MiB into temporary files, which it removes itself, to find a full disk.
requirements: [psycopg2 in the Python that runs Ansible]
extends_documentation_fragment:
  - platform.recovery.postgresql
  - platform.recovery.postgresql.evidence
options:
  part:
    description:
      - V(confirm) asks for access, account and encryption of every member, one primary, and of the target for lineage, streaming, slot, lag,
        settings, room and the loss if the primary died now; then whether the write-ahead log is archived.
      - V(fence) asks every member's host for its service manager, the right to use it, and the guard.
      - V(verify) asks for the tables.
    type: str
    choices: [confirm, fence, verify]
    required: true
  name:
    description: The name of the database in what is shown.
    type: str
    required: true
  rpo_seconds:
    description: Longest acceptable span of lost writes. Without it the expected loss is shown and not judged.
    type: float
  max_lag_bytes:
    description: How far behind the target may be at the beginning of a switchover.
    type: int
    default: 134217728
  memory:
    description: File in which the primary is remembered as it was last seen. It is read, and not written.
    type: path
  database:
    description: For V(verify), the SQL database that holds O(tables).
    type: str
    default: postgres
  tables:
    description: For V(verify), the tables that are verified after a recovery.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Check whether the database could be recovered to the east
  platform.recovery.postgresql_readiness:
    part: confirm
    name: platform_db
    rpo_seconds: 3600
    members: "{{ recovery_platform.databases.platform_db.members }}"
    credentials: "{{ recovery_credentials.postgresql_admin }}"
    target: us-east-1
"""

RETURN = r"""
checks:
  description: Every check.
  returned: success
  type: list
  elements: dict
  contains:
    role: {description: The role whose work needs it., type: str, returned: always, sample: pg_observe}
    subject: {description: What was looked at., type: str, returned: always, sample: platform_db us-east-1}
    check: {description: What was asked., type: str, returned: always, sample: standby follows}
    verdict: {description: "V(ready), V(not_ready) or V(unknown).", type: str, returned: always, sample: ready}
    observed: {description: What was seen., type: str, returned: always, sample: "us-east-1 streams, 0 B behind"}
    wanted: {description: What a recovery needs., type: str, returned: always}
    mend: {description: What to do about it., type: str, returned: where it is not ready}
lines:
  description: The checks for the operator, a line each.
  returned: always
  type: list
  elements: str
"""
