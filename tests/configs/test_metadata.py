"""`configs/metadata.json` meets MONAI's schema and says what the configs and the package say."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

import bundle
from bundle import labels


def _json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_metadata_meets_monais_schema(repository, shared_data):
    import jsonschema

    schema = _json(shared_data / "schema" / "meta_schema_20240725.json")
    jsonschema.validate(_json(repository / "configs" / "metadata.json"), schema)


def test_channel_def_follows_from_the_labels_of_both_configs(repository):
    metadata = _json(repository / "configs" / "metadata.json")
    prediction = metadata["network_data_format"]["outputs"]["pred"]
    for config in ("train.json", "inference.json"):
        block = _json(repository / "configs" / config)["labels"]
        assert prediction["channel_def"] == labels.channel_def(block), config
        assert prediction["num_channels"] == len(block), config


def test_version_is_the_packages_and_stands_in_the_changelog(repository):
    metadata = _json(repository / "configs" / "metadata.json")
    assert metadata["version"] == bundle.__version__
    assert metadata["version"] in metadata["changelog"]


def test_pinned_versions_are_those_of_the_constraints(repository):
    metadata = _json(repository / "configs" / "metadata.json")
    pins = dict(line.split("==") for line in (repository / "constraints.txt").read_text(encoding="utf-8").split() if "==" in line)
    stated = {"monai": metadata["monai_version"], "torch": metadata["pytorch_version"], "numpy": metadata["numpy_version"]}
    stated |= metadata["required_packages_version"]
    assert {name: pins[name] for name in stated} == stated


def test_every_required_package_is_installed_by_setup_cfg(repository):
    metadata = _json(repository / "configs" / "metadata.json")
    text = (repository / "setup.cfg").read_text(encoding="utf-8")
    block = text.split("install_requires =")[1].split("\n[")[0]
    installed = set(re.findall(r"^\s+([A-Za-z0-9_-]+)>=", block, flags=re.MULTILINE))
    assert set(metadata["required_packages_version"]) | {"torch", "monai", "numpy"} == installed


@pytest.mark.parametrize(("key", "file"), [("weights", "models/model.pt"), ("fast_weights", "models/fast/model.pt")])
def test_weights_are_those_that_the_metadata_names(repository, key, file):
    digest = hashlib.sha256((repository / file).read_bytes()).hexdigest()
    stated = _json(repository / "configs" / "metadata.json")[key]
    assert stated["file"] == file and stated["sha256"] == digest
    assert f'path: "{file}"\n    url: ""\n    hash_val: "{digest}"' in (repository / "large_files.yml").read_text(encoding="utf-8")
