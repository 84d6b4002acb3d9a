"""Attention U-Net as published and as in the authors' public code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bundle.networks.blocks import ConvNormAct, TwoConvs, UpBlock, crop, halve, pad_to_multiple, resize
from bundle.networks.checkpointing import Checkpointable
from bundle.networks.fast.finest_level import classes_by_slabs, finest_planes, halved_by_slabs, learnt_classes
from bundle.networks.heads import FusedHeads, to_classes
from bundle.networks.initialise import initialise
from bundle.networks.residual_dense import BLOCKS, up_block
from bundle.networks.skips import BareSkip, GatedSkip, OpenSkip
from bundle.networks.unet_arguments import check_choice, check_classes, check_gates, check_sizes, widened
from bundle.networks.variants import GATES


def bytes_of_classes(count: int) -> float:
    """Peak memory of a pass on a CPU that classes beyond four take, for each voxel of its input in float32."""
    return 6.0 * max(0, count - 4)


class AttentionMaps(NamedTuple):
    """The coefficients of the gates of one level: on the gates' own grid, and resampled to that of the input.

    Both are (B, num_gates, *spatial) in [0, 1]; `own` has the grid of the level's skip.
    """

    own: Tensor
    resampled: Tensor


class AttentionUnet(nn.Module):
    """U-Net whose skip connections pass attention gates; `num_gates=0` is its plain U-Net twin.

    `unet_CT_multi_att_dsv_3D` (two gates), `unet_CT_single_att_dsv_3D` (one) and `unet_CT_dsv_3D` (none) of
    https://github.com/ozan-oktay/Attention-Gated-Networks, from the description in https://arxiv.org/abs/1804.03999.
    Unlike there, spatial sizes need not be multiples of 16, and gates start by letting everything pass, as the paper says.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: number of classes, the background included.
        channels: channels of the levels, the finest first; the last is the centre.
        width: factor of all `channels`, rounded down; 1.047 and 1.333 are the wider U-Nets of the paper's Table 2.
        num_gates: gates side by side on each skip but the finest, which has none.
        gating_conv: whether the centre goes through a 1x1x1 convolution before it gates the coarsest skip.
        align_corners: how corners are treated in up-sampling: True in the torch of the authors' time, False in today's.
        dropout: probability of dropping a value after each convolution block and gate.
        init: "open" (gates let everything pass at first) or "authors" (their initialisation).
        gate: kind of gate, a key of `bundle.networks.variants.GATES`.
        gate_width: channels in which a gate compares skip and gating signal, as a multiple of the skip's; None: the gate's own choice,
            which is 1 for most.
        blocks: convolutions of each level: "plain" (two in a row), "residual" or "dense".
        encoder_gates: whether features of the encoder are gated too, each by its own next coarser grid.
        decoder_gates: whether features of the decoder are gated too, each by the coarser level's features.
        attention_features: whether the coefficients are given to the decoder, as features next to the gated skip.
        encoder_maps: whether the coefficients of `encoder_gates` are given to the decoder as well.
        checkpointing: in training, features inside the blocks are computed again for the gradients instead of kept: less memory, more time.
        deep_supervision: "fused", or "auxiliary" for losses on every scale: while training, `forward` then gives a list, the
            fused logits first and then those of each coarser level on its own grid, for MONAI's `DeepSupervisionLoss`. The
            weights are the same, and so is the output in evaluation.
        classes: give the logits of these of the `out_channels` classes only, in this order; None: of all. The others are in no softmax
            and their last weights have no gradient, while the weights stay those of all classes: how the paper fine-tunes a network
            of several organs to the pancreas alone (its section on CT-82).

    Raises:
        UserError: an argument is none of these.
    """

    # no part of what TorchScript takes over
    __jit_unused_properties__ = ("bytes_per_voxel",)

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        out_channels: int = 4,
        channels: Sequence[int] = (16, 32, 64, 128, 256),
        num_gates: int = 2,
        gating_conv: bool = True,
        align_corners: bool = False,
        dropout: float = 0.0,
        *,
        width: float = 1.0,
        init: str = "open",
        gate: str = "additive",
        gate_width: int | None = None,
        blocks: str = "plain",
        encoder_gates: bool = False,
        decoder_gates: bool = False,
        attention_features: bool = False,
        encoder_maps: bool = False,
        deep_supervision: str = "fused",
        checkpointing: bool = False,
        classes: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        check_sizes(spatial_dims, in_channels, out_channels, channels, num_gates, dropout)
        channels = widened(channels, width)
        check_choice("init", init, ("open", "authors"))
        check_choice("gate", gate, GATES)
        check_choice("deep_supervision", deep_supervision, ("fused", "auxiliary"))
        check_choice("blocks", blocks, BLOCKS)
        check_gates(num_gates, gate_width, encoder_gates, decoder_gates, attention_features, encoder_maps)
        check_classes(classes, out_channels)
        *widths, centre = (int(width) for width in channels)
        self.spatial_dims, self.in_channels = spatial_dims, in_channels
        self.out_channels = out_channels if classes is None else len(classes)
        self.classes = None if classes is None else [int(number) for number in classes]
        self.num_gates, self.align_corners = num_gates, align_corners
        self.multiple = 2 ** len(widths)
        # nothing but the two blocks of the finest level reads its features, and there is a coarser one
        alone = not (align_corners or encoder_gates or decoder_gates or attention_features)
        self.own_finest_level = blocks == "plain" and alone and len(widths) > 1
        self.plain_blocks = blocks == "plain"
        block = BLOCKS[blocks]
        self.encoder = nn.ModuleList(
            block(spatial_dims, before, after, dropout=dropout) for before, after in zip([in_channels, *widths], widths, strict=False)
        )
        self.centre = block(spatial_dims, widths[-1], centre, dropout=dropout)
        has_gating = num_gates > 0 and gating_conv
        self.gating = ConvNormAct(spatial_dims, centre, centre, kernel_size=1, dropout=dropout) if has_gating else nn.Identity()
        self.attention_features, self.encoder_maps = attention_features, encoder_maps
        self.has_encoder_gates, self.has_decoder_gates = encoder_gates, decoder_gates
        self.auxiliary, self.checkpointing = deep_supervision == "auxiliary", checkpointing

        def skip_at(level: int, coarse: int, wanted: bool = True) -> OpenSkip | GatedSkip | BareSkip:
            own = {} if gate_width is None else {"inter_channels": gate_width * widths[level]}
            kind = GATES["additive" if GATES[gate].coarsest_only and level + 1 < len(widths) else gate]
            count = num_gates if level and wanted else 0
            gates = [kind(spatial_dims, widths[level], coarse, **own, align_corners=align_corners, dropout=dropout) for _ in range(count)]
            if kind.bare and gates:
                return BareSkip(gates)
            return GatedSkip(gates, spatial_dims, widths[level], dropout=dropout) if gates else OpenSkip()

        own_gates = [skip_at(level, width, encoder_gates) for level, width in enumerate(widths)]
        self.encoder_gates = nn.ModuleList(own_gates)
        # from here on the coarsest level comes first, the order in which they are used
        self.skips, self.decoder, self.decoder_gates = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(len(widths))):
            coarse = int(channels[level + 1])
            skip = skip_at(level, coarse)
            self.skips.append(skip)
            self.decoder_gates.append(skip_at(level, coarse, decoder_gates))
            maps = skip.coefficients_per_voxel if attention_features else 0
            maps += own_gates[level].coefficients_per_voxel if encoder_maps else 0
            up = up_block(blocks, spatial_dims, widths[level], coarse, extra_channels=maps, align_corners=align_corners, dropout=dropout)
            self.decoder.append(up)
        self.heads = FusedHeads(spatial_dims, widths, out_channels, align_corners=align_corners, classes=classes)
        if checkpointing:
            for module in self.modules():
                if isinstance(module, Checkpointable):
                    module.checkpointing = True
        initialise(self, init)

    @property
    def bytes_per_voxel(self) -> float:
        """Peak memory of a forward pass without gradients on a CPU, for each voxel of its input in float32.

        Only plain blocks go through a slab at a time, and the whole of the finest level only without dropout.
        """
        more = bytes_of_classes(self.out_channels)
        if not self.plain_blocks:
            return 400.0 + more
        return more + (60.0 if self.own_finest_level and not self.training else 120.0)

    def forward(self, x: Tensor) -> Tensor:
        """Image (B, in_channels, *spatial), every spatial size at least 16, to logits (B, out_channels, *spatial).

        With `deep_supervision="auxiliary"`, a list of those of every scale while training.
        """
        padded = pad_to_multiple(x, self.multiple)
        if not torch.jit.is_scripting():
            planes = self._finest_planes(padded)
            if planes or self._learns_lean():
                return crop(self._finest_apart(padded, planes)[0], list(x.shape[2:]))
        features, _ = self._features(padded, None)
        if not torch.jit.is_scripting():
            if self.auxiliary and self.training:
                # TorchScript wants one type of output, and takes this comment for one of its own if a word follows
                return self._scales(features, list(x.shape[2:]))  # type: ignore[return-value]
        return crop(self.heads(features), list(x.shape[2:]))

    @torch.jit.ignore
    def attention(self, x: Tensor) -> tuple[Tensor, dict[int, AttentionMaps]]:
        """Logits as from `forward`, and the coefficients of all gates, by level (2 is the finest that has gates)."""
        size = list(x.shape[2:])
        padded = pad_to_multiple(x, self.multiple)
        grid, planes = list(padded.shape[2:]), self._finest_planes(padded)
        if planes:
            logits, coefficients = self._finest_apart(padded, planes)
        else:
            features, coefficients = self._features(padded, None)
            logits = self.heads(features)
        maps: dict[int, AttentionMaps] = {}
        for i, alphas in enumerate(coefficients):
            if alphas:
                level = len(coefficients) - i
                alpha = torch.cat(alphas, dim=1)
                own = [-(-length // 2 ** (level - 1)) for length in size]
                maps[level] = AttentionMaps(crop(alpha, own), crop(resize(alpha, grid, self.align_corners), size))
        return crop(logits, size), maps

    @torch.jit.ignore
    def _finest_planes(self, x: Tensor) -> int:
        """How many planes of the finest level at a time; 0 where its features have to be there as a whole, or may be."""
        return finest_planes(self.encoder[0], self.skips[-1], self.decoder[-1], x) if self.own_finest_level else 0

    @torch.jit.ignore
    def _learns_lean(self) -> bool:
        """Whether this is a training that gives time for memory, and nothing but the fused classes is wanted of the finest level."""
        return self.checkpointing and self.own_finest_level and self.training and not self.auxiliary and torch.is_grad_enabled()

    @torch.jit.ignore
    def _finest_apart(self, x: Tensor, planes: int) -> tuple[Tensor, list[list[Tensor]]]:
        """Logits and coefficients; of the finest level's features as little is there as a whole as can be.

        In evaluation that is nothing: they are made so many planes at a time; in training, with 0 planes, those before each norm.
        """
        encode, decode = self.encoder[0], self.decoder[-1]
        assert isinstance(encode, TwoConvs) and isinstance(decode, UpBlock)
        skip = x if planes else encode(x)
        features, coefficients = self._features(x, halved_by_slabs(encode, x, planes) if planes else halve(skip))
        weights, bias = self.heads.fused()
        if planes:
            maps = [classes_by_slabs(encode, decode, x, features[0], weights[0], planes)]
        else:
            maps = [learnt_classes(decode, skip, features[0], weights[0])]
        maps += [to_classes(feature, weight) for feature, weight in zip(features, weights[1:], strict=True)]
        features.clear()
        return self.heads.total_of(maps, bias), coefficients

    def _scales(self, features: list[Tensor], size: list[int]) -> list[Tensor]:
        """Fused logits, and those of each coarser level on its own grid."""
        coarser = self.heads.auxiliary(features)[1:]
        grids = [[-(-length // 2**level) for length in size] for level in range(1, len(features))]
        return [crop(self.heads(features), size), *(crop(logits, grid) for logits, grid in zip(coarser, grids, strict=True))]

    def _features(self, x: Tensor, halved: Tensor | None) -> tuple[list[Tensor], list[list[Tensor]]]:
        """The decoder's features, the finest first, and the coefficients of each skip's gates, the coarsest first.

        Where the finest level's features on half its grid are given (`halved_by_slabs`), those of that level are left out.
        """
        encoded: list[Tensor] = []
        encoder_alphas: list[list[Tensor]] = []
        for level, (block, own_gate) in enumerate(zip(self.encoder, self.encoder_gates)):  # noqa: B905  TorchScript knows no strict
            alphas: list[Tensor] = []
            if level == 0 and halved is not None:
                encoded.append(x)
                x = halved
            else:
                x = block(x)
                if self.has_encoder_gates:
                    x, alphas = own_gate(x, halve(x))
                encoded.append(x)
                x = halve(x)
            encoder_alphas.append(alphas)
        x = self.centre(x)
        g = self.gating(x)
        features: list[Tensor] = []
        coefficients: list[list[Tensor]] = []
        for i, (skip, up, own_gate) in enumerate(zip(self.skips, self.decoder, self.decoder_gates)):  # noqa: B905  TorchScript knows no strict
            alphas = []
            if halved is None or i + 1 < len(encoded):
                gated, alphas = skip(encoded[-1 - i], g)
                maps: list[Tensor] = [gated]
                if self.attention_features:
                    maps = maps + alphas
                if self.encoder_maps:
                    maps = maps + encoder_alphas[-1 - i]
                coarse = x
                x = up(torch.cat(maps, dim=1) if len(maps) > 1 else gated, coarse)
                if self.has_decoder_gates:
                    x = own_gate(x, coarse)[0]
                g = x
                features.insert(0, x)
            coefficients.append(alphas)
        return features, coefficients
