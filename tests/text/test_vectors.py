"""Word vectors: files read and written, layers made of them, neighbours; files that are damaged are named by line."""

from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import DataError, ShapeError
from chainrule.text import Vocabulary, WordVectors, WordVocabulary


def table(rows: int, features: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, features)).astype(np.float32)


@pytest.mark.parametrize("header", [True, False])
def test_what_is_written_is_read_again_to_the_bit(tmp_path: Path, header: bool) -> None:
    vectors = WordVectors(["a", "naïve", ". . .", "7"], table(4, 5))
    vectors.write(tmp_path / "vectors.txt", header)
    first = (tmp_path / "vectors.txt").read_text(encoding="utf-8").splitlines()[0]
    assert (first == "4 5") == header
    again = WordVectors.read(tmp_path / "vectors.txt")
    if header:
        assert again.tokens == vectors.tokens
        np.testing.assert_array_equal(again.table, vectors.table)
    some = WordVectors.read(tmp_path / "vectors.txt", only={"7", "naïve", "b"})
    assert some.tokens == ["naïve", "7"]
    np.testing.assert_array_equal(some.table, vectors.table[[1, 3]])


def test_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_bytes(b"3 2\n</s> 0.25 -1e-1 \r\nof 1 2 \nof 5 6 \n\n")  # word2vec's spaces at the end, a token twice
    found = WordVectors.read(path)
    assert found.tokens == ["</s>", "of"]
    np.testing.assert_array_equal(found.table, np.array([[0.25, -0.1], [1, 2]], np.float32))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no word vectors"),
        (b"a 1 2\nb 1\n", "line 2: expected a token and 2 numbers, got 2 fields"),
        (b"a 1 2\nb 1 2 x\n", "line 2: could not convert string to float: 'x'"),
        (b"a 1 2\nb nan 2\n", "line 2: a word vector with NaN"),
        (b"a 1 2\n\xff 1 2\n", "line 2 is not UTF-8: byte 0xff"),
        (b"a\n", "line 1: expected a token and its numbers"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "vectors.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        WordVectors.read(path)


def test_other_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        WordVectors.read(tmp_path / "missing")
    with pytest.raises(ShapeError, match=r"shape \(2, 3\) for 1 tokens"):
        WordVectors(["a"], table(2, 3))
    vectors = WordVectors(["king"], table(1, 3))
    with pytest.raises(DataError, match="no vector of 'kings' .did you mean 'king'"):
        vectors.nearest("kings")
    for token in ("", " ", "a\nb"):
        with pytest.raises(DataError, match="cannot stand in a line"):
            WordVectors([token], table(1, 3)).write(tmp_path / "vectors.txt")
    with pytest.raises(DataError, match="none of the 3 tokens"):
        vectors.embedding(Vocabulary(["queen"]))


def test_a_layer_of_them() -> None:
    words = [f"w{number}" for number in range(2000)]
    vectors = WordVectors(words[:1000], 0.3 * table(1000, 20))
    vocabulary = WordVocabulary([*reversed(words)])
    layer = vectors.embedding(vocabulary)
    weight = layer.weight.detach().numpy()
    assert weight.shape == (2002, 20) and layer.padding_idx == 0 and not weight[0].any() and layer.weight.requires_grad
    np.testing.assert_array_equal(weight[vocabulary.encode(words[:1000])], vectors.table)
    drawn = weight[vocabulary.encode(words[1000:])]
    assert drawn.var() == pytest.approx(vectors.table.var(), rel=0.02)
    assert np.abs(drawn).max() <= np.sqrt(3 * vectors.table.var()) * 1.0001
    assert not vectors.embedding(vocabulary, freeze=True).weight.requires_grad
    layer(cr.tensor([[0, 5]])).sum().backward()
    assert layer.weight.grad.numpy().any(1).nonzero()[0].tolist() == [5]


def test_neighbours_by_cosine() -> None:
    vectors = WordVectors(list("abcdef"), table(6, 4))
    x = vectors.table.astype(np.float64)
    cosines = {
        token: float(x[2] @ row / np.linalg.norm(x[2]) / np.linalg.norm(row))
        for token, row in zip("abdef", x[[0, 1, 3, 4, 5]], strict=True)
    }
    found = vectors.nearest("c", 3)
    assert [token for token, _ in found] == sorted(cosines, key=lambda token: -cosines[token])[:3]
    assert all(cosine == pytest.approx(cosines[token], abs=1e-4) for token, cosine in found)
    assert WordVectors(["a", "b"], np.zeros((2, 2))).nearest("a") == [("b", 0.0)]
