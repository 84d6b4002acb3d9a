"""The last words of `make train`: how good it is, and where to look."""

from __future__ import annotations

import json
from pathlib import Path

from bundle.errors import UserError
from bundle.evaluation.score import table
from bundle.results import outputs


def quickstart_report(output_dir: str) -> None:
    """Print the Dice table of the unseen cases, and the paths of label maps and pictures: `python -m bundle quickstart-report OUT`.

    Args:
        output_dir: folder of the quickstart, with `evaluation/` and `inference/` in it.

    Raises:
        UserError: there is no evaluation or no label map.
    """
    folder = Path(output_dir).resolve()
    summary, maps = folder / "evaluation" / "summary.json", sorted((folder / "inference").glob("*" + outputs.LABEL_MAP_ENDING))
    for path, there in ((summary, summary.is_file()), (folder / "inference", bool(maps))):
        if not there:
            raise UserError(path, "is not there, so there is nothing to report", "run make train, or its step that failed")
    scores = json.loads(summary.read_text(encoding="utf-8"))
    means = [entry["dice"]["mean"] for entry in scores["structures"].values() if entry["dice"]["n"]]
    print("\nUnseen cases, on their own grids:\n" + table(scores))
    print(f"mean Dice over the structures: {sum(means) / max(len(means), 1):.3f}")
    print("\nLabel maps of scans without labels:")
    for path in maps:
        print(f"  {path}")
    pictures = sorted((folder / "inference").glob("*" + outputs.PREVIEW_ENDING))
    lines = {
        "Preview": pictures[0] if pictures else None,
        "All cases": folder / "inference" / outputs.PAGE,
        "Training": folder / "training.csv",
        "Curves": f"tensorboard --logdir {folder / 'tensorboard'}",
    }
    print()
    for name, where in lines.items():
        if where is not None:
            print(f"{name + ':':11s}{where}")
