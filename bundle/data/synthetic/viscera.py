"""What label maps of whole bodies do not say of the abdomen: walls, folds and content of the bowel, vessels by the pancreas, its shape."""

# ruff: noqa: RUF005 (numpy arrays are added here, not lists joined)
from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from bundle.data.synthetic.canvas import Canvas, rotation_matrix
from bundle.data.synthetic.donors import Donor
from bundle.data.synthetic.organs import ROOM, SOFT, tissue_set
from bundle.data.synthetic.people import Person
from bundle.data.synthetic.portal_system import paint_along_pancreas
from bundle.data.synthetic.tissues import Tissue
from bundle.data.synthetic.transplant import PANCREAS_TURN, paint_liver_veins, placed, thickening

# what a loop of bowel may hold: water, chyme, oral contrast of two strengths, gas, nothing (its walls touch)
CONTENTS = (Tissue.WATERY_CONTENT, Tissue.SOFT_CONTENT, Tissue.ORAL_CONTRAST, Tissue.DILUTE_CONTRAST, Tissue.GAS, None)
# tissue whose voxels mark an organ after `paint_person`; what its wall becomes; mm between the seeds of its loops; wall in mm
_ORGANS = (
    (Tissue.STOMACH_WALL, Tissue.STOMACH_WALL, 1000.0, (2.5, 6.0)),
    (Tissue.DUODENUM_WALL, Tissue.DUODENUM_WALL, 30.0, (1.8, 3.5)),
    (Tissue.BOWEL_WALL, Tissue.BOWEL_WALL, 26.0, (1.6, 3.5)),
    (Tissue.FAECES, Tissue.COLON_WALL, 60.0, (1.5, 3.5)),
)

_LEAST_PORTAL = 20  # voxels: a portal vein of no more does not show where it begins
_LEFT_OF_CONFLUENCE_MM = 12.0  # farther left, a portal vein is the splenic vein


def paint_bowel(canvas: Canvas) -> None:
    """Give the hollow organs of a painted person their walls, folds and contents, loop by loop."""
    rng = canvas.rng
    # patients differ in what they drank: one mixture for the whole person, drawn anew for each loop
    mixture = rng.dirichlet((0.7, 1.2, 0.5, 0.35, 0.35, 1.0))
    for marks, wall, pitch, thickness in _ORGANS:
        inside = canvas.tissues == marks
        if not inside.any():
            continue
        shares = mixture if marks != Tissue.FAECES else _of_the_colon(rng)
        _paint_loops(canvas, inside, int(wall), pitch, float(rng.uniform(*thickness)), shares, colon=marks == Tissue.FAECES)


def _of_the_colon(rng: np.random.Generator) -> np.ndarray:
    """Shares of `CONTENTS` in the colon; soft content means faeces there."""
    return rng.dirichlet((0.3, 2.0, 0.4, 0.15, 1.2, 0.4))


def _paint_loops(canvas: Canvas, inside: np.ndarray, wall: int, pitch: float, thickness: float, shares: np.ndarray, *, colon: bool) -> None:
    """Split an organ into loops around random seeds; paint each one's wall and content."""
    rng = canvas.rng
    spacing = np.array(canvas.spacing)
    voxels = np.argwhere(inside)
    seeds = voxels[rng.choice(len(voxels), max(1, int(len(voxels) * spacing.prod() / pitch**3)), replace=False)] * spacing
    tree = cKDTree(seeds)
    distance, nearest = tree.query(voxels * spacing, k=min(2, len(seeds)))
    if len(seeds) == 1:
        loop, apart = np.zeros(len(voxels), int), np.full(len(voxels), 1e3)
    else:
        loop, apart = nearest[:, 0], (distance[:, 1] - distance[:, 0]) / 2
    deep = ndimage.distance_transform_edt(inside, sampling=spacing)[inside]
    # neighbouring loops share two walls, except where the organ simply continues
    own_walls = rng.random(len(seeds)) < 0.6
    lumen = (deep > thickness) & ((apart > thickness) | ~own_walls[loop])
    folds = np.abs(canvas.wavy[inside]) < 0.22
    feathery = rng.random(len(seeds)) < (0.1 if colon else 0.5)
    lumen &= ~(folds & feathery[loop] & (deep < 3 * thickness))
    chosen = rng.choice(len(CONTENTS), len(seeds), p=shares)
    painted = np.full(len(voxels), wall, np.uint8)
    for number, content in enumerate(CONTENTS):
        here = lumen & (chosen[loop] == number)
        if content is not None:
            painted[here] = Tissue.FAECES if colon and content == Tissue.SOFT_CONTENT else content
    _raise_gas(canvas, inside, loop, lumen, painted, len(seeds))
    canvas.tissues[inside] = painted


def _raise_gas(canvas: Canvas, inside: np.ndarray, loop: np.ndarray, lumen: np.ndarray, painted: np.ndarray, loops: int) -> None:
    """Gas above the fluid in every sixth loop."""
    height = canvas.y[inside]
    for number in np.flatnonzero(canvas.rng.random(loops) < 0.16):
        there = lumen & (loop == number)
        if there.any():
            level = np.quantile(height[there], canvas.rng.uniform(0.4, 0.9))
            painted[there & (height > level)] = Tissue.GAS


