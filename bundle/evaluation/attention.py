"""Which organs each gate looks at: its coefficients inside an organ against those in the rest of the body, as numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bundle import labels as label_block
from bundle.errors import UserError
from bundle.tables import write_csv

if TYPE_CHECKING:
    import torch
    from monai.bundle import ConfigParser

COLUMNS = ("inside", "outside", "enrichment", "auc")


def attention(
    scans: str,
    output_dir: str | os.PathLike = "attention",
    *,
    references: str | None = None,
    labels: str | None = None,
    config_file: str | Sequence[str] = "configs/inference.json",
    ckpt_path: str | None = None,
) -> list[dict[str, Any]]:
    """Measure which organs each gate of a trained network looks at, and write `attention.csv`: a row per gate and organ.

    For each gate and organ, of the voxels of tissue (denser than the lower end of `hu_range`) on the network's grid: the mean
    coefficient alpha inside the organ and outside, their ratio (`enrichment`, 1 where the gate does not care), and the area under the ROC
    curve of alpha as a detector of the organ (`auc`: the probability that a voxel of the organ has a higher alpha than
    another one; 0.5 where the gate does not care, less where it looks elsewhere). All are means over the scans that have the organ;
    `attention_cases.csv` has each scan.

    Args:
        scans: a folder (searched recursively), or one file.
        output_dir: gets the two tables.
        references: label maps, by the names of the scans; without them, what the network itself finds.
        labels: the `labels` block of the references, or a file that has one; by default that of `labels.json` or `dataset.json` next to
            them, else that of the bundle.
        config_file: inference config and overlays (for instance an experiment's `shared.json`), separated by commas.
        ckpt_path: the weights; those of the config by default.

    Returns:
        the rows of `attention.csv`.

    Raises:
        UserError: a network without gates, scans that cannot be read or have no reference, no organ in any of them.
    """
    from tqdm import tqdm

    from bundle.data.scans import find_scans
    from bundle.inferers.seen import opened

    parser = opened(config_file, ckpt_path)
    found = find_scans(scans, leave_out=output_dir)
    bad = next((item for item in found if item.get("problem")), None)
    if bad:
        raise UserError(bad["source"], bad["problem"], bad["fix"])
    paths = _references(found, references)
    block = parser["labels"]
    if references is not None:
        folder = Path(references) if Path(references).is_dir() else Path(references).parent
        block = label_block.resolve(labels, [folder, folder.parent]).block
    rows: list[dict[str, Any]] = []
    for item in tqdm(found, desc="attention", unit="scan"):
        rows += [{"case": item["case"], **row} for row in _of_scan(parser, item, paths.get(item["case"]), block)]
    if not rows:
        raise UserError(scans, "no organ is in any of these scans", "give references, or other scans")
    means, output = summarise(rows), Path(output_dir)
    for name, columns, table in (("attention.csv", ("cases",), means), ("attention_cases.csv", (), rows)):
        first = ("level", "gate", "structure") if columns else ("case", "level", "gate", "structure")
        write_csv(output / name, [*first, *columns, *COLUMNS], [{**row, **{key: _text(row[key]) for key in COLUMNS}} for row in table])
    print(markdown(means) + f"\nwritten: attention.csv, attention_cases.csv in {output.resolve()}")
    return means


def measure(alpha: np.ndarray, tissue: np.ndarray, organs: Mapping[str, np.ndarray]) -> dict[str, dict[str, float | None]]:
    """How the coefficients of one gate differ between each organ and the rest of the tissue.

    Args:
        alpha: coefficients, any shape.
        tissue: the voxels that count; an organ's voxels outside of it do not.
        organs: name to mask; one without voxels in the tissue, or without others beside it, is left out.

    Returns:
        Name to `inside`, `outside` (means), `enrichment` (their ratio, None where outside is 0) and `auc`, from ranks
        (Mann and Whitney's U over the number of pairs; ties count one half).
    """
    from scipy.stats import rankdata

    values = alpha[tissue].astype(np.float64)
    ranks, total = rankdata(values), float(values.sum())
    found = {}
    for name, mask in organs.items():
        inside = mask[tissue]
        count = int(inside.sum())
        rest = len(values) - count
        if not count or not rest:
            continue
        within = float(values[inside].sum())
        mean, other = within / count, (total - within) / rest
        auc = (float(ranks[inside].sum()) - count * (count + 1) / 2) / (count * rest)
        found[name] = {"inside": mean, "outside": other, "enrichment": mean / other if other > 0 else None, "auc": auc}
    return found


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over the cases, a row per gate and organ, coarse levels first; `cases` is how many have the organ."""
    groups: dict[tuple[int, int, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["level"], row["gate"], row["structure"]), []).append(row)
    means = []
    for (level, gate, structure), mine in sorted(groups.items(), key=lambda pair: (-pair[0][0], pair[0][1])):
        values = {key: [row[key] for row in mine if row[key] is not None] for key in COLUMNS}
        mean = {key: float(np.mean(of)) if of else None for key, of in values.items()}
        means.append({"level": level, "gate": gate, "structure": structure, "cases": len(mine), **mean})
    return means


def markdown(means: Sequence[Mapping[str, Any]]) -> str:
    """Gates down, organs across: enrichment, and the area under the ROC curve in brackets."""
    names = list(dict.fromkeys(row["structure"] for row in means))
    cells = {(row["level"], row["gate"], row["structure"]): row for row in means}
    lines = ["| gate | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
    for level, gate in dict.fromkeys((row["level"], row["gate"]) for row in means):
        of = [cells.get((level, gate, name)) for name in names]
        shown = ["" if one is None else f"{_text(one['enrichment'], 2) or '-'} ({_text(one['auc'], 2)})" for one in of]
        lines.append(f"| level {level}, gate {gate} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n\nMean alpha inside over outside (area under the ROC curve).\n"


def _of_scan(parser: ConfigParser, item: Mapping[str, Any], reference: Path | None, block: label_block.Labels) -> list[dict[str, Any]]:
    """The rows of one scan."""
    import torch

    from bundle.inferers.attention import with_attention
    from bundle.inferers.seen import seen

    network = parser.get_parsed_content("network")
    scan, label = seen(parser, item, reference)
    with torch.inference_mode():
        logits, maps = with_attention(scan[None].to(parser.get_parsed_content("device")), network, parser.get_parsed_content("inferer"))
    names = label_block.names(block)[1:]
    if label is None:
        predicted = logits.argmax(0).cpu().numpy()
        organs = {name: predicted == channel for channel, name in enumerate(names, start=1)}
    else:
        organs = {name: np.isin(label, values) for name, values in zip(names, label_block.values(block)[1:], strict=True)}
    tissue = tissue_of(scan).numpy()
    rows = []
    for level, both in maps.items():
        for gate, alpha in enumerate(both.float().cpu().unflatten(0, (network.num_gates, -1)).mean(1).numpy(), start=1):
            measured = measure(alpha, tissue, organs)
            rows += [{"level": level, "gate": gate, "structure": name, **found} for name, found in measured.items()]
    return rows


def tissue_of(scan: torch.Tensor) -> torch.Tensor:
    """Where the first channel of a preprocessed scan (C, X, Y, Z), the CT, is denser than the lower end of `hu_range`.

    Preprocessing has clipped everything else to one value, the least of the channel.
    """
    return scan[0] > scan[0].min() + 1e-3


def _references(scans: Sequence[Mapping[str, Any]], references: str | None) -> dict[str, Path]:
    """The reference of each scan, by its case."""
    from bundle.data import label_maps

    if references is None:
        return {}
    found = label_maps.find(references)
    if len(scans) == len(found) == 1:
        return {scans[0]["case"]: next(iter(found.values()))}
    lost = [item["case"] for item in scans if item["case"] not in found]
    if lost:
        raise UserError(
            references, f"has no label map for {', '.join(lost[:5])}", "name label maps as the scans, or leave --references out"
        )
    return found


def _text(value: float | None, digits: int = 6) -> str:
    return "" if value is None else f"{value:.{digits}g}" if digits > 2 else f"{value:.{digits}f}"
