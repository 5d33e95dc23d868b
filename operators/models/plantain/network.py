"""The network: one encoding per frame, one decoding per prompt, a few fields per pixel.

    picture --Encoder--> Features(fine 1/2, dense 1/4, tokens 1/16 and 1/32)     once per frame
    phrases --PhraseEncoder--> queries                                            once per prompt, cacheable
    (Features, task, queries) --Decoder--> Fields at 1/2                          once per (frame, prompt)
    words --Generator--> a new picture                                            once per description

The task is known to the decoder only, and only as a learned word beside the phrases. Plain 3x3 convolutions
throughout: they run at 2-3 TFLOP/s on two cores with AMX, where depthwise ones reach 0.1 (measured
2026-11-21).
Batch normalisation stands where it is cheap (1/8 and coarser); at 1/2 and 1/4 it costs twice as much time as
the convolution it follows, so blocks there start as the identity instead.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's name for it)

from plantain.operators.models.plantain import fused
from plantain.operators.models.plantain.calibration import uncalibrated
from plantain.operators.models.plantain.fields import EMBED, STRIDE, TASKS, Features, Fields
from plantain.operators.models.plantain.generator import Generator
from plantain.operators.models.plantain.text import Attention, Perceptron, PhraseEncoder

CENTRE_BIAS = -3.0
"""Added to the centre field's logit: few pixels are an object's centre."""

LOG_DEPTH_CENTRE = math.log(12.0)
"""The depth field is the logarithm of metres, less this."""

LOG_SPREAD = math.log(0.25), 1.0
"""Logarithm of the spread that a new estimate of the focal length begins with, and how far it may go either way."""


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut.

    Args:
        width: Channels.
        normalised: With batch normalisation; without, the block starts as the identity.
    """

    def __init__(self, width: int, normalised: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=not normalised)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=not normalised)
        self.first_norm = nn.BatchNorm2d(width) if normalised else nn.Identity()
        self.second_norm = nn.BatchNorm2d(width) if normalised else nn.Identity()
        _kaiming(self.first)
        _kaiming(self.second, gain=1.0 if normalised else 0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        if fused.applies_to(x, self.first, self.first_norm):
            return fused.conv(fused.conv(x, self.first), self.second, added=x)
        inner = F.relu(self.first_norm(self.first(x)))
        return F.relu(x + self.second_norm(self.second(inner)))


class _Conv(nn.Sequential):
    """3x3 convolution, normalisation if wanted, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, normalised: bool = False) -> None:
        conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=not normalised)
        _kaiming(conv)
        super().__init__(conv, nn.BatchNorm2d(outputs) if normalised else nn.Identity(), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        conv, norm, _ = self
        assert isinstance(conv, nn.Conv2d)
        if fused.applies_to(x, conv, norm):
            return fused.conv(x, conv)
        result: Tensor = F.relu(norm(conv(x)))
        return result


def _kaiming(conv: nn.Conv2d, gain: float = 1.0) -> None:
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    with torch.no_grad():
        conv.weight.mul_(gain)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def places(height: int, width: int, like: Tensor) -> Tensor:
    """Planes (4, height, width): x and y in [-1, 1] over the canvas, its log aspect ratio, and one."""
    y = (torch.arange(height, device=like.device, dtype=torch.float32) + 0.5) / height * 2 - 1
    x = (torch.arange(width, device=like.device, dtype=torch.float32) + 0.5) / width * 2 - 1
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    ones = torch.ones_like(grid_x)
    return torch.stack([grid_x, grid_y, ones * math.log(width / height), ones]).to(like.dtype)


class Encoder(nn.Module):
    """Pictures to features: a residual pyramid, attention over the coarsest level, and a way back up."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_Conv(16, 32), _Conv(32, 32))
        self.stage4 = nn.Sequential(_Conv(32, 64, 2), Block(64, False), Block(64, False))
        self.stage8 = nn.Sequential(
            _Conv(64, 128, 2, True), Block(128, True), Block(128, True), Block(128, True)
        )
        self.stage16 = nn.Sequential(
            _Conv(128, 160, 2, True), Block(160, True), Block(160, True), Block(160, True)
        )
        self.stage32 = nn.Sequential(_Conv(160, 224, 2, True), Block(224, True))
        self.place32 = nn.Linear(4, 224)
        self.attend = nn.ModuleList([Attention(224, 7), Attention(224, 7)])
        self.think = nn.ModuleList([Perceptron(224), Perceptron(224)])
        self.across32 = nn.Conv2d(224, 128, 1)
        self.across16 = nn.Conv2d(160, 128, 1)
        self.across8 = nn.Conv2d(128, 128, 1)
        self.across4 = nn.Conv2d(64, 64, 1)
        self.mix16 = _Conv(128, 128, normalised=True)
        self.mix8 = _Conv(128, 128, normalised=True)
        self.narrow8 = nn.Conv2d(128, 64, 1)
        self.mix4 = _Conv(64, 64)
        self.token_place = nn.Linear(4, 128)
        self.token_level = nn.Parameter(torch.zeros(2, 128))
        self.token_norm = nn.LayerNorm(128)

    def forward(self, pictures: Tensor) -> Features:
        """Features of pictures (B, 3, H, W), values 0 to 1, sides multiples of STRIDE."""
        halved = F.pixel_unshuffle(pictures * 2 - 1, 2)
        height, width = halved.shape[2:]
        where = places(height, width, halved).expand(len(halved), -1, -1, -1)
        seen = torch.cat([halved, where], 1).contiguous(memory_format=torch.channels_last)
        return self.levels(seen, *self.placed(height, width, halved))

    def placed(self, height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """What the place adds to the coarsest level's vectors and to the tokens of a half-size canvas."""
        at16, at32 = (
            places(height // side, width // side, like).flatten(1).T for side in (STRIDE // 4, STRIDE // 2)
        )
        levels = [
            self.token_place(each) + level for each, level in zip((at16, at32), self.token_level, strict=True)
        ]
        return self.place32(at32), torch.cat(levels)

    def levels(self, halved: Tensor, placed32: Tensor, placed: Tensor) -> Features:
        """Features of pictures.

        Args:
            halved: (B, 16, H/2, W/2), each pixel's four, values -1 to 1, and `places`.
            placed32: As `placed` gives it, (H*W/1024, 224).
            placed: As `placed` gives it, (H*W/256 + H*W/1024, 128).
        """
        fine = self.stem(halved)
        at4 = self.stage4(fine)
        at8 = self.stage8(at4)
        at16 = self.stage16(at8)
        at32 = self._attended(self.stage32(at16), placed32)
        up32 = self.across32(at32)
        up16 = self.mix16(_sum(self.across16, at16, _twice(up32)))
        up8 = self.mix8(_sum(self.across8, at8, _twice(up16)))
        dense = self.mix4(_sum(self.across4, at4, _twice(self.narrow8(up8))))
        tokens = torch.cat([each.flatten(2).transpose(1, 2) for each in (up16, up32)], 1)
        return Features(fine, dense, self.token_norm(tokens + placed))

    def _attended(self, x: Tensor, placed: Tensor) -> Tensor:
        """The coarsest level after every place has seen every other."""
        batch, width, height, across = x.shape
        flat = x.flatten(2).transpose(1, 2) + placed
        for attend, think in zip(self.attend, self.think, strict=True):
            flat = think(attend(flat))
        back = flat.transpose(1, 2).reshape(batch, width, height, across)
        last: Tensor = back.contiguous(memory_format=torch.channels_last)
        return last


def _sum(layer: nn.Conv2d, x: Tensor, added: Tensor) -> Tensor:
    """The layer's convolution of `x`, plus `added`."""
    if fused.applies_to(x, layer):
        return fused.conv(x, layer, added=added, is_clipped=False)
    result: Tensor = layer(x) + added
    return result


def _twice(x: Tensor) -> Tensor:
    """`x` at twice its height and width."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class Decoder(nn.Module):
    """Features and a prompt to fields.

    The task word, the background and the phrases form a small set of vectors that attend to one another (so
    that "car" knows whether "van" is asked beside it) and to the frame (so that "the car nearest to the bus"
    can look for the bus). The task's vector then scales and shifts the convolutions, the others are compared
    with pixels.
    """

    def __init__(self, width: int = 128, dense: int = 64, fine: int = 32) -> None:
        super().__init__()
        self.task_words = nn.Embedding(len(TASKS), width)
        self.background = nn.Parameter(torch.randn(width) * 0.5)
        self.kind = nn.Parameter(torch.randn(3, width) * 0.5)
        self.among = nn.ModuleList([Attention(width), Attention(width)])
        self.look = nn.ModuleList([Attention(width), Attention(width)])
        self.think = nn.ModuleList([Perceptron(width), Perceptron(width)])
        self.norm = nn.LayerNorm(width)
        self.splits = (4 * dense, 2 * dense, 2 * dense)
        self.film = nn.Linear(2 * width, sum(self.splits))
        nn.init.normal_(self.film.weight, std=0.02)
        nn.init.zeros_(self.film.bias)
        self.conv1 = nn.Conv2d(dense, dense, 3, padding=1)
        self.conv2 = nn.Conv2d(dense, dense, 3, padding=1)
        self.narrow = nn.Conv2d(dense, fine, 3, padding=1)
        self.conv3 = nn.Conv2d(fine, fine, 3, padding=1)
        self.out = nn.Conv2d(fine, EMBED + 8, 1)
        for conv in (self.conv1, self.conv2, self.narrow, self.conv3):
            _kaiming(conv)
        self.to_query = nn.Linear(width, EMBED + 1)
        self.to_lens = nn.Linear(width, 2)
        nn.init.zeros_(self.to_lens.weight)
        nn.init.zeros_(self.to_lens.bias)

    def forward(self, features: Features, task: Tensor, phrases: Tensor, keep: Tensor) -> Fields:
        """Fields of N prompts.

        Args:
            features: Of N frames, one for each prompt.
            task: (N,) int64, index into TASKS.
            phrases: (N, K, width) phrase vectors.
            keep: (N, K) bool, False for padding.
        """
        film, queries, lens = self.read(features.tokens, task, phrases, keep)
        lean, film1, film2 = torch.split(film, list(self.splits), dim=1)
        x = self.tilted(features.dense, lean)
        inner = F.relu(_modulated(self.conv1(x), film1))
        x = F.relu(x + _modulated(self.conv2(inner), film2))
        x = F.relu(_twice(self.narrow(x)) + features.fine)
        x = F.relu(self.conv3(x))
        pixels, log_depth, sky, normals, centre, offset = self.out(x).split((EMBED, 1, 1, 3, 1, 2), dim=1)
        return Fields(
            pixels,
            queries,
            log_depth[:, 0].float() + LOG_DEPTH_CENTRE,
            sky[:, 0].float(),
            normals.float(),
            centre[:, 0].float() + CENTRE_BIAS,
            offset.float(),
            lens,
        )

    def read(
        self, tokens: Tensor, task: Tensor, phrases: Tensor, keep: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """How N prompts steer the convolutions, (N, sum(splits)), their queries and lenses as in Fields; see `forward`.

        There may be fewer frames: then N / frames prompts in a row are about the same one.
        """
        seen = self._queries(tokens, task, phrases, keep)
        task_vector, named = seen[:, 0], seen[:, 1:]
        pooled = (named[:, 1:] * keep[..., None]).sum(1) / keep.sum(1, keepdim=True).clamp(min=1)
        return self.film(torch.cat([task_vector, pooled], 1)), self.to_query(named), self._lens(task_vector)

    def _lens(self, task_vector: Tensor) -> Tensor:
        """(N, 2) as in Fields: what the task's word saw of the lens. Only that of depth and normals is taught."""
        mean, spread = self.to_lens(task_vector).float().unbind(1)
        middle, reach = LOG_SPREAD
        return torch.stack([mean, middle + reach * torch.tanh(spread)], 1)

    @staticmethod
    def tilted(dense: Tensor, lean: Tensor) -> Tensor:
        """`dense` (N, C, h, w) plus the plane over the canvas that `lean` (N, 4 C) says for each channel."""
        count, channels, height, width = dense.shape
        flat = dense.permute(0, 2, 3, 1).reshape(count, -1, channels)
        where = places(height, width, dense).flatten(1).T.expand(count, -1, -1)
        sloped = torch.baddbmm(flat, where.to(lean.dtype), lean.view(count, channels, 4).transpose(1, 2))
        return sloped.view(count, height, width, channels).permute(0, 3, 1, 2)

    def _queries(self, tokens: Tensor, task: Tensor, phrases: Tensor, keep: Tensor) -> Tensor:
        """Vectors (N, 2 + K, width) of the task, the background and the phrases after they saw the frame."""
        count = len(task)
        word = self.task_words(task)[:, None]
        background = self.background.expand(count, 1, -1)
        x = torch.cat(
            [word + self.kind[0], background + self.kind[1], phrases + self.kind[2] + 0.5 * word], 1
        )
        present = F.pad(keep, (2, 0), value=True)
        for among, look, think in zip(self.among, self.look, self.think, strict=True):
            x = think(look(among(x, keep=present), tokens))
        result: Tensor = self.norm(x)
        return result


def _modulated(x: Tensor, film: Tensor) -> Tensor:
    """`x` (N, C, H, W) scaled and shifted by `film` (N, 2 C)."""
    scale, shift = film[..., None, None].chunk(2, dim=1)
    return torch.addcmul(shift, x, 1 + scale)


class Guide(nn.Module):
    """A plain per-class head on the shared features, in training only.

    It shows the encoder all classes and objects of every frame at once, where a prompt shows it the few that
    are asked for, before the words mean anything. Its weights are not part of the product.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.out = nn.Conv2d(64, num_classes + 3, 1)

    def forward(self, features: Features) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of classes (B, C, H/4, W/4) and centres (B, H/4, W/4), offsets (B, 2, H/4, W/4)."""
        classes, centre, offset = self.out(features.dense).float().split((self.num_classes, 1, 2), dim=1)
        return classes, centre[:, 0] - 3.0, offset


class Network(nn.Module):
    """Encoder, phrase encoder, decoder and generator: all the weights there are.

    Args:
        num_ids: Rows of the word table.

    Attributes:
        calibration: What makes likelihoods of scores (`calibration.likelihoods`).
    """

    calibration: Tensor

    def __init__(self, num_ids: int) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.phrases = PhraseEncoder(num_ids, 128)
        self.decoder = Decoder()
        self.generator = Generator(num_ids)
        self.register_buffer("calibration", uncalibrated())
