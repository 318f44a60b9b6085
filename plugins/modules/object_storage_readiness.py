# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: object_storage_readiness
short_description: Check whether the buckets of another region could take over right now
version_added: 0.2.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Asks both buckets of every store with the credentials that a failover would use, looks at versioning, at who may write where and at
    replication, compares both buckets version by version, and holds the oldest version that has not arrived against the objective.
  - Never refuses and never fails for what it finds. The checks are journalled, and the run's report lists them.
  - Changes nothing.
requirements: [boto3 in the Python that runs Ansible]
extends_documentation_fragment:
  - platform.recovery.object_storage
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Check whether the east could take over
  platform.recovery.object_storage_readiness:
    target: us-east-1
    stores: "{{ recovery_platform.object_storage }}"
    credentials: "{{ recovery_credentials }}"
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
