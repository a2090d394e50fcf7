"""A ViT's tensors in timm's names: written apart from the package's tables, as an oracle and for examples."""

import torch

from qvec_hub.backbone.names import backbone_tensors

WITHIN = {
    "attention.output.dense": "attn.proj",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}


def timm_state(model, head=True):
    """State dict of a `ViTForImageClassification` as timm's VisionTransformer would save it."""
    ours = backbone_tensors(model)
    state = {
        "cls_token": ours["embeddings.cls_token"],
        "pos_embed": ours["embeddings.position_embeddings"],
    }
    for part in ("weight", "bias"):
        state[f"patch_embed.proj.{part}"] = ours[f"embeddings.patch_embeddings.projection.{part}"]
        state[f"norm.{part}"] = ours[f"layernorm.{part}"]
        if head:
            state[f"head.{part}"] = getattr(model.classifier, part).detach()
        for layer in range(model.config.num_hidden_layers):
            before = f"encoder.layer.{layer}."
            for name, theirs in WITHIN.items():
                state[f"blocks.{layer}.{theirs}.{part}"] = ours[f"{before}{name}.{part}"]
            three = [ours[f"{before}attention.attention.{name}.{part}"] for name in ("query", "key", "value")]
            state[f"blocks.{layer}.attn.qkv.{part}"] = torch.cat(three)
    return {name: tensor.clone() for name, tensor in state.items()}
