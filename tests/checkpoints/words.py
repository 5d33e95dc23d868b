"""Checkpoints that read words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.checkpoints.closed import swin
from tests.checkpoints.making import (
    bert_tokenizer,
    clip_texts,
    clip_tokenizer,
    qwen_ids,
    qwen_texts,
    qwen_tokenizer,
    save,
    small,
    square,
    widened,
)


def grounding_dino(folder: Path) -> Path:
    from transformers import (
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
    )

    words = BertConfig(vocab_size=96, **small())
    pictures = swin()
    pictures.out_features = None
    pictures.out_indices = [2, 3, 4]
    config = GroundingDinoConfig(
        backbone_config=pictures,
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
        text_config=clip_texts(tokenizer),
        vision_config=small(image_size=64, patch_size=16),
        projection_dim=16,
    )
    images = Owlv2ImageProcessor(size=square(64))
    return save(folder, widened(Owlv2ForObjectDetection(config), std=0.3), Owlv2Processor(images, tokenizer))


def clipseg(folder: Path) -> Path:
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPSegProcessor, ViTImageProcessor

    tokenizer = clip_tokenizer()
    config = CLIPSegConfig(
        text_config=clip_texts(tokenizer),
        vision_config=small(4, image_size=64, patch_size=16),
        projection_dim=16,
        extract_layers=[1, 2, 3],
        reduce_dim=16,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    images = ViTImageProcessor(size=square(64))
    processor = CLIPSegProcessor(images, tokenizer)
    return save(folder, widened(CLIPSegForImageSegmentation(config), std=0.3), processor)


def sam3_parts() -> dict[str, Any]:
    torch.manual_seed(0)  # positions are drawn when a network is made
    tokenizer = clip_tokenizer(32)
    heads = {"hidden_size": 32, "num_attention_heads": 2}
    return {
        "vision_config": {
            "backbone_config": {
                **small(2, 32),
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
        "text_config": {"model_type": "clip_text_model", "projection_dim": 16, **clip_texts(tokenizer, 32)},
        "geometry_encoder_config": {**heads, "num_layers": 1, "intermediate_size": 32},
        "detr_encoder_config": {**heads, "num_layers": 1, "intermediate_size": 32},
        "detr_decoder_config": {**heads, "num_layers": 2, "intermediate_size": 32, "num_queries": 8},
        "mask_decoder_config": heads,
    }


def sam3(folder: Path) -> Path:
    from transformers import Sam3Config, Sam3ImageProcessor, Sam3Model, Sam3Processor

    images = Sam3ImageProcessor(size=square(112), mask_size=square(28))
    processor = Sam3Processor(images, clip_tokenizer(32))
    return save(folder, widened(Sam3Model(Sam3Config(**sam3_parts())), std=0.15), processor)


def sam2(folder: Path) -> Path:
    from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2Processor

    config = Sam2Config(vision_config=hiera(), **sam_heads())
    images = Sam2ImageProcessor(size=square(128), mask_size=square(32))
    return save(folder, widened(Sam2Model(config), std=0.15), Sam2Processor(images))


def hiera() -> dict[str, Any]:
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


def sam_heads() -> dict[str, Any]:
    return {
        "prompt_encoder_config": {"hidden_size": 128, "image_size": 128},
        "mask_decoder_config": {
            "hidden_size": 128,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 32,
        },
    }


TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}"
    "{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Of a conversation, as those of Qwen are."""


def qwen25_vl(folder: Path) -> Path:
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = qwen_tokenizer()
    config = Qwen2_5_VLConfig(
        text_config=qwen_texts(tokenizer, 2, 32, [2, 3, 3]),
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [0],
        },
        **qwen_ids(tokenizer),
    )
    images = Qwen2VLImageProcessor(size={"shortest_edge": 28 * 28, "longest_edge": 56 * 56})
    processor = Qwen2_5_VLProcessor(images, tokenizer, Qwen2VLVideoProcessor(), chat_template=TEMPLATE)
    return save(folder, widened(Qwen2_5_VLForConditionalGeneration(config), std=0.3), processor)


def qwen3_vl(folder: Path) -> Path:
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    tokenizer = qwen_tokenizer()
    config = Qwen3VLConfig(
        text_config=qwen_texts(tokenizer, 3, 32, [2, 3, 3], head_dim=16),
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
        **qwen_ids(tokenizer),
    )
    images = Qwen2VLImageProcessor(
        patch_size=16, size={"shortest_edge": 32 * 32, "longest_edge": 64 * 64}, merge_size=2
    )
    videos = Qwen3VLVideoProcessor(patch_size=16, merge_size=2)
    processor = Qwen3VLProcessor(images, tokenizer, videos, chat_template=TEMPLATE)
    return save(folder, widened(Qwen3VLForConditionalGeneration(config), std=0.3), processor)


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
    images = CLIPImageProcessor(size=square(64), do_center_crop=False, image_seq_length=5, resample=3)
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
