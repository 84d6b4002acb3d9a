"""The authors' weights, under the name that others' code imports; see `bundle.networks.weights.authors`."""

from bundle.networks.weights.authors import convert_authors, convert_name, convert_state_dict, network_arguments, read_state_dict

__all__ = ["convert_authors", "convert_name", "convert_state_dict", "network_arguments", "read_state_dict"]
