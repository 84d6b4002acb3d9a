"""Makes `reference_networks` importable from the tests of this folder and below, as pytest does for folders of a conftest."""
