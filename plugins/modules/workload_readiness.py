# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: workload_readiness
short_description: Check whether many workloads could be pointed to another database right now
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Asks every cluster whether it answers, whether the kubeconfig's user may do what a recovery does (C(SelfSubjectAccessReview)), whether
    every workload exists and has the variable in a place where it can be changed, and whether the services are ready.
  - Never refuses and never fails for what it finds. The checks are journalled, and the run's report lists them.
  - Changes nothing.
extends_documentation_fragment:
  - platform.recovery.workloads
  - platform.recovery.workloads.named
options:
  name:
    description: The name of what the workloads depend on, in what is shown.
    type: str
    required: true
  value:
    description: The value to which they would be pointed.
    type: str
    required: true
  variable:
    description: The environment variable that would be changed, of workloads that name none of their own.
    type: str
    default: DB_HOST
  timeout_seconds:
    description: How long the whole task may take.
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
- name: Check whether the services could be pointed to the east
  platform.recovery.workload_readiness:
    name: platform_db
    clusters:
      us-west-2: {kubeconfig: ~/.kube/us-west-2}
    workloads:
      - {cluster: us-west-2, namespace: production, name: user-service}
    value: db.us-east-1.example.com
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
