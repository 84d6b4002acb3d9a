"""What the checks of MONAI's model zoo ask of a bundle (its `ci/verify_bundle.py` and CONTRIBUTING.md), without its downloads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export, create_workflow, verify_metadata, verify_net_in_out

# the zoo takes no larger file; larger ones are listed with their addresses in large_files.yml
LARGEST = 25 << 20
TRAINING = ("train::trainer::max_epochs", "train::dataset::data", "train::handlers", "train::preprocessing", "train::inferer")
VALIDATION = ("validate::evaluator", "validate::handlers", "validate::dataset::data", "validate::key_metric", "val_interval")


def _metadata(repository: Path) -> dict:
    return json.loads((repository / "configs" / "metadata.json").read_text(encoding="utf-8"))


def test_necessary_and_preferred_files(repository: Path) -> None:
    for file in (
        "configs/metadata.json",
        "LICENSE",
        "models/model.pt",
        "configs/inference.json",
        "docs/README.md",
        "docs/data_license.txt",
    ):
        assert (repository / file).is_file(), file
    listed = [path for path in repository.glob("large_files.*")]
    sizes = {path.name: path.stat().st_size for path in (repository / "models").glob("*.pt")}
    assert listed or all(size <= LARGEST for size in sizes.values()), sizes


def test_version_is_in_the_changelog_and_packages_are_named(repository: Path) -> None:
    metadata = _metadata(repository)
    assert metadata["version"] in metadata["changelog"] and metadata["name"]
    for key in ("monai_version", "pytorch_version", "numpy_version", "required_packages_version"):
        assert metadata[key], key


def test_metadata_by_monais_own_verb(repository: Path, shared_data: Path, tmp_path: Path) -> None:
    # a schema that is there is not downloaded
    shutil.copy(shared_data / "schema" / Path(_metadata(repository)["schema"]).name, tmp_path / "schema.json")
    verify_metadata(meta_file=str(repository / "configs" / "metadata.json"), filepath=str(tmp_path / "schema.json"))


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ("inference", ("bundle_root", "device", "network_def", "inferer", "output_dir", "dataset_dir")),
        ("train", ("bundle_root", "device", "dataset_dir", "output_dir", *TRAINING, *VALIDATION)),
    ],
)
def test_keys_have_the_names_that_the_zoo_asks_for(repository: Path, config: str, wanted: tuple[str, ...]) -> None:
    parser = ConfigParser()
    parser.read_config(str(repository / "configs" / f"{config}.json"))
    assert [key for key in wanted if key not in parser] == []


def test_properties_of_the_inference_workflow(repository: Path, tmp_path: Path) -> None:
    workflow = create_workflow(
        config_file=str(repository / "configs" / "inference.json"),
        workflow_type="inference",
        bundle_root=str(repository),
        logging_file=str(repository / "configs" / "logging.conf"),
        meta_file=str(repository / "configs" / "metadata.json"),
        dataset_dir=str(tmp_path),
        output_dir=str(tmp_path / "out"),
    )
    # the app of the metadata brings its own properties, which the zoo keeps; these are MONAI's
    assert workflow.version == _metadata(repository)["version"] and workflow.network_def is not None


@pytest.mark.slow
def test_shapes_and_the_export_of_the_weights_in_the_folder(repository: Path, tmp_path: Path) -> None:
    files = {"meta_file": str(repository / "configs" / "metadata.json"), "config_file": str(repository / "configs" / "inference.json")}
    verify_net_in_out(net_id="network_def", **files, bundle_root=str(repository))
    exported = tmp_path / "verify_model.ts"
    ckpt_export(net_id="network_def", filepath=exported, ckpt_file=str(repository / "models" / "model.pt"), **files)
    assert torch.jit.load(str(exported))(torch.zeros(1, 1, 16, 16, 16)).shape == (1, 4, 16, 16, 16)
