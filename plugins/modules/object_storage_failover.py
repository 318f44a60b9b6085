# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: object_storage_failover
short_description: Have applications write to the buckets of another region, and protect these by the former ones
version_added: 0.2.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Looks at both buckets of every store, plans, and does only what is missing. The same call again changes nothing, and finishes what
    a killed one left. Nothing is touched unless every store could be planned.
  - A bucket has two doors, one for applications and one for the other region's replication. The primary has the first one open and the second
    shut, the standby the reverse; what a lost region still accepts or still sends can so never mix with what the new primary is given.
  - A V(switchover) shuts the writes of the present primary, waits until the target has every version and every delete marker, begins the
    replication in the other direction, and only then lets applications write to the target. If not everything arrives in time, writes are
    let in again and the call fails.
  - A V(failover) goes on without the other side where that is lost. What never arrived cannot be known then, and is bounded by when the
    newest version that arrived was written. Once the other side answers, the same call fences it, lists what never arrived, and
    protects the target again. Nothing that the target was given is overwritten by it.
  - Buckets are compared version by version as both are listed, so memory does not grow with their number.
requirements: [boto3 in the Python that runs Ansible]
extends_documentation_fragment:
  - platform.recovery.object_storage
options:
  mode:
    description: V(switchover) loses nothing and needs both sides, V(failover) needs the target only.
    type: str
    choices: [switchover, failover]
    default: switchover
  lost_regions:
    description: Regions that are lost, by the operator's word. Needs a O(reason).
    type: list
    elements: str
    default: []
  fence_statement:
    description: The operator's statement that nobody writes to the other side, where it does not answer. Needs a O(reason).
    type: str
  allow_data_loss:
    description: Whether more may be lost than O(stores.objectives.rpo_seconds). Needs a O(reason).
    type: bool
    default: false
  discard_unreplicated:
    description: >-
      Whether versions that only the former primary has are removed there for good, once it is fenced. Needs a O(reason). While they are
      there a switchover back is refused where clients would be given something else than now.
    type: bool
    default: false
  reason:
    description: Why a region is given up, or a loss accepted. Journalled.
    type: str
  timeout_seconds:
    description: How long replication may take, for the backlog and for the first protection in the other direction together.
    type: float
    default: 120
attributes:
  check_mode:
    description: Observes and plans for real, then returns what would be done.
    support: full
  diff_mode:
    description: Shows the steps.
    support: full
"""

EXAMPLES = r"""
- name: Let applications write to the east
  platform.recovery.object_storage_failover:
    target: us-east-1
    stores:
      files:
        writers: [app]
        members:
          us-west-2:
            bucket: files-us-west-2
            endpoint: https://objects.us-west-2.example.com
            credentials: objects
            replicator: objects_replicator
          us-east-1:
            bucket: files-us-east-1
            endpoint: https://objects.us-east-1.example.com
            credentials: objects
            replicator: objects_replicator
    credentials: "{{ recovery_credentials }}"
"""

RETURN = r"""
lines:
  description: Short facts for people.
  returned: always
  type: list
  elements: str
  sample: ["files: primary is us-east-1, 5012 versions with 40 delete markers; 0 versions never arrived; protected by us-west-2"]
seconds:
  description: What the task took.
  returned: always
  type: float
target:
  description: The region that applications write to.
  returned: success
  type: str
next_actions:
  description: What is left to do.
  returned: success
  type: list
  elements: str
stores:
  description: What became of each store.
  returned: success
  type: dict
  contains:
    primary: {description: The region that applications write to, type: str, returned: "always, null in check mode where that would change"}
    steps: {description: "What was (or would be) done, in this order.", type: list, elements: str, returned: always}
    versions: {description: How many versions were compared, type: int, returned: where both sides answer}
    delete_markers: {description: How many of these are delete markers, type: int, returned: where both sides answer}
    rpo: {description: "C(lost), how many versions never arrived, null where that cannot be known; C(seconds), between the oldest and the newest of them, else the bound; C(how) it is known.", type: dict, returned: always}
    never_arrived: {description: "These versions, the first 10,000: C(key), C(version_id), C(delete_marker), C(size), C(last_modified).", type: list, elements: dict, returned: always}
    drain_seconds: {description: How long the backlog was waited for, type: float, returned: where it was}
    protected: {description: Whether the other side has all that the target held, type: bool, returned: always}
    behind: {description: How many versions the other side has still to get, type: int, returned: where both sides answer}
    discarded: {description: How many versions were removed from the former primary, type: int, returned: always}
"""
