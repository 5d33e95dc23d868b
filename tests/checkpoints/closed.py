"""Checkpoints with closed lists of classes, and of depth and normals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.checkpoints.making import CLASSES, clip_tokenizer, save, square, widened


def dinov2(**changes: Any) -> Any:
    from transformers import Dinov2Config

    return Dinov2Config(
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=70,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        apply_layernorm=True,
        **changes,
    )


def depth_anything(folder: Path, kind: str = "metric") -> Path:
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, DPTImageProcessor

    config = DepthAnythingConfig(
        backbone_config=dinov2(),
        reassemble_hidden_size=24,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=80,
    )
    processor = DPTImageProcessor(size=square(70), keep_aspect_ratio=True, ensure_multiple_of=14)
    return save(folder, widened(DepthAnythingForDepthEstimation(config), std=0.15), processor)


def dpt(folder: Path) -> Path:
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8,
    )
    return save(folder, DPTForDepthEstimation(config), DPTImageProcessor(size=square(32)))


def zoedepth(folder: Path) -> Path:
    from transformers import BeitConfig, ZoeDepthConfig, ZoeDepthForDepthEstimation, ZoeDepthImageProcessor

    backbone = BeitConfig(
        image_size=64,
        patch_size=16,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=64,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        use_relative_position_bias=True,
        use_mask_token=False,
    )
    config = ZoeDepthConfig(
        backbone_config=backbone,
        backbone_hidden_size=32,
        neck_hidden_sizes=[16, 16, 16, 16],
        fusion_hidden_size=16,
        bottleneck_features=16,
        num_relative_features=8,
        bin_embedding_dim=16,
        num_patch_transformer_layers=1,
        patch_transformer_hidden_size=16,
        patch_transformer_intermediate_size=32,
    )
    processor = ZoeDepthImageProcessor(size=square(64))
    return save(folder, widened(ZoeDepthForDepthEstimation(config)), processor)


def depth_pro(folder: Path) -> Path:
    from transformers import DepthProConfig, DepthProForDepthEstimation, DepthProImageProcessor

    vit = {
        "model_type": "dinov2",
        "image_size": 64,
        "patch_size": 16,
        "hidden_size": 16,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "mlp_ratio": 2,
        "use_mask_token": False,
    }
    config = DepthProConfig(
        image_model_config=vit,
        patch_model_config=vit,
        fov_model_config=vit,
        patch_size=64,
        fusion_hidden_size=16,
        intermediate_hook_ids=[3, 1],
        intermediate_feature_dims=[16, 16],
        scaled_images_ratios=[0.25, 0.5, 1.0],
        scaled_images_overlap_ratios=[0.0, 0.5, 0.25],
        scaled_images_feature_dims=[32, 16, 16],
        use_fov_model=True,
        num_fov_head_layers=2,
    )
    processor = DepthProImageProcessor(size=square(256))
    network = widened(DepthProForDepthEstimation(config), std=0.2)
    torch.nn.init.constant_(network.head.layers[-2].bias, 0.5)  # else its last step cuts off all there is
    torch.nn.init.constant_(network.fov_model.head.layers[-1].bias, 60.0)  # degrees
    return save(folder, network, processor)


def tips(folder: Path) -> Path:
    from transformers import (
        Tipsv2DptConfig,
        Tipsv2DptForDensePrediction,
        Tipsv2DptImageProcessor,
        Tipsv2VisionConfig,
    )

    backbone = Tipsv2VisionConfig(
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=56,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    config = Tipsv2DptConfig(
        backbone_config=backbone,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
        num_depth_bins=16,
        id2label=CLASSES,
    )
    processor = Tipsv2DptImageProcessor(size=square(56))
    return save(folder, widened(Tipsv2DptForDensePrediction(config), std=0.2), processor)


def tips_normals(folder: Path) -> Path:
    from transformers import Tipsv2DptConfig, Tipsv2DptForNormalEstimation, Tipsv2DptImageProcessor

    whole = tips(folder.with_name(folder.name + "-whole"))
    config = Tipsv2DptConfig.from_pretrained(whole)
    processor = Tipsv2DptImageProcessor(size=square(56))
    return save(folder, widened(Tipsv2DptForNormalEstimation(config), std=0.2), processor)


def sapiens_normals(folder: Path) -> Path:
    from transformers import Sapiens2Config, Sapiens2ForNormalEstimation, Sapiens2ImageProcessor

    config = Sapiens2Config(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_attention_heads=2,
        image_size=64,
        num_labels=3,
        head_config={
            "use_pixel_shuffle": True,
            "upsample_out_channels": [16] * 4,
            "upsample_kernel_size": 3,
            "conv_out_channels": [8],
        },
    )
    processor = Sapiens2ImageProcessor(size=square(64), do_pad=True)
    return save(folder, widened(Sapiens2ForNormalEstimation(config), std=0.2), processor)


def segformer(folder: Path) -> Path:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    config = SegformerConfig(
        hidden_sizes=[8, 16, 16, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        id2label=CLASSES,
    )
    processor = SegformerImageProcessor(size=square(64))
    return save(folder, widened(SegformerForSemanticSegmentation(config), std=0.3), processor)


def swin() -> Any:
    from transformers import SwinConfig

    return SwinConfig(
        image_size=64,
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 2],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


def mask2former(folder: Path) -> Path:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessor

    config = Mask2FormerConfig(
        backbone_config=swin(),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=4,
        dim_feedforward=32,
        num_queries=8,
        id2label=CLASSES,
    )
    processor = Mask2FormerImageProcessor(size=square(64), num_labels=4)
    return save(folder, widened(Mask2FormerForUniversalSegmentation(config), std=0.3), processor)


def oneformer(folder: Path) -> Path:
    import json

    from transformers import (
        OneFormerConfig,
        OneFormerForUniversalSegmentation,
        OneFormerImageProcessor,
        OneFormerProcessor,
    )

    config = OneFormerConfig(
        backbone_config=swin(),
        num_queries=10,
        hidden_dim=32,
        mask_dim=32,
        conv_dim=32,
        text_encoder_width=32,
        text_encoder_context_length=77,
        text_encoder_num_layers=1,
        text_encoder_vocab_size=256,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        query_dec_layers=1,
        dim_feedforward=32,
        num_attention_heads=4,
        task_seq_len=77,
        is_training=False,
        id2label=CLASSES,
    )
    folder.mkdir(parents=True, exist_ok=True)
    info = {str(k): {"name": name, "isthing": k < 2} for k, name in CLASSES.items()}
    (folder / "class_info.json").write_text(json.dumps(info))
    images = OneFormerImageProcessor(
        size=square(64), repo_path=str(folder), class_info_file="class_info.json", num_labels=4, num_text=8
    )
    processor = OneFormerProcessor(images, clip_tokenizer(77))
    return save(folder, widened(OneFormerForUniversalSegmentation(config), std=0.2), processor)


def eomt(folder: Path, *, splits: bool = False) -> Path:
    from transformers import EomtConfig, EomtForUniversalSegmentation, EomtImageProcessor

    config = EomtConfig(
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=64,
        patch_size=16,
        num_blocks=1,
        num_queries=8,
        num_upscale_blocks=1,
        id2label=CLASSES,
    )
    size = {"shortest_edge": 64, "longest_edge": None if splits else 64}
    processor = EomtImageProcessor(size=size, do_split_image=splits, do_pad=not splits)
    return save(folder, widened(EomtForUniversalSegmentation(config), std=0.3), processor)


def eomt_splitting(folder: Path) -> Path:
    return eomt(folder, splits=True)


def rf_detr(folder: Path, *, paints: bool = True) -> Path:
    from transformers import (
        RfDetrConfig,
        RfDetrDinov2Config,
        RfDetrForInstanceSegmentation,
        RfDetrForObjectDetection,
        RfDetrImageProcessor,
    )

    backbone = RfDetrDinov2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=56,
        num_windows=2,
        out_indices=[1, 2],
    )
    config = RfDetrConfig(
        backbone_config=backbone,
        d_model=32,
        c2f_num_blocks=1,
        decoder_layers=2,
        decoder_ffn_dim=16,
        decoder_self_attention_heads=2,
        decoder_cross_attention_heads=2,
        num_queries=8,
        group_detr=1,
        id2label=CLASSES,
    )
    cls = RfDetrForInstanceSegmentation if paints else RfDetrForObjectDetection
    processor = RfDetrImageProcessor(size=square(56))
    network = widened(cls(config), std=0.2)
    torch.nn.init.zeros_(
        (network.model if paints else network).class_embed.bias
    )  # begins with a hundredth for each class
    return save(folder, network, processor)


def rt_detr(folder: Path) -> Path:
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrImageProcessor, RTDetrResNetConfig

    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 32],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=16,
        encoder_in_channels=[16, 16, 32],
        encoder_layers=1,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        d_model=16,
        decoder_in_channels=[16, 16, 16],
        decoder_layers=2,
        decoder_ffn_dim=16,
        decoder_attention_heads=2,
        num_queries=12,
        num_denoising=0,
        id2label=CLASSES,
    )
    torch.manual_seed(0)  # biases are drawn when a network is made
    processor = RTDetrImageProcessor(size=square(64))
    return save(folder, widened(RTDetrForObjectDetection(config), std=0.3), processor)
