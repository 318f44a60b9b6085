# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases that Patroni runs: switched and failed over through its REST API and configuration, never behind its back.

Only the fence is not Patroni's. Its lock in the DCS keeps others from leading; it does not keep a leader that was
frozen from acknowledging writes when it thaws. So a node that is silent is stopped through its host's service manager.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from .. import service_manager
from ..errors import BadInput, PreconditionFailed, RecoveryError, StepFailed, StepTimeout
from ..service_manager import UnitStatus
from ..waiting import wait_until
from . import patroni
from .client import REFUSES, port_refuses
from .model import Credentials, Member, PatroniNode, PatroniPlace, format_lsn
from .patroni import Cluster, Region
from .patroni_api import (
    DENIED,
    READ_SECONDS,
    Answer,
    Api,
    ApiError,
    Nodes,
    nodes_of,
    region_of,
    short,
)
from .provided import HandedOver, Hindrance, Provider, Remark

POLL_SECONDS = 0.1
PORT_SECONDS = 0.3
STOP_SECONDS = 20.0
# Patroni answers a switchover when it is over, or after twice this at the latest that it does not know.
ANSWER_SECONDS = 60.0
# How long clients may be kept waiting for a standby cluster to receive what was written last.
CATCH_UP_SECONDS = 30.0
WRITE_SECONDS = 10.0


