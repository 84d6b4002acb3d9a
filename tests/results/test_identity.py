"""Stamps and digests of scans: what counts as another scan, against sha256 of the standard library."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from bundle.results.identity import as_written, content_digest, files_of, scan_digest, size, stamp


def a_file(path: Path, content: bytes = b"voxels") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def test_one_file_has_the_digest_that_sha256sum_prints(tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000  # more than one piece of reading
    assert content_digest([a_file(tmp_path / "a.nii", content)]) == hashlib.sha256(content).hexdigest()


def test_slices_have_one_digest_whatever_their_names_and_order(tmp_path: Path) -> None:
    first, second = a_file(tmp_path / "1.dcm", b"one"), a_file(tmp_path / "2.dcm", b"two")
    moved = [a_file(tmp_path / "moved" / "b", b"one"), a_file(tmp_path / "moved" / "a", b"two")]
    parts = sorted(hashlib.sha256(part).hexdigest() for part in (b"one", b"two"))
    expected = hashlib.sha256((parts[0] + "\n" + parts[1] + "\n").encode()).hexdigest()
    assert content_digest([first, second]) == content_digest([second, first]) == content_digest(moved) == expected
    assert content_digest([first, a_file(tmp_path / "3.dcm", b"twO")]) != expected
    assert size([first, second]) == 6 and size([first, str(tmp_path / "gone")]) == -1


def test_the_same_files_as_other_channels_are_another_scan(tmp_path: Path) -> None:
    ct, pet = a_file(tmp_path / "a.nii", b"one"), a_file(tmp_path / "b.nii", b"two")
    right, swapped = {"image": ct, "channels": {"pet": pet}}, {"image": pet, "channels": {"pet": ct}}
    lines = f" {hashlib.sha256(b'one').hexdigest()}\npet {hashlib.sha256(b'two').hexdigest()}\n"
    assert scan_digest(right) == hashlib.sha256(lines.encode()).hexdigest() != scan_digest(swapped)
    assert scan_digest({"image": ct}) == content_digest([ct]), "one channel: as sha256sum prints it"
    second, third = a_file(tmp_path / "c.dcm", b"3"), a_file(tmp_path / "d.dcm", b"4")
    assert scan_digest({"image": ct, "channels": {"pet": [second, third]}}) == scan_digest(
        {"image": ct, "channels": {"pet": [third, second]}}
    ), "slices have no order"


def test_a_stamp_sees_bytes_put_in_place_with_the_old_time(tmp_path: Path) -> None:
    slices = [a_file(tmp_path / f"{n}.dcm", b"old") for n in range(3)]
    before = stamp(slices)
    assert stamp(slices) == before
    times = os.stat(slices[1])
    a_file(tmp_path / "1.dcm", b"new")
    os.utime(slices[1], ns=(times.st_atime_ns, times.st_mtime_ns))
    assert stamp(slices) != before, "same size and time of change as before, another time of the entry"
    assert stamp(slices[:2]) != stamp(slices)


def test_what_is_written_is_told_from_what_is_linked_or_locked(tmp_path: Path) -> None:
    item = {"image": str(a_file(tmp_path / "a.nii", b"old"))}
    before, touched = as_written(item), stamp([item["image"]])
    time.sleep(0.05)  # more than a tick of the clock of file systems
    os.link(item["image"], tmp_path / "b.nii")
    assert as_written(item) == before and stamp([item["image"]]) != touched
    Path(a_file(tmp_path / "new.nii", b"new")).rename(item["image"])
    assert as_written(item) != before


def test_a_header_stands_for_the_files_that_it_names(tmp_path: Path) -> None:
    image = a_file(tmp_path / "a.IMG")
    assert files_of({"image": a_file(tmp_path / "a.hdr")}) == [str(tmp_path / "a.hdr"), image]
    # whose names may hold what stands for others in patterns
    planes = [a_file(tmp_path / "p[1]" / f"x[2]_{number:03d}.raw") for number in range(3)]
    pattern = b"NDims = 3\nElementDataFile = x[2]_%03d.raw 0 2 1\n"
    assert files_of({"image": a_file(tmp_path / "p[1]" / "c.mhd", pattern)})[1:] == planes
    raw = a_file(tmp_path / "b.raw")
    assert files_of({"image": a_file(tmp_path / "b.mhd", b"NDims = 3\nElementDataFile = b.raw\n")})[1:] == [raw]
    assert files_of({"image": a_file(tmp_path / "b.nhdr", b"NRRD0004\ndata file: b.raw\n")})[1:] == [raw]
    parts = [a_file(tmp_path / f"c{n}.raw") for n in (1, 2)]
    assert files_of({"image": a_file(tmp_path / "c.mhd", b"ElementDataFile = c%d.raw 1 2 1\n")})[1:] == parts
    assert files_of({"image": a_file(tmp_path / "d.mhd", b"ElementDataFile = LIST\nc1.raw\nc2.raw\n")})[1:] == parts
    assert files_of({"image": a_file(tmp_path / "e.mha", b"ElementDataFile = LOCAL\n")})[1:] == []
    # whatever the ending, and never from what may be voxels, or a note
    assert files_of({"image": a_file(tmp_path / "f.mha", b"NDims = 3\nElementDataFile = b.raw\n")})[1:] == [raw]
    assert files_of({"image": a_file(tmp_path / "f.nrrd", b"NRRD0004\ndata file: b.raw\n")})[1:] == [raw]
    assert files_of({"image": a_file(tmp_path / "g.nrrd", b"NRRD0004\ndata file:=b.raw\n\ndata file: b.raw\n")})[1:] == []
    assert files_of({"image": ["x", "y"]}) == ["x", "y"]
