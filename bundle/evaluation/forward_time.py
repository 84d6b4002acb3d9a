"""How long one forward pass takes: the column of times in the paper's Tables 1 and 2."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from bundle.arguments.mistakes import out_of_memory
from bundle.errors import counted


def forward_seconds(network: nn.Module, size: Sequence[int], *, device: str | torch.device = "cpu", repeats: int = 3) -> float:
    """Seconds of one forward pass of a volume (1, in_channels, *size), the best of some: other load on the machine does least harm there.

    The network is prepared as inference does it: batch norms folded, channels-last memory, no gradients. One pass before is not timed.

    Args:
        network: with `in_channels`, or of one channel; it stays as it is. One that takes multiples of some number gets the next ones.
        size: spatial size; 160, 160, 96 in the paper.
        device: where.
        repeats: passes that are timed.
    """
    from bundle.networks import fold_batch_norm
    from bundle.networks.fast.convolve import channels_last
    from bundle.networks.sizes import fitted

    layout = torch.channels_last_3d if len(size) == 3 else torch.channels_last
    ready = fold_batch_norm(network).to(device=device).eval()
    channels_last(ready, len(size))
    volume = torch.zeros(1, int(getattr(network, "in_channels", 1)), *size, device=device).contiguous(memory_format=layout)
    seconds = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            start = time.perf_counter()
            fitted(ready, volume)
            if volume.is_cuda:
                torch.cuda.synchronize(volume.device)
            seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def of_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The pass of the network in a configuration, over a volume of its `patch_size`, on this machine's device.

    Args:
        config: `network_def`, `labels`, `patch_size` and, where there are several, `channels`, as in train.json.

    Returns:
        `{"seconds", "size", "device"}`; seconds is None where memory does not suffice.
    """
    from monai.bundle import ConfigParser

    from bundle.inferers import pick_device

    needed = {"channels": None, **{key: config[key] for key in ("labels", "channels", "network_def") if key in config}}
    parser = ConfigParser({"imports": ["$import bundle", "$import bundle.channels"], **needed})
    size, device = [int(length) for length in config["patch_size"]], pick_device()
    where = f"CPU, {counted(torch.get_num_threads(), 'thread')}" if device == "cpu" else torch.cuda.get_device_name(device)
    try:
        seconds: float | None = forward_seconds(parser.get_parsed_content("network_def"), size, device=device)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        print(f"The forward pass of {'x'.join(map(str, size))} was not timed: not enough memory")
        seconds = None
    return {"seconds": seconds, "size": size, "device": where}
