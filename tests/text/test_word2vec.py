"""Skip-gram with negative sampling: pairs, frequencies, loss and training against NumPy and PyTorch; what it learns."""

from itertools import pairwise

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, DataError, DTypeError, IndexOutOfRangeError, NonFiniteError
from chainrule.text import SkipGram, WordVectors, negative_sampling_loss, train_skip_gram, word2vec
from chainrule.text.corpus import NOISE, Corpus, near

torch = pytest.importorskip("torch")


def test_pairs_are_those_within_the_distance_of_the_center() -> None:
    random = np.random.default_rng(0)
    tokens, sequence = random.integers(0, 9, 60), np.sort(random.integers(0, 6, 60))
    distances = random.integers(1, 5, 60)
    expected = sorted(
        (tokens[i], tokens[j])
        for i in range(60)
        for j in range(60)
        if i != j and sequence[i] == sequence[j] and abs(i - j) <= distances[i]
    )
    assert sorted(zip(*near(tokens, sequence, distances), strict=True)) == expected


def test_an_epoch_in_blocks_has_the_pairs_of_all_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.text.corpus.BLOCK", 7)
    random = np.random.default_rng(1)
    sequences = [random.integers(0, 50, length) for length in (3, 0, 9, 1, 4, 12)]
    corpus = Corpus(sequences, 50)
    blocks = list(corpus.pairs(1, corpus.keep_probabilities(0), random))
    found = np.concatenate([np.stack([centers, contexts], 1) for _, centers, contexts in blocks]).tolist()
    following = [pair for sequence in sequences for pair in pairwise(sequence.tolist())]
    assert sorted(found) == sorted(list(pair) for pair in [*following, *((b, a) for a, b in following)])
    assert [done for done, _, _ in blocks] == [0, 12 / 29]  # sequences stay whole


def test_frequent_tokens_are_left_out_and_drawn_by_the_papers_probabilities() -> None:
    counts = np.array([800, 150, 49, 1, 0])
    corpus = Corpus([np.repeat(np.arange(5), counts)], 5)
    keep = corpus.keep_probabilities(1e-2)
    np.testing.assert_allclose(keep[:4], [np.sqrt(0.0125), np.sqrt(0.01 / 0.15), np.sqrt(0.01 / 0.049), 1])
    shares = np.bincount(corpus.noise_table(), minlength=5) / NOISE
    np.testing.assert_allclose(shares, counts**0.75 / (counts**0.75).sum(), atol=2 / NOISE)
    random = np.random.default_rng(0)
    centers = [centers for _ in range(200) for _, centers, _ in corpus.pairs(1, keep, random)]
    each = np.bincount(np.concatenate(centers), minlength=5)[:3] / 200 / 2  # two neighbours, but at ends one
    np.testing.assert_allclose(each, (counts[:4] * keep[:4])[:3], rtol=0.05)


def test_loss_and_gradients_equal_pytorch() -> None:
    random = np.random.default_rng(2)
    v, u = random.normal(size=(2, 10, 4))
    centers, others = random.integers(0, 10, 6), random.integers(0, 10, (6, 4))
    others[2, 3] = others[2, 0]
    model = SkipGram(10, 4).double()
    model.centers.weight.write(v)
    model.others.weight.write(u)
    loss = negative_sampling_loss(model(cr.tensor(centers), cr.tensor(others)), cr.tensor(others), cr.tensor(5))
    loss.backward()
    theirs = [torch.tensor(table, requires_grad=True) for table in (v, u)]
    expected = 0
    for row in range(5):
        for column, other in enumerate(others[row]):
            score = theirs[1][other] @ theirs[0][centers[row]]
            if column == 0:
                expected = expected - torch.nn.functional.logsigmoid(score)
            elif other != others[row, 0]:
                expected = expected - torch.nn.functional.logsigmoid(-score)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    for ours, other in zip((model.centers, model.others), theirs, strict=True):
        np.testing.assert_allclose(ours.weight.grad.numpy(), other.grad.numpy(), rtol=1e-9, atol=1e-14)


