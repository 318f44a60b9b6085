# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: drill_inventory
short_description: Prove that a drill left production as it was
version_added: 0.2.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Lists all that a drill could have touched, each with a digest. Of every member of every database in O(target), these are databases,
    roles, slots, followers, settings, tablespaces, whether it is a standby, and in its database relations, schemas, extensions,
    publications and subscriptions. Of every cluster, these are its namespaces, and in those of the platform's services the workloads,
    services, ConfigMaps, Secrets, accounts, claims and network policies, by their content and not by their version.
  - With O(moment=before) the list is kept in the run's folder. A run that goes on under the same id keeps the list of its first attempt.
  - With O(moment=after) it is made anew and held against that. Any difference fails the run and is named, whoever made it.
  - Rows are not compared, since applications go on writing.
requirements: [psycopg2 in the Python that runs Ansible]
extends_documentation_fragment:
  - platform.recovery.drill
options:
  moment:
    description: Whether the drill is still to come or is over.
    type: str
    choices: [before, after]
    required: true
attributes:
  check_mode:
    description: Runs the same in check mode.
    support: full
"""

EXAMPLES = r"""
- name: See that production is as it was
  platform.recovery.drill_inventory:
    platform: "{{ platform_result.platform }}"
    credentials: "{{ recovery_credentials }}"
    target: us-east-1
    moment: after
"""

RETURN = r"""
total:
  description: How many things were listed.
  returned: success
  type: int
digest:
  description: The digest of all of it.
  returned: success
  type: str
lines:
  description: What an operator should read.
  returned: success
  type: list
  elements: str
"""
