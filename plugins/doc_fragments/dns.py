# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that works on the names of DNS zones."""

from __future__ import annotations


class ModuleDocFragment:
    """See the modules that extend it."""

    DOCUMENTATION = r"""
options:
  zones:
    description: The zones, a mapping of a zone's name to what it is. The entries of a platform description fit as they are.
    type: dict
    required: true
    suboptions:
      provider:
        description:
          - How its names are moved.
          - V(route53_health_checks) declares unhealthy what must not be answered; the records stay as they are. Each name needs a
            failover, weighted or other set for each region, with a health check for each.
          - V(route53_records) exchanges values, failover roles or weights.
          - V(arc) switches the routing controls of Amazon Application Recovery Controller.
          - V(rfc2136) sends dynamic updates, signed with a TSIG key.
        type: str
        choices: [route53_health_checks, route53_records, arc, rfc2136]
        default: route53_health_checks
      credentials:
        description: >-
          Name in O(credentials) of an access key of AWS (C(user) is its id, C(password) its secret) or of a TSIG key (C(user) is its
          name, C(password) its secret in base64). Left out, AWS' own chain of credentials is used, and updates are not signed.
        type: str
      targets:
        description: A mapping of a region's name to what its names lead to.
        type: dict
        required: true
        suboptions:
          values:
            description: The addresses, or the name of a load balancer that an alias or a CNAME leads to.
            type: list
            elements: str
            required: true
          probe:
            description: >-
              What has to answer before a name may lead there, an C(http://) or C(https://) URL with a status from 200 to 399, or
              C(tcp://host:port).
            type: str
            required: true
          ca_file:
            description: Certificate authority of an https URL, where it is not one that the system knows.
            type: path
      records:
        description: The names that move with the region.
        type: list
        elements: dict
        required: true
        suboptions:
          name:
            description: The whole name.
            type: str
            required: true
          type:
            description: Its type.
            type: str
            default: A
          values:
            description: A mapping of a region's name to a list of values, where they are not those of O(zones.targets).
            type: dict
      servers:
        description: >-
          The authoritative servers, all of which have to answer. Left out, those that the zone's NS records name; for V(rfc2136) the
          server that takes updates.
        type: list
        elements: dict
        default: []
        suboptions:
          address:
            description: Its address.
            type: str
            required: true
          port:
            description: Its port.
            type: int
            default: 53
          region:
            description: The region that it is lost with, if there is one.
            type: str
      resolvers:
        description: Caching resolvers that have to answer as well, once the TTL is over. Left out, those of the controller.
        type: list
        elements: dict
        default: []
        suboptions:
          address:
            description: Its address.
            type: str
            required: true
          port:
            description: Its port.
            type: int
            default: 53
          region:
            description: The region that it is lost with, if there is one.
            type: str
      route53:
        description: For the providers of Route 53, where the zone lies.
        type: dict
        suboptions:
          zone_id:
            description: Id of the hosted zone. Left out, the one public zone of that name.
            type: str
          endpoint_url:
            description: Another address of the API.
            type: str
      arc:
        description: For V(arc), its routing controls.
        type: dict
        suboptions:
          endpoints:
            description: The endpoints of the cluster, each with its C(url) and C(region). They are tried in this order.
            type: list
            elements: dict
            required: true
          controls:
            description: A mapping of a region's name to the ARN of its routing control.
            type: dict
            required: true
          control_panel:
            description: ARN of the control panel, with which the safety rules are read before anything is switched.
            type: str
          override_safety_rules:
            description: ARNs of safety rules that are not to count. Needs a reason.
            type: list
            elements: str
            default: []
      rfc2136:
        description: For V(rfc2136), the server that takes updates.
        type: dict
        suboptions:
          address:
            description: Its address.
            type: str
            required: true
          port:
            description: Its port.
            type: int
            default: 53
          algorithm:
            description: Algorithm of the TSIG key.
            type: str
            default: hmac-sha256
  credentials:
    description: A mapping of a name to the account behind it.
    type: dict
    default: {}
    suboptions:
      user:
        description: Name of the account.
        type: str
        required: true
      password:
        description: Its secret.
        type: str
  target:
    description: The region that all names are to lead to.
    type: str
    required: true
  query_seconds:
    description: How long a name server has for an answer.
    type: float
    default: 2
  probe_seconds:
    description: How long a target has for an answer.
    type: float
    default: 5
"""
