"""Folders with pipes, sockets and dead links in them, and with what may not be read."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from no_rights import as_a_user
from small_scans import nifti

from bundle.data.scans import find_scans
from bundle.data.scans.walk import PERMISSION_FIX, file_problem, walk
from bundle.errors import UserError


def found(folder: Path) -> dict[str, str]:
    """Case to problem; empty where there is none."""
    return {item["case"]: item.get("problem", "") for item in find_scans(folder)}


def test_links_pipes_sockets_and_devices_are_named_and_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nifti(tmp_path / "good.nii.gz")
    os.mkfifo(tmp_path / "pipe.nii.gz")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.nrrd")
    (tmp_path / "dead.nii.gz").symlink_to("../.git/annex/x")
    (tmp_path / "round.nii").symlink_to("round.nii")
    (tmp_path / "null.nii").symlink_to(os.devnull)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "lfs.nii.gz").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    scans = find_scans(tmp_path)
    problems = {item["case"]: item.get("problem", "") for item in scans}
    assert problems.pop("good") == ""
    assert problems == {
        "dead": "this link leads nowhere (to ../.git/annex/x)",
        "lfs": "this is a pointer of Git LFS, not the scan itself",
        "null": "this is a device, not a file",
        "pipe": "this is a named pipe, not a file",
        "round": "this link leads back to itself",
        "socket": "this is a socket, not a file",
    }
    assert scans.left_alone == ["left alone: 1 pipe, device or broken link (pipe)"]


def test_links_to_folders_are_followed_once_and_real_paths_count(tmp_path: Path) -> None:
    nifti(tmp_path / "in" / "z" / "a.nii.gz")
    nifti(tmp_path / "elsewhere" / "b.nii.gz")
    (tmp_path / "in" / "a_link").symlink_to(tmp_path / "in" / "z")
    (tmp_path / "in" / "other").symlink_to(tmp_path / "elsewhere")
    assert found(tmp_path / "in") == {"z_a": "", "other_b": ""}
    assert [here.folder.name for here in walk(tmp_path / "in")] == ["in", "z", "other"]


def test_what_may_not_be_read_is_a_case_that_fails(open_folder: Path) -> None:
    nifti(open_folder / "good.nii.gz")
    for name in ("closed/a.nii.gz", "listed/b.nii.gz", "locked.nii.gz", "series/1.dcm", "series/2.dcm"):
        nifti(open_folder / name if name.endswith("gz") else open_folder / (name + ".nii.gz"))
    for name in ("1.dcm", "2.dcm"):
        (open_folder / "series" / (name + ".nii.gz")).rename(open_folder / "series" / name)
        (open_folder / "series" / name).chmod(0)
    (open_folder / "closed").chmod(0)
    (open_folder / "listed").chmod(0o444)
    (open_folder / "locked.nii.gz").chmod(0)
    with as_a_user():
        items = {item["case"]: item for item in find_scans(open_folder)}
        with pytest.raises(UserError, match="cannot be read"):
            find_scans(open_folder / "closed")
    assert sorted(items) == ["closed", "good", "listed_b", "locked", "series_1"]
    assert items["closed"]["problem"] == "this folder cannot be read (Permission denied): what is in it is not known"
    assert items["series_1"]["problem"] == "the file cannot be opened (Permission denied); so it is with 1 more in this folder"
    for name in ("closed", "listed_b", "locked", "series_1"):
        assert items[name]["fix"] == PERMISSION_FIX and "Permission denied" in items[name]["problem"]


def test_a_file_that_can_be_read_has_no_problem(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"")
    assert file_problem(tmp_path / "a") is None
    assert file_problem(tmp_path / "b").words == "the file is empty"
    assert file_problem(tmp_path).words == "this is a folder, not a file"


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/M\xfcller"
    os.mkdir(folder)
    nifti(tmp_path / "x.nii.gz")
    os.rename(os.fsencode(tmp_path) + b"/x.nii.gz", folder + b"/J\xf6rg.nii.gz")
    assert found(tmp_path) == {"M_ller_J_rg": ""}
