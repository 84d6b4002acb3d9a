"""NIfTI, Analyze and MGH: what the header says, in mm, and the voxels read once, to a verified end."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bundle import read_ahead
from bundle.errors import UserError, counted
from bundle.grids import spacing
from bundle.images import streams
from bundle.images.forms import Forms
from bundle.images.names import PAIR_ENDINGS, ending, kind, voxels_of_pair
from bundle.images.voxels import CHUNK

# mm in a unit of the header, by the lowest three bits of xyzt_units
UNITS = {0: (1.0, "mm"), 1: (1000.0, "metres"), 2: (1.0, "mm"), 3: (0.001, "microns")}
# what voxels of a body measure; only where the unit is not mm, because then the unit is wrong more often than not
PLAUSIBLE_MM = (0.02, 50.0)
HEADER_BYTES = 540
MGH_HEADER_BYTES = 284
# nibabel notes there what it repairs
_quiet = logging.getLogger("bundle.images.nibabel")
_quiet.disabled = True


@dataclass(frozen=True)
class Stored:
    """Where the voxels of a file are, and what they mean.

    Args:
        path: the file that the user named.
        voxels: the file that holds the voxels.
        shape: sizes as stored, with axes of length 1 behind the third.
        dtype: type as stored, with its byte order.
        offset: bytes before the first voxel, unpacked.
        slope, inter: values are `slope * stored + inter`.
        affine: (4, 4), voxel indices to mm, RAS+.
        forms: qform and sform of a NIfTI; None for other formats.
        orientation_known: whether the header says which side is which.
    """

    path: str
    voxels: str
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    slope: float
    inter: float
    affine: np.ndarray
    forms: Forms | None
    orientation_known: bool

    @cached_property
    def size(self) -> int:
        """How many voxels there are."""
        return int(np.prod([float(n) for n in self.shape]))

    @property
    def scaled(self) -> bool:
        """Whether stored values are not the values."""
        return (self.slope, self.inter) != (1.0, 0.0)

    @property
    def loaded_width(self) -> int:
        """Bytes that a voxel takes in a scan that was loaded: int16, or float32 where that is not enough."""
        return 2 if self.dtype.kind in "iub" and self.dtype.itemsize <= 2 else 4

    def check_length(self) -> None:
        """Refuse a file that cannot hold the voxels its header claims, before memory is taken for them.

        Raises:
            UserError: it is too short.
        """
        streams.check_regular(self.voxels)
        claimed, there = self.size * self.dtype.itemsize, os.path.getsize(self.voxels)
        how = streams.packing(self.voxels)
        problem = ""
        if self.offset > streams.MOST_BEHIND:
            problem = f"its header says that voxels begin at byte {self.offset}, far behind the header"
        elif how == "" and claimed + self.offset > there:
            problem = f"the file is truncated: it ends {counted(claimed + self.offset - there, 'byte')} too early"
        elif how == "gzip" and claimed > there * streams.MOST_COMPRESSION:
            problem = f"the file is truncated: its header claims {claimed} bytes of voxels, {there} packed bytes cannot hold them"
        if problem:
            raise UserError(self.path, problem, "copy or export it again")

    def stored(self, at_once: int = CHUNK) -> Iterator[np.ndarray]:
        """The stored values in the order of the file, `at_once` voxels at a time, in native byte order; then the file's end.

        Raises:
            EOFError, OSError, zlib.error, UserError: the file is truncated or damaged.
        """
        with read_ahead.stream(self.voxels) or streams.opened(self.voxels) as stream:
            streams.skip(stream, self.offset)
            for start in range(0, self.size, at_once):
                part = np.empty(min(at_once, self.size - start), dtype=self.dtype)
                streams.read_into(stream, part)
                yield part if part.dtype.isnative else part.byteswap(inplace=True).view(part.dtype.newbyteorder("="))
            streams.read_to_the_end(stream, self.voxels)

    def values(self, at_once: int = CHUNK) -> Iterator[np.ndarray]:
        """The values, as `stored`: of the stored type where they are not scaled, else int32 (whole offsets) or float32."""
        for part in self.stored(at_once):
            if not self.scaled:
                yield part
            elif self.slope == 1.0 and self.inter.is_integer() and part.dtype.kind in "iu" and part.dtype.itemsize <= 2:
                yield part.astype(np.int32) + np.int32(self.inter)
            else:
                part = part.astype(np.float32)
                part *= np.float32(self.slope)
                part += np.float32(self.inter)
                yield part


def header(path: str | os.PathLike) -> Stored:
    """What the header of a NIfTI, Analyze or MGH file says, its length in mm, without reading voxels.

    A file is unpacked by what it holds: a plain one named .nii.gz is read like a packed one named .nii.

    Raises:
        UserError: voxels have no size, or a unit that cannot be right; or the voxels of a pair are missing.
        Exception: nibabel's own, where the header makes no sense.
    """
    path = str(path)
    streams.check_regular(path)
    if kind(path) == "mgh":
        return _mgh(path)
    voxels = path
    if ending(path) in PAIR_ENDINGS:
        found = voxels_of_pair(path)
        if found is None:
            raise UserError(path, "its voxels are missing: there is no .img next to it", "copy both files of the pair")
        voxels = str(found)
    with streams.opened(path) as stream:
        block = stream.read(HEADER_BYTES)
    parsed = _parsed(block)
    if parsed is not None:
        return _nifti(path, voxels, *parsed)
    if ending(path) not in PAIR_ENDINGS:
        raise UserError(path, "the file cannot be read as an image (it has no NIfTI header)", "check that it is a scan")
    return _other(path, voxels)


def _parsed(block: bytes) -> tuple[Any, np.ndarray] | None:
    """nibabel's header, and `pixdim` as it is stored (nibabel makes 1 mm of 0 mm, and 1 of -1); None where it is not NIfTI.

    Extensions are not parsed: nothing here needs them, and odd ones would make the file unreadable.
    """
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    for parser in (Nifti1Header, Nifti2Header):
        length = parser.sizeof_hdr
        if len(block) < length or length not in (int.from_bytes(block[:4], order, signed=True) for order in ("little", "big")):
            continue
        found = parser(block[:length], check=False)
        magic = bytes(found["magic"].item())
        if magic[:3] in (b"n+1", b"ni1", b"n+2", b"ni2"):
            pixdim = np.array(found["pixdim"], dtype=float)
            found.check_fix(_quiet, error_level=40)
            return found, pixdim
    return None


def _nifti(path: str, voxels: str, found: Any, pixdim: np.ndarray) -> Stored:
    shape = tuple(int(n) for n in found.get_data_shape())
    forms, sizes = Forms.of(found).signed_as(pixdim), pixdim[1:4]
    if forms.sform_code == 0 and not (np.isfinite(sizes).all() and (sizes != 0).all()):
        said = "x".join(f"{size:g}" for size in sizes)
        fix = "set pixdim in its header to the size of a voxel in mm, or export it again"
        raise UserError(path, f"its header gives no voxel size (pixdim is {said}, and there is no sform)", fix)
    if path == voxels and found["magic"].item()[:2] == b"n+" and found.get_data_offset() < found.sizeof_hdr:
        problem = f"its header says that voxels begin at byte {found.get_data_offset()}, which is within the header"
        raise UserError(path, problem, f"set vox_offset in its header to where they begin ({found.sizeof_hdr + 4} as a rule)")
    # nibabel and ITK do not read a qform alike whose sizes are below 0, or whose direction of the third axis is neither 1 nor -1
    odd = bool((sizes < 0).any() or (pixdim[0] < 0 and pixdim[0] != -1))
    slope, inter = found.get_slope_inter()
    return Stored(
        path=path,
        voxels=voxels,
        shape=shape,
        dtype=found.get_data_dtype(),
        offset=int(found.get_data_offset()),
        slope=1.0 if slope is None else float(slope),
        inter=0.0 if slope is None or inter is None else float(inter),
        affine=_in_mm(path, np.asarray(found.get_best_affine(), dtype=np.float64), int(found["xyzt_units"]) & 7),
        forms=forms,
        orientation_known=forms.sform_code > 0 or (forms.qform_code > 0 and not odd),
    )


def _in_mm(path: str, affine: np.ndarray, unit: int) -> np.ndarray:
    if unit not in UNITS:
        fix = "set xyzt_units in its header to mm (2) if its numbers are mm"
        raise UserError(path, f"its header counts in a unit of length that NIfTI does not define ({unit})", fix)
    factor, name = UNITS[unit]
    if factor == 1:
        return affine
    affine = affine.copy()
    affine[:3] *= factor
    edges = spacing(affine)
    if edges.min() < PLAUSIBLE_MM[0] or edges.max() > PLAUSIBLE_MM[1]:
        said = "x".join(f"{edge:.3g}" for edge in edges)
        fix = "set xyzt_units in its header to mm (2) if its numbers are mm"
        raise UserError(path, f"its header says that its unit is {name}, so that voxels measure {said} mm", fix)
    return affine


def _mgh(path: str) -> Stored:
    """MGH of FreeSurfer, unpacked by what it holds, as NIfTI is: a plain one named .mgz is read like a packed one named .mgh."""
    from nibabel.freesurfer.mghformat import MGHError, MGHHeader

    with streams.opened(path) as stream:
        block = stream.read(MGH_HEADER_BYTES)
    if len(block) < MGH_HEADER_BYTES:
        raise UserError(path, "the file is truncated: it ends within its header", "copy or export it again")
    try:
        # behind the voxels there are settings of the scanner, which nothing here needs
        found = MGHHeader(block.ljust(MGHHeader.template_dtype.itemsize, b"\0"))
        dtype = found.get_data_dtype()
    except (MGHError, KeyError, ValueError) as error:
        raise UserError(path, "the file cannot be read as an image (it has no MGH header)", "check that it is a scan") from error
    _check_sizes(path, np.array(found["delta"], dtype=float))
    return Stored(
        path=path,
        voxels=path,
        shape=tuple(int(n) for n in found.get_data_shape()),
        dtype=dtype,
        offset=int(found.get_data_offset()),
        slope=1.0,
        inter=0.0,
        affine=np.asarray(found.get_affine(), dtype=np.float64),
        forms=None,
        orientation_known=bool(found["goodRASFlag"] > 0),
    )


def _check_sizes(path: str, sizes: np.ndarray) -> None:
    if not (np.isfinite(sizes).all() and (sizes != 0).all()):
        raise UserError(path, "its header gives no voxel size", "export it again")


def _other(path: str, voxels: str) -> Stored:
    """Analyze and SPM, whose headers nibabel reads."""
    import nibabel

    with nibabel.imageglobals.LoggingOutputSuppressor():
        image: Any = nibabel.load(path)
    found, proxy = image.header, image.dataobj
    _check_sizes(path, np.array(found["pixdim"][1:4], dtype=float))
    return Stored(
        path=path,
        voxels=voxels,
        shape=tuple(int(n) for n in image.shape),
        dtype=proxy.dtype,
        offset=int(proxy.offset),
        slope=float(proxy.slope),
        inter=float(proxy.inter),
        affine=np.asarray(image.affine, dtype=np.float64),
        forms=None,
        orientation_known=False,
    )
