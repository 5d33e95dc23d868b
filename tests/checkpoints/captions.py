"""Checkpoints that write about a picture without a template for conversations."""

from __future__ import annotations

from pathlib import Path

from tests.checkpoints.making import bert_tokenizer, save, small, square, widened


def blip(folder: Path) -> Path:
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    tokenizer = bert_tokenizer()
    number = tokenizer.convert_tokens_to_ids
    ids = {
        "bos_token_id": number("[CLS]"),
        "eos_token_id": number("[SEP]"),
        "sep_token_id": number("[SEP]"),
        "pad_token_id": number("[PAD]"),
    }
    config = BlipConfig(
        text_config=small(
            2, vocab_size=len(tokenizer), encoder_hidden_size=16, max_position_embeddings=96, **ids
        ),
        vision_config=small(image_size=32, patch_size=8),
        projection_dim=16,
        image_text_hidden_size=16,
    )
    processor = BlipProcessor(BlipImageProcessor(size=square(32)), tokenizer)
    return save(folder, widened(BlipForConditionalGeneration(config), std=0.5), processor)


def git(folder: Path) -> Path:
    from transformers import CLIPImageProcessor, GitConfig, GitForCausalLM, GitProcessor

    tokenizer = bert_tokenizer(model_input_names=["input_ids", "attention_mask"])
    config = GitConfig(
        vision_config=small(image_size=32, patch_size=8),
        **small(2, vocab_size=len(tokenizer), max_position_embeddings=96),
        bos_token_id=tokenizer.convert_tokens_to_ids("[CLS]"),
        eos_token_id=tokenizer.convert_tokens_to_ids("[SEP]"),
    )
    processor = GitProcessor(CLIPImageProcessor(size=square(32), crop_size=square(32)), tokenizer)
    return save(folder, widened(GitForCausalLM(config), std=0.5), processor)


def paligemma(folder: Path) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        PaliGemmaConfig,
        PaliGemmaForConditionalGeneration,
        PaliGemmaProcessor,
        PreTrainedTokenizerFast,
        SiglipImageProcessor,
    )

    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    vocabulary = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    words = Tokenizer(models.BPE({word: number for number, word in enumerate(vocabulary)}, []))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>"
    )
    images = SiglipImageProcessor(size=square(32))
    images.image_seq_length = 16
    processor = PaliGemmaProcessor(images, tokenizer)  # which adds tokens for places
    size = len(processor.tokenizer)
    texts = small(2, vocab_size=size, num_key_value_heads=1, head_dim=8)
    config = PaliGemmaConfig(
        text_config={"model_type": "gemma", **texts, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2},
        vision_config={"model_type": "siglip_vision_model", **small(image_size=32, patch_size=8)},
        image_token_id=processor.tokenizer.convert_tokens_to_ids("<image>"),
        projection_dim=16,
    )
    return save(folder, widened(PaliGemmaForConditionalGeneration(config), std=0.5), processor)
