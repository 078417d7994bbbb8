"""The two-convolution network on MNIST with images shifted at random: an ordinary PyTorch loop, its step compiled.

    CHAINRULE_DATA=folder python examples/mnist_convolution.py --epochs 12

Images are cut at random from a frame of zeros two pixels wide; the learning rate of Adam falls along a cosine. Prints
the loss, and the accuracy on the test images, after every epoch.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import chainrule as cr
from chainrule.data import DataLoader
from chainrule.optim.lr_scheduler import CosineAnnealingLR
from chainrule.vision import datasets, transforms


def loaders(root: str) -> tuple[DataLoader, DataLoader]:
    """Batches of shifted training images, and of test images as they are."""
    last = [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    shifted = transforms.Compose([transforms.RandomCrop(28, padding=2), *last])
    training = datasets.MNIST(root, train=True, transform=shifted, download=True)
    test = datasets.MNIST(root, train=False, transform=transforms.Compose(last), download=True)
    return DataLoader(training, batch_size=128, shuffle=True, drop_last=True), DataLoader(test, batch_size=1000)


def train(model: cr.nn.Module, batches: tuple[DataLoader, DataLoader], epochs: int) -> list[float]:
    """Train, and return the accuracies on the test images after every epoch."""
    training, test = batches
    optimizer = cr.optim.Adam(model.parameters(), lr=2e-3)
    schedule = CosineAnnealingLR(optimizer, epochs)

    @cr.compile
    def step(x: Any, y: Any) -> Any:
        loss = cr.nn.functional.nll_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    accuracies = []
    for epoch in range(epochs):
        start, total = time.perf_counter(), 0.0
        model.train()
        for x, y in training:
            total += step(x, y).item()
        schedule.step()
        model.eval()
        with cr.no_grad():
            found = sum(int((model(x).argmax(1) == y).sum()) for x, y in test)
        accuracies.append(found / len(test.dataset))
        seconds = time.perf_counter() - start
        print(
            f"epoch {epoch + 1:2}  loss {total / len(training):.4f}  accuracy {accuracies[-1]:.4f}  {seconds:.1f} s",
            flush=True,
        )
    return accuracies


def main() -> None:
    """Train, and print how it goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--root", default="data", help="where images are looked for after $CHAINRULE_DATA")
    options = parser.parse_args()
    cr.manual_seed(0)
    train(cr.models.mnist_net(), loaders(options.root), options.epochs)


if __name__ == "__main__":
    main()
