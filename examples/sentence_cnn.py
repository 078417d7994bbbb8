"""Kim's convolutional network for sentences by the recipe of its paper, on movie reviews and on questions.

    CHAINRULE_DATA=folder python examples/sentence_cnn.py mr --variant rand --folds 10
    CHAINRULE_DATA=folder python examples/sentence_cnn.py trec --variant non-static

``mr``: 10,662 sentences, good or bad, in ten folds; ``trec``: 5,452 questions of six kinds, and 500 to test on. A tenth
of the training sentences is held out and says after which epoch the network is best. Vocabulary and, for other variants
than rand, word vectors (skip-gram with negative sampling) come from the training sentences alone. Source: Kim 2014,
table 2: 76.1 % on mr and 91.2 % on trec for rand; 81.5 % and 93.6 % for non-static with vectors from 100 billion words.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import chainrule as cr
from chainrule.data import DataLoader, Dataset
from chainrule.training import EarlyStopping

Sentences = Sequence[tuple[list[str], int]]


COMMON = 2
"""A word that is there as often has a vector of its own from skip-gram."""

SKIP_GRAM = {"window": 10, "subsample": 1e-4, "lr": 0.1}
"""Two hundred thousand words learn too little by word2vec's defaults, which are for thousands of times as many."""

RANGE = 0.25
"""Random vectors are uniform in ± this (Kim)."""


class Fold(NamedTuple):
    """Tokens of sentences, each with its class."""

    training: Sentences
    test: Sentences


def movie_reviews(folder: Path, folds: int) -> Iterator[Fold]:
    """The first folds of ten; which sentence is in which is random."""
    rows = [
        (cr.text.tokenize_words(line), label)
        for label, name in enumerate(("neg", "pos"))
        for line in cr.text.read_lines(folder / "movie-review-polarity" / f"rt-polarity.{name}", "latin-1")
    ]
    fold_of = np.random.default_rng(0).integers(10, size=len(rows)).tolist()
    for fold in range(folds):
        yield Fold(
            [row for row, its in zip(rows, fold_of, strict=True) if its != fold],
            [row for row, its in zip(rows, fold_of, strict=True) if its == fold],
        )


def questions(folder: Path) -> Iterator[Fold]:
    """TREC's training and test questions, by their first kind; Kim leaves their letters as they are."""
    kinds = ["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"]
    parts = []
    for name in ("train_5500.label", "TREC_10.label"):
        lines = cr.text.read_lines(folder / "trec-questions" / name, "latin-1")
        labels = [kinds.index(line.partition(":")[0]) for line in lines]
        texts = [cr.text.tokenize_words(line.partition(" ")[2], lower=False) for line in lines]
        parts.append(list(zip(texts, labels, strict=True)))
    yield Fold(*parts)


class Encoded(Dataset):
    """Numbers of tokens, and the class, of every sentence."""

    def __init__(self, sentences: Sentences, vocabulary: Any) -> None:
        self.rows = [(vocabulary.encode(tokens), label) for tokens, label in sentences]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Any:
        return self.rows[row]


def batches(data: Encoded, batch_size: int) -> DataLoader:
    """Batches of sentences of similar length, with few different shapes."""
    sampler = cr.text.BucketSampler([len(tokens) for tokens, _ in data.rows], batch_size)
    return DataLoader(data, batch_sampler=sampler, collate_fn=cr.text.PadSequences(multiple=8))


def word_vectors(sequences: Sequence[Any], num_tokens: int, features: int, epochs: int) -> Any:
    """Vectors trained by skip-gram, of the variance that random ones have, and random ones for rare words.

    A small corpus gives all its words nearly the same direction, which is taken off (Mu, Bhat and Viswanath 2018).
    """
    vectors = cr.text.train_skip_gram(sequences, num_tokens, features, epochs=epochs, **SKIP_GRAM).numpy()
    is_common = np.bincount(np.concatenate(sequences), minlength=num_tokens) >= COMMON
    vectors = vectors - vectors[is_common].mean(0)
    vectors *= RANGE / 3**0.5 / vectors[is_common].std()
    random = np.random.default_rng(0).uniform(-RANGE, RANGE, vectors.shape).astype(vectors.dtype)
    return cr.tensor(np.where(is_common[:, None], vectors, random))


def train(
    fold: Fold, variant: str, epochs: int, pretraining: int = 10, features: int = 300, seed: int = 0, verbose: int = 0
) -> tuple[float, float]:
    """Train word vectors for so many epochs, if need be, and one network.

    Returns its accuracies on the sentences held out, after its best epoch, and on the fold's test sentences.
    """
    cr.manual_seed(seed)
    is_held_out = np.random.default_rng(seed).random(len(fold.training)) < 0.1
    parts = [[row for row, out in zip(fold.training, is_held_out, strict=True) if out == which] for which in (0, 1)]
    vocabulary = cr.text.WordVocabulary.fit([tokens for tokens, _ in fold.training])
    training, validation, test = (Encoded(part, vocabulary) for part in (*parts, fold.test))
    vectors = None
    if variant != "rand":
        sequences = [vocabulary.encode(tokens) for tokens, _ in fold.training]
        vectors = word_vectors(sequences, len(vocabulary), features, pretraining)
    classes = 1 + max(label for _, label in fold.training)
    model = cr.models.SentenceCNN(len(vocabulary), classes, variant, vectors, features)
    recipe = model.recipe
    best = EarlyStopping("val_accuracy", patience=epochs)
    trainer = cr.Trainer(
        model, recipe.loss, recipe.optimizer, ["accuracy"], [best], recipe.regularizers, seed=seed
    )
    history = trainer.fit(
        batches(training, recipe.batch_size), epochs=epochs, validation_data=batches(validation, 50), verbose=verbose
    )
    return max(history["val_accuracy"]), trainer.evaluate(batches(test, 50))["accuracy"]


def main() -> None:
    """Train on every fold, and print the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=["mr", "trec"])
    parser.add_argument("--variant", default="rand", choices=["rand", "static", "non-static", "multichannel"])
    parser.add_argument("--epochs", type=int, default=cr.models.SentenceCNN.recipe.epochs)
    parser.add_argument("--pretraining", type=int, default=10, help="epochs of skip-gram")
    parser.add_argument("--folds", type=int, default=10, help="of mr's ten, how many")
    parser.add_argument("--verbose", action="store_true", help="show every epoch")
    options = parser.parse_args()
    folder = Path(os.environ.get("CHAINRULE_DATA", "data"))
    accuracies = []
    for fold in movie_reviews(folder, options.folds) if options.data == "mr" else questions(folder):
        start = time.process_time()
        verbose = 2 if options.verbose else 0
        held_out, accuracy = train(fold, options.variant, options.epochs, options.pretraining, verbose=verbose)
        accuracies.append(accuracy)
        seconds = time.process_time() - start
        print(
            f"fold {len(accuracies):2}  accuracy {accuracy:.4f}  held out {held_out:.4f}  {seconds:.0f} s", flush=True
        )
    print(f"{options.data} {options.variant}: mean accuracy {np.mean(accuracies):.4f} of {len(accuracies)} folds")


if __name__ == "__main__":
    main()
