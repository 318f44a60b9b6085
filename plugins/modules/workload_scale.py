# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: workload_scale
short_description: Scale many workloads, remember their former sizes, and wait
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Sets the size of many Deployments and StatefulSets at once. The former size is kept in the annotation
    C(platform.recovery/replicas), in the same patch, so that no kill at any point can lose it. A size that is remembered
    already is not overwritten.
  - What was set is kept beside it in C(platform.recovery/scaled-to). A workload that no longer has that size was scaled by
    somebody else since; it keeps its size, and what was remembered is forgotten, so that no old memory shrinks it.
  - Waits until it is so. Of a workload with size 0 that means that no pod is left, because a pod that terminates may still
    write; of others that all are ready. One list and one watch for each collection; nothing is polled.
  - V(remembered) restores the former size and removes the annotations.
  - What is paused, or updates on deletion or from a partition on, is scaled like everything else.
extends_documentation_fragment:
  - platform.recovery.workloads
  - platform.recovery.workloads.reason
  - platform.recovery.workloads.databases
options:
  replicas:
    description: The size, or V(remembered). What remembers nothing then keeps its size.
    type: str
    default: "0"
  timeout_seconds:
    description: How long the whole task may take.
    type: float
    default: 120
attributes:
  check_mode:
    description: Observes and plans for real, then returns what would change; nothing is waited for.
    support: full
  diff_mode:
    description: Shows the sizes before and after, a line for each workload that changes.
    support: full
notes:
  - A HorizontalPodAutoscaler leaves a workload of size 0 alone, and takes over again after the size is restored.
"""

EXAMPLES = r"""
- name: Stop the application's writes
  platform.recovery.workload_scale:
    clusters:
      us-west-2: {kubeconfig: ~/.kube/us-west-2}
      us-east-1: {kubeconfig: ~/.kube/us-east-1, context: production}
    workloads:
      - {cluster: us-west-2, namespace: production, name: user-service}
      - {cluster: us-east-1, namespace: production, name: user-service}
    replicas: 0

- name: Start the applications again, each with its former size
  platform.recovery.workload_scale:
    clusters: "{{ recovery_platform.clusters }}"
    workloads: "{{ service_workloads }}"
    replicas: remembered
"""

RETURN = r"""
lines:
  description: Short facts for people.
  returned: always
  type: list
  elements: str
  sample: ["8 of 8 workloads at 0 replicas, no pod left (8 scaled, 1.20 s)"]
lost_clusters:
  description: Clusters of these workloads that were left out, because O(lost_clusters) names them.
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
scaled: {description: How many were (or would be) scaled., returned: success, type: int, sample: 8}
unchanged: {description: How many had the size already., returned: success, type: int, sample: 0}
workloads:
  description: "What became of each workload, by C(cluster/namespace/name) (C(cluster/namespace/statefulset/name))."
  returned: success
  type: dict
  contains:
    cluster: {description: Its cluster., type: str, returned: always}
    namespace: {description: Its namespace., type: str, returned: always}
    kind: {description: Its kind., type: str, returned: always}
    name: {description: Its name., type: str, returned: always}
    before: {description: The size before., type: int, returned: always}
    after: {description: The size after., type: int, returned: always}
    remembered: {description: The size that is remembered now., type: int, returned: always}
    changed: {description: Whether it was scaled., type: bool, returned: always}
failures:
  description: >-
    What stood in the way of some of O(databases), by their names, each with C(kind), C(what), C(wanted), C(observed) and C(next_action).
    The steps that follow leave them out.
  returned: success
  type: dict
changed_workloads:
  description: The workloads that were scaled before the failure.
  returned: failure
  type: list
  elements: str
pods:
  description: The pods that are not gone.
  returned: failure
  type: list
  elements: str
failed_workloads:
  description: Each workload that is not ready, as in M(platform.recovery.workload_rollout).
  returned: failure
  type: dict
"""
