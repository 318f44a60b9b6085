# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundle: whole or named broken, signed by somebody who may or not called signed."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import evidence, report, signature
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, StepFailed
from ansible_collections.platform.recovery.plugins.module_utils.evidence import (
    BUNDLE,
    MANIFEST,
    NAMESPACE,
    SIGNATURE,
    conclude,
    pack,
    seal,
    sign_head,
    unpack,
    verify,
    verify_folder,
)
from ansible_collections.platform.recovery.plugins.module_utils.journal import GENESIS, Journal, canonical, digest
from tests.support.keys import make_key, public

SOURCE = Path(evidence.__file__)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("controller", "stranger", "locked"):
        make_key(folder / name, "much too secret" if name == "locked" else "")
    key = public(folder / "controller")
    (folder / "allowed").write_text(f'auditor@example.com namespaces="{NAMESPACE}" {key}')
    (folder / "expired").write_text(f'auditor@example.com valid-before="20200101" {key}')
    (folder / "later").write_text(f'auditor@example.com valid-after="20200101" {key}')
    (folder / "elsewhere").write_text(f'auditor@example.com namespaces="git" {key}')
    return folder


def run_folder(root: Path, key: Path | None = None, *, small: bool = False, approved: bool = False) -> Path:
    folder = root / "run-1"
    journal = Journal.open(folder, "run-1")
    journal.append(
        "run_started",
        playbook="database-failover",
        mode="failover",
        target="us-east-1",
        versions={"ansible-core": "2.19"},
        evidence_key=str(key) if key else None,
    )
    journal.append("provenance", collection={"sha256": "ab", "listing": ["ab  roles/größe.yml"]})
    if approved:
        said = sign_head(journal, journal.append("decision", gate="approvals", verdict="pass"))
        assert said == (["The journal is signed up to record 3"] if key else [])
    journal.append("phase_started", phase="verify", title="Verify")
    journal.append("run_ended", outcome="recovered")
    report.render(folder)
    if small:
        (folder / "report.html").write_bytes(b"<p>as the real one, but for its size</p>")
        (folder / "report.json").write_bytes(b"{}")
    return folder


@pytest.fixture
def signed(tmp_path: Path, keys: Path) -> Path:
    folder = run_folder(tmp_path, keys / "controller")
    assert conclude(folder) == []
    return folder


def test_a_signed_bundle_holds_on_another_machine(signed: Path, keys: Path, tmp_path: Path) -> None:
    data = (signed / BUNDLE).read_bytes()
    verdict = verify(data, keys / "allowed")
    assert (verdict.intact, verdict.signed, verdict.signature) == (True, True, "valid")
    assert (verdict.signer, verdict.run_id, verdict.records) == ("auditor@example.com", "run-1", 4)
    assert verdict == verify_folder(signed, keys / "allowed")
    # Any tar unpacks it, and ssh-keygen alone checks it.
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == list(evidence.ORDER)
        archive.extractall(tmp_path / "out", filter="data")
    assert (tmp_path / "out/journal.jsonl").read_bytes() == (signed / "journal.jsonl").read_bytes()
    with (tmp_path / "out" / MANIFEST).open("rb") as manifest:
        command = ["ssh-keygen", "-Y", "verify", "-f", keys / "allowed", "-I", "auditor@example.com", "-n", NAMESPACE]
        subprocess.run([*command, "-s", tmp_path / "out" / SIGNATURE], stdin=manifest, check=True)


def test_what_is_in_it(signed: Path) -> None:
    members = unpack((signed / BUNDLE).read_bytes())
    manifest, origin = json.loads(members[MANIFEST]), json.loads(members["provenance.json"])
    assert (manifest["run_id"], manifest["outcome"], manifest["signed"]) == ("run-1", "recovered", True)
    assert manifest["head"]["hash"] == json.loads(members["report.json"])["journal"]["last_hash"]
    assert origin["versions"] == {"ansible-core": "2.19"}
    assert origin["collection"]["listing"] == ["ab  roles/größe.yml"]


@pytest.mark.parametrize("by", ["controller", None])
def test_any_byte_that_is_changed_is_found_and_its_place_named(tmp_path: Path, keys: Path, by: str | None) -> None:
    folder = run_folder(tmp_path, keys / by if by else None, small=True)
    assert conclude(folder) == []
    data = (folder / BUNDLE).read_bytes()
    assert verify(data).intact
    for mask in (0x01, 0xFF):
        for place in range(len(data)):
            changed = bytearray(data)
            changed[place] ^= mask
            verdict = verify(bytes(changed))
            assert not verdict.intact, (place, mask)
            assert verdict.place, (place, mask)
            assert verdict.flaw, (place, mask)
            assert not verdict.signed, (place, mask)


