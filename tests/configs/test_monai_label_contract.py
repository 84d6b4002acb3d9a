"""What MONAI Label 0.8.5 asks of the configs, without a server: ids, names, and transforms run one by one as the server does.

`make test-monai-label` holds the rest against the real server.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.bundle import ConfigParser
from monai.engines import Evaluator
from monai.transforms import Compose, Invertd, LoadImaged, SaveImaged

from bundle import labels as label_block
from bundle.handlers import ValidationHandler
from bundle.networks import AttentionUnet
from bundle.serving.monai_label import MODEL


@pytest.fixture(scope="module")
def configs(request: pytest.FixtureRequest) -> Path:
    return Path(request.getfixturevalue("repository")) / "configs"


def as_the_server_reads(configs: Path, **displayable: Any) -> ConfigParser:
    """inference.json as `BundleInferTask` holds it: the device is a plain string, the root is the served folder."""
    parser = ConfigParser()
    parser.read_config(str(configs / "inference.json"))
    parser.config.update({"bundle_root": "/served/model", "use_click": False, "device": "cpu"})
    parser["displayable_configs"].update(displayable)
    parser.parse()
    return parser


def content(configs: Path, name: str) -> dict[str, Any]:
    return json.loads((configs / name).read_text(encoding="utf-8"))


def test_metadata_names_what_the_server_looks_for(configs: Path) -> None:
    formats = content(configs, "metadata.json")["network_data_format"]
    assert next(iter(formats["inputs"])) == "image" and next(iter(formats["outputs"])) == "pred"
    assert len(formats["inputs"]["image"]["spatial_shape"]) == 3
    labels = content(configs, "inference.json")["labels"]
    assert formats["outputs"]["pred"]["channel_def"] == label_block.channel_def(labels)
    # viewers take the channel's number for the value in the label map
    assert label_block.output_values(labels) == list(range(len(labels)))


def test_the_servers_names_choose_the_right_task() -> None:
    assert not any(word in MODEL for word in ("deepedit", "deepgrow", "detection", "classification"))


def test_no_weights_are_served_before_model_pt(repository: Path) -> None:
    others = [file.name for file in (repository / "models").glob("*.pt") if file.name != "model.pt"]
    assert all(len(name) > len("model.pt") for name in others), others


def test_options_can_be_shown_and_changed_in_the_viewer(configs: Path) -> None:
    parser = as_the_server_reads(configs)
    options = parser.get_parsed_content("displayable_configs", instantiate=True)
    assert set(options) == {"memory_gb", "test_time_flips", "largest_component", "quality_record"}
    # 3D Slicer's table knows these; None would be an empty cell that comes back as text
    assert all(isinstance(value, (bool, int, float, str)) for value in options.values())
    changed = as_the_server_reads(configs, memory_gb=7.5, test_time_flips=True)
    inferer = changed.get_parsed_content("inferer", instantiate=True)
    assert inferer.memory_gb == 7.5 and inferer.flips is True
    assert parser.get_parsed_content("inferer", instantiate=True).flips is False


def test_largest_component_and_record_come_and_go_with_their_options(configs: Path) -> None:
    def names(**options: bool) -> list[str]:
        steps = as_the_server_reads(configs, **options).get_parsed_content("postprocessing", instantiate=True).transforms
        return [type(step).__name__ for step in steps]

    assert names() == ["RestoreLabelsd", "KeepPiecesd", "ProbabilitiesForScoringd"]
    assert names(largest_component=True).count("KeepPiecesd") == 2
    assert {"NoteConfidenced", "QualityRecordd"} <= set(names(quality_record=True))


def test_loading_and_saving_stand_at_the_top_level(configs: Path) -> None:
    parser = as_the_server_reads(configs)
    loads = parser.get_parsed_content("preprocessing", instantiate=True).transforms
    assert sum(isinstance(step, LoadImaged) for step in loads) == 1
    for step in [*loads, *parser.get_parsed_content("postprocessing", instantiate=True).transforms]:
        assert not isinstance(step, Compose), "the server looks into no nested pipeline"
        inner = [value for value in vars(step).values() if isinstance(value, (LoadImaged, SaveImaged))]
        assert not inner, f"{type(step).__name__} hides {inner}"


class Bright(torch.nn.Module):
    """Stands in for the network: channel 1 wins where the image is brighter than the body's mean."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([-x, x, torch.full_like(x, -99), torch.full_like(x, -99)], 1)


def served(configs: Path, scan: Path, drop: tuple[type, ...] = (SaveImaged,), **options: Any) -> dict[str, Any]:
    """One scan through the transforms, one by one, with the strings that the server leaves in the dictionary."""
    parser = as_the_server_reads(configs, **options)
    data: dict[str, Any] = {"image": str(scan), "image_path": str(scan), "device": "cpu", "model": MODEL, **options}
    for step in parser.get_parsed_content("preprocessing", instantiate=True).transforms:
        if isinstance(step, LoadImaged):
            step._loader.image_only = False
        data = step(data)
    data["pred"] = parser.get_parsed_content("inferer", instantiate=True)(data["image"][None], Bright())[0]
    for step in parser.get_parsed_content("postprocessing", instantiate=True).transforms:
        if not isinstance(step, drop):
            data = step(data)
    return data


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """An LPS scan of anisotropic voxels: a body with one bright box, off centre along every axis."""
    hu = np.full((40, 36, 20), -1000, dtype=np.int16)
    hu[4:36, 4:32, 2:18] = 0
    hu[8:20, 18:28, 4:9] = 250
    nibabel.save(nibabel.Nifti1Image(hu, np.diag([-2.0, -2.0, 4.0, 1.0])), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def test_label_map_lies_where_the_bright_box_is(configs: Path, scan: Path) -> None:
    data = served(configs, scan)
    found, image = data["pred"], nibabel.load(scan)
    assert found.dtype == torch.uint8 and tuple(found.shape) == (1, *image.shape)
    assert np.array_equal(np.asarray(found[0]) == 1, np.asanyarray(image.dataobj) == 250)
    assert list(data["image"].meta["spatial_shape"]) == list(image.shape), "the server would resize"


@pytest.mark.parametrize("codes", ["RAS", "SPL", "IAR"])
def test_axis_order_of_the_file_does_not_matter(configs: Path, scan: Path, tmp_path: Path, codes: str) -> None:
    image = nibabel.load(scan)
    turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(codes))
    turned = image.as_reoriented(turn)
    nibabel.save(turned, tmp_path / "turned.nii.gz")
    found = np.asarray(served(configs, tmp_path / "turned.nii.gz")["pred"][0])
    assert np.array_equal(found == 1, np.asanyarray(turned.dataobj) == 250)


