"""The mean of weights, under its former name; see `bundle.networks.weights.average`."""

from bundle.networks.weights.average import average

__all__ = ["average"]
