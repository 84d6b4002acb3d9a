"""Every pair of overlays that can lie on each other does what both say, or is refused in one line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from command_lines import merged
from monai.bundle import ConfigParser
from torch.nn.parallel import DistributedDataParallel

import bundle.distributed
from bundle.arguments import overlays
from bundle.arguments.config import shipped, shipped_names
from bundle.arguments.mistakes import users_mistake
from bundle.errors import UserError

NAMES = [name for name in shipped_names() if "+overlays" in shipped(name)]


def _of(base: str) -> list[str]:
    return [name for name in NAMES if base in shipped(name)["+overlays"][name]]


def _targets(parser: ConfigParser, key: str) -> list[str]:
    return [type(part).__name__ for part in parser.get_parsed_content(key)]


def _plain(parser: ConfigParser) -> torch.nn.Module:
    return bundle.distributed.unwrapped(parser.get_parsed_content("network"))


def _first_weight(network: torch.nn.Module) -> torch.Tensor:
    return next(network.encoder[0].parameters())


def _centre(parser: ConfigParser) -> int:
    """Channels of the coarsest level."""
    return len(list(_plain(parser).centre.parameters())[-1])


def _network(name: str) -> Callable[[ConfigParser], bool]:
    return lambda parser: type(_plain(parser)).__name__ == name


# arguments that keep networks small here; what the overlays choose stays
SMALL: dict[str, dict[str, Any]] = {
    "DynUNet": {"filters": [4, 4, 4, 4, 4]},
    "SegResNet": {"init_filters": 8},
    "SwinUNETR": {"feature_size": 12},
    "UNETR": {"img_size": [16, 16, 16], "hidden_size": 12, "mlp_dim": 12, "feature_size": 4, "num_heads": 3},
}


def _starts_from_the_shipped_weights(parser: ConfigParser) -> bool:
    state = torch.load(parser.get_parsed_content("pretrained"), weights_only=True)
    state = state.get("model", state)
    same = torch.equal(_first_weight(_plain(parser)), state["encoder.0.0.conv.weight"].float())
    return same and "GatesFirst" in _targets(parser, "train#handlers")


# what an overlay is for, as seen in the objects of the merged config
TRAINING: dict[str, Callable[[ConfigParser], Any]] = {
    "attention_everywhere": lambda p: _plain(p).has_encoder_gates and _plain(p).has_decoder_gates and _plain(p).encoder_maps,
    "attention_figures": lambda p: "AttentionFigures" in _targets(p, "train#handlers"),
    "classify": lambda p: (
        _network("AttentionSononet")(p) and type(p.get_parsed_content("train#dataloader").sampler).__name__ == "WeightedRandomSampler"
    ),
    "coarse": lambda p: (
        p.get_parsed_content("spacing") == [5, 5, 5] and p.get_parsed_content("lr_scheduler").total_iters == p["max_epochs"]
    ),
    "ct82": lambda p: len(p.get_parsed_content("labels")) == 2 and p.get_parsed_content("split")["train_size"] == 61,
    "dense_blocks": lambda p: type(_plain(p).centre).__name__ == "DenseConvs",
    "dense_vnet": lambda p: _network("DenseVNet")(p) and type(p.get_parsed_content("loss")).__name__ == "DiceCELoss",
    "deep_supervision": lambda p: p.get_parsed_content("train#trainer").loss_function.loss.loss is p.get_parsed_content("loss"),
    "dynunet": _network("DynUNet"),
    "fine_resolution": lambda p: p.get_parsed_content("spacing") == [1, 1, 1],
    "finetune": _starts_from_the_shipped_weights,
    "gpu_augmentation": lambda p: (
        type(p.get_parsed_content("train#dataloader")).__name__ == "ThreadDataLoader"
        and type(p.get_parsed_content("train#dataset")).__name__ == "HeldDataset"
        and "CacheAhead" in _targets(p, "train#handlers")
        and p.get_parsed_content("augment_device") == p.get_parsed_content("device")
    ),
    "large_batches": lambda p: p.get_parsed_content("train#dataloader").batch_size == 6 and _plain(p).centre.checkpointing,
    "large_patches": lambda p: p.get_parsed_content("validate#inferer").roi_size == (224, 224, 160) and _plain(p).encoder[0].checkpointing,
    "loss_dice_bce": lambda p: type(p.get_parsed_content("loss")).__name__ == "DiceFocalLoss",
    "loss_dice_ce": lambda p: type(p.get_parsed_content("loss")).__name__ == "DiceCELoss",
    "monai_attention_unet": lambda p: type(_plain(p)).__module__.startswith("monai."),
    "multi_gpu_train": lambda p: (
        isinstance(p.get_parsed_content("network"), DistributedDataParallel)
        and type(p.get_parsed_content("train#dataloader").sampler).__name__ == "DistributedSampler"
    ),
    "pancreas_alone": lambda p: list(p.get_parsed_content("labels")) == ["background", "pancreas"],
    "paper": lambda p: (
        _plain(p).auxiliary
        and type(_plain(p).skips[0].gates[0]).__name__ == "PaperGate"
        and p.get_parsed_content("train#trainer").loss_function.loss.loss is p.get_parsed_content("loss")
        and type(p.get_parsed_content("optimizer")).__name__ == "Adam"
    ),
    "pet_ct": lambda p: (
        (
            _first_weight(_plain(p)).shape[1] == 2
            and "AddChannelsd" in _targets(p, "train#preprocessing_transforms")
            and list(p.get_parsed_content("labels")) == ["background", "tumour"]
        )
        if hasattr(_plain(p), "encoder")
        else "AddChannelsd" in _targets(p, "train#preprocessing_transforms")
    ),
    "phantom_study": lambda p: p.get_parsed_content("spacing") == [4, 4, 4] and p.get_parsed_content("lr_scheduler").step_size == 9,
    "quickstart": lambda p: p.get_parsed_content("lr_scheduler").total_iters == 40 and p.get_parsed_content("spacing") == [3, 3, 3],
    "residual_blocks": lambda p: type(_plain(p).centre).__name__ == "ResidualConvs",
    "segresnet": _network("SegResNet"),
    "split_120_30": lambda p: [p.get_parsed_content("split")[key] for key in ("train_size", "test_size", "num_folds")] == [120, 30, 1],
    "split_30_120": lambda p: [p.get_parsed_content("split")[key] for key in ("train_size", "test_size", "num_folds")] == [30, 120, 1],
    "swin_unetr": _network("SwinUNETR"),
    "unet": lambda p: _plain(p).num_gates == 0,
    "unet_6m": lambda p: _plain(p).num_gates == 0 and _centre(p) == math.floor(1.047 * p["network_def"]["channels"][-1]),
    "unet_10m": lambda p: _plain(p).num_gates == 0 and _centre(p) == math.floor(1.333 * p["network_def"]["channels"][-1]),
    "unetr": _network("UNETR"),
    "vnet": _network("VNet"),
    "wandb": lambda p: "@wandb_training" in p["train#handlers"],
    "without_other_organs": lambda p: (
        list(p.get_parsed_content("labels")) == ["background", "pancreas"]
        and _plain(p).heads.rows.tolist() == [0, 1]
        and len(_plain(p).heads.final.bias) == 4
    ),
    "weights": lambda p: "GrowingData" in _targets(p, "train#handlers") and len(p.get_parsed_content("train#random_transforms")) == 7,
}
# pairs that must combine; the test would be empty if all were refused
TOGETHER = {
    ("finetune", "multi_gpu_train"),
    ("attention_figures", "multi_gpu_train"),
    ("attention_figures", "finetune"),
    ("deep_supervision", "loss_dice_ce"),
    ("deep_supervision", "quickstart"),
    ("finetune", "deep_supervision"),
    ("phantom_study", "unet"),
    *((small, network) for small in ("phantom_study", "quickstart") for network in ("unet_6m", "unet_10m")),
    ("paper", "deep_supervision"),
    ("pet_ct", "unet"),
    ("pet_ct", "swin_unetr"),
    ("pet_ct", "weights"),
    ("pet_ct", "multi_gpu_train"),
    ("paper", "loss_dice_ce"),
    ("paper", "fine_resolution"),
    ("fine_resolution", "large_patches"),
    ("large_batches", "unet"),
    ("vnet", "loss_dice_ce"),
    ("swin_unetr", "pancreas_alone"),
    ("attention_everywhere", "residual_blocks"),
    ("without_other_organs", "ct82"),
    ("without_other_organs", "finetune"),
    ("without_other_organs", "unet"),
    ("without_other_organs", "paper"),
    ("multi_gpu_train", "quickstart"),
    ("multi_gpu_train", "weights"),
}


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone, so that the wrapper for several GPUs can be made."""
    for key, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(key, value)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    bundle.distributed.leave()


