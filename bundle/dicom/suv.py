"""Standardised uptake values, by body weight, of a PET series.

SUVbw = activity (Bq/ml) x weight (g) / dose (Bq) at the time to which the images are corrected for decay. As the Quantitative Imaging
Biomarkers Alliance does it (FDG-PET/CT profile, SUV by vendor-neutral elements), https://qibawiki.rsna.org; elements: DICOM PS3.3,
C.8.9. What is not known for sure is refused: a wrong SUV looks like a right one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

import numpy as np

from bundle.dicom.elements import PIXEL_GROUP, Elements, opened, time_zone
from bundle.dicom.pixels import read_series
from bundle.errors import UserError

TAGS = {
    "SeriesDate": 0x00080021,
    "AcquisitionDate": 0x00080022,
    "SeriesTime": 0x00080031,
    "AcquisitionTime": 0x00080032,
    "TimezoneOffsetFromUTC": 0x00080201,
    "PatientWeight": 0x00101030,
    "RadiopharmaceuticalStartTime": 0x00181072,
    "RadionuclideTotalDose": 0x00181074,
    "RadionuclideHalfLife": 0x00181075,
    "RadiopharmaceuticalStartDateTime": 0x00181078,
    "CorrectedImage": 0x00280051,
    "RescaleSlope": 0x00281053,
    "RadiopharmaceuticalInformationSequence": 0x00540016,
    "Units": 0x00541001,
    "SUVType": 0x00541006,
    "DecayCorrection": 0x00541102,
}
# kg and Bq beyond which a value is in another unit, or a slip
WEIGHTS, DOSES = (0.01, 650.0), (1e5, 1e11)
# seconds: from a tenth of a minute to a year
HALF_LIVES = (6.0, 3.2e7)
# of so many half-lives between injection and scan nothing is left to be seen
MOST_HALF_LIVES = 10.0
# a nuclide that lives longer (s) may be scanned on another day than that of the injection
SAME_DAY = 12 * 3600.0
EXPORT = "export the series again with it, or give the PET as a NIfTI file in SUV"


def read_suv(files: Sequence[str | os.PathLike]) -> tuple[np.ndarray, np.ndarray]:
    """SUV by body weight, and grid, of a PET series, its files in any order.

    Returns:
        values (X, Y, Z), float32; and the affine (4, 4) from voxel indices to mm, RAS+.

    Raises:
        UserError: the files are no volume, or do not say what their SUV are.
    """
    factor = suv_factor(files)
    values, affine = read_series(files, pet=True)
    return values * np.float32(factor), affine


def suv_factor(files: Sequence[str | os.PathLike]) -> float:
    """What the values of a PET series are multiplied with to become SUV by body weight; 1 where they are SUV already.

    Raises:
        UserError: an element that it takes is missing, or has a value that does not say it.
    """
    headers = [_header(str(file)) for file in files]
    first, where = headers[0], str(files[0])
    if not first.text("RescaleSlope"):
        raise UserError(where, "RescaleSlope (0028,1053) is missing, so that its values are no activity", EXPORT)
    units = first.text("Units").upper()
    if units == "GML":
        _check_type(first, where)
        return 1.0
    if units != "BQML":
        fix = "export it in BQML (activity) or GML (SUV), or give the PET as a NIfTI file in SUV"
        raise UserError(where, f"Units (0054,1001) is {units or 'missing'}, from which SUV cannot be computed", fix)
    corrected = [part.upper() for part in first.texts("CorrectedImage")]
    if not {"ATTN", "DECY"} <= set(corrected):
        problem = f"CorrectedImage (0028,0051) is {', '.join(corrected) if any(corrected) else 'missing'}: SUV take ATTN and DECY"
        raise UserError(where, problem, "give the series that is corrected for attenuation and decay")
    injected = _injected(first, where)
    weight = _number(first, "PatientWeight", "0010,1030", "kg", WEIGHTS, where)
    return 1000.0 * weight / injected.at(_decay_seconds(headers, injected, where))


def attenuation_corrected(file: str | os.PathLike) -> bool:
    """Whether a slice of a PET series says that it is corrected for attenuation."""
    return "ATTN" in [part.upper() for part in _header(str(file)).texts("CorrectedImage")]


@dataclass(frozen=True)
class _Injected:
    """What was injected: dose in Bq, half-life in s, and the header that says when."""

    dose: float
    half_life: float
    header: Elements

    def at(self, seconds: float) -> float:
        """Bq that are left after so many seconds."""
        return self.dose * 0.5 ** (seconds / self.half_life)


def _injected(header: Elements, where: str) -> _Injected:
    items = header.items("RadiopharmaceuticalInformationSequence")
    if len(items) != 1:
        problem = f"RadiopharmaceuticalInformationSequence (0054,0016) has {len(items)} items, and SUV are of one injection"
        raise UserError(where, problem, EXPORT)
    dose = _number(items[0], "RadionuclideTotalDose", "0018,1074", "Bq", DOSES, where)
    half_life = _number(items[0], "RadionuclideHalfLife", "0018,1075", "s", HALF_LIVES, where)
    return _Injected(dose, half_life, items[0])


def _decay_seconds(headers: Sequence[Elements], injected: _Injected, where: str) -> float:
    """Seconds from the injection to the time to which the images are corrected."""
    correction = headers[0].text("DecayCorrection").upper()
    if correction == "ADMIN":
        return 0.0
    if correction != "START":
        fix = "give a series that is corrected to the start of the scan (START) or to the injection (ADMIN)"
        raise UserError(where, f"DecayCorrection (0054,1102) is {correction or 'missing'}", fix)
    start = _scan_start(headers, where)
    injection = _injection_time(injected, headers[0], start, where)
    seconds = (start - injection).total_seconds()
    if not 0 <= seconds <= MOST_HALF_LIVES * injected.half_life:
        problem = f"the injection was at {injection}, and the scan began at {start}: its decay cannot be computed"
        raise UserError(where, problem, "correct RadiopharmaceuticalStartDateTime (0018,1078), or the times of the series")
    return seconds


def _scan_start(headers: Sequence[Elements], where: str) -> datetime:
    """The start of the scan: the series' time; of a series that was made later, the time of its earliest slice."""
    series = _moment(headers[0], "SeriesDate", "SeriesTime", where)
    slices = [_moment(header, "AcquisitionDate", "AcquisitionTime", where, "SeriesDate") for header in headers]
    for header, moment in zip(headers, slices, strict=True):
        if series and moment and not header.text("AcquisitionDate") and abs(series - moment) > timedelta(hours=12):
            problem = f"the series began at {series}, and AcquisitionTime (0008,0032) {moment:%H:%M:%S} does not say on which day"
            raise UserError(where, problem, "export the series again with AcquisitionDate (0008,0022)")
    known = [moment for moment in slices if moment is not None]
    earliest = min(known) if known and len(known) == len(slices) else None
    found = min(moment for moment in (series, earliest) if moment is not None) if series or earliest else None
    if found is None:
        raise UserError(where, "SeriesDate and SeriesTime (0008,0021 and 0031) are missing, so that its decay cannot be computed", EXPORT)
    return found


