"""The attention figures while training: what is written when, the coefficients in them, and that training is left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine

from bundle.drawing.planes import as_shown
from bundle.handlers.training.attention_figures import AttentionFigures
from bundle.networks import AttentionUnet


@pytest.fixture
def network() -> AttentionUnet:
    torch.manual_seed(0)
    return AttentionUnet(3, 1, 2, channels=(2, 4, 8), num_gates=2, init="authors")


@pytest.fixture
def dataset() -> list[dict]:
    label = torch.zeros(1, 24, 20, 36)
    label[0, 4:9, 6:11, 20:25] = 1
    return [{"image": torch.randn(1, 24, 20, 36, generator=torch.Generator().manual_seed(1)), "label": label}]


def test_writes_after_the_chosen_epochs(network: AttentionUnet, dataset: list[dict], tmp_path: Path) -> None:
    handler = AttentionFigures(network, dataset, tmp_path, epochs=(1, 3), size=(16, 16, 16))
    engine = Engine(_step)
    handler.attach(engine)
    network.train()
    before = torch.get_rng_state()
    engine.run([0], max_epochs=4)
    assert torch.equal(before, torch.get_rng_state()) and network.training
    assert [path.name for path in sorted((tmp_path / "attention").iterdir())] == ["epoch_0001.npz", "epoch_0003.npz"]
    from matplotlib.image import imread

    assert imread(tmp_path / "attention.png").std() > 0.05


def test_slices_are_the_networks_coefficients_around_the_structure(network: AttentionUnet, dataset: list[dict], tmp_path: Path) -> None:
    """The structure's middle is (6, 8, 22): 16 voxels around it start at 0, 0 and 14; the axial slice lies at 22 - 14."""
    AttentionFigures(network, dataset, tmp_path, size=(16, 16, 16)).write(7)
    network.eval()
    with torch.no_grad():
        _, maps = network.attention(dataset[0]["image"][None, :, 0:16, 0:16, 14:30])
    with np.load(tmp_path / "attention" / "epoch_0007.npz") as content:
        assert sorted(content.files) == ["2 axial", "2 sagittal"]
        stored = content["2 axial"]
    expected = maps[2].resampled[0].mean(0)[:, :, 8].numpy()
    np.testing.assert_allclose(stored, expected.T[::-1, ::-1], atol=1e-3)


def test_a_resumed_training_goes_on_with_the_figure(network: AttentionUnet, dataset: list[dict], tmp_path: Path) -> None:
    AttentionFigures(network, dataset, tmp_path, size=(16, 16, 16)).write(1)
    again = AttentionFigures(network, dataset, tmp_path, size=(16, 16, 16))
    again.write(2)
    assert sorted(again._stored()) == [1, 2]


def test_network_without_gates_is_refused(dataset: list[dict], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="num_gates is 0"):
        AttentionFigures(AttentionUnet(3, 1, 2, channels=(2, 4), num_gates=0), dataset, tmp_path)


def test_views_lie_as_radiologists_look_at_them() -> None:
    """In RAS, index 0 is left, posterior and inferior: the voxel at the patient's right, front and head comes first."""
    volume = np.zeros((3, 4, 5))
    volume[2, 3, 4] = 1
    for name, index in (("axial", 4), ("sagittal", 2)):
        picture = as_shown(volume, name, index)
        assert picture[0, 0] == 1 and picture.sum() == 1
    assert as_shown(volume, "axial", 4).shape == (4, 3) and as_shown(volume, "sagittal", 2).shape == (5, 4)


def _step(engine: Engine, batch: object) -> None:
    """A training step that does nothing."""
