"""What MONAI's metrics lack: overlap, surface distances and volumes of one scan, from label maps, in bounded memory."""

from bundle.metrics.case import COLUMNS, score_case
from bundle.metrics.classes import class_columns, f1_of_each
from bundle.metrics.mesh import mesh_distance
from bundle.metrics.surface import surface_distances, surface_points

__all__ = ["COLUMNS", "class_columns", "f1_of_each", "mesh_distance", "score_case", "surface_distances", "surface_points"]
