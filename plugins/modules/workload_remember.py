# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: workload_remember
short_description: Remember how large a region's workloads are, where that can be read when the region is lost
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Reads the size of workloads of one region and writes it to the workloads of the same namespace, kind and name in clusters of other regions, in
    the annotation C(platform.recovery/sizes), with the largest size that was ever seen. M(platform.recovery.workload_scale) scales by it.
  - Meant to be run regularly while all is well, as a part of the checks of readiness are. A region that is lost cannot be asked.
  - Of a workload that M(platform.recovery.workload_scale) has stopped, its former size counts, so that a region that is stopped is not remembered as one
    of no size.
  - Writes only what has changed, and each object under a lock.
  - Sizes in several clusters of a region are added up.
extends_documentation_fragment:
  - platform.recovery.workloads
  - platform.recovery.workloads.chosen
  - platform.recovery.workloads.reason
options:
  region:
    description: The name under which the sizes are remembered.
    type: str
    required: true
  remember_in:
    description: The clusters, of O(clusters), whose workloads are to remember.
    type: list
    elements: str
    required: true
  snapshot:
    description: A file on the controller that is to remember too. What it holds of other regions stays.
    type: path
  timeout_seconds:
    description: How long the whole task may take.
    type: float
    default: 60
attributes:
  check_mode:
    description: Reads and plans for real, then returns what would change.
    support: full
  diff_mode:
    description: Shows what is remembered before and after, a line for each workload that changes.
    support: full
notes:
  - Needs the right to list deployments and statefulsets in the region, and to get, list and patch them where they are remembered.
"""

EXAMPLES = r"""
- name: Remember in the east how large everything in the west is
  platform.recovery.workload_remember:
    clusters: "{{ recovery_platform.clusters }}"
    region: us-west-2
    namespaces:
      - {cluster: us-west-2, namespace: production}
    remember_in: [us-east-1]
    snapshot: /var/lib/recovery/sizes.json
"""

RETURN = r"""
lines:
  description: Short facts for people.
  returned: always
  type: list
  elements: str
  sample: ["sizes of 8 workloads of us-west-2 remembered on 8 (2 noted)"]
total: {description: How many workloads of the region were read., returned: success, type: int, sample: 8}
noted: {description: On how many it was (or would be) written., returned: success, type: int, sample: 2}
sizes:
  description: "The C(size) of each workload, and the largest seen now (C(maximum)), by C(namespace/kind/name)."
  returned: success
  type: dict
absent:
  description: "Workloads that have no like in a cluster that is to remember, by C(cluster/namespace/kind/name)."
  returned: success
  type: list
  elements: str
lost_clusters:
  description: Clusters that were left out, because O(lost_clusters) names them.
  returned: success
  type: list
  elements: str
seconds:
  description: What the task took.
  returned: always
  type: float
"""
