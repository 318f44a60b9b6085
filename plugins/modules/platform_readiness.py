# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: platform_readiness
short_description: Check whether a run's gates could be passed and its journal be kept right now
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Looks at what stands before the first change of every run, and gives each answer a verdict. Takes no lease, asks for no approval.
  - Never refuses and never fails for what it finds. The checks are journalled, and the run's report lists them.
  - Changes nothing.
options:
  part:
    description:
      - V(gates) looks into every place of the lease, at the people who would have to approve, and at the objectives.
      - V(run) looks at the journal's sink and at the key that signs the evidence.
    type: str
    choices: [gates, run]
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
