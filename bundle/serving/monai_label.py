"""The verb `monai-label`: a MONAI Label server with this bundle, with the flags it needs."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import bundle
from bundle.errors import UserError
from bundle.serving import guard
from bundle.serving.environment import DEFAULT, interpreter, located
from bundle.serving.guard import is_loopback
from bundle.serving.served_copy import WEIGHTS, update, write_main
from bundle.serving.studies import not_offered

# must not contain deepedit, deepgrow, detection or classification: the server takes these for other kinds of models
MODEL = "attention_unet_abdomen"
# of another Python's; with origins of its own MONAI Label 0.8.5 does not start, and --origins is what counts
LEFT_OUT = ("PYTHONPATH", "PYTHONHOME", "MONAI_LABEL_CORS_ORIGINS")


def start(
    studies: str,
    *,
    port: int = 8000,
    host: str = "127.0.0.1",
    app: str = "",
    python: str = "",
    scoring: str = "",
    samples: int = 0,
    password_file: str = "",
    names: str = "",
    origins: str = "",
    dry_run: bool = False,
) -> int:
    """Serve this bundle to 3D Slicer or OHIF: segmentation, training on the labels that come back, choice of the next scan.

    The bundle is copied into the app's folder, and training changes that copy only. A later start brings configs, code and
    weights up to date and keeps the weights that were trained there and the files that were edited there.

    Args:
        studies: folder of scans (NIfTI, NRRD), or the address of a DICOMweb server.
        port: TCP port.
        host: 127.0.0.1 serves this machine only. Anything else, such as 0.0.0.0, serves other machines and needs a password.
        app: folder of the app; by default `runs/monai-label` in the bundle's folder.
        python: interpreter of the server's environment; by default this one if it has MONAI Label, else that of
            `.venv-monai-label` in the bundle's folder (the verb `monai-label-install` builds it).
        scoring: "epistemic" (dropout) or "doubt" (the quality record) scores unlabelled scans for active learning.
        samples: with epistemic scoring, how many scans at most in one round; 0 means all.
        password_file: a file whose first line is the password that viewers must give (any user name).
        names: other names of this machine by which viewers reach it, separated by commas.
        origins: pages of other servers that may use this one, such as http://viewer.example:3000, separated by commas.
        dry_run: prepare the app and print the command, but do not start it.

    Returns:
        the server's exit code.

    Raises:
        UserError: no MONAI Label, no such interpreter or folder of scans, no weights, an unknown scoring method, other machines without a
            password, or an app's folder that holds something else.
    """
    password = read_password(password_file)
    if not is_loopback(host) and not password:
        fix = f"give --password_file, or keep 127.0.0.1 and reach it from there by: ssh -L {port}:127.0.0.1:{port} this-machine"
        raise UserError("--host", f"{host} serves other machines, and everyone there could read and change the studies", fix)
    if "://" not in studies and not Path(studies).is_dir():
        raise UserError(studies, "is not a folder", "name the folder that holds the scans")
    for line in [] if "://" in studies else not_offered(Path(studies)):
        print(line, flush=True)
    server = find_python(python)
    folder = prepare(Path(app or Path(bundle.root()) / "runs" / "monai-label").resolve())
    where = studies if "://" in studies else str(Path(studies).resolve())
    command = server_command(server, folder, where, scoring=scoring, samples=samples)
    command += ["--host", host, "--port", str(port)]
    print(" ".join(command), flush=True)
    if dry_run:
        return 0
    try:
        # from the app's folder: a folder with a `bundle` of its own in the working directory would hide the served copy
        environment = server_environment() | guard_environment(host, names, origins, password)
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 0


def server_command(python: str, app: Path, studies: str, *, model: str = MODEL, scoring: str = "", samples: int = 0) -> list[str]:
    """The command that starts the server, without host and port."""
    conf = {"models": model, "zoo_source": "ngc", "sam2": "false"}
    if scoring == "epistemic":
        conf |= {"epistemic_model": model, "epistemic_max_samples": str(samples)}
    elif scoring == "doubt":
        conf["doubt"] = "true"
    elif scoring:
        raise UserError("--scoring", f"'{scoring}' is not a method", "use epistemic or doubt")
    command = [python, "-m", "monailabel.main", "start_server", "--app", str(app), "--studies", studies]
    return command + [word for key, value in conf.items() for word in ("--conf", key, value)]


def server_environment() -> dict[str, str]:
    """The environment variables of the server: nothing of another Python's, no reports of use to anyone, threads that wait."""
    inherited = {key: value for key, value in os.environ.items() if key not in LEFT_OUT}
    # viewer, server and training share one machine: threads that spin while they wait starve the others
    own = {"OMP_WAIT_POLICY": inherited.get("OMP_WAIT_POLICY", "PASSIVE")}
    return inherited | own | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "HF_HUB_DISABLE_TELEMETRY": "1"}


def guard_environment(host: str = "127.0.0.1", names: str = "", origins: str = "", password: str = "") -> dict[str, str]:
    """The environment variables that say who may ask the server: see `bundle.serving.guard.Rules`."""
    return {guard.HOST: host.lower(), guard.NAMES: _list(names), guard.ORIGINS: _list(origins), guard.PASSWORD: password}


def _list(words: str | tuple[str, ...]) -> str:
    # fire makes a tuple of words with commas
    each = words if isinstance(words, (tuple, list)) else str(words).split(",")
    return ",".join(str(word).strip().rstrip("/").lower() for word in each if str(word).strip())


def read_password(file: str) -> str:
    """The first line of a file, "" where none is named.

    Raises:
        UserError: the file cannot be read, or its first line is shorter than 8 characters.
    """
    if not file:
        return ""
    try:
        lines = Path(str(file)).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(file, f"cannot be read ({error})", "name a text file with the password in its first line") from error
    password = lines[0].strip() if lines else ""
    if len(password) < 8:
        raise UserError(file, f"its first line has {len(password)} characters", "write a password of 8 or more there")
    return password


def find_python(python: str = "") -> str:
    """An interpreter that has MONAI Label: the one given, this one, or that of the environment in the bundle's folder."""
    if python:
        return located(python)
    if importlib.util.find_spec("monailabel"):
        return sys.executable
    beside = interpreter(Path(bundle.root()) / DEFAULT)
    if beside.exists():
        return str(beside)
    raise UserError(beside, "there is no environment with MONAI Label", "python -m bundle monai-label-install (about 2 minutes)")


def prepare(app: Path, *, model: str = MODEL) -> Path:
    """Lay out the app: `main.py` and a copy of the bundle at `model/<name>`, whose trained weights stay.

    Raises:
        UserError: the bundle has no `models/model.pt`, or the folder holds something else.
    """
    source, target = Path(bundle.root()), app / "model" / model
    if not (source / WEIGHTS).exists() and not (target / WEIGHTS).exists():
        raise UserError(source / WEIGHTS, "there are no weights", "make weights, or make train")
    write_main(app, model)
    update(source, target)
    return app
