# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_lease
short_description: Take the platform's lease for this run, or give it back
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - One run at a time may change a platform. Who that is says a lease, kept in a Kubernetes C(Lease) in a cluster of the
    platform, or in a file where no cluster is described. It has a holder, a fencing token that grows with each holder, and
    an expiry.
  - Register the result as C(recovery_lease), on C(localhost) if later plays work on other hosts. Every verb of this collection that
    changes something then asks, right before it does so, whether the token still is the lease's, and refuses if not.
  - While the run goes on the callback P(platform.recovery.timeline#callback) renews the lease, and each verb that finds half of its
    time gone. A holder that dies, or is frozen, shows no sign of life any more, and is taken over once its lease has expired. One
    whose process is seen to be gone, on the same machine, is taken over at once.
  - The same run may come again. Its former process is fenced off by the later token, and refused at once if it still lives.
  - The first home decides. The others are witnesses that are taken as well where they answer, and that refuse whoever finds somebody
    else's lease there. See C(docs/gates.md) for what that means when two regions lose one another.
options:
  state:
    description:
      - V(held) takes the lease, or refuses naming who holds it.
      - V(released) gives back the one that an earlier task of the playbook took. It does nothing where none was taken.
    type: str
    choices: [held, released]
    default: held
  homes:
    description: Where the lease is kept, in the order in which everybody takes them.
    type: list
    elements: dict
    default: []
    suboptions:
      provider:
        description: What keeps it.
        type: str
        choices: [kubernetes, file]
        required: true
      name:
        description: Name of the object or of the folder.
        type: str
        required: true
      cluster:
        description: For V(kubernetes), the cluster's name.
        type: str
      kubeconfig:
        description: For V(kubernetes), the file with the access.
        type: path
      context:
        description: For V(kubernetes), the context in that file. The current one if left out.
        type: str
      namespace:
        description: For V(kubernetes), the namespace of the object.
        type: str
      folder:
        description: For V(file), the folder that holds it. C(~/.local/state/platform.recovery) if left out.
        type: path
  left_out:
    description: Clusters that would be homes and are lost by the operator's word. Journalled as an override.
    type: list
    elements: str
    default: []
  reason:
    description: Why something is left out, in the operator's words.
    type: str
  seconds:
    description: How long the lease holds without a sign of life.
    type: float
    default: 30
  playbook:
    description: The checklist, for whoever is refused.
    type: str
  target:
    description: What is recovered or where to, for whoever is refused.
    type: str
attributes:
  check_mode:
    description: Says who holds the lease. Takes none, and is refused by none.
    support: full
"""

EXAMPLES = r"""
- name: Take the platform's lease
  platform.recovery.recovery_lease:
    homes:
      - {provider: kubernetes, cluster: us-east-1, kubeconfig: /etc/recovery/kube/us-east-1.yml, namespace: default, name: recovery-production}
    playbook: database-failover
    target: us-east-1
  register: recovery_lease

- name: Give the lease back
  platform.recovery.recovery_lease:
    state: released
"""

RETURN = r"""
grants:
  description:
    - Each home where the lease was taken, with the fencing token there, and for how many seconds the lease holds
      without a sign of life. Nothing in check mode.
  returned: when O(state=held)
  type: list
  elements: dict
  sample: [{home: {provider: kubernetes, cluster: us-east-1}, term: 7, nonce: 3f9a0c1d2e4b5a69, seconds: 30.0}]
holder:
  description: Who holds it now, which is this run.
  returned: when O(state=held) and not in check mode
  type: dict
  sample: {run_id: 20261123T103000Z-database-failover-3f9a, who: alice@ops1, host: ops1, pid: 4711}
silent:
  description: Witnesses that gave no answer.
  returned: when O(state=held) and not in check mode
  type: list
  elements: str
lines:
  description: What an operator should read.
  returned: success
  type: list
  elements: str
  sample: ["lease taken in cluster us-east-1, Lease default/recovery-production, fencing token 7"]
"""
