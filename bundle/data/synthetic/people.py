"""Whole bodies from label maps of many structures: read once, then bent, dressed in muscle, fat and skin, and painted as they are.

Label maps such as TotalSegmentator's name organs, vessels, bowel, bones, muscles and lungs, but neither skin nor fat nor the wall of the
abdomen. Those are fitted around what is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from bundle import grids
from bundle.data import label_maps
from bundle.data.synthetic.canvas import Canvas
from bundle.data.synthetic.tissues import Tissue
from bundle.errors import UserError
from bundle.files import written_aside
from bundle.json_input import read_object

# Beginnings of structure names and their tissue; the first that fits counts.
TISSUE_OF: tuple[tuple[str, Tissue], ...] = (
    ("adrenal", Tissue.ADRENAL),
    ("aorta", Tissue.AORTA),
    ("atrial", Tissue.HEART),
    ("autochthon", Tissue.MUSCLE),
    ("brachiocephalic_trunk", Tissue.AORTA),
    ("brachiocephalic_vein", Tissue.CAVA),
    ("clavicula", Tissue.CORTICAL_BONE),
    ("colon", Tissue.FAECES),
    ("common_carotid", Tissue.AORTA),
    ("costal", Tissue.CARTILAGE),
    ("duodenum", Tissue.DUODENUM_WALL),
    ("esophagus", Tissue.OESOPHAGUS),
    ("femur", Tissue.CORTICAL_BONE),
    ("gallbladder", Tissue.GALLBLADDER),
    ("gluteus", Tissue.MUSCLE),
    ("heart", Tissue.HEART),
    ("hip", Tissue.CORTICAL_BONE),
    ("humerus", Tissue.CORTICAL_BONE),
    ("iliac_artery", Tissue.AORTA),
    ("iliac_vena", Tissue.CAVA),
    ("iliopsoas", Tissue.MUSCLE),
    ("inferior_vena", Tissue.CAVA),
    ("kidney", Tissue.KIDNEY_CORTEX),
    ("liver", Tissue.LIVER),
    ("lung", Tissue.LUNG),
    ("pancreas", Tissue.PANCREAS),
    ("portal_vein", Tissue.PORTAL_VEIN),
    ("prostate", Tissue.MUSCLE),
    ("pulmonary_vein", Tissue.HEART),
    ("rib", Tissue.CORTICAL_BONE),
    ("sacrum", Tissue.CORTICAL_BONE),
    ("scapula", Tissue.CORTICAL_BONE),
    ("skull", Tissue.CORTICAL_BONE),
    ("small_bowel", Tissue.BOWEL_WALL),
    ("spinal", Tissue.SPINAL_CANAL),
    ("spleen", Tissue.SPLEEN),
    ("sternum", Tissue.CORTICAL_BONE),
    ("stomach", Tissue.STOMACH_WALL),
    ("subclavian", Tissue.AORTA),
    ("superior_vena", Tissue.CAVA),
    ("thyroid", Tissue.ADRENAL),
    ("trachea", Tissue.GAS),
    ("urinary", Tissue.BLADDER),
    ("vertebrae", Tissue.CORTICAL_BONE),
)
NEEDED = ("pancreas", "spleen", "kidney_left", "liver", "aorta")
DIRECTIONS = 96  # angles in which the outline of the trunk is described
_VOXEL_MM = 1.5


@dataclass(frozen=True)
class Person:
    """A body on its own grid, RAS.

    Attributes:
        name: of the map.
        tissues: (X, Y, Z) uint8, values of `Tissue`; air where nothing is named.
        spacing: voxel size in mm.
        centre: position in mm, from voxel (0, 0, 0), of the origin of body coordinates: the middle of the spine at the left kidney.
        outline: (Z, DIRECTIONS) float32, mm from `centre` in the axial plane to the outermost structure; see `_outline`.
        extent: lowest and highest z in body coordinates, mm, that the map shows.
    """

    name: str
    tissues: np.ndarray
    spacing: np.ndarray
    centre: np.ndarray
    outline: np.ndarray
    extent: tuple[float, float]

    def points(self, tissue: int) -> np.ndarray:
        """Body coordinates (N, 3) in mm of a tissue's voxels."""
        return np.argwhere(self.tissues == tissue) * self.spacing - self.centre


