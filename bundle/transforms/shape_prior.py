"""What organs look like in a training set, against a label map: pieces in impossible places go, odd volumes and shapes are noted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms import MapTransform
from scipy import ndimage
from scipy.special import chdtri, stdtrit

from bundle import grids
from bundle.errors import UserError
from bundle.json_input import read_json
from bundle.labels import Labels, check_known, names, output_values
from bundle.transforms.keep_pieces import LEFT_OUT

# under this name the meta data of a label map may have reasons to review it: (weight, words)
NOTES = "review_notes"
# chance that a piece in a usual place, or a usual volume or shape, is taken for an unusual one
OUTSIDE = 0.001
# squared distance in standard deviations beyond which a place in three dimensions is out of the question
FARTHEST = float(chdtri(3, OUTSIDE))

Prior = Mapping[str, Mapping[str, Any]]


class Piece(NamedTuple):
    """A connected piece of a structure: its number, voxels, centre (3,) in RAS+ mm, and covariance (3, 3) of its voxels in mm^2."""

    number: int
    voxels: int
    centre: np.ndarray
    covariance: np.ndarray

    @property
    def axes_mm(self) -> np.ndarray:
        """Lengths in mm of the axes of the ellipsoid with the same moments, the longest first."""
        return 2 * np.sqrt(5 * np.clip(np.linalg.eigvalsh(self.covariance)[::-1], 1e-9, None))


def pieces_of(inside: np.ndarray, affine: np.ndarray, origin: Sequence[int] = (0, 0, 0)) -> tuple[list[Piece], np.ndarray]:
    """The pieces of a mask, the largest first, and the mask with their numbers.

    Args:
        inside: (X, Y, Z) bool; pieces are connected by faces, edges or corners.
        affine: (4, 4), from voxel indices of the whole scan to RAS+ millimetres.
        origin: index of the mask's first voxel in the scan.
    """
    numbered, count = ndimage.label(inside, structure=np.ones((3, 3, 3)))
    places = np.argwhere(inside) + np.asarray(origin)
    number_of = numbered[inside]
    order = np.argsort(number_of, kind="stable")
    # a voxel is not a point: its own extent is part of the moments
    voxel = np.diag(grids.spacing(affine) ** 2 / 12)
    found = []
    for number, index in enumerate(np.split(places[order], np.flatnonzero(np.diff(number_of[order])) + 1), 1):
        if count:
            points = index @ affine[:3, :3].T + affine[:3, 3]
            centre = points.mean(0)
            found.append(Piece(number, len(points), centre, (points - centre).T @ (points - centre) / len(points) + voxel))
    return sorted(found, key=lambda piece: -piece.voxels), numbered


class ShapePriord(MapTransform):
    """Drops pieces of structures that lie where no case of the training set has any, and notes unusual volumes and shapes.

    A piece is out of place when its centre is farther from where the voxels of the structure are, relative to every other structure
    that was found, than four standard deviations: the distance of Mahalanobis, in which the other structure that speaks for the
    piece counts. The piece nearest to its usual place always stays, with a note where it is out of place itself. What was left out is
    counted with what `KeepPiecesd` leaves out; notes become reasons to review the case. MONAI has no such transform.

    Args:
        keys: label maps (1, X, Y, Z), `MetaTensor`s on the grid of the scan.
        prior: file that `python -m bundle shapes` has written; None changes nothing.
        labels: the `labels` block, name to value.
        allow_missing_keys: do not raise where a key is missing.

    Raises:
        UserError: the file is missing, is not what `shapes` writes, or knows none of the structures.
    """

    def __init__(self, keys: KeysCollection, prior: str | None, labels: Labels, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.prior = {} if prior is None else load_prior(prior)
        if prior is not None:
            check_known(self.prior, labels, prior)
        self.values = dict(zip(names(labels)[1:], output_values(labels)[1:], strict=True))
        self.background = output_values(labels)[0]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace every key by its cleaned label map; the one given stays as it is."""
        d = dict(data)
        for key in self.key_iterator(d):
            if self.prior:
                given = d[key]
                cleaned = MetaTensor(given.as_tensor().clone()).copy_meta_from(given)
                removed, notes = self._clean(cleaned.as_tensor()[0].numpy(), np.asarray(given.affine, np.float64))
                cleaned.meta[LEFT_OUT] = dict(Counter(given.meta.get(LEFT_OUT, {})) + Counter(removed))
                cleaned.meta[NOTES] = [*given.meta.get(NOTES, []), *notes]
                d[key] = cleaned
        return d

    def _clean(self, labels: np.ndarray, affine: np.ndarray) -> tuple[dict[int, int], list[tuple[float, str]]]:
        """Clean a label map in place; value to voxels that were removed, and notes."""
        found: dict[str, tuple[list[Piece], np.ndarray, np.ndarray]] = {}
        for name, value in self.values.items():
            box = grids.box(labels == value)
            if box is not None:
                found[name] = (*pieces_of(labels[box] == value, affine, [part.start for part in box]), labels[box])
        centres = {name: centre_of(pieces, self.prior[name]["pieces"]) for name, (pieces, _, _) in found.items() if name in self.prior}
        removed, notes = {}, []
        for name, (pieces, numbered, inside) in found.items():
            if name not in self.prior:
                continue
            distances = [_distance(piece, self.prior[name]["place"], centres) for piece in pieces]
            nearest = min(distances)
            kept = [piece for piece, distance in zip(pieces, distances, strict=True) if distance <= max(FARTHEST, nearest)]
            gone = [piece.number for piece in pieces if piece not in kept]
            inside[np.isin(numbered, gone) & (numbered > 0)] = self.background
            removed[self.values[name]] = sum(piece.voxels for piece in pieces if piece.number in gone)
            if nearest > FARTHEST:
                notes.append((0.3, f"{name}: its place is unlike that of the {self.prior[name]['cases']} cases of the training set"))
            box = grids.box(labels == self.values[name])
            if box is None or not grids.at_border(box, labels.shape):
                notes += _unusual(name, kept, self.prior[name], grids.voxel_ml(affine))
        return removed, notes