def test_the_first_record_that_does_not_hold_is_named(signed: Path) -> None:
    data = (signed / BUNDLE).read_bytes()
    verdict = verify(data.replace(b'"title":"Verify"', b'"title":"Verifx"', 1))
    assert (verdict.intact, verdict.first_bad, verdict.place) == (False, 3, "journal.jsonl, record 3")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + b"\0",
        lambda data: data + bytes(512),
        lambda data: data[:-1],
        lambda data: data[:-512],
        lambda data: data[:700],
        lambda data: data[:0],
        lambda data: b"x" * len(data),
        lambda data: data + data,
    ],
)
def test_what_is_added_or_cut_off_is_found(signed: Path, change: Callable[[bytes], bytes]) -> None:
    verdict = verify(change((signed / BUNDLE).read_bytes()))
    assert not verdict.intact
    assert verdict.place


def repacked(data: bytes, change: Callable[[dict[str, bytes]], Any]) -> bytes:
    members = unpack(data)
    change(members)
    return pack(members)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda members: members.pop("report.html"), "manifest.json"),
        (lambda members: members.pop("journal.jsonl"), "journal.jsonl"),
        (lambda members: members.pop("manifest.json"), "manifest.json"),
        (lambda members: members.update({"metrics.prom": b"x 1\n"}), "metrics.prom"),
        (lambda members: members.update({"provenance.json": b"{}\n"}), "provenance.json"),
        (lambda members: members.update({"manifest.json": b"[]"}), "manifest.json"),
        (lambda members: members.pop(SIGNATURE), "manifest.json"),
        (lambda members: members.update({SIGNATURE: members[SIGNATURE] + b"\n"}), SIGNATURE),
        (lambda members: members.update({SIGNATURE: members[SIGNATURE].replace(b"\n", b"\r\n")}), SIGNATURE),
        (lambda members: members.update({SIGNATURE: b""}), SIGNATURE),
    ],
)
def test_a_bundle_that_was_packed_again(signed: Path, change: Any, place: str) -> None:
    verdict = verify(repacked((signed / BUNDLE).read_bytes(), change))
    assert not verdict.intact
    assert str(verdict.place).startswith(place)


def test_a_whole_story_made_anew_is_not_signed_by_who_may(tmp_path: Path, keys: Path) -> None:
    folder = run_folder(tmp_path, keys / "stranger")
    conclude(folder)
    data = (folder / BUNDLE).read_bytes()
    verdict = verify(data, keys / "allowed")
    assert (verdict.intact, verdict.signed, verdict.signature) == (True, False, "refused")
    assert "not one of the allowed signers" in str(verdict.flaw)
    verdict = verify(data)
    assert (verdict.intact, verdict.signed, verdict.signature) == (True, False, "unchecked")


@pytest.mark.parametrize(
    ("allowed", "valid"), [("allowed", True), ("later", True), ("expired", False), ("elsewhere", False)]
)
def test_the_limits_of_an_allowed_key_hold(signed: Path, keys: Path, allowed: str, valid: bool) -> None:
    verdict = verify((signed / BUNDLE).read_bytes(), keys / allowed)
    assert (verdict.intact, verdict.signed, verdict.signature == "valid") == (True, valid, valid)


def test_a_signature_over_another_bundle_does_not_hold(signed: Path, tmp_path: Path, keys: Path) -> None:
    other = run_folder(tmp_path / "other", keys / "controller")
    conclude(other)
    foreign = unpack((other / BUNDLE).read_bytes())[SIGNATURE]
    verdict = verify(repacked((signed / BUNDLE).read_bytes(), lambda members: members.update({SIGNATURE: foreign})))
    assert (verdict.intact, verdict.place) == (False, SIGNATURE)


