"""The networks and what belongs to their weights."""
