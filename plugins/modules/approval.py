# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: approval
short_description: See that the people who must agree to a run have agreed
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Wants a number of named people to have approved exactly this run, each with a signature by an SSH key of their own
    (C(ssh-keygen -Y)). Whoever started the run does not count.
  - A run that is not approved yet is refused, and leaves C(approval-request.json) in its folder. C(recovery approve) shows it to an
    approver, signs, and writes a file that is put into C(approvals) beside it, or named in O(approvals). The same run started again
    finds it. Nothing has to be online for that.
  - An approval holds for one request of one run, for the playbook, mode, target, overrides and platform description named in it, and
    until it expires. The request carries a random number that the run's journal keeps, so that an approval is worth nothing for
    another run, on this controller or another, nor for the same name once that run has recovered.
  - With a break-glass approval one signature is enough, also that of whoever started the run. It needs a reason, lasts shortly, and
    every report of the run says so before anything else.
  - Where the run has a key for its evidence, the journal is signed up to the decision as soon as the gate passes.
options:
  needed:
    description: How many people must approve.
    type: int
    default: 2
  approvers:
    description: Who may approve. Everybody in O(people) if left out.
    type: list
    elements: str
    default: []
  people:
    description: A mapping of a person's name to how they are known.
    type: dict
    required: true
    suboptions:
      keys:
        description: Their public SSH keys.
        type: list
        elements: str
        required: true
      accounts:
        description: Names under which they start runs, beside their own.
        type: list
        elements: str
        default: []
  valid_seconds:
    description: How long an approval may hold.
    type: float
    default: 14400
  break_glass_seconds:
    description: How long one by break-glass may hold.
    type: float
    default: 900
  awx_workflow:
    description: >-
      Name of a workflow of the automation platform whose approval node stands in for all of it. Believed where the variables
      C(awx_workflow_job_id) and C(awx_workflow_job_name) say so, which outside of AWX anybody can set.
    type: str
  approvals:
    description: Files that C(recovery approve) wrote, or folders of such, beside those in the run's folder.
    type: list
    elements: path
    default: []
  platform:
    description: Name of the platform.
    type: str
    required: true
  playbook:
    description: The checklist, as its dashed name.
    type: str
    required: true
  mode:
    description: The mode of the run.
    type: str
    required: true
  target:
    description: What is recovered or where to.
    type: str
    required: true
  description:
    description: Digest of the platform description.
    type: str
    required: true
  overrides:
    description: The overrides that the run was given. An approval covers those that were named when it was asked for.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Says what is approved and what is missing. Refuses nothing.
    support: full
"""

EXAMPLES = r"""
- name: See that two people have agreed
  platform.recovery.approval:
    needed: 2
    people:
      alice: {keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE... alice"]}
      bob: {keys: ["sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1... bob"]}
      carol: {keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF... carol"], accounts: [carol@example.com]}
    platform: production
    playbook: database-failover
    mode: failover
    target: us-east-1
    description: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
"""

RETURN = r"""
approvers:
  description: Whose approvals count.
  returned: success
  type: list
  elements: str
  sample: [bob, carol]
lines:
  description: What an operator should read.
  returned: success
  type: list
  elements: str
"""
