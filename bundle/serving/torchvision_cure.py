"""Lets a torchvision that was built for CUDA import together with a CPU build of torch (`operator torchvision::nms does not exist`).

MONAI Label imports torchvision for two drawing functions; its compiled operators are never called. Copied into the server's
environment, this module runs with each start of the interpreter, and does nothing until torchvision is imported.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder


class _DeclareOperators(MetaPathFinder):
    """Just before torchvision's first import, declares the two operators whose absence stops it."""

    libraries: list = []  # noqa: RUF012  a declaration lives as long as its library object

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name != "torchvision":
            return None
        sys.meta_path.remove(self)
        import torch

        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        self.libraries.append(library)
        return None


sys.meta_path.insert(0, _DeclareOperators())
