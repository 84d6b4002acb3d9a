"""What makes the network fast: the same function by other steps. Which path runs when, what it saves, how to switch it off.

`plain_layers()` switches all of them off but the folding; the output is then the same up to rounding (tests/networks/fast/test_switch.py).
While a network is traced, exported or compiled, all but `FusedHeads` are off by themselves. Figures: docs/network.md.

| runs when | path | what it saves | off without `plain_layers` |
| --- | --- | --- | --- |
| called, as by inference.json | `folding.fold_batch_norm` | batch norms; three products of a gate | not calling it |
| folded, no gradients, channels-last | `folding.MergedSkip` in place | memory for the gated skip | plain memory format |
| CPU, 3-D, float32, no gradients | `convolve.convolve`: oneDNN | 2 to 16 times for small samples | `torch.backends.mkldnn` |
| CPU, 3-D, folded, no gradients | `convolve.convolve`: oneDNN, with ReLU | a pass over the features | `torch.backends.mkldnn` |
| CPU, a kernel of one voxel | `convolve.conv_same`: a product | a slow convolution; a change of memory order | - |
| sizes double, corners not aligned, | `upsampling.conv_of_upsampled` | up-sampled features, concatenation | `align_corners=True` |
| 128 coarse voxels per channel or more | | with the skip | |
| CPU, 3-D, no gradients, evaluation, | `slabs.by_slabs` | a fifth of the time; 120 bytes per voxel | `slabs.SLAB_BYTES = 2**62` |
| features above 32 MB | | instead of 300 | |
| the same above 192 MB, no gates but | `finest_level` | 60 bytes per voxel instead of 120 | `network.own_finest_level = False` |
| on skips, corners not aligned | | | |
| training on a CPU, `checkpointing`, | `after_norm` | memory: 2.6 GB instead of 4.4 for two patches | `after_norm.SLAB_BYTES = 2**62` |
| 3-D, features above 32 MB, batch norms | | of 160x160x96; no time | |
| always, also in exports | `heads.FusedHeads` | up-sampling of all channels | - |
| always | `heads.sum_upsampled`, `to_classes` | a pass per level | - |
| always | `blocks.halve` | float32 features under autocast | - |

Two more things save time and are not here: channels-last memory (`network.to(memory_format=torch.channels_last_3d)`, done by the
configs), and huge pages (`import bundle` sets `THP_MEM_ALLOC_ENABLE`; 0 undoes it). `networks/small_convolutions.py` is about right
results, not about speed, and is never off.
"""

from bundle.networks.fast.switch import plain_layers

__all__ = ["plain_layers"]
