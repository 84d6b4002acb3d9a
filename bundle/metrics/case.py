"""The scores of one case: a row per structure, from two label maps on one grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import find_objects

from bundle import labels as label_block
from bundle.metrics.mesh import mesh_distance
from bundle.metrics.surface import surface_distances

COLUMNS = ("dice", "precision", "recall", "assd_mm", "hd95_mm", "mesh_mm", "volume_ml", "reference_ml")


def score_case(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float] | np.ndarray, labels: label_block.Labels
) -> list[dict[str, str | float | None]]:
    """Scores per structure of a predicted against a reference label map: overlap, surface distances in mm, volumes in ml.

    With P and R the voxels of the structure in the two maps:

    - dice 2|P and R| / (|P| + |R|), precision |P and R| / |P|, recall |P and R| / |R|;
    - surface: the voxels with a face neighbour outside the structure (`surface_points`);
    - assd_mm, average symmetric surface distance: the sum of all distances from P's surface voxels to R's surface and
      from R's to P's, over the number of both (Heimann et al. 2009, doi:10.1109/TMI.2009.2013851);
    - hd95_mm: the larger of the 95th percentiles (linear between ranks) of the two directed distances, as MONAI's
      `compute_hausdorff_distance(percentile=95)`; others pool both directions first, which gives smaller values;
    - mesh_mm: the same average between the surfaces as meshes, weighted by area (`mesh_distance`): what the paper's tables call surface
      to surface distance. 3-D maps only.

    What is not defined is None, never a number: without a reference all scores (a false positive shows in `volume_ml`);
    without a prediction precision and the distances, while dice and recall are 0.

    MONAI's metrics take one-hot volumes and build full distance maps, once per metric; this one takes label maps and
    needs little besides them, also at 512x512x800.

    Args:
        prediction, reference: integer label maps of one shape.
        spacing: mm per voxel along each axis, or the (dims, dims) part of an affine.
        labels: the `labels` block: name to value, or to a list of values that are one structure. Background comes first.

    Returns:
        a dict per structure, in the order of `labels` without background: `structure` and `COLUMNS`.

    Raises:
        ValueError: unequal shapes, or maps that hold no integers.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction has the shape {prediction.shape}, reference {reference.shape}: bring them to one grid first")
    for name, array in (("prediction", prediction), ("reference", reference)):
        if array.dtype.kind not in "iub":
            raise ValueError(f"{name} has the type {array.dtype}; label maps hold integers")
    scale = np.asarray(spacing, dtype=np.float64)
    voxel_ml = float(np.prod(scale) if scale.ndim == 1 else abs(np.linalg.det(scale))) / 1000
    highest = max(max(values) for values in label_block.values(labels))
    boxes = [_boxes(array, highest) for array in (prediction, reference)]
    rows = []
    for name, values in list(zip(label_block.names(labels), label_block.values(labels), strict=True))[1:]:
        box = _joint_box([found[value] for value in values for found in boxes if value in found], prediction.ndim)
        predicted, expected = (_mask(array[box], values) for array in (prediction, reference))
        rows.append({"structure": name, **_scores(predicted, expected, scale, voxel_ml)})
    return rows


def _scores(predicted: np.ndarray, expected: np.ndarray, scale: np.ndarray, voxel_ml: float) -> dict[str, float | None]:
    """`COLUMNS` for two masks; None where a score is not defined."""
    sizes = int(np.count_nonzero(predicted)), int(np.count_nonzero(expected))
    row: dict[str, float | None] = dict.fromkeys(COLUMNS)
    row["volume_ml"], row["reference_ml"] = sizes[0] * voxel_ml, sizes[1] * voxel_ml
    if not sizes[1]:
        return row
    common = int(np.count_nonzero(predicted & expected))
    row["dice"], row["recall"] = 2 * common / sum(sizes), common / sizes[1]
    if sizes[0]:
        row["precision"] = common / sizes[0]
        there, back = surface_distances(predicted, expected, scale)
        row["assd_mm"] = float((there.sum() + back.sum()) / (there.size + back.size))
        row["hd95_mm"] = float(max(np.percentile(there, 95), np.percentile(back, 95)))
        if predicted.ndim == 3:
            row["mesh_mm"] = mesh_distance(predicted, expected, scale)
    return row


def _boxes(array: np.ndarray, highest: int) -> dict[int, tuple[slice, ...]]:
    """The bounding box of each value from 1 to `highest`."""
    if array.dtype == bool:
        array = array.view(np.uint8)
    return {value: box for value, box in enumerate(find_objects(array, highest), start=1) if box is not None}


def _joint_box(boxes: list[tuple[slice, ...]], dims: int) -> tuple[slice, ...]:
    """The smallest box around all; an empty one if there is none."""
    if not boxes:
        return (slice(0, 0),) * dims
    return tuple(slice(min(part.start for part in axis), max(part.stop for part in axis)) for axis in zip(*boxes, strict=True))


def _mask(array: np.ndarray, values: list[int]) -> np.ndarray:
    mask = array == values[0]
    for value in values[1:]:
        mask |= array == value
    return mask
