"""Starting from other weights, under its former name; see `bundle.networks.weights.transfer`."""

from bundle.networks.weights.transfer import GatesFirst, gates_only, transfer

__all__ = ["GatesFirst", "gates_only", "transfer"]
