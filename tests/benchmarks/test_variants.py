"""The study of variants: its table by hand, patches that are the same for all, and no variant forgotten."""

from __future__ import annotations

import argparse
import importlib.util

import numpy as np
import pytest
import torch
from small_scans import SHAPE, nifti

from bundle.networks.residual_dense import BLOCKS
from bundle.networks.variants import GATES


@pytest.fixture(scope="module")
def study(repository):
    spec = importlib.util.spec_from_file_location("benchmark_variants", repository / "benchmarks" / "variants.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OPTIONS = argparse.Namespace(steps=3, batch=2, patch=[16, 16, 8], rate=1e-3)


def volume(seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return {"image": torch.randn(1, 20, 18, 6), "label": torch.randint(0, 4, (1, 20, 18, 6)).float()}


def test_every_variant_is_there(study):
    arguments = list(study.VARIANTS.values())
    assert {one.get("gate", "additive") for one in arguments} == set(GATES)
    assert {one.get("blocks", "plain") for one in arguments} == set(BLOCKS)
    assert {} in arguments and {"num_gates": 0} in arguments
    counts = {name: sum(p.numel() for p in study.build(name).parameters()) for name in study.VARIANTS}
    assert counts["U-Net"] < counts["one gate"] < counts["default"] == counts["losses at every scale"] < counts["attention everywhere"]


def test_patches_depend_on_the_seed_alone(study):
    cases = [volume(1), volume(2)]
    first, again, other = (list(study.batches(cases, seed, OPTIONS)) for seed in (0, 0, 1))
    assert len(first) == 3 and first[0][0].shape == (2, 1, 16, 16, 8) == first[0][1].shape
    assert all(torch.equal(a, b) for one, two in zip(first, again, strict=True) for a, b in zip(one, two, strict=True))
    assert not torch.equal(first[0][0], other[0][0])


def test_a_training_learns_and_is_scored(study):
    cases = [volume(1), volume(2)]
    found = study.train_and_score("U-Net", 0, cases, cases, OPTIONS)
    assert len(found["dice"]) == 2 and len(found["dice"][0]) == 3 and 0 <= found["dice"][0][0] <= 1
    assert found == {**study.train_and_score("U-Net", 0, cases, cases, OPTIONS), "train_cpu_seconds": found["train_cpu_seconds"]}


def test_table_by_hand(study):
    """Two seeds, six cases of one Dice for all structures: the default has 0.5, the U-Net 0.4 and 0.5, so that it is 0.05 worse."""

    def run(dice: float) -> dict:
        return {"dice": [[dice] * 3] * 6, "parameters": 1234, "train_cpu_seconds": 7.0, "last_losses": 1.0}

    results = {"default": {"0": run(0.5), "1": run(0.5)}, "U-Net": {"0": run(0.4), "1": run(0.5)}, "linear": {"0": run(0.9)}}
    lines = study.table(results, [0, 1]).splitlines()
    assert len(lines) == 4  # what has not every seed is left out
    assert lines[2].startswith("| default | 1,234 | 7 | 0.500 | 0.500 | 0.500 | 0.500 |  |  | +0.050 (+0.100, +0.000) | 0.031 |")
    assert lines[3].startswith("| U-Net | 1,234 | 7 | 0.450 | 0.450 | 0.450 | 0.450 | -0.050 (-0.100, +0.000) | 0.031 |")


def test_a_small_p_is_not_zero(study):
    """Twelve cases of which each is worse, by another amount: p is 2 / 2**12."""
    scores = {name: np.full((1, 12, 3), 0.5) + less * np.arange(1, 13)[None, :, None] for name, less in (("default", 0), ("U-Net", -0.01))}
    assert study._differences(scores, "default")["U-Net"][1] == "< 0.001"
    assert study._differences({name: score[:, :6] for name, score in scores.items()}, "default")["U-Net"][1] == "0.031"


def test_volumes_are_those_of_all_cases_after_an_interruption(study, tmp_path, monkeypatch):
    """The first call ends while the second of three scans is written, the second while the volumes are: neither leaves a half."""
    from bundle.data.synthetic import phantom

    options = argparse.Namespace(train_cases=2, test_cases=1, data_seed=5, spacing=12.0)
    save, killed_at = torch.save, [1]

    def write(folder, seed, max_voxels, case):
        if case[0] in killed_at:
            raise KeyboardInterrupt
        labels, image = phantom._paths(folder, *case)
        nifti(labels, np.zeros(SHAPE))
        nifti(image)

    def half(volumes, path):
        save(volumes[:1], path)
        raise KeyboardInterrupt

    monkeypatch.setattr(phantom, "_write_case", write)
    with pytest.raises(KeyboardInterrupt):
        study.volumes(tmp_path, options)
    killed_at.clear()
    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        study.volumes(tmp_path, options)
    monkeypatch.setattr(torch, "save", save)
    train, test = study.volumes(tmp_path, options)
    assert len(train) == 2 and len(test) == 1 and all(case["image"].shape == case["label"].shape for case in [*train, *test])
