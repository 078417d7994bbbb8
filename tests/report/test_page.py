"""The page that `chainrule train` writes: whole, safe, readable by machines, and true to the figures."""

import contextlib
import io
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from chainrule.cli import main
from chainrule.cli.predict import load_table_model
from chainrule.cli.preparing import Options, prepare
from chainrule.cli.scores import probabilities
from chainrule.data import read_csv_table
from chainrule.training.metrics import METRICS
from chainrule.training.model_file import load_model
from tests.cli.tables import ROWS, columns, write_table

EVIL = "<script>alert('1')</script>"
SECTIONS = [
    "findings",
    "scores",
    "errors",
    "calibration",
    "importance",
    "dependence",
    "training",
    "network",
    "data",
    "again",
]
VOID = {"meta", "br", "col"}


class Page(HTMLParser):
    """Reads a page and fails where elements do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} stands twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For every task a folder with the table ``people.csv`` and, in ``out``, what was trained on it."""
    found = {}
    for target in ("sick", "grade", "price"):
        folder = tmp_path_factory.mktemp(target)
        holes = ["", *["3", "4 & 5", EVIL] * 60][:ROWS]
        write_table(
            folder / "people.csv",
            target,
            **{EVIL: holes, 'a"b': ["1"] * ROWS, "when": ["2024-01-05", "2024-03-09"] * 60},
        )
        options = [
            "--target",
            target,
            "--epochs",
            "25",
            "--hidden",
            "8,4",
            "--learning-rate",
            "0.02",
            "--dropout",
            "0.1",
        ]
        with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
            assert main(["train", "people.csv", *options, "--out", "out"]) == 0
        found[target] = folder
    return found


def text_of(folder: Path) -> str:
    return (folder / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", ["sick", "grade", "price"])
def test_the_page_is_whole_and_its_links_lead_somewhere(target: str, folders: dict[str, Path]) -> None:
    text = text_of(folders[target])
    page = Page(text)
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(names)) == len(names)
    expected = [name for name in SECTIONS if not (name == "calibration" and target == "price")]
    assert [attributes["id"] for attributes in page.all("section")] == expected
    assert [attributes["href"] for attributes in page.all("a")] == [f"#{name}" for name in expected]
    assert "nan" not in re.sub(r"<[^>]*>", " ", text).lower().split()


