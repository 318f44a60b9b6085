# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: platform_description
short_description: Validate the platform description and select what a run works on
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Validates the one document that says what the platform is, and the variables that say what the operator wants,
    before anything else is looked at. Every problem is named at once, with its key, its value, what was expected and the
    nearest valid name.
  - Nothing in the description says which database member is primary at present. That is observed.
  - Changes nothing, connects to nothing.
options:
  playbook:
    description: The playbook that asks, as its dashed name.
    type: str
    required: true
  modes:
    description: The modes that make sense for the playbook.
    type: list
    elements: str
    required: true
  mode:
    description: The mode wanted, one of O(modes).
    type: str
  target:
    description: The region to recover to, or the name of a database or service to recover.
    type: str
  confirm:
    description:
      - Must equal O(target) for anything that changes production.
      - A plan needs none.
    type: str
  reason:
    description: Why. Journalled. Required with any override.
    type: str
  allow_data_loss:
    description: Accept a measured loss beyond the objective, for this run only.
    type: bool
    default: false
  fence_statement:
    description: A statement that the old primary is down, where no channel can prove it.
    type: str
  lost_clusters:
    description: >-
      Clusters that are lost, by the operator's word. They are not asked, and their workloads are left as they are. Needs a
      O(reason).
    type: list
    elements: str
    default: []
  detected_at:
    description: UTC stamp (RFC 3339) of the alert. The recovery clock starts there.
    type: str
  credentials:
    description: >-
      A mapping of a name to the account behind it. The only place where secrets live; keep it encrypted (ansible-vault), or filled by
      a lookup or by a credential of the automation platform.
    type: dict
    suboptions:
      user:
        description: Name of the account.
        type: str
        required: true
      password:
        description: Its password.
        type: str
  platform:
    description: The platform description.
    type: dict
    required: true
    suboptions:
      name:
        description: Name of the platform, shown in reports.
        type: str
        required: true
      regions:
        description: A mapping of a region's name to what it is.
        type: dict
        required: true
        suboptions:
          role:
            description: What the region is for on a good day. It says nothing about what is active now.
            type: str
            choices: [primary, secondary, tertiary]
            required: true
      objectives:
        description: The plan's figures for the loss of a whole region. Each database has its own for a failure of itself.
        type: dict
        default: {}
        suboptions:
          rto_seconds:
            description: How long the platform may be away.
            type: float
            default: 14400
          rpo_seconds:
            description: How much of the newest data may be lost.
            type: float
            default: 3600
      databases:
        description: A mapping of a database's name to its members and objectives.
        type: dict
        required: true
        suboptions:
          provider:
            description: How the database replicates and is promoted.
            type: str
            choices: [streaming, patroni, kubernetes_resource, rds]
            default: streaming
          flavour:
            description: For O(platform.databases.provider=kubernetes_resource), the operator that runs the database.
            type: str
            choices: [cloudnativepg, zalando]
          rds:
            description: For V(rds), what its members have in common. Needed for an Aurora global database only.
            type: dict
            suboptions:
              global_cluster:
                description: Identifier of the Aurora global database.
                type: str
                required: true
              failover:
                description: >-
                  How a lost writer is replaced. V(managed) is C(failover_global_cluster), after which the old one comes back as a
                  reader. V(detach) is C(remove_from_global_cluster), for global databases that RDS cannot fail over, such as those of
                  unequal versions; the old one then has to be added again by hand.
                type: str
                choices: [managed, detach]
                default: managed
          patroni:
            description: For V(patroni), what its members have in common.
            type: dict
            suboptions:
              topology:
                description: >-
                  V(one_cluster) if all members belong to one Patroni cluster. V(standby_cluster) if each region has a cluster, and a DCS, of
                  its own, of which all but one are standby clusters.
                type: str
                choices: [one_cluster, standby_cluster]
                default: one_cluster
              credentials:
                description: Name in O(credentials) of the account of the REST API (C(restapi.authentication)), if it has one.
                type: str
              ca_file:
                description: Certificate authority of the REST API, where it is not one that the system knows.
                type: path
              cert_file:
                description: Client certificate for the REST API, where it asks for one (C(restapi.verify_client)).
                type: path
              key_file:
                description: Its private key.
                type: path
          credentials:
            description: Name in O(credentials) of an account that may promote and fence (a superuser for V(streaming)).
            type: str
            required: true
          database:
            description: The SQL database that holds the tables.
            type: str
            required: true
          system_identifier:
            description: >-
              The database's identity, as C(pg_controldata) shows it. It was given once and for all by C(initdb) and every true standby has the
              same, so that a standby of another lineage is refused even when no primary is left to compare with.
            type: str
          drill_ports:
            description: >-
              Two free ports on the hosts of its members, for the pretended old primary of a drill and for the standby that is promoted. The
              controller and the pods reach them as they reach the members.
            type: list
            elements: int
            default: [5433, 5434]
          tables:
            description: Tables whose rows are counted and summed to verify integrity.
            type: list
            elements: str
            default: []
          objectives:
            description: What a recovery is measured against.
            type: dict
            required: true
            suboptions:
              rto_seconds:
                description: Longest acceptable outage.
                type: float
                required: true
              rpo_seconds:
                description: Longest acceptable span of lost writes.
                type: float
                required: true
          members:
            description: A mapping of a region's name to the member of the database there.
            type: dict
            required: true
            suboptions:
              host:
                description: The name by which applications reach the member. It is what gets written into their configuration.
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
                choices: [disable, require, verify-ca, verify-full]
                default: verify-full
              sslrootcert:
                description: File with the certificate authority.
                type: path
              data_directory:
                description: >-
                  Where its data lies on its host, as an absolute path. Without it a member that is down cannot be examined, and
                  C(database_failback) refuses to take it back.
                type: str
              bin_directory:
                description: >-
                  Where PostgreSQL's programs lie on its host, as an absolute path. If left out, they are looked for on the path and in the
                  folders of Debian's and the PostgreSQL project's packages.
                type: str
              config_file:
                description: Its C(postgresql.conf), where that does not lie among its data, as an absolute path.
                type: str
              os_user:
                description: >-
                  The account that the server runs as on its host. Scripts that examine, rewind and rebuild it run as this one, by C(sudo -n -u)
                  where the fence says C(sudo).
                type: str
                default: postgres
              resource:
                description: For V(kubernetes_resource), the operator's resource that the member is run by.
                type: dict
                suboptions:
                  cluster:
                    description: The Kubernetes cluster, by its name in C(clusters).
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
              rds:
                description: For V(rds), where the member lies. Give C(instance), or C(cluster) in an Aurora global database.
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
                  quarantine_security_group:
                    description: >-
                      A security group that lets nobody in. A lost primary is put behind it, and restarted, which is its fence. Without one,
                      only an operator's statement or RDS' own word that it is stopped can stand for the proof that it is down.
                    type: str
              fence:
                description:
                  - The channel through which the member's server can be stopped for good.
                  - Without one, only an operator's statement can stand for the proof that it is down.
                type: dict
                suboptions: &fence
                  method:
                    description: V(systemd) runs C(systemctl) on the member's host through SSH.
                    type: str
                    choices: [systemd]
                    default: systemd
                  host:
                    description: Host or address of the SSH server.
                    type: str
                    required: true
                  port:
                    description: Its port.
                    type: int
                    default: 22
                  user:
                    description: Account that may stop and mask the unit.
                    type: str
                    required: true
                  identity_file:
                    description: Private key.
                    type: path
                  known_hosts_file:
                    description: File with the host's key. A host that is not in it is refused.
                    type: path
                  unit:
                    description: Name of the unit, for example V(postgresql@15-main).
                    type: str
                    required: true
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
                description: For V(patroni), the nodes of the region.
                type: dict
                suboptions:
                  nodes:
                    description: >-
                      A mapping of a node's name, as Patroni has it, to how it is reached. All nodes of the region that may become leader: what
                      is not named here cannot be fenced.
                    type: dict
                    required: true
                    suboptions:
                      url:
                        description: Address of its REST API, for example V(https://10.1.0.11:8008).
                        type: str
                        required: true
                      host:
                        description: >-
                          Host or address where its PostgreSQL listens. The member's if left out, which only one node alone may: of several
                          the member's leads to whichever is the leader.
                        type: str
                      port:
                        description: The port there. The member's if left out.
                        type: int
                      fence:
                        description: >-
                          The channel to its host. The unit is that of Patroni, which takes PostgreSQL with it. Without one, only an operator's
                          statement can stand for the proof that it is down.
                        type: dict
                        suboptions: *fence
                  source:
                    description: >-
                      For V(standby_cluster), what a cluster that follows this member has in its C(standby_cluster), such as
                      C(primary_slot_name) or C(restore_command). C(host) and C(port) are the member's if left out.
                    type: dict
      clusters:
        description: A mapping of a Kubernetes cluster's name to how it is reached.
        type: dict
        default: {}
        suboptions:
          region:
            description: The region it lies in.
            type: str
            required: true
          kubeconfig:
            description: File with the access.
            type: path
            required: true
          context:
            description: Context in that file. The current one if left out.
            type: str
      services:
        description: A mapping of a service's name to where it runs and what it depends on.
        type: dict
        default: {}
        suboptions:
          database:
            description: The database it keeps its rows in.
            type: str
          variable:
            description: Environment variable of its pods that names the database's host.
            type: str
            default: DB_HOST
          port_variable:
            description: Environment variable of its pods that names the database's port. A drill points its copies to the scratch by it.
            type: str
            default: DB_PORT
          namespace:
            description: Namespace of the workload.
            type: str
            default: production
          kind:
            description: Kind of the workload.
            type: str
            choices: [Deployment, StatefulSet]
            default: Deployment
          container:
            description: Container that carries the variable. Needed only where several do.
            type: str
          clusters:
            description: Clusters it runs in.
            type: list
            elements: str
            required: true
          depends_on:
            description: Services it cannot work without.
            type: list
            elements: str
            default: []
          health_path:
            description: >-
              The path, at the edges of its regions, where it answers 200 and says in C(database) which C(host) it has just asked, or
              503 if it cannot. It is a vantage point before a failover. C(/v1/<service>/healthz) if left out.
            type: str
      edges:
        description: A mapping of an edge's name to where clients reach the platform.
        type: dict
        default: {}
        suboptions:
          region:
            description: The region it lies in.
            type: str
            required: true
          url:
            description: Address of the edge, for example V(https://edge.us-west-2.example.com).
            type: str
            required: true
      zones:
        description: A mapping of a DNS zone's name to its names that move with a region, and how.
        type: dict
        default: {}
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
                description: A mapping of a region's name to a list of values, where they are not those of O(platform.zones.targets).
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
      stores:
        description: A mapping of a name to a data store beside the databases.
        type: dict
        default: {}
        suboptions:
          kind:
            description: What it is, and so which role takes it over.
            type: str
            choices: [redis, kafka, object_storage]
            required: true
          credentials:
            description: Name in O(credentials) of the account with which it is administered.
            type: str
          objectives:
            description: Its part in the plan's figures.
            type: dict
            default: {}
            suboptions:
              rto_seconds:
                description: How long it may be away.
                type: float
                default: 14400
              rpo_seconds:
                description: How much of the newest may be lost.
                type: float
                default: 3600
          members:
            description: A mapping of a region's name to its part there. What such a part consists of, the role of its kind says.
            type: dict
            required: true
          settings:
            description: What else the role of its kind takes for it.
            type: dict
            default: {}
      people:
        description: A mapping of a person's name to how they are known.
        type: dict
        default: {}
        suboptions:
          keys:
            description: >-
              Their public SSH keys, as in a C(.pub) file. With one of a hardware token (C(sk-ssh-ed25519@openssh.com)) an approval is
              something that they have, and touch.
            type: list
            elements: str
            default: []
          accounts:
            description: Names under which they start runs, beside their own, such as their login on the controller or in AWX.
            type: list
            elements: str
            default: []
      approvals:
        description: Who must agree before a run changes the platform. Nobody if left out.
        type: dict
        suboptions:
          needed:
            description: How many people must approve. Whoever started the run does not count.
            type: int
            default: 2
          approvers:
            description: Who may approve, by their names in C(people). Everybody there if left out.
            type: list
            elements: str
            default: []
          valid_seconds:
            description: How long an approval may hold.
            type: float
            default: 14400
          break_glass_seconds:
            description: How long one by break-glass may hold, which needs one signature and a reason.
            type: float
            default: 900
          awx_workflow:
            description: >-
              Name of a workflow of the automation platform, with an approval node before this job, that stands in for the signatures. It
              proves no more than that AWX alone has the platform's keys.
            type: str
      lease:
        description: >-
          Where the lease is kept that lets one run at a time change the platform. Every controller must use the same description of it.
        type: dict
        default: {}
        suboptions:
          provider:
            description: V(kubernetes) where a cluster is described, else V(file), which only protects the machine that the file is on.
            type: str
            choices: [kubernetes, file]
          clusters:
            description: >-
              For V(kubernetes), the clusters that keep it. The first decides, the others are witnesses. All clusters if left out, those
              of secondary regions first, then tertiary, then primary.
            type: list
            elements: str
            default: []
          namespace:
            description: For V(kubernetes), the namespace of the C(Lease). It must exist.
            type: str
            default: default
          folder:
            description: For V(file), the folder, C(~/.local/state/platform.recovery) if left out. All users of the machine need the same.
            type: path
          seconds:
            description: How long it holds without a sign of life, 5 to 3600. The holder gives five in that time.
            type: float
            default: 30
      drill:
        description: Where a drill has its scratch. Everything there is removed again.
        type: dict
        default: {}
        suboptions:
          namespace:
            description: Name of the namespace that a drill makes in the target's clusters. Nothing else may use it.
            type: str
            default: recovery-drill
          url:
            description: >-
              Where the controller reaches the services of that namespace, as an edge. Without it a drill has no canary: its outage and its
              loss are not measured, and the report says so.
            type: str
      canary:
        description: Where the canary writes its numbered rows. Without it nothing is measured from outside, and the report says so.
        type: dict
        suboptions:
          edge:
            description: The edge it writes through.
            type: str
            required: true
          global_url:
            description: >-
              The platform's address for clients, by a name of O(platform.zones). In the checklists on a whole region it writes there, as
              clients do, and follows the name.
            type: str
          resolver:
            description: >-
              The caching resolver that it asks for that name, as C(address:port), each time the TTL is over. That of the system if left out.
            type: str
          service:
            description: The service it writes to.
            type: str
            required: true
          table:
            description: The table in which its rows are read back.
            type: str
            required: true
          key_column:
            description: The column that holds the row's key.
            type: str
            default: key
          path:
            description: The path of its writes. C(/v1/<service>/rows) if left out.
            type: str
          ca_file:
            description: Certificate authority of an https edge, where it is not one that the system knows.
            type: path
          credentials:
            description: The account's name in O(credentials) with which it signs in at the edge, by HTTP Basic.
            type: str
attributes:
  check_mode:
    description: Runs the same in check mode.
    support: full
"""

EXAMPLES = r"""
- name: Validate the platform description
  platform.recovery.platform_description:
    playbook: database-failover
    modes: [plan, switchover, failover]
    mode: failover
    target: us-east-1
    confirm: us-east-1
    platform: "{{ recovery_platform }}"
    credentials: "{{ recovery_credentials }}"
  register: platform_selection
"""

RETURN = r"""
mode:
  description: The mode of the run.
  returned: success
  type: str
  sample: failover
databases:
  description: >-
    The databases to work on, each with its members, objectives, the workloads that depend on it and the clusters they run in.
    Holds no secret: the account is given by its name.
  returned: success
  type: list
  elements: dict
services:
  description: What a step on the services of many databases needs of each, as O(platform.recovery.workload_repoint#module:databases) takes it.
  returned: success
  type: list
  elements: dict
canary:
  description: Where the canary writes, or nothing.
  returned: success
  type: dict
  sample: {url: "https://edge.us-west-2.example.com", service: user-service, table: users, key_column: key, database: platform_db}
approvals:
  description: Who must agree and to what, for M(platform.recovery.approval). Nothing where nobody has to.
  returned: success
  type: dict
lease:
  description: Where the platform's lease is kept, for M(platform.recovery.recovery_lease).
  returned: success
  type: dict
  sample: {platform: production, seconds: 30.0, homes: [{provider: kubernetes, cluster: us-east-1}], left_out: []}
zones:
  description: The DNS zones that have a target in the region, for M(platform.recovery.dns_failover). Accounts are given by their names.
  returned: success
  type: dict
platform:
  description: >-
    In the modes V(drill) and V(readiness), the platform description with every default filled in, for M(platform.recovery.drill_scratch)
    and M(platform.recovery.platform_readiness).
  returned: success
  type: dict
regions:
  description: >-
    In the mode V(readiness), the target and the region (C(source)) that it would stand in for, with the clusters, workloads and services
    of both. C(source) is the primary region, or the next in rank where that is the target.
  returned: success
  type: dict
stores:
  description: The stores that have a member in the region, by their kind, as the role of that kind takes them.
  returned: success
  type: dict
region:
  description: For a checklist on a whole region, the doors of every region, and what runs there, for M(platform.recovery.region_observe).
  returned: success
  type: dict
lines:
  description: What an operator should read.
  returned: success
  type: list
  elements: str
"""
