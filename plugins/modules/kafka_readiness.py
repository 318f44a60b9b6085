# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_readiness
short_description: Check whether Kafka clusters could be moved to another region right now
version_added: 0.2.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Asks both clusters with the account that a failover would use, their rights, the hosts of brokers and mirrors, and what the mirror has left
    in the target - heartbeats, pairs of offsets, checkpoints - and compares topics and offsets.
  - Never refuses and never fails for what it finds. The checks are journalled, and the run's report lists them.
  - Changes nothing.
requirements: [confluent-kafka in the Python that runs Ansible, ssh]
extends_documentation_fragment:
  - platform.recovery.kafka
options:
  lost_regions:
    description: Regions that are lost, by the operator's word. Nobody there is asked.
    type: list
    elements: str
    default: []
  most_lag_seconds:
    description: How old the newest mirrored heartbeat may be, where the store has no objective for it.
    type: float
    default: 60
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Check whether the events could be moved to the east
  platform.recovery.kafka_readiness:
    target: us-east-1
    stores: "{{ event_stores }}"
    credentials: "{{ recovery_credentials }}"
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
