# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that works on Kubernetes workloads."""

from __future__ import annotations


class ModuleDocFragment:
    """See the modules that extend it."""

    DOCUMENTATION = r"""
options:
  clusters:
    description:
      - The clusters that are worked on. A mapping of a name to the way there.
      - Clusters that nothing else here names are not contacted.
    type: dict
    required: true
    suboptions:
      kubeconfig:
        description:
          - Path of a kubeconfig. Without one, what E(KUBECONFIG) names, or C(~/.kube/config).
          - Tokens, token files, client certificates and exec credential programs work; C(proxy-url) does not.
          - A credential program is run when its cluster is first asked, and has 15 seconds. If it fails, the cluster does not
            answer.
          - A server certificate is only left unchecked where the kubeconfig itself says C(insecure-skip-tls-verify).
        type: path
      context:
        description: Its context. Without one, the current context of the kubeconfig.
        type: str
      region:
        description: The region of the cluster. Not used here; the entries of a platform description fit as they are.
        type: str
  lost_clusters:
    description:
      - Clusters that are lost, by the operator's word. They are not asked at all, their workloads are left as they are, and the
        result names them. Every other cluster has to answer.
    type: list
    elements: str
    default: []
  request_timeout_seconds:
    description:
      - How long one call to an API server may take. A connection has a fifth of it, at least 2 seconds, and is tried twice
        before a cluster counts as unreachable.
    type: float
    default: 10
  concurrency:
    description:
      - Most connections to one cluster at a time. Fewer are used for few workloads, since each costs a handshake.
    type: int
    default: 32
"""

    NAMED = r"""
options:
  workloads:
    description: The workloads, of any number of clusters and namespaces. Without any there is nothing to do.
    type: list
    elements: dict
    required: true
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
      container:
        description:
          - The container that has the variable.
          - Without one, every container that has it is meant, init containers too, because a workload that points to two
            places is never what one wants.
          - Modules that treat a workload as a whole do not use it; the same list serves them all.
        type: str
      variable:
        description:
          - The environment variable that names what this workload depends on. Without one, the variable of the task is meant.
        type: str
"""

    CHOSEN = r"""
options:
  workloads:
    description: The workloads, of any number of clusters and namespaces, beside those of O(namespaces).
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
      container:
        description: Not used here; the same list serves the modules that change variables.
        type: str
      variable:
        description: Not used here; the same list serves the modules that change variables.
        type: str
  namespaces:
    description: Namespaces of which every Deployment and StatefulSet is meant.
    type: list
    elements: dict
    default: []
    suboptions:
      cluster:
        description: The cluster, one of O(clusters).
        type: str
        required: true
      namespace:
        description: The namespace.
        type: str
        required: true
"""

    REASON = r"""
options:
  reason:
    description: Why clusters are given up as lost. Journalled as the override's reason for each of them.
    type: str
"""

    DATABASES = r"""
options:
  databases:
    description:
      - The databases of which the workloads are those, where they are to be told apart, also those without any. Then each brings its own, and
        O(clusters) and O(workloads) are empty.
      - They are worked on at the same time, and what stands in the way of one, or fails for it, concerns that one alone. It is
        journalled as that database's failure, RV(failures) names it, and the task goes on. The task fails if each of them failed.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name. A host that is one database has it as its own.
        type: str
        required: true
      value:
        description: Where its workloads are to be pointed, for a task that points them.
        type: str
      clusters:
        description: As O(clusters).
        type: dict
        default: {}
      workloads:
        description: As O(workloads).
        type: list
        elements: dict
        default: []
        suboptions:
          cluster:
            description: The cluster, one of O(databases[].clusters).
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
          container:
            description: The container that has the variable.
            type: str
          variable:
            description: The environment variable that names what it depends on.
            type: str
      lost_clusters:
        description: As O(lost_clusters).
        type: list
        elements: str
        default: []
"""
