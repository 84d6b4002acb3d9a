"""The overlays of experiments: thin, and what they say they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from bundle.arguments.config import shipped_path
from bundle.arguments.mistakes import users_mistake

OVERLAYS = (
    *("unet", "unet_6m", "unet_10m", "split_120_30", "split_30_120", "ct82", "loss_dice_ce", "loss_dice_bce"),
    *("phantom_study", "attention_figures"),
)


def _merged(repository: Path, *overlays: str) -> ConfigParser:
    files = [str(shipped_path(name)) for name in ("train", *overlays)]
    return ConfigParser(ConfigParser.load_config_files(files))


@pytest.mark.parametrize("name", OVERLAYS)
def test_overlays_hold_differences_of_known_keys_only(repository: Path, name: str) -> None:
    """Each key exists in train.json, or is used by another key of the overlay."""
    overlay = json.loads((shipped_path(name)).read_text(encoding="utf-8"))
    train = json.loads((repository / "configs" / "train.json").read_text(encoding="utf-8"))
    text = json.dumps(overlay)
    for key, value in overlay.items():
        top = key.lstrip("+").split("#")[0]
        assert top in train or f"@{top}" in text, f"{name}.json: {key} has no effect"
        assert "#" in key or key.startswith("+") or train.get(top) != value, f"{name}.json: {key} is the default"


@pytest.mark.parametrize(("overlays", "parameters"), [(("unet",), 5_888_004), (("unet_6m",), 6_444_328), (("unet_10m",), 10_403_190)])
def test_networks_have_the_papers_size(repository: Path, overlays: tuple[str, ...], parameters: int) -> None:
    network = _merged(repository, *overlays).get_parsed_content("network_def")
    assert sum(part.numel() for part in network.parameters()) == parameters


def test_losses_are_what_their_names_say(repository: Path) -> None:
    """Against PyTorch's own cross-entropies, without MONAI's Dice part (weight 0)."""
    random = torch.Generator().manual_seed(0)
    logits, target = torch.randn(2, 4, 5, 6, 7, generator=random), torch.randint(0, 4, (2, 1, 5, 6, 7), generator=random)
    one_hot = torch.nn.functional.one_hot(target[:, 0], 4).movedim(-1, 1).float()
    expected = {
        "ce": torch.nn.functional.cross_entropy(logits, target[:, 0]),
        "bce": torch.nn.functional.binary_cross_entropy_with_logits(logits, one_hot),
    }
    for name, value in expected.items():
        parser = _merged(repository, f"loss_dice_{name}")
        parser["lambda_dice"], parser[f"lambda_{name}"] = 0.0, 2.0
        assert parser.get_parsed_content("loss")(logits, target).item() == pytest.approx(2 * value.item(), rel=1e-5)


def test_splits_and_structures_of_the_paper(repository: Path) -> None:
    keys = ("train_size", "test_size", "num_folds")
    sizes = [[_merged(repository, name)[key] for key in keys] for name in ("split_120_30", "split_30_120", "ct82")]
    assert sizes == [[120, 30, 1], [30, 120, 1], [61, 21, 1]]
    assert _merged(repository, "ct82").get_parsed_content("network_def").out_channels == 2


@pytest.fixture
def of_four(tmp_path: Path) -> torch.nn.Module:
    """A network of four classes, and its weights in `last.pt`."""
    from bundle.networks import AttentionUnet

    torch.manual_seed(0)
    network = AttentionUnet(3, 1, 4, channels=(2, 4, 8))
    torch.save({"model": network.state_dict(), "epoch": 3}, tmp_path / "last.pt")
    return network


def test_before_fine_tuning_the_other_organs_are_left_out_of_the_softmax(
    repository: Path, of_four: torch.nn.Module, tmp_path: Path
) -> None:
    """Weights of four structures as they are: the logits of background and pancreas, nothing else."""
    files = [str(shipped_path(name)) for name in ("inference", "evaluate", "ct82", "without_other_organs")]
    parser = ConfigParser(ConfigParser.load_config_files(files))
    parser["network_def#channels"], parser["ckpt_path"], parser["device"] = [2, 4, 8], str(tmp_path / "last.pt"), "cpu"
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(parser.get_parsed_content("network")(image), of_four.eval()(image)[:, :2], rtol=1e-4, atol=1e-5)
    assert [parser[key] for key in ("train_size", "test_size", "num_folds")] == [61, 21, 1]


def test_one_step_of_fine_tuning_is_one_of_masked_training(repository: Path, of_four: torch.nn.Module, tmp_path: Path) -> None:
    """The network, loss and optimizer of the configs, against all four classes with the others' logits at minus infinity.

    Where a logit is minus infinity, its probability is 0 and so is its gradient; the Dice loss of the other two is written out. In double
    precision: a bias before a batch norm has no gradient but rounding errors, which Adam would make steps of in single precision.
    """
    parser = _merged(repository, "ct82", "without_other_organs", "finetune")
    parser["network_def#channels"], parser["pretrained"], parser["device"] = [2, 4, 8], str(tmp_path / "last.pt"), "cpu"
    parser["pretrained_labels"] = ["background", "pancreas", "spleen", "kidney"]
    random = torch.Generator().manual_seed(1)
    image, label = torch.randn(2, 1, 16, 16, 16, generator=random).double(), torch.randint(0, 2, (2, 1, 16, 16, 16), generator=random)

    network, optimizer = parser.get_parsed_content("network").double().train(), parser.get_parsed_content("optimizer")
    parser.get_parsed_content("training_loss")(network(image), label).backward()
    optimizer.step()

    masked = of_four.double().train()
    by_hand = torch.optim.Adam(masked.parameters(), lr=parser["learning_rate"], weight_decay=parser["weight_decay"])
    logits = masked(image)
    logits = torch.cat([logits[:, :2], torch.full_like(logits[:, 2:], -torch.inf)], dim=1)
    probabilities, truth = logits.softmax(1)[:, :2], torch.cat([1 - label, label], dim=1)
    both, sums = [part.sum(dim=(2, 3, 4)) for part in (probabilities * truth, probabilities + truth)]
    (1 - (2 * both + 1e-5) / (sums + 1e-5)).mean().backward()
    by_hand.step()

    assert not network.heads.final.weight.grad[2:].any() and network.heads.final.weight.grad[:2].all()
    before, after = torch.load(tmp_path / "last.pt", weights_only=True)["model"], dict(network.state_dict())
    changed = [name for name, value in after.items() if not torch.equal(value, before[name])]
    assert len(changed) > 0.9 * len(after)
    for name, value in masked.state_dict().items():
        torch.testing.assert_close(after[name], value, rtol=1e-9, atol=1e-9, msg=name)


def test_the_organs_that_stay_are_checked_by_name(repository: Path, of_four: torch.nn.Module, tmp_path: Path) -> None:
    parser = _merged(repository, "without_other_organs", "finetune")
    parser["network_def#channels"], parser["pretrained"] = [2, 4, 8], str(tmp_path / "last.pt")
    parser["pretrained_labels"] = ["background", "spleen", "pancreas", "kidney"]
    with pytest.raises(RuntimeError) as raised:
        parser.get_parsed_content("initial_network")
    said = str(users_mistake(raised.value))
    assert "classes [0, 1] of the weights are background, spleen, but the labels are background, pancreas" in said
