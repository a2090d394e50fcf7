"""How other libraries name and cut the tensors of a Vision Transformer: one file a library, one row a rename."""

from . import dinov2, open_clip, timm_swin, timm_vit

__all__ = ["dinov2", "open_clip", "timm_swin", "timm_vit"]