def _tiny(parser: ConfigParser, cases: list[dict], folder: Path) -> None:
    """Data without files and folders of the test; what the overlays say stays."""
    for section in ("train", "validate", "test"):
        parser[section]["dataset"]["data"] = cases
    if "wandb" in parser.config:
        parser["wandb"] = None  # it would ask for an account
    if "names" in parser.config:
        parser["names"] = ["a", "b"]  # there is no list to read them in
    network = parser["network_def"]
    network |= SMALL.get(network["_target_"].split(".")[-1], {})
    parser.config |= {"device": "cpu", "output_dir": str(folder), "ckpt_dir": str(folder), "cache_dir": str(folder)}
    parser.config |= {"bundle_root": bundle.root(), "dataset_dir": str(folder)}


def test_every_overlay_says_what_it_lies_on() -> None:
    bases = {"train", "inference"}
    assert set(shipped_names()) == {*NAMES, *bases, "metadata"}
    for name in NAMES:
        assert list(shipped(name)["+overlays"]) == [name], "its own name"
        known = {base.removeprefix("not ") for base in shipped(name)["+overlays"][name]}
        assert known <= {*NAMES, *bases} and known


@pytest.mark.slow
def test_pairs_of_training(one_process: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("kaiming_normal_", "kaiming_uniform_"):  # no pair depends on the numbers of new weights, which take most of the time
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *arguments, **more: tensor)
    together = set()
    over_train = _of("train")
    assert set(TRAINING) == set(over_train)
    for first, second in permutations(over_train, 2):
        try:
            parser = merged("train", first, second)
            if (second, first) in together:
                other = merged("train", second, first)
                assert _unordered(parser.config) == _unordered(other.config), f"the order of {first} and {second} matters"
                together.add((first, second))
                continue
            _tiny(parser, [{"image": "a.nii.gz", "label": "b.nii.gz"}] * 4, tmp_path)
            parser.get_parsed_content("train#trainer")
            # an overlay that says that it lies on another may change it
            told = [second] if first in shipped(second)["+overlays"][second] else [first, second]
            done = [bool(TRAINING[name](parser)) for name in told]
        except Exception as error:
            mistake = users_mistake(error)
            assert mistake is not None, f"{first}, {second}: {error!r} is not one line"
            continue
        assert all(done), f"{first}, {second}: {done}"
        together.add((first, second))
    assert {*TOGETHER, *((b, a) for a, b in TOGETHER)} <= together
    assert ("loss_dice_bce", "loss_dice_ce") not in together and ("attention_figures", "unet") not in together


def test_pairs_of_inference() -> None:
    """Either order, on inference.json: both keep every key that they set, or the pair is refused."""
    together = set()
    for first, second in permutations(_of("inference"), 2):
        try:
            parser = merged("inference", first, second)
        except UserError:
            continue
        over = shipped(second)["+overlays"][second]
        for name in (first, second):
            for key, value in overlays.keys_of(shipped(name)).items():
                if not (name == first and first in over):
                    assert parser[key] == value, f"{first}, {second}: {key}"
        together.add((first, second))
    assert ("inference_openvino", "inference_trt") not in together
    assert {("evaluate", "ct82"), ("evaluate", "without_other_organs"), ("evaluate", "quickstart")} <= together
    assert ("ct82", "evaluate") not in together, "evaluate.json would put its own split back"


def _unordered(config: dict) -> dict:
    """A config in which the order of the handlers that overlays add does not count."""
    return config | {"train": config["train"] | {"handlers": sorted(config["train"]["handlers"], key=str)}}
