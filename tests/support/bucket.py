# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket in memory that behaves as object storage does, and can be taken down, or can lose its answers."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from ansible_collections.platform.recovery.plugins.module_utils.sink import Address, SinkDown


@dataclass
class Bucket:
    objects: dict[str, bytes] = field(default_factory=dict)
    written: dict[str, float] = field(default_factory=dict)
    down: str = ""
    # The next writes happen, but nobody hears of it.
    unheard: int = 0
    conditional: bool = True
    calls: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, address: Address, run_id: str | None = None) -> BucketStore:
        folder = address.folder(run_id)
        return BucketStore(self, f"{folder}/" if folder else "")

    def call(self, what: str) -> None:
        self.calls.append(what)
        if self.down:
            raise SinkDown(self.down)


@dataclass
class BucketStore:
    bucket: Bucket
    root: str

    def secrets(self) -> list[str]:
        return ["planted-secret-key"]

    def names(self, below: str) -> list[str]:
        self.bucket.call("names")
        found = (name for name in self.bucket.objects if name.startswith(self.root + below))
        return sorted(name.removeprefix(self.root) for name in found)

    def runs(self) -> list[str]:
        self.bucket.call("runs")
        names = [name.removeprefix(self.root) for name in self.bucket.objects if name.startswith(self.root)]
        return sorted({name.partition("/")[0] for name in names})

    def create(self, name: str, body: bytes) -> bool:
        self.bucket.call(f"create {name}")
        with self.bucket.lock:
            if self.root + name in self.bucket.objects and self.bucket.conditional:
                return False
            self._write(name, body)
        if self.bucket.unheard:
            self.bucket.unheard -= 1
            raise SinkDown("it does not answer in time")
        return True

    def put(self, name: str, body: bytes) -> None:
        self.bucket.call(f"put {name}")
        self._write(name, body)

    def get(self, name: str) -> bytes | None:
        self.bucket.call(f"get {name}")
        return self.bucket.objects.get(self.root + name)

    def read(self, names: list[str]) -> list[bytes]:
        return [self.get(name) or b"" for name in names]

    def age(self, name: str) -> float | None:
        self.bucket.call(f"age {name}")
        at = self.bucket.written.get(self.root + name)
        return None if at is None else time.time() - at

    def _write(self, name: str, body: bytes) -> None:
        self.bucket.objects[self.root + name] = body
        self.bucket.written[self.root + name] = time.time()
