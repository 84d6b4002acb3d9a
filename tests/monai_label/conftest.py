"""What the end-to-end test stands on: a served copy of the bundle, scans in several axis orders, labels, the server.

`make test-monai-label` builds the server's environment and names its interpreter in MONAI_LABEL_PYTHON.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import nibabel
import pytest
from label_scans import around, in_axis_order, turned
from label_server import Server

from bundle.data.synthetic.phantom import write_phantom
from bundle.serving.monai_label import MODEL, server_command, server_environment

CASES = 6
LABELLED = tuple(f"abdomen_00{number}" for number in (1, 2, 3, 4))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without an environment for the server these tests skip; elsewhere they run in the order of the file."""
    if not os.environ.get("MONAI_LABEL_PYTHON"):
        for item in items:
            if Path(item.fspath).is_relative_to(Path(__file__).parent):
                item.add_marker(pytest.mark.skip(reason="needs a MONAI Label server: make test-monai-label"))


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A neutral folder: no checkout, no `.venv` beside it."""
    return tmp_path_factory.mktemp("monai_label")


@pytest.fixture(scope="session")
def phantom(work: Path) -> Path:
    """Six small synthetic abdomens with labels, in thick slices (anisotropic)."""
    return write_phantom(work / "phantom", cases=CASES, seed=7, max_voxels=4e5, progress=False)


@pytest.fixture(scope="session")
def studies(work: Path, phantom: Path, labels: Path) -> Path:
    """The datastore: four small scans to label, one more, and the first one in several axis orders and turned in space."""
    folder = work / "studies"
    folder.mkdir()
    for case in LABELLED:
        scan = nibabel.load(phantom / "imagesTr" / f"{case}.nii.gz")
        nibabel.save(around(scan, nibabel.load(phantom / "labelsTr" / f"{case}.nii.gz")), folder / f"{case}.nii.gz")
    shutil.copyfile(phantom / "imagesTr" / "abdomen_005.nii.gz", folder / "abdomen_005.nii.gz")
    scan = nibabel.load(phantom / "imagesTr" / "abdomen_000.nii.gz")
    for name, codes in (("lps", "LPS"), ("permuted", "SAR")):
        nibabel.save(in_axis_order(scan, codes), folder / f"{name}.nii.gz")
    nibabel.save(turned(scan, degrees=12), folder / "oblique.nii.gz")
    return folder


@pytest.fixture(scope="session")
def labels(work: Path, phantom: Path) -> Path:
    """Label maps of the small scans."""
    folder = work / "labels"
    folder.mkdir()
    for case in LABELLED:
        label = nibabel.load(phantom / "labelsTr" / f"{case}.nii.gz")
        nibabel.save(around(label, label), folder / f"{case}.nii.gz")
    return folder


@pytest.fixture(scope="session")
def app(work: Path, repository: Path) -> Path:
    """MONAI Label's own `monaibundle` app with a copy of this repository as its model, as people lay it out by hand."""
    sample = Path(os.environ["MONAI_LABEL_PYTHON"]).parent.parent / "monailabel" / "sample-apps" / "monaibundle"
    folder = work / "app"
    shutil.copytree(sample, folder, ignore=shutil.ignore_patterns("model", "logs", "__pycache__"))
    ignored = shutil.ignore_patterns(".*", "runs", "eval", "data", "__pycache__", "*.egg-info")
    shutil.copytree(repository, folder / "model" / MODEL, ignore=lambda at, names: ignored(at, names) if at == str(repository) else set())
    return folder


@pytest.fixture(scope="session")
def model(app: Path) -> Path:
    """The served copy of the bundle."""
    return app / "model" / MODEL


@pytest.fixture(scope="session")
def server(work: Path, app: Path, studies: Path) -> Iterator[Server]:
    """The server, with epistemic scoring; scoring runs when a test asks for it, not on its own."""
    command = server_command(os.environ["MONAI_LABEL_PYTHON"], app, str(studies), scoring="epistemic", samples=2)
    variables = {"MONAI_LABEL_AUTO_UPDATE_SCORING": "false", "MONAI_LABEL_SESSION_PATH": str(work / "sessions")}
    reports = {key: value for key, value in server_environment().items() if key not in os.environ}
    with Server(command, work / "server", variables | reports) as started:
        started.wait_until_ready()
        yield started
