import numpy as np

from bundle.data.synthetic.anatomy import paint_abdomen
from bundle.data.synthetic.tissues import LABEL_OF, Tissue

ML = 0.125  # a voxel of 5 mm


def test_a_whole_abdomen(still, physique):
    canvas = still(2)
    paint_abdomen(canvas, physique)
    pancreas, spleen, kidneys = ((LABEL_OF[canvas.tissues] == value) for value in (1, 2, 3))
    assert 15 < pancreas.sum() * ML < 160 and 60 < spleen.sum() * ML < 600 and 120 < kidneys.sum() * ML < 520
    # later structures push earlier ones aside: spine and great vessels are painted last and stand whole
    assert canvas.x[spleen].max() < -30 and canvas.x[canvas.tissues == Tissue.LIVER].mean() > 25
    for z in (30, 40, 50):
        level = canvas.tissues[:, :, z]
        assert {Tissue.AORTA, Tissue.CAVA, Tissue.SPINAL_CANAL, Tissue.SKIN, Tissue.MUSCLE} < set(np.unique(level).tolist())
    rare = {Tissue.LESION, Tissue.CALCIFICATION, Tissue.GALLBLADDER, Tissue.ORAL_CONTRAST, Tissue.WATERY_CONTENT, Tissue.SOFT_CONTENT}
    never = {
        t for t in Tissue if t in (Tissue.TABLE_SHELL, Tissue.TABLE_CORE, Tissue.DUODENUM_WALL, Tissue.COLON_WALL, Tissue.DILUTE_CONTRAST)
    }
    assert set(Tissue) - set(np.unique(canvas.tissues).tolist()) - rare - {Tissue.GAS, Tissue.FAECES, Tissue.BLADDER} == never
