# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SSH signatures over bytes: made and checked by `ssh-keygen -Y`, so that a file, an agent or a hardware key can sign.

ssh-keygen reads a signature leniently: blanks in the armour, unused bits of its last letter, an older version number.
Here a signature has one spelling only, so that no byte of it can be changed unnoticed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import struct
import subprocess
import tempfile
from pathlib import Path

from .clock import parse, stamp
from .errors import BadInput, RecoveryError, StepFailed

PROGRAM = "ssh-keygen"
# A hardware key may wait for a finger, and nobody may be there.
SIGN_SECONDS = 20.0
CHECK_SECONDS = 30.0
BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
LINE = 70
MAGIC, VERSION = b"SSHSIG", 1


class SignatureRefused(RecoveryError):
    """The signature does not hold, or is not one by somebody who may sign."""

    kind = "refused"


def sign(data: bytes, key: Path | str, namespace: str, *, attended: bool = False) -> bytes:
    """Return the armoured signature over the bytes. Raises StepFailed.

    The key is a private key without a passphrase, or the public half of one that an agent or a token holds. Where a
    person attends, ssh-keygen asks on the terminal for a passphrase or a touch, and waits.
    """
    path = Path(key).expanduser()
    if not path.is_file():
        raise StepFailed(
            f"cannot sign with {path}",
            wanted="the file of an SSH key",
            observed="no such file, or not to be read",
            next_action="correct the path of the key",
        )
    seconds = None if attended else SIGN_SECONDS
    done = _call(["-Y", "sign", "-f", str(path), "-n", namespace], data, seconds)
    if done.returncode != 0:
        raise StepFailed(
            f"cannot sign with {path}",
            wanted="a key that opens" if attended else "a key without a passphrase, or one that ssh-agent holds",
            observed=_said(done),
            next_action="load the key into ssh-agent, or take another key",
        )
    return done.stdout


def fingerprint(armoured: bytes, namespace: str) -> str:
    """Return the fingerprint of the key that signed. Raises SignatureRefused unless it is spelt in the one way."""
    try:
        lines = armoured.decode("ascii").splitlines()
        blob = base64.b64decode("".join(lines[1:-1]), validate=True)
    except (UnicodeDecodeError, binascii.Error) as error:
        raise _refused("it is no armoured SSH signature", str(error)) from error
    if armour(blob) != armoured:
        raise _refused("its armour is not as ssh-keygen writes it", "other letters, blanks or lines")
    try:
        key, name = _fields(blob)
    except (struct.error, ValueError) as error:
        raise _refused("it is no SSH signature", str(error)) from error
    if name != namespace.encode():
        raise _refused("it was made for another purpose", repr(name))
    return _named(key)


def key_fingerprint(line: str) -> str | None:
    """Return the fingerprint of a public key as the line of a .pub file has it, None where it is no key."""
    try:
        return _named(base64.b64decode(line.split()[1], validate=True))
    except (IndexError, ValueError):
        return None


def armour(blob: bytes) -> bytes:
    """Write a signature as ssh-keygen does."""
    text = base64.b64encode(blob).decode()
    lines = [text[start : start + LINE] for start in range(0, len(text), LINE)]
    return "\n".join([BEGIN, *lines, END, ""]).encode()


def check(data: bytes, armoured: bytes, namespace: str) -> None:
    """Check that the signature was made over these bytes, whoever made it. Raises SignatureRefused."""
    with tempfile.TemporaryDirectory() as folder:
        file = _written(folder, armoured)
        done = _call(["-Y", "check-novalidate", "-n", namespace, "-s", file], data, CHECK_SECONDS)
    if done.returncode != 0:
        raise _refused("it was not made over these bytes", _said(done))


def signer(data: bytes, armoured: bytes, namespace: str, allowed: Path, at: str | None = None) -> str:
    """Return who of the allowed signers made it. Raises SignatureRefused; BadInput where the file cannot be read.

    `at` is when it was made: a key that has expired since was good then.
    """
    if not (allowed.is_file() and os.access(allowed, os.R_OK)):
        raise BadInput(
            f"cannot read the allowed signers {allowed}",
            wanted="a file as ssh-keygen(1) describes under ALLOWED SIGNERS",
            observed="no such file, or not to be read",
            next_action="give the file with the public keys of those who may sign",
        )
    # A plain stamp is local time, and only newer versions know the mark of UTC.
    when = ["-O", f"verify-time={_compact(at)}"] if at else []
    with tempfile.TemporaryDirectory() as folder:
        file = _written(folder, armoured)
        found = _call(["-Y", "find-principals", "-s", file, "-f", str(allowed), *when], b"", CHECK_SECONDS)
        names = found.stdout.decode(errors="replace").splitlines()
        if found.returncode != 0 or not names:
            key = fingerprint(armoured, namespace)
            raise _refused(f"the key {key} is not one of the allowed signers", _said(found))
        name = names[0].split(",")[0]
        identity = ["-I", name, "-n", namespace, "-s", file]
        done = _call(["-Y", "verify", "-f", str(allowed), *identity, *when], data, CHECK_SECONDS)
    if done.returncode != 0:
        raise _refused(f"it does not hold as one of {name}", _said(done))
    return name


def _fields(blob: bytes) -> tuple[bytes, bytes]:
    """Take a signature apart: the public key and the namespace. Raises struct.error or ValueError."""
    if blob[: len(MAGIC)] != MAGIC or struct.unpack_from(">I", blob, len(MAGIC))[0] != VERSION:
        raise ValueError(f"it does not begin with {MAGIC.decode()} and version {VERSION}")
    offset, fields = len(MAGIC) + 4, []
    while offset < len(blob):
        (size,) = struct.unpack_from(">I", blob, offset)
        offset += 4 + size
        fields.append(blob[offset - size : offset])
    if offset != len(blob) or len(fields) != 5 or fields[2]:
        raise ValueError("its parts are not key, namespace, nothing, hash and signature")
    return fields[0], fields[1]


def _named(key: bytes) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def _call(arguments: list[str], data: bytes, seconds: float | None) -> subprocess.CompletedProcess[bytes]:
    """Run ssh-keygen. With a limit there is nobody to ask: a passphrase that it lacks must not hold up a run."""
    alone = seconds is not None
    try:
        return subprocess.run(
            [PROGRAM, *arguments],
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if alone else None,
            timeout=seconds,
            check=False,
            start_new_session=alone,
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"} | ({"SSH_ASKPASS_REQUIRE": "never"} if alone else {}),
        )
    except OSError as error:
        raise StepFailed(
            f"{PROGRAM} cannot be run",
            wanted="OpenSSH 8.9 or newer",
            observed=error.strerror or "no such program",
            next_action="install the OpenSSH client (package openssh-client)",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise StepFailed(
            f"{PROGRAM} did not answer",
            wanted=f"an answer within {error.timeout:g} s",
            observed="none, as from a hardware key that nobody touched",
            next_action="run it again with somebody at the key, or take another key",
        ) from error


def _written(folder: str, armoured: bytes) -> str:
    path = Path(folder) / "signature"
    path.write_bytes(armoured)
    return str(path)


def _compact(at: str) -> str:
    return "".join(letter for letter in stamp(parse(at))[:19] if letter.isdigit())


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Give the last thing ssh-keygen said."""
    lines = [line.strip() for line in (done.stderr or b"").decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {done.returncode}"


def _refused(what: str, observed: str) -> SignatureRefused:
    return SignatureRefused(what, wanted="the signature as it was made, by somebody who may sign", observed=observed)
