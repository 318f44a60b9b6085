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
    write; of others that all are ready. One list and one watch for each collection and wave; nothing is polled.
  - All is decided before anything is changed, from one look. A refusal leaves everything as it was.
  - V(remembered) restores the former size and removes the annotations.
  - What is paused, or updates on deletion or from a partition on, is scaled like everything else.
  - Running it again does only what is missing. While an API server asks to wait (429), all calls to it wait as long as it says.
extends_documentation_fragment:
  - platform.recovery.workloads
  - platform.recovery.workloads.chosen
  - platform.recovery.workloads.reason
  - platform.recovery.workloads.databases
options:
  replicas:
    description:
      - A number.
      - V(remembered), the former size. What remembers nothing then keeps its size.
      - V(lost_region), the size that the workload of the same name had in O(lost_region), as M(platform.recovery.workload_remember)
        remembered it. What is larger already stays, since it has that region's traffic to bear.
      - A percentage such as V(50%), of the largest size that is remembered of the workload of the same name, in O(lost_region) or, without
        one, in any region; rounded up.
      - A workload of which no size is remembered keeps the one that it has, and is named. If none is of any, that is refused.
    type: str
    default: "0"
  lost_region:
    description: The region whose sizes are meant. It is not asked.
    type: str
  snapshot:
    description:
      - A file that M(platform.recovery.workload_remember) wrote. It stands in for workloads that carry no memory of their own, such as
        those that were deployed anew since.
    type: path
  services:
    description:
      - The services and what they depend on, as in the platform description; of each only C(depends_on) is read. A workload belongs to
        the service of its name.
      - Workloads get larger in waves, each ready before the next begins, so that a service starts after all that it depends on, and get smaller
        the other way around. A workload that is no service is in the first wave. Without services there is one wave.
    type: dict
    default: {}
  autoscalers:
    description:
      - What becomes of HorizontalPodAutoscalers. V(respect) raises C(minReplicas) (and C(maxReplicas), if that is less) to the size wanted,
        remembers the former bounds in annotations, and hastens the workload to that size. It never lowers a bound below what its owner
        wrote, and leaves it to the autoscaler to shrink a workload. V(remembered) gives the former bounds back.
      - One that a controller writes, such as KEDA's, is left alone; then its bounds hold, and the result says so.
      - A workload of size 0 is left alone by its autoscaler, so that none is looked at for V(0).
      - V(ignore) sets the sizes only.
    type: str
    choices: [respect, ignore]
    default: respect
  disruption_budgets:
    description:
      - What becomes of PodDisruptionBudgets when a workload gets smaller, but not 0. V(respect) keeps as many pods as their C(minAvailable)
        asks for, and names where. A budget in percent, and C(maxUnavailable), follow the size and keep nothing.
    type: str
    choices: [respect, ignore]
    default: respect
  capacity:
    description:
      - What becomes of a lack of room. Where workloads grow, the namespaces' ResourceQuotas and LimitRanges, and the clusters' nodes and pods
        are read.
      - V(require) refuses before anything is touched, with what is missing of each resource; also where these may not be read.
      - V(report) says so and goes on, for clusters whose nodes come by themselves.
      - V(ignore) reads none of them.
    type: str
    choices: [require, report, ignore]
    default: require
  stopped_only:
    description: >-
      Whether only workloads of size 0 are meant. What runs keeps its size, and is waited for all the same.
    type: bool
    default: false
  unknown_sizes:
    description: >-
      What to do where a size is to be a remembered one and no workload at all remembers any. V(refuse) takes it for a mistake; V(keep) leaves
      all sizes as they are and says so, for a recovery that must not stop there.
    type: str
    choices: [refuse, keep]
    default: refuse
  timeout_seconds:
    description: How long the whole task may take.
    type: float
    default: 120
attributes:
  check_mode:
    description: Observes and plans for real, refuses what would be refused, and returns what would change; nothing is waited for.
    support: full
  diff_mode:
    description: Shows the sizes and the autoscalers' bounds before and after, a line for each that changes.
    support: full
notes:
  - Needs the right to get, list, watch and patch deployments and statefulsets, to list and watch pods, and to list replicasets; with V(respect) and
    V(require) also to get, list and patch horizontalpodautoscalers, and to list poddisruptionbudgets, resourcequotas, limitranges, nodes, and the pods
    of all namespaces.
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

- name: Give everything in the surviving region the size that it had in the lost one, services in the order of their dependencies
  platform.recovery.workload_scale:
    clusters: "{{ recovery_platform.clusters }}"
    namespaces:
      - {cluster: us-east-1, namespace: production}
    replicas: lost_region
    lost_region: us-west-2
    services: "{{ recovery_platform.services }}"
    timeout_seconds: 600
"""

RETURN = r"""
lines:
  description: Short facts for people.
  returned: always
  type: list
  elements: str
  sample:
    - 8 of 8 workloads at 4 replicas, all ready (8 scaled, 3.20 s)
    - "2 waves: 6 in 1.90 s, 2 in 1.30 s"
    - "minReplicas of 2 HorizontalPodAutoscalers changed, so that they do not undo it"
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
  description: How many workloads were named or found.
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
    kept_by: {description: The PodDisruptionBudget that keeps it from being smaller., type: str, returned: always}
autoscalers:
  description: "What became of the bounds of each HorizontalPodAutoscaler, by C(cluster/namespace/horizontalpodautoscaler/name)."
  returned: success
  type: dict
  contains:
    before: {description: Its C(minReplicas) and C(maxReplicas) before., type: list, elements: int, returned: always}
    after: {description: The same after., type: list, elements: int, returned: always}
    changed: {description: Whether it was changed., type: bool, returned: always}
waves:
  description: How many workloads each wave had, and the C(seconds) that it took.
  returned: success
  type: list
  elements: dict
shortfalls:
  description:
    - What there is no room for, in each place (C(cluster), C(where)) of each C(resource), with what is C(wanted), C(free) and C(short), in cores,
      bytes and pods.
  returned: where it was looked for
  type: list
  elements: dict
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
changed_autoscalers:
  description: The HorizontalPodAutoscalers that were changed before the failure.
  returned: failure
  type: list
  elements: str
not_begun:
  description: The workloads of later waves, which were not touched.
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
