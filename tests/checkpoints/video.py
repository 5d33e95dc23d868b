"""Checkpoints that follow things through videos."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.checkpoints.making import clip_tokenizer, save, square, widened
from tests.checkpoints.words import hiera, sam3_parts, sam_heads

MEMORY = {
    "memory_attention_hidden_size": 128,
    "memory_attention_num_layers": 1,
    "memory_attention_rope_feat_sizes": [8, 8],
    "memory_encoder_hidden_size": 128,
    "mask_downsampler_embed_dim": 128,
    "memory_fuser_num_layers": 1,
    "memory_fuser_embed_dim": 128,
    "memory_fuser_intermediate_dim": 32,
}


def sam3_video(folder: Path) -> Path:
    from transformers import (
        Sam2VideoVideoProcessor,
        Sam3Config,
        Sam3ImageProcessor,
        Sam3TrackerVideoConfig,
        Sam3VideoConfig,
        Sam3VideoModel,
        Sam3VideoProcessor,
    )

    parts = sam3_parts()
    parts["vision_config"]["fpn_hidden_size"] = 128
    for name in (
        "geometry_encoder_config",
        "detr_encoder_config",
        "detr_decoder_config",
        "mask_decoder_config",
    ):
        parts[name]["hidden_size"] = 128
    tracker = Sam3TrackerVideoConfig(
        vision_config={**parts["vision_config"], "model_type": "sam3_vision_model"},
        prompt_encoder_config={"hidden_size": 128, "image_size": 112, "patch_size": 14},
        mask_decoder_config=sam_heads()["mask_decoder_config"],
        memory_attention_feed_forward_hidden_size=32,
        **MEMORY,
        memory_encoder_output_channels=64,
        image_size=112,
    )
    config = Sam3VideoConfig(
        detector_config=Sam3Config(**parts).to_dict(),
        tracker_config=tracker.to_dict(),
        low_res_mask_size=32,
        max_num_objects=3,
        score_threshold_detection=0.2,
        new_det_thresh=0.2,
    )
    size = square(112)
    images = Sam3ImageProcessor(size=size, mask_size=square(28))
    processor = Sam3VideoProcessor(images, Sam2VideoVideoProcessor(size=size), clip_tokenizer(32))
    return save(folder, widened(Sam3VideoModel(config), std=0.15), processor)


def edgetam_video(folder: Path) -> Path:
    from transformers import (
        EdgeTamVideoConfig,
        EdgeTamVideoModel,
        Sam2ImageProcessor,
        Sam2VideoProcessor,
        Sam2VideoVideoProcessor,
    )

    torch.manual_seed(0)  # positions are drawn when a network is made
    config = EdgeTamVideoConfig(
        vision_config={
            "model_type": "edgetam_vision_model",
            "backbone_config": {
                "model_type": "timm_wrapper",
                "architecture": "repvit_m1",
                "num_classes": 2,
                "label_names": ["a", "b"],
                "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
            },
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "fpn_hidden_size": 128,
        },
        **sam_heads(),
        image_size=128,
        **MEMORY,
        memory_attention_mlp_hidden_size=32,
        memory_attention_rope_k_sizes=[4, 4],
        perceiver_resampler_num_latents=16,
        perceiver_resampler_num_latents_2d=16,
        perceiver_resampler_num_layers=1,
    )
    size = square(128)
    images = Sam2ImageProcessor(size=size, mask_size=square(32))
    processor = Sam2VideoProcessor(images, Sam2VideoVideoProcessor(size=size))
    network = widened(EdgeTamVideoModel(config), std=0.15)
    torch.nn.init.constant_(network.mask_decoder.pred_obj_score_head.proj_out.bias, 8.0)
    return save(folder, network, processor)


def sam2_video(folder: Path) -> Path:
    from transformers import (
        Sam2ImageProcessor,
        Sam2VideoConfig,
        Sam2VideoModel,
        Sam2VideoProcessor,
        Sam2VideoVideoProcessor,
    )

    config = Sam2VideoConfig(
        vision_config={**hiera(), "model_type": "sam2_vision_model"},
        **sam_heads(),
        image_size=128,
        **MEMORY,
        memory_attention_feed_forward_hidden_size=32,
    )
    size = square(128)
    images = Sam2ImageProcessor(size=size, mask_size=square(32))
    processor = Sam2VideoProcessor(images, Sam2VideoVideoProcessor(size=size))
    network = widened(Sam2VideoModel(config), std=0.15)
    torch.nn.init.constant_(
        network.mask_decoder.pred_obj_score_head.proj_out.bias, 8.0
    )  # else it sees nothing
    return save(folder, network, processor)
