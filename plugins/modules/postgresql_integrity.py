# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_integrity
short_description: Verify what a recovered PostgreSQL database holds and who is connected to it
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Counts and sums the rows of each table, independent of their order, within a budget of time; what takes longer is estimated, and the result says so.
  - Verifies that constraints are validated and indexes valid, that expected applications are connected to the target, and that none is connected to another primary.
  - Changes nothing.
requirements: [psycopg2 in the Python that runs Ansible]
extends_documentation_fragment:
  - platform.recovery.postgresql
  - platform.recovery.postgresql.left_out
  - platform.recovery.postgresql.databases
options:
  database:
    description: The SQL database that holds the tables.
    type: str
    required: true
  tables:
    description: The tables.
    type: list
    elements: str
    default: []
  table_seconds:
    description: Budget for counting and summing all tables.
    type: float
    default: 10
  before:
    description: What was known before, as RV(tables) of this module or of M(platform.recovery.postgresql_fence).
    type: dict
    default: {}
  allow_fewer_rows:
    description: Accept tables that hold fewer rows than in O(before). Applications may delete rows.
    type: bool
    default: false
  applications:
    description: Names (C(application_name)) of the applications that must be connected.
    type: list
    elements: str
    default: []
  applications_seconds:
    description: How long to wait for them.
    type: float
    default: 10
attributes:
  check_mode:
    description: Runs every look and every decision for real, and says what would be done.
    support: full
  diff_mode:
    description: Results carry what was before and after.
    support: none
"""

EXAMPLES = r"""
- name: Verify the data
  platform.recovery.postgresql_integrity:
    database: platform_db
    tables: [users, tenants]
    applications: [user-service, tenant-service]
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
tables:
  description: Rows, checksum and a note by table.
  returned: always
  type: dict
clients:
  description: Who is connected to the database (application_name, address, connections).
  returned: always
  type: list
  elements: dict
missing:
  description: Expected applications that are not connected.
  returned: always
  type: list
  elements: str
problems:
  description: What is wrong with the data, empty when all is well.
  returned: always
  type: list
  elements: str
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
