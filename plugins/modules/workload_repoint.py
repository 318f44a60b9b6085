# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: workload_repoint
short_description: Point an environment variable of many workloads to a new value
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Sets an environment variable in the pod templates of many Deployments and StatefulSets of many clusters at once.
  - First everything is observed and planned, with one list for each cluster, namespace and kind. If a cluster does not
    answer, a workload does not exist, or one cannot be changed, nothing is touched anywhere.
  - Each patch carries the C(resourceVersion) that was planned on. If somebody else changes the object in between, it is
    observed and planned again, at most eight times.
  - A workload that has the value already is not written to, so a second run changes nothing and restarts nothing.
  - The variable must be there, with its value written in the workload. One that comes from a ConfigMap, a Secret or the
    pod is refused with the name of its source.
  - A change of the template is a restart of the pods. M(platform.recovery.workload_rollout) waits for it.
extends_documentation_fragment:
  - platform.recovery.workloads
  - platform.recovery.workloads.named
  - platform.recovery.workloads.reason
  - platform.recovery.workloads.databases
options:
  variable:
    description: The environment variable of the workloads that name none of their own.
    type: str
    required: true
  value:
    description: Its new value. Needed unless each of O(databases) brings one. Shown in results and journal; not for secrets.
    type: str
  timeout_seconds:
    description: How long the whole task may take, waiting for an overloaded API server included.
    type: float
    default: 60
attributes:
  check_mode:
    description: Observes and plans for real, then returns what would change.
    support: full
  diff_mode:
    description: Shows the variable before and after, a line for each workload that changes.
    support: full
notes:
  - M(kubernetes.core.k8s) does the same for one object in 1.6 seconds; this does hundreds in one task, over the standard
    library only.
  - A workload that is paused, or whose update strategy holds its pods back, is refused as long as it needs a change, because
    its pods would keep the old value.
"""

EXAMPLES = r"""
- name: Point the services to the new primary
  platform.recovery.workload_repoint:
    clusters:
      us-west-2: {kubeconfig: ~/.kube/us-west-2}
      us-east-1: {kubeconfig: ~/.kube/us-east-1, context: production}
    workloads:
      - {cluster: us-west-2, namespace: production, name: user-service}
      - {cluster: us-east-1, namespace: production, name: user-service}
    variable: DB_HOST
    value: postgresql.us-east-1.lab.internal

- name: Leave out the region that is lost
  platform.recovery.workload_repoint:
    clusters: "{{ recovery_platform.clusters }}"
    workloads: "{{ service_workloads }}"
    variable: DB_HOST
    value: postgresql.us-east-1.lab.internal
    lost_clusters: [us-west-2]
    reason: us-west-2 has no power, incident 4711
"""

RETURN = r"""
lines:
  description: Short facts for people.
  returned: always
  type: list
  elements: str
  sample: ["8 of 8 workloads point to postgresql.us-east-1.lab.internal (5 patched in 0.04 s)"]
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
variable: {description: The variables that the workloads have., returned: success, type: str, sample: DB_HOST}
value: {description: Its value. The user part of a URL is masked., returned: success, type: str}
patched: {description: How many workloads were (or would be) patched., returned: success, type: int, sample: 5}
unchanged: {description: How many had the value already., returned: success, type: int, sample: 3}
patch_seconds: {description: What the patches alone took., returned: success, type: float, sample: 0.04}
workloads:
  description: "What became of each workload, by C(cluster/namespace/name) (C(cluster/namespace/statefulset/name))."
  returned: success
  type: dict
  contains:
    cluster: {description: Its cluster., type: str, returned: always}
    namespace: {description: Its namespace., type: str, returned: always}
    kind: {description: Its kind., type: str, returned: always}
    name: {description: Its name., type: str, returned: always}
    variable: {description: Its variable., type: str, returned: always}
    containers: {description: The containers that have the variable., type: list, elements: str, returned: always}
    before: {description: The value before., type: str, returned: always}
    after: {description: The value after., type: str, returned: always}
    changed: {description: Whether it was patched., type: bool, returned: always}
    generation: {description: The generation of the workload., type: int, returned: always}
vantages:
  description: In check mode, what each cluster saw of these workloads, as M(platform.recovery.workload_observe) gives it.
  returned: success
  type: list
  elements: dict
vantages_of:
  description: In check mode, RV(vantages) for each of O(databases).
  returned: where databases are told apart
  type: dict
failures:
  description: >-
    What stood in the way of some of O(databases), by their names, each with C(kind), C(what), C(wanted), C(observed) and C(next_action).
    The steps that follow leave them out.
  returned: success
  type: dict
changed_workloads:
  description: The workloads that were patched although others failed.
  returned: failure
  type: list
  elements: str
failed_workloads:
  description: The workloads that could not be patched, with the reason.
  returned: failure
  type: dict
"""
