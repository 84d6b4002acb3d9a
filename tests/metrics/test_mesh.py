"""Mesh distances: by hand, against dense sampling of both meshes, and against the geometry of balls."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from bundle.metrics import mesh_distance, score_case, surface_distances
from bundle.metrics.mesh import _to_surface


def ball(radius: float, centre: tuple[float, float, float], shape: tuple[int, ...] = (40, 40, 40), spacing: float = 1.0) -> np.ndarray:
    grid = np.stack(np.meshgrid(*(np.arange(n) * spacing for n in shape), indexing="ij"), -1)
    return np.linalg.norm(grid - np.array(centre), axis=-1) <= radius


def test_point_to_triangle_by_hand() -> None:
    """Above the inside, beside an edge, beyond a corner, and below another triangle that is nearer."""
    triangle = np.array([[[0.0, 0, 0], [4, 0, 0], [0, 4, 0]], [[0, 0, -9], [1, 0, -9], [0, 1, -9]]])
    points = np.array([[1.0, 1, 3], [2, -3, 4], [-3, -4, 0], [0.2, 0.2, -7]])
    assert _to_surface(points, triangle) == pytest.approx([3, 5, 5, 2])


def test_points_far_away_are_right_to_half_a_per_cent() -> None:
    """From 30 to 300 mm off a plane of 1 mm triangles, of which none is nearer than the height."""
    x, y = (part.ravel().astype(float) for part in np.meshgrid(np.arange(60), np.arange(60)))
    corner = np.stack([x, y, 0 * x], 1)
    plane = np.stack([corner + np.array(step) for step in ((0, 0, 0), (1, 0, 0), (0, 1, 0))], 1)
    draw = np.random.default_rng(1)
    points = np.column_stack([draw.uniform(20, 40, (200, 2)), draw.uniform(30, 300, 200)])
    exact = np.array([cKDTree(np.concatenate([plane.reshape(-1, 3), plane.mean(1)])).query(point)[0] for point in points])
    found = _to_surface(points, plane)
    assert (found <= exact + 1e-9).all() and (found >= points[:, 2] - 1e-9).all() and (found / points[:, 2] < 1.005).all()


def test_planes_one_voxel_apart() -> None:
    """Halves of a volume that end one voxel of 3 mm apart: 3 mm over the two planes, and the other faces are common but for a rim."""
    first, second = np.zeros((10, 60, 60), bool), np.zeros((10, 60, 60), bool)
    first[:5], second[:6] = True, True
    found = mesh_distance(first, second, (3.0, 1.0, 1.0))
    # two of the eight faces of 60 x 60 count 3 mm; sides are 60 x 15 or 18 mm, of which a band of 3 mm counts less than 1.5 mm
    plane, sides = 3600, 4 * 60 * 15
    assert 2 * plane * 3 / (4 * plane + 2 * sides + 4 * 60 * 3) == pytest.approx(found, rel=0.05)


def test_balls_in_one_another() -> None:
    """Radii 16 and 13: 3 mm everywhere, less some per cent for the steps of the meshes, whose area counts as well."""
    masks = [ball(radius, (20.2, 19.7, 20.0)) for radius in (16, 13)]
    assert mesh_distance(*masks, (1.0, 1.0, 1.0)) == pytest.approx(3, rel=0.06)


def test_against_dense_samples_on_an_oblique_grid() -> None:
    """Points spread over both meshes by area, each to the nearest of the other's; the grid is sheared, left-handed and not isotropic."""
    first, second = ball(9, (14, 15, 13), (30, 30, 26)), ball(8, (17, 14, 12), (30, 30, 26))
    matrix = np.array([[-0.8, 0, 0.3], [0, 0.9, 0], [0, 0.1, 2.0]])
    draw, clouds = np.random.default_rng(0), []
    for mask in (first, second):
        vertices, faces, _, _ = marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5)
        corners = (vertices @ matrix.T)[faces]
        areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        chosen = draw.choice(len(faces), 60000, p=areas / areas.sum())
        shares = draw.dirichlet((1, 1, 1), len(chosen))
        clouds.append((np.einsum("nc,ncd->nd", shares, corners[chosen]), areas.sum()))
    (a, area_a), (b, area_b) = clouds
    there, back = cKDTree(b).query(a)[0].mean(), cKDTree(a).query(b)[0].mean()
    assert mesh_distance(first, second, matrix) == pytest.approx((there * area_a + back * area_b) / (area_a + area_b), rel=0.02)


def test_same_masks_and_single_voxels() -> None:
    one, other = np.zeros((5, 3, 3), bool), np.zeros((5, 3, 3), bool)
    one[0, 1, 1] = other[4, 1, 1] = True
    assert mesh_distance(one, one, (2.0, 2.0, 2.0)) == 0
    # octahedra of 1 mm around centres 8 mm apart: 6 mm from tip to tip, 10 mm from the far tips
    assert 6 < mesh_distance(one, other, (2.0, 2.0, 2.0)) < 8.2
    with pytest.raises(ValueError, match="not empty"):
        mesh_distance(one, np.zeros_like(one), (1.0, 1.0, 1.0))


def test_slabs_give_the_mesh_of_everything_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = ball(9, (10, 15, 13), (19, 30, 26)), ball(8, (9, 14, 12), (19, 30, 26))
    whole = mesh_distance(first, second, (1.0, 0.8, 0.7))
    monkeypatch.setattr("bundle.metrics.mesh.SLAB_VOXELS", 4 * 32 * 28)
    assert mesh_distance(first, second, (1.0, 0.8, 0.7)) == pytest.approx(whole, rel=1e-6)
    # filled from side to side: the surface is on the array's own faces
    full, half = np.ones((20, 30, 26), bool), np.ones((20, 30, 26), bool)
    half[10:] = False
    assert mesh_distance(full, half, (1.0, 1.0, 1.0)) > 1 and mesh_distance(full, full, (1.0, 1.0, 1.0)) == 0


def test_is_a_column_of_the_scores() -> None:
    masks = [ball(radius, (12, 12, 12), (24, 24, 24)).astype(np.uint8) for radius in (8, 6)]
    row = score_case(*masks, (1.0, 1.0, 1.0), {"background": 0, "organ": 1})[0]
    box = [mask[4:21, 4:21, 4:21] for mask in masks]
    assert row["mesh_mm"] == pytest.approx(mesh_distance(*(mask == 1 for mask in box), (1.0, 1.0, 1.0)))
    there, back = surface_distances(*(mask == 1 for mask in masks), (1.0, 1.0, 1.0))
    assert row["mesh_mm"] != pytest.approx((there.sum() + back.sum()) / (there.size + back.size), rel=1e-3)


def test_a_flat_map_has_no_mesh() -> None:
    flat = np.zeros((6, 6), np.uint8)
    flat[2:4, 2:4] = 1
    row = score_case(flat, flat, (1.0, 1.0), {"background": 0, "organ": 1})[0]
    assert row["mesh_mm"] is None and row["assd_mm"] == 0
