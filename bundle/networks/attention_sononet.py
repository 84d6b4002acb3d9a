"""Attention-gated classifier: a VGG-type network whose gates weigh where to pool (Schlemper et al., arXiv 1808.08114)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bundle.networks.blocks import ConvNormAct, convolution, halve, resize
from bundle.networks.fast.convolve import conv_same

AGGREGATIONS = ("concat", "mean", "deep_supervision", "fine_tuned")
NORMALISATIONS = ("mean_flow", "sigmoid", "softmax", "range")
# of the losses of the outputs while training, as in the authors' configurations: alike, or the deciding one above the three others
LOSS_WEIGHTS = {"mean": (1.0, 1.0, 1.0), "deep_supervision": (1.0, 0.1, 0.1, 0.1)}


class PoolingGate(nn.Module):
    """Additive attention that pools: the sum over voxels of x times alpha, where alpha sums to one (or is a sigmoid).

    `q = psi(relu(theta(x) + phi(g)))` as in the segmentation network's gate (equation (1) of arXiv 1804.03999), without sub-sampling of x
    and without a transform of the gated features, like `sononet_grid_attention` of the authors' code.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the features x.
        gating_channels: channels of the gating features g.
        inter_channels: channels in which x and g are compared.
        normalisation: from q to alpha. "mean_flow": q minus its minimum, divided by its sum; "softmax": over all voxels; "sigmoid";
            "range": from 0 at the minimum to 1 at the maximum.
    """

    def __init__(self, spatial_dims: int, in_channels: int, gating_channels: int, inter_channels: int, normalisation: str) -> None:
        super().__init__()
        self.normalisation = normalisation
        self.theta = convolution(spatial_dims, in_channels, inter_channels, 1, bias=False)
        self.phi = convolution(spatial_dims, gating_channels, inter_channels, 1, bias=False)
        self.psi = convolution(spatial_dims, inter_channels, 1, 1)

    def forward(self, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Features x (B, in_channels, *spatial) and g (B, gating_channels, *coarser) to pooled features and alpha.

        Returns:
            (B, in_channels), and alpha (B, 1, *spatial).
        """
        theta = conv_same(x, self.theta.weight, None)
        phi = resize(conv_same(g, self.phi.weight, None), list(theta.shape[2:]), False)
        q = conv_same(torch.relu(theta + phi), self.psi.weight, self.psi.bias)
        alpha = normalise(q, self.normalisation)
        return (x * alpha).flatten(2).sum(2), alpha


def normalise(q: Tensor, how: str) -> Tensor:
    """Coefficients alpha from q (B, 1, *spatial), see `PoolingGate`. Where all of q are equal, "mean_flow" and "range" weigh alike."""
    if how == "sigmoid":
        return torch.sigmoid(q)
    flat = q.flatten(2)
    if how == "softmax":
        return flat.softmax(2).reshape(q.shape)
    above = flat - flat.amin(2, keepdim=True)
    scale = above.sum(2, keepdim=True) if how == "mean_flow" else above.amax(2, keepdim=True)
    even = 1 / flat.shape[2] if how == "mean_flow" else 1.0
    return torch.where(scale > 0, above / scale.clamp_min(torch.finfo(q.dtype).tiny), even).reshape(q.shape)


