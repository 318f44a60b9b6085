# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking Redis and Sentinel, within a deadline, and reading what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from ..errors import BadInput, StepFailed
from .model import Known, Member, MemberState, Place, Sentinel, SentinelState, Store

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError:
    redis = None  # type: ignore[assignment]


class Silent(StepFailed):
    """A server that could not be asked; `cause` says why in one word."""

    def __init__(self, place: Place, cause: str, detail: str) -> None:
        super().__init__(f"{place.words} could not be asked", observed=detail, next_action="run the same again")
        self.cause = cause
        self.detail = detail


class Refused(StepFailed):
    """A server's own no."""

    def __init__(self, place: Place, command: str, detail: str) -> None:
        super().__init__(f"{place.words} refused {command}", observed=detail)
        self.detail = detail


def require() -> None:
    """Refuse to go on without redis-py."""
    if redis is None:
        raise BadInput(
            "The Python package redis is missing in the Python that runs Ansible",
            wanted="redis, by which servers and Sentinels are asked",
            next_action="install redis there and run again",
        )


class Session:
    """One connection, opened when it is needed, and again after it broke."""

    def __init__(self, place: Place, seconds: float) -> None:
        self.place = place
        tls = place.tls
        more: dict[str, Any] = {}
        if tls:
            more = {
                "ssl": True,
                "ssl_ca_certs": tls.ca_file,
                "ssl_certfile": tls.cert_file,
                "ssl_keyfile": tls.key_file,
                "ssl_check_hostname": tls.check_hostname,
            }
        self.client = redis.Redis(
            host=place.host,
            port=place.port,
            username=place.account.user,
            password=place.account.password,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            decode_responses=True,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            **more,
        )

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.client.close()

    def ask(self, *words: str | int) -> Any:
        """Send one command. Raises Silent or Refused."""
        return self.at_once([words])[0]

    def at_once(self, commands: Sequence[Sequence[str | int]], *, whole: bool = False) -> list[Any]:
        """Send several over one connection; `whole`: nothing of anybody else comes in between. Raises as `ask`."""
        name = " ".join(str(word) for word in commands[-1][:2])
        try:
            with self.client.pipeline(transaction=whole) as pipe:
                for words in commands:
                    pipe.execute_command(*words)  # type: ignore[no-untyped-call]
                return list(pipe.execute())
        except redis.AuthenticationError as error:
            raise Silent(self.place, "authentication", f"it does not let us in: {first(error)}") from error
        except redis.BusyLoadingError as error:
            raise Silent(self.place, "loading", "it still loads its data") from error
        except redis.TimeoutError as error:
            raise Silent(self.place, "timeout", "no answer in time") from error
        except redis.ConnectionError as error:
            raise Silent(self.place, cause_of(error), first(error)) from error
        except redis.RedisError as error:
            cause = first(error)
            if cause.startswith("NOAUTH"):
                raise Silent(self.place, "authentication", "it wants a password") from error
            raise Refused(self.place, name, cause) from error


def cause_of(error: Exception) -> str:
    """Tell a server that does not speak as we do from one that is not there."""
    said = str(error).upper()
    return "tls" if "CERTIFICATE" in said or "WRONG_VERSION" in said or "WRONG VERSION" in said else "refused"


def first(error: Exception) -> str:
    """Give the first line of what a library says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def look_at(member: Member, seconds: float) -> MemberState:
    """Ask a server how it is; that it does not answer is an answer as well."""
    try:
        with Session(member.place, seconds) as session:
            return member_state(member.name, *facts(session))
    except Silent as error:
        return MemberState(member.name, cause=error.cause, why_not=error.detail)
    except Refused as error:
        return MemberState(member.name, cause="other", why_not=f"{error.what}: {error.detail}")


def facts(session: Session) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Ask for what is known of a server and for the names that it goes by."""
    names = ("replica-announce-ip", "replica-announce-port", "replica-priority")
    answers = session.at_once([("INFO",), *(("CONFIG", "GET", name) for name in names)])
    settings: dict[str, str] = {}
    for answer in answers[1:]:
        rows = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
        settings |= rows
    return answers[0], settings


