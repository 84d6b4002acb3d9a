"""Synthetic CT: a tissue map (painted, or from label maps) and its rendering as a scanner would show it."""
