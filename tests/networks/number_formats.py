"""In which number format convolutions are computed."""

from __future__ import annotations

import torch


class Formats(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes in `seen` the number format of each convolution within it."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.convolution.default:
            self.seen.append(args[0].dtype)
        return func(*args, **(kwargs or {}))
