import numpy as np
import pytest

from bundle.data.synthetic.tissues import LABEL_OF, PHASES, Tissue, draw_means, render, texture_amplitudes


def test_contrast_phases_order_the_vessels():
    means = {phase: draw_means(np.random.default_rng(0), float(i)) for i, phase in enumerate(PHASES)}
    aorta = {phase: value[Tissue.AORTA] for phase, value in means.items()}
    assert aorta["native"] < 80 < aorta["delayed"] < aorta["portal"] < aorta["arterial"]
    # in every phase pancreas and bowel wall lie within the spread of one another
    for value in means.values():
        assert abs(value[Tissue.PANCREAS] - value[Tissue.BOWEL_WALL]) < 45
    assert LABEL_OF[[Tissue.PANCREAS, Tissue.SPLEEN, Tissue.KIDNEY_CORTEX, Tissue.KIDNEY_MEDULLA, Tissue.LIVER]].tolist() == [1, 2, 3, 3, 0]


@pytest.mark.parametrize(("phase", "aorta", "liver"), [(0.0, 40, 55), (1.0, 300, 66), (1.5, 226, 86), (3.0, 112, 92)])
def test_without_spread_means_are_those_of_the_table(phase, aorta, liver):
    means = draw_means(np.random.default_rng(5), phase, spread=0.0)
    assert (means[Tissue.AORTA], means[Tissue.LIVER], means[200]) == (pytest.approx(aorta), pytest.approx(liver), -1000)


def test_the_portal_phase_is_drawn_most_often():
    phases = [draw_means(np.random.default_rng(seed), spread=0.0)[Tissue.KIDNEY_MEDULLA] for seed in range(200)]
    portal = np.mean([abs(mean - 156) < 25 for mean in phases])  # 70 in the arterial phase, 156 in the portal, 150 in the delayed one
    assert 0.45 < portal < 0.75


def test_a_rendered_map_has_the_means_and_textures_of_its_tissues():
    tissues = np.zeros((48, 40, 40), np.uint8)
    tissues[:, :20] = Tissue.LIVER
    tissues[:, 20:36] = Tissue.FAECES
    means = draw_means(np.random.default_rng(0), 2.0, spread=0.0)
    image = render(tissues, (2.0, 2.0, 2.0), means, np.random.default_rng(1))
    assert image.dtype == np.float32 and (image[:, 36:] == -1000).all()
    liver, faeces = image[:, :20], image[:, 20:36]
    assert liver.mean() == pytest.approx(106, abs=5) and faeces.mean() == pytest.approx(-40, abs=40)
    # amplitudes of the table, 5 and 190 HU, times 0.7 to 1.3; shading of up to 5 HU comes on top
    assert 3 < liver.std() < 9 and 110 < faeces.std() < 270
    assert texture_amplitudes()[[Tissue.LIVER, Tissue.FAECES, 200]].tolist() == [5, 190, 0]