def read_person(path: Path) -> Person:
    """Read a label map and the names of its values, from `.json` next to it (`structures.nii.gz`: `structures.json`, name to value).

    Raises:
        UserError: a file cannot be read, a value is not a whole number, or one of `NEEDED` is missing.
    """
    names_path = path.with_name(path.name.split(".")[0] + ".json")
    names = read_object(names_path, '{"liver": 5}: name of a structure to its value')
    structures, affine = grids.turned(*label_maps.read(path))
    structures = structures.astype(np.int16)
    missing = [name for name in NEEDED if not (structures == names.get(name, -1)).any()]
    if missing:
        raise UserError(path, f"the label map has no {', '.join(missing)}", "give maps of whole abdomens")
    spacing = grids.spacing(affine)
    step = [max(1, round(_VOXEL_MM / s)) for s in spacing]
    structures, spacing = structures[tuple(slice(None, None, s) for s in step)], spacing * step
    tissues = to_tissues(structures, names)
    return _person(path.parent.name, tissues, spacing, structures == names["kidney_left"])


def to_tissues(structures: np.ndarray, names: dict[str, int]) -> np.ndarray:
    """Tissue map of a label map: (X, Y, Z) uint8; what no name is known for is air."""
    table = np.zeros(max(int(structures.max()), *names.values()) + 1, np.uint8)
    for name, value in names.items():
        table[value] = next((tissue for start, tissue in TISSUE_OF if name.startswith(start)), Tissue.AIR)
    return table[np.clip(structures, 0, None)]


def _person(name: str, tissues: np.ndarray, spacing: np.ndarray, kidney: np.ndarray) -> Person:
    """Centre, outline and the inner structure of bones, kidneys and heart."""
    level = int(np.argwhere(kidney)[:, 2].mean())
    aorta = np.argwhere(tissues[:, :, max(0, level - 8) : level + 9] == Tissue.AORTA)
    canal = np.argwhere(tissues[:, :, max(0, level - 8) : level + 9] == Tissue.SPINAL_CANAL)
    middle = canal.mean(0) if len(canal) else aorta.mean(0)
    centre = np.array([middle[0], middle[1] + 60 / spacing[1], level]) * spacing
    outline = _outline(tissues, spacing, centre)
    tissues = tissues.copy()
    for whole, inner, depth in (
        (Tissue.CORTICAL_BONE, Tissue.SPONGY_BONE, 2.2),
        (Tissue.KIDNEY_CORTEX, Tissue.KIDNEY_MEDULLA, 6.5),
    ):
        box, deep = _deep(tissues == whole, spacing)
        tissues[box][deep > depth] = inner
    box, deep = _deep(tissues == Tissue.HEART, spacing)
    tissues[box][(deep > 0) & (deep <= 7)] = Tissue.MUSCLE
    ends = (np.array([0, tissues.shape[2] - 1]) * spacing[2] - centre[2]).tolist()
    return Person(name, tissues, spacing, centre, outline, (ends[0], ends[1]))


def _deep(mask: np.ndarray, spacing: np.ndarray) -> tuple[tuple[slice, ...], np.ndarray]:
    """Box of a mask, and mm to its surface inside the box."""
    found = ndimage.find_objects(mask.astype(np.uint8))
    box = found[0] if found else (slice(0, 0),) * 3
    return box, ndimage.distance_transform_edt(np.pad(mask[box], 1), sampling=spacing)[1:-1, 1:-1, 1:-1]


