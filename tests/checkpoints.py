"""Tiny checkpoints of real architectures, in the real format, with weights drawn wide enough that answers vary.

Each function writes one into a folder and gives that folder. Nothing is downloaded: the tokenizers are made here, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

CLASSES = {0: "car", 1: "person, individual", 2: "tree-merged", 3: "road"}


def widened(network: Any, seed: int = 0, std: float = 0.1) -> Any:
    """The network with matrices of the given spread: default ones answer the same of every picture."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for each in network.parameters():
            if each.ndim >= 2:
                each.copy_(torch.randn(each.shape, generator=generator) * std)
    return network.eval()


def save(folder: Path, network: Any, *processors: Any) -> Path:
    network.save_pretrained(folder)
    for each in processors:
        each.save_pretrained(folder)
    return folder


def clip_tokenizer(length: int = 16) -> Any:
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=length)


def bert_tokenizer() -> Any:
    from transformers import BertTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,?!'"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{each}" for each in letters)]
    return BertTokenizer(vocab={word: number for number, word in enumerate(words)}, do_lower_case=True)


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
    processor = DPTImageProcessor(
        size={"height": 70, "width": 70}, keep_aspect_ratio=True, ensure_multiple_of=14
    )
    return save(folder, widened(DepthAnythingForDepthEstimation(config), std=0.15), processor)


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
    processor = ZoeDepthImageProcessor(size={"height": 64, "width": 64})
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
    processor = DepthProImageProcessor(size={"height": 256, "width": 256})
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
    processor = Tipsv2DptImageProcessor(size={"height": 56, "width": 56})
    return save(folder, widened(Tipsv2DptForDensePrediction(config), std=0.2), processor)


def segformer(folder: Path) -> Path:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    config = SegformerConfig(
        hidden_sizes=[8, 16, 16, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        id2label=CLASSES,
    )
    processor = SegformerImageProcessor(size={"height": 64, "width": 64})
    return save(folder, widened(SegformerForSemanticSegmentation(config), std=0.3), processor)


def _swin() -> Any:
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
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
    )

    config = Mask2FormerConfig(
        backbone_config=_swin(),
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
    processor = Mask2FormerImageProcessor(size={"height": 64, "width": 64}, num_labels=4)
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
        backbone_config=_swin(),
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
        size={"height": 64, "width": 64},
        repo_path=str(folder),
        class_info_file="class_info.json",
        num_labels=4,
        num_text=8,
    )
    processor = OneFormerProcessor(images, clip_tokenizer(77))
    return save(folder, widened(OneFormerForUniversalSegmentation(config), std=0.2), processor)


def eomt_splitting(folder: Path) -> Path:
    return eomt(folder, splits=True)


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
    processor = RfDetrImageProcessor(size={"height": 56, "width": 56})
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
    processor = RTDetrImageProcessor(size={"height": 64, "width": 64})
    return save(folder, widened(RTDetrForObjectDetection(config), std=0.3), processor)


def grounding_dino(folder: Path) -> Path:
    from transformers import (
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
    )

    words = BertConfig(
        vocab_size=96, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    swin = _swin()
    swin.out_features = None
    swin.out_indices = [2, 3, 4]
    config = GroundingDinoConfig(
        backbone_config=swin,
        text_config=words,
        num_queries=12,
        encoder_layers=1,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_ffn_dim=16,
        decoder_attention_heads=2,
        d_model=32,
        max_text_len=32,
    )
    images = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    processor = GroundingDinoProcessor(images, bert_tokenizer())
    return save(folder, widened(GroundingDinoForObjectDetection(config), std=0.2), processor)


def owlv2(folder: Path) -> Path:
    from transformers import Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor, Owlv2Processor

    tokenizer = clip_tokenizer()
    config = Owlv2Config(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 16,
            "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": tokenizer.bos_token_id,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 16,
        },
        projection_dim=16,
    )
    images = Owlv2ImageProcessor(size={"height": 64, "width": 64})
    return save(folder, widened(Owlv2ForObjectDetection(config), std=0.3), Owlv2Processor(images, tokenizer))


def clipseg(folder: Path) -> Path:
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPSegProcessor, ViTImageProcessor

    tokenizer = clip_tokenizer()
    config = CLIPSegConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 16,
            "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": tokenizer.bos_token_id,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 16,
        },
        projection_dim=16,
        extract_layers=[1, 2, 3],
        reduce_dim=16,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    images = ViTImageProcessor(size={"height": 64, "width": 64})
    processor = CLIPSegProcessor(images, tokenizer)
    return save(folder, widened(CLIPSegForImageSegmentation(config), std=0.3), processor)


