"""A folder of results with one case of each kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from made_up_abdomen import Abdomen

from bundle.quality.cases import CaseResult, case_rows, write_cases_csv

UGLY = "<b>bad & 'ugly'</b> \"2\" </script><script>alert(1)</script> {{script}} \u2028"


def results(folder: Path, abdomen: Abdomen) -> Path:
    """Three cases: one without a finding, one without structures, one that failed and has an ugly name."""
    good = CaseResult(
        "good", "a.nii.gz", abdomen.image, abdomen.labels, abdomen.affine, abdomen.structures, confidence={"spleen": (0.9, 0.5, 0.8)}
    )
    good.judgement.reasons.clear()
    empty = CaseResult("empty", "b.nii.gz", abdomen.image, np.zeros_like(abdomen.labels), abdomen.affine, abdomen.structures)
    failed = CaseResult(UGLY, "c.nii.gz", error="c.nii.gz: is empty (0 bytes). Fix: copy it again")
    for result in (good, empty, failed):
        write_cases_csv(folder, case_rows(result))
    (folder / "good_slices.jpg").touch()
    (folder / "empty_preview.png").touch()
    (folder / "empty.seg.nrrd").touch()
    return folder
