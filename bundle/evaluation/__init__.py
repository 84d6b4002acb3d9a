"""Scores against references, runs compared, experiments over all folds."""
