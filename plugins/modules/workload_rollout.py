# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: workload_rollout
short_description: Wait by watch until many workloads are rolled out and ready
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Waits until every pod of every workload is of the newest template and available, and no older one is left. One list and
    one watch for each cluster, namespace and kind; nothing is polled.
  - If the deadline passes, each workload that is not ready is named with its pod's reason, the last event and the last log
    lines.
  - A change of the pod template, as by M(platform.recovery.workload_repoint), is itself a restart, so by default nothing
    more is restarted.
extends_documentation_fragment:
  - platform.recovery.workloads
  - platform.recovery.workloads.named
  - platform.recovery.workloads.reason
  - platform.recovery.workloads.databases
options:
  restart:
    description:
      - Also restart, as C(kubectl rollout restart) does, what still runs from before O(restart_since).
      - What is under way is waited for first. After that, a workload is restarted only if one of its pods has a process
        that started before that moment. So neither a second run nor a repoint just before leads to a second restart.
    type: bool
    default: false
  restart_since:
    description:
      - An RFC 3339 stamp, e.g. of the promotion. Required with O(restart=true).
      - Kubernetes cuts its own stamps to whole seconds. A process that started in the same second counts as older, so it may
        be restarted without need, but none is left that has not seen the change.
    type: str
  timeout_seconds:
    description: How long to wait for all of them.
    type: float
    default: 300
attributes:
  check_mode:
    description: Observes and plans for real, then returns what would change; nothing is waited for.
    support: full
  diff_mode:
    description: There is nothing to show but the restarts.
    support: none
notes:
  - A workload that is paused, or whose update strategy holds its pods back, fails at once if it is not complete. So does a
    Deployment whose controller gives its rollout up meanwhile (C(ProgressDeadlineExceeded)).
"""

EXAMPLES = r"""
- name: Wait until the services are back
  platform.recovery.workload_rollout:
    clusters:
      us-west-2: {kubeconfig: ~/.kube/us-west-2}
      us-east-1: {kubeconfig: ~/.kube/us-east-1, context: production}
    workloads:
      - {cluster: us-west-2, namespace: production, name: user-service}
      - {cluster: us-east-1, namespace: production, name: user-service}
    timeout_seconds: 120

- name: Restart what has not been started since the promotion
  platform.recovery.workload_rollout:
    clusters: "{{ recovery_platform.clusters }}"
    workloads: "{{ service_workloads }}"
    restart: true
    restart_since: "2026-11-23T10:30:00.000Z"
"""

RETURN = r"""
lines:
  description: Short facts for people.
  returned: always
  type: list
  elements: str
  sample: ["8 of 8 workloads rolled out and ready (1.94 s)"]
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
ready: {description: How many are complete., returned: success, type: int, sample: 8}
restarted: {description: How many were (or would be) restarted., returned: success, type: int, sample: 0}
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
    restarted: {description: Whether this task restarted it., type: bool, returned: always}
    ready_after_seconds: {description: When it was complete after the wait began., type: float, returned: when waited for}
failures:
  description: >-
    What stood in the way of some of O(databases), by their names, each with C(kind), C(what), C(wanted), C(observed) and C(next_action).
    The steps that follow leave them out.
  returned: success
  type: dict
changed_workloads:
  description: The workloads that were restarted before the failure.
  returned: failure
  type: list
  elements: str
failed_workloads:
  description: "Each workload that is not ready, with C(ready), C(replicas), C(why), C(pod), C(reason), C(event) and C(log)."
  returned: failure
  type: dict
"""
