"""What the facts of a case say is wrong with its further channels: one problem per mistake, each with file, problem and fix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bundle import grids
from bundle.channels import Channel
from bundle.data.checks.rules import Problem, readable_problems
from bundle.data.datalist import Case
from bundle.errors import counted

# SUV above which not even a bladder is: the values are activity, in Bq/ml
MOST_SUV = 1000.0
# of a PET of a whole body nothing takes up more than this
LEAST_SUV = 0.5
# share of the CT's grid that a channel covers, below which a person should look
LEAST_COVERED = 0.5


def channel_problems(case: Case, image: Mapping, found: Mapping[str, Mapping], channels: Sequence[Channel]) -> list[Problem]:
    """Everything that is wrong with the further channels of one case.

    Args:
        case: the case.
        image: facts of its first channel.
        found: facts of the others by name, as far as they are there.
        channels: the channels behind the first.
    """
    files = dict(case.further)
    # what has volumes on its fourth axis, in another number than there are channels, is said of the image
    whole = "error" not in image and len(image.get("shape", ())) == 3
    problems = []
    for channel in channels:
        file = files.get(channel.name, case.image)
        if channel.name in found:
            problems += _problems(case, image, found[channel.name], channel, file)
        elif whole:
            fix = f"list it behind the CT, or put it beside it (docs/channels.md); {case.image} has no fourth axis"
            problems.append(Problem("error", "channel", case.name, case.image, f"has no {channel.name}, which the network takes", fix))
    return problems


def _problems(case: Case, image: Mapping, facts: Mapping, channel: Channel, file: str) -> list[Problem]:
    found = readable_problems(case, file, facts)
    if found:
        return found
    if facts["nonfinite"]:
        those = counted(facts["nonfinite"], "voxel that is NaN or infinite, and counts", "voxels that are NaN or infinite, and count")
        found.append(Problem("warning", "NaN", case.name, file, f"{channel.name}: has {those} as 0", "write it again without them"))
    if facts["minimum"] == facts["maximum"]:
        problem = f"{channel.name}: has the one value {facts['minimum']:g} everywhere"
        return [*found, Problem("error", "constant", case.name, file, problem, "convert it again")]
    if channel.kind == "pet":
        found += _suv(case, facts, channel, file)
    if not any(one.level == "error" for one in found) and "affine" in image and len(image.get("shape", ())) == 3:
        found += _place(case, image, facts, channel, file)
    return found


def _suv(case: Case, facts: Mapping, channel: Channel, file: str) -> list[Problem]:
    low, high = facts["minimum"], facts["maximum"]
    if high > MOST_SUV:
        fix = "give SUV by body weight: the DICOM series itself, or the file divided by dose and multiplied by weight (docs/channels.md)"
        return [Problem("error", "SUV", case.name, file, f"{channel.name}: values from {low:.5g} to {high:.5g} are no SUV", fix)]
    if high < LEAST_SUV:
        problem = f"{channel.name}: its highest SUV is {high:.3g}"
        return [Problem("warning", "SUV", case.name, file, problem, "make sure that it is in SUV by body weight, and is not normalised")]
    return []


def _place(case: Case, image: Mapping, facts: Mapping, channel: Channel, file: str) -> list[Problem]:
    (shape, affine), (other_shape, other) = [(tuple(one["shape"]), np.array(one["affine"])) for one in (image, facts)]
    if grids.is_singular(affine) or grids.is_singular(other):
        return []
    share = grids.covered(shape, affine, other_shape, other)
    if share == 0:
        problem = f"{channel.name}: has no place in common with {case.image} ({grids.describe(other_shape, other)})"
        fix = "make sure that both are of one patient and one frame of reference"
        return [Problem("error", "place", case.name, file, problem, fix)]
    if share < LEAST_COVERED:
        problem = f"{channel.name}: covers {100 * share:.0f} % of {case.image}"
        return [Problem("warning", "place", case.name, file, problem, "ignore where it is meant so: elsewhere it counts as 0")]
    return []