def paint_vessels(canvas: Canvas, person: Person) -> None:
    """Paint the vessels by the pancreas that label maps leave out: superior mesenteric vein and artery, gastroduodenal artery, jejunal
    branches, and veins of the liver."""
    rng = canvas.rng
    liver = canvas.tissues == Tissue.LIVER
    if liver.any():
        everywhere = (slice(None),) * 3
        paint_liver_veins(canvas, everywhere, -ndimage.distance_transform_edt(liver, sampling=canvas.spacing))
    portal, aorta, pancreas = (person.points(t) for t in (Tissue.PORTAL_VEIN, Tissue.AORTA, Tissue.PANCREAS))
    over = SOFT & ~tissue_set(Tissue.PORTAL_VEIN)
    start = confluence_of(portal)
    if start is not None:
        bend = rng.normal(0, 4, (2, 3))
        vein = np.array([start + (0, 0, 6), start + (-2, 4, -25) + bend[0], start + (-4, 10, -75) + bend[1]])
        _tube(canvas, vein, (5.6, 5.2, 3.2), Tissue.PORTAL_VEIN, over)
        if len(aorta):
            level = aorta[np.abs(aorta[:, 2] - start[2] - 12) < 3]
            if len(level):
                root = np.array([level[:, 0].mean(), level[:, 1].max(), start[2] + 12])
                beside = vein[1:] + (-13, -3, 0)
                _tube(canvas, np.vstack([root, root + (0, 12, -8), beside]), (4.0, 3.8, 3.4, 2.2), Tissue.AORTA, over)
        for _ in range(int(rng.integers(4, 12))):
            root = vein[1] + rng.normal(0, 6, 3)
            end = root + rng.normal(0, 1, 3) * (35, 15, 30)
            _tube(canvas, np.array([root, (root + end) / 2 + rng.normal(0, 6, 3), end]), (2.4, 2.0, 1.3), Tissue.PORTAL_VEIN, over)
    head = pancreas[pancreas[:, 0] > np.quantile(pancreas[:, 0], 0.8)]
    front = head[head[:, 1] > np.quantile(head[:, 1], 0.7)].mean(0)
    _tube(canvas, np.array([front + (-4, 2, 24), front + (0, 4, 4), front + (2, 3, -18)]), (2.2, 2.0, 1.4), Tissue.AORTA, over)


def confluence_of(portal: np.ndarray) -> np.ndarray | None:
    """Where the portal vein, points (N, 3) in body coordinates, begins behind the neck of the pancreas: the middle of its lowest ones.

    None where too little of it is there.
    """
    if len(portal) <= _LEAST_PORTAL:
        return None
    return portal[portal[:, 2] <= np.quantile(portal[:, 2], 0.06)].mean(0)


def _tube(canvas: Canvas, points: np.ndarray, radii: tuple[float, ...], tissue: int, over: np.ndarray) -> None:
    scaled = np.array(radii) * canvas.rng.uniform(0.75, 1.2)
    box, distance = canvas.tube(np.column_stack([points, scaled]))
    canvas.paint(box, distance < 0, tissue, over=over)


def shape_pancreas(canvas: Canvas, person: Person, donor: Donor | None) -> None:
    """Make the painted pancreas young and bulky, or thin and lobulated; with a donor, put that person's pancreas in its place.

    The vessels along a donor's pancreas are painted with it; the person's own splenic vein goes.
    """
    rng = canvas.rng
    there = canvas.tissues == Tissue.PANCREAS
    if donor is not None:
        canvas.tissues[there] = Tissue.VISCERAL_FAT
        box, distance = _place(canvas, person.points(Tissue.PANCREAS).mean(0), donor)
    elif there.any():
        box = (slice(None),) * 3
        half = 0.5 * min(canvas.spacing)
        outside, inside = (ndimage.distance_transform_edt(mask, sampling=canvas.spacing) for mask in (~there, there))
        distance = np.where(there, half - inside, outside - half)
        canvas.tissues[there] = Tissue.VISCERAL_FAT
    else:
        return
    grown = distance - thickening(canvas, distance.shape) + rng.uniform(0.2, 1.2) * canvas.rough[box]
    canvas.paint(box, distance < rng.uniform(0, 2), Tissue.VISCERAL_FAT, over=ROOM)
    confluence = None if donor is None else confluence_of(person.points(Tissue.PORTAL_VEIN))
    if confluence is not None:
        splenic = (canvas.tissues == Tissue.PORTAL_VEIN) & (canvas.x < confluence[0] - _LEFT_OF_CONFLUENCE_MM)
        canvas.tissues[splenic] = Tissue.VISCERAL_FAT
    canvas.paint(box, grown < 0, Tissue.PANCREAS, over=SOFT & ~tissue_set(Tissue.PORTAL_VEIN, Tissue.AORTA, Tissue.CAVA))
    if donor is not None:
        paint_along_pancreas(canvas, confluence)


def _place(canvas: Canvas, at: np.ndarray, donor: Donor) -> tuple[tuple[slice, slice, slice], np.ndarray]:
    """Box and signed distance of a donor's pancreas, turned, scaled and shifted, with its middle at body coordinates `at`."""
    rng = canvas.rng
    organ = donor.organs["pancreas"]
    middle = organ.points(step=2).mean(0)
    turn = rotation_matrix(rng.normal(0, 1, 3) * PANCREAS_TURN) / np.exp(rng.normal(0, 0.12, 3))
    at = at + rng.normal(0, 1, 3) * (6, 6, 10)
    reach = np.array(organ.distance.shape) * organ.spacing * 0.75 + 12
    return placed(organ, canvas, at, middle, turn, reach, bend=True)