def _sam3_parts() -> dict[str, Any]:
    torch.manual_seed(0)  # positions are drawn when a network is made
    tokenizer = clip_tokenizer(32)
    small = {"hidden_size": 32, "num_attention_heads": 2}
    return {
        "vision_config": {
            "backbone_config": {
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 112,
                "patch_size": 14,
                "window_size": 4,
                "global_attn_indexes": [1],
                "pretrain_image_size": 56,
                "model_type": "sam3_vit_model",
            },
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        },
        "text_config": {
            "model_type": "clip_text_model",
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 32,
            "projection_dim": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 32,
            "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": tokenizer.bos_token_id,
        },
        "geometry_encoder_config": {**small, "num_layers": 1, "intermediate_size": 32},
        "detr_encoder_config": {**small, "num_layers": 1, "intermediate_size": 32},
        "detr_decoder_config": {**small, "num_layers": 2, "intermediate_size": 32, "num_queries": 8},
        "mask_decoder_config": {"hidden_size": 32, "num_attention_heads": 2},
    }


def sam3(folder: Path) -> Path:
    from transformers import Sam3Config, Sam3ImageProcessor, Sam3Model, Sam3Processor

    images = Sam3ImageProcessor(size={"height": 112, "width": 112}, mask_size={"height": 28, "width": 28})
    processor = Sam3Processor(images, clip_tokenizer(32))
    return save(folder, widened(Sam3Model(Sam3Config(**_sam3_parts())), std=0.15), processor)


def sam2(folder: Path) -> Path:
    from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2Processor

    config = Sam2Config(vision_config=_hiera(), **_sam_heads())
    images = Sam2ImageProcessor(size={"height": 128, "width": 128}, mask_size={"height": 32, "width": 32})
    return save(folder, widened(Sam2Model(config), std=0.15), Sam2Processor(images))


def _hiera() -> dict[str, Any]:
    torch.manual_seed(0)  # positions are drawn when a network is made
    return {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 16,
            "image_size": [128, 128],
            "blocks_per_stage": [1, 2, 2, 1],
            "embed_dim_per_stage": [16, 32, 64, 128],
            "num_attention_heads_per_stage": [1, 1, 2, 2],
            "window_size_per_stage": [4, 4, 4, 4],
            "global_attention_blocks": [2],
            "window_positional_embedding_background_size": [4, 4],
        },
        "backbone_channel_list": [128, 64, 32, 16],
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        "fpn_hidden_size": 128,
    }


def _sam_heads() -> dict[str, Any]:
    return {
        "prompt_encoder_config": {"hidden_size": 128, "image_size": 128},
        "mask_decoder_config": {
            "hidden_size": 128,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 32,
        },
    }


def tips_normals(folder: Path) -> Path:
    from transformers import Tipsv2DptConfig, Tipsv2DptForNormalEstimation, Tipsv2DptImageProcessor

    whole = tips(folder.with_name(folder.name + "-whole"))
    config = Tipsv2DptConfig.from_pretrained(whole)
    processor = Tipsv2DptImageProcessor(size={"height": 56, "width": 56})
    return save(folder, widened(Tipsv2DptForNormalEstimation(config), std=0.2), processor)


def qwen3_vl(folder: Path) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
    special += ["<|image_pad|>", "<|video_pad|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {word: number for number, word in enumerate([*letters, *special])}
    words = Tokenizer(models.BPE(vocabulary, []))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=special[1:],
        extra_special_tokens={
            "image_token": "<|image_pad|>",
            "video_token": "<|video_pad|>",
            "vision_bos_token": "<|vision_start|>",
            "vision_eos_token": "<|vision_end|>",
        },
    )
    number = tokenizer.convert_tokens_to_ids
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(vocabulary),
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4},
            "pad_token_id": number("<|endoftext|>"),
            "eos_token_id": number("<|im_end|>"),
            "bos_token_id": number("<|endoftext|>"),
        },
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "patch_size": 16,
            "out_hidden_size": 32,
            "deepstack_visual_indexes": [0, 1],
            "num_position_embeddings": 16,
        },
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
    )
    template = (
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
        "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}"
        "{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    images = Qwen2VLImageProcessor(
        patch_size=16, size={"shortest_edge": 32 * 32, "longest_edge": 64 * 64}, merge_size=2
    )
    videos = Qwen3VLVideoProcessor(patch_size=16, merge_size=2)
    processor = Qwen3VLProcessor(images, tokenizer, videos, chat_template=template)
    return save(folder, widened(Qwen3VLForConditionalGeneration(config), std=0.3), processor)


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

    parts = _sam3_parts()
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
        mask_decoder_config={
            "hidden_size": 128,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 32,
        },
        memory_attention_hidden_size=128,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[8, 8],
        memory_encoder_hidden_size=128,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=128,
        memory_fuser_num_layers=1,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=32,
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
    size = {"height": 112, "width": 112}
    images = Sam3ImageProcessor(size=size, mask_size={"height": 28, "width": 28})
    processor = Sam3VideoProcessor(images, Sam2VideoVideoProcessor(size=size), clip_tokenizer(32))
    return save(folder, widened(Sam3VideoModel(config), std=0.15), processor)


