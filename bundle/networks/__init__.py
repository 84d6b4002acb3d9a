"""The networks and what belongs to their weights."""

from bundle.networks.attention_sononet import AttentionSononet
from bundle.networks.attention_unet import AttentionMaps, AttentionUnet
from bundle.networks.dense_vnet import DenseVNet
from bundle.networks.fast.folding import fold_batch_norm
from bundle.networks.grid_gate import GridAttentionGate

__all__ = ["AttentionMaps", "AttentionSononet", "AttentionUnet", "DenseVNet", "GridAttentionGate", "fold_batch_norm"]
