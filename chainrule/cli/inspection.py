"""``chainrule inspect``: what a model file holds, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..tensor.tensor import Tensor
from ..training.model_file import LoadedModel, load_anything
from .scores import Score, score_table

MOST_SHOWN = 8
"""Numbers of a list that are shown one by one."""


def describe_file(path: Path) -> list[str]:
    """Return the lines that describe a file: of a model its network, columns, target, training, versions; or values."""
    found = load_anything(path)
    if not isinstance(found, LoadedModel):
        return [str(path), "", *_indented("values", _values(found))]
    return [
        str(path),
        "",
        *_indented("network", str(found.module.summary()).splitlines()),
        *_indented("columns", found.preparation.describe() if found.preparation else []),
        *_indented("target", _target(found)),
        *_indented("training", _training(found)),
        *_scores(found.metadata.get("training", {})),
        *_indented("saved by", [f"{name} {text}" for name, text in found.metadata.get("versions", {}).items()]),
    ]


def _values(value: Any, name: str = "") -> list[str]:
    """Nested values, a line for each tensor, number and text; of numbers in a list how many."""
    if isinstance(value, dict):
        inner = [line for key, item in value.items() for line in _values(item, str(key))]
        return [f"{name}:", *(f"  {line}" for line in inner)] if name else inner
    prefix = f"{name}: " if name else ""
    if isinstance(value, Tensor | np.ndarray):
        return [f"{prefix}{value.dtype} {tuple(value.shape)}"]
    if isinstance(value, list | tuple | set):
        if any(isinstance(item, dict | Tensor | np.ndarray) for item in value):
            return _values(dict(enumerate(value)), name)
        return [f"{prefix}{len(value)} values" if len(value) > MOST_SHOWN else f"{prefix}{value}"]
    return [f"{prefix}{value!r:.100}"]


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
        rows = {row.get("epoch", number): row for number, row in enumerate(history, start=1)}
        best = rows[history.best_epoch]
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in best.items() if name not in ("epoch", "seconds"))
        ending = ", interrupted" if history.interrupted else ""
        lines.append(f"{len(history)} epochs{ending}; the best, {history.best_epoch}: {numbers}")
    return lines


def _scores(record: dict[str, Any]) -> list[str]:
    scores = [Score(**item) for item in record.get("test", [])]
    return [*score_table(scores, "test"), ""] if scores else []


def _text(value: Any) -> str:
    if isinstance(value, dict) and "class" in value:
        return str(value["class"])
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _indented(title: str, lines: list[str]) -> list[str]:
    return [title, *(f"  {line}" for line in lines), ""] if lines else []
