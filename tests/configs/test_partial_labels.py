"""Cases that label some of the structures: the batch, the loss and validation of the configs."""

from __future__ import annotations

import json

import torch


def test_a_partly_labelled_case_trains_beside_a_whole_one(repository, write_cases, tmp_path):
    from monai.bundle import ConfigParser

    folder = write_cases(tmp_path / "data", range(1, 4), 4)
    entries = [{"image": f"imagesTr/case_{n}.nii.gz", "label": f"labelsTr/case_{n}.nii.gz"} for n in range(4)]
    entries[0]["labelled"] = ["pancreas"]
    entries[2]["labelled"] = ["pancreas"]
    (folder / "dataset.json").write_text(json.dumps({"training": entries[:2], "validation": entries[2:]}))
    parser = ConfigParser()
    parser.read_config(str(repository / "configs" / "train.json"))
    parser["dataset_dir"], parser["cache_dir"], parser["device"] = str(folder), str(tmp_path / "cache"), "cpu"
    parser["patch_size"], parser["affine_prob"], parser["flip_prob"] = [16, 16, 16], 0.0, 0.0
    parser["num_workers"], parser["network_def"]["channels"] = 0, [2, 3, 4]
    batch = next(iter(parser.get_parsed_content("train#dataloader")))
    values = [set(one.unique().tolist()) for one in batch["label"]]
    # spleen (bit 1) and kidney (bit 2) left open: 128 + 2 + 4
    assert sorted(values, key=max) == [{0.0, 1.0, 2.0, 3.0}, {1.0, 2.0, 3.0, 134.0}]
    logits = parser.get_parsed_content("network")(batch["image"])
    parser.get_parsed_content("train#trainer#loss_function")(logits, batch["label"]).backward()
    seen = [set(one["label"].unique().tolist()) for one in parser.get_parsed_content("validate#dataset")]
    assert seen == [{0, 1, 2, 3}] * 2
    assert torch.isfinite(parser.get_parsed_content("loss")(logits, batch["label"].clamp(max=3)))
