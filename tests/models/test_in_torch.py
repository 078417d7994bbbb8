"""The image networks run in PyTorch too, line by line, as the benchmarks have them."""

import pytest

import chainrule as cr
from benchmarks.torch_models import in_torch

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("file", "name", "shape"),
    [
        ("lenet", "lenet5", (2, 1, 28, 28)),
        ("mnist", "mnist_net", (2, 1, 28, 28)),
        ("cifar_resnet", "resnet20", (2, 3, 32, 32)),
        ("resnet", "resnet18", (2, 3, 64, 64)),
        ("vgg", "vgg11", (1, 3, 64, 64)),
        ("googlenet", "googlenet", (2, 3, 96, 96)),
    ],
)
def test_networks_of_images_in_torch(file: str, name: str, shape: tuple[int, ...]) -> None:
    ours, theirs = getattr(cr.models, name)(10).eval(), getattr(in_torch(file), name)(10).eval()
    assert isinstance(theirs, torch.nn.Module)
    theirs.load_state_dict({name: torch.tensor(value.numpy()) for name, value in ours.state_dict().items()})
    images = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), cr.no_grad():
        found, expected = ours(cr.tensor(images.numpy())).numpy(), theirs(images).numpy()
    assert abs(found - expected).max() <= 1e-4 * max(abs(expected).max(), 1)
