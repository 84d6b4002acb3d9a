"""How well the review flag and the score of `cases.csv` find bad cases: held-out scans, whole and damaged on purpose.

    python benchmarks/review.py DATASET OUT --ckpt models/model.pt [--cases 20] [--ranges models/ranges.json] [--KEY VALUE]

DATASET is a labelled data set in MSD layout that the network has never seen, such as
`python -m bundle phantom DATASET --cases 20 --seed 12345`. Each scan is taken once as it is and once damaged, the kinds of
damage by turns, labels damaged alike; both go through `configs/inference.json` from end to end and are scored. Further
arguments go to inference. Written to OUT: scans, labels, predictions, scores, `review.csv` (a row per case), `review.md`
(the tables), `review.png`.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel
import numpy as np
from scipy import stats

from bundle.evaluation.score import read_metrics, score
from bundle.quality.cases import read_cases_csv

ROOT = Path(__file__).resolve().parent.parent
# two ways to be bad: mean Dice this much below the median of the undamaged cases; some structure's Dice below this
BAD_BELOW_MEDIAN = 0.1
BAD_STRUCTURE = 0.7
Volumes = tuple[np.ndarray, np.ndarray]


def noise_burst(image: np.ndarray, labels: np.ndarray, axis: int, rng: np.random.Generator) -> Volumes:
    """Noise of 200 HU in the middle 40 % of the slices."""
    image, n = image.copy(), image.shape[axis]
    part = np.moveaxis(image, axis, 2)[..., int(0.3 * n) : int(0.7 * n)]
    part += rng.normal(0, 200, part.shape).astype(np.float32)
    return image, labels


def low_dose(image: np.ndarray, labels: np.ndarray, axis: int, rng: np.random.Generator) -> Volumes:
    """Noise of 120 HU everywhere."""
    return image + rng.normal(0, 120, image.shape).astype(np.float32), labels


def cropped(image: np.ndarray, labels: np.ndarray, axis: int, rng: np.random.Generator) -> Volumes:
    """The scan ends in the middle of the organs, on one side or the other."""
    keep = [slice(None)] * 3
    keep[axis] = slice(0, _middle(labels, axis)) if rng.random() < 0.5 else slice(_middle(labels, axis), None)
    return image[tuple(keep)], labels[tuple(keep)]


def mirrored(image: np.ndarray, labels: np.ndarray, axis: int, rng: np.random.Generator) -> Volumes:
    """Left and right swapped, the header as before."""
    return np.flip(image, 0 if axis else 1), np.flip(labels, 0 if axis else 1)


def upside_down(image: np.ndarray, labels: np.ndarray, axis: int, rng: np.random.Generator) -> Volumes:
    """Slices in the wrong order, the header as before."""
    return np.flip(image, axis), np.flip(labels, axis)


def shifted(image: np.ndarray, labels: np.ndarray, axis: int, rng: np.random.Generator) -> Volumes:
    """HU that are 250 too high."""
    return image + 250, labels


def unscaled(image: np.ndarray, labels: np.ndarray, axis: int, rng: np.random.Generator) -> Volumes:
    """The offset of 1024 forgotten, as in raw DICOM values."""
    return image + 1024, labels


def slices_missing(image: np.ndarray, labels: np.ndarray, axis: int, rng: np.random.Generator) -> Volumes:
    """A third of the slices gone, in the middle of the organs; the header as before."""
    n, middle = image.shape[axis], _middle(labels, axis)
    gone = np.arange(max(0, middle - n // 6), min(n, middle + n // 6))
    return np.delete(image, gone, axis), np.delete(labels, gone, axis)


DAMAGES = (noise_burst, low_dose, cropped, mirrored, upside_down, shifted, unscaled, slices_missing)


def _middle(labels: np.ndarray, axis: int) -> int:
    """The slice in the middle of all labels."""
    return int(np.flatnonzero(labels.any(axis=tuple(a for a in range(3) if a != axis))).mean())


def write_scans(dataset: Path, out: Path, cases: int) -> None:
    """Write each of the first scans as it is and damaged, with its labels, unless they exist already."""
    found = sorted((dataset / "labelsTr").glob("*.nii.gz"))[:cases]
    if not found:
        raise SystemExit(f"{dataset}/labelsTr holds no *.nii.gz")
    for folder in ("scans", "labels"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for index, path in enumerate(found):
        damage, stem = DAMAGES[index % len(DAMAGES)], path.name.removesuffix(".nii.gz")
        names = [f"{stem}-whole.nii.gz", f"{stem}-{damage.__name__}.nii.gz"]
        if all((out / "labels" / name).exists() for name in names):
            continue
        scan = nibabel.load(dataset / "imagesTr" / path.name)
        whole = np.asarray(scan.dataobj, dtype=np.float32), np.asarray(nibabel.load(path).dataobj).astype(np.uint8)
        # slices are stacked along the axis that runs from feet to head
        axis = int(np.flatnonzero(nibabel.io_orientation(scan.affine)[:, 0] == 2)[0])
        for name, (image, labels) in zip(names, (whole, damage(*whole, axis, np.random.default_rng(index))), strict=True):
            stored = np.ascontiguousarray(np.rint(image).astype(np.int16))
            nibabel.save(nibabel.Nifti1Image(stored, scan.affine), out / "scans" / name)
            nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(labels), scan.affine), out / "labels" / name)


def infer(out: Path, ckpt: Path, ranges: Path | None, options: Sequence[str]) -> None:
    """Run the bundle's inference over the scans."""
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(ROOT / "configs" / "inference.json")]
    command += ["--dataset_dir", str(out / "scans"), "--output_dir", str(out / "predictions"), "--ckpt_path", str(ckpt)]
    command += ["--reference_ranges", str(ranges)] if ranges else []
    subprocess.run([*command, *options], check=True, cwd=ROOT)


