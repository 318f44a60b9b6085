# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that talks to PostgreSQL."""

from __future__ import annotations


class ModuleDocFragment:
    """See the modules that extend it."""

    DOCUMENTATION = r"""
options:
  target:
    description: The member that is, or is to become, the primary.
    type: str
    required: true
  members:
    description: A mapping of a member's name (its region) to how it is reached, as in the platform description.
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
      data_directory:
        description: Where its data lies on its host. Needed to take it back as a standby.
        type: str
      bin_directory:
        description: Where its programs lie on its host. Found on the path and in the usual folders if left out.
        type: str
      config_file:
        description: Its C(postgresql.conf), where that does not lie among its data.
        type: str
      os_user:
        description: The account that it runs as on its host. Scripts run as this one where the fence says C(sudo).
        type: str
        default: postgres
      resource:
        description: The resource of a Kubernetes operator that the member is run by.
        type: dict
        suboptions:
          flavour:
            description: The operator.
            type: str
            choices: [cloudnativepg, zalando]
            required: true
          cluster:
            description: Name of the Kubernetes cluster in what is shown.
            type: str
            required: true
          namespace:
            description: Namespace of the resource.
            type: str
            required: true
          name:
            description: Name of the resource.
            type: str
            required: true
          kubeconfig:
            description: File with the access.
            type: path
          context:
            description: Context in that file.
            type: str
      rds:
        description: Where the member lies in Amazon RDS.
        type: dict
        suboptions:
          region:
            description: Region of AWS.
            type: str
            required: true
          instance:
            description: Identifier of the DB instance.
            type: str
          cluster:
            description: Identifier of the DB cluster.
            type: str
          global_cluster:
            description: Identifier of the Aurora global database that the cluster belongs to.
            type: str
          failover:
            description: How a lost writer of a global database is replaced.
            type: str
            choices: [managed, detach]
            default: managed
          quarantine_security_group:
            description: A security group that lets nobody in. A lost primary is put behind it, and restarted.
            type: str
      fence:
        description: The channel through which the member's server can be stopped for good.
        type: dict
        suboptions: &fence
          method:
            description: >-
              V(systemd) runs C(systemctl) on the host through the system's C(ssh). V(process) is for a server that no service manager runs,
              such as that of a drill; what is marked and ended is the process on its data directory. V(none) has no channel.
            type: str
            choices: [systemd, process, none]
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
            description: Name of the unit; for V(process) the server's data directory.
            type: str
            default: postgresql
          guard_unit:
            description: >-
              Unit of C(recovery-pg-guard) on the host, if it has one. The guard ends when it has stopped a stale primary, and is started again
              when that has become a standby.
            type: str
          sudo:
            description: Whether C(systemctl) is called through C(sudo -n).
            type: bool
            default: true
      patroni:
        description: The nodes of a region that Patroni runs.
        type: dict
        suboptions:
          nodes:
            description: A mapping of a node's name, as Patroni has it, to how it is reached.
            type: dict
            required: true
            suboptions:
              url:
                description: Address of its REST API.
                type: str
                required: true
              host:
                description: Where its PostgreSQL listens, if not where the member's does.
                type: str
              port:
                description: The port there.
                type: int
              fence:
                description: The channel through which the unit that runs Patroni, and with it PostgreSQL, can be stopped for good.
                type: dict
                suboptions: *fence
          topology:
            description: Whether all members are one cluster, or each has its own and all but one are standby clusters.
            type: str
            choices: [one_cluster, standby_cluster]
            default: one_cluster
          ca_file:
            description: Certificate authority of the REST API, where it is not one that the system knows.
            type: path
          cert_file:
            description: Client certificate for the REST API.
            type: path
          key_file:
            description: Its private key.
            type: path
          source:
            description: >-
              What a standby cluster that follows this member has in its C(standby_cluster). C(host) and C(port) are the member's if left
              out.
            type: dict
  credentials:
    description: The account that asks. A superuser, for it fences and promotes.
    type: dict
    required: true
    suboptions:
      user:
        description: Name of the account.
        type: str
        required: true
      password:
        description: Its password. Left out, libpq looks into the password file.
        type: str
      api:
        description: The account of Patroni's REST API, where Patroni runs the database and asks for one.
        type: dict
        suboptions:
          user:
            description: Name of the account.
            type: str
            required: true
          password:
            description: Its password.
            type: str
  connect_seconds:
    description: Deadline of a connection. A frozen or cut-off server costs exactly this.
    type: float
    default: 1.5
  statement_seconds:
    description: Deadline of a statement.
    type: float
    default: 1.5
"""

    LEFT_OUT = r"""
options:
  left_out:
    description: >-
      What failed for this database in an earlier step on many, an entry of that step's C(failures). The task then does nothing and fails with
      it, so that the database is left out of all that follows. In an entry of O(databases) it leaves that one out.
    type: dict
    default: {}
"""

    DATABASES = r"""
options:
  databases:
    description:
      - Many databases in one task, each with its C(name) and with those options of this module in which it differs from the task's own. Where
        one has an option, the task's counts for it no more.
      - They are worked on at the same time, and what stands in the way of one, or fails for it, concerns that one alone. It is
        journalled as that database's failure, RV(failures) names it, and the task goes on. The task fails if none is left.
      - The results are in RV(databases), by name.
    type: list
    elements: dict
    default: []
"""

    TARGET = r"""
options:
  mode:
    description:
      - V(failover) is for a primary that is lost, V(switchover) for one that is alive.
      - V(plan) decides as the mode that fits what is found, and changes nothing.
    type: str
    choices: [plan, switchover, failover]
    default: failover
"""

    LOSS = r"""
options:
  rpo_seconds:
    description: Longest acceptable span of lost writes. Without it the expected loss is shown and not judged.
    type: float
  allow_data_loss:
    description: Accept an expected loss beyond O(rpo_seconds), for this call only. Needs O(reason).
    type: bool
    default: false
  reason:
    description: Why an override was chosen. It is journalled.
    type: str
  detected_at:
    description: >-
      UTC stamp (RFC 3339) at which the failure was detected. The age of the newest change that the standby holds is taken to that
      moment; without it, to now, so that the bound grows while people decide.
    type: str
  memory:
    description:
      - File in which the primary is remembered as it was last seen (system identifier, timeline, position, time), written
        whenever a primary answers.
      - It serves to refuse a standby of another lineage and to bound the loss when no primary can be asked any more. It never makes
        anything possible that would be refused without it, except by a smaller bound.
    type: path
"""

    EVIDENCE = r"""
options:
  evidence:
    description: What other vantage points saw of the old primary.
    type: list
    elements: dict
    default: []
    suboptions:
      vantage:
        description: Who looked, for example V(kubernetes us-west-2).
        type: str
        required: true
      member:
        description: The member it is about. Left out, the old primary.
        type: str
      observed:
        description: What was seen, in words.
        type: str
        required: true
      alive:
        description: >-
          Whether that shows life. Left out, it shows nothing either way. Of a vantage point whose name begins with C(kubernetes),
          V(true) is no proof of life, for readiness is that of the last probe.
        type: bool
      since:
        description: UTC stamp since when it is so, where that is known.
        type: str
      system_identifier:
        description: The system identifier that was seen there, if any.
        type: str
      fenced:
        description: Whether it shows the member stopped so that it stays stopped.
        type: bool
        default: false
"""
