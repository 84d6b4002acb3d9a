"""The authors' three networks, as plain as possible, from the description in the paper and the names in their checkpoints.

The yardstick of test_authors.py and of benchmarks/network.py: shares no code with the plugin, and is not meant to be fast.
Up-sampling is by the factors of that code, so spatial sizes must be multiples of 16.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_norm(before: int, after: int, size: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(before, after, size, padding=size // 2), nn.BatchNorm3d(after), nn.ReLU(inplace=True))


class Level(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv_norm(before, after, 3), conv_norm(after, after, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x))


class Up(nn.Module):
    def __init__(self, skip: int, coarse: int, align_corners: bool) -> None:
        super().__init__()
        self.conv = Level(skip + coarse, skip)
        self.align_corners = align_corners

    def forward(self, skip: Tensor, coarse: Tensor) -> Tensor:
        up = F.interpolate(coarse, scale_factor=2, mode="trilinear", align_corners=self.align_corners)
        return self.conv(torch.cat([skip, up], dim=1))


class Gating(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = conv_norm(width, width, 1)


class Gate(nn.Module):
    """q = psi(relu(theta x + phi g)), alpha = sigmoid(q), output W(alpha x)."""

    def __init__(self, skip: int, coarse: int, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.W = nn.Sequential(nn.Conv3d(skip, skip, 1), nn.BatchNorm3d(skip))
        self.theta = nn.Conv3d(skip, skip, 2, stride=2, bias=False)
        self.phi = nn.Conv3d(coarse, skip, 1)
        self.psi = nn.Conv3d(skip, 1, 1)

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        q = self.theta(x)
        q = q + F.interpolate(self.phi(g), size=q.shape[2:], mode="trilinear", align_corners=self.align_corners)
        alpha = torch.sigmoid(self.psi(torch.relu(q)))
        alpha = F.interpolate(alpha, size=x.shape[2:], mode="trilinear", align_corners=self.align_corners)
        return self.W(alpha * x)


class Gates(nn.Module):
    def __init__(self, skip: int, coarse: int, count: int, align_corners: bool) -> None:
        super().__init__()
        self.count = count
        for i in range(1, count + 1):
            setattr(self, f"gate_block_{i}", Gate(skip, coarse, align_corners))
        self.combine_gates = conv_norm(count * skip, skip, 1)

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        return self.combine_gates(torch.cat([getattr(self, f"gate_block_{i}")(x, g) for i in range(1, self.count + 1)], dim=1))


class Head(nn.Module):
    def __init__(self, width: int, classes: int, factor: int, align_corners: bool) -> None:
        super().__init__()
        self.dsv = nn.Sequential(
            nn.Conv3d(width, classes, 1), nn.Upsample(scale_factor=factor, mode="trilinear", align_corners=align_corners)
        )


class AuthorsNetwork(nn.Module):
    """`unet_CT_multi_att_dsv_3D` for two gates, `unet_CT_single_att_dsv_3D` for one, `unet_CT_dsv_3D` for none."""

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 4,
        channels: tuple[int, ...] = (16, 32, 64, 128, 256),
        num_gates: int = 2,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        one, two, three, four, five = channels
        self.num_gates = num_gates
        self.conv1, self.conv2 = Level(in_channels, one), Level(one, two)
        self.conv3, self.conv4 = Level(two, three), Level(three, four)
        self.center = Level(four, five)
        if num_gates:
            self.gating = Gating(five)
            self.attentionblock2 = Gates(two, three, num_gates, align_corners)
            self.attentionblock3 = Gates(three, four, num_gates, align_corners)
            self.attentionblock4 = Gates(four, five, num_gates, align_corners)
        self.up_concat4, self.up_concat3 = Up(four, five, align_corners), Up(three, four, align_corners)
        self.up_concat2, self.up_concat1 = Up(two, three, align_corners), Up(one, two, align_corners)
        self.dsv4, self.dsv3 = Head(four, classes, 8, align_corners), Head(three, classes, 4, align_corners)
        self.dsv2 = Head(two, classes, 2, align_corners)
        self.dsv1 = nn.Conv3d(one, classes, 1)
        self.final = nn.Conv3d(4 * classes, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        conv1 = self.conv1(x)
        conv2 = self.conv2(F.max_pool3d(conv1, 2))
        conv3 = self.conv3(F.max_pool3d(conv2, 2))
        conv4 = self.conv4(F.max_pool3d(conv3, 2))
        center = self.center(F.max_pool3d(conv4, 2))
        gated = bool(self.num_gates)
        up4 = self.up_concat4(self.attentionblock4(conv4, self.gating.conv1(center)) if gated else conv4, center)
        up3 = self.up_concat3(self.attentionblock3(conv3, up4) if gated else conv3, up4)
        up2 = self.up_concat2(self.attentionblock2(conv2, up3) if gated else conv2, up3)
        up1 = self.up_concat1(conv1, up2)
        heads = [self.dsv1(up1), self.dsv2.dsv(up2), self.dsv3.dsv(up3), self.dsv4.dsv(up4)]
        return self.final(torch.cat(heads, dim=1))


class ConvsInARow(nn.Module):
    def __init__(self, dims: int, before: int, after: int, count: int) -> None:
        super().__init__()
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
        for i in range(1, count + 1):
            self.add_module(f"conv{i}", nn.Sequential(conv(before if i == 1 else after, after, 3, 1, 1), norm(after), nn.ReLU()))

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x)
        return x


class PoolingAttention(nn.Module):
    """Sum of x times alpha, alpha = (q - min q) / sum(q - min q), q = psi(relu(theta x + phi g))."""

    def __init__(self, dims: int, width: int, gating: int) -> None:
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        self.mode = "bilinear" if dims == 2 else "trilinear"
        self.theta, self.phi, self.psi = conv(width, gating, 1, bias=False), conv(gating, gating, 1, bias=False), conv(gating, 1, 1)

    def forward(self, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        q = self.theta(x)
        q = self.psi(F.relu(q + F.interpolate(self.phi(g), size=q.shape[2:], mode=self.mode)))
        flat = q.reshape(len(q), -1)
        flat = flat - flat.min(1, keepdim=True).values
        alpha = (flat / flat.sum(1, keepdim=True)).reshape(q.shape)
        return (alpha * x).reshape(len(x), x.shape[1], -1).sum(-1), alpha


class GridAttentionSononet(nn.Module):
    """`sononet_grid_attention` with `concatenation_mean_flow`, feature scale 8; in 3-D the same with 3-D layers.

    The outputs are what theirs computes: a list for "mean" and "deep_supervision", one tensor otherwise.
    """

    def __init__(self, dims: int, in_channels: int, classes: int, aggregation: str) -> None:
        super().__init__()
        self.aggregation, widths = aggregation, (8, 16, 32, 64, 64)
        self.pool = nn.MaxPool2d(2) if dims == 2 else nn.MaxPool3d(2)
        for i, (before, after, count) in enumerate(zip((in_channels, *widths), widths, (3, 3, 3, 2, 2), strict=False), 1):
            self.add_module(f"conv{i}", ConvsInARow(dims, before, after, count))
        self.compatibility_score1 = PoolingAttention(dims, 32, 64)
        self.compatibility_score2 = PoolingAttention(dims, 64, 64)
        if aggregation != "concat":
            self.classifier1, self.classifier2, self.classifier3 = (nn.Linear(width, classes) for width in (32, 64, 64))
        if aggregation != "mean":
            self.classifier = nn.Linear(3 * classes if aggregation == "fine_tuned" else 160, classes)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        third = self.conv3(self.pool(self.conv2(self.pool(self.conv1(x)))))
        fourth = self.conv4(self.pool(third))
        last = self.conv5(self.pool(fourth))
        vectors = [self.compatibility_score1(third, last)[0], self.compatibility_score2(fourth, last)[0], last.flatten(2).mean(-1)]
        if self.aggregation == "concat":
            return self.classifier(torch.cat(vectors, 1))
        each = [head(v) for head, v in zip((self.classifier1, self.classifier2, self.classifier3), vectors, strict=True)]
        if self.aggregation == "mean":
            return each
        if self.aggregation == "fine_tuned":
            return self.classifier(torch.cat(each, 1))
        return [self.classifier(torch.cat(vectors, 1)), *each]