def collect(out: Path) -> list[dict]:
    """A row per case: what was done to it, its Dice, and what `cases.csv` thinks of it."""
    dice: dict[str, list[float]] = {}
    for row in read_metrics(out / "scores" / "metrics.csv"):
        if row["dice"] is not None:
            dice.setdefault(row["case"], []).append(row["dice"])
    judged: dict[str, list[Mapping[str, str]]] = {}
    for row in read_cases_csv(out / "predictions"):
        judged.setdefault(row["case"], []).append(row)
    rows = []
    for case in sorted(dice.keys() & judged.keys()):
        first = judged[case][0]
        # a structure that was not found has no confidence: none, then
        confidence = [float(row["confidence_mean"] or 0) for row in judged[case]]
        expected = [float(row["expected_dice"] or 0) for row in judged[case]]
        rows.append(
            {"case": case, "damage": case.rsplit("-", 1)[1], "dice": float(np.mean(dice[case])), "worst_dice": min(dice[case])}
            | {"score": float(first["score"]), "confidence": float(np.mean(confidence)), "expected_dice": float(np.mean(expected))}
            | {"review": first["review"] == "yes", "reasons": first["reasons"]}
        )
    return rows


def auc(values: Sequence[float], bad: Sequence[bool]) -> float:
    """Chance that a bad case has a lower value than another one, ties counting half."""
    low, high = [v for v, b in zip(values, bad, strict=True) if b], [v for v, b in zip(values, bad, strict=True) if not b]
    return float(stats.mannwhitneyu(high, low).statistic / (len(low) * len(high))) if low and high else float("nan")


def report(rows: Sequence[dict]) -> str:
    """The tables, as Markdown."""
    whole = [row for row in rows if row["damage"] == "whole"]
    limit = float(np.median([row["dice"] for row in whole])) - BAD_BELOW_MEDIAN
    bad, weak = [row["dice"] < limit for row in rows], [row["worst_dice"] < BAD_STRUCTURE for row in rows]
    lines = [f"{len(rows)} cases, {len(whole)} of them undamaged. Bad: mean Dice below {limit:.3f} ({sum(bad)} cases); "]
    lines[0] += f"weak: a structure's Dice below {BAD_STRUCTURE} ({sum(weak)} cases)."
    lines += ["", "| sorted by | AUC, bad | AUC, weak | Spearman with Dice | Spearman, undamaged alone |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for key, name in (("score", "`score`"), ("expected_dice", "expected Dice alone"), ("confidence", "mean confidence alone")):
        rank, alone = (stats.spearmanr([row[key] for row in part], [row["dice"] for row in part]).statistic for part in (rows, whole))
        values = [row[key] for row in rows]
        lines.append(f"| {name} | {auc(values, bad):.3f} | {auc(values, weak):.3f} | {rank:.3f} | {alone:.3f} |")
    flagged = [row["review"] for row in rows]
    for word, wrong in (("bad", bad), ("weak", weak)):
        caught = sum(f and b for f, b in zip(flagged, wrong, strict=True))
        others = f"{sum(flagged) - caught} of {len(rows) - sum(wrong)} others"
        lines += ["", f"Flag `review`: on {caught} of {sum(wrong)} {word} cases, and on {others}."]
    lines += ["", "| damage | cases | bad | mean Dice | mean score | flagged |", "| --- | --- | --- | --- | --- | --- |"]
    for damage in ["whole", *(function.__name__ for function in DAMAGES)]:
        mine = [(row, b) for row, b in zip(rows, bad, strict=True) if row["damage"] == damage]
        if mine:
            dice, mean = (np.mean([row[key] for row, _ in mine]) for key in ("dice", "score"))
            counts = f"{len(mine)} | {sum(b for _, b in mine)} | {dice:.3f} | {mean:.3f} | {sum(row['review'] for row, _ in mine)}"
            lines.append(f"| {damage.replace('_', ' ')} | {counts} |")
    return "\n".join(lines)


def draw(rows: Sequence[dict], path: Path) -> None:
    """Dice over score, a colour per damage, flagged cases filled."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    names = ["whole", *(function.__name__ for function in DAMAGES)]
    for row in rows:
        shade = f"C{names.index(row['damage'])}"
        panel.plot(row["score"], row["dice"], "o", color=shade, fillstyle="full" if row["review"] else "none")
    handles = [Line2D([], [], marker="o", ls="", color=f"C{i}", label=name.replace("_", " ")) for i, name in enumerate(names)]
    panel.set(xlabel="score in cases.csv (filled: flagged for review)", ylabel="mean Dice of the case")
    panel.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    panel.legend(handles=handles, fontsize=8, loc="lower right")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--ckpt", type=Path, default=ROOT / "models" / "model.pt")
    parser.add_argument("--ranges", type=Path)
    parser.add_argument("--cases", type=int, default=20)
    arguments, options = parser.parse_known_args()
    out = arguments.out.resolve()
    write_scans(arguments.dataset.resolve(), out, arguments.cases)
    infer(out, arguments.ckpt.resolve(), arguments.ranges and arguments.ranges.resolve(), options)
    score(out / "predictions", out / "labels", out / "scores", labels=str(ROOT / "configs" / "inference.json"), progress=False)
    rows = collect(out)
    with open(out / "review.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    text = report(rows)
    (out / "review.md").write_text(text + "\n", encoding="utf-8")
    draw(rows, out / "review.png")
    print(text)


if __name__ == "__main__":
    main()
