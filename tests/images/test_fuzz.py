"""Damaged headers and voxels of every format: each file is read or refused; none hangs, ends the process, or takes its memory.

FUZZ_CASES=500 tries more than the 100 of each format; FUZZ_SEED another sequence.
"""

from __future__ import annotations

import gzip
import os
import resource
import time
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from small_scans import AFFINE, SHAPE, body

from bundle import reader_process
from bundle.data.checks.facts import image_facts
from bundle.errors import UserError
from bundle.images import read_scan

CASES, SEED = int(os.environ.get("FUZZ_CASES", "100")), int(os.environ.get("FUZZ_SEED", "0"))
MEMORY_GB = 0.5
NUMBERS = (b"0", b"-1", b"1e308", b"nan", b"32767", b"4294967296", b"99999999999999999999", b"(", b"", b"%d", b"\x00", b"1 " * 50)
HEADER = 360


pytestmark = pytest.mark.usefixtures("reader_ended")


def _nifti(folder: Path) -> dict[str, bytes]:
    nibabel.save(nibabel.Nifti1Image(body(), AFFINE), folder / "x.nii")
    nibabel.save(nibabel.Nifti2Image(body(), AFFINE), folder / "y.nii")
    nibabel.save(nibabel.MGHImage(body(), AFFINE), folder / "x.mgh")
    first, second, mgh = ((folder / name).read_bytes() for name in ("x.nii", "y.nii", "x.mgh"))
    return {"a.nii": first, "b.nii": second, "c.nii.gz": gzip.compress(first), "d.mgh": mgh}


def _nrrd(folder: Path) -> dict[str, bytes]:
    raw = body().tobytes(order="F")
    text = (
        f"NRRD0004\n# made by hand\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: {' '.join(map(str, SHAPE))}\n"
        "space directions: (4,0,0) (0,4,0) (0,0,5)\nkinds: domain domain domain\nendian: little\nencoding: {}\nspace origin: (1,2,3)\n\n"
    )
    written = " ".join(map(str, body().ravel(order="F").tolist())).encode()
    packed = {"raw": raw, "gzip": gzip.compress(raw), "ascii": written}
    return {f"{name}.nrrd": text.replace("{}", name).encode() + content for name, content in packed.items()}


def _meta(folder: Path) -> dict[str, bytes]:
    raw = body().tobytes(order="F")
    text = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = {}\n"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 1 2 3\nCenterOfRotation = 0 0 0\nElementSpacing = 4 4 5\n"
        f"DimSize = {' '.join(map(str, SHAPE))}\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    return {"a.mha": text.replace("{}", "False").encode() + raw, "b.mha": text.replace("{}", "True").encode() + zlib.compress(raw)}


def mutated(content: bytes, rng: np.random.Generator, text: bool) -> bytes:
    """One to four changes, most of them in the header."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(0, min(HEADER if rng.random() < 0.8 else len(changed), len(changed))))
        kind = rng.integers(0, 6)
        if kind == 0:
            changed[at] = int(rng.integers(0, 256))
        elif kind == 1:
            changed[at : at + 4] = rng.integers(0, 256, 4, dtype=np.uint8).tobytes()
        elif kind == 2:
            del changed[at : at + int(rng.integers(1, 60))]
        elif kind == 3:
            changed[at:at] = NUMBERS[rng.integers(0, len(NUMBERS))]
        elif kind == 4:
            changed = changed[: max(at, 40)]
        elif text:
            changed[:HEADER] = _another_value(bytes(changed[:HEADER]), rng)
        else:
            changed[at : at + 2] = (0x7FFF).to_bytes(2, "little")
    return bytes(changed)


def _another_value(header: bytes, rng: np.random.Generator) -> bytes:
    lines = header.split(b"\n")
    line = int(rng.integers(0, len(lines)))
    sign = b"=" if b"=" in lines[line] else b":"
    lines[line] = lines[line].split(sign)[0] + sign + b" " + NUMBERS[rng.integers(0, len(NUMBERS))]
    return b"\n".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("make", [_nifti, _nrrd, _meta], ids=["nifti", "nrrd", "meta"])
def test_no_damaged_file_ends_or_fills_anything(tmp_path: Path, monkeypatch, make) -> None:
    monkeypatch.setattr(reader_process, "TIMEOUT_S", 60.0)
    originals = make(tmp_path)
    for name, content in originals.items():
        (tmp_path / name).write_bytes(content)
        assert np.array_equal(read_scan(tmp_path / name)[0], body()), "whole files are read"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rng, outcomes = np.random.default_rng(SEED), {"read": 0, "refused": 0, "crashed": 0}
    for number in range(CASES):
        name = list(originals)[number % len(originals)]
        path = tmp_path / f"{number}_{name}"
        path.write_bytes(mutated(originals[name], rng, make is not _nifti))
        begun = time.monotonic()
        try:
            values, affine, _ = read_scan(path, memory_gb=MEMORY_GB)
            assert values.ndim == 3 and values.dtype in (np.int16, np.float32)
            assert np.isfinite(affine).all() and np.isfinite(values).all()
            outcomes["read"] += 1
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error), str(error)
            outcomes["crashed" if "its reader crashed" in str(error) else "refused"] += 1
        facts = image_facts(str(path))
        assert "error" in facts or "shape" in facts
        assert time.monotonic() - begun < 70, f"{name}, number {number} of seed {SEED}"
        path.unlink()
    assert min(outcomes["read"], outcomes["refused"]) > CASES // 20, outcomes
    reader_process.close()  # only an ended child counts as one
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        assert resource.getrusage(who).ru_maxrss - before < (MEMORY_GB + 0.6) * 1e6, who
    print(outcomes)
