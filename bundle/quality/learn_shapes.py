"""Verb `shapes`: volume, place and shape of each structure in a folder of label maps, as the JSON that `ShapePriord` reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bundle import grids
from bundle import labels as label_block
from bundle.data import label_maps
from bundle.errors import UserError
from bundle.files import write_json
from bundle.quality.learn_ranges import MIN_CASES, merged
from bundle.transforms.shape_prior import Piece, centre_of, pieces_of

# a piece below this share of the largest one is a fragment, not an organ
FRAGMENT = 0.1
# of logarithms of volumes and lengths: a very even training set says nothing about differences smaller than these
MIN_SD = 0.05


class Organ:
    """The main pieces of a structure in one case, the largest first, and its volume in ml."""

    def __init__(self, pieces: Sequence[Piece], voxel_ml: float) -> None:
        self.pieces = [piece for piece in pieces if piece.voxels >= FRAGMENT * pieces[0].voxels]
        self.ml = sum(piece.voxels for piece in pieces) * voxel_ml

    def centre(self, usual: int) -> np.ndarray:
        """Centre of mass (3,) of the usual number of pieces, in mm."""
        return centre_of(self.pieces, usual)


Case = Mapping[str, Organ]


def shapes(dataset: str, out: str = "shapes.json", labels: Mapping | str | None = None) -> None:
    """Write volume, place and shape of each structure in a labelled data set, for the key `shape_prior` of inference.

    Args:
        dataset: folder in MSD layout (labelsTr), or a folder of label maps.
        out: the JSON file to write.
        labels: name to value, or a JSON file with such a block; by default the data set's dataset.json.
    """
    base = Path(dataset)
    folder = base / "labelsTr" if (base / "labelsTr").is_dir() else base
    block = label_block.resolve(labels, [folder, folder.parent]).block
    learned = learn_shapes(_organs(label_maps.find(folder), block), list(block)[1:])
    if not learned["structures"]:
        problem = f"{MIN_CASES} cases with structures that do not reach the border of the scan are needed"
        raise UserError(folder, problem, "give more label maps")
    write_json(out, learned)
    print(f"volume, place and shape of {', '.join(learned['structures'])} in {learned['cases']} cases are in {out}")


def learn_shapes(cases: Iterable[Case], structures: Sequence[str]) -> dict[str, Any]:
    """For each structure `pieces`, `log_ml`, `log_axes_mm`, and its `place` relative to each other structure.

    A place is a normal distribution of the structure's voxels: the mean and covariance of the centre over the cases, plus the
    covariance of the voxels around their own centre; one for each of the usual pieces, which are told apart by their order from the
    patient's left to the right. What fewer than five cases have is left out.

    Args:
        cases: structure to its pieces, without structures that reach the border of the scan.
        structures: names in the order of the file.
    """
    seen = list(cases)
    usual = {name: _usual_pieces([case[name] for case in seen if name in case]) for name in structures}
    learned = {}
    for name in structures:
        whole = [case for case in seen if name in case and len(case[name].pieces) >= usual[name]]
        if len(whole) < MIN_CASES:
            continue
        axes = np.log([case[name].pieces[0].axes_mm for case in whole])
        volumes = np.log([case[name].ml for case in whole])
        learned[name] = {
            "cases": len(whole),
            "pieces": usual[name],
            "log_ml": _normal(volumes),
            "log_axes_mm": _normal(axes),
            "place": {other: place for other in structures if other != name and (place := _place(whole, name, other, usual))},
        }
    return {"cases": len(seen), "structures": learned}


def _usual_pieces(organs: Sequence[Organ]) -> int:
    counts = [len(organ.pieces) for organ in organs]
    return int(np.median(counts)) if counts else 1


def _normal(values: np.ndarray) -> dict[str, Any]:
    sd = np.maximum(values.std(axis=0, ddof=1), MIN_SD)
    return {"mean": np.round(values.mean(axis=0), 4).tolist(), "sd": np.round(sd, 4).tolist()}


def _place(cases: Sequence[Case], name: str, other: str, usual: Mapping[str, int]) -> list[dict[str, Any]]:
    """Where the pieces of a structure are relative to another structure's centre; empty where too few cases have both."""
    both = [case for case in cases if other in case and len(case[other].pieces) >= usual[other]]
    if len(both) < MIN_CASES:
        return []
    modes = []
    for place in range(usual[name]):
        pieces = [sorted(case[name].pieces[: usual[name]], key=lambda piece: piece.centre[0])[place] for case in both]
        offsets = np.array([piece.centre - case[other].centre(usual[other]) for piece, case in zip(pieces, both, strict=True)])
        covariance = np.cov(offsets.T) + np.mean([piece.covariance for piece in pieces], axis=0)
        modes.append({"mean_mm": np.round(offsets.mean(0), 1).tolist(), "covariance_mm2": np.round(covariance, 1).tolist()})
    return modes


def _organs(maps: Mapping[str, Path], block: label_block.Labels) -> Iterable[Case]:
    from tqdm import tqdm

    values = dict(zip(label_block.names(block)[1:], label_block.output_values(block)[1:], strict=True))
    for path in tqdm(maps.values(), desc="shapes", unit="case", disable=None):
        labels, affine = label_maps.read(path)
        labels, case = merged(labels, block), {}
        for name, value in values.items():
            box = grids.box(labels == value)
            if box is not None and not grids.at_border(box, labels.shape):
                pieces, _ = pieces_of(labels[box] == value, affine, [part.start for part in box])
                case[name] = Organ(pieces, grids.voxel_ml(affine))
        yield case
