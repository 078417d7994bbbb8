"""Colours, noise, erasing and mixing of images, against their formulas, Pillow and SciPy's distributions."""

from itertools import permutations

import numpy as np
import pytest

import chainrule as cr
from chainrule.data import DataLoader, TensorDataset
from chainrule.data.draws import reading
from chainrule.vision import transforms

RNG = np.random.default_rng(2)
BYTES = RNG.integers(0, 256, (5, 8, 6, 3), dtype=np.uint8)
FLOATS = RNG.random((5, 8, 6, 3))


def grey(images):
    return (images * (0.299, 0.587, 0.114)).sum(-1, keepdims=True)


def test_grey_images():
    found = transforms.Grayscale(3).batch(FLOATS)
    np.testing.assert_allclose(found, np.repeat(grey(FLOATS), 3, 3), rtol=1e-12)
    as_bytes = transforms.Grayscale()(BYTES[0])
    assert as_bytes.shape == (8, 6, 1) and as_bytes.dtype == np.uint8
    np.testing.assert_array_equal(as_bytes, np.rint(grey(BYTES[0])))
    assert transforms.Grayscale(3)(BYTES[0, :, :, 0]).shape == (8, 6, 3)
    assert transforms.Grayscale(3)(cr.ones(1, 4, 5)).shape == (3, 4, 5)
    image = pytest.importorskip("PIL.Image")
    assert np.abs(as_bytes[..., 0].astype(int) - np.asarray(image.fromarray(BYTES[0]).convert("L"))).max() <= 1


@pytest.mark.parametrize(
    ("name", "enhancer"), [("brightness", "Brightness"), ("contrast", "Contrast"), ("saturation", "Color")]
)
@pytest.mark.parametrize("factor", [0.0, 0.6, 1.7])
def test_factors_equal_pillow(name, enhancer, factor):
    image, enhance = pytest.importorskip("PIL.Image"), pytest.importorskip("PIL.ImageEnhance")
    expected = np.asarray(getattr(enhance, enhancer)(image.fromarray(BYTES[0])).enhance(factor))
    found = transforms.ColorJitter(**{name: (factor, factor)})(BYTES[0])
    assert np.abs(found.astype(int) - expected).max() <= 2  # Pillow rounds the grey image, and cuts off fractions


def changed(image, order, factors):
    for number in order:
        other = (0, grey(image).mean(), grey(image))[number]
        image = np.clip(factors[number] * image + (1 - factors[number]) * other, 0, 1)
    return image


def test_colours_change_in_every_order():
    factors = (1.3, 0.6, 1.8)
    jitter = transforms.ColorJitter(*((factor, factor) for factor in factors))
    results = {order: changed(FLOATS[0], order, factors) for order in permutations(range(3))}
    with reading(0, range(300)):
        found = jitter.batch(FLOATS[:1].repeat(300, 0))
    counts = {order: np.isclose(found, expected, rtol=1e-6).all((1, 2, 3)).sum() for order, expected in results.items()}
    assert sum(counts.values()) == 300 and min(counts.values()) > 25


def test_factors_are_uniform():
    stats = pytest.importorskip("scipy.stats")
    with reading(0, range(1000)):
        found = transforms.ColorJitter(brightness=0.4).batch(np.full((1000, 2, 2, 3), 0.5))
    assert stats.kstest(found[:, 0, 0, 0], "uniform", (0.3, 0.4)).pvalue > 1e-3
    np.testing.assert_array_equal(transforms.ColorJitter().batch(BYTES), BYTES)


def test_noise_is_normal():
    stats = pytest.importorskip("scipy.stats")
    images = np.full((4, 40, 40, 3), 0.5)
    with reading(1, range(4)):
        noise = transforms.GaussianNoise(0.1, 0.3, clip=False).batch(images) - images
    assert stats.kstest(noise.ravel(), "norm", (0.1, 0.3)).pvalue > 1e-3
    assert abs(np.corrcoef(noise.reshape(4, -1))[np.triu_indices(4, 1)]).max() < 0.06
    with reading(1, range(4)):
        np.testing.assert_array_equal(transforms.GaussianNoise(0.1, 0.3).batch(images), np.clip(images + noise, 0, 1))
    with reading(1, range(4)):
        found = transforms.GaussianNoise(0.1, 0.3).batch(np.full(images.shape, 127, np.uint8))
    assert np.abs(found - np.clip(127 + 255 * noise, 0, 255)).max() <= 0.5 + 1e-4