@dataclass
class Patroni(Provider):
    """The provider `patroni`: the members of one database, each the nodes of a region."""

    members: Mapping[str, Member]
    guard: Callable[[], None] = field(default=lambda: None, repr=False)
    account: Credentials | None = field(default=None, repr=False)
    _nodes: dict[str, Nodes] = field(default_factory=dict, repr=False)

    manages_hosts = True

    def close(self) -> None:
        """Nothing stays open: each request has a connection of its own."""

    def status(self, name: str, *, seconds: float) -> UnitStatus:
        """Say what the hosts of a member's nodes show."""
        return self._at_hosts(name, lambda node: service_manager.status(node.fence, seconds=seconds))

    def stop_for_good(self, name: str, *, seconds: float) -> UnitStatus:
        """Mask and kill the unit of each node: Patroni and its PostgreSQL, frozen ones too."""
        limit = min(STOP_SECONDS, seconds)
        return self._at_hosts(name, lambda node: service_manager.stop_for_good(node.fence, seconds=limit, gently=False))

    def stepped_down(self, name: str, *, seconds: float) -> str | None:
        """Say whether its cluster was made another member's standby: a switchover was cut short there."""
        if self._place(name).topology == "one_cluster":
            return None
        with contextlib.suppress(ApiError):
            config = self._asked(name).region(min(READ_SECONDS, seconds)).config
            section = patroni.follows(config)
            others = [member for other, member in self.members.items() if other != name]
            if section and any(patroni.demotion(config, member) is None for member in others):
                return f"the cluster of {name} is a standby cluster of {patroni.following_words(section)}"
        return None

    def taken_back(self, name: str, target: str, *, seconds: float) -> str | None:
        """Say whether each of its nodes has a Patroni that works and knows the target as its leader.

        It starts its PostgreSQL as a standby, after a switchover for example, and stops one that is none.
        """
        limit = max(READ_SECONDS, seconds)
        apis = self._asked(name).apis
        with ThreadPoolExecutor(max_workers=len(apis)) as pool:
            try:
                regions = list(pool.map(lambda api: region_of(api, limit), apis))
            except ApiError:
                return None
        if not all(self._follows(region, target) for region in regions):
            return None
        return f"Patroni makes it a standby of {target}: {regions[0].cluster.words}"

    def _follows(self, region: Region, target: str) -> bool:
        if self._place(target).topology == "one_cluster":
            leader = region.cluster.leader
            return leader is not None and leader.name in patroni.own_nodes(self._place(target))
        return patroni.follows(region.config) is not None and (
            patroni.demotion(region.config, self.members[target]) is None
        )

    def hand_over(self, source: str, target: str, *, seconds: float) -> HandedOver | None:
        """Have Patroni switch over, or make the living cluster a standby cluster."""
        if self._place(target).topology == "one_cluster":
            return self._switch_over(source, target, seconds)
        return self._demote(source, target, seconds)

    def promote(self, target: str, *, stepped_down: Sequence[str], seconds: float) -> bool:
        """Have Patroni make a node of the target the leader, or its standby cluster one of its own."""
        if self._place(target).topology == "one_cluster":
            return self._fail_over(target, stepped_down, seconds)
        return self._promote_cluster(target, stepped_down, seconds)

    def hindrance(self, target: str, source: str | None, *, seconds: float) -> Hindrance | None:
        """Say what would keep the target from becoming the primary, and a living source from stepping down."""
        limit = max(READ_SECONDS, seconds)
        one_cluster = self._place(target).topology == "one_cluster"
        asked = [target] if one_cluster or source is None else [target, source]
        with ThreadPoolExecutor(max_workers=len(asked)) as pool:
            found = list(pool.map(lambda name: self._hindrance(name, limit), asked))
        return next((item for item in found if item), None)

    def examine(self, name: str, *, seconds: float) -> Sequence[Remark]:
        """Check whether the account may write through each node, and the cluster itself."""
        limit = max(READ_SECONDS, seconds)
        apis = self._asked(name).apis
        with ThreadPoolExecutor(max_workers=len(apis) + 1) as pool:
            written = [pool.submit(may_write, api, limit) for api in apis]
            hindered = pool.submit(self._hindrance, name, limit)
            remarks = [item.result() for item in written]
            found = hindered.result()
        wanted = found.wanted if found else "it acts, and every node that may lead is described"
        seen = found.observed if found else "nothing is in its way"
        mend = found.next_action if found else ""
        return [*remarks, Remark("patroni", found is None, seen, wanted, mend)]

    # One cluster over all regions.

    def _switch_over(self, source: str, target: str, seconds: float) -> HandedOver:
        cluster = self._ready(target).cluster
        names = patroni.own_nodes(self._place(target))
        leader = cluster.leader
        if leader and leader.name in names:
            return HandedOver(f"Patroni has {leader.name} as its leader already", changed=False)
        api = self._asked(source).named(leader.name) if leader else None
        if leader is None or api is None:
            raise self._disagree(f"SQL says that {source} is the primary, and Patroni does not", cluster)
        # A lower bound of what the new leader has to hold: clients still write.
        before = patroni.read_server(api.get("/patroni", READ_SECONDS)).position
        self.guard()
        words = {"leader": leader.name, "candidate": self._candidate(cluster, names)}
        chosen = self._told(api, "/switchover", words, target, seconds)
        return HandedOver(f"Patroni made {chosen} the leader in place of {leader.name}", True, before)

    def _fail_over(self, target: str, stepped_down: Sequence[str], seconds: float) -> bool:
        cluster = self._ready(target).cluster
        names = patroni.own_nodes(self._place(target))
        leader = cluster.leader
        if leader and leader.name in names:
            return False
        for name in stepped_down:
            if leader and leader.name in patroni.own_nodes(self._place(name)):
                raise self._disagree(f"SQL says that {name} is a standby, and Patroni that it leads", cluster)
        words = {"candidate": self._candidate(cluster, names)}
        api = self._asked(target).named(words["candidate"])
        assert api is not None
        self.guard()
        # The lock of a leader that is lost has to run out first, which takes its ttl.
        self._told(api, "/failover", words, target, seconds)
        return True

    def _told(self, api: Api, path: str, words: Mapping[str, str], target: str, seconds: float) -> str:
        """Tell Patroni, and watch its cluster until a node of the target leads it. Gives that node.

        What Patroni answers comes a second late, and may be no more than that it is still at work.
        """
        names = patroni.own_nodes(self._place(target))
        pool = ThreadPoolExecutor(max_workers=1)
        said = pool.submit(api.request, "POST", path, min(ANSWER_SECONDS, seconds), words)

        def settled() -> patroni.Outcome | None:
            cluster = self._asked(target).region().cluster
            answer = answer_of(said)
            return patroni.outcome(cluster, names, words.get("leader"), *(answer or (None, "")))

        try:
            outcome = wait_until(
                settled, seconds=seconds, interval=POLL_SECONDS, describe=f"a node of {target} to be the leader"
            ).value
        except StepTimeout as error:
            answer = answer_of(said)
            raise StepTimeout(
                f"Patroni was told {path} and has not made {words['candidate']} the leader after {seconds:g} s",
                wanted=f"{words['candidate']} leads",
                observed=f"Patroni: {answer[1] if answer else 'no answer'}; {error.observed or 'its cluster answers'}",
                next_action="it may still do so: see patronictl list and Patroni's log, then run the same again",
                changed=True,
            ) from error
        finally:
            pool.shutdown(wait=False)
        if outcome.leader:
            return outcome.leader
        raise (PreconditionFailed if outcome.refused else StepFailed)(
            f"Patroni did not make {words['candidate']} the leader",
            wanted=f"{words['candidate']} leads",
            observed=outcome.observed,
            next_action="see patronictl list and Patroni's log for the reason, then run the same again",
            **({"gate": "provider"} if outcome.refused else {"changed": True}),
        )

    # A cluster in each region, of which all but one are standby clusters.

    def _demote(self, source: str, target: str, seconds: float) -> HandedOver:
        self._ready(target)
        region = self._ready(source)
        change = patroni.demotion(region.config, self.members[target])
        if change:
            if patroni.follows(region.config):
                raise self._disagree(f"SQL says that {source} is the primary, and Patroni does not", region.cluster)
            self.guard()
        try:
            if change:
                self._leading(source, region).patch_config(change, WRITE_SECONDS)
            final = self._last_written(source, seconds)
            self._received(target, final)
        except RecoveryError as error:
            raise self._taken_back(source, target, error) from error
        observed = f"Patroni made the cluster of {source} a standby cluster; {target} holds its last write"
        return HandedOver(observed, bool(change), final)

    def _last_written(self, source: str, seconds: float) -> int:
        """Wait until a cluster's primary is a standby, and give the position at which it took its last write."""

        def stopped_at() -> int | None:
            region = self._asked(source).region()
            server = patroni.read_server(self._leading(source, region).get("/patroni", READ_SECONDS))
            leader = region.cluster.leader
            stands = leader is not None and leader.role == patroni.STANDBY_LEADER and server.standby
            return server.position if stands else None

        waited = wait_until(
            stopped_at, seconds=seconds, interval=POLL_SECONDS, describe=f"Patroni to make {source} a standby cluster"
        )
        return waited.value

    def _received(self, target: str, final: int) -> None:
        """Wait until a standby cluster has replayed a position."""

        def arrived() -> bool:
            region = self._asked(target).region()
            server = patroni.read_server(self._leading(target, region).get("/patroni", READ_SECONDS))
            return server.position is not None and server.position >= final

        wait_until(
            arrived,
            seconds=CATCH_UP_SECONDS,
            interval=POLL_SECONDS,
            describe=f"{target} to replay {format_lsn(final)}, what was written last",
        )

    def _taken_back(self, source: str, target: str, why: RecoveryError) -> RecoveryError:
        """Let a cluster be a primary's again. Nobody else has become one: only we would have told the target."""
        what, seen = f"The cluster of {source} was not handed over to {target}", why.observed or why.what
        wanted = f"{source} is a standby cluster, and {target} has received all of it"
        try:
            self.guard()
            self._leading(source, self._asked(source).region()).patch_config({patroni.SECTION: None}, WRITE_SECONDS)
        except RecoveryError as error:
            return StepFailed(
                f"{what}, and could not be made a primary's again",
                wanted=wanted,
                observed=f"{seen}; {error.what}: {error.observed}",
                next_action=f"unless somebody else recovers this database now, remove {patroni.SECTION} from the "
                f"configuration of {source} (patronictl edit-config): nobody takes writes until then",
                changed=True,
            )
        return PreconditionFailed(
            what,
            wanted=wanted,
            observed=seen,
            next_action=f"Patroni was told to make {source} the primary again; see that it is, and why its last "
            f"changes do not reach {target}, then run again",
            gate="provider",
        )

    def _promote_cluster(self, target: str, stepped_down: Sequence[str], seconds: float) -> bool:
        region = self._ready(target)
        change = patroni.promotion(region.config)
        if change is None:
            return False
        for name in self.members:
            if name != target:
                self._require_standby(name, answers=name in stepped_down)
        self.guard()
        self._leading(target, region).patch_config(change, min(WRITE_SECONDS, seconds))
        return True

    def _require_standby(self, name: str, *, answers: bool) -> None:
        """Refuse to make a second writer: the host of a member may lead to a standby, and its leader live beside it.

        A member that answers nobody was fenced, or is stated to be down, and need not answer us.
        """
        try:
            region = self._asked(name).region()
        except ApiError as error:
            if not answers:
                return
            observed = f"SQL: a standby; {error.what}: {error.observed}"
        else:
            if patroni.follows(region.config):
                return
            observed = region.cluster.words
        raise PreconditionFailed(
            f"Nothing shows that the cluster of {name} is a standby cluster",
            wanted="its Patroni says so, or does not run any more",
            observed=observed,
            next_action=f"use recovery_mode=switchover to move it without loss; if {name} is lost, stop and mask the "
            "Patroni of all its nodes, then run again",
            gate="fence",
        )

    # What both have in common.

    def _place(self, name: str) -> PatroniPlace:
        place = self.members[name].patroni
        if place is None:
            raise BadInput(
                f"The member {name} has no nodes of Patroni",
                wanted=f"members.{name}.patroni",
                next_action="describe it and run again; nothing was touched",
            )
        return place

    def _asked(self, name: str) -> Nodes:
        found = self._nodes.get(name)
        if found is None:
            found = self._nodes[name] = nodes_of(name, self._place(name), self.account)
        return found

    def _described(self) -> set[str]:
        return {node for name in self.members for node in patroni.own_nodes(self._place(name))}

    def _hindrance(self, name: str, seconds: float) -> Hindrance | None:
        try:
            region = self._asked(name).region(seconds)
        except ApiError as error:
            seen = f"{error.what}: {error.observed}"
            return Hindrance(seen, "Patroni answers, and reaches its DCS", str(error.next_action))
        return patroni.hindrance(region, self._place(name), self._described())

    def _ready(self, name: str) -> Region:
        """Read a member's cluster. Raises PreconditionFailed where something is in its way."""
        region = self._asked(name).region()
        found = patroni.hindrance(region, self._place(name), self._described())
        if found:
            raise PreconditionFailed(
                f"Patroni cannot be told to move the primary: {found.observed}",
                wanted=found.wanted,
                observed=found.observed,
                next_action=found.next_action,
                gate="provider",
            )
        return region

    def _candidate(self, cluster: Cluster, names: Sequence[str]) -> str:
        chosen = patroni.candidate(cluster, names)
        assert not isinstance(chosen, str), "what is in the way was looked for before"
        return chosen.name

    def _leading(self, name: str, region: Region) -> Api:
        """Give the leader's API, which acts at once; any other node tells it within a moment."""
        nodes = self._asked(name)
        leader = region.cluster.leader
        api = (nodes.named(leader.name) if leader else None) or nodes.named(region.through)
        assert api is not None, "whoever answered is one of them"
        return api

    def _disagree(self, what: str, cluster: Cluster) -> PreconditionFailed:
        return PreconditionFailed(
            what,
            wanted="SQL and Patroni agree on who is the primary",
            observed=cluster.words,
            next_action="wait until a change that is under way is over, and see that each member's host leads to its "
            "leader; then run again",
            gate="provider",
        )

    def _at_hosts(self, name: str, ask: Callable[[PatroniNode], UnitStatus]) -> UnitStatus:
        """Ask the hosts of a member's nodes, all at once, and then each PostgreSQL's port."""
        member, nodes = self.members[name], self._place(name).nodes

        def seen(node: PatroniNode) -> patroni.AtHost:
            if node.fence.method == "none":
                return patroni.AtHost(node.name, UnitStatus("no channel to its host is described", answered=False))
            unit = ask(node)
            refused, port = port_refuses(server_of(member, node), PORT_SECONDS)
            return patroni.AtHost(node.name, unit, refused and port == REFUSES, port)

        with ThreadPoolExecutor(max_workers=max(1, len(nodes))) as pool:
            return patroni.merged(list(pool.map(seen, nodes)))


