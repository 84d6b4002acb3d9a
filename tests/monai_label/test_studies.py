"""The server's folder of studies: what people have labelled is never lost."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bundle.serving.monai_label import server_environment

CODE = """
import resource, signal, sys
from pathlib import Path
from bundle.serving.checked import StudiesDatastore

folder = Path(sys.argv[1])
studies = StudiesDatastore(str(folder), extensions=["*.nii.gz"], auto_reload=False)
studies.save_label("ct", str(folder.parent / "one.nii.gz"), "final", {})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
two = str(folder.parent / "two.nii.gz")
for save in (lambda: studies.save_label("ct", two, "final", {}), lambda: studies.add_image("new", two, {})):
    try:
        save()
    except OSError as error:
        print(error.strerror)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
studies.add_image("other", two, {})
"""


def test_what_has_no_room_leaves_a_former_label_and_no_half_of_a_scan(tmp_path: Path, repository: Path) -> None:
    studies = tmp_path / "studies"
    studies.mkdir()
    (studies / "ct.nii.gz").write_bytes(b"scan")
    (tmp_path / "one.nii.gz").write_bytes(b"corrected by hand")
    (tmp_path / "two.nii.gz").write_bytes(b"x" * 5000)
    command = [os.environ["MONAI_LABEL_PYTHON"], "-c", CODE, str(studies)]
    done = subprocess.run(command, cwd=repository, env=server_environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout.count("File too large") == 2, done.stderr
    label = studies / "labels" / "final" / "ct.nii.gz"
    assert label.read_bytes() == b"corrected by hand" and [path.name for path in label.parent.iterdir()] == ["ct.nii.gz"]
    scans = {path.name: path.stat().st_size for path in studies.glob("*.nii.gz")}
    assert scans == {"ct.nii.gz": 4, "other.nii.gz": 5000} and not list(studies.rglob("*.unfinished"))
