"""Diagrams of the network and of its gate, with the channels of an actual `AttentionUnet` (Figures 1 and 2 of arXiv 1804.03999)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from bundle.drawing.figures import new_figure, save_figure
from bundle.errors import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bundle.networks import AttentionUnet

BLOCK, GATE, HEAD, EDGE = "#9ecae1", "#fdae6b", "#a1d99b", "#333333"
RIGHT = 10.0  # x of the finest level of the decoder; the encoder's is 0


def diagrams(
    output_dir: str = "docs/images", channels: Sequence[int] = (16, 32, 64, 128, 256), num_gates: int = 2, out_channels: int = 4
) -> list[Path]:
    """Draw `network.png` and `gate.png` for an `AttentionUnet` of these channels and gates.

    Args:
        output_dir: folder for the two pictures.
        channels: channels of the levels, the finest first, the centre last.
        num_gates: gates on each skip but the finest.
        out_channels: number of classes.

    Raises:
        UserError: the network cannot have these arguments.
    """
    from bundle.errors import UserError
    from bundle.networks import AttentionUnet

    try:
        network = AttentionUnet(channels=channels, num_gates=num_gates, out_channels=out_channels)
    except ValueError as error:
        raise UserError("diagrams", str(error), "give arguments that bundle.networks.AttentionUnet takes") from error
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "network.png", folder / "gate.png"]
    _draw_network(network, list(channels), paths[0])
    _draw_gate(list(channels), paths[1])
    print("\n".join(str(path) for path in paths))
    return paths


class Level(TypedDict):
    """What is drawn on one level: its grid as a share of the input's, its channels, the gates on its skip."""

    grid: str
    channels: int
    gates: int


def levels(channels: Sequence[int], num_gates: int) -> list[Level]:
    """What is drawn on each level, the finest first."""
    gated = range(1, len(channels) - 1)
    return [
        {"grid": f"1/{2**level}" if level else "full", "channels": width, "gates": num_gates if level in gated else 0}
        for level, width in enumerate(channels)
    ]


def _draw_network(network: AttentionUnet, channels: list[int], path: Path) -> None:
    figure = new_figure(10.5, 5.6)
    axes = figure.add_subplot()
    axes.set_axis_off()
    rows = levels(channels, network.num_gates)
    depth = len(rows) - 1
    for level, row in enumerate(rows[:-1]):
        y, left, right = -1.35 * level, 0.9 * level, RIGHT - 0.9 * level
        _box(axes, left, y, f"{row['channels']}", BLOCK)
        _box(axes, right, y, f"{row['channels']}", BLOCK)
        axes.text(-1.6, y, f"{row['grid']} grid", ha="right", va="center", fontsize=8, color=EDGE)
        if row["gates"]:
            middle = (left + right) / 2
            _arrow(axes, (left + 0.45, y), (middle - 0.75, y))
            _box(axes, middle, y, counted(row["gates"], "gate"), GATE, width=1.5)
            _arrow(axes, (middle + 0.75, y), (right - 0.45, y))
            # the gating signal comes from the next coarser level of the decoder, or from the centre
            coarse = RIGHT - 0.9 * (level + 1) if level + 1 < depth else 0.9 * depth + (RIGHT - 1.8 * depth) / 2
            _arrow(axes, (coarse - 0.1, -1.35 * (level + 1) + 0.3), (middle + 0.2, y - 0.3), style="dashed")
        else:
            _arrow(axes, (left + 0.45, y), (right - 0.45, y))
        if level + 1 < depth:
            _arrow(axes, (left + 0.1, y - 0.3), (left + 0.8, y - 1.05))
            _arrow(axes, (right - 0.8, y - 1.05), (right - 0.1, y - 0.3))
        _arrow(axes, (right + 0.45, y), (RIGHT + 1.35, y), color="#31a354")
    y, x = -1.35 * depth, 0.9 * depth + (RIGHT - 1.8 * depth) / 2
    _box(axes, x, y, f"{rows[-1]['channels']}", BLOCK, width=1.5)
    axes.text(-1.6, y, f"{rows[-1]['grid']} grid", ha="right", va="center", fontsize=8, color=EDGE)
    _arrow(axes, (0.9 * (depth - 1) + 0.1, -1.35 * (depth - 1) - 0.3), (x - 0.75, y + 0.1))
    _arrow(axes, (x + 0.75, y + 0.1), (RIGHT - 0.9 * (depth - 1) - 0.1, -1.35 * (depth - 1) - 0.3))
    _tall_box(axes, RIGHT + 1.75, 0.3, -1.35 * (depth - 1) - 0.3, f"classes of all levels, fused\n{network.out_channels} classes")
    axes.text(0, 0.45, f"image\n{network.in_channels} channel", ha="center", fontsize=8, color=EDGE)
    parameters = sum(p.numel() for p in network.parameters())
    colours = (
        "blue: two 3x3x3 convolutions, batch norm, ReLU",
        "orange: grid attention gates",
        "dashed: gating signal",
        "green: deep supervision",
    )
    notes = "     ".join(colours)
    axes.text(RIGHT / 2, y - 0.75, f"{notes}\n{parameters:,} parameters", ha="center", va="top", fontsize=8, color=EDGE)
    axes.set_xlim(-2.8, RIGHT + 3.2)
    axes.set_ylim(y - 1.4, 1.1)
    save_figure(figure, path)


