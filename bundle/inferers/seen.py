"""A scan and its reference as the network sees them, from an inference config: for figures and tables about the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bundle import root
from bundle.images import read

if TYPE_CHECKING:
    import torch
    from monai.bundle import ConfigParser


def opened(config_file: str | Sequence[str], ckpt_path: str | None = None, device: str | None = None) -> ConfigParser:
    """An inference config and overlays, separated by commas; those that are no files are looked for in the bundle.

    Args:
        config_file: the configs, later ones over earlier.
        ckpt_path: the weights; those of the config by default.
        device: where the network is; as the config says by default.
    """
    from monai.bundle import ConfigParser

    names = config_file.split(",") if isinstance(config_file, str) else list(config_file)
    paths = [item if Path(item).is_file() else str(Path(root()) / item) for item in names]
    parser = ConfigParser(ConfigParser.load_config_files(paths))
    for key, value in (("ckpt_path", ckpt_path), ("device", device)):
        if value is not None:
            parser[key] = value
    return parser


def seen(parser: ConfigParser, item: Mapping[str, Any], reference: str | Path | None = None) -> tuple[torch.Tensor, np.ndarray | None]:
    """The scan (1, X, Y, Z) after the config's preprocessing, and the values of its reference (X, Y, Z) on that grid, None without one.

    Args:
        parser: an inference config, with `preprocessing`.
        item: the scan, its path or slices under `image`.
        reference: a label map.
    """
    import torch
    from monai.data import MetaTensor
    from monai.transforms import Orientation, ResampleToMatch

    scan = parser.get_parsed_content("preprocessing")(dict(item))["image"]
    if reference is None:
        return torch.as_tensor(scan).float(), None
    values, affine, _ = read(reference)
    loaded = MetaTensor(torch.from_numpy(values.astype(np.float32))[None], affine=torch.as_tensor(affine))
    label = ResampleToMatch(mode="nearest", padding_mode="zeros")(Orientation("RAS", labels=None)(loaded), scan)
    return scan.as_tensor().float(), label[0].numpy().round().astype(np.int32)
