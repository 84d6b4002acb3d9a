"""What a tissue looks like in CT: Hounsfield units by contrast phase, and texture. Maps a tissue map to a noise-free CT.

A tissue map is a uint8 array of `Tissue` values. It may come from the procedural anatomy (`bundle.data.synthetic.phantom`) or from
label maps of real scans (`bundle.data.synthetic.synthesis`); both are rendered here.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from bundle.data.synthetic.fields import tile_noise


class Tissue(IntEnum):
    """The tissues that the renderer knows; values are those of tissue maps."""

    AIR = 0
    SKIN = 1
    FAT = 2
    VISCERAL_FAT = 3
    MUSCLE = 4
    CORTICAL_BONE = 5
    SPONGY_BONE = 6
    DISC = 7
    CARTILAGE = 8
    SPINAL_CANAL = 9
    LUNG = 10
    LUNG_VESSEL = 11
    HEART = 12
    LIVER = 13
    HEPATIC_VEIN = 14
    GALLBLADDER = 15
    STOMACH_WALL = 16
    BOWEL_WALL = 17
    WATERY_CONTENT = 18
    SOFT_CONTENT = 19
    ORAL_CONTRAST = 20
    GAS = 21
    FAECES = 22
    AORTA = 23
    CAVA = 24
    PORTAL_VEIN = 25
    SPLEEN = 26
    KIDNEY_CORTEX = 27
    KIDNEY_MEDULLA = 28
    RENAL_PELVIS = 29
    PANCREAS = 30
    ADRENAL = 31
    CALCIFICATION = 32
    BLADDER = 33
    TABLE_SHELL = 34
    TABLE_CORE = 35
    OESOPHAGUS = 36
    LESION = 37
    DUODENUM_WALL = 38
    COLON_WALL = 39
    DILUTE_CONTRAST = 40


# The default label values of the bundle: which tissues are which structure.
LABEL_OF = np.zeros(256, np.uint8)
LABEL_OF[Tissue.PANCREAS] = 1
LABEL_OF[Tissue.SPLEEN] = 2
LABEL_OF[[Tissue.KIDNEY_CORTEX, Tissue.KIDNEY_MEDULLA]] = 3

PHASES = ("native", "arterial", "portal", "delayed")

# tissue: mean HU in the native, arterial, portal and delayed phase; spread of the mean from patient to patient (sd, HU);
# texture: amplitude (sd, HU) of the variation within the tissue. Round figures of textbooks of abdominal radiology.
_HU: dict[Tissue, tuple[float, float, float, float, float, float]] = {
    Tissue.AIR: (-1000, -1000, -1000, -1000, 0, 0),
    Tissue.SKIN: (10, 15, 25, 25, 15, 15),
    Tissue.FAT: (-106, -105, -103, -103, 4, 7),
    Tissue.VISCERAL_FAT: (-102, -99, -96, -97, 7, 9),
    Tissue.MUSCLE: (48, 54, 60, 60, 6, 11),
    Tissue.CORTICAL_BONE: (620, 620, 630, 630, 110, 80),
    Tissue.SPONGY_BONE: (165, 172, 185, 182, 45, 30),
    Tissue.DISC: (85, 88, 92, 92, 12, 10),
    Tissue.CARTILAGE: (95, 95, 100, 100, 20, 35),
    Tissue.SPINAL_CANAL: (28, 30, 34, 34, 6, 6),
    Tissue.LUNG: (-850, -845, -835, -840, 35, 35),
    Tissue.LUNG_VESSEL: (0, 120, 70, 50, 30, 40),
    Tissue.HEART: (40, 190, 130, 105, 14, 18),
    Tissue.LIVER: (55, 66, 106, 92, 10, 5),
    Tissue.HEPATIC_VEIN: (40, 62, 150, 112, 12, 5),
    Tissue.GALLBLADDER: (9, 10, 11, 12, 7, 3),
    Tissue.STOMACH_WALL: (40, 76, 88, 74, 10, 12),
    Tissue.BOWEL_WALL: (38, 86, 98, 78, 12, 14),
    Tissue.WATERY_CONTENT: (12, 13, 14, 15, 8, 7),
    Tissue.SOFT_CONTENT: (36, 38, 44, 42, 12, 18),
    Tissue.ORAL_CONTRAST: (230, 230, 230, 230, 90, 45),
    Tissue.GAS: (-960, -960, -960, -960, 20, 10),
    Tissue.FAECES: (-40, -40, -40, -40, 50, 190),
    Tissue.AORTA: (40, 300, 152, 112, 16, 5),
    Tissue.CAVA: (38, 78, 138, 112, 14, 7),
    Tissue.PORTAL_VEIN: (40, 105, 166, 118, 14, 5),
    Tissue.SPLEEN: (47, 118, 120, 96, 9, 5),
    Tissue.KIDNEY_CORTEX: (32, 175, 182, 146, 15, 9),
    Tissue.KIDNEY_MEDULLA: (30, 70, 156, 150, 14, 9),
    Tissue.RENAL_PELVIS: (6, 8, 30, 190, 12, 10),
    Tissue.PANCREAS: (38, 100, 94, 76, 11, 13),
    Tissue.ADRENAL: (18, 62, 70, 50, 10, 8),
    Tissue.CALCIFICATION: (420, 430, 430, 430, 120, 60),
    Tissue.BLADDER: (6, 6, 10, 60, 6, 4),
    Tissue.TABLE_SHELL: (-180, -180, -180, -180, 120, 20),
    Tissue.TABLE_CORE: (-900, -900, -900, -900, 30, 5),
    Tissue.OESOPHAGUS: (36, 56, 66, 60, 9, 16),
    Tissue.LESION: (20, 35, 55, 60, 20, 8),
    Tissue.DUODENUM_WALL: (38, 92, 100, 78, 12, 14),
    Tissue.COLON_WALL: (38, 72, 84, 72, 12, 14),
    Tissue.DILUTE_CONTRAST: (95, 95, 95, 95, 45, 18),
}

# Tissues of coarse texture (mm): marbled muscle, lobules of the pancreas, mottled faeces; all others use _FINE_MM.
_COARSE = (
    Tissue.FAECES,
    Tissue.PANCREAS,
    Tissue.MUSCLE,
    Tissue.SOFT_CONTENT,
    Tissue.CORTICAL_BONE,
    Tissue.SPONGY_BONE,
    Tissue.VISCERAL_FAT,
)
_COARSE_MM, _FINE_MM = 3.2, 1.8


def draw_means(rng: np.random.Generator, phase: float | None = None, *, spread: float = 1.0) -> np.ndarray:
    """Draw the mean HU of every tissue for one patient.

    Args:
        rng: source of randomness.
        phase: position among `PHASES`, 0 (native) to 3 (delayed); fractions blend neighbours. None draws one: a portal
            or nearly portal phase is the most frequent, as in abdominal practice.
        spread: how much patients differ; 0 gives the table's own figures.

    Returns:
        float32 array of 256 values, indexed by tissue.
    """
    if phase is None:
        anchor = rng.choice(4, p=(0.2, 0.2, 0.45, 0.15))
        phase = float(np.clip(anchor + rng.normal(0, 0.22), 0, 3))
    lower = min(int(phase), 2)
    weight = phase - lower
    # Enhancement depends on dose and weight of the patient: one factor for the whole scan.
    strength = 1 + spread * rng.uniform(-0.25, 0.25)
    means = np.full(256, -1000, np.float32)
    for tissue, row in _HU.items():
        enhanced = (1 - weight) * row[lower] + weight * row[lower + 1]
        means[tissue] = row[0] + strength * (enhanced - row[0]) + spread * row[4] * rng.standard_normal()
    if spread and rng.random() < 0.25:  # fatty liver
        means[Tissue.LIVER] -= rng.uniform(15, 45)
    if spread and rng.random() < 0.3:  # fatty infiltration of the pancreas
        means[Tissue.PANCREAS] -= rng.uniform(10, 35)
    return means


def texture_amplitudes() -> np.ndarray:
    """Standard deviation (HU) of the variation within each tissue, indexed by tissue; shape (256,)."""
    amplitudes = np.zeros(256, np.float32)
    for tissue, row in _HU.items():
        amplitudes[tissue] = row[5]
    return amplitudes


def render(tissues: np.ndarray, spacing: tuple[float, float, float], means: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise-free CT of a tissue map: mean HU per tissue plus texture.

    Args:
        tissues: (X, Y, Z) uint8, values of `Tissue`.
        spacing: voxel size in mm.
        means: HU of each tissue, from `draw_means`.
        rng: source of randomness.

    Returns:
        (X, Y, Z) float32 in HU.
    """
    amplitude = texture_amplitudes() * np.float32(rng.uniform(0.7, 1.3))
    coarse = np.zeros_like(amplitude)
    coarse[list(_COARSE)] = amplitude[list(_COARSE)]
    image = means[tissues]
    image += (amplitude - coarse)[tissues] * tile_noise(tissues.shape, spacing, _FINE_MM, rng)
    image += coarse[tissues] * tile_noise(tissues.shape, spacing, _COARSE_MM, rng)
    # Slow shading within organs (perfusion, beam hardening), only where there is body.
    shading = tile_noise(tissues.shape, spacing, 28.0, rng) * np.float32(rng.uniform(1.0, 5.0))
    image += np.where(tissues > Tissue.AIR, shading, 0)
    return image
