"""Checkpoints that draw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.checkpoints.making import (
    clip_texts,
    clip_tokenizer,
    qwen_ids,
    qwen_texts,
    qwen_tokenizer,
    small,
    widened,
)


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
        **small(28),  # it reads the states of layers 9, 18 and 27
        vocab_size=len(vocabulary),
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


def qwen_edit(folder: Path) -> Path:
    from diffusers import (
        AutoencoderKLQwenImage,
        FlowMatchEulerDiscreteScheduler,
        QwenImageEditPipeline,
        QwenImageTransformer2DModel,
    )
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = qwen_tokenizer()
    texts = Qwen2_5_VLConfig(
        text_config=qwen_texts(tokenizer, 2, 16, [1, 1, 2]),
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
            "fullatt_block_indexes": [0],
        },
        **qwen_ids(tokenizer),
    )
    torch.manual_seed(0)
    transformer = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(8, 4, 4),
    )
    vae = AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    images = Qwen2VLImageProcessor(size={"shortest_edge": 56 * 56, "longest_edge": 112 * 112})
    pipeline = QwenImageEditPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=widened(vae, std=0.2),
        text_encoder=widened(Qwen2_5_VLForConditionalGeneration(texts)),
        tokenizer=tokenizer,
        processor=Qwen2VLProcessor(images, tokenizer, Qwen2VLVideoProcessor()),
        transformer=widened(transformer, std=0.8),
    )
    pipeline.save_pretrained(folder)
    return folder


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
    texts = CLIPTextConfig(**clip_texts(tokenizer))
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


@pytest.fixture(scope="module", autouse=True)
def small_looks() -> Iterator[None]:
    """Qwen's looks at a megapixel, which takes half a minute; here it looks at a four-hundredth of one.

    A module that imports it has it.
    """
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit as library

    dimensions = library.calculate_dimensions
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "calculate_dimensions", lambda _area, ratio: dimensions(64 * 64, ratio))
        yield
