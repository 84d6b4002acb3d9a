"""MONAI is imported without the optional packages that inference does not use; they are imported when something uses them.

MONAI imports every optional package that is installed: Matplotlib, TensorBoard, and by way of Ignite all of PyTorch's sharding, with
SymPy. That is 40 % of the CPU time of `import monai.bundle`, and a scan uses none of it. While `deferred` is open, the modules of
`LATER` come as stand-ins; afterwards none is left in `sys.modules`, so that whoever imports one then gets the module itself. What MONAI
and parent packages keep of a stand-in imports the module with its first use, and is the module from there on.

A module that is not installed is not there, as ever. Only the standard library is imported here.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, cast

# module -> names that are taken from it while others are imported, to be kept and not yet used
LATER: dict[str, tuple[str, ...]] = {
    "itk": (),
    "matplotlib": (),
    "matplotlib.pyplot": (),
    "scipy.signal": ("hilbert", "iirnotch"),
    "skimage.exposure": (),
    "skimage.measure": ("centroid", "find_contours"),
    "skimage.morphology": ("disk", "opening"),
    "skimage.segmentation": ("watershed",),
    "tensorboard.compat.proto.summary_pb2": ("Summary",),
    "torch.distributed.optim": ("ZeroRedundancyOptimizer",),
    "torch.utils.tensorboard": ("SummaryWriter",),
}
# 0 imports everything at once
SWITCH = "BUNDLE_LATER_IMPORTS"


@contextmanager
def deferred() -> Iterator[None]:
    """Within it, modules of `LATER` that are imported for the first time come as stand-ins, and garbage is not looked for.

    The collector would go through all functions and classes again and again, a seventh of the time, and find nothing: what is imported
    stays. So it does not look at that afterwards either.
    """
    if os.environ.get(SWITCH) == "0":
        yield
        return
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        finder.take_back(tuple(LATER))
        if collects:
            gc.freeze()
            gc.enable()


class StandIn(ModuleType):
    """A module that is imported with the first use of what is in it."""

    def __init__(self, spec: ModuleSpec, finder: _Finder) -> None:
        super().__init__(spec.name)
        self._finder = finder
        if spec.origin is not None:
            self.__file__ = spec.origin

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            # what the import system asks for
            raise AttributeError(f"{self.__name__} has no {name} until it is imported")
        if name in LATER[self.__name__] and self._finder.stands_in(self.__name__):
            return Kept(self, name)
        return getattr(self._finder.module(self.__name__), name)

    def __dir__(self) -> Sequence[str]:
        return dir(self._finder.module(self.__name__))


class Kept:
    """A function or class of a module that is not imported yet."""

    def __init__(self, source: StandIn, name: str) -> None:
        self._source, self._name = source, name

    def _itself(self) -> Any:
        return getattr(self._source._finder.module(self._source.__name__), self._name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._itself()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._itself(), name)

    def __instancecheck__(self, instance: Any) -> bool:
        # there is no instance of a class that nobody has imported
        return self._source.__name__ in sys.modules and isinstance(instance, self._itself())

    def __subclasscheck__(self, subclass: type) -> bool:
        return self._source.__name__ in sys.modules and issubclass(subclass, self._itself())

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        # a class that is derived from it
        return (self._itself(),)

    def __or__(self, other: Any) -> Any:
        # a type hint that is evaluated
        return self._itself() | other

    def __ror__(self, other: Any) -> Any:
        return other | self._itself()


class _Finder:
    """Finds the modules of `LATER` before any other finder does, each until the module itself is asked for."""

    def __init__(self) -> None:
        self.names = set(LATER)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """A spec whose loader makes a stand-in; None for other modules and those that are not installed."""
        if name not in self.names:
            return None
        found = PathFinder.find_spec(name, path, target)
        if found is None or found.origin is None:
            return None
        spec = ModuleSpec(name, cast(Loader, self), origin=found.origin, is_package=found.submodule_search_locations is not None)
        spec.submodule_search_locations = found.submodule_search_locations
        return spec

    def create_module(self, spec: ModuleSpec) -> StandIn:
        """The stand-in."""
        return StandIn(spec, self)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: that is left to the first use."""

    def stands_in(self, name: str) -> bool:
        """Whether the module of this name is a stand-in now."""
        return isinstance(sys.modules.get(name), StandIn)

    def module(self, name: str) -> ModuleType:
        """The module itself."""
        top = name.partition(".")[0]
        # within the context the rest of the package may not be mixed with stand-ins, but for torch, of which two unlike parts are meant
        self.take_back([other for other in self.names if other == name or (top != "torch" and other.partition(".")[0] == top)])
        return import_module(name)

    def take_back(self, names: Sequence[str]) -> None:
        """Leave no stand-in of these names where an import would find it."""
        self.names.difference_update(names)
        for name in names:
            if not self.stands_in(name):
                continue
            # a parent that has it as an attribute keeps it: `torch.distributed.optim.X` works as after MONAI's own import
            del sys.modules[name]
