"""The sections on how well a network does: scores, errors, probabilities."""

from __future__ import annotations

import numpy as np

from .bootstrap import draws_for
from .charts import reliability_diagram, scatter
from .findings import NAMES, Finding
from .markup import Markup, element, join
from .numbers import count, number, percent, score, sentence
from .study import Measured, Run, Study
from .tables import figure, paragraph, section, table

SIGNS = {"warning": "▲ Warning", "note": "● Note", "good": "✓ Good"}
MOST_CLASSES, MOST_CONFUSIONS = 12, 20
MOST_POINTS = 700
MEANINGS = {
    "auc": "chance that a row of the second class is ranked above one of the first",
    "accuracy": "share of rows whose predicted class is right",
    "precision": "share that is right among the rows predicted as the second class",
    "recall": "share that is found among the rows of the second class",
    "f1": "harmonic mean of precision and recall",
    "log_loss": "mean of −log of the probability of the true class; less is better",
    "r2": "share of the target’s variance that is explained",
    "rmse": "root of the mean squared error, in the target’s unit; less is better",
    "mae": "mean absolute error, in the target’s unit; less is better",
}


def findings_section(found: list[Finding]) -> Markup:
    """What there is to know, warnings first; severity in words and signs, not in colour alone."""
    items = (
        element(
            "li",
            element("span", SIGNS[item.severity], class_="severity"),
            element(
                "div",
                element("strong", item.symptom),
                " ",
                item.evidence,
                *([" ", element("em", item.advice)] if item.advice else []),
            ),
            class_=item.severity,
        )
        for item in found
    )
    return section("findings", "What to know", element("ul", *items, class_="findings"))


def scores_section(run: Run, found: Study) -> Markup:
    """All measures with their intervals, beside the baseline."""
    rows = len(run.test.rows)
    what = {
        "regression": "The baseline says the mean of the training rows every time.",
        "binary": "The baseline says the shares of the classes in the training rows every time.",
        "multiclass": "The baseline says the shares of the classes in the training rows every time. "
        "F1 is the mean over the classes.",
    }[run.target.task]
    return section(
        "scores",
        "How well it does",
        paragraph(
            f"On {count(rows, 'test row')} that neither the training nor the choice of the best epoch has seen. {what}"
        ),
        table(
            "Measures on the test rows",
            ["Measure", "Test rows", "95 % interval", "Baseline", "Training rows", "Meaning"],
            [_score_row(item, run.target.classes) for item in found.measured],
            "numbers scores",
        ),
        paragraph(
            f"Intervals: percentile bootstrap. The test rows are drawn {draws_for(rows):,} times with replacement "
            "(seeded); the bounds are the 2.5 % and 97.5 % quantiles of the measure on the draws. They tell how much "
            "other test rows would have changed the figure, not how much another training would have.",
            class_="fine",
        ),
    )


def _score_row(item: Measured, classes: tuple[str, ...]) -> list[str]:
    meaning = MEANINGS[item.name]
    if len(classes) == 2:
        meaning = meaning.replace("the second class", f"class {classes[1]}").replace("the first", f"class {classes[0]}")
    interval = f"{score(item.interval.low)} to {score(item.interval.high)}" if item.interval else "–"
    return [
        sentence(NAMES[item.name]),
        element("b", score(item.value)),
        interval,
        score(item.baseline),
        score(item.training),
        meaning,
    ]


def errors_section(run: Run, found: Study) -> Markup:
    """Which classes are taken for which, or how far off numbers are."""
    if found.confusion is not None:
        return section(
            "errors",
            "Where it errs",
            paragraph(
                "Each row of the matrix holds the test rows of one class, each column what they were predicted as."
            ),
            _confusion(found.confusion, run.target.classes),
        )
    return section("errors", "Where it errs", *_residuals(run.target.name, run.test.truth, found.prediction))


