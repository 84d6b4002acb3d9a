"""The attention figures while training: what is written when, the coefficients in them, and that training is left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events

from bundle.arguments.config import shipped
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
        assert sorted(content.files) == ["2 1 axial", "2 1 sagittal", "2 2 axial", "2 2 sagittal"]
        axial, sagittal = content["2 1 axial"], content["2 2 sagittal"]
    first, second = maps[2].resampled[0].numpy()
    np.testing.assert_allclose(axial, first[:, :, 8].T[::-1, ::-1], atol=1e-3)
    np.testing.assert_allclose(sagittal, second[6].T[::-1, ::-1], atol=1e-3)
    assert not np.allclose(first, second)


def test_a_resumed_training_goes_on_with_the_figure(network: AttentionUnet, dataset: list[dict], tmp_path: Path) -> None:
    AttentionFigures(network, dataset, tmp_path, size=(16, 16, 16)).write(1)
    again = AttentionFigures(network, dataset, tmp_path, size=(16, 16, 16))
    again.write(2)
    assert sorted(again._stored()) == [1, 2]


def test_epochs_of_another_training_in_the_folder_are_not_drawn(network: AttentionUnet, dataset: list[dict], tmp_path: Path) -> None:
    """One of five epochs was there. A new training draws its own; one that is resumed after epoch 2 goes on with what was before."""
    options = {"size": (16, 16, 16), "epochs": (2, 3, 4, 5)}
    for done, drawn in ((0, [2, 3]), (2, [2, 3])):
        for epoch in (2, 4, 5):
            AttentionFigures(network, dataset, tmp_path, **options).write(epoch)
        handler, engine = AttentionFigures(network, dataset, tmp_path, **options), Engine(_step)
        if done:

            @engine.on(Events.STARTED)
            def resume(engine: Engine) -> None:
                engine.state.epoch = engine.state.iteration = 2

        handler.attach(engine)
        engine.run([0], max_epochs=3)
        assert sorted(handler._stored()) == drawn


def test_a_scan_of_one_slice_at_the_spacing_of_the_network(network: AttentionUnet, tmp_path: Path) -> None:
    """matplotlib's contour takes no row of one voxel: the training ended in its third epoch."""
    label = torch.zeros(1, 24, 20, 1)
    label[0, 8:12, 6:10] = 1
    assert AttentionFigures(network, [{"image": torch.randn(1, 24, 20, 1), "label": label}], tmp_path).write(3).is_file()


def test_several_channels(dataset: list[dict], tmp_path: Path) -> None:
    """The network sees all of them, of which the figure shows the first."""
    network = AttentionUnet(3, 2, 2, channels=(2, 4, 8), num_gates=1, init="authors")
    both = torch.cat([dataset[0]["image"], torch.randn(1, 24, 20, 36, generator=torch.Generator().manual_seed(2))])
    handler = AttentionFigures(network, [{**dataset[0], "image": both}], tmp_path, size=(16, 16, 16))
    assert handler.write(1).is_file()
    with torch.no_grad():
        maps = network.eval().attention(both[None, :, 0:16, 0:16, 14:30])[1][2].resampled[0]
    np.testing.assert_allclose(handler._stored()[1][2, 1, "axial"], maps[0, :, :, 8].numpy().T[::-1, ::-1], atol=1e-3)


def test_epochs_of_an_earlier_version_are_left_out(network: AttentionUnet, dataset: list[dict], tmp_path: Path) -> None:
    """They hold means over the gates, named "level view"."""
    (tmp_path / "attention").mkdir()
    np.savez(tmp_path / "attention" / "epoch_0001.npz", **{"2 axial": np.zeros((16, 16))})
    handler = AttentionFigures(network, dataset, tmp_path, size=(16, 16, 16))
    handler.write(2)
    assert list(handler._stored()) == [2]


def test_gates_with_a_coefficient_per_channel(dataset: list[dict], tmp_path: Path) -> None:
    """Two gates of four channels each: the picture has the mean of each gate's channels."""
    network = AttentionUnet(3, 1, 2, channels=(2, 4, 8), num_gates=2, gate="channelwise", init="authors")
    handler = AttentionFigures(network, dataset, tmp_path, size=(16, 16, 16))
    image = handler._fixed_scan()[0]
    found = handler._coefficients(image)
    with torch.no_grad():
        maps = network.eval().attention(image)[1][2].resampled[0]
    assert list(found) == [(2, 1), (2, 2)] and len(maps) == 8
    np.testing.assert_allclose(found[2, 2], maps[4:].mean(0).numpy(), atol=1e-5)


def test_the_papers_epochs(network: AttentionUnet, dataset: list[dict], tmp_path: Path) -> None:
    assert AttentionFigures(network, dataset, tmp_path).epochs == {3, 6, 10, 60, 150}
    assert shipped("attention_figures")["figure_epochs"] == [3, 6, 10, 60, 150]


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
