# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: dns_readiness
short_description: Check whether names could be led to another region right now
version_added: 0.2.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Asks the API with the credentials that a failover would use and plans every zone, asks every authoritative server and every resolver for
    every name, compares TTLs with a bound, asks the target for its answer, and looks whether health checks are there and ask what the
    description says that they watch.
  - Never refuses and never fails for what it finds. The checks are journalled, and the run's report lists them.
  - Changes nothing.
requirements: [dnspython in the Python that runs Ansible, boto3 for the providers of AWS]
extends_documentation_fragment:
  - platform.recovery.dns
options:
  lost_regions:
    description: Regions that are lost, by the operator's word. Their name servers are not asked.
    type: list
    elements: str
    default: []
  most_ttl_seconds:
    description: The longest TTL that a name may have, because a recovery takes at least as long.
    type: int
    default: 60
  timeout_seconds:
    description: How long the API may take.
    type: float
    default: 10
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Check whether the names could be led to the east
  platform.recovery.dns_readiness:
    target: us-east-1
    zones: "{{ recovery_platform.zones }}"
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
