# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: platform_readiness
short_description: Check whether a run could begin right now, and whether one region can stand in for another
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Looks at what stands before the first change of every run, and gives each answer a verdict. Takes no lease, asks for no approval.
  - Never refuses and never fails for what it finds. The checks are journalled, and the run's report lists them.
  - Secrets are compared by digests under a key that is made up for the comparison and forgotten with it. Their values are neither kept nor shown.
  - Changes nothing.
options:
  part:
    description:
      - V(gates) looks into every place of the lease, at the people who would have to approve, and at the objectives.
      - V(run) looks at the journal's sink and at the key that signs the evidence.
      - V(regions) looks at what the controller needs of itself, at the certificates of all servers, and at what the target's clusters hold in
        comparison to those of the region that the target would stand in for.
    type: str
    choices: [gates, run, regions]
    required: true
  homes:
    description: For V(gates), where the lease is kept, as RV(platform.recovery.platform_description#module:lease) has it.
    type: list
    elements: dict
    default: []
  approvals:
    description: For V(gates), who must agree, as RV(platform.recovery.platform_description#module:approvals) has it.
    type: dict
  databases:
    description: For V(gates), the databases, as RV(platform.recovery.platform_description#module:databases) has them.
    type: list
    elements: dict
    default: []
  canary:
    description: For V(gates), whether the platform description has a canary.
    type: bool
    default: false
  evidence_key:
    description: For V(run), the file of the SSH key that signs the evidence.
    type: str
  platform:
    description: >-
      For V(regions), the platform description with every default filled in, as RV(platform.recovery.platform_description#module:platform) has it.
    type: dict
    default: {}
  credentials:
    description: For V(regions), the accounts that the description names. It is only seen that none is empty.
    type: dict
    default: {}
  regions:
    description: For V(regions), the target and its source, as RV(platform.recovery.platform_description#module:regions) has them.
    type: dict
    default: {}
  without:
    description: >-
      For V(regions), sections of the platform description, such as V(zones), that are left out, because what they describe does not run at present.
    type: list
    elements: str
    default: []
  certificate_days:
    description: For V(regions), for how many days more every certificate has to be good.
    type: float
    default: 14
  expected_differences:
    description:
      - For V(regions), which differences between the regions are meant, as C(Kind/namespace/name) or, of one key, C(Kind/namespace/name/key), with
        C(*) for any text. For example V(ConfigMap/production/regional-*).
      - A ConfigMap or an image that names its own region or cluster where the other names the other one, is the same without this.
    type: list
    elements: str
    default: []
  connect_seconds:
    description: For V(regions), how long a server has to show its certificate.
    type: float
    default: 3
  request_timeout_seconds:
    description: For V(regions), how long one call to an API server may take.
    type: float
    default: 5
  concurrency:
    description: For V(regions), most connections to one cluster at a time.
    type: int
    default: 32
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Check whether a run's gates could be passed
  platform.recovery.platform_readiness:
    part: gates
    homes: "{{ platform_result.lease.homes }}"
    databases: "{{ platform_result.databases }}"

- name: Check whether the target could stand in for the other region
  platform.recovery.platform_readiness:
    part: regions
    platform: "{{ platform_result.platform }}"
    regions: "{{ platform_result.regions }}"
    credentials: "{{ recovery_credentials }}"
    certificate_days: 30
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