def load_prior(path: str) -> dict[str, dict[str, Any]]:
    """Structure to its statistics, of a file of `python -m bundle shapes`.

    Raises:
        UserError: the file is missing, or is something else.
    """
    content = read_json(Path(path))
    try:
        structures = dict(content["structures"])
        for entry in structures.values():
            for others in entry["place"].values():
                for mode in others:
                    np.asarray(mode["mean_mm"], float).reshape(3), np.linalg.inv(np.asarray(mode["covariance_mm2"], float).reshape(3, 3))
            for measure, width in (("log_ml", 1), ("log_axes_mm", 3)):
                np.broadcast_to(np.asarray([entry[measure]["mean"], entry[measure]["sd"]], float).reshape(2, -1), (2, width))
            int(entry["pieces"]), int(entry["cases"])
    except (KeyError, TypeError, ValueError, AttributeError, np.linalg.LinAlgError):
        raise UserError(path, "is not a shape prior", "write one by `python -m bundle shapes FOLDER FILE`") from None
    return structures


def centre_of(pieces: Sequence[Piece], usual: int) -> np.ndarray:
    """Centre of mass (3,), in mm, of the usual number of pieces, the largest first."""
    main = pieces[:usual]
    return np.average([piece.centre for piece in main], axis=0, weights=[piece.voxels for piece in main])


def _distance(piece: Piece, place: Mapping[str, Sequence[Mapping[str, Any]]], centres: Mapping[str, np.ndarray]) -> float:
    """Squared distance of Mahalanobis to the nearest usual place; 0 where no other structure was found to measure from."""
    distances = []
    for other, modes in place.items():
        if other in centres:
            for mode in modes:
                apart = piece.centre - centres[other] - np.asarray(mode["mean_mm"])
                distances.append(float(apart @ np.linalg.solve(np.asarray(mode["covariance_mm2"]), apart)))
    return min(distances, default=0.0)


def _unusual(name: str, pieces: Sequence[Piece], entry: Mapping[str, Any], voxel_ml: float) -> list[tuple[float, str]]:
    """Notes about the volume of a structure, and about the axes of its largest piece."""
    n = int(entry["cases"])
    # of a further case of the same normal distribution
    width = float(stdtrit(n - 1, 1 - OUTSIDE / 2)) * sqrt(1 + 1 / n)
    volume = sum(piece.voxels for piece in pieces) * voxel_ml
    mean, sd = float(entry["log_ml"]["mean"]), float(entry["log_ml"]["sd"])
    notes = []
    if abs(np.log(volume) - mean) > width * sd:
        low, high = np.exp([mean - width * sd, mean + width * sd])
        notes.append((0.5, f"{name}: {volume:.3g} ml ({n} cases of the training set: {low:.0f} to {high:.0f} ml)"))
    axes = pieces[0].axes_mm
    apart = np.abs(np.log(axes) - np.asarray(entry["log_axes_mm"]["mean"]))
    if (apart > width * np.asarray(entry["log_axes_mm"]["sd"])).any():
        lengths = ", ".join(f"{length:.0f}" for length in axes)
        notes.append((0.7, f"{name}: its axes of {lengths} mm are unlike those of the {n} cases of the training set"))
    return notes
