"""The procedural abdomen, layer by layer: a tissue map of one made-up patient."""

from __future__ import annotations

from bundle.data.synthetic import gut, organs, trunk
from bundle.data.synthetic.canvas import Canvas
from bundle.data.synthetic.physique import Physique


def paint_abdomen(canvas: Canvas, body: Physique, *, arms: bool = False) -> None:
    """Paint a whole abdomen into `canvas.tissues`; later structures push earlier ones aside where they may."""
    abdomen = trunk.paint_frame(canvas, body, arms=arms)
    organs.paint_liver(canvas, body, abdomen)
    gut.paint_stomach(canvas, body, abdomen)
    gut.paint_small_bowel(canvas, body, abdomen)
    gut.paint_colon(canvas, body, abdomen)
    gut.paint_duodenum(canvas, body, abdomen)
    gut.paint_mesentery(canvas, body)
    organs.paint_spleen(canvas, body, abdomen)
    organs.paint_kidneys(canvas, body)
    organs.paint_pancreas(canvas, body)
    trunk.paint_spine(canvas, body)
    organs.paint_great_vessels(canvas, body)
