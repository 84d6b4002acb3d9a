"""average: the mean of checkpoints by hand, whatever kind of file holds them; other networks are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bundle.errors import UserError
from bundle.networks.weights.average import average


def _state(weight: list[float], batches: int) -> dict[str, torch.Tensor]:
    return {"conv.weight": torch.tensor(weight), "norm.num_batches_tracked": torch.tensor(batches)}


def test_mean_of_weights_and_of_the_state_of_a_training(tmp_path: Path) -> None:
    torch.save(_state([1.0, 2.0], 10), tmp_path / "a.pt")
    torch.save({"model": _state([2.0, 4.0], 30), "epoch": 3}, tmp_path / "last.pt")
    torch.save(_state([6.0, 0.0], 20), tmp_path / "c.pt")
    average(str(tmp_path / "out.pt"), *(str(tmp_path / name) for name in ("a.pt", "last.pt", "c.pt")))
    mean = torch.load(tmp_path / "out.pt", weights_only=True)
    assert mean["conv.weight"].tolist() == [3.0, 2.0] and mean["conv.weight"].dtype == torch.float32
    assert mean["norm.num_batches_tracked"].item() == 30 and mean["norm.num_batches_tracked"].dtype == torch.int64


def test_small_values_do_not_drown(tmp_path: Path) -> None:
    """In half precision 2048 + 1 is 2048, and a mean of sums would lose what differs."""
    for name, value in (("a", 2048.0), ("b", 1.0), ("c", 1.0)):
        torch.save({"w": torch.tensor([value], dtype=torch.float16)}, tmp_path / name)
    average(str(tmp_path / "out"), *(str(tmp_path / name) for name in "abc"))
    assert torch.load(tmp_path / "out", weights_only=True)["w"].item() == torch.tensor(2050 / 3).half().item()


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"w": torch.zeros(3)}, r"1 tensor differs from those of .*first.pt: w is \(3,\), there \(2,\)"),
        ({"v": torch.zeros(2)}, r"2 tensors differ .*: v is \(2,\), there absent"),
    ],
)
def test_another_network_is_refused(tmp_path: Path, other: dict[str, torch.Tensor], told: str) -> None:
    torch.save({"w": torch.zeros(2)}, tmp_path / "first.pt")
    torch.save(other, tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"other\.pt.*" + told):
        average(str(tmp_path / "out.pt"), str(tmp_path / "first.pt"), str(tmp_path / "other.pt"))
    assert not (tmp_path / "out.pt").exists()


def test_one_file_is_no_mean(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 checkpoint given"):
        average(str(tmp_path / "out.pt"), "a.pt")
    with pytest.raises(UserError, match="no such file"):
        average(str(tmp_path / "out.pt"), str(tmp_path / "a.pt"), str(tmp_path / "b.pt"))
