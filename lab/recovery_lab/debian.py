# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian packages without root: downloaded and unpacked into a folder; no service of theirs ever starts."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from .errors import LabError
from .identity import last_lines


def unpack(package: str, target: Path) -> None:
    """Unpack the newest version of a package below `target`, without what it depends on."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise LabError(f"{package}: this machine has no apt-get. Install the like by its own means.")
    with tempfile.TemporaryDirectory() as name:
        downloads = Path(name)
        # Root's sandbox user could not write here.
        options = ["-q", "-o", "APT::Sandbox::User=root"]
        try:
            _run(["apt-get", *options, "download", package], downloads)
        except LabError:
            # The machine's package lists may be missing; lists of our own need no root.
            (downloads / "lists/partial").mkdir(parents=True)
            settings = (f"Dir::State::lists={downloads}/lists", f"Dir::Cache={downloads}", "Debug::NoLocking=1")
            options += [word for setting in settings for word in ("-o", setting)]
            _run(["apt-get", *options, "update"], downloads)
            _run(["apt-get", *options, "download", package], downloads)
        for path in downloads.glob("*.deb"):
            _run(["dpkg", "-x", str(path), str(target)], downloads)


def _run(words: list[str], cwd: Path) -> None:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"`{' '.join(words)}` failed: {last_lines(done.stderr)}")


# Which package brings a library that the unpacked programs ask for; the first name that exists is taken.
LIBRARIES = {
    "libxml2.so.2": "libxml2",
    "libreadline.so.8": "libreadline8 libreadline8t64",
    "libtinfo.so.6": "libtinfo6",
    "libgssapi_krb5.so.2": "libgssapi-krb5-2",
    "libkrb5.so.3": "libkrb5-3",
    "libkrb5support.so.0": "libkrb5support0",
    "libk5crypto.so.3": "libk5crypto3",
    "libcom_err.so.2": "libcom-err2",
    "libkeyutils.so.1": "libkeyutils1",
    "libssl.so.3": "libssl3 libssl3t64",
    "libcrypto.so.3": "libssl3 libssl3t64",
    "liblz4.so.1": "liblz4-1",
    "libzstd.so.1": "libzstd1",
    "libstdc++.so.6": "libstdc++6",
    "libgcc_s.so.1": "libgcc-s1",
    "liblzma.so.5": "liblzma5",
    "libdnssec.so.9": "libdnssec9 libdnssec9t64",
    "libzscanner.so.4": "libzscanner4 libzscanner4t64",
    "liburcu.so.8": "liburcu8 liburcu8t64",
    "liblmdb.so.0": "liblmdb0",
    "libcap-ng.so.0": "libcap-ng0",
    "libgnutls.so.30": "libgnutls30 libgnutls30t64",
    "libxdp.so.1": "libxdp1",
    "libbpf.so.1": "libbpf1",
    "libelf.so.1": "libelf1 libelf1t64",
    "libmnl.so.0": "libmnl0",
    "libp11-kit.so.0": "libp11-kit0",
    "libidn2.so.0": "libidn2-0",
    "libunistring.so.2": "libunistring2",
    "libunistring.so.5": "libunistring5",
    "libtasn1.so.6": "libtasn1-6",
    "libhogweed.so.6": "libhogweed6 libhogweed6t64",
    "libnettle.so.8": "libnettle8 libnettle8t64",
    "libgmp.so.10": "libgmp10",
    "liblzf.so.1": "liblzf1",
    "libjemalloc.so.2": "libjemalloc2",
    "libatomic.so.1": "libatomic1",
    "libhiredis.so.0.14": "libhiredis0.14",
    "liblua5.1.so.0": "liblua5.1-0",
    "libsystemd.so.0": "libsystemd0",
    "libcap.so.2": "libcap2",
    "libgcrypt.so.20": "libgcrypt20",
    "libgpg-error.so.0": "libgpg-error0",
}
# Libraries whose version is part of the package's name.
VERSIONED = {r"libicu(?:uc|i18n|data)\.so\.(\d+)": "libicu{0}", r"libknot\.so\.(\d+)": "libknot{0} libknot{0}t64"}


def packages_of(library: str) -> str:
    """Name the packages that may bring a library; empty if it is not known. Some names have the version in them."""
    for pattern, names in VERSIONED.items():
        if found := re.fullmatch(pattern, library):
            return names.format(found.group(1))
    return LIBRARIES.get(library, "")


def missing_libraries(programs: list[Path], library_path: str) -> list[str]:
    """List the shared libraries that these programs ask for and the machine does not have."""
    missing = set()
    for program in programs:
        environment = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": library_path}
        done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False, env=environment)
        missing |= {line.split()[0] for line in done.stdout.splitlines() if "not found" in line}
    return sorted(missing)


def add_libraries(programs: list[Path], target: Path) -> str:
    """Unpack what the programs miss below `target`; give the library path with which they run."""
    paths = [target / "usr/lib/x86_64-linux-gnu", target / "lib/x86_64-linux-gnu"]
    library_path = ":".join(str(path) for path in paths)
    for _ in range(4):  # a library may ask for others in turn
        missing = missing_libraries(programs, library_path)
        if not missing:
            return library_path if any(path.is_dir() for path in paths) else ""
        if not all(map(packages_of, missing)):
            break
        for names in sorted(set(map(packages_of, missing))):
            _unpack_first(names.split(), target)
    raise LabError(f"{programs[0].name} needs {', '.join(missing)}: install the packages that bring them.")


def _unpack_first(names: list[str], target: Path) -> None:
    for name in names[:-1]:
        try:
            return unpack(name, target)
        except LabError:
            continue
    return unpack(names[-1], target)
