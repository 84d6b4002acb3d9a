"""Figures of Matplotlib without a window: made, and written whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bundle.files import written_aside

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that belongs to no window and no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with written_aside(path) as aside:
        figure.savefig(aside, dpi=110, format="png")
