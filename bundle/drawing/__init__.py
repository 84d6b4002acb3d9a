"""The drawing that all pictures share: lines and text, layout, planes of a volume, figures without a window."""
