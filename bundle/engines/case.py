"""What is known about one scan on its way through inference."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor

from bundle.errors import UserError
from bundle.files import Staged
from bundle.inferers.confidence import Confidence
from bundle.results import outputs

logger = logging.getLogger("bundle.inference")
LABELS_WANTED = "end it as configs/inference.json does (RestoreLabelsd), or leave out the handlers that write label maps"


@dataclass(eq=False)
class Case:
    """One scan on its way: its name and source, the data the transforms work on, and what was found out about it.

    Args:
        item: entry of the dataset: `image` (path or slices), `case` (name), `source`, `problem`, `doubt`.
        data: the dictionary that transforms work on; `image` preprocessed, `pred` logits and later the label map.
        scan: the scan as it was loaded (X, Y, Z), in HU, on the source grid.
        confidence: for each channel, how sure the network is of the voxels it wins; None where it wins none.
        flip_disagreement: for each channel, 1 - Dice between the scan's and its mirror image's labels; empty if not asked for.
        attention: coefficients of the gates by level (num_gates, X, Y, Z), on the grid of the preprocessed image.
        notes: what is odd about the scan itself, (weight, words) as `bundle.quality.review.judge` takes them.
        extra: what handlers keep from one call to the next, by name.
        restored: postprocessing is done.
        seconds: stage to seconds.
        staged: files that are written already and wait for their places.
        files: what was written, file names within the output folder.
        rows: of the table, one per structure.
        lacking: options (`previews`, `attention`) of which a file could not be written: the next run does the case again.
        identity: digest and stamp of the bytes that the scan was read from.
        declined_by: the handler that did not claim this case, because another process does it or has just done it.
        error: why the case failed.
    """

    item: dict[str, Any]
    data: dict[str, Any] = field(default_factory=dict)
    scan: MetaTensor | None = None
    confidence: list[Confidence | None] = field(default_factory=list)
    flip_disagreement: list[float] = field(default_factory=list)
    attention: dict[int, torch.Tensor] = field(default_factory=dict)
    notes: list[tuple[float, str]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    restored: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    staged: Staged = field(default_factory=Staged)
    files: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    identity: dict[str, Any] = field(default_factory=dict)
    declined_by: Any = None
    error: Exception | None = None

    @property
    def name(self) -> str:
        """Name of the case, unique in its run."""
        return str(self.item["case"])

    @property
    def skipped(self) -> bool:
        """Whether this run leaves the case to another process."""
        return self.declined_by is not None

    @property
    def source(self) -> str:
        """File or DICOM folder that the scan came from."""
        return str(self.item["source"])

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the seconds that the block takes to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start

    def loaded_scan(self) -> MetaTensor:
        """The scan (X, Y, Z) as it was loaded.

        Raises:
            UserError: no step of the preprocessing loads it.
        """
        if self.scan is None:
            problem = "no step of it loads the image, so that nothing can be said about the scan itself"
            raise UserError("preprocessing", problem, "begin it as configs/inference.json does (LoadScand)")
        return self.scan

    def postprocess(self, transform: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Run the postprocessing on the data; the scan stays where it lets go of it, as what is written needs its grid."""
        image = self.data["image"]
        self.data = {"image": image, **transform(self.data)}

    def label_map(self) -> MetaTensor:
        """The label map (1, X, Y, Z), uint8, on the source's grid, that postprocessing has left as `pred`.

        Of several channels, as after `AsDiscreted(to_onehot=...)`, the one with the highest value counts.

        Raises:
            UserError: what is there is no label map, or is not on the source's grid.
        """
        found, image = self.data.get("pred"), self.data["image"]
        if isinstance(found, MetaTensor) and found.dtype == torch.uint8 and len(found) == 1:
            return found
        if not isinstance(found, torch.Tensor) or found.ndim != 4:
            raise UserError("postprocessing", "it leaves no label map (1, X, Y, Z) as pred", LABELS_WANTED)
        values = found.as_tensor() if isinstance(found, MetaTensor) else found
        source = tuple(int(n) for n in list(image.meta["spatial_shape"])[:3])
        if tuple(values.shape[1:]) != source:
            sizes = f"pred has {tuple(values.shape[1:])} voxels and the scan {source}"
            raise UserError("postprocessing", sizes, LABELS_WANTED)
        if len(values) > 1:
            values = values.argmax(0, keepdim=True)
        elif values.is_floating_point() and not bool((values == values.round()).all()):
            raise UserError("postprocessing", "it leaves values that are not whole numbers as pred", LABELS_WANTED)
        self.data["pred"] = MetaTensor(values.to(torch.uint8), affine=torch.as_tensor(image.meta["original_affine"]))
        return self.data["pred"]

    def no_picture(self, path: Path, option: str, error: Exception) -> None:
        """Warn of a picture that is not there; where the disk would not take it, a later run may find room, and makes the case again.

        Args:
            path: of the picture.
            option: that asked for it, as in `lacking`.
            error: why; an `OSError` of the system about the picture itself, or about no file, is one of writing.
        """
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, str(path)):
            self.lacking.append(option)
            logger.warning("%s could not be written: %s", path.name, error.strerror)
        else:
            logger.warning("%s could not be drawn: %s", path.name, error)

    def publish(self) -> None:
        """Let the files that were written take their places, the label map last: who sees it sees the whole result."""
        self.files += self.staged.publish(last=outputs.label_maps(self.name))

    def release(self) -> None:
        """Let go of voxels and of files without a place; what is small stays."""
        self.staged.discard()
        self.data, self.scan, self.attention, self.extra = {}, None, {}, {}


class noting_failure:
    """Keeps the error of a block in the case; interrupts and exits pass."""

    def __init__(self, case: Case) -> None:
        self.case = case

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> bool:
        if not isinstance(error, Exception):
            return False
        logger.debug("case %s failed", self.case.name, exc_info=error)
        self.case.error = error.with_traceback(None)
        self.case.release()
        return True
