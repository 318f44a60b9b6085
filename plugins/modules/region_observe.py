# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: region_observe
short_description: See whether a whole region is lost, and whether another one takes writes
version_added: 0.2.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Asks every door of every region at once (edges, API servers, database members), and those who see a region from elsewhere, which are the
    standbys and services in the target and Route 53's checkers. Each says lost, alive, or that it cannot say.
  - A region is lost if vantage points of two different kinds say so, at least one of which is another place than ours, and none says alive. A
    partition that only we see is no failure of a region.
  - A check of Route 53 that was healthy before this look proves nothing; a newer one is waited for, for O(patience_seconds).
  - Changes nothing.
requirements: [psycopg2 in the Python that runs Ansible, boto3 there for zones of Route 53]
extends_documentation_fragment:
  - platform.recovery.dns
options:
  purpose:
    description:
      - V(confirm) is the gate before a recovery. It refuses a failover unless a region is lost and the target answers at every door, and a
        switchover unless the other region answers. A region that answers while all primaries are in the target already is one that came back, and
        is kept out.
      - V(writable) is the gate before traffic. It refuses unless the target's member of every database is a primary that takes writes, and every
        one of O(stores) was taken over.
    type: str
    choices: [confirm, writable]
    default: confirm
  mode:
    description: What is going to be done. A plan decides as the mode that fits what is found.
    type: str
    choices: [plan, switchover, failover]
    default: failover
  regions:
    description: A mapping of a region's name to its doors.
    type: dict
    required: true
    suboptions:
      clusters:
        description: A mapping of a cluster's name to how its API server is reached.
        type: dict
        default: {}
        suboptions:
          kubeconfig:
            description: File with the access.
            type: path
          context:
            description: Context in that file.
            type: str
      edges:
        description: A mapping of an edge's name to where it answers.
        type: dict
        default: {}
        suboptions:
          url:
            description: Its address.
            type: str
            required: true
          path:
            description: A path at which it answers, with whatever status.
            type: str
            default: /healthz
          ca_file:
            description: Certificate authority of an https URL, where it is not one that the system knows.
            type: path
  databases:
    description: A mapping of a database's name to its members.
    type: dict
    default: {}
    suboptions:
      credentials:
        description: Name of the account in O(credentials).
        type: str
        required: true
      members:
        description: A mapping of a region's name to how the member there is reached.
        type: dict
        required: true
        suboptions:
          host:
            description: The name of the server. Its certificate is held against it.
            type: str
            required: true
          address:
            description: The address by which the controller reaches it, if that is another one.
            type: str
          port:
            description: TCP port.
            type: int
            default: 5432
          sslmode:
            description: As in libpq.
            type: str
            choices: [disable, allow, prefer, require, verify-ca, verify-full]
            default: verify-full
          sslrootcert:
            description: File with the certificate authority.
            type: path
      edges:
        description: >-
          The target's edges, with the paths at which services answer for their health there that work with this database. Such a service has a
          way of its own to the region that it writes to.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name of the edge.
            type: str
            required: true
          url:
            description: Its address.
            type: str
            required: true
          ca_file:
            description: Certificate authority of an https URL, where it is not one that the system knows.
            type: path
          paths:
            description: The paths.
            type: list
            elements: str
            required: true
  stores:
    description: >-
      For O(purpose=writable), a mapping of a kind of data store to the result of the role that took it over, empty where it did not come to
      its end.
    type: dict
    default: {}
  services:
    description: >-
      What a step on the services of many databases needs of each, as M(platform.recovery.platform_description) gives it. It comes back without
      the clusters of regions that are out.
    type: list
    elements: dict
    default: []
  returning:
    description: Whether the platform is to return to O(target), whose databases are taken back only later and may be down until then.
    type: bool
    default: false
  statement:
    description: >-
      The operator's word that the region is down. It stands in for what nobody else could say, never for a region that answers anybody. Needs a
      O(reason).
    type: str
  reason:
    description: Why. Journalled with an override.
    type: str
  connect_seconds:
    description: How long each door may take to answer.
    type: float
    default: 1.5
  patience_seconds:
    description: How long to wait for the next round of Route 53's checkers, where they took the region for healthy when they last looked.
    type: float
    default: 15
attributes:
  check_mode:
    description: Runs the same in check mode. There O(purpose=writable) refuses nothing, for a plan has promoted nobody.
    support: full
"""

EXAMPLES = r"""
- name: Confirm the region-wide failure
  platform.recovery.region_observe:
    target: us-east-1
    regions:
      us-west-2:
        clusters:
          us-west-2: {kubeconfig: /etc/recovery/kube/us-west-2.yml}
        edges:
          us-west-2: {url: "https://edge.us-west-2.example.com"}
      us-east-1:
        clusters:
          us-east-1: {kubeconfig: /etc/recovery/kube/us-east-1.yml}
        edges:
          us-east-1: {url: "https://edge.us-east-1.example.com"}
    databases:
      platform_db:
        credentials: admin
        members:
          us-west-2: {host: db.us-west-2.example.com}
          us-east-1: {host: db.us-east-1.example.com}
    zones: "{{ recovery_platform.zones }}"
    credentials: "{{ recovery_credentials }}"
"""

RETURN = r"""
lines:
  description: Short facts for people.
  returned: always
  type: list
  elements: str
  sample: ["us-west-2: lost", "platform_db: primary in no region that answers"]
seconds:
  description: What the task took.
  returned: always
  type: float
effective_mode:
  description: The mode as which a plan was decided.
  returned: with O(purpose=confirm)
  type: str
standing:
  description: How each region beside the target stands.
  returned: with O(purpose=confirm)
  type: dict
  sample: {us-west-2: lost}
lost:
  description: The regions that are lost.
  returned: with O(purpose=confirm)
  type: list
  elements: str
left:
  description: The regions that answer again although everything has moved to the target.
  returned: with O(purpose=confirm)
  type: list
  elements: str
lost_region:
  description: The region whose sizes the target takes over; nothing where none is left.
  returned: with O(purpose=confirm)
  type: str
returned_clusters:
  description: The clusters of regions that came back, in which nothing may run.
  returned: with O(purpose=confirm)
  type: list
  elements: str
services_here:
  description: O(services) as far as they run in the target, with the primary of each as it is now.
  returned: with O(purpose=confirm)
  type: list
  elements: dict
zones:
  description: O(zones), without the servers that are lost with their region.
  returned: with O(purpose=confirm)
  type: dict
services:
  description: O(services), without the clusters of regions that are out, and their workloads.
  returned: with O(purpose=confirm)
  type: list
  elements: dict
"""
