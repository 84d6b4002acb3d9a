"""Transforms that MONAI lacks: body crop, body statistics, spacing that survives MONAI Label, labels back to the source grid."""

from bundle.transforms.add_channels import AddChannelsd
from bundle.transforms.crop_affine import RandCropAffined
from bundle.transforms.crop_body import CropBodyd
from bundle.transforms.crop_labelled import labelled_or_all, margin_voxels
from bundle.transforms.crop_organs import CropOrgansd
from bundle.transforms.dense_crf import DenseCRFd
from bundle.transforms.keep_pieces import KeepPiecesd
from bundle.transforms.map_labels import CloseLabelsd, MapLabels, MapLabelsd
from bundle.transforms.normalize_body import NormalizeBodyd
from bundle.transforms.resample import ResampleSpacingd
from bundle.transforms.restore_labels import RestoreLabelsd
from bundle.transforms.shape_prior import ShapePriord

__all__ = [
    "AddChannelsd",
    "CloseLabelsd",
    "CropBodyd",
    "CropOrgansd",
    "DenseCRFd",
    "KeepPiecesd",
    "MapLabels",
    "MapLabelsd",
    "NormalizeBodyd",
    "RandCropAffined",
    "ResampleSpacingd",
    "RestoreLabelsd",
    "ShapePriord",
    "labelled_or_all",
    "margin_voxels",
]
