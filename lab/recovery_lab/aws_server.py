# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's AWS API: moto's server in a process of its own, with Route 53 as strict as the real one.

It runs in whatever Python the lab's user can reach, so it imports nothing of ours. What moto leaves out and a recovery
depends on is put in here: a change batch is atomic and its DELETE compares, health checks have versions, the account
has a rate, and what was stored outlives the process. The name servers follow `GET /lab/route53?after=N`, as Route 53's
own follow its control plane.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

LONGEST_POLL_SECONDS = 5.0
# Checkers report every second; one that has not for so long is gone.
REPORT_SECONDS = 5.0
# What Route 53 allows an account, and what it lets through at once.
REQUESTS_PER_SECOND, BURST = 5.0, 5.0
ROUTE53 = "/2013-04-01/"
# What a checker says, in the words of Route 53.
SUCCESS = "Success: HTTP Status Code 200, OK"
FAILURE = "Failure: the checker could not reach it or did not like its answer"

Environment = dict[str, Any]
Start = Callable[..., Any]


def key_of(record: Mapping[str, Any]) -> tuple[str, str, str]:
    """Give what tells a record set from all others of its zone."""
    return (str(record["Name"]).rstrip(".").lower() + ".", str(record["Type"]), str(record.get("SetIdentifier") or ""))


def plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """Give a record set as the API describes it, whichever way moto keeps it: comparable, and ready for JSON."""
    name, kind, identifier = key_of(record)
    values = [one["Value"] if isinstance(one, Mapping) else one for one in record.get("ResourceRecords") or []]
    found: dict[str, Any] = {"Name": name, "Type": kind}
    if values:
        found |= {"ResourceRecords": sorted(values), "TTL": int(record.get("TTL") or 0)}
    if identifier:
        found["SetIdentifier"] = identifier
    if record.get("Weight") is not None:
        found["Weight"] = int(record["Weight"])
    alias = record.get("AliasTarget")
    if alias:
        found["AliasTarget"] = {
            "HostedZoneId": alias["HostedZoneId"],
            "DNSName": str(alias["DNSName"]).rstrip(".").lower() + ".",
            "EvaluateTargetHealth": str(alias.get("EvaluateTargetHealth")).lower() == "true",
        }
    for word in ("Failover", "HealthCheckId", "Region", "MultiValueAnswer"):
        if record.get(word):
            found[word] = record[word]
    return found


def stored(rrset: Any) -> dict[str, Any]:
    """Give one of moto's record sets as the API describes it."""
    words = {
        "Name": rrset.name,
        "Type": rrset.type,
        "TTL": rrset.ttl,
        "ResourceRecords": rrset.records,
        "SetIdentifier": rrset.set_identifier,
        "Weight": rrset.weight,
        "Failover": rrset.failover,
        "HealthCheckId": rrset.health_check_id,
        "AliasTarget": rrset.alias_target,
        "Region": rrset.region,
        "MultiValueAnswer": rrset.multi_value_answer,
    }
    return plain(words)


def changed(records: Mapping[Any, Any], changes: Iterable[Mapping[str, Any]]) -> tuple[dict[Any, Any], str]:
    """Make all changes to a copy, or say why Route 53 would make none."""
    found = dict(records)
    for change in changes:
        action, wanted = change["Action"], plain(change["ResourceRecordSet"])
        key = key_of(wanted)
        what = f"resource record set [name='{key[0]}', type='{key[1]}'"
        what += f", set identifier='{key[2]}']" if key[2] else "]"
        if action == "DELETE":
            if key not in found:
                return {}, f"[Tried to delete {what} but it was not found]"
            if found[key] != wanted:
                return {}, f"[Tried to delete {what} but the values provided do not match the current values]"
            del found[key]
        elif action == "CREATE" and key in found:
            return {}, f"[Tried to create {what} but it already exists]"
        else:
            found[key] = wanted
    return found, ""


