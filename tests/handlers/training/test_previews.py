"""Pictures of a validation: one file per epoch, the first cases only, misses marked, on a stand-in engine."""

from __future__ import annotations

import numpy as np
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from PIL import Image

from bundle.handlers import ValidationPreviews
from bundle.pictures.comparison import MISSED


class Writer:
    """Remembers what TensorBoard would get."""

    def __init__(self) -> None:
        self.images: list[tuple[str, tuple[int, ...], int]] = []

    def add_image(self, tag, image, step, dataformats):
        self.images.append((tag, image.shape, step))


def evaluator(items: int) -> Engine:
    image = torch.zeros(1, 24, 20, 16)
    image[:, 4:20, 4:16] = 1.0
    label = torch.zeros(1, 24, 20, 16)
    label[:, 6:12, 6:12, 4:12] = 1
    affine = torch.diag(torch.tensor([2.0, 2.0, 4.0, 1.0]))
    item = {"image": MetaTensor(image, affine=affine), "label": label, "pred": torch.zeros_like(label)}
    return Engine(lambda engine, batch: [item] * items)


def test_the_first_cases_of_each_epoch_with_misses_in_red(tmp_path):
    writer, labels = Writer(), {"background": 0, "spleen": 7}
    engine = evaluator(2)
    ValidationPreviews(str(tmp_path), labels, cases=3, writer=writer).attach(engine)
    engine.run([0, 1], max_epochs=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch_0001.png", "epoch_0002.png"]
    picture = np.asarray(Image.open(tmp_path / "epoch_0001.png")).astype(int)
    assert writer.images == [("validation", picture.shape, 1), ("validation", picture.shape, 2)]
    red = np.abs(picture - np.array(MISSED)).max(axis=2) < 60
    thirds = [part.sum() for part in np.array_split(red, 3)]
    assert min(thirds) > 1000 and max(thirds) == min(thirds), "three cases, all missed"


def test_what_comes_out_of_the_cache_is_shown_in_mm(tmp_path):
    """Entries have no affine: with slices of 4 mm and voxels of 2 mm the picture is that of the image that knows its own."""
    for name, known, spacing in (("own", True, (1, 1, 1)), ("cache", False, (2, 2, 4)), ("flat", False, (1, 1, 1))):
        engine = evaluator(1)
        item = engine._process_function(engine, 0)[0]
        item["image"] = item["image"] if known else item["image"].as_tensor()
        ValidationPreviews(str(tmp_path / name), {"background": 0, "spleen": 7}, spacing=spacing).attach(engine)
        engine.run([0], max_epochs=1)
    own, cache, flat = (np.asarray(Image.open(tmp_path / name / "epoch_0001.png")) for name in ("own", "cache", "flat"))
    assert np.array_equal(own, cache) and own.shape != flat.shape


def test_none_asked_for_none_written(tmp_path):
    engine = evaluator(1)
    ValidationPreviews(str(tmp_path), {"background": 0, "spleen": 1}, cases=0).attach(engine)
    engine.run([0], max_epochs=1)
    assert not list(tmp_path.iterdir())
