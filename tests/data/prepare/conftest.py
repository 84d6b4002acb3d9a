"""Small trees in the layouts of the public data sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from bundle.data.prepare.run import prepare


def write_dicom(folder: Path, array: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """An axial CT series by ITK, columns x rows x slices, first slice lowest; file names in no order of the slices."""
    import itk

    folder.mkdir(parents=True)
    series = "1.2.826.0.1.3680043.2.1125." + str(abs(hash(folder.name)) % 10**8)
    for index in range(array.shape[2]):
        plane = itk.image_from_array(np.ascontiguousarray(array[:, :, index].T)[None])
        plane.SetSpacing(spacing)
        plane.SetOrigin([-20.0, -30.0, 50.0 + index * spacing[2]])
        tags = plane.GetMetaDataDictionary()
        values = {"0008|0060": "CT", "0020|000e": series, "0020|000d": series + ".1", "0020|0013": str(index + 1)}
        for key, value in {**values, "0020|0052": series + ".2", "0028|1052": "0", "0028|1053": "1"}.items():
            tags[key] = value
        writer_io = itk.GDCMImageIO.New(KeepOriginalUID=True)
        itk.imwrite(plane, str(folder / f"{(index * 7) % 101:03d}.dcm"), imageio=writer_io)


@pytest.fixture
def dicom() -> Callable:
    """`dicom(folder, array, spacing)` writes a series."""
    return write_dicom


class Prepared:
    """Runs `prepare` and reads what it wrote."""

    def __init__(self, root: Path) -> None:
        self.source, self.output = root / "download", root / "prepared"

    def run(self, dataset: str, **options: object) -> int:
        before = self.snapshot()
        code = prepare(dataset, str(self.source), str(self.output), num_workers=1, **options)
        assert self.snapshot() == before, "an original file was changed"
        return code

    def snapshot(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.source.rglob("*") if path.is_file()}

    def read(self, name: str) -> np.ndarray:
        return np.asarray(nibabel.load(self.output / name).dataobj)

    def json(self, name: str) -> dict:
        return json.loads((self.output / name).read_text(encoding="utf-8"))

    def listed(self, section: str) -> list[str]:
        """Images of a section of `dataset.json`, without the `./` in front."""
        entries = self.json("dataset.json")[section]
        return [(entry if isinstance(entry, str) else entry["image"]).removeprefix("./") for entry in entries]


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    """A download folder to fill, and `prepare` on it; every run asserts that no original changed."""
    return Prepared(tmp_path)


@pytest.fixture
def put(prepared: Prepared, save: Callable, scan: Callable) -> Callable:
    """`put(image, label, values)` writes a scan and a label whose pancreas and spleen have those values."""

    def write(image: str, label: str | None = None, values: tuple[int, int] = (1, 2), seed: int | None = None) -> None:
        seed = sum(map(ord, image)) if seed is None else seed
        voxels, organs = scan(seed)
        save(prepared.source / image, voxels)
        if label:
            save(prepared.source / label, np.array([0, *values], np.uint8)[organs])

    return write
