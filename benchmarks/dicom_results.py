"""What DICOM SEG and RTSTRUCT of a long series cost: `python benchmarks/dicom_results.py`.

Writes a made-up CT series and the objects of a label map with three structures, each object in a process of its own, on one thread. Seconds
are CPU time, which other programs on the machine disturb little; memory is the peak above what the process had with the label map loaded.
Needs Linux, and highdicom (`pip install -e '.[dicom]'`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.peak_memory import peak
from bundle.dicom.maker import Maker
from bundle.dicom.segmentation import KINDS, write_segmentation
from bundle.dicom.source import read_source
from bundle.dicom.structure_set import write_structure_set
from bundle.structures import describe

NAMES = ("pancreas", "spleen", "kidney")
OBJECTS = (*KINDS, "RTSTRUCT")
LABELS = "labels.npy"


def write_series(folder: Path, slices: int, edge: int) -> list[Path]:
    """A CT series of empty slices, 0.75x0.75x1 mm."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for k in range(slices):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = study, series, frame
        made.Modality, made.PatientName, made.PatientID, made.InstanceNumber = "CT", "", "benchmark", k + 1
        made.PatientBirthDate = made.PatientSex = made.StudyDate = made.StudyTime = made.StudyID = made.AccessionNumber = ""
        made.ReferringPhysicianName, made.PositionReferenceIndicator = "", ""
        made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        made.ImagePositionPatient, made.ImageOrientationPatient = [0, 0, k], [1, 0, 0, 0, 1, 0]
        made.PixelSpacing, made.SliceThickness = [0.75, 0.75], 1
        made.Rows = made.Columns = edge
        made.BitsAllocated = made.BitsStored = 16
        made.HighBit, made.PixelRepresentation, made.SamplesPerPixel, made.PhotometricInterpretation = 15, 1, 1, "MONOCHROME2"
        made.RescaleSlope, made.RescaleIntercept, made.RescaleType = 1, 0, "HU"
        made.PixelData = bytes(2 * edge * edge)
        files.append(folder / f"{k:04d}.dcm")
        made.save_as(files[-1], enforce_file_format=True)
    return files


def label_map(shape: tuple[int, int, int]) -> np.ndarray:
    """Three ellipsoids of the values 1 to 3 side by side, with half-axes of a tenth, a fifth and a fifth of the shape; (X, Y, Z) uint8."""
    labels = np.zeros(shape, np.uint8)
    x, y, z = np.ogrid[tuple(slice(0, n) for n in shape)]
    for value, centre in enumerate((0.25, 0.5, 0.75), start=1):
        middles, halves = (centre, 0.5, 0.5), (0.1, 0.2, 0.2)
        axes = [(grid - at * (n - 1)) / (n * half) for grid, n, at, half in zip((x, y, z), shape, middles, halves, strict=True)]
        labels[axes[0] ** 2 + axes[1] ** 2 + axes[2] ** 2 <= 1] = value
    return labels


def measure(folder: Path, kind: str) -> dict[str, float]:
    """CPU seconds, GB above the label map, and MB of the file, of one object of the series and label map in a folder."""
    files, labels = sorted(folder.glob("*.dcm")), np.load(folder / LABELS)
    structures = list(enumerate(describe(NAMES), start=1))
    before, began, out = psutil.Process().memory_info().rss, time.process_time(), folder / f"{kind}.object"
    made = read_source(files, labels.shape), labels, structures, Maker("benchmark")
    if kind in KINDS:
        write_segmentation(out, *made, kind)
    else:
        write_structure_set(out, *made)
    seconds = time.process_time() - began
    return {"seconds": seconds, "gb": max(0, peak() - before) / 1e9, "mb": out.stat().st_size / 1e6}


def main() -> None:
    """Print a table with a row for each kind of object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=1000)
    parser.add_argument("--edge", type=int, default=512, help="rows and columns of a slice")
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "KIND"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(Path(options.one[0]), options.one[1])))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_series(Path(folder), options.slices, options.edge)
        np.save(Path(folder) / LABELS, label_map((options.edge, options.edge, options.slices)))
        for kind in OBJECTS:
            command = [sys.executable, __file__, "--one", folder, kind]
            ran = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
            found = json.loads(ran.stdout.splitlines()[-1])
            rows.append(f"| {kind} | {found['seconds']:.1f} | {found['gb']:.2f} | {found['mb']:.1f} |")
    print("\n".join((f"{options.slices} slices of {options.edge}x{options.edge}:", "", "| | CPU s | GB | file MB |")))
    print("\n".join(("| --- | ---: | ---: | ---: |", *rows)))


if __name__ == "__main__":
    main()
