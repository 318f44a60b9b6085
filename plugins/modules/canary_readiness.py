# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: canary_readiness
short_description: Check whether a canary could write and be read back right now
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Reads a row that nobody wrote through the edge, and the key's column in the database. No write is tried.
  - Never refuses and never fails for what it finds. The checks are journalled, and the run's report lists them.
  - Changes nothing.
requirements: [psycopg2 in the Python that runs Ansible]
options:
  name:
    description: The name of the database in what is shown.
    type: str
    required: true
  url:
    description: The application's edge, C(http) or C(https), without user or password.
    type: str
    required: true
  service:
    description: The service that a canary writes to.
    type: str
    required: true
  path:
    description: Where rows are posted; the default is C(/v1/SERVICE/rows).
    type: str
  ca_file:
    description: Certificates that an C(https) edge is checked by, if not the system's.
    type: path
  authorization:
    description: Value of an C(Authorization) header, where the edge wants one.
    type: str
  timeout_seconds:
    description: How long an answer is waited for.
    type: float
    default: 1.0
  folder:
    description: Folder of a canary that is left running for ever, if that is the one to be heard.
    type: path
  member:
    description: The database member that the rows would be read back from.
    type: dict
    required: true
    suboptions:
      name:
        description: Its name in messages.
        type: str
        required: true
      host:
        description: Its name, as its certificate has it.
        type: str
        required: true
      address:
        description: Where it is reached, if not by O(member.host).
        type: str
      port:
        description: Its port.
        type: int
        default: 5432
      sslmode:
        description: As libpq has it.
        type: str
        default: verify-full
      sslrootcert:
        description: Certificates that it is checked by.
        type: path
  credentials:
    description: The account that reads the rows back.
    type: dict
    required: true
    suboptions:
      user:
        description: Name of the account.
        type: str
        required: true
      password:
        description: Its password.
        type: str
  database:
    description: The SQL database that holds the rows.
    type: str
    required: true
  table:
    description: The table that holds the rows, with its schema if need be.
    type: str
    required: true
  key_column:
    description: The column of the key.
    type: str
    default: key
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Check that a canary could write and be read back
  platform.recovery.canary_readiness:
    name: platform_db
    url: https://edge.us-west-2.example.com
    service: user-service
    member: "{{ recovery_platform.databases.platform_db.members['us-east-1'] | combine({'name': 'us-east-1'}) }}"
    credentials: "{{ recovery_credentials.postgresql_admin }}"
    database: platform_db
    table: users
"""

RETURN = r"""
checks:
  description: Every check, as M(platform.recovery.postgresql_readiness) returns them.
  returned: success
  type: list
  elements: dict
lines:
  description: The checks for the operator, a line each.
  returned: always
  type: list
  elements: str
"""
