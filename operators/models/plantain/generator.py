"""The generator: words and noise to a new picture.

    description --words--> vectors                                                  once per picture
    noise (28 x 48) --Generator.velocity, STEPS times--> sketch: of each cell class, distance, direction, colour
    sketch --Finisher--> picture of the canvas (224 x 384)

The sketch is drawn by flow matching (Lipman et al. 2023, arXiv 2210.02747): a network learns the straight way from
noise to a sketch, and drawing follows it in some steps, leaning towards the words by classifier-free guidance (Ho and
Salimans 2022, arXiv 2207.12598). A sketch says what a place holds before it says how that looks: of pictures alone, as
much training learnt colours and no things (training_log.md).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's name for it)

from plantain.operators.models.plantain.text import MAX_WORDS, Attention, Perceptron, Vocabulary

SKETCH_HW = (28, 48)
"""Size of the sketch; the finished picture is CELL times as large."""

CELL = 8
"""Pixels of the picture per cell of the sketch, each way."""

CODE = 8
"""Numbers that say a cell's class: a mixture of classes is the mean of theirs."""

CHANNELS = CODE + 1 + 3 + 3
"""Of a sketch: class, logarithm of distance, direction of the surface, colour."""

STEPS = 24
GUIDANCE = 2.5
"""How far drawing leans towards the words: 1 follows them as they were taught, 0 ignores them."""

_CLOCK = 32