class Strict:
    """What Route 53 does beyond moto, put into moto's own backend, and kept in a file."""

    def __init__(self, folder: Path) -> None:
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.route53 import models
        from moto.route53.exceptions import Route53ClientError

        self._file = folder / "route53.pickle"
        self._error = Route53ClientError
        self._models = models
        self.backend = models.route53_backends[DEFAULT_ACCOUNT_ID]["aws"]
        self.changed = threading.Condition()
        # Higher than that of any process before, so that whoever follows notices even a world that was made anew.
        self.version = int(time.time() * 1000)
        # By the name server that checks: when it last reported, and its word on each check.
        self.reports: dict[str, tuple[float, dict[str, dict[str, Any]]]] = {}
        kind: Any = models.Route53Backend
        kind.change_resource_record_sets = lambda _, zoneid, change_list: self._change(zoneid, change_list)
        kind.update_health_check = self._update(kind.update_health_check)

    def _change(self, zoneid: str, change_list: list[dict[str, Any]]) -> None:
        zone = self.backend.get_hosted_zone(zoneid)
        with self.changed:
            records = {key_of(one): one for one in map(stored, zone.rrsets)}
            found, problem = changed(records, change_list)
            if problem:
                raise self._error("InvalidChangeBatch", problem)
            zone.rrsets = [self._models.RecordSet(dict(one)) for one in found.values()]
            for rrset in zone.rrsets:
                rrset.records = list(rrset.records)

    def _update(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def update(backend: Any, health_check_id: str, health_check_args: dict[str, Any]) -> Any:
            from flask import request

            check = backend.get_health_check(health_check_id)
            asked = version_in(request.get_data())
            if asked and asked != check.health_check_version:
                message = f"The health check was changed: its version is {check.health_check_version}, not {asked}"
                raise self._error("HealthCheckVersionMismatch", message)
            found = original(backend, health_check_id, health_check_args)
            found.health_check_version += 1
            return found

        return update

    def load(self) -> bool:
        """Take up what an earlier process left. Gives whether there was anything."""
        if not self._file.exists():
            return False
        self.backend.zones, self.backend.health_checks = pickle.loads(self._file.read_bytes())
        return True

    def save(self) -> None:
        """Keep what is stored now, and tell whoever follows."""
        with self.changed:
            part = self._file.with_suffix(".part")
            part.write_bytes(pickle.dumps((self.backend.zones, self.backend.health_checks)))
            part.replace(self._file)
            self.version += 1
            self.changed.notify_all()

    def seed(self, wanted: Mapping[str, Any]) -> None:
        """Make the zones and the health checks of a new lab; a record names its check by our name for it."""
        arguments = {"IPAddress": "ip_address", "FullyQualifiedDomainName": "fqdn", "Type": "type"}
        arguments |= {"Port": "port", "ResourcePath": "resource_path", "RequestInterval": "request_interval"}
        arguments |= {"FailureThreshold": "failure_threshold"}
        checks = {}
        for name, config in wanted["health_checks"].items():
            words = {arguments[word]: value for word, value in config.items()}
            checks[name] = self.backend.create_health_check(name, words).id
        for name, records in wanted["zones"].items():
            zone = self.backend.create_hosted_zone(f"{name}.", private_zone=False)
            zone.rrsets = []
            batch = []
            for record in records:
                found = dict(record)
                if "HealthCheckId" in found:
                    found["HealthCheckId"] = checks[found["HealthCheckId"]]
                if "AliasTarget" in found:
                    found["AliasTarget"] = {"HostedZoneId": zone.resource_id, **found["AliasTarget"]}
                batch.append({"Action": "CREATE", "ResourceRecordSet": found})
            self._change(zone.resource_id, batch)

    def document(self, after: int) -> dict[str, Any]:
        """Give everything, as soon as it is newer than what the follower has."""
        with self.changed:
            self.changed.wait_for(lambda: self.version > after, LONGEST_POLL_SECONDS)
            zones = [
                {"id": zone.resource_id, "name": zone.name.rstrip(".") + ".", "records": list(map(stored, zone.rrsets))}
                for zone in self.backend.zones.values()
            ]
            checks = [{"Id": check.id, **check.health_check_config} for check in self.backend.health_checks.values()]
            return {"version": self.version, "zones": zones, "health_checks": checks}

    def observations(self, check: str) -> list[dict[str, Any]]:
        """Give what the checkers say of a health check. One that has fallen silent is none any more."""
        oldest = time.monotonic() - REPORT_SECONDS
        with self.changed:
            said = {
                place: found[check] for place, (at, found) in self.reports.items() if check in found and at >= oldest
            }
        return [
            {"place": place, "status": SUCCESS if one["healthy"] else FAILURE, "checked": one["checked"]}
            for place, one in sorted(said.items())
        ]


def version_in(body: bytes) -> int:
    """Read which version of a health check a change was made for; 0 for any."""
    _, _, rest = body.partition(b"<HealthCheckVersion>")
    number = rest.partition(b"<")[0]
    return int(number) if number.isdigit() else 0


class Rate:
    """Lets so many requests a second through, and none of them while an outage of ours is asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left, self._at = BURST, time.monotonic()
        self.none_until = 0.0
        self.count = 0

    def allows(self) -> bool:
        """Count a request."""
        with self._lock:
            now = time.monotonic()
            self._left = min(BURST, self._left + (now - self._at) * REQUESTS_PER_SECOND)
            self._at = now
            self.count += 1
            if now < self.none_until or self._left < 1:
                return False
            self._left -= 1
            return True


class Front:
    """What stands before moto: the feed for the name servers, the rate, and the file."""

    def __init__(self, inside: Callable[[Environment, Start], Iterable[bytes]], strict: Strict, rate: Rate) -> None:
        self._inside, self._strict, self._rate = inside, strict, rate

    def __call__(self, environment: Environment, start: Start) -> Iterable[bytes]:
        """Answer one request."""
        path, method = environment["PATH_INFO"], environment["REQUEST_METHOD"]
        if path.startswith("/lab/"):
            return self._own(path, environment, start)
        if not path.startswith(ROUTE53):
            return self._inside(environment, start)
        if not self._rate.allows():
            return throttled(start)
        if method == "GET" and path.startswith(f"{ROUTE53}healthcheck/") and path.endswith("/status"):
            return self._status(path.split("/")[-2], start)
        answer = list(self._inside(environment, start))
        if method != "GET":
            self._strict.save()
        return answer

    def _own(self, path: str, environment: Environment, start: Start) -> Iterable[bytes]:
        query = {name: values[0] for name, values in parse_qs(environment.get("QUERY_STRING", "")).items()}
        if path == "/lab/route53":
            return as_json(start, self._strict.document(int(query.get("after", 0))))
        if path == "/lab/throttle":
            self._rate.none_until = time.monotonic() + float(query["seconds"])
            return as_json(start, {})
        if path == "/lab/requests":
            return as_json(start, {"count": self._rate.count})
        if path == "/lab/health":
            body = environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
            with self._strict.changed:
                self._strict.reports[query["place"]] = time.monotonic(), json.loads(body)
            return as_json(start, {})
        return as_json(start, {"error": "no such path"}, "404 Not Found")

    def _status(self, check: str, start: Start) -> Iterable[bytes]:
        said = "".join(
            f"<HealthCheckObservation><Region>us-east-1</Region><IPAddress>{one['place']}</IPAddress><StatusReport>"
            f"<Status>{one['status']}</Status><CheckedTime>{stamp(one['checked'])}</CheckedTime></StatusReport></HealthCheckObservation>"
            for one in self._strict.observations(check)
        )
        space = 'xmlns="https://route53.amazonaws.com/doc/2013-04-01/"'
        body = f"<HealthCheckObservations>{said}</HealthCheckObservations>"
        return as_xml(start, f"<GetHealthCheckStatusResponse {space}>{body}</GetHealthCheckStatusResponse>")


def stamp(seconds: float) -> str:
    """Write a moment as Route 53 does."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def throttled(start: Start) -> Iterable[bytes]:
    """Refuse as Route 53 does where an account asks too much."""
    error = "<Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error>"
    return as_xml(start, f"<ErrorResponse>{error}<RequestId>lab</RequestId></ErrorResponse>", "429 Too Many Requests")


def as_xml(start: Start, content: str, status: str = "200 OK") -> Iterable[bytes]:
    """Answer with XML."""
    return answer(start, content.encode(), "text/xml", status)


def as_json(start: Start, content: Mapping[str, Any], status: str = "200 OK") -> Iterable[bytes]:
    """Answer with JSON."""
    return answer(start, json.dumps(content).encode(), "application/json", status)


def answer(start: Start, body: bytes, kind: str, status: str) -> Iterable[bytes]:
    """Answer."""
    start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    for name in ("host", "port", "data", "seed", "packages"):
        parser.add_argument(f"--{name}", required=name != "packages")
    options = parser.parse_args()
    if options.packages:
        sys.path.insert(0, options.packages)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import run_simple

    # The name servers ask all the time.
    MotoRequestHandler.log_request = lambda *_: None

    strict = Strict(Path(options.data))
    if not strict.load():
        strict.seed(json.loads(Path(options.seed).read_text()))
        strict.save()
    inside: Any = DomainDispatcherApplication(create_backend_app)
    front: Any = Front(inside, strict, Rate())
    run_simple(options.host, int(options.port), front, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main()
