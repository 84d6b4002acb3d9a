"""The bundle behind a MONAI Label server: its environment, its app, and the verb that starts it."""