class _Stage(nn.Module):
    """Two 3x3 convolutions around a shortcut, scaled and shifted by what is to be drawn."""

    def __init__(self, width: int, told: int) -> None:
        super().__init__()
        self.first_norm = nn.GroupNorm(8, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second_norm = nn.GroupNorm(8, width)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.film = nn.Linear(told, 2 * width)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """Same shape as `x`; `told` is (B, told)."""
        scale, shift = self.film(told)[..., None, None].chunk(2, dim=1)
        inner = self.first(F.silu(self.first_norm(x)))
        inner = self.second_norm(inner) * (1 + scale) + shift
        result: Tensor = x + self.second(F.silu(inner))
        return result


class _Look(nn.Module):
    """Places see one another and the words."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.among = Attention(width)
        self.words = Attention(width)
        self.think = Perceptron(width)

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        """Same shape as `x` (B, width, h, w); `words` (B, W, width)."""
        batch, width, height, across = x.shape
        flat = self.think(self.words(self.among(x.flatten(2).transpose(1, 2)), words))
        back = flat.transpose(1, 2).reshape(batch, width, height, across)
        last: Tensor = back.contiguous(memory_format=torch.channels_last)
        return last


class Generator(nn.Module):
    """Draws pictures from words.

    Args:
        num_ids: Rows of the word table (`Vocabulary.num_ids`).
        width, coarse: Channels at the sketch's size and at half of it.
    """

    def __init__(self, num_ids: int, width: int = 64, coarse: int = 104) -> None:
        super().__init__()
        told = coarse
        self.words = nn.Embedding(num_ids, coarse)
        self.places = nn.Parameter(torch.randn(MAX_WORDS, coarse) * 0.1)
        nn.init.normal_(self.words.weight, std=0.5)
        self.read = Attention(coarse)
        self.read_norm = nn.LayerNorm(coarse)
        self.clock = nn.Sequential(nn.Linear(2 * _CLOCK, told), nn.SiLU(), nn.Linear(told, told))
        self.gist = nn.Linear(coarse, told)
        self.ground = nn.Parameter(torch.randn(1, width, *SKETCH_HW) * 0.02)
        self.enter = nn.Conv2d(CHANNELS, width, 3, padding=1)
        self.down = nn.ModuleList([_Stage(width, told), _Stage(width, told)])
        self.shrink = nn.Conv2d(width, coarse, 3, 2, 1)
        self.deep = nn.ModuleList([_Stage(coarse, told), _Stage(coarse, told)])
        self.look = nn.ModuleList([_Look(coarse), _Look(coarse)])
        self.grow = nn.Conv2d(coarse, width, 1)
        self.up = nn.ModuleList([_Stage(width, told), _Stage(width, told)])
        self.leave_norm = nn.GroupNorm(8, width)
        self.leave = nn.Conv2d(width, CHANNELS, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]
        self.finisher = Finisher(told)
        self.register_buffer("lessons", torch.zeros((), dtype=torch.int64))

    lessons: Tensor
    """Steps that it was taught; with none it cannot draw."""

    def understood(self, ids: Tensor) -> Tensor:
        """Vectors (B, MAX_WORDS, coarse) of word ids (B, MAX_WORDS); padding says "whatever you like"."""
        result: Tensor = self.read_norm(self.read(self.words(ids) + self.places))
        return result

    def velocity(self, sketch: Tensor, time: Tensor, words: Tensor) -> Tensor:
        """Where each cell of an unfinished sketch moves.

        Args:
            sketch: (B, CHANNELS, 28, 48), about -1 to 1.
            time: (B,), 0 for noise to 1 for a sketch.
            words: As `understood` gives them.
        """
        angles = time[:, None].float() * torch.logspace(0, 3, _CLOCK, device=time.device)
        ticks = torch.cat([angles.sin(), angles.cos()], 1).to(sketch.dtype)
        told = F.silu(self.clock(ticks) + self.gist(words.mean(1)))
        x = self.enter(sketch.contiguous(memory_format=torch.channels_last)) + self.ground
        for stage in self.down:
            x = stage(x, told)
        deep = self.shrink(x)
        for stage, look in zip(self.deep, self.look, strict=True):
            deep = look(stage(deep, told), words)
        x = x + F.interpolate(self.grow(deep), scale_factor=2, mode="bilinear", align_corners=False)
        for stage in self.up:
            x = stage(x, told)
        result: Tensor = self.leave(F.silu(self.leave_norm(x)))
        return result

    def sketch(self, ids: Tensor, noise: Tensor, steps: int = STEPS, guidance: float = GUIDANCE) -> Tensor:
        """Sketches (B, CHANNELS, 28, 48) of descriptions.

        Args:
            ids: (B, MAX_WORDS) word ids.
            noise: (B, CHANNELS, 28, 48) float32, normal.
            steps: More draw finer and take longer.
            guidance: See GUIDANCE.
        """
        kind = self.words.weight.dtype
        words = self.understood(torch.cat([ids, torch.zeros_like(ids)]))
        x = noise
        # Small steps first: that is where it is decided what the picture shows.
        times = torch.linspace(0, 1, steps + 1) ** 1.3
        for now, then in pairwise(times.tolist()):
            both = torch.cat([x, x]).to(kind)
            told, free = (
                self.velocity(both, torch.full((len(both),), now, device=x.device), words).float().chunk(2)
            )
            x = x + (then - now) * (free + guidance * (told - free))
        return x

    def draw(self, description: str, vocabulary: Vocabulary, seed: int) -> Tensor:
        """A picture (224, 384, 3) uint8.

        Args:
            description: Of words that were taught.
            vocabulary: Of the network.
            seed: Of what the words leave open.
        """
        ids = vocabulary.tensor([description]).to(self.places.device)
        chance = torch.Generator().manual_seed(seed)
        noise = torch.randn(1, CHANNELS, *SKETCH_HW, generator=chance).to(self.places.device)
        grain = torch.randn(1, 1, 2 * SKETCH_HW[0], 2 * SKETCH_HW[1], generator=chance).to(noise)
        kind = self.words.weight.dtype
        sketch = self.sketch(ids, noise).to(kind)
        picture: Tensor = self.finisher(sketch, self.understood(ids).mean(1), grain.to(kind))
        levels = ((picture[0].float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        return levels.permute(1, 2, 0).contiguous()


class Finisher(nn.Module):
    """Sketches to pictures CELL times as large: how things look, and what lies between the cells.

    Args:
        told: Channels of what the words say.
        coarse, fine: Channels at the sketch's size and at twice that.
    """

    def __init__(self, told: int, coarse: int = 48, fine: int = 32) -> None:
        super().__init__()
        self.enter = nn.Conv2d(CHANNELS, coarse, 3, padding=1)
        self.film = nn.Linear(told, 2 * coarse)
        self.first = nn.Conv2d(coarse, coarse, 3, padding=1)
        self.second = nn.Conv2d(coarse, coarse, 3, padding=1)
        self.narrow = nn.Conv2d(coarse, fine, 3, padding=1)
        self.grain = nn.Parameter(torch.full((fine, 1, 1), 0.1))
        self.third = nn.Conv2d(fine, fine, 3, padding=1)
        self.leave = nn.Conv2d(fine, 3 * (CELL // 2) ** 2, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, sketch: Tensor, told: Tensor, grain: Tensor) -> Tensor:
        """Pictures (B, 3, 8 h, 8 w), about -1 to 1.

        Args:
            sketch: (B, CHANNELS, h, w).
            told: (B, told), what the words say.
            grain: (B, 1, 2 h, 2 w), noise: what leaves and plaster are made from.
        """
        sketch = sketch.contiguous(memory_format=torch.channels_last)
        scale, shift = self.film(told)[..., None, None].chunk(2, dim=1)
        x = F.relu(self.enter(sketch) * (1 + scale) + shift)
        x = F.relu(x + self.second(F.relu(self.first(x))))
        x = F.relu(_enlarged(self.narrow(x), 2) + self.grain * grain)
        x = F.relu(x + self.third(x))
        result: Tensor = _enlarged(sketch[:, -3:], CELL) + F.pixel_shuffle(self.leave(x), CELL // 2)
        return result


def _enlarged(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
