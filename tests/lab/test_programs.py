# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs are found, or built and kept by what they are made of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recovery_lab import cache, debian, identity, postgresql_programs, programs, toolchain
from recovery_lab.errors import LabError
from recovery_lab.programs import Program


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "module"
    for path, text in {
        "go.mod": "module example.org/lab\n\ngo 1.26.3\n",
        "go.sum": "",
        "cmd/one/main.go": 'package main\nimport "example.org/lab/internal/a"\n',
        "cmd/two/main.go": "package main\n",
        "internal/a/a.go": 'package a\nimport "example.org/lab/internal/b"\n',
        "internal/a/a_test.go": "package a\n",
        "internal/b/b.go": "package b\n",
        "internal/c/c.go": "package c\n",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def program(module: Path, name: str = "one") -> Program:
    return Program(name, "", module, f"./cmd/{name}", 1, ())


def test_a_program_is_made_of_its_package_and_what_that_imports(module: Path) -> None:
    found = [str(path.relative_to(module)) for path in programs.sources(program(module))]
    assert found == ["go.mod", "go.sum", "cmd/one/main.go", "internal/a/a.go", "internal/b/b.go"]


@pytest.mark.parametrize(
    ("path", "changes"),
    [("internal/b/b.go", True), ("go.mod", True), ("internal/c/c.go", False), ("internal/a/a_test.go", False)],
)
def test_the_place_in_the_cache_changes_with_the_sources(module: Path, path: str, changes: bool) -> None:
    before = programs.entry_name(program(module))
    (module / path).write_text((module / path).read_text() + "\n// more\n")
    assert (programs.entry_name(program(module)) != before) is changes


def test_every_program_of_the_manifest_has_a_module_and_a_place() -> None:
    found = programs.manifest()
    assert {"lab-supervisor", "kube", "etcd", "lab-app", "lab-node-agent"} <= set(found)
    for one in found.values():
        assert (one.module / "go.mod").exists()
        assert programs.entry_name(one).startswith(f"programs/{one.name}-")


def test_a_chosen_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOVERY_LAB_BIN", f"{tmp_path}/empty:{tmp_path}")
    monkeypatch.setenv("RECOVERY_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(identity, "reachable", lambda _: True)
    (tmp_path / "empty").mkdir()
    for one in programs.manifest().values():
        (tmp_path / one.name).write_text("")
    found = programs.find("small", lambda _: None)
    assert found["kube"] == tmp_path / "kube"
    assert "kwok" not in found


def test_an_unreachable_program_is_borrowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOVERY_LAB_BIN", str(tmp_path))
    monkeypatch.setenv("RECOVERY_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(identity, "reachable", lambda _: False)
    for one in programs.manifest().values():
        (tmp_path / one.name).write_text(one.name)
    found = programs.find("small", lambda _: None)
    assert found["etcd"].parent.parent == tmp_path / "cache/borrowed"
    assert found["etcd"].read_text() == "etcd"
    assert os.access(found["etcd"], os.X_OK)


def test_a_torn_attempt_is_never_taken_for_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOVERY_LAB_CACHE", str(tmp_path))

    def torn(target: Path) -> None:
        (target / "half").write_text("")
        raise LabError("out of luck")

    with pytest.raises(LabError):
        cache.entry("thing", torn)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert (cache.entry("thing", lambda target: (target / "whole").touch()) / "whole").exists()


@pytest.mark.parametrize(
    ("text", "version"),
    [("go1.26.8", (1, 26, 8)), ("go 1.27", (1, 27)), ("go1.27rc1", (1, 27)), ("devel", ()), ("", ())],
)
def test_versions_of_go_are_read(text: str, version: tuple[int, ...]) -> None:
    assert toolchain.parse_version(text) == version


def test_the_wanted_version_is_that_of_go_mod(module: Path) -> None:
    assert toolchain.required((module / "go.mod").read_text()) == (1, 26, 3)


def test_without_go_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Path:
        raise LabError("no index")

    monkeypatch.setattr(toolchain, "version_of", lambda _: (1, 19))
    monkeypatch.setattr(cache, "entry", fail)
    with pytest.raises(LabError, match=r"Go 1\.26\.8 or newer.*no index.*Install it"):
        toolchain.find((1, 26, 8))


@pytest.mark.parametrize(
    ("line", "package"),
    [
        ("k8s.io/apimachinery/pkg/util/sets\n", True),
        ("platform.recovery/lab/cmd/kube\n", True),
        ("# platform.recovery/lab/cmd/kube\n", False),
        ("cmd/kube/main.go:12:3: undefined: x\n", False),
    ],
)
def test_packages_are_told_from_complaints(line: str, package: bool) -> None:
    assert programs.is_package(line) is package


def test_an_unknown_postgresql_is_refused() -> None:
    with pytest.raises(LabError, match="'16' is not supported; known: 15, 18"):
        postgresql_programs.find("16")


def test_a_chosen_folder_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOVERY_LAB_BIN", f"{tmp_path}:{tmp_path}/nowhere")
    with pytest.raises(LabError, match=f"{tmp_path}/nowhere is no folder"):
        programs.find("small", lambda _: None)


def test_a_chosen_postgresql_must_be_whole_and_within_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECOVERY_LAB_BIN", ".")
    folder = tmp_path / "postgresql-18/bin"
    folder.mkdir(parents=True)
    for name in ("postgres", "initdb", "pg_basebackup"):
        (folder / name).touch()
    with pytest.raises(LabError, match="has no psql"):
        postgresql_programs.find("18")
    (folder / "psql").touch()
    monkeypatch.setattr(identity, "reachable", lambda _: False)
    with pytest.raises(LabError, match="out of reach"):
        postgresql_programs.find("18")
    monkeypatch.setattr(identity, "reachable", lambda _: True)
    assert postgresql_programs.find("18").folder == folder


def test_what_a_dead_build_left_is_cleaned_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOVERY_LAB_CACHE", str(tmp_path))
    (tmp_path / "programs/.new-torn").mkdir(parents=True)
    cache.entry("programs/thing", lambda _: None)
    assert [path.name for path in (tmp_path / "programs").iterdir()] == ["thing"]


def test_nothing_is_missing_where_all_is_there(tmp_path: Path) -> None:
    assert debian.missing_libraries([Path("/bin/sh")], str(tmp_path)) == []


@pytest.mark.parametrize(
    ("library", "packages"),
    [
        ("libicuuc.so.76", "libicu76"),
        ("libicudata.so.72", "libicu72"),
        ("libssl.so.3", "libssl3 libssl3t64"),
        ("x", ""),
    ],
)
def test_a_library_has_its_packages(library: str, packages: str) -> None:
    assert debian.packages_of(library) == packages