def test_the_training_equals_sgd_in_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = []
    run = word2vec._Training.run

    def recording(self: word2vec._Training, centers: np.ndarray, others: np.ndarray) -> float:
        batches.append((self._optimizer.param_groups[0]["lr"], centers, others))
        return run(self, centers, others)

    monkeypatch.setattr(word2vec._Training, "run", recording)
    losses: list[float] = []
    options = {"window": 2, "negatives": 3, "subsample": 0, "epochs": 3, "lr": 0.3, "batch_size": 4}
    sequences = np.random.default_rng(4).integers(0, 12, (3, 5))
    cr.manual_seed(5)
    found = train_skip_gram(sequences, 12, 6, **options, on_epoch=lambda epoch, loss: losses.append(loss))
    cr.manual_seed(5)
    start = SkipGram(12, 6)
    v, u = (table.weight.detach().numpy().astype(np.float64) for table in (start.centers, start.others))
    assert np.abs(v).max() <= 0.5 / 6 and not u.any()
    assert [rate for rate, _, _ in batches] == pytest.approx([0.3, 0.2, 0.1])
    for (rate, centers, others), loss in zip(batches, losses, strict=True):
        total = 0.0
        for first in range(0, len(centers), 4):
            new_v, new_u = v.copy(), u.copy()
            for center, row in zip(centers[first : first + 4], others[first : first + 4], strict=True):
                for column, other in enumerate(row):
                    if column and other == row[0]:
                        continue
                    sign = -1 if column else 1
                    score = sign * (u[other] @ v[center])
                    total += np.log1p(np.exp(-score))
                    slope = -sign / (1 + np.exp(score))
                    new_v[center] -= rate * slope * u[other]
                    new_u[other] -= rate * slope * v[center]
            v, u = new_v, new_u
        assert loss == pytest.approx(total / len(centers), rel=1e-5)
    np.testing.assert_allclose(found.numpy(), v, rtol=1e-3, atol=1e-6)


def test_tokens_of_one_topic_become_neighbours_and_seeds_repeat() -> None:
    random = np.random.default_rng(3)
    topics = np.arange(20).reshape(2, 10)
    sequences = [random.choice(topics[number % 2], 8) for number in range(400)]
    runs, losses = [], []
    for seed in (0, 0, 1):
        cr.manual_seed(seed)
        vectors = train_skip_gram(
            sequences, 20, 16, subsample=0, epochs=4, lr=0.1, batch_size=16, on_epoch=lambda *row: losses.append(row)
        )
        runs.append(vectors.numpy())
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])
    assert losses[:4] == losses[4:8] and losses[3][1] < losses[0][1]
    assert [epoch for epoch, _ in losses[:4]] == [0, 1, 2, 3]
    units = runs[0] / np.linalg.norm(runs[0], axis=1, keepdims=True)
    cosines = (units @ units.T).reshape(2, 10, 2, 10).mean((1, 3))
    assert cosines[0, 0] > 0.8 and cosines[1, 1] > 0.8 and abs(cosines[0, 1]) < 0.3
    best = WordVectors([str(number) for number in range(20)], runs[0]).nearest("3", 5)
    assert all(int(token) < 10 for token, _ in best)


def test_bad_corpora() -> None:
    with pytest.raises(IndexOutOfRangeError, match="sequence 1 has token 7, but there are 0 to 6"):
        train_skip_gram([[1, 2], [3, 7]], 7)
    with pytest.raises(DTypeError, match="sequence 0 has elements of type .*fix: vocabulary.encode"):
        train_skip_gram(["a text"], 7)
    for sequences in ([], [[], []], [[1], [2]]):
        with pytest.raises(DataError, match="no two tokens are near each other"):
            train_skip_gram(sequences, 7)
    with pytest.raises(ArgumentError, match="subsample must be at least 0, got -1"):
        train_skip_gram([[1, 2]], 7, subsample=-1)
    for name in ("features", "window", "negatives", "epochs", "batch_size"):
        with pytest.raises(ArgumentError, match=f"{name} must be at least 1, got 0"):
            train_skip_gram([[1, 2]], 7, **{name: 0})


def test_a_training_that_diverges_says_so() -> None:
    with pytest.raises(NonFiniteError, match="diverged: many of the 1024 pairs.*fix: a smaller lr .it is 5.0."):
        train_skip_gram([[0, 1] * 500] * 4, 2, 4, subsample=0, lr=5.0)