class AttentionSononet(nn.Module):
    """SonoNet with attention gates on its third and fourth level, gated by the coarsest features; 2-D and 3-D.

    `sononet_grid_attention` of https://github.com/ozan-oktay/Attention-Gated-Networks, from the description in
    https://arxiv.org/abs/1808.08114 (Medical Image Analysis 2019). Three feature vectors are classified: those pooled by the two gates,
    and the global average of the coarsest features.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        num_classes: number of classes.
        channels: channels of the four levels; (8, 16, 32, 64) is the published size ("feature scale 8").
        convolutions: 3x3 convolutions of the four levels and of the last one, which has no pooling before its end.
        aggregation: "concat": one classifier over all three vectors. "mean": a classifier each; probabilities are averaged.
            "deep_supervision": a classifier each, and one over all, which alone decides. "fine_tuned": one over the three predictions.
        normalisation: of the gates, see `PoolingGate`.

    Raises:
        ValueError: an argument is none of these.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        num_classes: int = 2,
        *,
        channels: Sequence[int] = (8, 16, 32, 64),
        convolutions: Sequence[int] = (3, 3, 3, 2, 2),
        aggregation: str = "mean",
        normalisation: str = "mean_flow",
    ) -> None:
        super().__init__()
        _check(spatial_dims, in_channels, num_classes, channels, convolutions, aggregation, normalisation)
        self.spatial_dims, self.in_channels, self.num_classes = spatial_dims, in_channels, num_classes
        self.channels, self.convolutions = tuple(channels), tuple(convolutions)
        self.aggregation, self.normalisation = aggregation, normalisation
        widths = [*channels, channels[-1]]
        self.levels = nn.ModuleList(
            nn.Sequential(*(ConvNormAct(spatial_dims, before if not i else after, after) for i in range(count)))
            for before, after, count in zip([in_channels, *widths], widths, convolutions, strict=False)
        )
        coarsest = widths[-1]
        self.gates = nn.ModuleList(PoolingGate(spatial_dims, width, coarsest, coarsest, normalisation) for width in widths[2:4])
        sizes = [widths[2], widths[3], coarsest]
        self.each = nn.ModuleList(nn.Linear(size, num_classes) for size in (sizes if aggregation != "concat" else ()))
        whole = {"concat": sum(sizes), "deep_supervision": sum(sizes), "fine_tuned": 3 * num_classes}.get(aggregation)
        self.classifier = nn.Linear(whole, num_classes) if whole else nn.Identity()
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d)):
                nn.init.kaiming_normal_(module.weight, mode="fan_in")

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Image (B, in_channels, *spatial), every spatial size at least 16, to logits (B, num_classes).

        While training, "mean" and "deep_supervision" give a list of logits, each of which has a loss: MONAI's
        `DeepSupervisionLoss` with the weights of `loss_weights`. In evaluation "mean" gives the logarithm of the averaged
        probabilities.
        """
        return self._aggregate(self._pooled(x)[0])

    def attention(self, x: Tensor) -> tuple[Tensor | list[Tensor], dict[int, Tensor]]:
        """Output as of `forward`, and the coefficients (B, 1, *grid of the level) of levels 3 and 4: weak localisation."""
        pooled, maps = self._pooled(x)
        return self._aggregate(pooled), maps

    def arguments(self) -> dict[str, Any]:
        """What it was made with, as plain values: `AttentionSononet(**arguments)` is of the same kind."""
        names = ("spatial_dims", "in_channels", "num_classes", "channels", "convolutions", "aggregation", "normalisation")
        found = {name: getattr(self, name) for name in names}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

    def _pooled(self, x: Tensor) -> tuple[list[Tensor], dict[int, Tensor]]:
        features: list[Tensor] = []
        for i, level in enumerate(self.levels):
            x = level(halve(x) if 0 < i < len(self.levels) else x)
            features.append(x)
        coarsest = features[-1]
        vectors, maps = [], {}
        for number, gate in zip((3, 4), self.gates, strict=True):
            vector, maps[number] = gate(features[number - 1], coarsest)
            vectors.append(vector)
        return [*vectors, coarsest.flatten(2).mean(2)], maps

    def _aggregate(self, pooled: list[Tensor]) -> Tensor | list[Tensor]:
        if self.aggregation == "concat":
            return self.classifier(torch.cat(pooled, dim=1))
        each = [head(vector) for head, vector in zip(self.each, pooled, strict=True)]
        if self.aggregation == "fine_tuned":
            return self.classifier(torch.cat(each, dim=1))
        if self.aggregation == "mean":
            return each if self.training else torch.stack([one.softmax(1) for one in each]).mean(0).log()
        whole = self.classifier(torch.cat(pooled, dim=1))
        return [whole, *each] if self.training else whole


def loss_weights(aggregation: str) -> list[float]:
    """The weight of each output's loss, for MONAI's `DeepSupervisionLoss`; of aggregations with one output, 1."""
    return list(LOSS_WEIGHTS.get(aggregation, (1.0,)))


def _check(
    spatial_dims: int,
    in_channels: int,
    num_classes: int,
    channels: Sequence[int],
    convolutions: Sequence[int],
    aggregation: str,
    normalisation: str,
) -> None:
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims is {spatial_dims!r}, it must be 2 or 3")
    if len(channels) != 4 or len(convolutions) != 5 or min(*channels, *convolutions, in_channels) < 1:
        raise ValueError(
            f"{channels=}, {convolutions=}, {in_channels=}: four levels of channels and five counts, each at least 1, are needed"
        )
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes!r}, it must be at least 2")
    for name, value, allowed in (("aggregation", aggregation, AGGREGATIONS), ("normalisation", normalisation, NORMALISATIONS)):
        if value not in allowed:
            raise ValueError(f"{name} is {value!r}, it must be one of {', '.join(allowed)}")