@pytest.mark.parametrize("target", ["sick", "grade", "price"])
def test_it_loads_nothing_runs_nothing_and_escapes_what_tables_hold(target: str, folders: dict[str, Path]) -> None:
    text = text_of(folders[target])
    page = Page(text)
    assert {tag for tag, _ in page.elements}.isdisjoint(
        {"script", "link", "img", "iframe", "object", "image", "base", "form"}
    )
    for _, attributes in page.elements:
        assert not any(name.startswith("on") or name in ("src", "srcset", "action", "data") for name in attributes)
    assert not re.search(r"\w+://|@import|url\(|javascript:", text)
    assert EVIL not in text and "&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;" in text
    policy = next(found for found in page.all("meta") if found.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


@pytest.mark.parametrize("target", ["sick", "grade", "price"])
def test_it_can_be_read_aloud(target: str, folders: dict[str, Path]) -> None:
    page = Page(text_of(folders[target]))
    assert page.all("html")[0]["lang"] == "en"
    assert all(found["role"] == "img" and found["aria-label"] for found in page.all("svg"))
    assert len(page.all("title")) == 1 + len(page.all("svg"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(found.get("scope") in ("col", "row") for found in page.all("th"))
    assert len(page.all("figcaption")) == len(page.all("figure"))
    assert next(tag for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)) == "h1"


@pytest.mark.parametrize("target", ["sick", "grade", "price"])
def test_the_program_gives_the_same_network_and_the_same_figures(
    target: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = re.search(r'<pre class="program"><code>(.*?)</code>', text_of(folders[target]), re.DOTALL)
    assert found is not None
    program = unescape(found[1])
    assert max(map(len, program.splitlines())) <= 120
    monkeypatch.chdir(folders[target])
    names: dict[str, object] = {}
    capsys.readouterr()
    exec(compile(program, "program.py", "exec"), names)
    printed = [line.split() for line in capsys.readouterr().out.splitlines() if not line.startswith("epoch")]
    record = json.loads((folders[target] / "out" / "metrics.json").read_text(encoding="utf-8"))
    figures = [item["network"] for item in record["test"]]
    assert [float(line[-1]) for line in printed[-2:]] == pytest.approx(figures, abs=5e-5, rel=5e-6)
    saved = load_model(folders[target] / "out" / "model.chain").module.state_dict()
    trained = names["network"].state_dict()  # type: ignore[attr-defined]
    assert {name: value.numpy().tobytes() for name, value in trained.items()} == {
        name: value.numpy().tobytes() for name, value in saved.items()
    }


def row_of(text: str, head: str) -> list[str]:
    """The cells, without markup, of the first row of a table that begins with ``head``."""
    found = re.search(rf'<tr><th scope="row">{re.escape(head)}</th>(.*?)</tr>', text, re.DOTALL)
    assert found is not None, head
    return [unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall(r"<td.*?>(.*?)</td>", found[1], re.DOTALL)]


def test_scores_and_confusion_are_those_of_the_saved_model(folders: dict[str, Path]) -> None:
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    text = text_of(folders["grade"])
    data = prepare(Options(folders["grade"] / "people.csv", "grade"))
    loaded = load_table_model(folders["grade"] / "out" / "model.chain")
    predicted = probabilities(data.target, loaded.output(data.table, data.test.rows))
    matrix = sklearn_metrics.confusion_matrix(data.test.y, predicted.argmax(axis=1), labels=[0, 1, 2])
    for label, expected in zip("ABC", matrix, strict=True):
        counts = re.search(rf'<th scope="row">{label}</th>((?:<td class="(?:right|wrong)".*?</td>)+)', text)
        assert counts is not None
        assert [int(found) for found in re.findall(r"<b>(\d+)</b>", counts[1])] == expected.tolist()
    value, _, base, *_ = row_of(text, "Accuracy")
    assert float(value) == pytest.approx(
        sklearn_metrics.accuracy_score(data.test.y, predicted.argmax(axis=1)), abs=5e-5
    )
    assert float(base) == pytest.approx(np.mean(data.test.y == np.bincount(data.train.y).argmax()), abs=5e-5)
    value, interval, base, *_ = row_of(text, "Log loss")
    low, high = map(float, interval.split(" to "))
    assert low < float(value) < high
    assert float(value) == pytest.approx(sklearn_metrics.log_loss(data.test.y, predicted), abs=1e-4)
    shares = np.bincount(data.train.y) / len(data.train.y)
    assert float(base) == pytest.approx(-np.mean(np.log(shares[data.test.y])), abs=1e-3)


def test_regression_is_told_in_the_unit_of_the_target(folders: dict[str, Path]) -> None:
    text = text_of(folders["price"])
    data = prepare(Options(folders["price"] / "people.csv", "price"))
    loaded = load_table_model(folders["price"] / "out" / "model.chain")
    predicted = data.target.invert(loaded.output(data.table, data.test.rows).reshape(-1))
    truth = np.array(columns()["price"], dtype=float)[data.test.rows]
    assert float(row_of(text, "RMSE")[0]) == pytest.approx(METRICS["rmse"](truth, predicted), rel=1e-3)
    quantiles = [float(cell.replace("−", "-")) for cell in row_of(text[text.index("How far off") :], "price")]
    np.testing.assert_allclose(quantiles, np.quantile(truth - predicted, [0.05, 0.25, 0.5, 0.75, 0.95]), rtol=1e-3)
    assert text.count('class="point"') == 2 * len(data.test.rows)


def test_columns_are_told_with_their_gaps_and_what_became_of_them(folders: dict[str, Path]) -> None:
    text = text_of(folders["sick"])
    table = read_csv_table(folders["sick"] / "people.csv")
    part = text[text.index("<caption>The columns") :]
    size = row_of(part, "size")
    numbers = table["size"].numbers()
    assert size[:2] == ["number", "0"]
    assert [float(cell) for cell in size[2].split(" · ")] == pytest.approx(
        [numbers.min(), np.median(numbers), numbers.max()], rel=1e-3
    )
    evil = row_of(part, "&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;")
    assert evil[:2] == ["category", "1"] and "missing as one of its own" in evil[-1]
    assert "left out: its value is the same in every training row" in row_of(part, "a&quot;b")[-1]
    assert row_of(part, "when")[0] == "date" and row_of(part, "when")[2].startswith("2024-01-05")
    assert row_of(part, "sick")[0] == "class"
    assert row_of(text, "training")[0] == "84"


def trains(folder: Path, table: str, *options: str) -> str:
    (folder / "t.csv").write_text(table, encoding="utf-8")
    assert (
        main(["train", str(folder / "t.csv"), "--target", "y", "--epochs", "2", "--out", str(folder / "out"), *options])
        == 0
    )
    text = (folder / "out" / "report.html").read_text(encoding="utf-8")
    Page(text)
    return text


def test_the_smallest_table_and_no_hidden_layer(tmp_path: Path) -> None:
    text = trains(tmp_path, "x,y\n" + "".join(f"{row},{'ab'[row % 2]}\n" for row in range(10)), "--hidden", "0")
    assert "2 test rows" in text and "1 input" in text


def test_many_classes_are_told_by_their_commonest_confusions(tmp_path: Path) -> None:
    rows = "".join(f"{row * 7 % 31},c{row % 15:02d}\n" for row in range(450))
    text = trains(tmp_path, "x,y\n" + rows)
    assert "The commonest confusions of 15 classes" in text
    assert "probability of the commonest classes" in text


def test_wide_tables_are_cut_and_large_ones_sampled_and_that_is_said(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    wide = random.normal(size=(60, 90))
    lines = [",".join([*(f"x{column}" for column in range(90)), "y"])]
    lines += [",".join([*(f"{value:.3f}" for value in row), f"{row[0]:.3f}"]) for row in wide]
    text = trains(tmp_path, "\n".join(lines), "--hidden", "4")
    assert "and 11 more columns" in text and "The 70 least important of 90 columns are not shown." in text
    long = random.normal(size=(16000, 2))
    text = trains(
        tmp_path, "x,y\n" + "\n".join(f"{a:.3f},{a + b:.3f}" for a, b in long), "--hidden", "4", "--batch-size", "512"
    )
    assert "2,000 test rows drawn at random from 2,400" in text
    assert "700 test rows drawn at random from 2,400" in text
    assert "500 training rows drawn at random from 11,200" in text
