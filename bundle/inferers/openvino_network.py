"""The network on Intel CPUs by OpenVINO, exported and cached by itself."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bundle.errors import UserError
from bundle.networks.blocks import crop, pad_to_multiple
from bundle.networks.sizes import classes_of
from bundle.telemetry import quiet_openvino

# the network is traced with volumes of 3, 4 and 5 times so many voxels, or more where it takes multiples of more
STEP = 16
HINTS = {"auto": None, "fp32": "f32", "bf16": "bf16"}


class OpenVinoNetwork:
    """A network that OpenVINO runs: called with (B, C, X, Y, Z) of any size it gives the same logits as the PyTorch module.

    The first call exports the module for any size in the steps that it takes (seconds) and keeps the export in a folder, under a name
    that follows from weights and version, so that other weights never get an old export. Needs the extra `openvino`.

    Args:
        network: the module, one of this bundle's, in evaluation mode, its batch norms folded.
        cache_dir: where exports are kept.
        precision: "auto" (what OpenVINO takes for this CPU), "fp32" or "bf16".
        threads: CPU threads; 0 takes what PyTorch takes.

    Raises:
        UserError: OpenVINO is not installed, or the network is another one, whose trace may hold for one size only.
        ValueError: an unknown precision.
    """

    def __init__(self, network: torch.nn.Module, cache_dir: str | os.PathLike, precision: str = "auto", threads: int = 0) -> None:
        if precision not in HINTS:
            raise ValueError(f"precision must be one of {', '.join(HINTS)}, got {precision!r}.")
        try:
            quiet_openvino()
        except ImportError as error:
            raise UserError("openvino", "this package is not installed", "pip install -e '.[openvino]'") from error
        if not hasattr(network, "multiple"):
            raise UserError("network_def", f"{type(network).__name__} is none of this bundle's networks", "leave inference_openvino out")
        self.network, self.cache_dir, self.precision, self.threads = network.eval(), Path(cache_dir), precision, threads
        # as a module of this bundle says that it takes any size
        self.multiple: int = network.multiple  # type: ignore[assignment]  # modules may have anything
        self.out_channels = classes_of(network)
        self._compiled: Callable[[Any], Any] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Logits (B, K, X, Y, Z), float32."""
        padded = pad_to_multiple(x, self.multiple)
        if self._compiled is None:
            self._compiled = self._compile()
        logits = torch.from_numpy(self._compiled({0: padded.contiguous().numpy()})[0])
        return crop(logits, list(x.shape[2:]))

    def _compile(self) -> Callable[[Any], Any]:
        openvino = quiet_openvino()
        options: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self.threads or torch.get_num_threads(),
        }
        if HINTS[self.precision]:
            options["INFERENCE_PRECISION_HINT"] = HINTS[self.precision]
        return openvino.Core().compile_model(str(self.exported()), "CPU", options)

    def exported(self) -> Path:
        """The export of this network, made if it is not in the cache."""
        openvino = quiet_openvino()
        digest = hashlib.sha256(f"{openvino.__version__} {torch.__version__} {self.network}".encode())
        for name, value in self.network.state_dict().items():
            digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        folder = self.cache_dir / digest.hexdigest()[:16]
        if not folder.is_dir():
            self.cache_dir.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=".unfinished", dir=self.cache_dir))
            try:
                self._export(openvino, aside / "network.xml")
                os.rename(aside, folder)
            except OSError:
                if not folder.is_dir():  # else another process was faster
                    raise
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        return folder / "network.xml"

    def _export(self, openvino: Any, path: Path) -> None:
        channels = next(module for module in self.network.modules() if isinstance(module, torch.nn.Conv3d)).in_channels
        # three sizes that differ, so that none is taken for another
        step = max(STEP, self.multiple)
        example = torch.zeros(1, channels, 3 * step, 4 * step, 5 * step)
        shape = openvino.PartialShape([-1, channels, -1, -1, -1])
        with warnings.catch_warnings():
            # tracing warns of every size it sees; the test with other sizes decides
            warnings.simplefilter("ignore")
            model = openvino.convert_model(self.network, example_input=example, input=[shape])
        openvino.save_model(model, path, compress_to_fp16=False)