def test_quality_record_is_json(configs: Path, scan: Path) -> None:
    record = json.loads(json.dumps(served(configs, scan, quality_record=True)["result"]))
    # 12 x 10 x 5 voxels of 2 x 2 x 4 mm
    assert record["structures"]["pancreas"]["volume_ml"] == pytest.approx(9.6)
    assert record["structures"]["pancreas"]["mean_hu"] == 250 and "spleen: not found" in record["reasons"]


def test_scoring_sees_probabilities(configs: Path, scan: Path) -> None:
    data = served(configs, scan, drop=(SaveImaged, Invertd))
    assert data["pred"].shape[0] == 4 and torch.allclose(data["pred"].sum(0), torch.ones(()), atol=1e-5)
    assert list(data["image"].meta["spatial_shape"]) == list(data["pred"].shape[1:])


def test_scoring_sets_the_dropout_of_the_network(configs: Path) -> None:
    parser = as_the_server_reads(configs)
    parser["network_def"]["dropout"] = 0.2
    parser.parse()
    network = parser.get_parsed_content("network_def", instantiate=True)
    assert isinstance(network, AttentionUnet)
    assert network.state_dict().keys() == AttentionUnet(3, 1, 4).state_dict().keys()
    assert next(module.p for module in network.modules() if "Dropout" in type(module).__name__) == 0.2
    # the inferer must leave training mode alone, or every sample would be the same
    torch.manual_seed(0)
    image = torch.randn(1, 1, 16, 16, 16)
    inferer = parser.get_parsed_content("inferer", instantiate=True)
    network.train()
    assert not torch.equal(inferer(image, network), inferer(image, network)) and network.training


TRAIN_IDS = ("bundle_root", "output_dir", "device", "network_def", "network", "run", "train#trainer#max_epochs", "train#dataset#data")
TRAIN_IDS += ("train#handlers", "validate#dataset#data", "validate#evaluator", "validate#handlers")


@pytest.mark.parametrize("name", TRAIN_IDS)
def test_training_config_has_what_the_server_replaces_or_reads(configs: Path, name: str) -> None:
    parser = ConfigParser(content(configs, "train.json"))
    assert name in parser


def test_training_handlers_are_a_list_the_server_can_add_to(configs: Path) -> None:
    config = content(configs, "train.json")
    handlers = config["train"]["handlers"]
    assert isinstance(handlers, list) and config["train"]["trainer"]["train_handlers"] == "@train#handlers"
    # even a disabled one keeps the server from loading the current weights
    assert "CheckpointLoader" not in [handler["_target_"] for handler in handlers]
    assert "displayable_configs" not in config, "every key of it would be mandatory in a request"
    handlers = [{key: value for key, value in handler.items() if key != "_desc_"} for handler in handlers]
    short = {"_target_": "bundle.handlers.SaveUnvalidated", "saver": "@saver", "evaluator": "@validate#evaluator"}
    assert short in handlers, "two labels leave no validation case, and model.pt would stay as it is"


def test_validation_saves_what_the_server_loads_again(configs: Path) -> None:
    config = content(configs, "train.json")
    saver = config["saver"]
    assert "@saver" in config["validate"]["handlers"]
    assert saver["_target_"].endswith("CheckpointSaver") and saver["save_dict"] == {"model": "@network"}
    assert saver["save_key_metric"] is True and saver["key_metric_filename"] == "model.pt"
    assert len(saver["keep_original"]) > len("model.pt")
    assert saver["save_dir"] == "@ckpt_dir" and config["ckpt_dir"] == "$@bundle_root + '/models'"


def test_one_epoch_has_its_validation(configs: Path) -> None:
    """The server overrides max_epochs alone: the last epoch is validated although the interval is longer."""
    handlers = [one for one in content(configs, "train.json")["train"]["handlers"] if one["_target_"].endswith("ValidationHandler")]
    assert handlers and all(one["interval"] == "@val_interval" and one["epoch_level"] for one in handlers)
    validated = []
    validator, trainer = Evaluator(torch.device("cpu"), [0]), Engine(lambda engine, batch: None)
    validator.run = lambda epoch: validated.append(epoch)
    ValidationHandler(interval=5, validator=validator, epoch_level=True).attach(trainer)
    trainer.run([0], max_epochs=1)
    assert validated == [1]


@pytest.mark.parametrize("name", ["train.json", "inference.json"])
def test_run_stands_once(configs: Path, name: str) -> None:
    """Viewers ask for the run "" (nothing), for which MONAI runs the whole config: two lists that run would train twice."""
    config = content(configs, name)
    assert [key for key, value in config.items() if isinstance(value, list) and any(".run()" in str(one) for one in value)] == ["run"]


def test_network_takes_a_dropout() -> None:
    assert "dropout" in inspect.signature(AttentionUnet).parameters