def test_a_signature_for_another_purpose_does_not_hold(signed: Path, keys: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        members[SIGNATURE] = signature.sign(members[MANIFEST], keys / "controller", "git")

    verdict = verify(repacked((signed / BUNDLE).read_bytes(), change))
    assert (verdict.intact, verdict.place) == (False, SIGNATURE)
    assert "another purpose" in str(verdict.flaw)


def test_without_a_key_report_and_bundle_say_that_nothing_is_signed(tmp_path: Path, keys: Path) -> None:
    folder = run_folder(tmp_path)
    assert conclude(folder) == []
    verdict = verify((folder / BUNDLE).read_bytes(), keys / "allowed")
    assert (verdict.intact, verdict.signed, verdict.signature) == (True, False, "none")
    assert "no key is configured" in str(verdict.flaw)
    assert "NOT SIGNED: no key is configured" in (folder / "report.html").read_text()
    assert "NOT SIGNED: no key is configured" in report.text(report.load(folder), folder=folder)
    assert verdict.words()[1].startswith("UNSIGNED.")


@pytest.mark.parametrize("key", ["nowhere", "locked"])
def test_a_key_that_cannot_sign_is_journalled_and_said(tmp_path: Path, keys: Path, key: str) -> None:
    folder = run_folder(tmp_path, keys / key)
    [line] = conclude(folder)
    assert "NOT SIGNED" in line
    assert [record["event"] for record in Journal(folder, "run-1").records()][-1] == "evidence_unsigned"
    assert "NOT SIGNED: cannot sign with" in (folder / "report.html").read_text()
    verdict = verify_folder(folder, keys / "allowed")
    assert (verdict.intact, verdict.signed, verdict.uncovered) == (True, False, 0)
    before = (folder / BUNDLE).read_bytes()
    assert conclude(folder) == [line]
    assert (folder / BUNDLE).read_bytes() == before
    # By hand it can be signed afterwards, and a key that cannot is then an error.
    with pytest.raises(StepFailed):
        seal(folder, str(keys / key))
    assert seal(folder, str(keys / "controller")).key
    assert verify_folder(folder, keys / "allowed").signed


def test_the_head_that_was_signed_at_an_approval_holds_before_and_after_the_end(tmp_path: Path, keys: Path) -> None:
    folder = run_folder(tmp_path, keys / "controller", approved=True)
    verdict = verify_folder(folder, keys / "allowed")  # as of a run whose controller died
    assert (verdict.intact, verdict.signed, verdict.signature, verdict.signed_until) == (True, False, "none", 3)
    assert "Up to record 3 it was signed at an approval" in verdict.words()[0]
    conclude(folder)
    verdict = verify((folder / BUNDLE).read_bytes(), keys / "allowed")
    assert (verdict.intact, verdict.signed, verdict.signed_until) == (True, True, 3)
    assert "signed up to record 3" in (folder / "report.html").read_text()


def test_a_good_run_does_not_stand_for_another(tmp_path: Path, keys: Path) -> None:
    folder = run_folder(tmp_path, keys / "controller")
    conclude(folder)
    shutil.copytree(folder, tmp_path / "run-2")
    verdict = verify_folder(tmp_path / "run-2", keys / "allowed")
    assert (verdict.intact, verdict.signed, verdict.first_bad) == (False, False, 1)
    assert "the journal of run run-1, in the folder of run run-2" in str(verdict.flaw)


def made_anew(folder: Path, change: Callable[[list[dict[str, Any]]], Any]) -> Path:
    """Write the journal again with another story in it, the same times, and hashes that are right."""
    records = list(Journal(folder, "run-1").records())
    change(records)
    previous, lines = GENESIS, []
    for record in records:
        record["previous"] = previous
        record["hash"] = previous = digest(record)
        lines.append(canonical(record) + b"\n")
    (folder / "journal.jsonl").write_bytes(b"".join(lines))
    report.render(folder)
    return folder


def test_a_journal_made_anew_with_the_same_story_is_the_same(tmp_path: Path, keys: Path) -> None:
    folder = made_anew(run_folder(tmp_path, keys / "controller", approved=True), list)
    assert verify_folder(folder).signed_until == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda records: records[0]["data"].update(target="us-west-2"),
        lambda records: records[2]["data"].update(verdict="override"),
        lambda records: records[3]["data"].update(record=2),
        lambda records: records[3]["data"].update(record=4),
        lambda records: records[3]["data"].update(record=0),
        lambda records: records[3]["data"].update(record="3"),
        lambda records: records[3]["data"].update(signature="none"),
        lambda records: records[3]["data"].pop("signature"),
    ],
)
def test_a_journal_made_anew_does_not_fit_the_head_that_was_signed(tmp_path: Path, keys: Path, change: Any) -> None:
    folder = made_anew(run_folder(tmp_path, keys / "controller", approved=True), change)
    assert Journal(folder, "run-1").verify() is None
    broken = [verify_folder(folder)]
    conclude(folder)  # even if the key that signs the end is at hand
    broken.append(verify((folder / BUNDLE).read_bytes()))
    assert [(v.intact, v.first_bad, v.place) for v in broken] == [(False, 4, "journal.jsonl, record 4")] * 2


