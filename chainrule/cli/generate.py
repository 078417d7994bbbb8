"""``chainrule generate``: let a saved language model write."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import ArgumentError, ModelFileError, type_in_words
from ..models.language_model import LanguageModel
from ..tensor.generator import manual_seed
from ..training.model_file import load_model


def run(path: Path, prompt: str, length: int, temperature: float, top_k: int | None, seed: int | None) -> None:
    """Print the prompt and what a language model writes behind it.

    Raises ModelFileError for a file without a language model and its vocabulary, ArgumentError for an empty prompt,
    DataError for a token of it that the vocabulary does not have.
    """
    loaded = load_model(path)
    model, vocabulary = loaded.module, loaded.vocabulary
    if not isinstance(model, LanguageModel) or vocabulary is None:
        found = type_in_words(model) + (" without a vocabulary" if vocabulary is None else "")
        raise ModelFileError(
            f"{path} holds {found}, which cannot write text. "
            "fix: chainrule.training.model_file.save_model(path, language_model, vocabulary=vocabulary)"
        )
    tokens = vocabulary.encode(prompt)
    if not len(tokens):
        raise ArgumentError(f"the prompt {prompt!r} has no token to begin from. fix: --prompt with some text")
    if seed is not None:
        manual_seed(seed)
    written = vocabulary.decode(model.generate(tokens, length, temperature, top_k).numpy())
    click.echo(f"{prompt}{vocabulary.separator}{written}")
