"""inference.json in this process, with a small network of random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from monai.bundle import ConfigWorkflow

from bundle.networks import AttentionUnet

CHANNELS = [4, 4, 8, 8, 8]


def save_weights(path: Path, seed: int) -> Path:
    """Write random weights, whose labels are patchy; gives the path."""
    torch.manual_seed(seed)
    torch.save(AttentionUnet(channels=CHANNELS).state_dict(), path)
    return path


def run_inference(files: Sequence[Path], data: Path, out: Path, weights: Path | str, **override: object) -> ConfigWorkflow:
    """Initialise, run and finalise a workflow of these configs, in float32 and without pictures, unless the keys say otherwise."""
    fixed = {"dataset_dir": str(data), "output_dir": str(out), "ckpt_path": str(weights), "network_def#channels": CHANNELS}
    keys = {**fixed, "precision": "fp32", "previews": False, **override}
    workflow = ConfigWorkflow([str(path) for path in files], logging_file=False, workflow_type="inference", **keys)
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    return workflow
