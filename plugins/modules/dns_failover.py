# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: dns_failover
short_description: Lead many names of many zones to a region, and wait until everybody answers so
version_added: 0.2.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Looks at all zones, plans, changes what differs in as few requests as the API allows, and waits until every authoritative server and
    every resolver gives nothing but the target's values. What it takes until caches have forgotten is predicted and measured.
  - Nothing is touched unless every zone could be planned and the target answers its O(zones.targets.probe).
  - No name is left without a healthy answer. A health check of the target is switched on, and found healthy, before one of another
    region is switched off; a name that would keep no healthy set is a refusal.
  - What somebody else changed in between is noticed (by the version of a health check, by a batch that deletes exactly what was seen, by
    the prerequisites of an update) and planned anew. Values that nobody described are never overwritten.
  - Throttling is waited out until O(timeout_seconds).
  - With V(route53_health_checks), names that the name servers already lead to the target by themselves are right although the API is
    down; the result then says that nothing holds them there (C(held)).
requirements: [dnspython in the Python that runs Ansible, boto3 for the providers of AWS]
extends_documentation_fragment:
  - platform.recovery.dns
options:
  lost_regions:
    description: >-
      Regions that are lost, by the operator's word. A name server or resolver of theirs may be silent; one that answers has to answer
      rightly. Needs a O(reason).
    type: list
    elements: str
    default: []
  reason:
    description: Why regions are given up, or safety rules overridden. Journalled.
    type: str
  timeout_seconds:
    description: How long the API may take, and then the authoritative servers. Resolvers have the predicted tail beside it.
    type: float
    default: 60
  grace_seconds:
    description: How much longer than the TTL a resolver may keep an old answer.
    type: float
    default: 5
  healthy_seconds:
    description: >-
      How long Route 53's checkers may take to find the target healthy, who look every 10 or 30 seconds. V(0) refuses at once what they take for
      unhealthy.
    type: float
    default: 0
attributes:
  check_mode:
    description: Observes and plans for real, then returns what would change.
    support: full
  diff_mode:
    description: Shows each health check, record or routing control before and after.
    support: full
"""

EXAMPLES = r"""
- name: Lead the names of the platform to the east
  platform.recovery.dns_failover:
    target: us-east-1
    zones:
      example.com:
        targets:
          us-west-2: {values: [192.0.2.10], probe: "https://edge.us-west-2.example.com/healthz"}
          us-east-1: {values: [198.51.100.10], probe: "https://edge.us-east-1.example.com/healthz"}
        records:
          - {name: app.example.com}
          - {name: api.example.com}
"""

RETURN = r"""
lines:
  description: Short facts for people.
  returned: always
  type: list
  elements: str
  sample: ["example.com: 2 names lead to us-east-1 at 4 name servers after 0.41 s, at 1 resolvers 52.10 s later (2 moved, tail predicted 60 s)"]
seconds:
  description: What the task took.
  returned: always
  type: float
target:
  description: The region that the names lead to.
  returned: success
  type: str
tail:
  description: What caches added.
  returned: success
  type: dict
  contains:
    predicted_seconds: {description: The longest TTL of an answer that was not the target's., type: int, returned: always, sample: 60}
    measured_seconds: {description: From the last authoritative server to the last resolver., type: float, returned: not in check mode}
zones:
  description: What became of each zone.
  returned: success
  type: dict
  contains:
    names: {description: How many names are described., type: int, returned: always}
    moved: {description: The names that were (or would be) moved., type: list, elements: str, returned: always}
    changes: {description: "What was (or would be) changed, each with C(what), C(before) and C(after).", type: list, elements: dict, returned: always}
    predicted_tail_seconds: {description: As in C(tail)., type: int, returned: always}
    authority_seconds: {description: How long the authoritative servers were waited for., type: float, returned: not in check mode}
    tail_seconds: {description: How long the resolvers were waited for after them., type: float, returned: not in check mode}
    leads: {description: "Whether every authoritative server that answers gives the target for all names, in check mode before anything would change.", type: bool, returned: always}
    silent_servers: {description: Servers of lost regions that did not answer., type: list, elements: str, returned: always}
    held: {description: "Whether something keeps the names there: false where the API was out of reach and the name servers had moved them alone.", type: bool, returned: always}
"""