def _injection_time(injected: _Injected, header: Elements, start: datetime, where: str) -> datetime:
    """When it was injected; a time without a date is the last such time before the scan."""
    text = injected.header.text("RadiopharmaceuticalStartDateTime")
    if text:
        return _date_time(text, header.text("TimezoneOffsetFromUTC"), where)
    text = injected.header.text("RadiopharmaceuticalStartTime")
    if not text:
        problem = "RadiopharmaceuticalStartDateTime (0018,1078) and RadiopharmaceuticalStartTime (0018,1072) are missing"
        raise UserError(where, problem, EXPORT)
    if injected.half_life > SAME_DAY:
        problem = f"its half-life is {injected.half_life:g} s, and RadiopharmaceuticalStartTime (0018,1072) does not say on which day"
        raise UserError(where, problem, "export the series again with RadiopharmaceuticalStartDateTime (0018,1078)")
    found = _at(start.strftime("%Y%m%d"), text, "RadiopharmaceuticalStartTime", where)
    return found if found <= start else found - timedelta(days=1)


def _moment(header: Elements, date: str, time: str, where: str, other_date: str = "") -> datetime | None:
    day = header.text(date) or (header.text(other_date) if other_date else "")
    return _at(day, header.text(time), time, where) if day and header.text(time) else None