def klein(folder: Path) -> Path:
    from diffusers import (
        AutoencoderKLFlux2,
        FlowMatchEulerDiscreteScheduler,
        Flux2KleinPipeline,
        Flux2Transformer2DModel,
    )
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {word: k for k, word in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), *special])}
    words = Tokenizer(models.BPE(vocabulary, []))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<|endoftext|>",
        additional_special_tokens=special[1:],
        chat_template="{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}",
    )
    texts = Qwen3Config(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=28,  # it reads the states of layers 9, 18 and 27
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    transformer = Flux2Transformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,
        timestep_guidance_channels=16,
        axes_dims_rope=[4, 4, 4, 4],
        guidance_embeds=False,
    )
    vae = AutoencoderKLFlux2(
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    pipeline = Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=widened(vae, std=0.2),
        text_encoder=widened(Qwen3ForCausalLM(texts)),
        tokenizer=tokenizer,
        transformer=widened(transformer, std=0.4),
        is_distilled=True,
    )
    pipeline.save_pretrained(folder)
    return folder


def florence(folder: Path) -> Path:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        BartConfig,
        CLIPImageProcessor,
        Florence2Config,
        Florence2ForConditionalGeneration,
        Florence2Processor,
        PreTrainedTokenizerFast,
    )

    special = ["<s>", "<pad>", "</s>", "<unk>", "<image>"]
    places = [f"<loc_{k}>" for k in range(1000)]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {word: k for k, word in enumerate([*special, *letters])}
    words = Tokenizer(models.BPE(vocabulary, []))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    words.add_tokens([AddedToken(each, normalized=False) for each in places])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
    )
    size = len(tokenizer)
    config = Florence2Config(
        text_config=BartConfig(
            vocab_size=size,
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            bos_token_id=0,
            pad_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=2,
            forced_eos_token_id=2,
        ).to_dict(),
        vision_config={
            "depths": [1, 1, 1, 1],
            "embed_dim": [8, 8, 16, 16],
            "num_heads": [1, 1, 2, 2],
            "num_groups": [1, 1, 2, 2],
            "window_size": 2,
            "projection_dim": 16,
        },
        image_token_id=4,
    )
    images = CLIPImageProcessor(
        size={"height": 64, "width": 64}, do_center_crop=False, image_seq_length=5, resample=3
    )
    images.image_seq_length = 5
    numbers = {"NUM_BBOX_HEIGHT_BINS": 1000, "NUM_BBOX_WIDTH_BINS": 1000}
    reading = {
        "description_with_bboxes_or_polygons": {"PATTERN": "", **numbers},
        "description_with_bboxes": {"PATTERN": "", **numbers},
        "description_with_polygons": {"PATTERN": "", **numbers},
        "polygons": {"PATTERN": "", **numbers},
    }
    processor = Florence2Processor(
        images, tokenizer, num_additional_image_tokens=0, post_processor_config=reading
    )
    return save(folder, widened(Florence2ForConditionalGeneration(config), std=0.5), processor)


def marigold(folder: Path) -> Path:
    from diffusers import AutoencoderKL, DDIMScheduler, MarigoldNormalsPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = clip_tokenizer()
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=8,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=16,
        attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    texts = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    pipeline = MarigoldNormalsPipeline(
        unet=widened(unet, std=0.15),
        vae=widened(vae, std=0.2),
        scheduler=DDIMScheduler(prediction_type="v_prediction", timestep_spacing="trailing"),
        text_encoder=widened(CLIPTextModel(texts)),
        tokenizer=tokenizer,
        prediction_type="normals",
        default_denoising_steps=4,
        default_processing_resolution=64,
    )
    pipeline.save_pretrained(folder)
    return folder


def sam2_video(folder: Path) -> Path:
    from transformers import (
        Sam2ImageProcessor,
        Sam2VideoConfig,
        Sam2VideoModel,
        Sam2VideoProcessor,
        Sam2VideoVideoProcessor,
    )

    config = Sam2VideoConfig(
        vision_config={**_hiera(), "model_type": "sam2_vision_model"},
        **_sam_heads(),
        image_size=128,
        memory_attention_hidden_size=128,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[8, 8],
        memory_encoder_hidden_size=128,
        mask_downsampler_embed_dim=128,
        memory_fuser_num_layers=1,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=32,
    )
    size = {"height": 128, "width": 128}
    images = Sam2ImageProcessor(size=size, mask_size={"height": 32, "width": 32})
    processor = Sam2VideoProcessor(images, Sam2VideoVideoProcessor(size=size))
    network = widened(Sam2VideoModel(config), std=0.15)
    torch.nn.init.constant_(
        network.mask_decoder.pred_obj_score_head.proj_out.bias, 8.0
    )  # else it sees nothing
    return save(folder, network, processor)
