"""A checkpoint of GLM-V, which talks about pictures."""

from __future__ import annotations

from pathlib import Path

from tests.checkpoints.making import save, small, widened

SPECIAL = ["image", "video", "begin_of_image", "end_of_image", "begin_of_video", "end_of_video"]
TEMPLATE = (
    "{% for message in messages %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|begin_of_image|><|image|><|end_of_image|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endfor %}"
)


def glm4v(folder: Path) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        Glm4vConfig,
        Glm4vForConditionalGeneration,
        Glm4vImageProcessor,
        Glm4vProcessor,
        Glm4vVideoProcessor,
        PreTrainedTokenizerFast,
    )

    special = ["<|endoftext|>", *(f"<|{name}|>" for name in SPECIAL)]
    vocabulary = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *special]
    words = Tokenizer(models.BPE({word: number for number, word in enumerate(vocabulary)}, []))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        eos_token=special[0],
        pad_token=special[0],
        additional_special_tokens=special[1:],
        extra_special_tokens={"image_token": "<|image|>", "video_token": "<|video|>"},
    )
    number = dict(zip(["end", *SPECIAL], tokenizer.convert_tokens_to_ids(special), strict=True))
    texts = small(2, 32, vocab_size=len(tokenizer), num_key_value_heads=2)
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4}
    ends = {"pad_token_id": number["end"], "eos_token_id": number["end"]}
    config = Glm4vConfig(
        text_config={**texts, **ends, "rope_parameters": {**rope, "partial_rotary_factor": 1.0}},
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 32,
            "image_size": 56,
            "patch_size": 14,
        },
        image_token_id=number["image"],
        video_token_id=number["video"],
        image_start_token_id=number["begin_of_image"],
        image_end_token_id=number["end_of_image"],
        video_start_token_id=number["begin_of_video"],
        video_end_token_id=number["end_of_video"],
    )
    images = Glm4vImageProcessor(size={"shortest_edge": 2 * 28 * 28, "longest_edge": 2 * 56 * 56})
    processor = Glm4vProcessor(images, tokenizer, Glm4vVideoProcessor(), chat_template=TEMPLATE)
    return save(folder, widened(Glm4vForConditionalGeneration(config), std=0.3), processor)
