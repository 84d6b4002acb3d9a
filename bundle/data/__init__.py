"""Which images, which labels, which split; checks; the synthetic abdomen."""