def _date_time(text: str, zone: str, where: str) -> datetime:
    """A DT, in the time zone of the series."""
    match = re.fullmatch(r"(\d{8})(\d{2,6}(?:\.\d{1,6})?)([+-]\d{4})?", text)
    if match is None:
        _refuse_time("RadiopharmaceuticalStartDateTime", text, where)
    found = _at(match[1], match[2], "RadiopharmaceuticalStartDateTime", where)
    if not match[3]:
        return found
    own, other = time_zone(match[3]), time_zone(zone)
    if own is None:
        _refuse_time("RadiopharmaceuticalStartDateTime", text, where)
    if other is None:
        problem = f"RadiopharmaceuticalStartDateTime (0018,1078) is in the time zone {match[3]}, and the series does not name its own"
        raise UserError(where, problem, "export the series again with TimezoneOffsetFromUTC (0008,0201)")
    return found.replace(tzinfo=own).astimezone(other).replace(tzinfo=None)


def _at(date: str, time: str, name: str, where: str) -> datetime:
    """A DA and a TM; hours alone, and hours and minutes, are times too."""
    match = re.fullmatch(r"(\d\d)(\d\d)?(\d\d)?(\.\d{1,6})?", time.replace(":", ""))
    try:
        hours, minutes, seconds = (int(part or 0) for part in match.groups()[:3]) if match else (-1, 0, 0)
        day = datetime.strptime(date.replace(".", ""), "%Y%m%d")
        return day.replace(hour=hours, minute=minutes, second=min(seconds, 59)) + timedelta(seconds=float((match and match[4]) or 0))
    except ValueError:
        _refuse_time(name, f"{date} {time}".strip(), where)


def _refuse_time(name: str, text: str, where: str) -> NoReturn:
    raise UserError(where, f"{name} is {text[:40]!r}, which is no date and time", "repair the header")


def _number(header: Elements, name: str, tag: str, unit: str, bounds: tuple[float, float], where: str) -> float:
    try:
        found = header.numbers(name, 1)
    except ValueError as error:
        raise UserError(where, str(error), EXPORT) from error
    if found is None:
        raise UserError(where, f"{name} ({tag}) is missing, so that SUV cannot be computed", EXPORT)
    if not bounds[0] <= found[0] <= bounds[1]:
        raise UserError(
            where, f"{name} ({tag}) is {found[0]:g}, which cannot be {unit}", "correct it in the header, or give SUV as a NIfTI file"
        )
    return found[0]


def _check_type(header: Elements, where: str) -> None:
    kind = header.text("SUVType").upper()
    if kind not in ("", "BW"):
        raise UserError(where, f"SUVType (0054,1006) is {kind}, not BW (body weight)", "export it in BQML, or as SUV by body weight")


def _header(file: str) -> Elements:
    from pydicom.filereader import read_partial

    try:
        with opened(file) as (stream, _):
            wanted = list(TAGS.values())
            dataset = read_partial(stream, stop_when=lambda tag, vr, length: tag >> 16 == PIXEL_GROUP, force=True, specific_tags=wanted)
        return Elements(dataset, TAGS)
    except UserError:
        raise
    except Exception as error:  # pydicom raises of every kind for damaged files
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise UserError(file, f"its DICOM header is damaged ({reason})", "export or copy it again") from error
