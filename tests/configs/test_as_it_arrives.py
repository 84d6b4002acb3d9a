"""The bundle as the model zoo hands it out: a folder or zip that nobody installed, used from anywhere, beside other copies of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import nibabel
import pytest
from small_scans import nifti

PARTS = ("bundle", "configs", "models", "docs", "LICENSE")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter that has every package of this environment but the bundle."""
    folder = tmp_path_factory.mktemp("environment")
    venv.EnvBuilder(with_pip=False, symlinks=os.name == "posix").create(folder)
    interpreter = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    asked = [str(interpreter), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    # a path in a .pth file is searched, but the .pth files in it (such as those of editable installs) are not read
    (site / "packages.pth").write_text(sysconfig.get_path("purelib"))
    if _run([str(interpreter), "-c", "import bundle"], folder).returncode == 0:
        pytest.skip("the bundle is installed as a copy, which such an environment has as well")
    return str(interpreter)


@pytest.fixture(scope="module")
def arrived(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle zipped, and unpacked elsewhere."""
    folder = tmp_path_factory.mktemp("arrived")
    _copy(repository, folder / "packed" / "attention_unet")
    archive = shutil.make_archive(str(folder / "attention_unet"), "zip", folder / "packed", "attention_unet")
    shutil.unpack_archive(archive, folder / "downloads")
    return folder / "downloads" / "attention_unet"


def _copy(repository: Path, to: Path) -> Path:
    to.mkdir(parents=True)
    for part in PARTS:
        if (repository / part).is_dir():
            shutil.copytree(repository / part, to / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(repository / part, to / part)
    return to


def _run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess:
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "COVERAGE_PROCESS_START")}
    environment = {**kept, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", **environment}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def _script(text: str, python: str, folder: Path, **environment: str) -> dict[str, str]:
    """What a script that prints one JSON object prints."""
    done = _run([python, "-W", "ignore", "-c", text], folder, **environment)
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout.splitlines()[-1]), "stderr": done.stderr}


WORKFLOWS = """
import json, sys
from monai.bundle import ConfigWorkflow, create_workflow, load, load_bundle_config
root, archive, data = {root!r}, {archive!r}, {data!r}
said = {{}}
workflow = create_workflow(config_file=root + "/configs/inference.json", workflow_type="inference", logging_file=False)
import bundle
said["code"] = bundle.root()
said["root"], said["network"] = workflow.bundle_root, type(workflow.network_def).__module__
said["weights"] = workflow.parser.get_parsed_content("ckpt_path")
training = ConfigWorkflow(root + "/configs/train.json", logging_file=False, dataset_dir=data, cache_dir=None, output_dir=data + "/out")
training.initialize()
said["missing"] = training.check_properties()
said["epochs"] = training.max_epochs
training.max_epochs = 3
training.bundle_root = "elsewhere"
training.initialize()
said["set"] = [training.max_epochs, training.bundle_root, training.trainer.state.max_epochs]
loaded = load("attention_unet", bundle_dir=str(__import__("pathlib").Path(root).parent), device="cpu")
said["loaded"] = type(loaded).__name__
said["zipped"] = list(load_bundle_config(archive, "train.json").get("labels"))
print(json.dumps(said))
"""


@pytest.mark.slow
def test_workflows_of_a_folder_that_is_not_installed(python: str, arrived: Path, tmp_path: Path, write_cases) -> None:
    data = write_cases(tmp_path / "data", range(1, 4))
    text = WORKFLOWS.format(root=str(arrived), archive=str(arrived.parents[1] / "attention_unet.zip"), data=str(data))
    said = _script(text, python, tmp_path)
    assert said["code"] == said["root"] == str(arrived)
    assert said["weights"] == str(arrived / "models" / "model.pt")
    assert said["network"] == "bundle.networks.attention_unet" and said["loaded"] == "AttentionUnet"
    assert said["missing"] == [] and said["epochs"] == 1000 and said["set"] == [3, "elsewhere", 3]
    assert said["zipped"] == ["background", "pancreas", "spleen", "kidney"]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["elsewhere", "parent", "configs", "bundle_root"])
def test_inference_from_any_folder(python: str, arrived: Path, tmp_path: Path, where: str) -> None:
    nifti(tmp_path / "data" / "scan.nii.gz")
    folder, config = {
        "elsewhere": (tmp_path, arrived / "configs" / "inference.json"),
        "parent": (arrived.parent, "attention_unet/configs/inference.json"),
        "configs": (arrived / "configs", "inference.json"),
        "bundle_root": (tmp_path, arrived / "configs" / "inference.json"),
    }[where]
    command = [python, "-m", "monai.bundle", "run", "inference", "--config_file", str(config), "--dataset_dir", str(tmp_path / "data")]
    command += ["--output_dir", str(tmp_path / "out"), "--previews", "false"]
    command += ["--bundle_root", str(arrived)] if where == "bundle_root" else []
    done = _run(command, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert nibabel.load(tmp_path / "out" / "scan_seg.nii.gz").shape == nibabel.load(tmp_path / "data" / "scan.nii.gz").shape
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_training_and_a_mistake_from_elsewhere(python: str, arrived: Path, tmp_path: Path, write_cases) -> None:
    data = write_cases(tmp_path / "data", range(1, 4))
    command = [python, "-m", "monai.bundle", "run", "training", "--config_file", str(arrived / "configs" / "train.json")]
    command += [
        "--dataset_dir",
        str(data),
        "--output_dir",
        str(tmp_path / "out"),
        "--ckpt_dir",
        str(tmp_path / "out"),
        "--cache_dir",
        "None",
    ]
    command += ["--network_def#channels", "[4,4,8,8,8]", "--patch_size", "[16,16,16]", "--max_epochs", "1", "--val_interval", "1"]
    done = _run([*command, "--num_workers", "0"], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "model.pt").is_file()
    done = _run([*command, "--learing_rate", "0.1"], tmp_path)
    assert done.returncode == 2 and "did you mean learning_rate?" in done.stderr
    assert "Traceback" not in done.stderr


TWO = """
import json
from monai.bundle import ConfigWorkflow
def begin(root):
    workflow = ConfigWorkflow(root + "/configs/inference.json", logging_file=False, workflow_type="infer")
    try:
        workflow.initialize()
        return workflow.parser.get_parsed_content("ckpt_path")
    except Exception as error:
        while error.__cause__ is not None:
            error = error.__cause__
        return f"{{type(error).__name__}}: {{error}}"
said = {{"ran": [begin(root) for root in {roots!r}]}}
import bundle
said["version"], said["code"] = bundle.__version__, bundle.root()
print(json.dumps(said))
"""


@pytest.fixture
def another(arrived: Path, tmp_path: Path) -> Path:
    """Another copy, with other code."""
    other = _copy(arrived, tmp_path / "another")
    code = (other / "bundle" / "__init__.py").read_text(encoding="utf-8")
    (other / "bundle" / "__init__.py").write_text(code + '\n__version__ = "another"\n', encoding="utf-8")
    return other


@pytest.mark.slow
def test_the_code_beside_the_config_runs_and_not_the_installed_one(python: str, arrived: Path, another: Path, tmp_path: Path) -> None:
    said = _script(TWO.format(roots=[str(another)]), python, tmp_path, PYTHONPATH=str(arrived))
    assert said["version"] == "another" and said["code"] == str(another) and said["ran"] == [str(another / "models" / "model.pt")]
    lines = [line for line in said["stderr"].splitlines() if line.startswith("bundle: ")]
    assert lines == [f"bundle: the code next to the config runs ({another}), not that of {arrived}"]


@pytest.mark.slow
def test_two_bundles_in_one_process(python: str, arrived: Path, another: Path, tmp_path: Path) -> None:
    copy = _copy(arrived, tmp_path / "copy")
    said = _script(TWO.format(roots=[str(arrived), str(another), str(copy), str(arrived)]), python, tmp_path)
    first, refused, same, again = said["ran"]
    assert first == again == str(arrived / "models" / "model.pt")
    assert same == str(copy / "models" / "model.pt"), "a copy of the same code brings its own weights"
    assert refused.startswith(f"UserError: {another / 'configs'}: its own code is not what runs: that of {arrived} is loaded")


def test_a_config_away_from_any_code_uses_the_code_that_is_there(repository: Path, tmp_path: Path) -> None:
    from monai.bundle import ConfigWorkflow

    shutil.copy(repository / "configs" / "inference.json", tmp_path / "mine.json")
    workflow = ConfigWorkflow(str(tmp_path / "mine.json"), logging_file=False, workflow_type="infer")
    workflow.initialize()
    assert workflow.bundle_root == str(repository)
    # configs with weights beside them are a bundle whose code is elsewhere: their weights are meant
    shutil.copytree(repository / "configs", tmp_path / "served" / "configs")
    (tmp_path / "served" / "models").mkdir()
    workflow = ConfigWorkflow(str(tmp_path / "served" / "configs" / "inference.json"), logging_file=False, workflow_type="infer")
    workflow.initialize()
    assert workflow.bundle_root == str(tmp_path / "served")


def test_this_interpreter_has_the_code_of_this_checkout(repository: Path) -> None:
    import bundle

    assert bundle.root() == str(repository) and sys.modules["bundle"] is bundle
