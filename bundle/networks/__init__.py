"""The networks and what belongs to their weights."""

from bundle.networks.attention_unet import AttentionMaps, AttentionUnet
from bundle.networks.fast.folding import fold_batch_norm
from bundle.networks.grid_gate import GridAttentionGate

__all__ = ["AttentionMaps", "AttentionUnet", "GridAttentionGate", "fold_batch_norm"]
