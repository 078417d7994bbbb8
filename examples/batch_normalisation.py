"""What batch normalisation does to a sigmoid network: the experiment of Ioffe & Szegedy 2015, section 4.1.

Three hidden layers of 100 sigmoids learn MNIST (binary images) with and without batch normalisation in front of each
sigmoid: plain gradient descent, 60 images per step, weights from a small normal distribution. Printed are the test
accuracy over the steps, and how the inputs of the last hidden layer's sigmoids are distributed meanwhile.

    CHAINRULE_DATA=/folder/with/mnist python examples/batch_normalisation.py [--steps 50000] [--rate 0.1]
"""

import argparse
import time
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn, optim
from chainrule.data import load_mnist
from chainrule.training.callbacks import Callback

BATCH_SIZE, HIDDEN, WATCHED_IMAGES = 60, 100, 2000


def make_network(is_normalised: bool) -> nn.Sequential:
    """784-100-100-100-10; the biases before a normalisation would have no effect, so they are left out."""
    cr.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs in (784, HIDDEN, HIDDEN):
        layers.append(nn.Linear(inputs, HIDDEN, bias=not is_normalised))
        if is_normalised:
            layers.append(nn.BatchNorm1d(HIDDEN))
        layers.append(nn.Sigmoid())
    network = nn.Sequential(*layers, nn.Linear(HIDDEN, 10))
    for layer in network:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.1)
    return network


class Watch(Callback):
    """Notes after every epoch the 15th, 50th and 85th percentile of one sigmoid's inputs, as the paper's figure 1."""

    def __init__(self, images: Any) -> None:
        self.images = cr.tensor(images)
        self.percentiles: list[Any] = []

    def on_epoch_end(self, trainer: Any, row: dict[str, float]) -> bool:
        trainer.model.eval()
        before_last_sigmoid = trainer.model[:-2]
        with cr.no_grad():
            inputs = before_last_sigmoid(self.images).numpy()
        self.percentiles.append(np.percentile(inputs[:, 0], [15, 50, 85]))
        return False


def run(is_normalised: bool, steps: int, rate: float, data: Any) -> dict[str, Any]:
    """Train one network; returns accuracies and percentiles by epoch, and the seconds."""
    images, labels, test_images, test_labels = data
    epochs = max(1, round(steps * BATCH_SIZE / len(images)))
    watch = Watch(test_images[:WATCHED_IMAGES])
    trainer = cr.Trainer(
        make_network(is_normalised),
        loss="cross_entropy",
        optimizer=lambda parameters: optim.SGD(parameters, lr=rate),
        metrics=["accuracy"],
        callbacks=[watch],
        seed=0,
    )
    started = time.perf_counter()
    history = trainer.fit(
        images, labels, epochs=epochs, batch_size=BATCH_SIZE, validation_data=(test_images, test_labels), verbose=0
    )
    seconds = time.perf_counter() - started
    return {"accuracy": history["val_accuracy"], "percentiles": watch.percentiles, "seconds": seconds}


def main() -> None:
    """Run both and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--rate", type=float, default=0.1)
    arguments = parser.parse_args()
    images, labels, test_images, test_labels = load_mnist()
    binary = [(each.reshape(-1, 784) > 127).astype(np.float32) for each in (images, test_images)]
    data = binary[0], labels, binary[1], test_labels
    plain, normalised = (run(with_norm, arguments.steps, arguments.rate, data) for with_norm in (False, True))
    print("   step   test accuracy [%]      inputs of a sigmoid: 15th, 50th, 85th percentile")
    print("          without   with         without                  with batch normalisation")
    epochs, steps_per_epoch = len(plain["accuracy"]), len(images) // BATCH_SIZE
    shown = sorted({1, 2, 3, 5, 10, 20, 30, 40, epochs} & set(range(1, epochs + 1)))
    for epoch in shown:
        accuracies = "  ".join(f"{100 * each['accuracy'][epoch - 1]:7.2f}" for each in (plain, normalised))
        inputs = "   ".join(
            " ".join(f"{value:7.2f}" for value in each["percentiles"][epoch - 1]) for each in (plain, normalised)
        )
        print(f"{epoch * steps_per_epoch:7d}  {accuracies}       {inputs}")
    print(f"seconds: {plain['seconds']:.0f} without, {normalised['seconds']:.0f} with")


if __name__ == "__main__":
    main()
