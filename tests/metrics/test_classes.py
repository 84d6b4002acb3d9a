"""F1 of each class, worked out by hand, and against scikit-learn's definition of the macro mean."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from ignite.metrics import Accuracy, ConfusionMatrix, Fbeta
from monai.handlers import from_engine

from bundle.metrics import class_columns, f1_of_each

NAMES = ["none", "arterial", "portal"]
TRUE, FOUND = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2]


def metrics() -> dict:
    """What an evaluator of MONAI, which takes batches apart, has after these six cases."""
    cases = [
        {"pred": torch.nn.functional.one_hot(torch.tensor(f), 3).float(), "label": torch.tensor(t)}
        for t, f in zip(TRUE, FOUND, strict=True)
    ]
    engine = Engine(lambda engine, batch: batch)
    transform = from_engine(["pred", "label"])
    f1_of_each(NAMES, "val", transform).attach(engine, "val_classes")
    Fbeta(1.0, output_transform=transform).attach(engine, "val_macro_f1")
    Accuracy(output_transform=transform).attach(engine, "val_accuracy")
    ConfusionMatrix(3, output_transform=transform, skip_unrolling=False).attach(engine, "val_confusion")
    engine.run([cases[:4], cases[4:]])
    return engine.state.metrics


def test_by_hand() -> None:
    found = metrics()
    # none: precision 2/2, recall 2/3; arterial: 1/2 and 1/2; portal: 1/2 and 1/1
    assert found["val_f1_none"] == pytest.approx(0.8)
    assert found["val_f1_arterial"] == pytest.approx(0.5)
    assert found["val_f1_portal"] == pytest.approx(2 / 3)
    assert found["val_macro_f1"] == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)
    assert found["val_accuracy"] == pytest.approx(4 / 6)
    assert found["val_confusion"].tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]  # rows are the true classes


def test_columns_are_named_as_the_metrics_are() -> None:
    names = {f"val_{name}" for name in class_columns(NAMES)}
    assert names - {"val_loss"} <= set(metrics())
    assert class_columns(NAMES)[-1] == "f1_portal"
