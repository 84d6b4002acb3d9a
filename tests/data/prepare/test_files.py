"""Files of a prepared set: links in the wanted way or the next best, endings that stay, stamps that see a change."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from bundle.data.prepare import files


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "download" / "img0001.NII.GZ"
    path.parent.mkdir()
    path.write_bytes(b"voxels")
    return path


def test_endings_are_those_of_the_packing(source):
    assert files.ending(source) == ".nii.gz" and files.ending(Path("a.b.nii")) == ".nii"


@pytest.mark.parametrize("how", files.LINKS)
def test_another_name_in_each_way(source, tmp_path, how):
    found = files.link(source, tmp_path / "out" / "case_1", how)
    assert found == tmp_path / "out" / "case_1.nii.gz" and found.read_bytes() == b"voxels"
    assert found.is_symlink() == (how == "symlink") and os.path.samefile(found, source) == (how != "copy")
    assert [path.name for path in found.parent.iterdir()] == ["case_1.nii.gz"]
    assert files.written(tmp_path / "out" / "case_1") == found


@pytest.mark.parametrize("how", files.LINKS)
def test_an_original_that_was_unpacked_meanwhile_takes_the_place_of_the_packed_one(source, tmp_path, how):
    """`case_1.nii.gz` of before stayed beside `case_1.nii`, and was the one that counted."""
    files.link(source, tmp_path / "out" / "case_1", how)
    unpacked = source.with_name("img0001.nii")
    source.unlink()
    unpacked.write_bytes(b"other voxels")
    found = files.link(unpacked, tmp_path / "out" / "case_1", how)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["case_1.nii"]
    assert files.written(tmp_path / "out" / "case_1") == found and found.read_bytes() == b"other voxels"


def test_where_links_are_not_allowed_it_is_a_copy(source, tmp_path, monkeypatch):
    def refused(*paths: object) -> None:
        raise OSError("not allowed here")

    monkeypatch.setattr(os, "symlink", refused)
    monkeypatch.setattr(os, "link", refused)
    found = files.link(source, tmp_path / "case_1")
    assert found.read_bytes() == b"voxels" and not found.is_symlink() and not os.path.samefile(found, source)


def test_a_source_that_is_gone_leaves_nothing(source, tmp_path):
    source.unlink()
    for how, said in (("copy", "cannot copy"), ("hardlink", "cannot link or copy")):
        with pytest.raises(OSError, match=rf"^{said} .*NII\.GZ to .*case_1\.nii\.gz \(No such file"):
            files.link(source, tmp_path / "out" / "case_1", how)
    assert list((tmp_path / "out").iterdir()) == []


def test_on_a_full_disk_a_copy_is_an_error_and_no_link(source, tmp_path, monkeypatch):
    """Who asks for copies may delete the originals."""

    def full(_: Path, target: Path) -> None:
        Path(target).write_bytes(b"vox")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left on device"):
        files.link(source, tmp_path / "out" / "case_1", "copy")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("how", files.LINKS)
def test_in_which_way_a_file_was_made(source, tmp_path, how):
    found = files.link(source, tmp_path / "case_1", how)
    assert [files.made_by(found, source, other) for other in files.LINKS] == [other == how for other in files.LINKS]


def test_what_is_not_there_or_leads_nowhere_is_not_written(source, tmp_path):
    assert files.written(tmp_path / "case_1") is None
    (tmp_path / "case_1.nii").touch()
    assert files.written(tmp_path / "case_1") == tmp_path / "case_1.nii"
    files.link(source, tmp_path / "case_2")
    source.unlink()
    assert files.written(tmp_path / "case_2") is None


def test_stamps_of_files_and_of_folders(source, tmp_path):
    slices = tmp_path / "series"
    slices.mkdir()
    for name, size, time in (("1.dcm", 3, 5), ("2.dcm", 4, 7)):
        (slices / name).write_bytes(b"x" * size)
        os.utime(slices / name, ns=(time, time))
    os.utime(source, ns=(9, 9))
    assert files.source_stamp([source, slices]) == [[str(source), 6, 9], [str(slices), 7, 7]]
    (slices / "1.dcm").unlink()
    assert files.source_stamp([slices]) == [[str(slices), 4, 7]]
