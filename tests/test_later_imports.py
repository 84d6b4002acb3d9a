"""What MONAI imports and inference does not use: not there until something uses it, and then the thing itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import bundle
from bundle import later_imports

HEAVY = ("matplotlib", "sympy", "tensorboard.compat.proto.summary_pb2", "skimage.measure", "scipy.signal", "torch.distributed.optim")


def in_a_process(code: str, **environment: str) -> str:
    """What a fresh Python prints."""
    environment = {**os.environ, "PYTHONPATH": bundle.root(), **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


USE = f"""
import json, sys
from bundle import later_imports
with later_imports.deferred():
    import monai.bundle
heavy = [name for name in {HEAVY} if name in sys.modules]
finders = [type(finder).__name__ for finder in sys.meta_path]
from ignite.handlers import checkpoint
import torch
layer = torch.nn.Linear(1, 1)
plain = isinstance(layer, checkpoint.ZeroRedundancyOptimizer)
unloaded = "sympy" not in sys.modules
from monai.data import ultrasound_confidence_map as ultrasound
from monai.utils import jupyter_utils
from monai.transforms import utils as transforms
from monai.visualize import img2tensorboard
import numpy as np
mask = np.zeros((4, 4), int)
mask[:2, :2] = mask[3, 3] = 1
found = [
    len(transforms.measure.regionprops(transforms.measure.label(mask))),
    abs(ultrasound.hilbert(np.cos(np.arange(8) * np.pi / 2))).round(6).tolist(),
    img2tensorboard.Summary.Image(height=3).height,
    jupyter_utils.plt.__name__,
]
axes = jupyter_utils.plt.figure().add_subplot()
import matplotlib, matplotlib.pyplot, scipy.signal, torch.distributed.optim
same = [
    isinstance(axes, matplotlib.axes.Axes),
    jupyter_utils.plt.figure is matplotlib.pyplot.figure,
    type(matplotlib.pyplot).__name__ == type(scipy.signal).__name__ == "module",
    callable(torch.distributed.optim.ZeroRedundancyOptimizer),
]
print(json.dumps([heavy, finders, plain, unloaded, transforms.has_measure, jupyter_utils.has_matplotlib, found, same]))
"""


def test_what_is_not_used_is_not_imported_and_what_is_used_is_the_module_itself() -> None:
    """Two pieces that do not touch; a cosine of four samples a turn has an envelope of 1."""
    heavy, finders, plain, unloaded, has_measure, has_matplotlib, found, same = json.loads(in_a_process(USE, MPLBACKEND="agg"))
    assert heavy == [] and "_Finder" not in finders
    assert plain is False and unloaded, "no instance of a class that nobody has imported"
    assert has_measure and has_matplotlib
    assert found == [2, [1.0] * 8, 3, "matplotlib.pyplot"]
    assert same == [True] * 4


def test_names_that_the_list_keeps_are_those_that_monai_and_ignite_take() -> None:
    """A name of the list that its module does not have would come up with its first use alone."""
    code = f"""
from importlib import import_module
for module, names in {later_imports.LATER}.items():
    for name in names:
        assert callable(getattr(import_module(module), name)), (module, name)
"""
    in_a_process(code)


def test_all_at_once_where_it_is_switched_off() -> None:
    code = "import sys; from bundle import later_imports as later\nwith later.deferred():\n    import matplotlib.pyplot\n"
    code += "print('matplotlib.figure' in sys.modules)"
    assert in_a_process(code, BUNDLE_LATER_IMPORTS="0").strip() == "True"
    assert in_a_process(code).strip() == "False"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of two modules, of which the second is imported later, and one that is not there."""
    (tmp_path / "later_package").mkdir()
    (tmp_path / "later_package" / "__init__.py").write_text("")
    (tmp_path / "later_package" / "inner.py").write_text("class Kind:\n    value = 7\n\nother = [1]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(later_imports, "LATER", {"later_package.inner": ("Kind",), "later_package.missing": ()})
    monkeypatch.delenv(later_imports.SWITCH, raising=False)
    yield "later_package"
    for name in [name for name in sys.modules if name.startswith("later_package")]:
        del sys.modules[name]


def test_a_stand_in_and_a_kept_class(package: str) -> None:
    with later_imports.deferred():
        import later_package.inner
        from later_package.inner import Kind

        stand_in = later_package.inner
        with pytest.raises(ImportError):
            import later_package.missing
    assert "later_package.inner" not in sys.modules
    assert not isinstance(3, Kind) and "later_package.inner" not in sys.modules
    assert Kind.value == 7 and type(Kind()) is sys.modules["later_package.inner"].Kind and isinstance(Kind(), Kind)
    assert stand_in.other is sys.modules["later_package.inner"].other and "other" in dir(stand_in)


@pytest.mark.parametrize("collects", [True, False])
def test_the_collector_waits_and_is_as_it_was_afterwards(collects: bool) -> None:
    code = f"""
import gc
from bundle import later_imports
if not {collects}:
    gc.disable()
try:
    with later_imports.deferred():
        assert not gc.isenabled()
        raise KeyError
except KeyError:
    assert gc.isenabled() is {collects} and (gc.get_freeze_count() > 1000) is {collects}
"""
    in_a_process(code)


def test_a_name_that_is_not_kept_imports_the_module_at_once(package: str) -> None:
    with later_imports.deferred():
        from later_package.inner import other

        assert other == [1] and type(sys.modules["later_package.inner"]).__name__ == "module"


def test_what_was_imported_before_stays(package: str) -> None:
    import later_package.inner

    before = sys.modules["later_package.inner"]
    with later_imports.deferred():
        import later_package.inner

        assert sys.modules["later_package.inner"] is before
    assert sys.modules["later_package.inner"] is before and later_package.inner is before


def test_the_parent_package_has_it_as_after_any_import(package: str) -> None:
    """`torch.distributed.optim.ZeroRedundancyOptimizer` in a config, where nothing but `import torch` was said."""
    with later_imports.deferred():
        import_module("later_package.inner")
    parent = sys.modules[package]
    assert "later_package.inner" not in sys.modules
    assert parent.inner.Kind.value == 7 and parent.inner is sys.modules["later_package.inner"]


def test_a_kept_class_is_derived_from_and_stands_in_type_hints(package: str) -> None:
    with later_imports.deferred():
        from later_package.inner import Kind
    assert not issubclass(int, Kind) and "later_package.inner" not in sys.modules

    class Own(Kind):
        pass

    itself = sys.modules["later_package.inner"].Kind
    assert Own.__mro__[1] is itself and Own.value == 7 and issubclass(Own, Kind) and isinstance(Own(), Kind)
    assert Kind | None == itself | None and None | Kind == None | itself
