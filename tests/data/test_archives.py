"""Scans in zip files: named and found again as in a folder, and nothing is written where it should not be."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import dicom_files
import nibabel
import numpy as np
import pytest
from light_evaluator import evaluator

from bundle.data import archives
from bundle.data.archives import unpacked
from bundle.data.scans.find import find_scans
from bundle.errors import UserError


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """An archive's export: DICOMDIR, two studies with a series each, files without an ending."""
    folder = tmp_path / "export"
    for number, study in enumerate(("ST0", "ST1")):
        for file in dicom_files.series(folder / "PA0" / study / "SE0", uid=f"1.2.3{number}"):
            file.rename(file.with_suffix(""))
    dicom_files.save(dicom_files.dataset(sop_class="1.2.840.10008.1.3.10", modality=""), folder / "DICOMDIR")
    return zipped(folder, tmp_path / "export.zip")


def test_an_export_in_a_zip_gives_the_scans_of_its_folder(tmp_path: Path, export: Path) -> None:
    found, plain = find_scans(export), find_scans(tmp_path / "export")
    assert [item["case"] for item in found] == [item["case"] for item in plain] == ["PA0_ST0_SE0", "PA0_ST1_SE0"]
    assert [item["source"] for item in found] == [str(export / "PA0" / study / "SE0") for study in ("ST0", "ST1")]
    assert all(os.path.isfile(file) for item in found for file in item["image"]) and "DICOMDIR" in str(found.left_alone)


def test_a_run_on_a_zip_is_resumed(tmp_path: Path, export: Path) -> None:
    out = tmp_path / "out"
    assert len(evaluator(export, out).run()) == 2
    assert evaluator(export, out).run() == [], "the same scans, though unpacked elsewhere"
    values = nibabel.load(out / "PA0_ST0_SE0_seg.nii.gz")
    assert np.allclose(values.affine, dicom_files.AFFINE)


def test_the_folder_goes_with_the_process(export: Path, tmp_path: Path) -> None:
    code = f"from bundle.data.archives import unpacked; print(unpacked({str(export)!r}).is_dir())"
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    (tmp_path / "temporary").mkdir()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.strip() == "True" and not any((tmp_path / "temporary").iterdir()), done.stderr


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "..\\evil", "C:\\evil"])
def test_places_outside_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(UserError, match="outside"):
        unpacked(tmp_path / "a.zip")
    assert not list(tmp_path.rglob("evil")) and not any((tmp_path / "temporary").iterdir())


def test_links_are_left_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("file", "x")
    assert [path.name for path in unpacked(tmp_path / "a.zip").iterdir()] == ["file"]


def test_what_has_no_room_is_refused_before_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1 << 20))
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: type("usage", (), {"free": 1 << 20})())
    with pytest.raises(UserError, match="free for temporary files"):
        unpacked(tmp_path / "bomb.zip")


def test_an_entry_that_is_longer_than_it_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lie.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1 << 20))
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\1\2", 24), (b"PK\3\4", 22)):
        start = content.index(signature) + offset
        struct.pack_into("<L", content, start, 10)
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpacked(path)


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"no zip file at all" * 10])
def test_damaged_files_are_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.zip: it cannot be unpacked"):
        find_scans(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_bytes_of_every_kind_of_compression_are_one_line(tmp_path: Path, method: int) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("ct.nii", bytes(range(256)) * 40)
    content = path.read_bytes()
    begin = content.index(b"ct.nii") + len("ct.nii") + 9  # behind LZMA's own header
    for place in range(begin, begin + 40):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        with pytest.raises(UserError, match=r"a\.zip: it cannot be unpacked"):
            unpacked(path)


def test_a_zip_without_scans_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(UserError, match=r"a\.zip: no scan"):
        find_scans(tmp_path / "a.zip")
