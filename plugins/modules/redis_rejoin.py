# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_rejoin
short_description: Make old Redis primaries replicas of the present ones
version_added: 0.2.0
author: The platform.recovery authors (@platform-recovery)
description:
  - A server that was fenced is told in its configuration whom it follows, before it may start. So it is a replica from its first moment, also
    on an empty disk.
  - One that runs is pointed to the primary. What a stale primary wrote beyond the promotion is thrown away; it is counted, and said.
  - One that holds keys and is not known to be stale is refused.
  - It is done when all follow the primary and hold what it holds. Replicas that do so are left alone.
requirements: [redis in the Python that runs Ansible]
extends_documentation_fragment:
  - platform.recovery.redis
options:
  stop_seconds:
    description: Longest time for a start through the service manager.
    type: float
    default: 20
  timeout_seconds:
    description: Longest time for the copy of the data.
    type: float
    default: 300
attributes:
  check_mode:
    description: Observes and plans for real, then returns what would change.
    support: full
  diff_mode:
    description: Results carry what was before and after.
    support: none
"""

EXAMPLES = r"""
- name: Let the west follow the east
  platform.recovery.redis_rejoin:
    target: us-east-1
    stores: "{{ redis_failover_stores }}"
    credentials: "{{ recovery_credentials }}"
"""

RETURN = r"""
lines:
  description: Short facts for people.
  returned: always
  type: list
  elements: str
  sample: ["sessions: us-west-2 follows us-east-1"]
stores:
  description: What became of each store.
  returned: success
  type: dict
  contains:
    primary: {description: The region of the primary., type: str, returned: always}
    rejoined: {description: The regions that were (or would be) made replicas., type: list, elements: str, returned: always}
    discarded_bytes: {description: A mapping of a region to what its stale primary had written beyond., type: dict, returned: always}
    changed: {description: Whether anything was changed., type: bool, returned: always}
"""
