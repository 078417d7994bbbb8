"""ResNet-20 on CIFAR-10 by the recipe of its paper, shortened: in chainrule, and on request in PyTorch beside it.

    CHAINRULE_DATA=folder python examples/cifar_resnet.py --epochs 10 --peer

Images are cut at random from a frame of zeros four pixels wide and flipped; the rate is divided by 10 after half and
after three quarters of the epochs. Prints the loss and the accuracy on the test images after every epoch. Source: He et
al. 2016, section 4.2, with 164 epochs of 50,000 images: 91.25 %.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from typing import Any

import chainrule as cr
from chainrule.data import DataLoader, Dataset
from chainrule.vision import datasets, transforms

MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
"""Of CIFAR-10's training images."""


def loaders(training: Dataset, test: Dataset, batch_size: int) -> tuple[DataLoader, DataLoader]:
    """Batches to train on, in a new order in every epoch, and to test on."""
    return (
        DataLoader(training, batch_size=batch_size, shuffle=True, drop_last=True, num_workers=1),
        DataLoader(test, batch_size=100),
    )


def images(root: str) -> tuple[Dataset, Dataset]:
    """CIFAR-10: training images, augmented by the recipe, and test images."""
    last = [transforms.ToTensor(), transforms.Normalize(MEAN, DEVIATION)]
    augmented = transforms.Compose([*cr.models.CifarResNet.recipe.augmentation, *last])
    return (
        datasets.CIFAR10(root, train=True, transform=augmented, download=True),
        datasets.CIFAR10(root, train=False, transform=transforms.Compose(last), download=True),
    )


def train(torch: Any, model: Any, optimizer: Any, batches: tuple[DataLoader, DataLoader], epochs: int) -> list[float]:
    """The ordinary training loop with the library given as ``torch``; the accuracies after every epoch."""
    training, test = batches
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=(epochs // 2, 3 * epochs // 4), gamma=0.1)

    def step(x: Any, y: Any) -> Any:
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    run: Callable[..., Any] = step if torch.__name__ == "torch" else torch.compile(step)
    accuracies = []
    for epoch in range(epochs):
        start, total = time.perf_counter(), 0.0
        model.train()
        for x, y in training:
            total += run(torch.from_numpy(x.numpy()), torch.from_numpy(y.numpy())).item()
        schedule.step()
        accuracies.append(accuracy(torch, model, test))
        seconds = time.perf_counter() - start
        print(
            f"{torch.__name__:10}epoch {epoch + 1:3}  loss {total / len(training):.4f}  "
            f"accuracy {accuracies[-1]:.4f}  {seconds:.1f} s",
            flush=True,
        )
    return accuracies


def accuracy(torch: Any, model: Any, test: DataLoader) -> float:
    """The share of test images whose class is found."""
    model.eval()
    found = count = 0
    with torch.no_grad():
        for x, y in test:
            found += int((model(torch.from_numpy(x.numpy())).argmax(1) == torch.from_numpy(y.numpy())).sum())
            count += len(y)
    return found / count


def main() -> None:
    """Train, and print how it goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--root", default="data", help="where images are looked for after $CHAINRULE_DATA")
    parser.add_argument("--peer", action="store_true", help="train the same network in PyTorch too")
    options = parser.parse_args()
    cr.manual_seed(0)
    model = cr.models.resnet20()
    batches = loaders(*images(options.root), model.recipe.batch_size)
    train(cr, model, model.recipe.optimizer(model.parameters()), batches, options.epochs)
    if options.peer:
        torch = importlib.import_module("torch")
        torch.manual_seed(0)
        from benchmarks.torch_models import in_torch

        peer = in_torch("cifar_resnet").resnet20()
        optimizer = torch.optim.SGD(peer.parameters(), **model.recipe.optimizer.keywords, fused=True)
        train(torch, peer, optimizer, batches, options.epochs)


if __name__ == "__main__":
    main()
