"""Dictionary and array transforms that MONAI lacks."""
