# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_readiness
short_description: Check whether Redis stores could be moved to another region right now
version_added: 0.2.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Asks every server, Sentinel and service manager with the credentials that a failover would use. Compares roles, lag, versions and room for
    data between regions, and asks whether Sentinel would promote the target, whether it might do so across regions by itself, and whether the
    other servers could be fenced.
  - Never refuses and never fails for what it finds. The checks are journalled, and the run's report lists them.
  - Changes nothing.
requirements: [redis in the Python that runs Ansible]
extends_documentation_fragment:
  - platform.recovery.redis
options:
  lost_regions:
    description: Regions that are lost, by the operator's word. Nothing of theirs is asked.
    type: list
    elements: str
    default: []
  most_lag_bytes:
    description: How far behind a replica may be.
    type: int
    default: 67108864
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Check whether the sessions could be moved to the east
  platform.recovery.redis_readiness:
    target: us-east-1
    stores: "{{ redis_failover_stores }}"
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
