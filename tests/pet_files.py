"""Tiny PET series written by pydicom: 4 columns, 3 rows, 5 slices of 4 mm, in Bq/ml, on the place of `dicom_files`' CT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dicom_files
import numpy as np
from pydicom.dataset import Dataset, FileDataset

PET = dicom_files.STORAGE + "128"
# (X, Y, Z) in Bq/ml, whole multiples of each slice's slope
SLOPES = (0.5, 1.0, 2.5, 1.5, 2.0)
ACTIVITY = np.stack([np.arange(12).reshape(4, 3) * 100 * slope for slope in SLOPES], axis=2)
# pixels 2 mm wide and 3 mm high, slices 4 mm apart; the first voxel where that of the CT is
AFFINE = np.array([[-2, 0, 0, 10], [0, -3, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1]], dtype=float)
HALF_LIFE = "6586.2"  # s, of F-18


def pet_slice(k: int, uid: str = "1.2.8", activity: np.ndarray | None = None) -> FileDataset:
    """Slice `k`: 70 kg, 370 MBq of F-18 injected one half-life before the series began at 11:00."""
    ds = dicom_files.dataset(uid, f"{uid}.{k + 1}", PET, "PT")
    ds.InstanceNumber, ds.SliceThickness, ds.PatientWeight = k + 1, "4", "70"
    ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing = [-10, -20, 30 + 4 * k], dicom_files.AXIAL, [3, 2]
    ds.SeriesDate = ds.AcquisitionDate = "20240102"
    ds.SeriesTime, ds.AcquisitionTime = "110000", f"11{2 + k:02d}00"
    ds.Units, ds.DecayCorrection, ds.CorrectedImage = "BQML", "START", ["DECY", "ATTN", "SCAT"]
    injected = Dataset()
    injected.RadionuclideTotalDose, injected.RadionuclideHalfLife = "370000000", HALF_LIFE
    injected.RadiopharmaceuticalStartTime = "091013.8"
    ds.RadiopharmaceuticalInformationSequence = [injected]
    slope = SLOPES[k % len(SLOPES)]
    dicom_files.pixels(ds, ACTIVITY[:, :, k].T if activity is None else activity, slope=slope, intercept=0.0)
    del ds.RescaleType
    return ds


def pet_series(folder: Path, change: Callable[[FileDataset, int], object] | None = None, uid: str = "1.2.8") -> list[Path]:
    """Write the series; `change(ds, k)` edits a slice."""
    written = []
    for k in range(len(SLOPES)):
        ds = pet_slice(k, uid)
        if change is not None:
            change(ds, k)
        written.append(dicom_files.save(ds, folder / f"PT{9 - k}.dcm"))
    return written
