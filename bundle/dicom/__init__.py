"""DICOM: which files are a scan, in which order, on which grid; everything else is left alone or refused with the reason.

Headers are read by pydicom, in pure Python, so that a damaged one cannot end the process. Pixels that are not compressed are read
by numpy; compressed ones by GDCM (ITK) in a process of its own.
"""

from __future__ import annotations

from bundle.dicom.elements import looks_like_dicom
from bundle.dicom.pixels import read_series, read_shape
from bundle.dicom.series import LeftAlone, Series, find_series, series_in

__all__ = ["LeftAlone", "Series", "find_series", "looks_like_dicom", "read_series", "read_shape", "series_in"]