def member_state(name: str, info: Mapping[str, Any], settings: Mapping[str, str]) -> MemberState:
    """Read what a server says of itself."""
    replica = info["role"] == "slave"
    silent = None
    if replica:
        seen = [int(info.get(key, -1)) for key in ("master_last_io_seconds_ago", "master_link_down_since_seconds")]
        silent = float(max(seen)) if max(seen) >= 0 else None
    host, port = settings.get("replica-announce-ip") or "", int(settings.get("replica-announce-port") or 0)
    spaces = [value for key, value in info.items() if str(key).startswith("db") and isinstance(value, Mapping)]
    return MemberState(
        name,
        role="replica" if replica else "primary",
        run_id=str(info["run_id"]),
        version=str(info["redis_version"]),
        replid=str(info["master_replid"]),
        replid2=str(info["master_replid2"]),
        offset=int(info["master_repl_offset"]),
        promoted_at=int(info["second_repl_offset"]),
        follows=(str(info["master_host"]), int(info["master_port"])) if replica else None,
        link_up=replica and info["master_link_status"] == "up" and not int(info.get("master_sync_in_progress", 0)),
        silent_seconds=silent,
        priority=int(settings.get("replica-priority") or 100),
        announced=(host, port or int(info["tcp_port"])) if host else None,
        room=int(info.get("maxmemory") or 0) or None,
        keys=sum(int(space.get("keys", 0)) for space in spaces),
    )


def ask_sentinel(sentinel: Sentinel, store: Store, seconds: float) -> SentinelState:
    """Ask a Sentinel what it knows of a store."""
    try:
        with Session(sentinel.place, seconds) as session:
            commands = [("SENTINEL", part, store.master_name) for part in ("MASTER", "REPLICAS")]
            commands.append(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", store.master_name))
            return sentinel_state(sentinel, *session.at_once(commands))
    except Silent as error:
        return SentinelState(sentinel, cause=error.cause, why_not=error.detail)
    except Refused as error:
        return SentinelState(sentinel, cause="other", why_not=error.detail)


def sentinel_state(sentinel: Sentinel, row: Any, replicas: Sequence[Any], address: Sequence[str]) -> SentinelState:
    """Read what a Sentinel says."""
    seen = pairs(row)
    known = []
    for one in map(pairs, replicas):
        known.append(
            Known(
                (one["ip"], int(one["port"])),
                one["runid"],
                frozenset(one["flags"].split(",")),
                int(one["slave-priority"]),
                int(one["slave-repl-offset"]),
            )
        )
    return SentinelState(
        sentinel,
        # In the middle of a failover this is the new one already, and the row is still the old one's.
        primary=(address[0], int(address[1])),
        run_id=seen["runid"],
        flags=frozenset(seen["flags"].split(",")),
        epoch=int(seen["config-epoch"]),
        quorum=int(seen["quorum"]),
        others=int(seen["num-other-sentinels"]),
        replicas=tuple(known),
    )


def pairs(row: Any) -> dict[str, str]:
    """Read a flat list of names and values."""
    return dict(row) if isinstance(row, Mapping) else dict(zip(row[::2], row[1::2], strict=True))


def port_refuses(place: Place, seconds: float) -> tuple[bool, str]:
    """Say whether nobody answers at a port, and how that shows.

    A connection alone proves nothing: a proxy in between accepts it for a server that is gone. One that turns us away
    is there.
    """
    try:
        with Session(place, seconds) as session:
            session.ask("PING")
    except Silent as error:
        if error.cause in {"refused", "timeout"}:
            return True, f"nobody answers at its port ({error.detail})"
    except Refused:
        pass
    return False, "its port answers"
