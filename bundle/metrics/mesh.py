"""Distances between the surfaces of two masks as triangle meshes, as the paper's "mesh surface to surface distances"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

# triangles that are looked for first for each point, and pairs of point and triangle at a time
FIRST, PAIRS = 16, 2**19
# radii of the largest triangle, beyond which those first triangles are enough: others are nearer by less than 0.5 %
FAR = 10
# voxels of a slab that is made into a mesh at a time, as numbers of 4 bytes
SLAB_VOXELS = 2**21


def mesh_distance(first: np.ndarray, second: np.ndarray, spacing: Sequence[float] | np.ndarray) -> float:
    """Average symmetric distance in mm between the surfaces of two masks, as meshes by marching cubes halfway between voxels.

    The mean over both surfaces, by area, of the distance to the nearest point of the other surface: each vertex counts by a third of
    the area of its triangles. Unlike distances between voxels (`surface_distances`) it does not jump in steps of a voxel.

    Args:
        first, second: 3-D boolean masks of one shape, neither of them empty. What is outside the array is not in the mask.
        spacing: mm per voxel along each axis, or the (3, 3) part of an affine.

    Raises:
        ValueError: masks that are not 3-D, or one that is empty.
    """
    if first.ndim != 3 or not first.any() or not second.any():
        raise ValueError("mesh distances need two 3-D masks that are not empty")
    meshes = [_mesh(mask, np.asarray(spacing, dtype=np.float64)) for mask in (first, second)]
    total = weight = 0.0
    for (points, faces), (others, other_faces) in (meshes, meshes[::-1]):
        areas = _areas(points, faces)
        total += float(areas @ _to_surface(points, others[other_faces]))
        weight += float(areas.sum())
    return total / weight


def _mesh(mask: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) in mm and triangles (F, 3) of them.

    Made a slab at a time, of planes that the next one begins with: each cell between two planes is in one slab.
    """
    from skimage.measure import marching_cubes

    planes = max(2, SLAB_VOXELS // max(1, (mask.shape[1] + 2) * (mask.shape[2] + 2)))
    points, faces, count = [], [], 0
    # one plane of nothing before and after
    for start in range(-1, mask.shape[0], planes - 1):
        stop = min(start + planes, mask.shape[0] + 1)
        inside = mask[max(start, 0) : min(stop, mask.shape[0])]
        slab = np.zeros((stop - start, mask.shape[1] + 2, mask.shape[2] + 2), np.float32)
        slab[max(start, 0) - start :][: len(inside), 1:-1, 1:-1] = inside
        if slab.any():
            vertices, triangles, _, _ = marching_cubes(slab, 0.5)
            points.append(vertices + np.array([start, -1, -1]))
            faces.append(triangles + count)
            count += len(vertices)
    vertices = np.concatenate(points)
    return vertices * scale if scale.ndim == 1 else vertices @ scale.T, np.concatenate(faces)


def _areas(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The area that belongs to each vertex: a third of that of each of its triangles."""
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    each = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    return np.bincount(faces.ravel(), np.repeat(each, 3), minlength=len(points))


def _to_surface(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Distance (V,) of each point to the nearest point of any of the triangles (F, 3, 3).

    Of a triangle no point is nearer than its centre less its radius. So those with the nearest centres are looked at, twice as many
    each time, until no other can be nearer; of points far away, whose distances to many centres are nearly the same, the first ones only.
    """
    centres = triangles.mean(axis=1)
    radii = np.linalg.norm(triangles - centres[:, None], axis=2).max(axis=1)
    tree = cKDTree(centres)
    best = _to_triangles(points, triangles[tree.query(points)[1]])
    todo, count = np.arange(len(points)), min(FIRST, len(triangles))
    while len(todo):
        left = []
        for part in np.array_split(todo, -(-len(todo) * count // PAIRS)):
            away, index = (found.reshape(len(part), count) for found in tree.query(points[part], k=count))
            rows, places = np.nonzero(away - radii[index] < best[part, None])
            found = _to_triangles(points[part[rows]], triangles[index[rows, places]])
            np.minimum.at(best, part[rows], found)
            undecided = (away[:, -1] - radii.max() < best[part]) & (best[part] < FAR * radii.max())
            left.append(part[undecided & (count < len(triangles))])
        todo, count = np.concatenate(left), min(2 * count, len(triangles))
    return best


def _to_triangles(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Distance of each point (N, 3) to its triangle (N, 3, 3).

    The nearest point is below the point itself, where that is inside the triangle, or on one of the edges.
    """
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    normal = np.cross(b - a, c - a)
    length = np.maximum(np.linalg.norm(normal, axis=1), 1e-12)
    # shares of the corners b and c in the point below, times the square of the length
    from_a = points - a
    of_b, of_c = _dot(np.cross(from_a, c - a), normal), _dot(np.cross(b - a, from_a), normal)
    inside = (of_b >= 0) & (of_c >= 0) & (of_b + of_c <= length**2) & (length > 1e-12)
    distance = np.abs(_dot(from_a, normal)) / length
    out = ~inside
    points, a, b, c = points[out], a[out], b[out], c[out]
    distance[out] = np.minimum(np.minimum(_to_edges(points, a, b), _to_edges(points, b, c)), _to_edges(points, c, a))
    return distance


def _to_edges(points: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Distance of each point to the segment from start to stop, all (N, 3)."""
    along, away = stop - start, points - start
    share = np.clip(_dot(away, along) / np.maximum(_dot(along, along), 1e-24), 0, 1)
    return np.linalg.norm(away - share[:, None] * along, axis=1)


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", one, other)
