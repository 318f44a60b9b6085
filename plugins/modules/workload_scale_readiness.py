# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: workload_scale_readiness
short_description: Check whether many workloads could be scaled up right now
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Decides in each cluster what M(platform.recovery.workload_scale) would do, with the same code. Whether the kubeconfig's user may do it, whether of every
    workload a size is known, whether quotas and nodes have room for it, each resource that is short being a check of its own, and whether autoscalers
    would let it stand.
  - Never refuses and never fails for what it finds. The checks are journalled, and the run's report lists them.
  - Changes nothing.
extends_documentation_fragment:
  - platform.recovery.workloads
  - platform.recovery.workloads.chosen
options:
  name:
    description: The name of what is scaled, in what is shown.
    type: str
    required: true
  replicas:
    description:
      - A number.
      - V(remembered), the former size. What remembers nothing then keeps its size.
      - V(lost_region), the size that the workload of the same name had in O(lost_region), as M(platform.recovery.workload_remember)
        remembered it. What is larger already stays, since it has that region's traffic to bear.
      - A percentage such as V(50%), of the largest size that is remembered of the workload of the same name, in O(lost_region) or, without
        one, in any region; rounded up.
      - A workload of which no size is remembered keeps the one that it has, and is named.
    type: str
    default: lost_region
  lost_region:
    description: The region whose sizes are meant. It is not asked.
    type: str
  source_workloads:
    description:
      - The workloads of O(lost_region) as they are now, with their clusters in O(clusters). As long as these answer, their sizes are asked of them, and
        workloads that would come back too small because nothing, or too little, is remembered of them are named.
      - Of a cluster that does not answer, what is remembered counts.
    type: list
    elements: dict
    default: []
    suboptions:
      cluster:
        description: The cluster, one of O(clusters).
        type: str
        required: true
      namespace:
        description: Its namespace.
        type: str
        required: true
      name:
        description: Its name.
        type: str
        required: true
      kind:
        description: Its kind.
        type: str
        choices: [Deployment, StatefulSet]
        default: Deployment
  snapshot:
    description:
      - A file that M(platform.recovery.workload_remember) wrote. It stands in for workloads that carry no memory of their own, such as
        those that were deployed anew since.
    type: path
  services:
    description:
      - The services and what they depend on, as in the platform description; of each only C(depends_on) is read. A workload belongs to
        the service of its name.
      - A circle among them is found here.
    type: dict
    default: {}
  autoscalers:
    description:
      - What would become of HorizontalPodAutoscalers, as in M(platform.recovery.workload_scale).
    type: str
    choices: [respect, ignore]
    default: respect
  disruption_budgets:
    description:
      - What would become of PodDisruptionBudgets, as in M(platform.recovery.workload_scale).
    type: str
    choices: [respect, ignore]
    default: respect
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
- name: Check whether the east has room for what runs in the west
  platform.recovery.workload_scale_readiness:
    name: platform
    clusters: "{{ recovery_platform.clusters }}"
    namespaces:
      - {cluster: us-east-1, namespace: production}
    replicas: lost_region
    lost_region: us-west-2
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
