"""Every variant of the network trained alike on phantoms, three seeds, paired: `python benchmarks/variants.py FOLDER`.

It says what can be seen of a variant with a short budget on made-up scans, and how large a difference another seed makes. Finished
trainings are kept in the folder, so the same command resumes after an interruption; `--table` only prints what is there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import partition_dataset
from monai.losses import DeepSupervisionLoss, DiceCELoss
from monai.metrics import compute_dice
from monai.networks.utils import one_hot
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bundle.data.synthetic.phantom import write_phantom  # noqa: E402
from bundle.errors import UserError  # noqa: E402
from bundle.evaluation.paired import holm, paired  # noqa: E402
from bundle.files import write_json, write_text, written_aside  # noqa: E402
from bundle.networks import AttentionUnet, DenseVNet  # noqa: E402

STRUCTURES = ("pancreas", "spleen", "kidney")
CHANNELS = (8, 16, 32, 64)
# differences from the default network of two additive gates
VARIANTS: dict[str, dict] = {
    "default": {},
    "U-Net": {"num_gates": 0},
    "paper's text": {"gate": "paper", "num_gates": 1, "gating_conv": False, "gate_width": 8, "deep_supervision": "auxiliary"},
    "one gate": {"num_gates": 1},
    "losses at every scale": {"deep_supervision": "auxiliary"},
    "linear": {"gate": "linear"},
    "global": {"gate": "global"},
    "multihead": {"gate": "multihead"},
    "nonlocal": {"gate": "nonlocal"},
    "residual gate": {"gate": "residual"},
    "multiplicative": {"gate": "multiplicative"},
    "softmax": {"gate": "softmax"},
    "channelwise": {"gate": "channelwise"},
    "dual": {"gate": "dual"},
    "encoder gates": {"encoder_gates": True},
    "maps for the decoder": {"attention_features": True},
    "attention everywhere": {"encoder_gates": True, "decoder_gates": True, "encoder_maps": True},
    "residual blocks": {"blocks": "residual"},
    "dense blocks": {"blocks": "dense"},
    "Dense V-Net": {"dense_vnet": True},
}


def build(variant: str) -> nn.Module:
    """The small network of one variant."""
    arguments = dict(VARIANTS[variant])
    classes = 1 + len(STRUCTURES)
    if arguments.pop("dense_vnet", False):
        return DenseVNet(3, 1, classes, features=(16, 16, 16), growth=(4, 6, 8), units=(3, 5, 5), skip_channels=(12, 16, 16))
    return AttentionUnet(3, 1, classes, CHANNELS, **arguments)


def volumes(folder: Path, options: argparse.Namespace) -> tuple[list[dict], list[dict]]:
    """Preprocessed phantoms for training and for scoring, kept in the folder: image (1, X, Y, Z), label (1, X, Y, Z)."""
    kept = folder / "volumes.pt"
    if not kept.is_file():
        # those that are there already stay
        data = write_phantom(
            folder / "phantoms", cases=options.train_cases + options.test_cases, seed=options.data_seed, max_voxels=6e5, jobs=1
        )
        parser = ConfigParser(ConfigParser.load_config_file(ROOT / "configs" / "train.json"))
        parser["dataset_dir"], parser["spacing"], parser["cache_dir"] = str(data), [options.spacing] * 3, str(folder / "cache")
        transform = parser.get_parsed_content("validate#preprocessing")
        cases = sorted((data / "imagesTr").glob("*.nii.gz"))
        read = [transform({"image": str(case), "label": str(data / "labelsTr" / case.name)}) for case in cases]
        with written_aside(kept) as aside:
            torch.save([{key: item[key].as_tensor().clone() for key in ("image", "label")} for item in read], aside)
    read = torch.load(kept)
    train, test = partition_dataset(read, ratios=[options.train_cases, options.test_cases])
    return train, test


def batches(cases: list[dict], seed: int, options: argparse.Namespace):
    """Random flipped patches, the same for every variant: image (B, 1, *patch), label (B, 1, *patch)."""
    draw = np.random.default_rng(seed)
    for _ in range(options.steps):
        found = []
        for _ in range(options.batch):
            case = cases[draw.integers(len(cases))]
            starts = [int(draw.integers(max(1, n - p + 1))) for n, p in zip(case["image"].shape[1:], options.patch, strict=True)]
            axes = [axis for axis in (1, 2) if draw.random() < 0.5]
            patch = []
            for key in ("image", "label"):
                x = case[key][:, *(slice(s, s + p) for s, p in zip(starts, options.patch, strict=True))].float()
                pads = [side for p, n in zip(reversed(options.patch), reversed(x.shape[1:]), strict=True) for side in (0, p - n)]
                patch.append(nn.functional.pad(x[None], pads, mode="replicate")[0].flip(axes))
            found.append(patch)
        yield [torch.stack(part) for part in zip(*found, strict=True)]


def train_and_score(variant: str, seed: int, train: list[dict], test: list[dict], options: argparse.Namespace) -> dict:
    """Dice (cases, structures) of the test volumes after the last step, with parameters and CPU seconds."""
    torch.manual_seed(seed)
    network = build(variant).to(memory_format=torch.channels_last_3d)
    optimizer = torch.optim.Adam(network.parameters(), lr=options.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.rate, total_steps=options.steps, pct_start=0.1)
    loss_function = DiceCELoss(to_onehot_y=True, softmax=True)
    every_scale = DeepSupervisionLoss(loss_function)
    begun, losses = time.process_time(), []
    for image, label in batches(train, seed, options):
        optimizer.zero_grad()
        logits = network(image.contiguous(memory_format=torch.channels_last_3d))
        loss = (every_scale if isinstance(logits, list) else loss_function)(logits, label)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    trained = time.process_time() - begun
    network.eval()
    dice = []
    with torch.inference_mode():
        for case in test:
            pred = network(case["image"][None].contiguous(memory_format=torch.channels_last_3d)).argmax(1, keepdim=True)
            both = [one_hot(x, 1 + len(STRUCTURES)) for x in (pred, case["label"][None])]
            dice.append(compute_dice(*both, include_background=False)[0].tolist())
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {"dice": dice, "parameters": parameters, "train_cpu_seconds": trained, "last_losses": statistics.mean(losses[-20:])}


def table(results: dict[str, dict[str, dict]], seeds: list[int]) -> str:
    """Markdown: mean Dice over seeds and cases; against the default and the U-Net, the mean, each seed's, and paired p over the cases.

    The p values are of the cases' means over the seeds, Holm-adjusted over the variants.
    """
    done = [name for name in VARIANTS if len(results.get(name, {})) == len(seeds)]
    scores = {name: np.array([results[name][str(seed)]["dice"] for seed in seeds]) for name in done}  # seeds, cases, structures
    heads = ["variant", "parameters", "CPU s", *STRUCTURES, "mean", "against default: each seed", "p (Holm)"]
    heads += ["against U-Net: each seed", "p (Holm)"]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    against = {base: _differences(scores, base) for base in ("default", "U-Net") if base in scores}
    for name in done:
        runs = list(results[name].values())
        cells = [name, f"{runs[0]['parameters']:,}", f"{statistics.mean(run['train_cpu_seconds'] for run in runs):.0f}"]
        cells += [f"{mean:.3f}" for mean in np.nanmean(scores[name], axis=(0, 1))] + [f"{np.nanmean(scores[name]):.3f}"]
        for found in against.values():
            cells += list(found.get(name, ("", "")))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _differences(scores: dict[str, np.ndarray], base: str) -> dict[str, tuple[str, str]]:
    """By variant: mean difference of the mean Dice with that of each seed, and the adjusted p."""
    cases = {name: np.nanmean(score, axis=(0, 2)) for name, score in scores.items()}
    others = [name for name in scores if name != base]
    adjusted = holm([paired(cases[base].tolist(), cases[name].tolist(), resamples=200).wilcoxon_p for name in others])
    found = {}
    for name, p in zip(others, adjusted, strict=True):
        each = np.nanmean(scores[name], axis=(1, 2)) - np.nanmean(scores[base], axis=(1, 2))
        text = "-" if p is None else "< 0.001" if p < 0.0005 else f"{p:.3f}"
        found[name] = f"{each.mean():+.3f} ({', '.join(f'{value:+.3f}' for value in each)})", text
    return found


def main() -> None:
    """Train what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--patch", type=int, nargs=3, default=[40, 40, 32])
    parser.add_argument("--spacing", type=float, default=4.0, help="mm")
    parser.add_argument("--train_cases", type=int, default=20)
    parser.add_argument("--test_cases", type=int, default=20)
    parser.add_argument("--data_seed", type=int, default=19)
    parser.add_argument("--table", action="store_true", help="only print what is there")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / "results.json"
    plan = {key: value for key, value in vars(options).items() if key not in ("folder", "variants", "seeds", "table")}
    kept = json.loads(path.read_text()) if path.is_file() else {"plan": plan, "results": {}}
    if kept["plan"] != plan:
        raise UserError(options.folder, f"holds a study with other settings ({kept['plan']})", "choose another folder")
    results = kept["results"]
    if not options.table:
        torch.set_num_threads(1)
        train, test = volumes(options.folder, options)
        for seed in options.seeds:
            for variant in options.variants:
                if str(seed) not in results.setdefault(variant, {}):
                    results[variant][str(seed)] = found = train_and_score(variant, seed, train, test, options)
                    write_json(path, kept)
                    mean = float(np.nanmean(found["dice"]))
                    print(f"seed {seed}, {variant}: mean Dice {mean:.3f}, {found['train_cpu_seconds']:.0f} CPU s", flush=True)
    text = table(results, options.seeds)
    write_text(options.folder / "table.md", text)
    print(text)


if __name__ == "__main__":
    main()
