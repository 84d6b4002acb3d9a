"""A person whose organs are boxes, a made-up body of round numbers, and a canvas on which nothing is bent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bundle.data.synthetic.canvas import Canvas
from bundle.data.synthetic.donors import Donor, Organ
from bundle.data.synthetic.people import Person, read_person
from bundle.data.synthetic.physique import Physique

NAMES = {
    "liver": 1,
    "spleen": 2,
    "pancreas": 3,
    "kidney_left": 4,
    "kidney_right": 5,
    "aorta": 6,
    "spinal_cord": 7,
    "small_bowel": 8,
    "portal_vein_and_splenic_vein": 9,
    "vertebrae_L2": 10,
    "made_up": 11,
}
# structure: corner and size in voxels of 3 mm
BOXES = {
    "liver": ((60, 20, 20), (25, 45, 20)),
    "spleen": ((15, 20, 25), (14, 20, 14)),
    "pancreas": ((35, 45, 20), (24, 8, 6)),
    "kidney_left": ((20, 22, 10), (10, 12, 14)),
    "kidney_right": ((70, 22, 5), (10, 12, 14)),
    "aorta": ((52, 32, 0), (6, 6, 45)),
    "spinal_cord": ((48, 12, 0), (6, 6, 45)),
    "small_bowel": ((25, 45, 2), (45, 20, 14)),
    "portal_vein_and_splenic_vein": ((40, 42, 22), (20, 3, 3)),
    "vertebrae_L2": ((44, 18, 8), (14, 10, 12)),
}


@pytest.fixture(scope="session")
def structure_names() -> dict[str, int]:
    """Name of each structure of `map_path` to its value."""
    return NAMES


@pytest.fixture(scope="session")
def map_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A label map of boxes, 3 mm voxels, with the names of its values next to it."""
    folder = tmp_path_factory.mktemp("people") / "s1"
    folder.mkdir()
    structures = np.zeros((100, 80, 45), np.uint8)
    for name, (corner, size) in BOXES.items():
        structures[tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))] = NAMES[name]
    nib.save(nib.Nifti1Image(structures, np.diag([3.0, 3, 3, 1])), folder / "structures.nii.gz")
    (folder / "structures.json").write_text(json.dumps(NAMES))
    return folder / "structures.nii.gz"


@pytest.fixture(scope="session")
def person(map_path: Path) -> Person:
    """The body of `map_path`."""
    return read_person(map_path)


@pytest.fixture
def around() -> Callable:
    """`around(person, seed)`: a canvas whose voxels are the person's: nothing is bent, 15 voxels of margin at each side."""

    def make(person: Person, seed: int = 0) -> Canvas:
        shape = tuple(int(n) for n in np.array(person.tissues.shape) + np.array([30, 30, 0]))
        origin = -person.centre - np.array([45.0, 45, 0])
        rng = np.random.default_rng(seed)
        return Canvas(shape, tuple(person.spacing), origin=origin, rotation=np.eye(3), displacement_mm=0.0, rng=rng)

    return make


@pytest.fixture
def physique() -> Physique:
    """A build for which points of the average body stay where they are, of size 1."""
    return Physique(
        half_width=150.0,
        half_depth=102.0,
        waist=(0.0, 0.0),
        fat=10.0,
        belly=1.0,
        wall=10.0,
        vertebra_y=-30.0,
        lordosis=10.0,
        scoliosis=3.0,
        stretch=1.0,
        visceral=0.3,
    )


@pytest.fixture
def still() -> Callable:
    """`still(seed)`: a canvas of 5 mm voxels around the origin of the body, on which nothing is bent; 340 x 240 x 400 mm."""

    def make(seed: int = 0) -> Canvas:
        shape, rng = (68, 48, 80), np.random.default_rng(seed)
        origin = -2.5 * (np.array(shape) - 1)
        return Canvas(shape, (5.0, 5.0, 5.0), origin=origin, rotation=np.eye(3), displacement_mm=0.0, rng=rng)

    return make


def ball(centre: tuple[float, float, float], radius: float) -> Organ:
    """An organ of 4 mm voxels whose distance is that of a ball."""
    spacing = np.full(3, 4.0)
    origin = np.array(centre) - 4.0 * np.ceil((radius + 14) / 4)
    axes = [np.arange(2 * int(np.ceil((radius + 14) / 4)) + 1) * 4.0 + start - middle for start, middle in zip(origin, centre, strict=True)]
    distance = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True))) - radius
    return Organ(np.clip(distance, -60, 14).astype(np.float16), origin, spacing)


@pytest.fixture
def donor() -> Donor:
    """A person whose organs are balls; the right kidney is not in the map."""
    organs = {
        "liver": ball((200, 130, 180), 55),
        "spleen": ball((20, 90, 190), 30),
        "pancreas": ball((95, 150, 160), 25),
        "kidney_left": ball((40, 80, 130), 28),
    }
    return Donor("balls", organs, 260.0)
