import numpy as np

from bundle.data.synthetic import recipes
from bundle.data.synthetic.clutter import infiltrate
from bundle.data.synthetic.contrast import RealScan
from bundle.data.synthetic.recipes import from_person
from bundle.data.synthetic.tissues import Tissue


def test_same_seed_same_scan(person):
    first, second = (from_person(person, np.random.default_rng(4), (4.0, 4.0, 4.0)) for _ in range(2))
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])
    assert set(np.unique(first[1])) == {0, 1, 2, 3}


def test_labels_include_the_fat_within_the_pancreas(monkeypatch):
    monkeypatch.setattr(recipes, "infiltrate", lambda canvas, share: infiltrate(canvas, 1.0))
    fat = [False]
    for seed in range(2, 6):  # half of all patients have it
        image, labels = recipes.from_nothing(np.random.default_rng(seed), (4.0, 4.0, 4.0))
        assert (labels == 1).sum() * 64e-3 > 10
        fat.append(np.median(image[labels == 1]) < -40)
    assert any(fat) and not all(fat[1:])


def test_a_donors_organs_become_a_scan(donor):
    image, labels = recipes.from_donor(donor, np.random.default_rng(3), (7.0, 7.0, 7.0), 2.0)
    assert image.shape == labels.shape and image.dtype == np.float32
    volumes = np.bincount(labels.ravel(), minlength=4)[1:] * 0.343
    balls = [4 / 3 * np.pi * radius**3 / 1000 for radius in (25, 30, 28)]
    assert 0.5 < volumes[0] / balls[0] < 1.8 and 0.5 < volumes[1] / balls[1] < 1.8 and 0.5 < volumes[2] / (2 * balls[2]) < 1.8
    assert max(np.ptp(axis) for axis in np.nonzero(labels == 1)) * 7 < 70  # a ball still, no band across the abdomen
    assert image.min() < -900 and 60 < np.median(image[labels == 2]) < 180  # portal phase: 120 HU


def test_a_real_scan_is_bent_and_cut_and_its_labels_with_it():
    shape = (50, 40, 44)
    distance = np.sqrt(sum((axis - size / 2) ** 2 for axis, size in zip(np.indices(shape), shape, strict=True)))
    labels = np.where(distance < 9, 2, 0).astype(np.uint8)
    image = np.where(distance < 18, 40, -1000).astype(np.float32)
    tissues = np.where(labels == 2, Tissue.SPLEEN, Tissue.AIR).astype(np.uint8)
    scan = RealScan(image, tissues, labels, (4.0, 4.0, 4.0))
    ratios = []
    for seed in range(4):
        made, found = recipes.from_real(scan, np.random.default_rng(seed), (4.0, 4.0, 4.0))
        assert made.shape == found.shape and found.shape[:2] == (52, 42) and found.shape[2] <= 44
        assert np.median(made[found == 2]) > 30
        ratios.append((found == 2).sum() / (labels == 2).sum())
    # the same organ, of another size by a few percent along each axis, cut at most in part
    assert 0.3 < min(ratios) and max(ratios) < 1.6 and len(set(ratios)) == 4