def _draw_gate(channels: list[int], path: Path) -> None:
    figure = new_figure(10.5, 3.4)
    axes = figure.add_subplot()
    axes.set_axis_off()
    skip, coarse = channels[min(1, len(channels) - 2)], channels[min(2, len(channels) - 1)]
    _box(axes, 0, 1.2, f"skip x\n{skip} channels", BLOCK, width=1.5, height=0.8)
    _box(axes, 0, -0.6, f"gating signal g\n{coarse} channels\n(coarser grid)", BLOCK, width=1.5, height=1.0)
    _box(axes, 2.4, 1.2, f"theta\n2x2x2, stride 2\n{skip}", GATE, width=1.5, height=1.0)
    _box(axes, 2.4, -0.6, f"phi\n1x1x1, {skip}\nto theta's grid", GATE, width=1.5, height=1.0)
    _box(axes, 4.2, 0.3, "+", HEAD, width=0.5, height=0.5)
    _box(axes, 5.4, 0.3, "ReLU", HEAD, width=0.9, height=0.5)
    _box(axes, 6.9, 0.3, "psi\n1x1x1, 1", GATE, width=1.1, height=0.8)
    _box(axes, 8.4, 0.3, "sigmoid", HEAD, width=1.0, height=0.5)
    _box(axes, 10.1, 0.3, "alpha\nto x's grid", HEAD, width=1.3, height=0.8)
    _box(axes, 10.1, 2.1, "x times alpha", HEAD, width=1.3, height=0.5)
    _box(axes, 12.0, 2.1, f"W\n1x1x1, {skip}\nbatch norm", GATE, width=1.3, height=1.0)
    for start, stop in (
        ((0.75, 1.2), (1.65, 1.2)),
        ((0.75, -0.6), (1.65, -0.6)),
        ((3.15, 1.2), (4.0, 0.5)),
        ((3.15, -0.6), (4.0, 0.1)),
        ((4.45, 0.3), (4.95, 0.3)),
        ((5.85, 0.3), (6.35, 0.3)),
        ((7.45, 0.3), (7.9, 0.3)),
        ((8.9, 0.3), (9.45, 0.3)),
        ((10.1, 0.7), (10.1, 1.85)),
        ((10.75, 2.1), (11.35, 2.1)),
        ((0, 2.1), (9.45, 2.1)),
        ((12.65, 2.1), (13.4, 2.1)),
    ):
        _arrow(axes, start, stop)
    axes.plot([0, 0], [1.6, 2.1], color=EDGE, linewidth=0.9)
    axes.text(13.5, 2.1, "gated skip", va="center", fontsize=8, color=EDGE)
    axes.set_xlim(-1.2, 14.9)
    axes.set_ylim(-1.4, 2.9)
    save_figure(figure, path)


def _box(axes: Axes, x: float, y: float, text: str, colour: str, *, width: float = 0.9, height: float = 0.6) -> None:
    from matplotlib.patches import FancyBboxPatch

    corner = (x - width / 2, y - height / 2)
    rounded = "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch(corner, width, height, boxstyle=rounded, facecolor=colour, edgecolor=EDGE, linewidth=0.8))
    axes.text(x, y, text, ha="center", va="center", fontsize=8)


def _tall_box(axes: Axes, x: float, top: float, bottom: float, text: str) -> None:
    _box(axes, x, (top + bottom) / 2, "", HEAD, width=0.8, height=top - bottom)
    axes.text(x, (top + bottom) / 2, text, ha="center", va="center", rotation=90, fontsize=8)


def _arrow(axes: Axes, start: tuple[float, float], stop: tuple[float, float], *, style: str = "solid", color: str = EDGE) -> None:
    axes.annotate("", stop, start, arrowprops={"arrowstyle": "-|>", "linestyle": style, "color": color, "linewidth": 0.9})
