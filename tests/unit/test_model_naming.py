"""The layer that makes a word's query, fitted by overlap: what it gains, what it keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plantain.operators.models.plantain.fields import EMBED
from plantain.operators.models.plantain.network import Network
from plantain.operators.models.plantain.text import Vocabulary
from plantain.operators.models.plantain.training import naming, questions
from plantain.operators.models.plantain.training.naming import Examples
from plantain.operators.vocabulary import CLASSES

WIDTH = 16
COUNT = len(CLASSES)  # the background and each class


def world(num: int, seed: int) -> Examples:
    """Frames whose pixels are noisy copies of what their class's word stands for, one class seldom, one often."""
    chance = torch.Generator().manual_seed(seed)
    stands = torch.randn(COUNT, EMBED, generator=torch.Generator().manual_seed(9)) * 1.2
    words = torch.cat([torch.eye(COUNT, WIDTH), torch.ones(COUNT, 0)], 1).expand(num, -1, -1)
    often = torch.tensor([0.0, 20.0, 1.0, *[3.0] * (COUNT - 3)])
    labels = torch.multinomial(often, num * 40, replacement=True, generator=chance).view(num, 40)
    pixels = stands[labels] + torch.randn(num, 40, EMBED, generator=chance) * 2
    return Examples(pixels, words, labels)


def mean_iou(examples: Examples, weight: torch.Tensor, bias: torch.Tensor) -> float:
    drawn, true = examples.scores(weight, bias).argmax(-1), examples.labels
    ious = [
        float(((drawn == k) & (true == k)).sum() / ((drawn == k) | (true == k)).sum())
        for k in range(1, COUNT)
        if (true == k).any()
    ]
    return float(np.mean(ious))


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "STEPS", 60)
    monkeypatch.setattr(naming, "RATE", 0.05)


def test_pixels_that_were_not_looked_at_are_named_better_and_what_is_kept_stays() -> None:
    chance = torch.Generator().manual_seed(1)
    weight, bias = torch.randn(EMBED + 1, WIDTH, generator=chance) * 0.3, torch.zeros(EMBED + 1)
    kept = world(40, 5)
    kept = Examples(kept.pixels, kept.words[:, [0, 3]], kept.labels)
    share = torch.ones(60)
    free = naming.fitted(weight, bias, world(60, 2), world(60, 3), share, [])
    held = naming.fitted(weight, bias, world(60, 2), world(60, 3), share, [kept])
    fresh = world(60, 4)
    before, after = mean_iou(fresh, weight, bias), mean_iou(fresh, *held)
    assert after > before + 0.1

    def moved(layer: tuple[torch.Tensor, torch.Tensor]) -> float:
        return float((naming._odds(kept, *layer) - naming._odds(kept, weight, bias)).square().mean().sqrt())

    assert moved(held) < 0.6 * moved(free)


def test_overlap_is_that_of_what_is_drawn_where_scores_are_sharp() -> None:
    labels = torch.tensor([1, 1, 1, 2, 2, 2])
    drawn = torch.tensor([1, 1, 2, 2, 2, 0])
    scores = torch.nn.functional.one_hot(drawn, 4).float() * 100
    assert float(naming.overlap(scores, labels, (1, 2, 3))) == pytest.approx((2 / 3 + 2 / 4) / 2, abs=1e-5)
    assert float(naming.overlap(scores, labels, (3,))) == 0, "what is not there does not count"


def test_what_is_looked_at_is_what_the_network_scores() -> None:
    torch.manual_seed(0)
    vocabulary = Vocabulary.of((*questions.all_words(), *naming.KEPT_WORDS))
    network = Network(vocabulary.num_ids).eval()
    eye = naming._Eye(network, vocabulary, np.random.default_rng(0))
    picture = np.random.default_rng(1).integers(0, 255, (120, 200, 3), dtype=np.uint8)
    class_map = np.full((120, 200), questions.IGNORE, np.uint8)
    class_map[30:60, 50:90] = 2
    unknown = np.full((120, 200), questions.IGNORE, np.uint8)
    named, kept = eye.examples([(picture, class_map), (picture, unknown), (picture, class_map)])
    assert named.labels.shape == (3, naming.NUM_PIXELS)
    assert [set(each.tolist()) for each in named.labels] == [{2}, {0}, {2}], "nobody labelled the second one"
    assert kept.words.shape == (3, 2, network.decoder.to_query.in_features)
    layer = network.decoder.to_query
    queries = layer(named.words)
    scores = (named.pixels @ queries[..., :EMBED].mT) * EMBED**-0.5 + queries[:, None, :, EMBED]
    assert torch.allclose(named.scores(layer.weight, layer.bias), scores, atol=1e-5)
    assert scores.shape[-1] == COUNT
