"""A Python environment of its own for MONAI Label, which needs an older numpy and pydicom than the bundle does."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import bundle
from bundle.errors import UserError

DEFAULT = ".venv-monai-label"
# torch first and alone, so that what comes after cannot choose another build of it
STEPS = (
    ("torch==2.13.0",),
    ("torch==2.13.0", "numpy<2", "pydicom<3", "databricks-sdk==0.156.0", "monai==1.6.1", "monailabel==0.8.5"),
)
CURE = "torchvision_cure"


def install(directory: str = "") -> str:
    """Build the server's environment, or leave it as it is where it is already built: about 4 minutes and 4 GB.

    The versions are those of `constraints-monai-label.txt`, with which the end-to-end test ran.

    Args:
        directory: where to; by default `.venv-monai-label` in the bundle's folder.

    Returns:
        the environment's Python interpreter.

    Raises:
        UserError: a step of the installation failed, or the folder holds something else.
    """
    folder = Path(directory or Path(bundle.root()) / DEFAULT).resolve()
    constraints = Path(bundle.root()) / "constraints-monai-label.txt"
    python, stamp = interpreter(folder), folder / "bundle-stamp"
    wanted = hashlib.sha256(constraints.read_bytes() + repr(STEPS).encode() + Path(__file__).read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted and python.exists():
        print(f"environment stands: {folder}")
        return str(python)
    if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").exists():
        raise UserError(folder, "is not empty and no environment", "name a folder that does not exist yet")
    stamp.unlink(missing_ok=True)
    venv.create(folder, with_pip=True)
    for packages in STEPS:
        _run([str(python), "-m", "pip", "install", "--constraint", str(constraints), *packages], folder)
    _cure_torchvision(python)
    _run([str(python), "-c", "import monailabel.main, torchvision"], folder)
    stamp.write_text(wanted)
    print(f"environment built: {folder}")
    return str(python)


def interpreter(folder: Path) -> Path:
    """Where the Python interpreter of an environment lies."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _run(command: list[str], folder: Path) -> None:
    print(" ".join(command[:6]), "...", flush=True)
    if subprocess.run(command, check=False).returncode:
        raise UserError(folder, f"'{' '.join(command)}' failed, see above", "correct what it says and start again")


def _cure_torchvision(python: Path) -> None:
    """Where torchvision was built for CUDA and torch for the CPU, let the one import beside the other."""
    if subprocess.run([str(python), "-c", "import torchvision"], capture_output=True, check=False).returncode == 0:
        return
    where = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True, check=True
    )
    packages = Path(where.stdout.strip())
    shutil.copyfile(Path(__file__).with_name(f"{CURE}.py"), packages / f"bundle_{CURE}.py")
    # a line of a .pth file that starts with "import" runs with every start of the interpreter
    (packages / f"bundle_{CURE}.pth").write_text(f"import bundle_{CURE}\n")
