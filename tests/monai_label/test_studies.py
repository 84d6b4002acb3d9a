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
try:
    studies.save_label("ct", str(folder.parent / "two.nii.gz"), "final", {})
except OSError as error:
    print(error.strerror)
"""


def test_a_label_that_has_no_room_leaves_the_former_one(tmp_path: Path, repository: Path) -> None:
    studies = tmp_path / "studies"
    studies.mkdir()
    (studies / "ct.nii.gz").write_bytes(b"scan")
    (tmp_path / "one.nii.gz").write_bytes(b"corrected by hand")
    (tmp_path / "two.nii.gz").write_bytes(b"x" * 5000)
    command = [os.environ["MONAI_LABEL_PYTHON"], "-c", CODE, str(studies)]
    done = subprocess.run(command, cwd=repository, env=server_environment(), capture_output=True, text=True, timeout=300)
    assert "File too large" in done.stdout, done.stderr
    label = studies / "labels" / "final" / "ct.nii.gz"
    assert label.read_bytes() == b"corrected by hand" and [path.name for path in label.parent.iterdir()] == ["ct.nii.gz"]
