"""The usual PyTorch program on the Pima data, with only its imports changed."""

from pathlib import Path

import numpy as np
import pytest

import chainrule as torch
import chainrule.nn as nn
import chainrule.optim as optim

DATA = Path(__file__).parents[2] / "examples" / "data" / "diabetes.csv"


@pytest.mark.parametrize("seed", [1, 9, 23, 31])
def test_the_pima_program(seed: int) -> None:
    """The features are as they come, up to 846: with these seeds the sigmoid starts at exactly 0 or 1 for many rows."""
    torch.manual_seed(seed)
    dataset = np.loadtxt(DATA, delimiter=",", skiprows=1)
    X = torch.tensor(dataset[:, 0:8], dtype=torch.float32)
    y = torch.tensor(dataset[:, 8], dtype=torch.float32).reshape(-1, 1)
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid())
    loss_fn = nn.BCELoss()
    optimizer = optim.Adam(model.parameters(), lr=0.001)
    printed = []
    for epoch in range(100):
        for i in range(0, len(X), 10):
            y_pred = model(X[i : i + 10])
            loss = loss_fn(y_pred, y[i : i + 10])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        printed.append(f"Finished epoch {epoch}, latest loss {loss}")
    with torch.no_grad():
        y_pred = model(X)
    accuracy = (y_pred.round() == y).float().mean()
    assert float(accuracy) > 0.70, f"Accuracy {accuracy}"  # 0.651 are of one class
    assert printed[-1].startswith("Finished epoch 99, latest loss 0.")
