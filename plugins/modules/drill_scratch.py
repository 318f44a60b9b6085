# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: drill_scratch
short_description: Make, strike and remove the scratch platform that a drill works on
version_added: 0.2.0
author: The platform.recovery authors (@platform-recovery)
description:
  - With O(state=present) each database's standby in O(target) is copied on its own host by C(pg_basebackup), and the copy once more. The
    first copy is started as a primary, the pretended old one; the second follows it. Neither archives, has a slot, or knows the
    production primary. In the target's clusters a namespace gets copies of the platform's workloads, of the services before them and of
    the ConfigMaps and Secrets they refer to, one pod each, pointed to the first copy.
  - What it gives has the shape of what M(platform.recovery.platform_description) selects, so that the same roles work on it.
  - With O(state=struck) the pretended old primary is killed, which is the disaster of the drill.
  - With O(state=absent) the scratch is removed, whichever run left it. It is known by its mark (C(DIR.drill/mark) beside the data, the
    label C(platform.recovery/drill) of the namespace); what has none is not touched.
  - The standby's host needs C(sh), C(flock) and PostgreSQL's own programs, and room for two copies beside the standby's data directory.
requirements: [psycopg2 in the Python that runs Ansible]
extends_documentation_fragment:
  - platform.recovery.drill
options:
  state:
    description: What is wanted of the scratch.
    type: str
    choices: [present, struck, absent]
    default: present
  reason:
    description: Why the drill is made. It is passed on to the roles.
    type: str
  copy_seconds:
    description: Longest time for the copies of one database.
    type: float
    default: 14400.0
  start_seconds:
    description: Longest time until servers, pods and namespaces have come or gone.
    type: float
    default: 300.0
attributes:
  check_mode:
    description: In check mode nothing is made, struck or removed.
    support: full
"""

EXAMPLES = r"""
- name: Make the scratch of a drill
  platform.recovery.drill_scratch:
    platform: "{{ platform_result.platform }}"
    credentials: "{{ recovery_credentials }}"
    target: us-east-1
  register: drill_scratch_result
"""

RETURN = r"""
mode:
  description: For O(state=present), the mode in which the roles work on the scratch.
  returned: success
  type: str
  sample: failover
databases:
  description: For O(state=present), the scratch databases to work on, as M(platform.recovery.platform_description) gives them.
  returned: success
  type: list
  elements: dict
services:
  description: For O(state=present), what a step on the services of many databases needs of each, as O(databases) of such a step takes it.
  returned: success
  type: list
  elements: dict
canary:
  description: For O(state=present), where the canary writes, or nothing.
  returned: success
  type: dict
lines:
  description: What an operator should read.
  returned: success
  type: list
  elements: str
"""
