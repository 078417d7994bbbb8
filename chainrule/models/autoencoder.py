"""Auto-encoders: networks that learn to give back their input through a narrow middle."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from .. import nn
from ..optim import Adam
from .recipe import Recipe


class ConvolutionalAutoEncoder(nn.Module):
    """An encoder of 3 × 3 convolutions and poolings, and a decoder of upsamplings and convolutions.

    ``encoder`` and ``decoder`` can be used alone. ``widths``: the channels of the encoder's convolutions; each of them
    is followed by ReLU and a pooling that halves the image. Images are enlarged by repeating pixels and not by
    transposed convolutions, which leave chequered patterns (Odena et al. 2016). Shapes: input (N, channels, H, W) with
    H and W divisible by 2^len(widths), code (N, widths[-1], H / 2^len(widths), ...), result as the input, in [0, 1].
    Source: Masci et al. 2011, "Stacked convolutional auto-encoders for hierarchical feature extraction".

    >>> import chainrule as cr
    >>> model = cr.models.convolutional_autoencoder()
    >>> code = model.encoder(cr.zeros(2, 1, 28, 28))
    >>> code.shape, model.decoder(code).shape
    (Size([2, 4, 7, 7]), Size([2, 1, 28, 28]))
    """

    recipe = Recipe(
        optimizer=partial(Adam, lr=0.001),
        batch_size=128,
        epochs=20,
        loss="bce",
        source="chainrule; the input, with pixels in [0, 1], is the target too",
    )

    def __init__(self, channels: int = 1, widths: Sequence[int] = (16, 4)) -> None:
        super().__init__()
        sizes = list(pairwise((channels, *widths)))
        encoder: list[nn.Module] = []
        for inputs, outputs in sizes:
            encoder += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        decoder: list[nn.Module] = []
        for outputs, inputs in reversed(sizes):
            decoder += [nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
        self.encoder = nn.Sequential(*encoder)
        self.decoder = nn.Sequential(*decoder[:-1], nn.Sigmoid())

    def forward(self, x: Any) -> Any:
        return self.decoder(self.encoder(x))


def convolutional_autoencoder(channels: int = 1, widths: Sequence[int] = (16, 4)) -> ConvolutionalAutoEncoder:
    """`ConvolutionalAutoEncoder`."""
    return ConvolutionalAutoEncoder(channels, widths)
