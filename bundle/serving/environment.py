"""A Python environment of its own for MONAI Label, which needs an older numpy and pydicom than the bundle does."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import bundle
from bundle.errors import UserError

DEFAULT = ".venv-monai-label"
# The pins are a whole environment, so nothing needs to be resolved: pip would weigh versions of MONAI's many extras for minutes.
# torch first and alone, so that what comes after cannot choose another build of it.
STEPS = (
    ("torch==2.13.0", "--constraint", "{pins}"),
    ("--no-deps", "--requirement", "{pins}"),
)
CURE = "torchvision_cure"
VERSIONS = ((3, 11), (3, 12))


def install(directory: str = "", python: str = "") -> str:
    """Build the server's environment, or leave it as it is where it is already built: about 2 minutes and 4 GB.

    The versions are those of `constraints-monai-label.txt`, with which the end-to-end test ran.

    Args:
        directory: where to; by default `.venv-monai-label` in the bundle's folder.
        python: interpreter to build it with, by default this one; numpy before 2 asks for Python 3.11 or 3.12.

    Returns:
        the environment's Python interpreter.

    Raises:
        UserError: a step of the installation failed, the folder holds something else, or the interpreter is missing or of another version.
    """
    folder = Path(directory or Path(bundle.root()) / DEFAULT).resolve()
    constraints = Path(bundle.root()) / "constraints-monai-label.txt"
    inside, stamp = interpreter(folder), folder / "bundle-stamp"
    wanted = hashlib.sha256(constraints.read_bytes() + repr(STEPS).encode() + Path(__file__).read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted and inside.exists():
        print(f"environment ready: {folder}")
        return str(inside)
    if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").exists():
        raise UserError(folder, "exists and is not a virtual environment", "name a folder that does not exist yet")
    base = located(python) if python else sys.executable
    _check_version(base)
    stamp.unlink(missing_ok=True)
    _run([base, "-m", "venv", "--clear", str(folder)], folder)
    for arguments in STEPS:
        _run([str(inside), "-m", "pip", "install", "--quiet", *(part.format(pins=constraints) for part in arguments)], folder)
    _cure_torchvision(inside)
    _run([str(inside), "-c", "import monailabel.main, torchvision"], folder)
    stamp.write_text(wanted, encoding="utf-8")
    print(f"environment built: {folder}")
    return str(inside)


def interpreter(folder: Path) -> Path:
    """Where the Python interpreter of an environment is."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def located(python: str) -> str:
    """The absolute path of an interpreter that a user named, as the server starts in a folder of its own.

    Raises:
        UserError: there is no such program.
    """
    found = shutil.which(python)
    if found is None:
        raise UserError("--python", f"there is no program {python}", "give the path of a Python interpreter")
    return os.path.abspath(found)


def _check_version(python: str) -> None:
    """Refuse an interpreter for which the pinned packages do not exist, before minutes of downloads."""
    asked = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=False)
    version = tuple(int(word) for word in asked.stdout.split())
    if version not in VERSIONS:
        found = ".".join(map(str, version)) or "no Python"
        raise UserError(python, f"MONAI Label's packages are pinned for Python 3.11 and 3.12, this is {found}", "--python python3.11")


def _run(command: list[str], folder: Path) -> None:
    print(" ".join(command[:6]), "...", flush=True)
    if subprocess.run(command, check=False).returncode:
        raise UserError(folder, f"'{' '.join(command)}' failed, see above", "correct the reported problem, then run this again")


def _cure_torchvision(python: Path) -> None:
    """Where torchvision was built for CUDA and torch for the CPU, let the one import together with the other."""
    if subprocess.run([str(python), "-c", "import torchvision"], capture_output=True, check=False).returncode == 0:
        return
    where = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True, check=True
    )
    packages = Path(where.stdout.strip())
    shutil.copyfile(Path(__file__).with_name(f"{CURE}.py"), packages / f"bundle_{CURE}.py")
    # a line of a .pth file that starts with "import" runs with every start of the interpreter
    (packages / f"bundle_{CURE}.pth").write_text(f"import bundle_{CURE}\n", encoding="utf-8")
