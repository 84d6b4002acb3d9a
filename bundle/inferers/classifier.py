"""How a classifier sees a scan: what is done to the scan before, whole volumes in 3-D, and slice after slice in 2-D."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import SimpleInferer
from monai.transforms import EnsureChannelFirstd, Orientationd, ScaleIntensityRanged, SpatialPadd
from torch import Tensor, nn

from bundle.data.load_scan import LoadScand
from bundle.errors import UserError
from bundle.networks.blocks import resize
from bundle.networks.weights.classifier import read_classifier
from bundle.transforms import CropBodyd, ResampleSpacingd

AIR = -1024.0
# slices that go through a 2-D network at once
SLICES = 32
# in the place of a largest coefficient of 0
TINY = 1e-12


def patch_of(patch_size: Sequence[int], spatial_dims: int) -> list[int]:
    """The size that training cuts out of a scan: `patch_size`, in 2-D one axial slice of it."""
    x, y, z = (int(size) for size in patch_size)
    return [x, y, z if spatial_dims == 3 else 1]


def classifier_transforms(
    spacing: Sequence[float], hu_range: Sequence[float], patch_size: Sequence[int], spatial_dims: int = 3, memory_gb: float | None = None
) -> list[Callable]:
    """From a path to what a classifier sees: the body in RAS at one spacing, at least a patch large, `hu_range` as -1 to 1.

    The HU are not put to the body's own mean and deviation, as they are for the segmentation: contrast shows in how bright things are.

    Args:
        spacing: voxel size in mm.
        hu_range: lower and upper end of the window, in HU.
        patch_size: voxels; smaller scans are padded with air on both sides (in 2-D not along the patient).
        spatial_dims: 2 or 3.
        memory_gb: GB that loading and resampling may take.

    Returns:
        Transforms of dictionaries with the key `image`, the last one gives a `MetaTensor` (1, X, Y, Z).
    """
    low, high = hu_range
    return [
        LoadScand("image", memory_gb=memory_gb),
        EnsureChannelFirstd("image"),
        Orientationd("image", axcodes="RAS", labels=None),
        CropBodyd("image", source_key="image", margin=10),
        ResampleSpacingd("image", pixdim=list(spacing), mode="bilinear", memory_gb=memory_gb),
        SpatialPadd("image", spatial_size=patch_of(patch_size, spatial_dims), value=AIR),
        ScaleIntensityRanged("image", a_min=low, a_max=high, b_min=-1.0, b_max=1.0, clip=True),
    ]


class ClassInferer(SimpleInferer):
    """A classifier over whole volumes: (B, C, X, Y, Z) to logits (B, K).

    A 2-D network sees every axial slice that is not air alone, and the probabilities of the slices are averaged; what comes back is
    their logarithm. MONAI's `SliceInferer` needs an output for each pixel.

    Args:
        spatial_dims: 2 or 3, of the network.
    """

    def __init__(self, spatial_dims: int = 3) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """Run `network` on every scan."""
        if self.spatial_dims == 3:
            return network(inputs, *args, **kwargs)
        return torch.stack([self._slices(scan, network, *args, **kwargs) for scan in inputs])

    def attention(self, inputs: Tensor, network: Any) -> tuple[Tensor, dict[int, Tensor]]:
        """The same logits, and where the gates looked: for each gated level (B, 1, X, Y, Z) on the grid of `inputs`, in 0..1.

        Coefficients are relative to the largest of their level in the scan. They are interpolated from the level's grid, and are 0
        in slices that a 2-D network does not see.
        """
        found = [self._attention(scan, network) for scan in inputs]
        return torch.stack([logits for logits, _ in found]), {
            level: torch.stack([maps[level] for _, maps in found]) for level in (found[0][1] if found else ())
        }

    def _attention(self, scan: Tensor, network: Any) -> tuple[Tensor, dict[int, Tensor]]:
        if self.spatial_dims == 3:
            logits, coarse = network.attention(scan[None])
            maps = {level: resize(alpha, list(scan.shape[1:]), False)[0] for level, alpha in coarse.items()}
            return logits[0], {level: alpha / alpha.amax().clamp_min(TINY) for level, alpha in maps.items()}
        slices = scan.movedim(-1, 0)
        shown = _shown(slices)
        parts = [network.attention(part) for part in slices[shown].split(SLICES)]
        maps = {}
        for level in parts[0][1]:
            fine = torch.cat([resize(coarse[level], list(scan.shape[1:3]), False) for _, coarse in parts])
            maps[level] = scan.new_zeros(len(slices), 1, *scan.shape[1:3])
            maps[level][shown] = fine / fine.amax().clamp_min(TINY)
        logits = torch.cat([logits for logits, _ in parts]).softmax(1).mean(0).log()
        return logits, {level: alpha.movedim(0, -1) for level, alpha in maps.items()}

    def _slices(self, scan: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        slices = with_body(scan.movedim(-1, 0))
        logits = torch.cat([network(part, *args, **kwargs) for part in slices.split(SLICES)])
        return logits.softmax(1).mean(0).log()


def with_body(slices: Tensor) -> Tensor:
    """The slices (N, C, X, Y) that are not the same everywhere; all of them where none is."""
    return slices[_shown(slices)]


def _shown(slices: Tensor) -> Tensor:
    """Which slices show something (N,); all of them where none does."""
    flat = slices.flatten(1)
    shown = flat.amax(1) > flat.amin(1)
    return shown if bool(shown.any()) else torch.ones_like(shown)


class Classifier:
    """The classifier of a file with everything that it needs: network, transforms, inferer, classes.

    Args:
        path: the `model.pt` of a training with `classify.json`; a list of files is refused.
        device: where the network runs.
        memory_gb: GB that loading and resampling may take.
        network: to fill, where the file is of a network that is not this bundle's.

    Raises:
        UserError: as `read_classifier`, or several files.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        device: torch.device | str = "cpu",
        memory_gb: float | None = None,
        network: nn.Module | None = None,
    ) -> None:
        if isinstance(path, (list, tuple)):
            raise UserError("ckpt_path", "it is a list, and a classifier is one file: there is no ensemble of them", "give one file")
        found, self.learnt = read_classifier(path, network)
        self.path, self.device = os.fspath(path), torch.device(device)
        self.network = found.to(self.device)
        self.classes: list[str] = [str(name) for name in self.learnt["classes"]]
        self.spatial_dims = int(self.learnt["spatial_dims"])
        seen = {name: self.learnt[name] for name in ("spacing", "hu_range", "patch_size", "spatial_dims")}
        self.transforms = classifier_transforms(**seen, memory_gb=memory_gb)
        self.inferer = ClassInferer(self.spatial_dims)

    def __call__(self, image: Tensor | str | os.PathLike) -> dict[str, float]:
        """The probability of each class for a scan: a path, or what `LoadScand` gives (X, Y, Z) in HU."""
        data: dict[str, Any] = {"image": image}
        for transform in self.transforms:
            data = transform(data)
        with torch.inference_mode():
            logits = self.inferer(data["image"].as_tensor()[None].to(self.device), self.network)[0]
        return dict(zip(self.classes, logits.softmax(0).tolist(), strict=True))
