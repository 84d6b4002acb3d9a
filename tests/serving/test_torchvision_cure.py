"""The cure for a torchvision of another build."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# a torchvision that needs its operators declared, as the CUDA build does beside a CPU torch
NEEDS_OPERATORS = """
import torch
for name in ("nms", "qnms"):
    torch._C._dispatch_has_kernel_for_dispatch_key(f"torchvision::{name}", "Meta")
"""
# first without the cure, which leaves no module behind
PROGRAM = """
try:
    import torchvision
except RuntimeError as error:
    print(str(error).splitlines()[0])
import cure, torchvision
print(torchvision.__name__)
"""


def test_cure_declares_the_operators_before_the_import(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(NEEDS_OPERATORS)
    (tmp_path / "cure.py").write_text((repository / "bundle" / "serving" / "torchvision_cure.py").read_text(encoding="utf-8"))
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    without, after = done.stdout.splitlines()
    assert "nms does not exist" in without and after == "torchvision"
