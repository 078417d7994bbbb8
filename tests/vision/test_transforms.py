"""Transforms: against NumPy and PyTorch's arithmetic, and whole batches against images one by one, to the bit."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.data import DataLoader
from chainrule.errors import ArgumentError, DTypeError, ShapeError
from chainrule.vision import transforms
from chainrule.vision.datasets import ImageDataset
from chainrule.vision.transforms import works_on_batches

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (7, 8, 6), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (7, 8, 6, 3), dtype=np.uint8)
IMAGES = pytest.mark.parametrize("images", [GREY, COLOUR], ids=["grey", "colour"])


class Pictures(ImageDataset):
    classes = ("first", "second")

    def __init__(self, data, transform):
        super().__init__(".", transform, None)
        self.data, self.targets = data, np.arange(len(data)) % 2


@IMAGES
def test_to_tensor_and_normalize_have_pytorchs_bits(images):
    torch = pytest.importorskip("torch")
    channels = images.shape[3] if images.ndim == 4 else 1
    mean, std = (0.1307, 0.4, 0.45)[:channels], (0.3081, 0.2, 0.26)[:channels]
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    planes = torch.from_numpy(images.reshape(7, 8, 6, channels)).permute(0, 3, 1, 2).float() / 255
    expected = (planes - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    found = transform(images[2])
    assert found.dtype is cr.float32 and found.shape == (channels, 8, 6)
    np.testing.assert_array_equal(found.numpy(), expected[2].numpy())
    np.testing.assert_array_equal(transform.batch(images).numpy(), expected.numpy())


@IMAGES
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize(
    "transform",
    [
        transforms.RandomHorizontalFlip(),
        transforms.RandomVerticalFlip(0.3),
        transforms.RandomCrop((5, 4)),
        transforms.RandomCrop(6, padding=(1, 2), fill=3),
        transforms.CenterCrop((3, 4)),
        transforms.Pad((1, 2, 3, 4), fill=7),
        transforms.Resize((5, 11)),
        transforms.RandomResizedCrop(6, interpolation="nearest"),
        transforms.RandomAffine(30, (0.2, 0.1), (0.8, 1.2), 10),
        transforms.RandomRotation(90, "bilinear", fill=3),
        transforms.ElasticTransform(20.0, 2.0),
        transforms.ColorJitter(0.4, (0.5, 2), 0.3),
        transforms.Grayscale(3),
        transforms.GaussianNoise(0.1, 0.2),
        transforms.RandomErasing(0.7, value=5),
        transforms.RandomApply([transforms.RandomRotation(180), transforms.RandomErasing()], p=0.4),
        transforms.RandomChoice([transforms.GaussianNoise(), transforms.RandomErasing(1)]),
        transforms.Compose(
            [transforms.RandomCrop(5, 1), transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip()]
        ),
    ],
    ids=repr,
)
def test_batches_equal_rows_in_a_loader(images, transform, place):
    """The loader takes the batches of the first, the rows of the second; workers and batch sizes change no number."""
    steps = [transform, transforms.ToTensor()] if place == "before" else [transforms.ToTensor(), transform]
    whole = transforms.Compose(steps)
    found = []
    for chosen, workers, size in (
        (whole, 0, 3),
        (transforms.Lambda(whole), 0, 3),
        (whole, 2, 2),
        (transforms.Lambda(whole), 2, 7),
    ):
        assert works_on_batches(chosen) == (chosen is whole)
        loader = DataLoader(
            Pictures(images, chosen), size, shuffle=True, num_workers=workers, generator=cr.Generator().manual_seed(4)
        )
        epochs = [np.concatenate([x.numpy() for x, _ in loader]) for _ in range(2)]
        found.append(epochs)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
    assert found[0][0].dtype == np.float32


@IMAGES
def test_the_same_pixels_before_and_after_to_tensor(images):
    for transform in (transforms.CenterCrop((3, 4)), transforms.Pad((1, 2, 3, 4)), transforms.RandomHorizontalFlip(1)):
        before = transforms.ToTensor()(transform(images[0]))
        after = transform(transforms.ToTensor()(images[0]))
        np.testing.assert_array_equal(before.numpy(), after.numpy())


@IMAGES
def test_pixels_equal_slices_and_flips(images):
    image = images[0]
    np.testing.assert_array_equal(transforms.CenterCrop((4, 2))(image), image[2:6, 2:4])
    np.testing.assert_array_equal(transforms.RandomHorizontalFlip(1)(image), image[:, ::-1])
    np.testing.assert_array_equal(transforms.RandomVerticalFlip(1)(image), image[::-1])
    np.testing.assert_array_equal(transforms.RandomHorizontalFlip(0)(image), image)
    padded = transforms.Pad((1, 2), fill=9)(image)
    np.testing.assert_array_equal(padded[2:-2, 1:-1], image)
    assert (
        (padded[:2] == 9).all()
        and (padded[-2:] == 9).all()
        and (padded[:, 0] == 9).all()
        and (padded[:, -1] == 9).all()
    )


def test_random_crops_reach_every_place_equally_often():
    cr.manual_seed(0)
    image = np.arange(16).reshape(4, 4)
    crop = transforms.RandomCrop(3, padding=0)
    counts = np.bincount([crop(image)[0, 0] for _ in range(4000)], minlength=6)
    assert set(np.flatnonzero(counts)) == {0, 1, 4, 5}
    assert ((counts[[0, 1, 4, 5]] - 1000) ** 2 / 1000).sum() < 16.3  # chi-square, 3 degrees: 0.999 quantile
    flips = sum(transforms.RandomHorizontalFlip(0.3)(image)[0, 0] == 3 for _ in range(4000))
    assert abs(flips - 1200) < 3.3 * np.sqrt(4000 * 0.3 * 0.7)


def test_random_transforms_follow_the_seed():
    crop = transforms.Compose([transforms.RandomCrop(3), transforms.RandomHorizontalFlip()])

    def draw():
        return [crop(GREY[0]).tolist() for _ in range(6)]

    cr.manual_seed(8)
    first, second = draw(), draw()
    cr.manual_seed(8)
    assert [draw(), draw()] == [first, second] and first != second
    loader = DataLoader(
        Pictures(np.repeat(GREY[:1], 50, axis=0), transforms.Compose([crop, transforms.ToTensor()])), 50
    )
    cr.manual_seed(8)
    epochs = [next(iter(loader))[0].numpy() for _ in range(2)]
    assert len(np.unique(epochs[0], axis=0)) > 10  # rows differ, and epochs do
    assert (epochs[0] != epochs[1]).any()
    cr.manual_seed(8)
    np.testing.assert_array_equal(next(iter(loader))[0].numpy(), epochs[0])


def test_a_batch_of_its_own_needs_as_many_rows_as_are_read():
    class Wrong(transforms.RandomHorizontalFlip):
        def batch(self, images):
            return super().batch(np.concatenate([images, images]))

        def __call__(self, image):
            return super().__call__(image)

    with pytest.raises(ArgumentError, match="random numbers for 14 rows were asked for while 7 are being read"):
        next(iter(DataLoader(Pictures(GREY, Wrong()), 7)))


def test_a_subclass_that_changes_one_image_is_not_bypassed():
    class Inverted(transforms.ToTensor):
        def __call__(self, image):
            return 1 - super().__call__(image)

    assert not works_on_batches(Inverted()) and not works_on_batches(transforms.Compose([Inverted()]))
    ((found, _),) = DataLoader(Pictures(GREY, Inverted()), 7)
    np.testing.assert_array_equal(found.numpy()[:, 0], 1 - GREY.astype(np.float32) / np.float32(255))


def test_to_tensor_keeps_what_is_not_bytes():
    assert transforms.ToTensor()(np.array([[300, -1]])).tolist() == [[[300, -1]]]
    assert transforms.ToTensor()(np.ones((2, 2), np.float64)).dtype is cr.float64
    assert transforms.Normalize(0.5, 0.5)(cr.ones(3, 2, 2)).tolist() == cr.ones(3, 2, 2).tolist()
    image = cr.ones(2, 1, 2, 2)
    assert transforms.Normalize((1,), (2,), inplace=True)(image) is image and image.sum().item() == 0


TO_TENSOR = transforms.ToTensor()
WRONG = [
    (lambda: transforms.RandomApply([transforms.CenterCrop(2)]).batch(GREY), ShapeError, "must keep shape and type"),
    (lambda: transforms.Resize(3)(cr.ones(2, 3, 4, 4)), ShapeError, r"Resize needs images .* of shape \(2, 3"),
    (lambda: transforms.RandomErasing(1, value=(1, 2))(COLOUR[0]), ShapeError, "2 numbers, and the images have 3"),
    (lambda: TO_TENSOR(np.zeros(3)), ShapeError, r"\(height, width, channels\), got \(3,\)"),
    (lambda: TO_TENSOR(cr.ones(2, 2)), DTypeError, "array or a Pillow image, got Tensor"),
    (lambda: transforms.Normalize((0.1,), (0.0,)), ArgumentError, "divide by 0"),
    (lambda: transforms.Normalize((0.1,), (1.0,))(GREY[0]), DTypeError, "got ndarray. fix: ToTensor"),
    (lambda: transforms.Normalize((0.1,), (1.0,))(cr.ones(1, 2, 2).long()), DTypeError, "got int64"),
    (lambda: transforms.Normalize((0.1, 0.2), (1, 1))(cr.ones(3, 2, 2)), ShapeError, r"2 means .* \(3, 2, 2\)"),
    (lambda: transforms.RandomCrop(9)(GREY[0]), ShapeError, "9 x 9 pixels does not fit into an image of 8 x 6"),
    (lambda: transforms.CenterCrop((9, 1))(GREY[0]), ShapeError, "9 x 1 pixels"),
    (lambda: transforms.RandomCrop(0), ArgumentError, "size must be"),
    (lambda: transforms.CenterCrop((1, 2, 3)), ArgumentError, "size must be"),
    (lambda: transforms.Pad(-1), ArgumentError, "none negative"),
    (lambda: transforms.RandomHorizontalFlip(1.5), ArgumentError, "p=1.5"),
    (lambda: transforms.Lambda(3), ArgumentError, "needs a function"),
    (lambda: transforms.RandomChoice([]), ArgumentError, "one or more transforms"),
    (lambda: transforms.Pad(1, fill=300)(GREY[0]), ArgumentError, "type uint8 cannot be filled with 300"),
    (lambda: transforms.RandomRotation(9, fill="x")(GREY[0]), ArgumentError, "filled with a number"),
    (lambda: transforms.RandomRotation("15"), ArgumentError, "degrees must be"),
    (lambda: transforms.Normalize((0, 0, 0), (1, 1, 1))(cr.ones(9, 9, 3)), ShapeError, "puts channels first"),
    (lambda: transforms.Resize(0), ArgumentError, "size must be"),
    (lambda: transforms.Resize(3, "cubic"), ArgumentError, "'nearest' or 'bilinear', got 'cubic'"),
    (lambda: transforms.RandomResizedCrop(3, scale=(0.5, 0.1)), ArgumentError, "scale must be"),
    (lambda: transforms.RandomAffine(-3), ArgumentError, "degrees must be"),
    (lambda: transforms.RandomAffine(3, translate=(2, 0)), ArgumentError, "shares between 0 and 1"),
    (lambda: transforms.ElasticTransform(sigma=0), ArgumentError, "sigma must be"),
    (lambda: transforms.ColorJitter(-1), ArgumentError, "brightness must be"),
    (lambda: transforms.ColorJitter(saturation=1)(cr.ones(2, 4, 4)), ShapeError, "got 2 channels"),
    (lambda: transforms.Grayscale(2), ArgumentError, "must be 1 or 3"),
    (lambda: transforms.GaussianNoise(sigma=-1), ArgumentError, "not negative"),
    (lambda: transforms.MixUp(alpha=0), ArgumentError, "alpha must be positive"),
    (lambda: transforms.MixUp()(cr.ones(2, 1), cr.tensor([0, 1])), ArgumentError, "num_classes is None"),
    (lambda: transforms.MixUp(num_classes=2)(cr.ones(2, 1), cr.tensor([0, 2])), ArgumentError, "largest 2"),
    (lambda: transforms.MixUp(num_classes=2)(cr.ones(2, 1), cr.tensor([0])), ShapeError, "one label per image"),
    (lambda: transforms.MixUp(num_classes=2)(GREY, cr.tensor([0])), DTypeError, "got ndarray. fix: ToTensor"),
]


@pytest.mark.parametrize(("run", "error", "message"), WRONG)
def test_errors(run, error, message):
    with pytest.raises(error, match=message):
        run()


def test_pillow_images():
    image = pytest.importorskip("PIL.Image")
    np.testing.assert_array_equal(
        transforms.ToTensor()(image.fromarray(COLOUR[0])).numpy(), transforms.ToTensor()(COLOUR[0]).numpy()
    )
    mask = GREY[0] > 128
    np.testing.assert_array_equal(transforms.ToTensor()(image.fromarray(mask)).numpy()[0], mask.astype(np.float32))
