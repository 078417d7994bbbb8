"""Encoder and decoder on tasks whose answers can be checked: reversing and sorting strings, adding decimal numbers.

    python examples/sequence_to_sequence.py [reverse] [sort] [add] [--no-attention]

Strings have 1 to 10 letters of 12; numbers have 1 to 3 digits ("407+38"), and their sum is written from its last digit
on, as on paper, because a carry is known only then. What is tested was never trained on. Longer strings (11 to 15
letters) and numbers (of 4 digits) are tested separately: nothing in the training says how to go on beyond its lengths.
Sources: Sutskever, Vinyals, Le 2014; Luong, Pham, Manning 2015; Zaremba & Sutskever 2014, "Learning to execute".
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import chainrule as cr

Pair = tuple[str, str]
LETTERS = "abcdefghijkl"
BATCH = 128


def letters(random: np.random.Generator, shortest: int, longest: int) -> str:
    """A random string."""
    return "".join(random.choice(list(LETTERS), random.integers(shortest, longest + 1)))


def reversing(random: np.random.Generator, is_long: bool) -> Pair:
    """A string, and it from its end."""
    source = letters(random, *((11, 15) if is_long else (1, 10)))
    return source, source[::-1]


def sorting(random: np.random.Generator, is_long: bool) -> Pair:
    """A string, and its letters in order."""
    source = letters(random, *((11, 15) if is_long else (1, 10)))
    return source, "".join(sorted(source))


def adding(random: np.random.Generator, is_long: bool) -> Pair:
    """Two numbers, and the digits of their sum from the last one on."""
    low, high = (1000, 10_000) if is_long else (0, 10 ** int(random.integers(1, 4)))
    left, right = random.integers(low, high, 2).tolist()
    return f"{left}+{right}", str(left + right)[::-1]


class Task(NamedTuple):
    """How to draw pairs, how many to train on and to test, and for how many epochs."""

    draw: Callable[[np.random.Generator, bool], Pair]
    pairs: int = 20_000
    tests: int = 2_000
    epochs: int = 12


TASKS = {"reverse": Task(reversing), "sort": Task(sorting), "add": Task(adding, 50_000, epochs=8)}
VOCABULARY = cr.text.CharacterVocabulary(["<", ">", *LETTERS, *"0123456789+"], unknown=None)
"""Padding is 0; answers begin with "<" (1) and end with ">" (2)."""


def pairs_of(task: Task, seed: int = 0) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """Pairs to train on, others of the same lengths, and longer ones; none occurs twice."""
    random = np.random.default_rng(seed)
    wanted = task.pairs + task.tests
    found: dict[Pair, None] = {}
    for _ in range(20 * wanted):
        found[task.draw(random, False)] = None
        if len(found) == wanted:
            break
    pairs = [list(found)[place] for place in random.permutation(len(found))]
    longer = list({task.draw(random, True): None for _ in range(task.tests)})
    return pairs[task.tests :], pairs[: task.tests], longer


def encode(texts: list[str]) -> Any:
    """Numbers of characters (N, length of the longest), with padding."""
    numbers = np.zeros((len(texts), max(map(len, texts))), np.int64)
    for row, text in zip(numbers, texts, strict=True):
        row[: len(text)] = VOCABULARY.encode(text)
    return numbers


def arrays(pairs: list[Pair]) -> tuple[Any, Any]:
    """Sources, and answers with their marks."""
    return encode([source for source, _ in pairs]), encode([f"<{answer}>" for _, answer in pairs])


def exact(model: Any, pairs: list[Pair]) -> float:
    """The share of pairs that are answered right, from the first character to the last."""
    sources, answers = arrays(pairs)
    starts = range(0, len(pairs), 1000)
    length = answers.shape[1] - 1
    found = np.concatenate([model.answer(cr.tensor(sources[at : at + 1000]), length).numpy() for at in starts])
    return float((found == answers[:, 1:]).all(1).mean())


def train(task: Task, attention: bool = True, hidden: int = 128) -> tuple[Any, list[float]]:
    """The trained network, and its exact matches on unseen pairs after every epoch; the rate falls along a cosine."""
    cr.manual_seed(0)
    model = cr.models.sequence_to_sequence(len(VOCABULARY), hidden_size=hidden, attention=attention)
    optimizer = cr.optim.Adam(model.parameters(), lr=4e-3)
    training, tests, _ = pairs_of(task)
    sources, answers = arrays(training)
    steps = len(sources) // BATCH
    schedule = cr.optim.lr_scheduler.CosineAnnealingLR(optimizer, task.epochs * steps)

    @cr.compile
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        losses = cr.nn.functional.cross_entropy(model(x, y[:, :-1]), y[:, 1:], ignore_index=0)
        losses.backward()
        cr.nn.utils.clip_grad_norm_(model.parameters(), model.recipe.clip_norm)
        optimizer.step()
        return losses

    random, started, matches = np.random.default_rng(1), time.process_time(), []
    for epoch in range(1, task.epochs + 1):
        order = random.permutation(len(sources))[: steps * BATCH].reshape(steps, BATCH)
        total = 0.0
        for rows in order:
            total += step(cr.tensor(sources[rows]), cr.tensor(answers[rows])).item()
            schedule.step()
        matches.append(exact(model, tests))
        seconds = time.process_time() - started
        figures = f"loss {total / steps:.4f}  exact {100 * matches[-1]:.2f} %"
        print(f"epoch {epoch:2}  {figures}  {seconds:.0f} s", flush=True)
    return model, matches


def main() -> None:
    """Train on every task, and test on unseen and on longer strings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=list(TASKS), help=", ".join(TASKS))
    parser.add_argument("--no-attention", action="store_true")
    options = parser.parse_args()
    for name in options.tasks:
        if name not in TASKS:
            parser.error(f"there is no task {name!r}; expected {', '.join(TASKS)}")
        model, matches = train(TASKS[name], not options.no_attention)
        longer = exact(model, pairs_of(TASKS[name])[2])
        print(f"{name}: {100 * matches[-1]:.2f} % of unseen strings exact, of longer ones {100 * longer:.2f} %")


if __name__ == "__main__":
    main()
