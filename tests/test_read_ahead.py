"""The first scan, unpacked while MONAI is imported: the same bytes, or the ordinary reader."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

import bundle
from bundle import read_ahead
from bundle.errors import UserError
from bundle.images import read_scan, streams


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "_ahead", None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(-1000, 1000, (12, 11, 10)).astype(np.int16)
    (tmp_path / "data" / "b").mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 2, 3, 1])), tmp_path / "data" / "b" / "ct.nii.gz")
    return tmp_path / "data" / "b" / "ct.nii.gz"


def begin(path: Path, *words: str) -> None:
    read_ahead.begin(["inference", "--dataset_dir", str(path), *words])


def test_a_scan_is_unpacked_once_and_read_as_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, affine, _ = read_scan(path)
    begin(path)
    opened = []
    plain = streams.opened
    monkeypatch.setattr(streams, "opened", lambda file: opened.append(file) or plain(file))
    values, found_affine, _ = read_scan(path)
    assert np.array_equal(values, expected) and values.dtype == expected.dtype and np.array_equal(found_affine, affine)
    assert len(opened) == 1, "for the header alone"
    begin(path)
    assert read_ahead.stream(path).read() == gzip.decompress(path.read_bytes())
    assert read_ahead.stream(path) is None


def test_the_first_of_a_folder_is_guessed_by_its_path(path: Path) -> None:
    folder = path.parent.parent
    (folder / "a").mkdir()
    for name in (".hidden.nii.gz", "scan.nii", "z.nii.gz"):
        (folder / "a" / name).write_bytes(b"")
    assert read_ahead.first_scan(str(folder)) == str(folder / "a" / "z.nii.gz")
    assert read_ahead.first_scan(str(path)) == str(path)
    assert read_ahead.first_scan(str(folder / "a" / "scan.nii")) is None and read_ahead.first_scan(str(folder / "none")) is None


def test_another_scan_or_a_changed_one_is_not_taken(path: Path) -> None:
    begin(path)
    assert read_ahead.stream(path.with_name("other.nii.gz")) is None
    assert read_ahead.stream(path) is None, "it was dropped"
    begin(path)
    path.write_bytes(path.read_bytes() + b"\0")
    assert read_ahead.stream(path) is None


@pytest.mark.parametrize("change", ["cut", "crc", "two streams", "behind", "no gzip"])
def test_what_is_odd_is_left_to_the_ordinary_reader(path: Path, change: str) -> None:
    whole = path.read_bytes()
    damaged = {
        "cut": whole[:-40],
        "crc": whole[:-8] + b"\0\0\0\0" + whole[-4:],
        "two streams": whole + gzip.compress(b"more"),
        "behind": whole + b"behind",
        "no gzip": gzip.decompress(whole),
    }[change]
    path.write_bytes(damaged)
    told = []
    for ahead in (False, True):
        if ahead:
            begin(path)
        try:
            told.append(read_scan(path)[0].tolist())
        except UserError as error:
            told.append(str(error))
    assert told[0] == told[1]
    begin(path)
    assert read_ahead.stream(path) is None


@pytest.mark.parametrize(
    "words", [["--memory_gb", "0.00001"], ["--memory_gb", "much"], ["--watch", "true"], ["--output_dir", "{out}"]], ids=lambda one: one[0]
)
def test_nothing_is_read_where_it_would_not_be_used(path: Path, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "out" / ".records").mkdir(parents=True)
    begin(path, *(word.format(out=tmp_path / "out") for word in words))
    assert read_ahead.stream(path) is None
    read_ahead.begin(["training", "--dataset_dir", str(path)])
    assert read_ahead.stream(path) is None
    begin(path, "--output_dir", str(tmp_path / "out"), "--overwrite", "true", "--watch", "false")
    assert read_ahead.stream(path) is not None


def test_it_begins_before_anything_that_takes_long_to_import() -> None:
    """`python -m bundle run` itself: when the thread begins, neither NumPy nor MONAI is there."""
    code = (
        "import sys, runpy\n"
        "from bundle import read_ahead\n"
        "def begin(words):\n"
        "    print(words, [name for name in ('numpy', 'torch', 'monai') if name in sys.modules])\n"
        "    raise SystemExit(7)\n"
        "read_ahead.begin = begin\n"
        "sys.argv = ['bundle', 'run', 'inference']\n"
        "runpy.run_module('bundle', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=bundle.root())
    assert (done.returncode, done.stdout.strip()) == (7, "['inference'] []"), done.stderr