def test_a_head_signed_by_who_may_not_is_refused(tmp_path: Path, keys: Path) -> None:
    folder = run_folder(tmp_path, keys / "stranger", approved=True)
    refused = [verify_folder(folder, keys / "allowed")]
    seal(folder, str(keys / "controller"))
    refused.append(verify_folder(folder, keys / "allowed"))
    for verdict in refused:
        assert (verdict.intact, verdict.signed, verdict.signature) == (True, False, "refused")
        assert verdict.place == "journal.jsonl, record 4"
        assert "NOT SIGNED BY ANYBODY WHO MAY" in verdict.words()[1]


@pytest.mark.parametrize("secret", [None, "SSH SIGNATURE"])
def test_a_head_that_cannot_be_signed_stops_nothing_and_is_said(tmp_path: Path, keys: Path, secret: str | None) -> None:
    folder = run_folder(tmp_path, keys / ("controller" if secret else "nowhere"))
    journal = Journal(folder, "run-1")
    journal.redact([secret] if secret else [])
    [line] = sign_head(journal, journal.append("decision", gate="approvals", verdict="pass"))
    assert "NOT SIGNED at this approval" in line
    assert [record["event"] for record in journal.records()][-2:] == ["decision", "observation"]
    assert verify_folder(folder).intact


def test_a_bundle_is_made_once_and_again_when_the_run_went_on(signed: Path, keys: Path) -> None:
    before = (signed / BUNDLE).stat().st_mtime_ns
    assert seal(signed).key
    assert (signed / BUNDLE).stat().st_mtime_ns == before
    Journal(signed, "run-1").append("run_resumed")
    verdict = verify_folder(signed, keys / "allowed")
    assert (verdict.intact, verdict.signed, verdict.uncovered, verdict.records) == (True, False, 1, 5)
    report.render(signed)
    seal(signed)
    assert verify_folder(signed, keys / "allowed").signed


@pytest.mark.parametrize("name", ["report.json", "report.html", "metrics.prom"])
def test_a_report_that_was_changed_in_the_folder_is_named(signed: Path, name: str) -> None:
    (signed / name).write_bytes((signed / name).read_bytes() + b" ")
    verdict = verify_folder(signed)
    assert (verdict.intact, verdict.place) == (False, name)


def test_a_journal_that_was_made_anew_in_the_folder_is_named(signed: Path, tmp_path: Path) -> None:
    other = run_folder(tmp_path / "other")
    (signed / "journal.jsonl").write_bytes((other / "journal.jsonl").read_bytes())
    verdict = verify_folder(signed)
    assert (verdict.intact, verdict.first_bad) == (False, 1)


def test_a_torn_line_is_part_of_the_evidence(tmp_path: Path, keys: Path) -> None:
    folder = run_folder(tmp_path, keys / "controller")
    with (folder / "journal.jsonl").open("ab") as stream:
        stream.write(b'{"schema":1,"se')
    report.render(folder)
    conclude(folder)
    data = (folder / BUNDLE).read_bytes()
    assert verify(data, keys / "allowed").signed
    verdict = verify(data.replace(b'{"schema":1,"se\0', b'{"schema":1,"sf\0'))
    assert (verdict.intact, verdict.place) == (False, "journal.jsonl")


def test_a_disk_that_is_full_does_not_fail_a_recovery(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Journal(signed, "run-1").append("observation")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    before = (signed / BUNDLE).read_bytes()
    monkeypatch.setattr(Path, "write_bytes", full)
    [line] = conclude(signed)
    assert "No space left" in line
    assert (signed / BUNDLE).read_bytes() == before
    assert not list(signed.glob(f".{BUNDLE}*"))


def test_the_allowed_signers_must_be_there(signed: Path, keys: Path) -> None:
    with pytest.raises(BadInput, match="cannot read the allowed signers"):
        verify((signed / BUNDLE).read_bytes(), keys / "nowhere")


def test_it_needs_nothing_but_the_standard_library() -> None:
    root = SOURCE.parents[5]
    program = (
        f"import sys; sys.path.insert(0, {str(root)!r})\n"
        "import ansible_collections.platform.recovery.plugins.module_utils.evidence\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('ansible', 'yaml')]"
    )
    subprocess.run([sys.executable, "-I", "-c", program], check=True)


@pytest.fixture(autouse=True)
def _no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
