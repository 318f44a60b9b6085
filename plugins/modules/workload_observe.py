# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: workload_observe
short_description: See many workloads from their clusters
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Reads what is ready and where each workload points, with one list for each cluster, namespace and kind.
  - A cluster that does not answer, or does not let us in, is data and not a failure. It is one of the vantage points from which a failure is confirmed.
  - Changes nothing.
extends_documentation_fragment:
  - platform.recovery.workloads
  - platform.recovery.workloads.named
options:
  variable:
    description: An environment variable whose value is to be shown, of workloads that name none of their own.
    type: str
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
notes:
  - Readiness follows the period of the probes, so right after a failure it still says what was before.
"""

EXAMPLES = r"""
- name: Ask the clusters what they see
  platform.recovery.workload_observe:
    clusters:
      us-west-2: {kubeconfig: ~/.kube/us-west-2}
      us-east-1: {kubeconfig: ~/.kube/us-east-1, context: production}
    workloads:
      - {cluster: us-west-2, namespace: production, name: user-service}
      - {cluster: us-east-1, namespace: production, name: user-service}
    variable: DB_HOST
  register: seen
"""

RETURN = r"""
lines:
  description: Short facts for people.
  returned: always
  type: list
  elements: str
  sample: ["kubernetes us-west-2: 4 of 4 services ready"]
unreachable_clusters:
  description: Clusters that did not answer, or turned us away, in their own words.
  returned: success
  type: dict
lost_clusters:
  description: Clusters of these workloads that were not asked, because O(lost_clusters) names them.
  returned: success
  type: list
  elements: str
seconds:
  description: What the task took.
  returned: always
  type: float
total:
  description: How many workloads were named.
  returned: success
  type: int
  sample: 8
ready: {description: How many have all their pods ready; what has size 0 has none., returned: success, type: int, sample: 8}
vantages:
  description: What each cluster saw, as evidence.
  returned: success
  type: list
  elements: dict
  contains:
    vantage: {description: Who saw it., type: str, returned: always, sample: kubernetes us-west-2}
    observed: {description: What was seen., type: str, returned: always, sample: "1 of 2 services ready: production/user-service 2/2 ready, production/ai-service 0/2 ready"}
    alive:
      description: Whether a pod of some service is ready. Null if the cluster does not answer or nothing should run.
      type: bool
      returned: always
    since: {description: Since when none is ready., type: str, returned: where the cluster answers}
workloads:
  description: "What became of each workload, by C(cluster/namespace/name) (C(cluster/namespace/statefulset/name))."
  returned: success
  type: dict
  contains:
    cluster: {description: Its cluster., type: str, returned: always}
    namespace: {description: Its namespace., type: str, returned: always}
    kind: {description: Its kind., type: str, returned: always}
    name: {description: Its name., type: str, returned: always}
    ready: {description: Ready pods., type: int, returned: always}
    replicas: {description: Wanted pods., type: int, returned: always}
    complete: {description: Whether all pods are of the newest template and available., type: bool, returned: always}
    unready_since: {description: Since when too few are available., type: str, returned: always}
    remembered: {description: The size that M(platform.recovery.workload_scale) keeps., type: str, returned: always}
    value: {description: "The value of O(variable), or where it comes from.", type: str, returned: always}
"""
