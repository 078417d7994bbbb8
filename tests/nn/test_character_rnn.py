"""PyTorch's tutorial on telling the language of a name with a character RNN, as written there, imports changed."""

import math
import random
from typing import Any

import pytest

import chainrule as torch
import chainrule.nn as nn
from chainrule.compiler import launch, programs

NAMES = {
    "Italian": ["rossi", "bianchi", "ferrari", "romano", "colombo", "ricci", "marino", "greco", "bruno", "gallo"],
    "Russian": ["ivanov", "smirnov", "popov", "sokolov", "lebedev", "kozlov", "novikov", "petrov", "volkov", "orlov"],
    "Japanese": ["sato", "suzuki", "tanaka", "ito", "nakamura", "kobayashi", "kato", "mori", "yamada", "sasaki"],
}
CATEGORIES = list(NAMES)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def line_to_tensor(line: str) -> Any:
    tensor = torch.zeros(len(line), 1, len(LETTERS))
    for li, letter in enumerate(line):
        tensor[li][0][LETTERS.find(letter)] = 1
    return tensor


class RNN(nn.Module):
    def __init__(self, input_size: int, hidden_size: int, output_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.i2h = nn.Linear(input_size + hidden_size, hidden_size)
        self.i2o = nn.Linear(input_size + hidden_size, output_size)
        self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, input: Any, hidden: Any) -> tuple[Any, Any]:
        combined = torch.cat((input, hidden), 1)
        hidden = self.i2h(combined)
        output = self.i2o(combined)
        output = self.softmax(output)
        return output, hidden

    def init_hidden(self) -> Any:
        return torch.zeros(1, self.hidden_size)


class Elman(RNN):
    """The tutorial's network with a cell in place of the layer for the state."""

    def __init__(self, input_size: int, hidden_size: int, output_size: int) -> None:
        super().__init__(input_size, hidden_size, output_size)
        self.cell = nn.RNNCell(input_size, hidden_size)
        self.i2o = nn.Linear(hidden_size, output_size)
        del self.i2h

    def forward(self, input: Any, hidden: Any) -> tuple[Any, Any]:
        hidden = self.cell(input, hidden)
        return self.softmax(self.i2o(hidden)), hidden


def category_from_output(output: Any) -> tuple[str, int]:
    _, top_i = output.topk(1)
    category_i = top_i[0].item()
    return CATEGORIES[category_i], category_i


def train(rnn: Any, category_tensor: Any, line_tensor: Any, learning_rate: float) -> tuple[Any, float]:
    criterion = nn.NLLLoss()
    hidden = rnn.init_hidden()
    rnn.zero_grad()
    for i in range(line_tensor.size()[0]):
        output, hidden = rnn(line_tensor[i], hidden)
    loss = criterion(output, category_tensor)
    loss.backward()
    for p in rnn.parameters():
        p.data.add_(p.grad.data, alpha=-learning_rate)
    return output, loss.item()


def evaluate(rnn: Any, line_tensor: Any) -> Any:
    with torch.no_grad():
        hidden = rnn.init_hidden()
        for i in range(line_tensor.size()[0]):
            output, hidden = rnn(line_tensor[i], hidden)
    return output


@pytest.mark.parametrize("kind", [RNN, Elman])
def test_names_are_told_apart_without_compiling_more(kind: Any) -> None:
    launch.forget_launches()
    programs._PROGRAMS.clear()
    programs._MET.clear()
    programs._SHAPES.clear()
    torch.manual_seed(0)
    choose = random.Random(0)
    rnn = kind(len(LETTERS), 32, len(CATEGORIES))
    compiled = []
    for _ in range(300):
        category = choose.choice(CATEGORIES)
        line_tensor = line_to_tensor(choose.choice(NAMES[category]))
        _, loss = train(rnn, torch.tensor([CATEGORIES.index(category)], dtype=torch.long), line_tensor, 0.03)
        assert math.isfinite(loss)
        compiled.append(len(programs._PROGRAMS))
    assert compiled[-1] == compiled[120] <= 2 * 7  # there are seven lengths, from 3 to 9
    confusion = torch.zeros(len(CATEGORIES), len(CATEGORIES))
    for number, category in enumerate(CATEGORIES):
        for line in NAMES[category]:
            confusion[number][category_from_output(evaluate(rnn, line_to_tensor(line)))[1]] += 1
    for i in range(len(CATEGORIES)):
        confusion[i] = confusion[i] / confusion[i].sum()
    assert min(confusion[i][i].item() for i in range(len(CATEGORIES))) >= 0.8
