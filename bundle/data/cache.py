"""Preprocessed scans kept on disk: they survive a restart, cannot go stale, and a damaged one is made again."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import inspect
import json
import os
import sys
import sysconfig
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

import monai
import numpy as np
import torch
from monai.data import PersistentDataset
from monai.transforms import Compose, RandomizableTrait, Transform
from monai.utils import convert_to_tensor

from bundle.files import remove_unfinished, written_aside
from bundle.results.identity import companions

# part of every key: raise it when the layout of the entries changes
LAYOUT = 1
# attributes that bound what a transform may take and never change what it gives
BOUNDS = frozenset({"memory_gb"})


class CachedDataset(PersistentDataset):
    """MONAI's `PersistentDataset` whose entries cannot be stale or damaged, with randomness that is a function of the epoch.

    What MONAI's lacks:

    - its key is the file's path: an image replaced under the same name keeps giving the old data. Here size and time of
      every file are in the key, and the preprocessing's own definition: each deterministic transform with its arguments,
      the code behind it that is the bundle's or the user's own, the versions of MONAI and torch;
    - it writes to the system's temporary folder and moves across disks, which is a copy that can be cut short. Here an
      entry is written to another name and renamed; an entry that does not load is made again, whatever the error;
    - its `set_data` deletes the cache folder;
    - the random state runs on from item to item, so a resumed training cannot draw the same. Here `seed`, the epoch and
      the index seed each item, whatever the number of workers.

    Disk per scan: voxels after preprocessing x 5 bytes (image float32, label uint8). RAM: one scan per worker while it is read.

    Args:
        data: list of dictionaries, paths under `image` and `label`; other values are part of the key as they are.
        transform: the preprocessing, and after it the random transforms, which are never cached.
        cache_dir: folder of the entries, shared between runs at will; None or "" caches nothing.
        seed: seed of the random transforms, None for a random state that runs on by itself.
    """

    def __init__(
        self,
        data: Sequence,
        transform: Sequence[Callable] | Callable,
        cache_dir: str | os.PathLike | None = None,
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__(data=data, transform=transform, cache_dir=_usable(cache_dir))
        # shared with the processes of a data loader: what one of them finds out the others need not
        self._full = torch.zeros(1, dtype=torch.uint8).share_memory_()
        self.seed, self.epoch = seed, 0
        self.transform_hash = _digest(definition(_deterministic(self.transform)))

    def set_epoch(self, epoch: int) -> None:
        """Number of the epoch that is about to begin; with `seed` it decides what the random transforms draw."""
        self.epoch = int(epoch)

    def set_data(self, data: Sequence) -> None:
        """Other cases from now on. Entries of the old ones stay: their keys say what they are."""
        self.data = data

    def entry(self, item: Mapping) -> Path | None:
        """File that holds, or will hold, the preprocessed item; None without a cache."""
        if self.cache_dir is None:
            return None
        return self.cache_dir / f"{key_of(item)}-{self.transform_hash}.pt"

    @property
    def writes(self) -> bool:
        """Whether new entries are written: there is a cache, and no process has found its disk full."""
        return self.cache_dir is not None and not self._full[0]

    def write_entry(self, item: Mapping) -> None:
        """Preprocess an item and write its entry, where there is none yet."""
        CachedDataset._cachecheck(self, item)

    def _transform(self, index: int) -> Any:
        if self.seed is not None:
            state = np.random.SeedSequence([self.seed, self.epoch, index]).generate_state(1)[0]
            self.transform.set_random_state(seed=int(state))
        return _named(self._post_transform(self._cachecheck(self.data[index])), self.data[index])

    def _cachecheck(self, item_transformed: Mapping) -> Any:
        path = self.entry(item_transformed)
        if path is not None and path.is_file():
            try:
                return _read(path)
            except Exception as error:  # whatever is wrong with an entry, the scan itself is still there
                warnings.warn(f"cache entry {path} does not load ({type(error).__name__}): made again", stacklevel=2)
        made = convert_to_tensor(self._pre_transform(dict(item_transformed)), convert_numeric=False, track_meta=False)
        if path is not None and self.writes:
            self._write(made, path)
        return made

    def _write(self, entry: Any, path: Path) -> None:
        """Write to another name and rename: a reader finds the whole entry or none. A full disk costs the cache, not the run."""
        try:
            with written_aside(path) as aside:
                torch.save(entry, aside)
        except (OSError, RuntimeError) as error:  # torch says of a full disk that a write has failed, as RuntimeError
            if not self._full[0]:
                self._full[0] = 1
                words = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no space'}"
                warnings.warn(f"the cache {self.cache_dir} cannot be written ({words}): continuing without writing more", stacklevel=2)


def key_of(item: Mapping) -> str:
    """Digest of an item: its values, and size and time of the files that it names. Files that change give another one."""
    return _digest({key: _identity(value) for key, value in item.items()})


def _named(made: Any, item: Any) -> Any:
    """The transformed item with `source`, the path it is of, which an error in a training names; others as they are."""
    if isinstance(made, list):
        return [_named(part, item) for part in made]
    if not isinstance(made, dict) or not isinstance(item, Mapping) or "image" not in item:
        return made
    image = item["image"]
    return {**made, "source": str(image[0] if isinstance(image, (list, tuple)) and image else image)}


def definition(value: Any, _above: tuple[int, ...] = ()) -> Any:
    """What a transform, or a list of them, does, as plain data: classes with their source, arguments, nested parts.

    Two transforms with the same definition give the same output. Works by walking the attributes, so a new transform
    needs nothing; memory addresses and random states never enter.
    """
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return repr(value)
    if id(value) in _above:
        return "above"  # an object that holds itself
    walk = functools.partial(definition, _above=(*_above, id(value)))
    if isinstance(value, Mapping):
        return {str(walk(key)): walk(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [walk(entry) for entry in value]
    if isinstance(value, (set, frozenset)):
        return sorted(json.dumps(walk(entry), sort_keys=True) for entry in value)
    if isinstance(value, (torch.Tensor, np.ndarray)):
        array = np.asarray(value)
        return [str(array.dtype), list(array.shape), hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()]
    if isinstance(value, functools.partial):
        return ["partial", walk(value.func), walk(value.args), walk(value.keywords)]
    if isinstance(value, np.random.RandomState):
        return "random state"
    if isinstance(value, type) or inspect.isroutine(value):
        name = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', repr(type(value)))}"
        return [name, _source(value), *_beyond_its_name(value, walk)]
    kind: Any = type(value)  # to mypy the __hash__ of type[Any] is that of its instances
    parts = {name: part for name, part in vars(value).items() if name not in BOUNDS} if hasattr(value, "__dict__") else repr(value)
    return [f"{kind.__module__}.{kind.__qualname__}", _source(kind), walk(parts)]


def _beyond_its_name(value: Any, walk: Callable) -> list:
    """What the name of a function does not say: whose method it is; of a lambda, or a function within one, its code and what that uses."""
    owner, code = getattr(value, "__self__", None), getattr(value, "__code__", None)
    parts = [] if owner is None or inspect.ismodule(owner) else [walk(owner)]
    if code is not None and "<" in value.__qualname__:
        # MONAI's config parser hands references on as a global variable
        used = {name: value.__globals__[name] for name in code.co_names if name in value.__globals__}
        variables = [value.__defaults__, value.__kwdefaults__, {name: one for name, one in used.items() if not inspect.ismodule(one)}]
        parts += [_code(code), *map(walk, variables), walk(inspect.getclosurevars(value).nonlocals)]
    return parts


def _code(code: CodeType) -> list:
    """Instructions, constants and names, also of the functions within."""
    return [code.co_code.hex(), [_code(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts], list(code.co_names)]


def _deterministic(transform: Compose) -> list:
    """The transforms whose result is cached: all before the first random one, as `PersistentDataset` counts them."""
    cached = []
    for part in transform.flatten().transforms:
        if isinstance(part, RandomizableTrait) or not isinstance(part, Transform):
            break
        cached.append(part)
    return [LAYOUT, monai.__version__, torch.__version__, cached]


@functools.cache
def _source(thing: Any) -> str:
    """Digest of the code behind a class or function of ours, with all of ours it imports, or of the file of a user's own; "" for
    installed packages, whose versions say it."""
    name = getattr(thing, "__module__", None) or ""
    files: dict[str, Path] = {}
    if name.split(".")[0] == __name__.split(".")[0]:
        _collect(name, files)
    elif (file := getattr(sys.modules.get(name), "__file__", None)) and not _is_installed(Path(file)):
        files[name] = Path(file)
    if not files:
        return ""
    return _digest({module: hashlib.sha256(file.read_bytes()).hexdigest() for module, file in files.items()})


def _is_installed(file: Path) -> bool:
    """Whether a file is of Python itself or of a package that pip or the system has installed."""
    return bool({"site-packages", "dist-packages"} & set(file.parts)) or file.is_relative_to(sysconfig.get_paths()["stdlib"])


def _collect(name: str, files: dict[str, Path]) -> None:
    """Add the file of a module of this package, and those of the modules it imports anywhere, to `files`."""
    top = __name__.split(".")[0]
    spec = importlib.util.find_spec(name) if name.split(".")[0] == top and name not in files else None
    if spec is None or not spec.origin:
        return
    files[name] = Path(spec.origin)
    for node in ast.walk(ast.parse(files[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for module in imported:
            # `from package import name`: the name may be a module or anything else in it
            if module.split(".")[0] == top and (module in sys.modules or _is_module(module)):
                _collect(module, files)


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _identity(value: Any) -> Any:
    """A path that exists -> absolute path, size and time of the file and of those that its header names, or of every file of the folder
    (DICOM)."""
    if isinstance(value, (list, tuple)):
        return [_identity(entry) for entry in value]
    if isinstance(value, Mapping):
        return {str(key): _identity(entry) for key, entry in value.items()}
    if not isinstance(value, (str, os.PathLike)) or not os.path.exists(value):
        return definition(value)
    path = Path(value).resolve()
    if path.is_dir():
        files = sorted(entry for entry in path.rglob("*") if entry.is_file())
    else:
        files = [path, *(Path(file) for file in companions(Path(value)) if os.path.exists(file))]
    return [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=repr).encode()).hexdigest()[:32]


def _read(path: Path) -> Any:
    # torch.load does not look at the checksums that torch.save writes: a flipped bit would be trained on
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"checksum of {damaged}")
    return torch.load(path, weights_only=True)


def _usable(cache_dir: str | os.PathLike | None) -> Path | None:
    """The folder, made and without what killed processes left in it; None with a warning where it cannot be made."""
    if not cache_dir:
        return None
    try:
        Path(cache_dir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        # of this module, as what MONAI's config parser would be blamed for is not shown (`bundle.inferers.start`)
        warnings.warn(f"the cache {cache_dir} cannot be made ({error}): continuing without it", stacklevel=2)
        return None
    remove_unfinished(cache_dir)
    return Path(cache_dir)
