"""The usual PyTorch program for MNIST with a convolutional network, its imports changed; a few batches of it."""

import os
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import chainrule as torch
import chainrule.nn as nn
import chainrule.nn.functional as F
import chainrule.optim as optim
from chainrule.optim.lr_scheduler import StepLR
from chainrule.settings import settings
from chainrule.vision import datasets, transforms

FOLDER = os.environ.get("CHAINRULE_DATA")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout2d(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.max_pool2d(x, 2)
        x = self.dropout1(x)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = self.dropout2(x)
        return F.log_softmax(self.fc2(x), dim=1)


@pytest.mark.skipif(FOLDER is None or not (Path(FOLDER) / "mnist").is_dir(), reason="CHAINRULE_DATA has no mnist")
def test_the_mnist_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "data_directory", Path(str(FOLDER)))
    torch.manual_seed(1)
    device = torch.device("cpu")
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    train_set = datasets.MNIST(tmp_path, train=True, download=True, transform=transform)
    train_loader = torch.utils.data.DataLoader(train_set, batch_size=64, shuffle=True)
    test_set = datasets.MNIST(tmp_path, train=False, transform=transform)
    test_loader = torch.utils.data.DataLoader(test_set, batch_size=250)
    model = Net().to(device)
    assert "(conv1): Conv2d(1, 32, kernel_size=(3, 3), stride=(1, 1))" in str(model)
    optimizer = optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.7)
    model.train()
    for data, target in islice(train_loader, 40):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        loss = F.nll_loss(model(data), target)
        loss.backward()
        optimizer.step()
    scheduler.step()
    model.eval()
    correct = 0
    with torch.no_grad():
        for data, target in islice(test_loader, 2):
            output = model(data.to(device))
            pred = output.argmax(dim=1, keepdim=True)
            correct += pred.eq(target.view_as(pred)).sum().item()
    assert correct / 500 > 0.8
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.7)
    torch.save(model.state_dict(), tmp_path / "mnist_cnn.pt")
    again = Net()
    again.load_state_dict(torch.load(tmp_path / "mnist_cnn.pt"))
    assert again.fc2.weight.tolist() == model.fc2.weight.tolist()