def server_of(member: Member, node: PatroniNode) -> Member:
    """Give where the PostgreSQL of a node is asked: its own place, or the member's."""
    if node.host is None and node.port is None:
        return member
    return replace(
        member,
        host=node.host or member.host,
        address=None if node.host else member.address,
        port=node.port or member.port,
    )


def answer_of(said: Future[Answer]) -> tuple[int | None, str] | None:
    """Give what Patroni said so far: status and words. None while it works; no status where no answer came."""
    if not said.done():
        return None
    error = said.exception()
    if isinstance(error, ApiError):
        return None, str(error.observed)
    answer = said.result()
    return answer.status, short(answer.text)


def may_write(api: Api, seconds: float) -> Remark:
    """Have a node change nothing, which it does for whoever may change something."""
    name, wanted = api.node.name, "its API answers, and lets the account change the configuration"
    mend = "see that Patroni runs there and reaches its DCS"
    try:
        answer = api.request("PATCH", "/config", seconds, patroni.NOTHING)
    except ApiError as error:
        return Remark(f"patroni api {name}", False, f"{error.what}: {error.observed}", wanted, mend)
    if answer.status in DENIED:
        mend = "correct patroni.credentials, cert_file and key_file; they are those of restapi in Patroni's settings"
    seen = "it lets the account write" if answer.good else f"status {answer.status}: {short(answer.text)}"
    return Remark(f"patroni api {name}", answer.good, seen, wanted, mend)