def test_erasing_takes_one_rectangle():
    images = np.ones((400, 30, 20))
    erasing = transforms.RandomErasing(0.6, scale=(0.1, 0.3), ratio=(0.5, 3), value=7)
    with reading(4, range(400)):
        erased = erasing.batch(images)
    sizes = []
    for one in erased[(erased == 7).any((1, 2))]:
        rows, columns = np.flatnonzero((one == 7).any(1)), np.flatnonzero((one == 7).any(0))
        sizes.append((len(rows), len(columns)))
        assert (one == 7).sum() == np.prod(sizes[-1]) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert abs(len(sizes) - 240) < 3.3 * np.sqrt(400 * 0.6 * 0.4)
    heights, widths = np.array(sizes).T
    shares, ratios = heights * widths / 600, heights / widths
    assert shares.min() > 0.08 and shares.max() < 0.34 and 0.4 < ratios.min() < 0.6 and 2.3 < ratios.max() < 3.5
    colours = transforms.RandomErasing(1, value=(1, 2, 3))
    zeros = colours(np.zeros((9, 9, 3), np.uint8)).reshape(-1, 3)
    assert set(map(tuple, zeros.tolist())) == {(0, 0, 0), (1, 2, 3)}
    zeros = colours(cr.zeros(3, 9, 9)).numpy().reshape(3, -1).T
    assert set(map(tuple, zeros.tolist())) == {(0, 0, 0), (1, 2, 3)}


def test_mixing_images_and_labels():
    stats = pytest.importorskip("scipy.stats")
    images, classes = cr.arange(2000).reshape(2000, 1, 1, 1).float() % 2, cr.arange(2000) % 3
    mixed, labels = transforms.MixUp(alpha=0.4, num_classes=3)(images, classes)
    own = np.where(np.arange(2000) % 2, mixed.numpy().ravel(), 1 - mixed.numpy().ravel())  # neighbours are 0 and 1
    assert stats.kstest(own, stats.beta(0.4, 0.4).cdf).pvalue > 1e-3
    one_hot = np.eye(3)[classes.numpy()]
    expected = own[:, None] * one_hot + (1 - own[:, None]) * np.roll(one_hot, 1, 0)
    np.testing.assert_allclose(labels.numpy(), expected, atol=1e-6)
    assert cr.nn.CrossEntropyLoss()(cr.zeros(2000, 3), labels).item() == pytest.approx(np.log(3), rel=1e-5)
    values = cr.arange(2000).float() % 2
    mixed, labels = transforms.MixUp()(images, values)
    np.testing.assert_array_equal(mixed.numpy().ravel(), labels.numpy())


def test_mixing_in_a_loader_is_the_same_for_any_number_of_workers():
    data = TensorDataset(cr.rand(24, 1, 2, 2), cr.arange(24) % 3)
    mixup = transforms.MixUp(num_classes=3)

    def collate(rows):
        return mixup(*cr.data.default_collate(rows))

    epochs = [
        [
            (images.tolist(), labels.tolist())
            for images, labels in DataLoader(
                data, 5, shuffle=True, num_workers=workers, collate_fn=collate, generator=cr.Generator().manual_seed(1)
            )
        ]
        for workers in (0, 3, 3)
    ]
    assert epochs[0] == epochs[1] == epochs[2]


def test_a_collate_function_may_change_images_one_by_one():
    data = TensorDataset(cr.arange(80).reshape(20, 1, 2, 2).float())
    flip = transforms.RandomHorizontalFlip()

    def collate(rows):
        return cr.stack([flip(image) for (image,) in rows])

    found = [
        np.concatenate(
            [
                batch.numpy()
                for batch in DataLoader(
                    data, 5, num_workers=workers, collate_fn=collate, generator=cr.Generator().manual_seed(1)
                )
            ]
        )
        for workers in (0, 2)
    ]
    np.testing.assert_array_equal(*found)
    assert 3 < (found[0][:, 0, 0, 0] % 2).sum() < 17
