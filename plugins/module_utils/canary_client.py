# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The canary: a client of its own process that writes numbered rows through the application's edge.

It is started by the `canary` action, outlives the controller, and leaves one fixed-width line per attempt in
`<folder>/writes.log`. What those lines mean is decided by `canary_analysis`, never here.

Standard library only, and little of it: an own HTTP/1.1 exchange instead of http.client keeps the start below
100 ms and the process below 20 MiB, and tells what http.client hides: whether the request was sent at all.

Stamps are those of a clock of its own, which starts with the wall clock and then counts by itself, through a suspended
machine too. A step of the wall clock therefore cannot stretch or shrink an outage, and the lines stay in order. `clock`
lines say how far the wall clock has gone from it; readers shift every stamp by the newest of them.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import json
import os
import queue
import select
import signal
import socket
import sys
import threading
import time

TYPE_CHECKING = False  # typing and dataclasses would be half of the start-up
if TYPE_CHECKING:
    import ssl
    from typing import Any

# Number (0 for what the canary says of itself), sent, answered, status.
LINE = b"%012d %016d %016d %-8.8s\n"
LINE_BYTES = 56
# What fills up a line that a kill cut off.
TORN = b"~"
SECOND = b"%010d %06d %06d %06d %016d %016d %016d\n"
SECOND_BYTES = 83
ROTATE_BYTES = 16 * 1024 * 1024
ACKNOWLEDGED = (b"200", b"201", b"204")
# A request that was sent and not answered may or may not have been committed.
UNKNOWN = (b"timeout", b"reset", b"409", b"502", b"504", b"defect")
# Numbers left out after a restart: one killed on a full disk may have sent hours of writes that stand in no line.
RESTART_SKIP = 1_000_000
MAX_WORKERS = 64
IDLE_SECONDS = 2.0
MICROSECONDS = 1_000_000
# A delay of the canary itself that readers must know of; less than what they take for an outage.
STALL = MICROSECONDS // 10
# What waits in memory while the disk is full: some six minutes at 50 writes a second.
KEPT_BYTES = 1024 * 1024
# A wall clock that has gone further than this from ours was set, not steered.
CLOCK_STEP = MICROSECONDS // 20
# Said again so often, to be found near the end of the log: within CLOCK_REACH even at a write each millisecond.
CLOCK_EVERY = 60 * MICROSECONDS
CLOCK_REACH = 4 * 1024 * 1024
# A question of DNS: one, recursion desired; the root, an address, of the internet.
RECURSIVE = b"\1\0\0\1\0\0\0\0\0\0"
END = b"\0\0\1\0\1"
CLOCK_END = b" %-8.8s\n" % b"clock"
# Linux counts a suspended machine's time only here.
BOOT_TIME: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock:
    """UTC microseconds that never go back (see the module's text)."""

    def __init__(self, shift: int = 0, after: int = 0) -> None:
        # A successor goes on in the time of the log it found: its shift then holds for all lines.
        self._base = max(time.time_ns() // 1000 - shift, after) * 1000 - time.clock_gettime_ns(BOOT_TIME)

    def now(self) -> int:
        """Give the present moment."""
        return (self._base + time.clock_gettime_ns(BOOT_TIME)) // 1000

    def shift(self, known: int) -> int:
        """How far the wall clock is ahead; `known` unless it was set, or where this process is too busy to tell."""
        before = self.now()
        shift = time.time_ns() // 1000 - before
        busy = self.now() - before > CLOCK_STEP // 5
        return known if busy or abs(shift - known) <= CLOCK_STEP else shift


class Settings:
    """What the process was told, read once."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.tls, self.host, self.port, base = parse_url(options.url)
        self.url: str = options.url
        self.service: str = options.service
        self.path: str = base + (options.path or f"/v1/{options.service}/rows")
        self.folder: str = os.path.abspath(options.folder)
        self.prefix: str = options.run_prefix
        self.interval: float = options.interval
        self.timeout: float = options.timeout
        if not 0.001 <= self.interval <= 3600 or not 0.01 <= self.timeout <= 30:
            raise ValueError("the interval must lie between 0.001 and 3600 seconds, the timeout between 0.01 and 30")
        # Enough that the pace holds while every write hangs until its time-out.
        self.workers: int = options.workers or int(options.timeout / options.interval) + 2
        if not 1 <= self.workers <= MAX_WORKERS:
            raise ValueError(
                f"{self.workers} writes might be under way at once, and 1 to {MAX_WORKERS} are possible; choose"
                f" a timeout of at most {MAX_WORKERS - 2} intervals, or set workers and accept a slower pace in outages"
            )
        self.max_seconds: float | None = None if options.forever else options.max_seconds
        self.rotate_bytes: int = options.rotate_bytes if options.forever else 0
        self.context = tls_context(options.ca_file) if self.tls else None
        self.resolver: str = options.resolver or ""
        self.names = Names(self.host, *parse_place(self.resolver)) if self.resolver else None
        # By standard input, because arguments and environment can be read for as long as the process lives.
        self.authorization: str = sys.stdin.readline().strip() if options.authorization_stdin else ""


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Build what all connections share: reading the certificates takes longer than a write."""
    import ssl  # 10 MiB that a plain edge need not pay for

    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ValueError(f"the certificates of {ca_file} cannot be read: {error}") from error


def parse_url(url: str) -> tuple[bool, str, int, str]:
    """Scheme, host, port and path; a user in the URL is refused, because arguments can be read by everyone."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("http", "https"):
        raise ValueError("the url must start with http:// or https://")
    authority, _slash, path = rest.partition("/")
    if "@" in authority:
        raise ValueError("the url must not hold a user or password; give it as authorization")
    default = 443 if scheme == "https" else 80
    if authority.startswith("["):
        host, _bracket, port = authority[1:].partition("]")
        port = port.lstrip(":")
    else:
        host, _colon, port = authority.partition(":")
    if not host or (port and not port.isdigit()):
        raise ValueError("the url needs a host and, if any, a numeric port")
    path = path.rstrip("/")
    return scheme == "https", host, int(port or default), f"/{path}" if path else ""


def parse_place(text: str) -> tuple[str, int]:
    """Read address:port; the port of DNS if left out."""
    host, _colon, port = text.rpartition(":") if text.count(":") == 1 else (text, "", "53")
    if not host or not port.isdigit():
        raise ValueError("the resolver must be given as address:port")
    return host, int(port)


class Names:
    """Where a name leads to, asked of one resolver and believed until its TTL is over, as a good client does."""

    def __init__(self, name: str, resolver: str, port: int) -> None:
        self._question = b"".join(bytes([len(part)]) + part.encode() for part in name.rstrip(".").split(".")) + END
        self._resolver = (resolver, port)
        self._lock = threading.Lock()
        self._address = ""
        self._until = 0.0

    def address(self, deadline: float) -> str:
        """Give the address. Raises OSError or ValueError where the resolver gives none in time."""
        with self._lock:  # whoever comes meanwhile takes what this one is told
            now = time.monotonic()
            if now >= self._until:
                self._address, ttl = self._ask(max(0.001, deadline - now))
                self._until = now + ttl
            return self._address

    def _ask(self, seconds: float) -> tuple[str, int]:
        number = os.urandom(2)
        with socket.socket(socket.AF_INET6 if ":" in self._resolver[0] else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(seconds)
            sock.connect(self._resolver)
            sock.send(number + RECURSIVE + self._question)
            answer = sock.recv(4096)
        if answer[:2] != number or len(answer) < 12:
            raise ValueError("not an answer to this question")
        return first_address(answer, 12 + len(self._question))


def first_address(answer: bytes, at: int) -> tuple[str, int]:
    """Read the first address of an answer of DNS whose records begin at `at`, and for how long it holds."""
    with contextlib.suppress(IndexError):
        for _record in range(int.from_bytes(answer[6:8], "big")):
            while 0 < answer[at] < 0xC0:
                at += answer[at] + 1
            at += 2 if answer[at] else 1
            kind, ttl = int.from_bytes(answer[at : at + 2], "big"), int.from_bytes(answer[at + 4 : at + 8], "big")
            length = int.from_bytes(answer[at + 8 : at + 10], "big")
            if kind == 1 and length == 4 and len(answer) >= at + 14:
                return socket.inet_ntoa(answer[at + 10 : at + 14]), ttl
            at += 10 + length
    raise ValueError("the name has no address")


class Lines:
    """A file of lines of one width: each goes in whole, or waits in memory while the disk is full."""

    def __init__(self, path: str, width: int, rotate_bytes: int) -> None:
        self._path = path
        self._width = width
        self._rotate = rotate_bytes
        self._kept = bytearray()
        self._torn = False
        self._open()

    def _open(self) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        size = os.fstat(fd).st_size
        torn = size % self._width
        if torn:  # keep every line at a multiple of its width, so that readers can seek by time
            size += os.write(fd, TORN * (self._width - torn - 1) + b"\n")
        if size % self._width:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
        self._fd, self._size = fd, size

    @property
    def full(self) -> bool:
        """Whether no further line can wait."""
        return len(self._kept) >= KEPT_BYTES

    def put(self, line: bytes) -> bool:
        """Append a line behind those that wait; False if it was dropped because too many do."""
        taken = not self.full
        if taken:
            self._kept += line
        written = 0
        with contextlib.suppress(OSError):
            if self._torn:
                os.ftruncate(self._fd, self._size)
                self._torn = False
            written = os.write(self._fd, self._kept)
        part = written % self._width
        self._torn = self._torn or part > 0
        self._size += written - part
        del self._kept[: written - part]
        if self._rotate and self._size >= self._rotate:
            self._turn()
        return taken

    def _turn(self) -> None:
        old = self._fd
        with contextlib.suppress(OSError):  # no room for a new file: the present one grows on until there is
            if os.path.exists(self._path):
                os.replace(self._path, self._path + ".1")
            self._open()
            os.close(old)


class Log:
    """`writes.log`: one line per attempt, in the order of the answers; bounded by rotation if asked to be."""

    def __init__(self, folder: str, clock: Clock, rotate_bytes: int) -> None:
        self._writes = Lines(os.path.join(folder, "writes.log"), LINE_BYTES, rotate_bytes)
        self._seconds: Lines | None = None
        if rotate_bytes:
            self._seconds = Lines(os.path.join(folder, "seconds.log"), SECOND_BYTES, rotate_bytes)
        self._clock = clock
        self._lock = threading.Lock()
        self._last = 0
        self._missed = 0
        self._second = 0
        self._tally = [0, 0, 0, 0, 0, 0]

    def append(self, number: int, sent: int, status: bytes, answered: int | None = None) -> None:
        """Write one line; it is stamped with the present moment unless the canary speaks of itself."""
        # Stamped before the lock: another thread may wait for the disk in there.
        at = self._clock.now() if answered is None else answered
        with self._lock:
            at = self._place(at)
            self._put(number, sent, at, status)
            if self._seconds and number:
                self._count(self._seconds, sent, at, status)

    def append_clock(self, shift: int, now: int) -> None:
        """Say how far the wall clock is ahead: the difference of the line's two stamps, wherever it is placed."""
        with self._lock:
            at = self._place(now)
            self._put(0, at + shift, at, b"clock")

    def _place(self, at: int) -> int:
        # The lines of all threads stand in the order of their answers: readers seek by time.
        self._last = max(at, self._last)
        return self._last

    def _put(self, number: int, sent: int, at: int, status: bytes) -> None:
        if self._missed and not self._writes.full:
            self._writes.put(LINE % (0, self._missed, at, b"missed"))
            self._missed = 0
        if not self._writes.put(LINE % (number, sent, at, status)):
            self._missed = self._missed or at

    def _count(self, seconds: Lines, sent: int, at: int, status: bytes) -> None:
        second = at // MICROSECONDS
        if second != self._second:
            if self._second:
                seconds.put(SECOND % (self._second, *self._tally))
            self._second, self._tally = second, [0, 0, 0, 0, 0, 0]
        tally = self._tally
        if status in ACKNOWLEDGED:
            tally[0] += 1
            tally[3] = tally[3] or at
            tally[4] = at
        else:
            tally[2 if status in UNKNOWN else 1] += 1
            tally[5] = min(tally[5] or sent, sent)


class Connection:
    """One keep-alive connection; `write` returns the status to be logged and never raises."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._socket: Any = None
        self._used = 0.0
        self._head = (
            f"POST {settings.path} HTTP/1.1\r\nHost: {settings.host}:{settings.port}\r\n"
            "Content-Type: application/json\r\nUser-Agent: platform-recovery-canary\r\n"
            + (f"Authorization: {settings.authorization}\r\n" if settings.authorization else "")
        ).encode()

    def write(self, key: str, value: str) -> bytes:
        """Write one row within the time-out."""
        deadline = time.monotonic() + self._settings.timeout
        body = json.dumps({"key": key, "value": value}).encode()
        try:
            self._connect(deadline)
        except ConnectionRefusedError:
            return b"refused"
        except (OSError, ValueError):
            self.close()
            return b"noconn"
        try:
            self._socket.sendall(self._head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            status, keep = self._answer(deadline)
        except TimeoutError:
            self.close()
            return b"timeout"
        except (OSError, ValueError):
            self.close()
            return b"reset"
        self._used = time.monotonic()
        if not keep:
            self.close()
        return status

    def _connect(self, deadline: float) -> None:
        if self._socket is not None:
            # What the peer has closed, or may be about to close for idleness, would look like a lost write.
            idle = time.monotonic() - self._used > IDLE_SECONDS
            if idle or select.select([self._socket], [], [], 0)[0]:
                self.close()
        if self._socket is None:
            settings = self._settings
            host = settings.names.address(deadline) if settings.names else settings.host
            sock = socket.create_connection((host, settings.port), max(0.001, deadline - time.monotonic()))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if settings.context:
                sock = settings.context.wrap_socket(sock, server_hostname=settings.host)
            self._socket = sock
        self._limit(deadline)

    def _limit(self, deadline: float) -> None:
        self._socket.settimeout(max(0.001, deadline - time.monotonic()))

    def _answer(self, deadline: float) -> tuple[bytes, bool]:
        """Read one whole answer; returns its status and whether the connection may be used again."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive(deadline)
        head, _end, body = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        status = lines[0].partition(b" ")[2][:3]
        if not status.isdigit():
            raise ValueError("not an HTTP answer")
        headers = {
            name.strip().lower(): value.strip().lower()
            for name, _colon, value in (line.partition(b":") for line in lines[1:])
        }
        keep = lines[0].startswith(b"HTTP/1.1") and headers.get(b"connection") != b"close"
        # The status line came after the commit: a body that stays out must not turn it into a lost write.
        try:
            if b"content-length" in headers:
                missing = int(headers[b"content-length"]) - len(body)
                while missing > 0:
                    missing -= len(self._receive(deadline))
            elif headers.get(b"transfer-encoding") == b"chunked":
                while not body.endswith(b"0\r\n\r\n"):
                    body = body[-8:] + self._receive(deadline)
            elif status != b"204":
                keep = False
        except (OSError, ValueError):
            keep = False
        return status, keep

    def _receive(self, deadline: float) -> bytes:
        self._limit(deadline)
        data: bytes = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError("closed by the peer")
        return data

    def close(self) -> None:
        """Let the connection go."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None


class Canary:
    """Starts one write each interval; a write that hangs keeps only its own thread busy."""

    def __init__(self, settings: Settings, first: int, after: int) -> None:
        self._settings = settings
        self._shift = last_shift(settings.folder)
        self._clock = Clock(self._shift, after)
        self._log = Log(settings.folder, self._clock, settings.rotate_bytes)
        self._work: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._open = 0
        self._threads: list[threading.Thread] = []
        self._number = first
        self._skipped = 0
        self._told = 0
        self.stop = threading.Event()

    def run(self) -> None:
        """Write until told to stop, then wait for the answers under way."""
        settings = self._settings
        stop_file = os.path.join(settings.folder, "stop")
        interval = int(settings.interval * MICROSECONDS)
        longest = None if settings.max_seconds is None else int(settings.max_seconds * MICROSECONDS)
        started = due = looked = self._clock.now()
        self._log.append(0, started, b"start", started)
        self._mind_the_clock(started)
        while not self.stop.is_set():
            now = self._clock.now()
            if now >= due:
                self._confess(due, now)
                self._launch(now)
                due = max(due + interval, now)
            if now - looked > MICROSECONDS // 10:
                looked = now
                self._mind_the_clock(now)
                over = longest is not None and now - started > longest
                if over or os.path.exists(stop_file) or not os.path.isdir(settings.folder):
                    break
            self.stop.wait(min(0.1, max(0, due - self._clock.now()) / MICROSECONDS))
        for _thread in self._threads:
            self._work.put(None)
        deadline = time.monotonic() + settings.timeout + 0.5
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _confess(self, due: int, now: int) -> None:
        """Say that this process itself was kept from running: whoever reads the log must know."""
        if now - due > STALL:
            self._log.append(0, due, b"stall", now)

    def _mind_the_clock(self, now: int) -> None:
        shift = self._clock.shift(self._shift)
        if shift != self._shift or now - self._told > CLOCK_EVERY:
            self._shift, self._told = shift, now
            self._log.append_clock(shift, now)

    def _launch(self, now: int) -> None:
        if not self._hand_out(now):
            self._skipped = self._skipped or now
        elif self._skipped:
            if now - self._skipped > STALL:
                self._log.append(0, self._skipped, b"skipped", now)
            self._skipped = 0

    def _hand_out(self, now: int) -> bool:
        if self._open >= self._settings.workers:
            return False
        if self._open >= len(self._threads):
            thread = threading.Thread(target=self._serve, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the machine has no room for another one now
                return False
            self._threads.append(thread)
        with self._lock:
            self._open += 1
        self._number += 1
        self._work.put((self._number, now))
        return True

    def _serve(self) -> None:
        connection = Connection(self._settings)
        while (work := self._work.get()) is not None:
            number, launched = work
            try:
                sent = self._clock.now()
                self._confess(launched, sent)
                self._log.append(number, sent, self._written(connection, number, sent))
            finally:
                with self._lock:
                    self._open -= 1

    def _written(self, connection: Connection, number: int, sent: int) -> bytes:
        try:
            return connection.write(f"{self._settings.prefix}-{number}", str(sent))
        except Exception:  # an instrument that dies of an answer nobody thought of would see no recovery
            connection.close()
            return b"defect"


def last_line(folder: str) -> tuple[int, int]:
    """The highest number and the newest stamp in the last lines of the log, 0 in a new folder."""
    number = stamp = 0
    for name in ("writes.log.1", "writes.log"):
        with contextlib.suppress(FileNotFoundError), open(os.path.join(folder, name), "rb") as log:
            size = log.seek(0, os.SEEK_END) // LINE_BYTES * LINE_BYTES
            log.seek(max(0, size - 4 * MAX_WORKERS * LINE_BYTES))
            for line in log:
                if line[:12].isdigit():
                    number = max(number, int(line[:12]))
                if len(line) == LINE_BYTES and line[30:46].isdigit():
                    stamp = max(stamp, int(line[30:46]))
    return number, stamp


def last_shift(folder: str) -> int:
    """How far the wall clock was ahead of the log's stamps when the canary last looked."""
    for name in ("writes.log", "writes.log.1"):
        with contextlib.suppress(FileNotFoundError), open(os.path.join(folder, name), "rb") as log:
            begin = log.seek(0, os.SEEK_END) // LINE_BYTES * LINE_BYTES
            least = max(0, begin - CLOCK_REACH)
            while begin > least:
                begin, end = max(0, begin - 1024 * LINE_BYTES), begin
                log.seek(begin)
                head, found, _rest = log.read(end - begin).rpartition(CLOCK_END)
                if found:
                    return int(head[-33:-17]) - int(head[-16:])
    return 0


def read_state(folder: str) -> dict[str, Any]:
    """What the folder's canary wrote about itself (`canary.json`); empty where none ever ran."""
    try:
        with open(os.path.join(folder, "canary.json"), encoding="utf-8") as file:
            state = json.load(file)
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def take_lock(folder: str) -> int | None:
    """The descriptor that makes this process the folder's only canary, or None if another one runs."""
    fd = os.open(os.path.join(folder, "canary.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _attempt in range(50):
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        if is_running(folder):
            break
        time.sleep(0.01)  # somebody only asked, as `is_running` does
    os.close(fd)
    return None


def is_running(folder: str) -> bool:
    """Whether a canary holds the folder now (no process id is trusted for this)."""
    try:
        fd = os.open(os.path.join(folder, "canary.lock"), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def write_state(settings: Settings) -> None:
    """Leave word of this canary beside its log."""
    state = {
        "pid": os.getpid(),
        "prefix": settings.prefix,
        "url": settings.url,
        "service": settings.service,
        "path": settings.path,
        "interval": settings.interval,
        "timeout": settings.timeout,
        "max_seconds": settings.max_seconds,
    }
    path = os.path.join(settings.folder, "canary.json")
    fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump(state, file)
    os.replace(path + ".new", path)


def detach() -> bool:
    """Leave the caller's session and process tree; False in the process that has to go."""
    if os.fork():
        return False
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    return True


def parse(argv: list[str]) -> tuple[Settings, bool]:
    """Read the arguments; the second value says whether to stay in the foreground."""
    parser = argparse.ArgumentParser(prog="canary_client", description="Write numbered rows through an edge.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--service", required=True)
    parser.add_argument("--path", help="default: /v1/<service>/rows")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--run-prefix", default="canary", help="first part of every key")
    parser.add_argument("--interval", type=float, default=0.02)
    parser.add_argument("--timeout", type=float, default=1.0)
    parser.add_argument("--workers", type=int, help="most writes under way at once; default: timeout / interval")
    parser.add_argument("--max-seconds", type=float, default=4 * 3600.0)
    parser.add_argument("--forever", action="store_true", help="no end; the logs are rotated")
    parser.add_argument("--rotate-bytes", type=int, default=ROTATE_BYTES)
    parser.add_argument("--ca-file")
    parser.add_argument("--resolver", help="address:port of the resolver that is asked for the edge's name")
    parser.add_argument("--authorization-stdin", action="store_true", help="read an Authorization header's value")
    parser.add_argument("--foreground", action="store_true")
    options = parser.parse_args(argv)
    try:
        return Settings(options), bool(options.foreground)
    except ValueError as error:
        parser.error(str(error))


def main(argv: list[str]) -> int:
    """Run as a program."""
    settings, foreground = parse(argv)
    os.makedirs(settings.folder, mode=0o700, exist_ok=True)
    report, answer = os.pipe() if not foreground else (os.open(os.devnull, os.O_RDONLY), os.dup(1))
    if not foreground and not detach():
        # The process that was started waits until the canary stands, says so, and is gone.
        os.close(answer)
        with os.fdopen(report) as pipe:
            said = pipe.read()
        sys.stdout.write(said)
        return 0 if said else 1
    os.close(report)
    lock = take_lock(settings.folder)
    if lock is None:
        say(answer, {**read_state(settings.folder), "attached": True}, foreground)
        return 0
    known, stamp = last_line(settings.folder)
    if known:  # one folder, one row of numbers: the log holds numbers only
        settings.prefix = read_state(settings.folder).get("prefix", settings.prefix)
    with contextlib.suppress(FileNotFoundError):
        os.remove(os.path.join(settings.folder, "stop"))
    write_state(settings)
    threading.stack_size(256 * 1024)
    canary = Canary(settings, known + RESTART_SKIP if known else 0, stamp)
    signal.signal(signal.SIGTERM, lambda _signal, _frame: canary.stop.set())
    signal.signal(signal.SIGINT, lambda _signal, _frame: canary.stop.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    say(answer, {**read_state(settings.folder), "attached": False}, foreground)
    canary.run()
    return 0


def say(answer: int, state: dict[str, Any], foreground: bool) -> None:
    """Tell the process that started this one, and let it go."""
    with os.fdopen(answer, "w") as pipe:
        json.dump(state, pipe)
    if not foreground:  # the caller reads our output to its end: give all of it back
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.close(null)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
