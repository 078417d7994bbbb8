"""A language model of characters, trained on Shakespeare, that then writes a scene.

    CHAINRULE_DATA=folder python examples/character_model.py [--epochs 15] [--hidden 384] [--peer 15]
    chainrule generate shakespeare.chain --prompt "ROMEO:" --temperature 0.8

The first nine tenths of tinyshakespeare train, in windows of 128 characters, each from states of 0; the last tenth is
predicted in windows of 1024 (the loss, in nats per character, counts their first characters too, which have nothing
before them). Adam with gradients clipped to norm 1, whose rate falls along a cosine. ``--peer`` trains the same network
from the same weights by the same recipe in PyTorch, for so many epochs. Seconds are CPU time, that of all threads.
Source: Karpathy 2015, who reports no loss for this text.
"""

from __future__ import annotations

import argparse
import importlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.data import DataLoader, TensorDataset
from chainrule.training import Callback, LRSchedule
from chainrule.training.model_file import save_model

Array = np.ndarray[Any, Any]
RATE = 3e-3
BATCH, VALIDATION_BATCH = 32, 12


def windows(tokens: Array, length: int) -> tuple[Array, Array]:
    """Stretches (N, length) of a text one after the other, and with each character the one behind it."""
    count = (len(tokens) - 1) // length
    if not count:
        raise SystemExit(f"the text has {len(tokens)} characters, fewer than a window of {length} and one more")
    inputs, targets = tokens[: count * length], tokens[1 : count * length + 1]
    return inputs.reshape(count, length), targets.reshape(count, length)


class Report(Callback):
    """Prints the losses of every epoch, with the CPU time since the beginning."""

    def on_fit_begin(self, trainer: Any) -> None:
        self.started = time.process_time()

    def on_epoch_end(self, trainer: Any, row: dict[str, float]) -> bool:
        report("chainrule", int(row["epoch"]), row["loss"], row["val_loss"], time.process_time() - self.started)
        return False


def report(name: str, epoch: int, loss: float, validation_loss: float, seconds: float) -> None:
    """Print one epoch."""
    print(f"{name:10}epoch {epoch:3}  loss {loss:.4f}  validation {validation_loss:.4f}  {seconds:.1f} s", flush=True)


def train(model: Any, training: tuple[Array, Array], validation: tuple[Array, Array], epochs: int) -> list[float]:
    """Train, and return the validation losses."""
    schedule = LRSchedule(cr.optim.lr_scheduler.CosineAnnealingLR, per="step")
    trainer = cr.Trainer(
        model,
        "cross_entropy",
        lambda parameters: cr.optim.Adam(parameters, lr=RATE),
        callbacks=[schedule, Report()],
        clip_norm=model.recipe.clip_norm,
        seed=0,
    )
    held_out = DataLoader(TensorDataset(*map(cr.tensor, validation)), VALIDATION_BATCH)
    history = trainer.fit(*training, epochs=epochs, batch_size=BATCH, validation_data=held_out, verbose=0)
    return history["val_loss"]


def train_peer(model: Any, training: tuple[Array, Array], validation: tuple[Array, Array], epochs: int) -> list[float]:
    """The same in PyTorch, from the same weights."""
    torch = importlib.import_module("torch")
    torch.manual_seed(0)
    peer = in_torch(torch, model)
    optimizer = torch.optim.Adam(peer.parameters(), lr=RATE, fused=True)
    inputs, targets = map(torch.from_numpy, training)
    steps = -(-len(inputs) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    loss_of = torch.nn.functional.cross_entropy
    started, losses = time.process_time(), []
    for epoch in range(1, epochs + 1):
        total = 0.0
        peer.train()
        for rows in torch.randperm(len(inputs)).split(BATCH):
            optimizer.zero_grad()
            loss = loss_of(peer(inputs[rows]), targets[rows])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(peer.parameters(), model.recipe.clip_norm)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        peer.eval()
        with torch.no_grad():
            parts = [torch.from_numpy(part).split(VALIDATION_BATCH) for part in validation]
            sums = [loss_of(peer(x), y).item() * len(x) for x, y in zip(*parts, strict=True)]
        losses.append(sum(sums) / len(validation[0]))
        report("torch", epoch, total / len(inputs), losses[-1], time.process_time() - started)
    return losses


def in_torch(torch: Any, model: Any) -> Any:
    """The network in PyTorch, with the weights that it has now."""

    class Peer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(model.num_tokens, model.features)
            self.recurrent = getattr(torch.nn, model.kind)(model.features, model.hidden_size, model.num_layers)
            self.output = torch.nn.Linear(model.hidden_size, model.num_tokens)
            self.drop = torch.nn.Dropout(model.dropout)

        def forward(self, x: Any) -> Any:
            hidden, _ = self.recurrent(self.drop(self.embedding(x.T)))
            return self.output(self.drop(hidden)).permute(1, 2, 0)

    peer = Peer()
    peer.load_state_dict({name: torch.tensor(value.numpy()) for name, value in model.state_dict().items()})
    return peer


def main() -> None:
    """Train, save, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--kind", default="LSTM", choices=["LSTM", "GRU"])
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--out", type=Path, default=Path("shakespeare.chain"))
    parser.add_argument("--peer", type=int, default=0, help="train in PyTorch too, for so many epochs")
    options = parser.parse_args()
    text = cr.text.read_text(Path(os.environ.get("CHAINRULE_DATA", "data")) / "tinyshakespeare" / "input.txt")
    vocabulary = cr.text.CharacterVocabulary.fit([text], padding=None, unknown=None)
    tokens = vocabulary.encode(text)
    border = len(tokens) * 9 // 10
    parts = windows(tokens[:border], 128), windows(tokens[border:], 1024)
    cr.manual_seed(0)
    model = cr.models.language_model(
        len(vocabulary), hidden_size=options.hidden, kind=options.kind, dropout=options.dropout
    )
    initial = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    train(model, *parts, options.epochs)
    save_model(options.out, model, vocabulary=vocabulary)
    print(vocabulary.decode(model.generate(vocabulary.encode("\n"), 500, temperature=0.8).numpy()), flush=True)
    if options.peer:
        model.load_state_dict(initial)
        train_peer(model, *parts, options.peer)


if __name__ == "__main__":
    main()