def _residuals(name: str, truth: np.ndarray, predicted: np.ndarray) -> list[Markup]:
    residuals = truth - predicted
    quantiles = np.quantile(residuals, [0.05, 0.25, 0.5, 0.75, 0.95])
    shown = np.arange(len(truth))
    said = "Every point is a test row"
    if len(truth) > MOST_POINTS:
        shown = np.random.default_rng(0).choice(len(truth), MOST_POINTS, replace=False)
        said = f"Every point is one of {MOST_POINTS} test rows drawn at random from {len(truth):,}"
    pair = [
        figure(
            scatter(
                f"Actual against predicted {name}",
                "predicted",
                "actual",
                predicted[shown],
                truth[shown],
                is_diagonal=True,
            ),
            f"{said}; on the line, prediction and truth agree.",
        ),
        figure(
            scatter(
                f"Residuals against predicted {name}",
                "predicted",
                "actual − predicted",
                predicted[shown],
                residuals[shown],
                is_diagonal=False,
            ),
            "A slope or a funnel around the line means that something is not yet learnt, or that errors grow with the "
            "value.",
        ),
    ]
    heads = ["Quantile of actual − predicted", "5 %", "25 %", "50 %", "75 %", "95 %"]
    told = [[name, *(number(float(quantile)) for quantile in quantiles)]]
    return [element("div", *pair, class_="pair"), table("How far off predictions are", heads, told, "numbers")]


def _confusion(matrix: np.ndarray, classes: tuple[str, ...]) -> Markup:
    if len(classes) > MOST_CLASSES:
        wrong = matrix * (1 - np.eye(len(classes), dtype=np.int64))
        order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS]
        pairs = [divmod(int(place), len(classes)) for place in order if wrong.flat[place]]
        rows = [[classes[true], classes[said], str(matrix[true, said])] for true, said in pairs]
        caption = f"The commonest confusions of {len(classes)} classes"
        return table(caption, ["Actual", "Predicted", "Rows"], rows, "numbers")
    head = element(
        "tr",
        element("th", "Actual", scope="col"),
        *(element("th", name, scope="col") for name in classes),
        element("th", "Found", scope="col"),
    )
    body = join(_confusion_row(matrix[row], name, row) for row, name in enumerate(classes))
    caption = element("caption", "Confusion matrix")
    found = element("table", caption, element("thead", head), element("tbody", body), class_="numbers confusion")
    return element("div", found, class_="scroll")


def _confusion_row(counts: np.ndarray, name: str, diagonal: int) -> Markup:
    total = max(int(counts.sum()), 1)
    cells = [
        element(
            "td",
            element("b", f"{amount:,}"),
            element("small", percent(round(amount / total, 3))),
            class_="right" if place == diagonal else "wrong",
            style=f"--share:{amount / total:.3f}",
        )
        for place, amount in enumerate(counts.tolist())
    ]
    found = percent(round(counts[diagonal] / total, 3)) if counts.sum() else "–"
    return element("tr", element("th", name, scope="row"), *cells, element("td", found, class_="found"))


def calibration_section(run: Run, found: Study) -> Markup:
    """Whether probabilities mean what they say; nothing for regression."""
    bins = found.reliability
    if bins is None:
        return Markup("")
    if run.target.task == "binary":
        what = f"{run.target.name} is {run.target.classes[1]}"
        labels = f"predicted probability that {what}", "observed share"
    else:
        labels = "probability of the predicted class", "share that is right"
    heads = ["Group", "Rows", "Predicted", "Observed", "95 % interval"]
    rows = [
        [
            str(place + 1),
            f"{int(amount):,}",
            percent(round(float(said), 3)),
            percent(round(float(seen), 3)),
            f"{percent(round(float(low), 3))} to {percent(round(float(high), 3))}",
        ]
        for place, (amount, said, seen, low, high) in enumerate(
            zip(bins.counts, bins.predicted, bins.observed, bins.low, bins.high, strict=True)
        )
    ]
    drawn = figure(
        reliability_diagram(f"Reliability diagram: {labels[1]} against {labels[0]}", *labels, bins),
        "On the dashed line, probabilities mean what they say. Strokes are 95 % intervals (Wilson) of the observed "
        "shares.",
    )
    return section(
        "calibration",
        "What its probabilities mean",
        paragraph(
            f"The test rows in {len(rows)} groups of about equal size, by the probability that they were given. "
            f"The expected calibration error, the mean distance to the line, is {number(bins.error, 3)}."
        ),
        element("div", drawn, table("Groups of test rows", heads, rows, "numbers"), class_="pair"),
    )
