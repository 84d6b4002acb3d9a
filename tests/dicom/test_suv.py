"""SUV by body weight of a PET series: values worked out by hand, and everything else refused with file, value and fix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pet_files
import pydicom
import pytest

from bundle.dicom.suv import read_suv, suv_factor
from bundle.errors import UserError

# 70 kg, 370 MBq, of which half is left when the series begins: 70000 g / 185000000 Bq
HALF_LEFT = 70000 / 185e6


def _set(**values: object) -> Callable:
    """A change of elements of each slice; those of the injection are found by their names. None removes one."""

    def change(ds: pydicom.Dataset, k: int) -> None:
        for name, value in values.items():
            holder = ds.RadiopharmaceuticalInformationSequence[0] if name.startswith("Radio") and not name.endswith("Sequence") else ds
            if value is None:
                delattr(holder, name)
            else:
                setattr(holder, name, value(k) if callable(value) else value)

    return change


def test_values_and_grid_of_a_series(tmp_path: Path) -> None:
    """Each slice has a slope of its own; 1000 Bq/ml are 1000 x 70000 / 185000000 = 0.378 g/ml."""
    values, affine = read_suv(pet_files.pet_series(tmp_path))
    assert values.shape == (4, 3, 5) and values.dtype == np.float32
    np.testing.assert_allclose(values, pet_files.ACTIVITY * HALF_LEFT, rtol=1e-6)
    assert values[3, 1, 1] == pytest.approx(1000 * 0.000378378, rel=1e-5)
    np.testing.assert_allclose(affine, pet_files.AFFINE)


@pytest.mark.parametrize(
    ("change", "factor"),
    [
        (_set(), HALF_LEFT),
        # corrected to the injection: all of the dose counts
        (_set(DecayCorrection="ADMIN"), 70000 / 370e6),
        (_set(DecayCorrection="ADMIN", RadiopharmaceuticalStartTime=None), 70000 / 370e6),
        # an hour: 2 ** (-3600 / 6586.2) = 0.684633 of the dose are left
        (_set(RadiopharmaceuticalStartTime="100000"), 70000 / (370e6 * 0.6846329)),
        # a series that was made later: the earliest slice says when the scan began
        (_set(SeriesTime="150000", AcquisitionTime=lambda k: f"11{k:02d}00"), HALF_LEFT),
        # injected before midnight, scanned after it: by the time alone, and by the date
        (_set(SeriesTime="010000", AcquisitionTime="010200", RadiopharmaceuticalStartTime="231013.8"), HALF_LEFT),
        (
            _set(SeriesTime="010000", AcquisitionTime="010200", RadiopharmaceuticalStartDateTime="20240101231013.800"),
            HALF_LEFT,
        ),
        # the date counts before the time that contradicts it; time zones
        (_set(RadiopharmaceuticalStartDateTime="20240102091013.8", RadiopharmaceuticalStartTime="000000"), HALF_LEFT),
        (_set(RadiopharmaceuticalStartDateTime="20240102081013.8+0000", TimezoneOffsetFromUTC="+0100"), HALF_LEFT),
        # across midnight, injected one half-life before the series began
        (
            _set(SeriesTime="235000", AcquisitionDate="20240103", AcquisitionTime="001000", RadiopharmaceuticalStartTime="220013.8"),
            HALF_LEFT,
        ),
        # SUV already, whatever else is missing
        (_set(Units="GML", PatientWeight=None, SUVType="BW"), 1.0),
        (_set(Units="GML", RadiopharmaceuticalInformationSequence=None), 1.0),
    ],
)
def test_factor(change: Callable, factor: float, tmp_path: Path) -> None:
    assert suv_factor(pet_files.pet_series(tmp_path, change)) == pytest.approx(factor, rel=2e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set(Units="CNTS"), r"PT9.dcm: Units \(0054,1001\) is CNTS, from which SUV cannot be computed.* Fix: export it in BQML"),
        (_set(Units=None), r"Units \(0054,1001\) is missing"),
        (_set(Units="GML", SUVType="LBM"), r"SUVType \(0054,1006\) is LBM, not BW"),
        (_set(DecayCorrection="NONE"), r"DecayCorrection \(0054,1102\) is NONE"),
        (_set(CorrectedImage=["DECY", "SCAT"]), r"CorrectedImage \(0028,0051\) is DECY, SCAT: SUV take ATTN and DECY"),
        (_set(CorrectedImage=None), r"CorrectedImage \(0028,0051\) is missing"),
        (_set(PatientWeight=None), r"PatientWeight \(0010,1030\) is missing"),
        (_set(PatientWeight="0"), r"PatientWeight \(0010,1030\) is 0, which cannot be kg"),
        (_set(RadionuclideTotalDose="370"), r"RadionuclideTotalDose \(0018,1074\) is 370, which cannot be Bq"),
        (_set(RadionuclideHalfLife=None), r"RadionuclideHalfLife \(0018,1075\) is missing"),
        (_set(RadiopharmaceuticalInformationSequence=None), r"\(0054,0016\) has 0 items"),
        (_set(RadiopharmaceuticalStartTime=None), r"RadiopharmaceuticalStartTime \(0018,1072\) are missing"),
        (_set(RadiopharmaceuticalStartTime="noon"), r"RadiopharmaceuticalStartTime is '20240102 noon', which is no date and time"),
        (_set(RadiopharmaceuticalStartDateTime="20240102120000"), r"the injection was at 2024-01-02 12:00:00, and the scan began at"),
        (_set(RadiopharmaceuticalStartDateTime="20231230100000"), r"its decay cannot be computed"),
        # 08:10 in London is 09:10 in Berlin: of which the series' 11:00 is, nothing says
        (
            _set(RadiopharmaceuticalStartDateTime="20240102081013.8+0000"),
            r"is in the time zone \+0000, and the series does not name its own",
        ),
        # across midnight, or made anew late on the same day
        (
            _set(SeriesTime="235000", AcquisitionDate=None, AcquisitionTime="001000", RadiopharmaceuticalStartTime="220000"),
            r"the series began at 2024-01-02 23:50:00, and AcquisitionTime \(0008,0032\) 00:10:00 does not say on which day",
        ),
        # zirconium-89 is scanned days after the injection
        (_set(RadionuclideHalfLife="282276"), r"its half-life is 282276 s.* does not say on which day"),
        (_set(SeriesTime=None, AcquisitionTime=None), r"SeriesDate and SeriesTime"),
        (_set(RescaleSlope=None, RescaleIntercept=None), r"RescaleSlope \(0028,1053\) is missing"),
    ],
)
def test_what_does_not_say_its_suv_is_refused(change: Callable, message: str, tmp_path: Path) -> None:
    files = pet_files.pet_series(tmp_path, change)
    with pytest.raises(UserError, match=message) as caught:
        read_suv(files)
    assert "Fix:" in str(caught.value) and "\n" not in str(caught.value)


def test_a_ct_is_no_pet(tmp_path: Path) -> None:
    import dicom_files

    files = dicom_files.series(tmp_path, lambda ds, k: setattr(ds, "Units", "GML"))
    with pytest.raises(UserError, match=r"this is not a PET \(CT\). Fix: give the PET itself"):
        read_suv(files)
