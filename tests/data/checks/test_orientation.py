"""The image tells which way round its label lies."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from bundle.data.checks.orientation import FLIPS, by_header, decide, fit, turn


@pytest.mark.parametrize("flip", FLIPS)
def test_every_flip_is_found(scan, flip):
    image, label = scan(0, (40, 36, 30))
    assert decide(fit(image, np.flip(label, flip), (2.0, 2.0, 2.0)), ()) == (flip, True)


def test_explained_variance_by_hand():
    """A cube of 100 in a shell of 0: all variance explained; moved by its own width, none."""
    image = np.zeros((30, 30, 30), np.int16)
    image[5:10, 5:10, 5:10] = 100
    scores = fit(image, image > 0, (5.0, 5.0, 5.0))
    assert scores[()] == pytest.approx(1.0) and scores[(0,)] == 0.0


def test_where_the_image_says_nothing_the_expected_stands():
    noise = np.random.default_rng(0).normal(0, 10, (30, 30, 30))
    label = np.zeros((30, 30, 30), np.uint8)
    label[5:12, 3:20, 18:25] = 1
    assert decide(fit(noise, label, (2.0, 2.0, 2.0)), (1,)) == ((1,), False)


def test_turn_takes_voxels_of_the_flipped_array_to_the_same_place():
    array = np.arange(24).reshape(2, 3, 4)
    at = turn((0, 2), array.shape) @ [0, 1, 3, 1]
    assert np.flip(array, (0, 2))[0, 1, 3] == array[tuple(at[:3].astype(int))] == array[1, 1, 0]


def test_flip_by_header():
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    assert by_header(affine @ turn((1,), (10, 12, 14)), affine, (10, 12, 14)) == (1,)
    assert by_header(np.eye(4), affine, (10, 12, 14)) is None


@pytest.mark.parametrize(("structure", "flip"), [(1, (1,)), (2, (1,)), (3, (2,)), (3, (0, 1))])
def test_on_real_ct(shared_data, structure, flip):
    image = np.asarray(nibabel.load(shared_data / "ct/torso_3mm/ct.nii.gz").dataobj)
    label = np.asarray(nibabel.load(shared_data / "ct/torso_3mm/labels.nii.gz").dataobj) == structure
    assert decide(fit(image, np.flip(label, flip), (3.0, 3.0, 3.0)), ()) == (flip, True)
