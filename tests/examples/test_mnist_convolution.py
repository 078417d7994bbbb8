"""The example learns to tell images that are bright above from those that are bright below."""

import importlib.util
from pathlib import Path

import numpy as np

import chainrule as cr
from chainrule.data import DataLoader, TensorDataset

PATH = Path(__file__).resolve().parents[2] / "examples" / "mnist_convolution.py"


def test_it_learns() -> None:
    specification = importlib.util.spec_from_file_location("mnist_convolution", PATH)
    assert specification is not None and specification.loader is not None
    example = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(example)
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 128)
    images = random.normal(size=(128, 1, 28, 28)).astype(np.float32)
    images[labels == 0, :, :14] += 1
    images[labels == 1, :, 14:] += 1
    data = TensorDataset(cr.tensor(images), cr.tensor(labels))
    cr.manual_seed(0)
    batches = DataLoader(data, batch_size=32, shuffle=True, drop_last=True), DataLoader(data, batch_size=64)
    assert example.train(cr.models.mnist_net(), batches, epochs=2)[-1] > 0.95