def _outline(tissues: np.ndarray, spacing: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(Z, DIRECTIONS): in each slice and direction, mm from the centre to the outermost structure; smooth and closed.

    Arms are left out: structures more than 40 mm beyond the median of their direction do not count.
    """
    x = np.arange(tissues.shape[0]) * spacing[0] - centre[0]
    y = np.arange(tissues.shape[1]) * spacing[1] - centre[1]
    radius = np.hypot(x[:, None], y[None, :])
    sector = (np.arctan2(y[None, :], x[:, None]) / (2 * np.pi) * DIRECTIONS).astype(int) % DIRECTIONS
    rows = np.zeros((tissues.shape[2], DIRECTIONS), np.float32)
    for z in range(tissues.shape[2]):
        there = tissues[:, :, z] > 0
        np.maximum.at(rows[z], sector[there], radius[there].astype(np.float32))
    anything = float(np.median(rows[rows > 0]))
    typical = np.array([np.median(column[column > 0]) if (column > 0).any() else anything for column in rows.T], np.float32)
    rows = np.where((rows == 0) | (rows > typical + 40), typical, rows)
    # gaps between ribs and loops of bowel are closed before it is smoothed
    closed = ndimage.maximum_filter(rows, (15, 5), mode=("nearest", "wrap"))
    return ndimage.gaussian_filter(closed, (6, 2), mode=("nearest", "wrap")).astype(np.float32)


def save_person(person: Person, path: Path) -> None:
    """Write a person as `.npz`, whole or not at all."""
    with written_aside(path) as aside, open(aside, "wb") as stream:
        np.savez_compressed(
            stream,
            tissues=person.tissues,
            spacing=person.spacing,
            centre=person.centre,
            outline=person.outline,
            extent=np.array(person.extent),
        )


def load_person(path: Path) -> Person:
    """Read what `save_person` wrote."""
    with np.load(path) as arrays:
        low, high = arrays["extent"].tolist()
        return Person(path.stem, arrays["tissues"], arrays["spacing"], arrays["centre"], arrays["outline"], (low, high))


def paint_person(canvas: Canvas, person: Person) -> None:
    """Paint a person's structures, with a wall of muscle, fat and skin of random thickness around them, into `canvas.tissues`."""
    rng = canvas.rng
    index = [(f + c) / s for f, c, s in zip((canvas.x, canvas.y, canvas.z), person.centre, person.spacing, strict=True)]
    inside = _depth(canvas, person)
    wall, fat = rng.uniform(7, 16), rng.uniform(4, 16) + rng.gamma(1.5, 9.0)
    front = np.clip(np.sin(np.arctan2(canvas.y, canvas.x)), -1, 1)
    fat = fat * (1 + 0.35 * front) + 1.5 * canvas.wavy
    canvas.tissues[inside > -(wall + fat + 2)] = Tissue.SKIN
    canvas.tissues[inside > -(wall + fat)] = Tissue.FAT
    canvas.tissues[inside > -wall] = Tissue.MUSCLE
    canvas.tissues[inside > rng.uniform(0, 4)] = Tissue.VISCERAL_FAT
    named = ndimage.map_coordinates(person.tissues, index, order=0, cval=0)
    there = named > 0
    _paint_back(canvas, inside, np.isin(named, (Tissue.KIDNEY_CORTEX, Tissue.ADRENAL)))
    canvas.tissues[there] = named[there]
    canvas.tissues[(named == Tissue.LUNG) & (canvas.rough > 2.1)] = Tissue.LUNG_VESSEL


def _depth(canvas: Canvas, person: Person) -> np.ndarray:
    """(X, Y, Z) float32: mm inside the outline (negative outside), measured from the centre of the trunk."""
    z = (canvas.z + person.centre[2]) / person.spacing[2]
    angle = np.arctan2(canvas.y, canvas.x) / (2 * np.pi) * DIRECTIONS % DIRECTIONS
    wrapped = np.concatenate([person.outline, person.outline[:, :1]], axis=1)
    reach = ndimage.map_coordinates(wrapped, [z, angle], order=1, mode="nearest")
    return reach - np.hypot(canvas.x, canvas.y)


def _paint_back(canvas: Canvas, inside: np.ndarray, kidneys: np.ndarray) -> None:
    """Muscle at the sides of the spine and along the back, which label maps name in part; fat stays around the kidneys."""
    back = (inside > 0) & (canvas.y < -70 + 0.08 * np.abs(canvas.x)) & (canvas.wavy < 1.2)
    if kidneys.any():
        back &= ndimage.distance_transform_edt(~kidneys, sampling=canvas.spacing) > canvas.rng.uniform(3, 12)
    canvas.tissues[back] = Tissue.MUSCLE
