# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that works on Redis stores."""

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
      master_name:
        description: What Sentinel calls it. Left out, the store's name.
        type: str
      credentials:
        description: Name in O(credentials) of the account for the servers. It may do everything, for it fences and promotes.
        type: str
      sentinel_credentials:
        description: Name in O(credentials) of the account for the Sentinels. Left out, that for the servers.
        type: str
      tls:
        description: Whether servers and Sentinels are spoken to by TLS.
        type: bool
        default: true
      ca_file:
        description: Certificate authority, where it is not one that the system knows.
        type: path
      cert_file:
        description: Client certificate.
        type: path
      key_file:
        description: Its private key.
        type: path
      check_hostname:
        description: Whether a certificate has to name the host.
        type: bool
        default: true
      objectives:
        description: What may be lost.
        type: dict
        suboptions:
          rpo_seconds:
            description: Longest time of writes that may be lost.
            type: float
          rto_seconds:
            description: Longest time without the store. It is the run that measures it.
            type: float
      members:
        description: A mapping of a region's name to its server.
        type: dict
        required: true
        suboptions:
          host:
            description: Where the controller reaches it.
            type: str
            required: true
          port:
            description: Its port.
            type: int
            default: 6379
          address:
            description: >-
              Where other servers reach it, which is what Sentinel calls it. Left out, what it announces (C(replica-announce-ip)), or
              O(stores.members.host).
            type: str
          address_port:
            description: The port there, if it is another.
            type: int
          config_file:
            description: The configuration on its host, which says at the next start whom it follows.
            type: path
            default: /etc/redis/redis.conf
          fence:
            description: The channel through which the server can be stopped for good, C(systemctl) by the system's C(ssh).
            type: dict
            suboptions:
              method:
                description: V(none) has no channel.
                type: str
                choices: [systemd, none]
                default: systemd
              host:
                description: Host or address of the SSH server.
                type: str
              port:
                description: Its port.
                type: int
                default: 22
              user:
                description: Account that may stop and mask the unit.
                type: str
              identity_file:
                description: Private key.
                type: path
              known_hosts_file:
                description: File with the host's key. A host that is not in it is refused.
                type: path
              unit:
                description: Name of the unit.
                type: str
                default: redis-server
              guard_unit:
                description: Unit of C(recovery-redis-guard) on the host, if it has one.
                type: str
              sudo:
                description: Whether C(systemctl) is called through C(sudo -n).
                type: bool
                default: true
      sentinels:
        description: The Sentinels.
        type: list
        elements: dict
        required: true
        suboptions:
          host:
            description: Where the controller reaches it.
            type: str
            required: true
          port:
            description: Its port.
            type: int
            default: 26379
          region:
            description: The region that it is lost with.
            type: str
  credentials:
    description: A mapping of a name to the account behind it.
    type: dict
    default: {}
    suboptions:
      user:
        description: Name of the account. Left out, the default user.
        type: str
      password:
        description: Its password.
        type: str
  target:
    description: The region whose server is, or is to become, the primary.
    type: str
    required: true
  connect_seconds:
    description: How long a server has for an answer.
    type: float
    default: 1.5
"""
