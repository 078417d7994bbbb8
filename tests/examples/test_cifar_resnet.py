"""The example trains by its recipe, with the same results in chainrule and in PyTorch from the same start."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from benchmarks.torch_models import in_torch
from chainrule.data import TensorDataset

torch = pytest.importorskip("torch")

PATH = Path(__file__).resolve().parents[2] / "examples" / "cifar_resnet.py"


def test_it_trains_as_pytorch_does(capsys: pytest.CaptureFixture[str]) -> None:
    specification = importlib.util.spec_from_file_location("cifar_resnet", PATH)
    assert specification is not None and specification.loader is not None
    example = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(example)
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 64)
    images = random.normal(size=(64, 3, 8, 8)) + 3 * labels[:, None, None, None]
    data = TensorDataset(cr.tensor(images), cr.tensor(labels))
    accuracies = {}
    ours, theirs = cr.models.CifarResNet(8).double(), in_torch("cifar_resnet").CifarResNet(8).double()
    ours.load_state_dict(theirs.state_dict())
    for library, model in ((cr, ours), (torch, theirs)):
        cr.manual_seed(0)  # the order of the rows
        batches = example.loaders(data, data, 16)
        optimizer = library.optim.SGD(model.parameters(), **cr.models.CifarResNet.recipe.optimizer.keywords)
        accuracies[library] = example.train(library, model, optimizer, batches, epochs=2)
    assert accuracies[cr] == accuracies[torch]
    assert accuracies[cr][-1] > 0.9
    np.testing.assert_allclose(ours.fc.weight.detach().numpy(), theirs.fc.weight.detach().numpy(), rtol=1e-6)
    losses = [line.split("loss")[1].split()[0] for line in capsys.readouterr().out.splitlines()]
    assert losses[:2] == losses[2:]
