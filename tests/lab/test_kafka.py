# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kafka in the lab: what it runs on, where it is reached, and which mirror runs."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from recovery_lab import addresses, kafka, kafka_programs, mirror_maker, topology
from recovery_lab.errors import LabError
from recovery_lab.mirror_maker import End
from recovery_lab.state import clone_folder
from recovery_lab.survey import Row, Survey

FULL = topology.build("full")


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "25" 2025-09-16', 25),
        ('java version "1.8.0_442"', 8),
        ("sh: java: not found", 0),
    ],
)
def test_the_version_of_a_java(said: str, version: int) -> None:
    assert kafka_programs.parse_version(said) == version


def test_an_old_java_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_programs, "version_of", lambda _path: 11)
    with pytest.raises(LabError, match="needs Java 17"):
        kafka_programs.java()


def test_archives_that_are_not_the_pinned_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jar").write_bytes(b"a")
    good = {"a.jar": hashlib.sha256(b"a").hexdigest()}
    kafka_programs.require_sums(tmp_path, good)
    for sums in ({"a.jar": "0"}, {**good, "b.jar": "0"}, {}):
        with pytest.raises(LabError, match=r"[ab]\.jar"):
            kafka_programs.require_sums(tmp_path, sums)


def test_every_archive_has_a_sum() -> None:
    sums = kafka_programs.read_sums(clone_folder() / "lab/programs/kafka/sums.txt")
    assert len(sums["kafka_2.13-3.9.1.jar"]) == 64
    assert "connect-mirror-3.9.1.jar" in sums


def test_each_origin_is_told_the_address_at_which_it_reaches_a_broker() -> None:
    told = {one.name: f"{one.advertised}:{one.port}" for one in kafka.listeners("us-west-2", FULL.regions)}
    assert told == {"LOCAL": "127.1.0.62:9092", "OPERATOR": "127.101.0.62:9094", "US_EAST_1": "127.121.0.62:9096"}
    links = {link.origin: link for link in FULL.links if link.target == "us-west-2/kafka"}
    assert links["operator"].listen == told["OPERATOR"]
    assert links["us-east-1"].listen == told["US_EAST_1"]
    assert links["us-east-1"].upstream == "127.1.0.62:9096"
    assert addresses.endpoint("us-west-2", "kafka") == told["LOCAL"]


def test_a_mirror_goes_one_way() -> None:
    text = mirror_maker.mirror_properties(End("west", "w:1"), End("east", "e:1"), "secret", Path("/ca"))
    rows = dict(line.split("=", 1) for line in text.splitlines())
    assert (rows["west->east.enabled"], rows["east->west.enabled"]) == ("true", "false")
    assert rows["offset-syncs.topic.location"] == "target"
    assert [mirror_maker.source_of(one, FULL) for one in FULL.of_kind("mirror_maker")] == ["us-east-1", "us-west-2"]


def test_a_key_is_in_the_form_that_kafka_reads() -> None:
    trustme = pytest.importorskip("trustme")
    issued = trustme.CA().issue_cert("127.0.0.1")
    store = kafka.keystore(issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())
    assert store.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert serialization.load_pem_private_key(store, password=None)


def test_a_masked_mirror_is_idle_and_a_masked_broker_is_fenced() -> None:
    rows = [
        Row(f"us-west-2/{kind}", "us-west-2", kind, None, "", 0, "stopped", masked=True)
        for kind in ("mirror_maker", "kafka")
    ]
    assert Survey(rows[:1], []).may_recover
    assert Survey(rows, []).fenced == ["us-west-2/kafka"]


def test_no_clusters_id_is_taken_for_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter([uuid.UUID(bytes=b"\xf8" + bytes(15)), uuid.UUID(bytes=bytes(16))])
    monkeypatch.setattr(uuid, "uuid4", lambda: next(made))
    assert kafka.cluster_id() == "A" * 22
