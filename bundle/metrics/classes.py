"""What Ignite's metrics of classes lack: a name for each class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ignite.metrics import Fbeta, MetricsLambda
from torch import Tensor


def f1_of_each(names: Sequence[str], prefix: str, output_transform: Callable) -> MetricsLambda:
    """F1 of each class over all cases, as metrics `<prefix>_f1_<name>`: Ignite's `Fbeta` with a name for each of its values.

    A class that no case has and none was taken for has F1 = 0, as in Ignite.

    Args:
        names: the classes, in the order of the network's outputs.
        prefix: of the metrics' names, such as `val`.
        output_transform: gives logits or probabilities (B, K) and numbers of classes (B,) of the engine's output.
    """

    def by_name(values: Tensor) -> dict[str, float]:
        return {f"{prefix}_f1_{name}": float(value) for name, value in zip(names, values, strict=True)}

    return MetricsLambda(by_name, Fbeta(1.0, average=False, output_transform=output_transform))


def class_columns(names: Sequence[str]) -> list[str]:
    """Columns of `training.csv` for a classifier, without the prefix of the section."""
    return ["loss", "accuracy", "macro_f1", *(f"f1_{name}" for name in names)]
