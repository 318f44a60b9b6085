# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Kafka runs on: a Java of the machine, and Kafka's own archives, fetched once by Maven and held against sums."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from . import cache, identity
from .errors import LabError
from .programs import Progress, chosen_folders
from .state import clone_folder

JAVA_VERSION = 17
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
# How RECOVERY_LAB_BIN may hold the archives.
FOLDER = "kafka-libs"


def fetch(say: Progress) -> dict[str, Path]:
    """Give the Java and the folder of archives with which brokers and mirrors run."""
    return {"java": java(), FOLDER: archives(say)}


def java() -> Path:
    """Give a Java that is new enough and that the lab's user may run."""
    homes = [os.environ.get("JAVA_HOME", ""), *map(str, sorted(Path("/usr/lib/jvm").glob("*")))]
    found = [folder / "java" for folder in chosen_folders()]
    found += [Path(home) / "bin/java" for home in homes if home]
    found += [Path(path) for path in (shutil.which("java"), "/usr/bin/java") if path]
    seen = {}
    for path in found:
        if path.is_file() and identity.reachable(path):
            seen[str(path)] = version_of(path)
            if seen[str(path)] >= JAVA_VERSION:
                return path
    shown = ", ".join(f"{path} is {version}" for path, version in seen.items()) or "none is installed"
    raise LabError(
        f"Kafka needs Java {JAVA_VERSION} or newer, and {shown}. Install it (`apt-get install "
        f"openjdk-17-jre-headless`), name it by JAVA_HOME, or bring up another profile."
    )


def version_of(program: Path) -> int:
    """Ask a Java for its version: 17, or 0 if it does not say."""
    done = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)
    return parse_version(done.stderr)


def parse_version(text: str) -> int:
    """Read the first number of what `java -version` says; the old ones called themselves 1.8."""
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found.group(1)) if found else 0


def archives(say: Progress) -> Path:
    """Give the folder of Kafka's archives: a chosen one, or the one that Maven has filled."""
    for folder in chosen_folders():
        if (folder / FOLDER).is_dir():
            return folder / FOLDER
    source = clone_folder() / "lab/programs/kafka"
    digest = hashlib.sha256(b"\0".join((source / name).read_bytes() for name in ("pom.xml", "sums.txt")))
    return cache.entry(f"{FOLDER}/{digest.hexdigest()[:16]}", lambda target: _fetch(source, target, say))


def _fetch(source: Path, target: Path, say: Progress) -> None:
    maven = shutil.which("mvn")
    if not maven:
        raise LabError(
            f"Kafka's archives are fetched by Maven, which is not installed. Install it (`apt-get install maven`), or "
            f"name a folder that holds them as {FOLDER} by RECOVERY_LAB_BIN."
        )
    sums = read_sums(source / "sums.txt")
    words: list[str | Path] = [maven, "--batch-mode", "--strict-checksums", "--file", source / "pom.xml", PLUGIN]
    words += [f"-DoutputDirectory={target}", "-DincludeScope=runtime"]
    last: list[str] = []
    done = 0
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        for line in run.stdout or ():
            last = [*last[-20:], line]
            if re.search(r"Downloaded from .*\.jar", line):
                done += 1
                say(f"fetching Kafka: {done} of {len(sums)} archives")
    if run.returncode:
        raise LabError(f"Kafka's archives could not be fetched: {identity.last_lines(''.join(last))}")
    require_sums(target, sums)


def read_sums(path: Path) -> dict[str, str]:
    """Read the pinned SHA-256 sums by file name."""
    rows = [line.split() for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {name: digest for digest, name in rows}


def require_sums(folder: Path, sums: dict[str, str]) -> None:
    """Refuse archives that are not exactly the pinned ones. Raises LabError."""
    seen = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.jar")}
    wrong = sorted(name for name in seen.keys() | sums.keys() if seen.get(name) != sums.get(name))
    if wrong:
        raise LabError(f"These archives of Kafka are not the pinned ones: {', '.join(wrong)}. They are not used.")
