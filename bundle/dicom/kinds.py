"""What a DICOM object is, where it is not a CT scan."""

from __future__ import annotations

from bundle.dicom.elements import Elements

STORAGE = "1.2.840.10008.5.1.4.1.1."
# CT, enhanced, legacy converted; cone beam (X-ray 3D angiographic, craniofacial)
CT_CLASSES = {STORAGE + end for end in ("2", "2.1", "2.2", "13.1.1", "13.1.2")}
CAPTURES = {STORAGE + end for end in ("7", "7.1", "7.2", "7.3", "7.4")}
# beginnings of SOP class UIDs; the first that fits counts
CLASSES = {
    "1.2.840.10008.1.3.10": "DICOMDIR",
    STORAGE + "66.4": "DICOM SEG",
    STORAGE + "66.7": "DICOM SEG",
    STORAGE + "66": "DICOM registration or raw data",
    STORAGE + "481.2": "RTDOSE",
    STORAGE + "481.3": "RTSTRUCT",
    STORAGE + "481.5": "RTPLAN",
    STORAGE + "481": "radiotherapy object",
    STORAGE + "88.67": "dose report",
    STORAGE + "88.76": "dose report",
    STORAGE + "88": "structured report",
    STORAGE + "104": "document",
    STORAGE + "11": "presentation state",
    STORAGE + "9": "waveform",
    STORAGE + "128": "PET",
    STORAGE + "130": "PET",
    STORAGE + "4": "MR",
    STORAGE + "20": "nuclear medicine",
    STORAGE + "6": "ultrasound",
    STORAGE + "3": "ultrasound",
    STORAGE + "30": "parametric map",
}
MODALITIES = {
    "PT": "PET",
    "MR": "MR",
    "NM": "nuclear medicine",
    "US": "ultrasound",
    "SEG": "DICOM SEG",
    "RTSTRUCT": "RTSTRUCT",
    "RTDOSE": "RTDOSE",
    "RTPLAN": "RTPLAN",
    "RTIMAGE": "radiotherapy object",
    "SR": "structured report",
    "PR": "presentation state",
    "KO": "structured report",
    "REG": "DICOM registration or raw data",
    "DOC": "document",
}
# of values that are not HU: optical density, effective atomic number, electron density, activity, ...
OTHER_UNITS = {"OD", "MGML", "Z_EFF", "ED", "EDW", "PCT", "BQML", "CNTS", "PROPCNTS", "SUV"}


def kind_of(header: Elements, sop_class: str, pixels: bool) -> str | None:
    """What an object is that is not a CT scan, such as "PET"; None for a CT, whole or damaged.

    Args:
        header: its elements.
        sop_class: its SOP class, also where only the file meta information has it.
        pixels: whether it has any.
    """
    modality = header.text("Modality").upper()
    if sop_class not in CT_CLASSES:
        for beginning, kind in CLASSES.items():
            if sop_class == beginning or sop_class.startswith(beginning + "."):
                return kind
    types = [part.upper() for part in header.texts("ImageType")]
    if "LOCALIZER" in types or "SCOUT" in types:
        return "localizer"
    if sop_class in CAPTURES or "SCREEN SAVE" in types:
        return _capture(header, types)
    if modality in ("CT", "") or (sop_class in CT_CLASSES and modality not in MODALITIES):
        return None if pixels or modality == "CT" or sop_class in CT_CLASSES else "DICOM object without an image"
    return MODALITIES.get(modality, f"DICOM of modality {modality[:16]}")


def pet_kind(header: Elements, sop_class: str, pixels: bool) -> str | None:
    """What an object is that is not a PET image; None for a PET image, whole or damaged. Arguments as `kind_of`."""
    kind = kind_of(header, sop_class, pixels) or "CT"
    return None if kind == "PET" else kind


def _capture(header: Elements, types: list[str]) -> str | None:
    """A picture of a screen; None where it may be a scan: it has a place, or is a stack of grey pictures."""
    colour = header.text("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2")
    if not colour and "SCREEN SAVE" not in types:
        frames = header.text("NumberOfFrames")
        if (header.has("ImagePositionPatient") and header.has("ImageOrientationPatient")) or frames not in ("", "1"):
            return MODALITIES.get(header.text("Modality"))
    return "dose report" if "dose" in header.text("SeriesDescription").lower() else "secondary capture"
