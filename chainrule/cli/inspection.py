"""``chainrule inspect``: what a model file holds, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..training.model_file import LoadedModel, load_model
from .scores import Score, score_table


def describe_file(path: Path) -> list[str]:
    """Return the lines that describe a model file: network, columns, target, training, versions."""
    loaded = load_model(path)
    return [
        str(path),
        "",
        *_indented("network", str(loaded.module.summary()).splitlines()),
        *_indented("columns", loaded.preparation.describe() if loaded.preparation else []),
        *_indented("target", _target(loaded)),
        *_indented("training", _training(loaded)),
        *_scores(loaded.metadata.get("training", {})),
        *_indented("saved by", [f"{name} {text}" for name, text in loaded.metadata.get("versions", {}).items()]),
    ]


def _target(loaded: LoadedModel) -> list[str]:
    target = loaded.target
    if target is None:
        return []
    if target.scale is not None:
        return [
            f"{target.name}: a number, standardised (mean {target.scale.mean:.6g}, "
            f"standard deviation {target.scale.deviation:.6g})"
        ]
    return [f"{target.name}: {target.task} classification, classes {', '.join(target.classes)}"]


def _training(loaded: LoadedModel) -> list[str]:
    record = loaded.metadata.get("training", {})
    shown = {name: value for name, value in record.items() if name not in ("test", "baseline")}
    lines = [f"{name.replace('_', ' ')}: {_text(value)}" for name, value in shown.items()]
    history = loaded.history
    if history is not None and history.best_epoch is not None:
        best = next(row for row in history if row.get("epoch") == history.best_epoch)
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in best.items() if name not in ("epoch", "seconds"))
        ending = ", interrupted" if history.interrupted else ""
        lines.append(f"{len(history)} epochs{ending}; the best, {history.best_epoch}: {numbers}")
    return lines


def _scores(record: dict[str, Any]) -> list[str]:
    scores = [Score(**item) for item in record.get("test", [])]
    return [*score_table(scores, "test"), ""] if scores else []


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _indented(title: str, lines: list[str]) -> list[str]:
    return [title, *(f"  {line}" for line in lines), ""] if lines else []
