"""Random crop and random affine in one resampling."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable
from monai.utils import ensure_tuple_rep

from bundle.errors import UserError


class RandCropAffined(Randomizable, MapTransform):
    """Crop a random patch, rotated, scaled and shifted at random, with one interpolation and padding by air.

    A patch centre is drawn uniformly from the places where the patch is inside the scan (the middle, along an axis
    where the scan is smaller); the patch is then rotated, scaled and shifted about that centre. Every voxel of the
    patch is read from the scan once: nothing is blurred twice, and the corners of a rotated patch show the scan and
    not padding. Voxels outside the scan get their channel's lowest value (air) and label 0. Along an axis of one voxel a scan is the
    same everywhere, as inference takes it, which repeats the end slices of slabs: a patch of one slice is that slice however it is
    turned.

    MONAI's parts come near and do not reach it: `RandAffined(spatial_size=...)` takes its patch round the middle of the
    scan, and its shift range is one number of voxels for scans of all sizes; `RandSpatialCropd` + `RandAffined` as a
    lazy pipeline pad with 0, which after N(0,1) is soft tissue, or smear the border, and take two to three times as long
    (`docs/training.md` has the measurement).

    Shapes: each key (C, X, Y, Z), same spatial shape for all, to (C, *spatial_size); dtypes are kept. The random state
    is that of MONAI's `Randomizable`.

    Args:
        keys: image and label. The first key's shape decides where the patch may be.
        spatial_size: patch size in voxels.
        mode: interpolation per key, "bilinear" or "nearest".
        prob: probability of the affine; the random crop always happens.
        rotate_degrees: rotation about each axis is drawn from +- this.
        shift: shift along each axis is drawn from +- this fraction of the patch size.
        scale: zoom is drawn from this range, one factor for all axes: 1.3 shows organs 1.3 times as large.
        device: where the volumes are brought before they are read, and the patches stay; None: where they are. MONAI's `RandAffined`
            has the same.

    Raises:
        UserError: an item has no voxel.
        ValueError: `spatial_size` or `scale` make no sense; items have different shapes.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spatial_size: Sequence[int],
        *,
        mode: Sequence[str] | str = ("bilinear", "nearest"),
        prob: float = 1.0,
        rotate_degrees: float = 15.0,
        shift: float = 0.1,
        scale: Sequence[float] = (0.7, 1.3),
        device: torch.device | str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.spatial_size = tuple(int(size) for size in spatial_size)
        if len(self.spatial_size) != 3 or min(self.spatial_size) < 1:
            raise ValueError(f"spatial_size must be three positive sizes, got {spatial_size}")
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale must be a range of positive factors, got {scale}")
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        self.device = None if device is None else torch.device(device)
        self.prob, self.rotate_degrees, self.shift, self.scale = prob, rotate_degrees, shift, (float(scale[0]), float(scale[1]))

    def randomize(self, shape: Sequence[int]) -> torch.Tensor:  # type: ignore[override]  # MONAI's transforms keep what they draw
        """Draw one patch: 3x4 matrix that takes patch voxels, counted from the patch's centre, to scan voxels."""
        centre = []
        for size, patch in zip(shape, self.spatial_size, strict=True):
            room = size - patch
            # a whole number of voxels: without an affine the crop is then a copy and no interpolation
            start = float(self.R.randint(0, room + 1)) if room > 0 else math.floor(room / 2)
            centre.append(start + (patch - 1) / 2)
        linear, offset = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
        if self.R.rand() < self.prob:
            angles = torch.as_tensor(self.R.uniform(-self.rotate_degrees, self.rotate_degrees, 3)) * math.pi / 180
            linear = _rotation(angles) / self.R.uniform(*self.scale)
            offset = torch.as_tensor(self.R.uniform(-self.shift, self.shift, 3)) * torch.tensor(self.spatial_size)
        return torch.cat([linear, (torch.tensor(centre, dtype=torch.float64) + offset)[:, None]], dim=1)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Crop all keys by the same random patch."""
        out = dict(data)
        shape = out[self.first_key(out)].shape[1:]
        for key in self.key_iterator(out):
            if not out[key].numel():
                fix = "look at the transforms before RandCropAffined: one has cropped everything away"
                raise UserError(str(key), f"has no voxel, its shape is {tuple(out[key].shape)}", fix)
        matrix = self.randomize(shape)
        grid = sampling_grid(matrix, shape, self.spatial_size, device=self.device or out[self.first_key(out)].device)
        for key, mode in self.key_iterator(out, self.mode):
            if tuple(out[key].shape[1:]) != tuple(shape):
                raise ValueError(f"'{key}' has the shape {tuple(out[key].shape)}, '{self.first_key(out)}' {tuple(shape)}")
            out[key] = sample(out[key].to(grid.device), grid, mode)
        return out


def sampling_grid(matrix: torch.Tensor, shape: Sequence[int], patch: Sequence[int], *, device: torch.device | str = "cpu") -> torch.Tensor:
    """Grid for `torch.nn.functional.grid_sample` (align_corners) of a patch.

    Args:
        matrix: (3, 4), patch voxels counted from the patch's centre -> scan voxels.
        shape: spatial shape of the scan.
        patch: spatial shape of the patch.
        device: where the volumes are; the patches are made there.

    Returns:
        (1, *patch, 3) float32, coordinates in [-1, 1] with the last axis first, as grid_sample wants.
    """
    # voxel -> [-1, 1]; an axis of one voxel has no extent: any finite factor does, grid_sample reads that voxel everywhere
    to_unit = torch.tensor([2.0 / max(size - 1, 1) for size in shape], dtype=torch.float64)
    theta = torch.cat([matrix[:, :3] * to_unit[:, None], (matrix[:, 3] * to_unit - 1)[:, None]], dim=1).flip(0).to(device, torch.float32)
    axes = [torch.arange(size, dtype=torch.float32, device=device) - (size - 1) / 2 for size in patch]
    # sum of three outer terms instead of a matrix product over all voxels: an affine is separable before it is summed
    x, y, z = (axis[:, None] * theta[:, column] for column, axis in enumerate(axes))
    return ((x + theta[:, 3])[:, None, None] + y[None, :, None] + z[None, None])[None]


def sample(volume: torch.Tensor, grid: torch.Tensor, mode: str) -> torch.Tensor:
    """Read a (C, X, Y, Z) volume at `grid` (see `sampling_grid`); outside it is each channel's minimum (0 for nearest)."""
    source = (volume.as_tensor() if isinstance(volume, MetaTensor) else volume)[None].to(torch.float32)
    outside = source.amin((2, 3, 4), keepdim=True) if mode == "bilinear" else source.new_zeros(())
    # grid_sample pads with zeros: shift the volume so that zero is air, and back
    out = F.grid_sample(source - outside if mode == "bilinear" else source, grid, mode=mode, padding_mode="zeros", align_corners=True)
    out = out.add_(outside) if mode == "bilinear" else out
    return out[0].to(volume.dtype)


def _rotation(angles: torch.Tensor) -> torch.Tensor:
    """Rotation matrix about x, then y, then z, of three angles in radians."""
    (cx, cy, cz), (sx, sy, sz) = angles.cos().tolist(), angles.sin().tolist()
    about_x = torch.tensor([[1, 0, 0], [0, cx, -sx], [0, sx, cx]], dtype=torch.float64)
    about_y = torch.tensor([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]], dtype=torch.float64)
    about_z = torch.tensor([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]], dtype=torch.float64)
    return about_z @ about_y @ about_x
