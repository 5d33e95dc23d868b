"""Weights that are wide enough, and tokenizers that are made here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

CLASSES = {0: "car", 1: "person, individual", 2: "tree-merged", 3: "road"}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks on one core each: several tests run at once, and threads that wait for one another take minutes.

    A module that imports it has it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


def small(layers: int = 1, width: int = 16, **more: Any) -> dict[str, Any]:
    """A transformer of next to nothing, as most configurations name it."""
    return {
        "hidden_size": width,
        "intermediate_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        **more,
    }


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def clip_texts(tokenizer: Any, width: int = 16) -> dict[str, Any]:
    """A text encoder of CLIP's for as long texts as it is wide."""
    return small(
        width=width,
        vocab_size=len(tokenizer),
        max_position_embeddings=width,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )


def qwen_texts(tokenizer: Any, layers: int, width: int, sections: list[int], **more: Any) -> dict[str, Any]:
    number = tokenizer.convert_tokens_to_ids
    return small(
        layers,
        width,
        vocab_size=len(tokenizer),
        num_key_value_heads=2,
        rope_parameters={"rope_type": "default", "mrope_section": sections, "rope_theta": 1e4},
        pad_token_id=number("<|endoftext|>"),
        eos_token_id=number("<|im_end|>"),
        bos_token_id=number("<|endoftext|>"),
        **more,
    )


def qwen_ids(tokenizer: Any) -> dict[str, int]:
    """Which tokens stand for pictures and videos."""
    names = {"image_token": "image_pad", "video_token": "video_pad"}
    names |= {f"vision_{end}_token": f"vision_{end}" for end in ("start", "end")}
    return {f"{name}_id": tokenizer.convert_tokens_to_ids(f"<|{token}|>") for name, token in names.items()}


def clip_tokenizer(length: int = 16) -> Any:
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=length)


def bert_tokenizer(**options: Any) -> Any:
    from transformers import BertTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,?!'"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{each}" for each in letters)]
    return BertTokenizer(
        vocab={word: number for number, word in enumerate(words)}, do_lower_case=True, **options
    )


def qwen_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
    special += ["<|image_pad|>", "<|video_pad|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {word: number for number, word in enumerate([*letters, *special])}
    words = Tokenizer(models.BPE(vocabulary, []))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
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
