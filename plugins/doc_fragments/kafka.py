# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that works on stores of events."""

from __future__ import annotations


class ModuleDocFragment:
    """See the modules that extend it."""

    DOCUMENTATION = r"""
options:
  stores:
    description: The stores, a mapping of a store's name to what it is. The entries of a platform description fit as they are.
    type: dict
    required: true
    suboptions:
      members:
        description: A mapping of each of two regions to its cluster.
        type: dict
        required: true
        suboptions:
          bootstrap:
            description: Where its brokers are reached from here, each C(host:port).
            type: list
            elements: str
            required: true
          alias:
            description: How MirrorMaker calls it. Left out, the region's name.
            type: str
          brokers:
            description: The units of its brokers, by which they are stopped for good.
            type: list
            elements: dict
            default: []
            suboptions: &unit
              host:
                description: Host to reach by ssh.
                type: str
                required: true
              port:
                description: Its port.
                type: int
                default: 22
              user:
                description: Who logs in.
                type: str
              identity_file:
                description: Private key.
                type: path
              known_hosts_file:
                description: Known hosts, where it is not the user's own file.
                type: path
              unit:
                description: The unit.
                type: str
                required: true
              sudo:
                description: Whether C(systemctl) is called by C(sudo -n).
                type: bool
                default: true
          mirrors:
            description: The units of every MirrorMaker 2 that brings records into this cluster.
            type: list
            elements: dict
            default: []
            suboptions: *unit
      security:
        description: How clusters are spoken to.
        type: dict
        suboptions:
          protocol:
            description: Security protocol.
            type: str
            choices: [PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL]
            default: SASL_SSL
          mechanism:
            description: Mechanism of SASL.
            type: str
            choices: [PLAIN, SCRAM-SHA-256, SCRAM-SHA-512]
            default: PLAIN
          ca_file:
            description: Certificate authority of the brokers.
            type: path
      credentials:
        description: Name in O(credentials) of the account. Its principal is a super user of both clusters, as the mirrors' are.
        type: str
      topics:
        description: Names or regular expressions of its topics. What MirrorMaker and brokers keep for themselves is never among them.
        type: list
        elements: str
        default: [".*"]
      groups:
        description: >-
          Names or regular expressions of its consumer groups. One that is named goes on from the first record where nothing tells
          where it was; one that a pattern gives has to be known to the source or the mirror.
        type: list
        elements: str
        default: [".*"]
      objectives:
        description: What it has to meet.
        type: dict
        suboptions:
          rpo_seconds:
            description: The longest span of writes that may be lost.
            type: float
          rto_seconds:
            description: The longest time without writes.
            type: float
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
    description: The region that is to take the writes.
    type: str
    required: true
  connect_seconds:
    description: How long a broker, or a host by ssh, has for an answer.
    type: float
    default: 3
"""
