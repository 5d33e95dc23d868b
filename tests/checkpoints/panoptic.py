"""Checkpoints of older panoptic networks, which the generic backend takes."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.checkpoints.closed import swin
from tests.checkpoints.making import CLASSES, save, square, widened


def maskformer(folder: Path) -> Path:
    from transformers import (
        DetrConfig,
        MaskFormerConfig,
        MaskFormerForInstanceSegmentation,
        MaskFormerImageProcessor,
    )

    decoder = DetrConfig(
        d_model=32,
        decoder_layers=2,
        decoder_ffn_dim=32,
        decoder_attention_heads=4,
        encoder_layers=1,
        encoder_ffn_dim=32,
        encoder_attention_heads=4,
        num_queries=8,
    )
    config = MaskFormerConfig(
        fpn_feature_size=32,
        mask_feature_size=32,
        backbone_config=swin(),
        decoder_config=decoder.to_dict(),
        id2label=CLASSES,
    )
    processor = MaskFormerImageProcessor(size=square(64), num_labels=4)
    return save(folder, widened(MaskFormerForInstanceSegmentation(config), seed=2, std=0.45), processor)


def detr_panoptic(folder: Path) -> Path:
    from transformers import DetrConfig, DetrForSegmentation, DetrImageProcessor, ResNetConfig

    config = DetrConfig(
        backbone_config=ResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 16, 16, 32],
            depths=[1, 1, 1, 1],
            layer_type="basic",
            out_features=["stage1", "stage2", "stage3", "stage4"],
        ),
        d_model=64,
        encoder_layers=1,
        encoder_ffn_dim=16,
        encoder_attention_heads=8,
        decoder_layers=2,
        decoder_ffn_dim=16,
        decoder_attention_heads=8,
        num_queries=12,
        id2label=CLASSES,
    )
    torch.manual_seed(0)  # biases are drawn when a network is made
    network = widened(DetrForSegmentation(config), seed=1, std=0.45)
    # What queries' masks differ by is where they look: that must not be small beside the picture's features.
    stem = next(each for each in network.detr.model.backbone.modules() if isinstance(each, torch.nn.Conv2d))
    with torch.no_grad():
        stem.weight *= 1e-5
        network.mask_head.conv1.conv.weight[:, -8:] *= 30
    return save(folder, network, DetrImageProcessor(size=square(128)))
