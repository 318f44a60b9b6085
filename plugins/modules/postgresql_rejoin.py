# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_rejoin
short_description: Make an old PostgreSQL primary a standby of the present one
version_added: 0.2.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Finds the present primary, examines the old one through its host (control file, timelines, log beyond the fork), and chooses a way
    back. A server that streams already is left alone; one that has nothing of its own is started as a standby; one that has diverged is
    rewound by C(pg_rewind); one that cannot be rewound (no data, damaged files, another major version, a rewind that was cut short) is
    rebuilt by C(pg_basebackup).
  - Before anything is overwritten, what only the old primary holds is saved. The log beyond the fork is copied aside on its host with its
    dump by C(pg_waldump); the rows of the transactions in it are read from the old server, started for that moment without any network,
    archiving or replication, and are held against the present primary. What cannot be saved is not overwritten unless O(allow_data_loss)
    says so.
  - A server is never touched before it is proven stopped and masked; it is unmasked when it is a standby again.
  - Streaming, replication slot, TLS and archiving are proven at the end; slots that nobody can use any more are dropped.
  - Running it again goes on where it was cut short, wherever that was.
  - The old primary's host needs C(sh), C(flock), C(awk) and PostgreSQL's own programs of the present primary's major version.
requirements: [psycopg2 in the Python that runs Ansible]
extends_documentation_fragment:
  - platform.recovery.postgresql
options:
  target:
    description: The member that is to follow the present primary. Left out, or being the primary itself, every other member is.
    type: str
  database:
    description: The SQL database that holds O(tables).
    type: str
    default: postgres
  tables:
    description: >-
      Tables that are searched for unreplicated rows beside those that the log beyond the fork names. A transaction may have written
      before the fork and committed after it.
    type: list
    elements: str
    default: []
  allow_data_loss:
    description: Accept that what cannot be saved of the old primary is overwritten, for this call only. Needs O(reason).
    type: bool
    default: false
  reason:
    description: Why an override was chosen. It is journalled.
    type: str
  lists:
    description: >-
      Folder in which the list of unreplicated rows is written. The run's own folder if left out; without a run, none is written.
    type: path
  max_lag_bytes:
    description: How far behind the primary a standby may be when it counts as rejoined.
    type: int
    default: 16777216
  stop_seconds:
    description: Longest time for a stop or a start through the service manager.
    type: float
    default: 60
  copy_seconds:
    description: Longest time for each of saving, rewinding and rebuilding.
    type: float
    default: 14400
  stream_seconds:
    description: Longest time until the started standby streams and is near enough.
    type: float
    default: 300
  archive_seconds:
    description: Longest time until the present primary has archived one more segment.
    type: float
    default: 60
  statement_seconds:
    description: Deadline of a statement.
    type: float
    default: 5
attributes:
  check_mode:
    description: Examines for real, and says which way would be taken and what would be saved.
    support: full
  diff_mode:
    description: Results carry what was before and after.
    support: none
"""

EXAMPLES = r"""
- name: Take the old primary back as a standby
  platform.recovery.postgresql_rejoin:
    members: "{{ recovery_platform.databases.platform_db.members }}"
    credentials: "{{ recovery_credentials.postgresql_admin }}"
    target: us-west-2
    database: platform_db
    tables: [users, tenants]
"""

RETURN = r"""
primary:
  description: The present primary.
  returned: always
  type: str
members:
  description: >-
    Per member that was to follow the way that was taken (V(already), V(follow), V(rewind) or V(rebuild)) and why, the position of the
    fork, bytes and transactions beyond it, what was saved and where, and the proof of its protection (state, slot, tls, lag_bytes,
    archiving).
  returned: always
  type: dict
unreplicated:
  description: Keys of the rows that were saved because the present primary does not have them as they were. Their values stand in the list.
  returned: always
  type: list
  elements: dict
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
