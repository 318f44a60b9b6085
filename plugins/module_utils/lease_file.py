# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lease in files: for one workstation whose users share a folder. Other machines do not see it.

Each write is a file of the next number, and a hard link makes it only if that number is still free. A lock would do on
a good day, but whoever is frozen while it holds one keeps everybody from taking over.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from .errors import PreconditionFailed
from .lease import GATE, Holder, HomeSilent, Record

DEFAULT_FOLDER = "~/.local/state/platform.recovery"
DRAFT = ".draft-"
# What a writer that was killed left behind; one that is frozen for longer may miss its draft, and fails.
DRAFT_SECONDS = 3600.0
ATTEMPTS = 100


class FileStore:
    """Keeps records as numbered files of JSON; the highest number counts, and is the version."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        """Name the place."""
        return f"folder {self.folder}"

    def read(self) -> tuple[Record, int]:
        """Give the newest record."""
        for _ in range(ATTEMPTS):
            version = self._newest()
            if not version:
                return Record(), 0
            try:
                content = self._path(version).read_bytes()
            except FileNotFoundError:
                continue  # a newer one has come, and somebody tidied up
            except OSError as error:
                raise self._silent(error) from error
            return self._parsed(content, version), version
        raise self._silent(OSError("it changes all the time"))

    def write(self, record: Record, version: int) -> bool:
        """Write the next number; False if somebody else did."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            draft = self._draft(json.dumps(asdict(record), indent=1).encode() + b"\n")
            try:
                os.link(draft, self._path(version + 1))
            except FileExistsError:
                return False
            finally:
                draft.unlink(missing_ok=True)
            # A number may be free because it is long past: then what was written counts for nothing.
            if self._newest() > version + 1:
                return False
            self._tidy(version)
        except OSError as error:
            raise self._silent(error) from error
        return True

    def close(self) -> None:
        """Nothing is kept open."""

    def _newest(self) -> int:
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise self._silent(error) from error
        return max((int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit()), default=0)

    def _path(self, version: int) -> Path:
        return self.folder / f"{version:010d}.json"

    def _draft(self, content: bytes) -> Path:
        handle, draft = tempfile.mkstemp(dir=self.folder, prefix=DRAFT)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
            # Others who share the folder must be able to read who holds it.
            os.fchmod(handle, 0o644)
        return Path(draft)

    def _tidy(self, version: int) -> None:
        """Remove what does not count any more; the newest always stays."""
        for path in self.folder.iterdir():
            old = path.suffix == ".json" and path.stem.isdigit() and int(path.stem) <= version
            with contextlib.suppress(OSError):
                if old or (path.name.startswith(DRAFT) and path.stat().st_mtime < time.time() - DRAFT_SECONDS):
                    path.unlink()

    def _parsed(self, content: bytes, version: int) -> Record:
        try:
            data = json.loads(content)
            known = data.pop("holder")
            return Record(holder=Holder(**known) if known else None, **data)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise PreconditionFailed(
                f"The lease {self._path(version)} cannot be read",
                wanted="a lease that this version wrote",
                observed="something else",
                next_action=f"make sure that no run is going on, then remove {self.folder} and run again",
                gate=GATE,
            ) from None

    def _silent(self, error: OSError) -> HomeSilent:
        return HomeSilent(
            f"The lease cannot be kept in {self.folder}",
            wanted="a folder that can be read and written",
            observed=error.strerror or str(error),
            next_action="correct the folder's permissions, or name another one in lease.folder; nothing was touched",
            gate=GATE,
        )
