"""Weights: reading and writing them, their digest, the authors' weights, means of several, starting from others."""

from bundle.networks.weights.files import (
    digest,
    file_digest,
    load_weights,
    not_finite,
    read_checkpoint,
    read_state_dict,
    refuse_not_finite,
    state_dict_of,
    weights_digest,
    write_checkpoint,
    write_state_dict,
)

__all__ = [
    "digest",
    "file_digest",
    "load_weights",
    "not_finite",
    "read_checkpoint",
    "read_state_dict",
    "refuse_not_finite",
    "state_dict_of",
    "weights_digest",
    "write_checkpoint",
    "write_state_dict",
]
