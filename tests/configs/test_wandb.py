"""The overlay for Weights & Biases, with a stand-in for the package: what is logged, at which step."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle.arguments.config import shipped_path


@pytest.mark.slow
def test_a_training_is_logged(repository: Path, tmp_path: Path, write_cases: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from monai.bundle import ConfigWorkflow

    logged: list[tuple[int, dict]] = []
    begun: dict = {}
    module = types.ModuleType("wandb")
    module.init, module.finish = begun.update, lambda: begun.update(finished=True)
    module.log = lambda figures, step=None, **more: logged.append((step, dict(figures)))
    monkeypatch.setitem(sys.modules, "wandb", module)
    small = {"patch_size": [16, 16, 16], "max_epochs": 2, "val_interval": 1, "num_workers": 0, "network_def#channels": [4, 4, 8, 8, 8]}
    folders = {"dataset_dir": str(write_cases(tmp_path / "data", range(1, 4))), "output_dir": str(tmp_path), "ckpt_dir": str(tmp_path)}
    files = [str(repository / "configs" / "train.json"), str(shipped_path("wandb"))]
    workflow = ConfigWorkflow(files, logging_file=False, workflow_type="train", cache_dir=None, device="cpu", **folders, **small)
    workflow.initialize()
    workflow.run()
    assert begun == {"project": "abdominal_ct_attention_unet", "dir": str(tmp_path), "finished": True}
    # 4 cases in batches of 2: two steps an epoch
    assert [step for step, figures in logged if "train/output" in figures] == [1, 2, 3, 4]
    scored = [(step, figures) for step, figures in logged if "validation/val_dice" in figures]
    assert [step for step, _ in scored] == [2, 4] and "validation/val_dice_spleen" in scored[0][1]
    assert [figures["lr/group_0"] for _, figures in logged if "lr/group_0" in figures] == [1e-4] * 4
    assert [step for step, _ in logged] == sorted(step for step, _ in logged), "W&B drops what comes after a later step"
