"""Small CSV files for the tests of the command line."""

from pathlib import Path

import numpy as np

ROWS = 120


def columns(rows: int = ROWS, seed: int = 0) -> dict[str, list[str]]:
    """Two numbers and a category, and three targets that follow from them."""
    random = np.random.default_rng(seed)
    size, weight = random.normal(10, 2, rows), random.normal(0, 1, rows)
    colour = random.choice(["red", "green", "blue"], rows)
    signal = (size - 10) / 2 + weight + np.where(colour == "red", 1.0, 0.0)
    return {
        "size": [f"{value:.3f}" for value in size],
        "weight": [f"{value:.3f}" for value in weight],
        "colour": colour.tolist(),
        "sick": np.where(signal > 0.3, "yes", "no").tolist(),
        "grade": np.array(["A", "B", "C"])[np.digitize(signal, [-0.5, 1.0])].tolist(),
        "price": [f"{1000 + 50 * value:.2f}" for value in signal],
    }


def write_table(path: Path, targets: str, rows: int = ROWS, seed: int = 0, **changed: list[str]) -> Path:
    """Write the feature columns and the named targets, separated by a space, with some columns changed or added."""
    table = {
        name: cells
        for name, cells in columns(rows, seed).items()
        if name in ("size", "weight", "colour", *targets.split())
    }
    table.update(changed)
    lines = [",".join(table), *(",".join(row) for row in zip(*table.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
