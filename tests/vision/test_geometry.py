"""Geometric transforms against PyTorch's sampling and resizing, SciPy and Pillow."""

import numpy as np
import pytest

from chainrule.data.draws import draw_generators, reading
from chainrule.vision import transforms
from chainrule.vision.transforms import InterpolationMode
from chainrule.vision.transforms.crops import random_boxes
from chainrule.vision.transforms.geometry import blur_matrix
from chainrule.vision.transforms.sampling import sampled

RNG = np.random.default_rng(1)
BYTES = RNG.integers(0, 256, (3, 14, 19, 3), dtype=np.uint8)
FLOATS = RNG.random((3, 14, 19, 3))
MODES = pytest.mark.parametrize("mode", ["nearest", "bilinear"])


def planes(images):
    torch = pytest.importorskip("torch")
    return torch.from_numpy(np.moveaxis(images, 3, 1).astype(np.float64))


def pixels(tensor):
    return np.moveaxis(tensor.numpy(), 1, 3)


# Resizing -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(7, 5), (14, 40), (29, 8), (1, 19), (28, 38), (3, 30)])
@pytest.mark.parametrize("antialias", [True, False])
def test_resizing_equals_pytorch(size, antialias):
    torch = pytest.importorskip("torch")
    resize = torch.nn.functional.interpolate
    expected = pixels(resize(planes(FLOATS), size, mode="bilinear", antialias=antialias))
    found = transforms.Resize(size, antialias=antialias).batch(FLOATS)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    nearest = transforms.Resize(size, InterpolationMode.NEAREST).batch(BYTES)
    np.testing.assert_array_equal(nearest, pixels(resize(planes(BYTES), size, mode="nearest-exact")))


def test_resizing_bytes_rounds_as_pillow():
    image = pytest.importorskip("PIL.Image")
    for width, height in [(8, 30), (40, 5)]:
        expected = np.asarray(image.fromarray(BYTES[0]).resize((width, height), image.Resampling.BILINEAR))
        found = transforms.Resize((height, width))(BYTES[0])
        assert found.dtype == np.uint8
        assert np.abs(found.astype(int) - expected).max() <= 1  # Pillow's weights have 8 bits


def test_one_number_is_the_shorter_side():
    assert transforms.Resize(7)(BYTES[0]).shape == (7, 9, 3)  # int(7 * 19 / 14), as in torchvision
    assert transforms.Resize([7])(np.moveaxis(BYTES[0], 0, 1)).shape == (9, 7, 3)
    assert transforms.Resize(14)(BYTES[0]).shape == (14, 19, 3)


def test_pixels_without_weight_do_not_count():
    image = np.full((4, 4), np.inf)
    image[:2] = 1
    np.testing.assert_array_equal(transforms.Resize((2, 2), antialias=False)(image), [[1, 1], [np.inf, np.inf]])


def test_random_resized_crops_are_resized_pieces():
    torch = pytest.importorskip("torch")
    images = np.concatenate([FLOATS] * 20)
    crop = transforms.RandomResizedCrop((6, 9), scale=(0.1, 0.9), ratio=(0.5, 2))
    with reading(5, range(60)):
        boxes = np.array(random_boxes(60, (14, 19), crop.scale, crop.ratio)).T
    with reading(5, range(60)):
        found = crop.batch(images)
    assert len(np.unique(boxes, axis=0)) > 50
    for image, (top, left, height, width), one in zip(images, boxes, found, strict=True):
        piece = planes(image[None, top : top + height, left : left + width])
        expected = torch.nn.functional.interpolate(piece, (6, 9), mode="bilinear", antialias=True)
        np.testing.assert_allclose(one, pixels(expected)[0], rtol=1e-12, atol=1e-14)


def test_random_boxes_have_the_areas_shapes_and_places_asked_for():
    stats = pytest.importorskip("scipy.stats")
    with reading(2, range(4000)):
        tops, lefts, heights, widths = np.array(random_boxes(4000, (1000, 1000), (0.1, 0.3), (0.5, 2.0)))
    assert stats.kstest(heights * widths / 1e6, "uniform", (0.1, 0.2)).pvalue > 1e-3
    assert stats.kstest(np.log(widths / heights), "uniform", (np.log(0.5), np.log(4))).pvalue > 1e-3
    assert stats.kstest(tops / (1000 - heights), "uniform").pvalue > 1e-3
    assert stats.kstest(lefts / (1000 - widths), "uniform").pvalue > 1e-3
    assert (tops + heights <= 1000).all() and (lefts + widths <= 1000).all()
    with reading(2, range(3)):
        assert np.array(random_boxes(3, (10, 1000), (1, 1), (1, 1))).sum() == 0  # nothing fits
    image = np.arange(1000.0) * np.ones((10, 1))
    middle = transforms.RandomResizedCrop(10, scale=(1, 1), ratio=(1, 1))(image)
    np.testing.assert_array_equal(middle[0], np.arange(495, 505))


# Sampling -------------------------------------------------------------------------------------------------------------


@MODES
def test_sampling_equals_scipy(mode):
    ndimage = pytest.importorskip("scipy.ndimage")
    rows, columns = RNG.uniform(-4, 18, (3, 9, 8)), RNG.uniform(-4, 23, (3, 9, 8))
    found = sampled(FLOATS, rows, columns, (0.5, 2.0, -1.0), InterpolationMode(mode))
    for number in range(3):
        for channel, fill in enumerate((0.5, 2.0, -1.0)):
            expected = ndimage.map_coordinates(
                FLOATS[number, :, :, channel],
                (rows[number], columns[number]),
                order=int(mode == "bilinear"),
                mode="grid-constant",
                cval=fill,
            )
            np.testing.assert_allclose(found[number, :, :, channel], expected, rtol=1e-9, atol=1e-12)


def torchvisions_affine(images, angle, scale, shear, center, mode):
    """The formula of torchvision.transforms.functional.affine, and PyTorch's sampling."""
    torch = pytest.importorskip("torch")
    height, width = images.shape[1:3]
    turn, (sx, sy) = np.radians(angle), np.radians(shear)
    cx, cy = center
    a = np.cos(turn - sy) / np.cos(sy)
    b = -np.cos(turn - sy) * np.tan(sx) / np.cos(sy) - np.sin(turn)
    c = np.sin(turn - sy) / np.cos(sy)
    d = -np.sin(turn - sy) * np.tan(sx) / np.cos(sy) + np.cos(turn)
    theta = np.array([[d, -b], [-c, a]]) / scale
    shift = np.array([cx, cy]) - theta @ [cx, cy]
    x, y = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
    grid = (np.stack([x, y], -1) @ theta.T + shift) / (width / 2, height / 2)
    grids = torch.from_numpy(grid).expand(len(images), -1, -1, -1)
    return pixels(torch.nn.functional.grid_sample(planes(images), grids, mode=mode, align_corners=False))


@MODES
@pytest.mark.parametrize(
    ("angle", "scale", "shear", "center"),
    [(30, 1, (0, 0), None), (-71, 0.7, (0, 0), (3, 5)), (10, 1.3, (20, 0), None), (45, 1.1, (-8, 14), (10, 2))],
)
def test_affine_maps_equal_torchvision(angle, scale, shear, center, mode):
    transform = transforms.RandomAffine(
        (angle, angle), None, (scale, scale), (*shear[:1] * 2, *shear[1:] * 2), mode, center=center
    )
    middle = (0, 0) if center is None else (center[0] - 19 / 2, center[1] - 14 / 2)
    expected = torchvisions_affine(FLOATS, angle, scale, shear, middle, mode)
    np.testing.assert_allclose(transform.batch(FLOATS), expected, rtol=1e-9, atol=1e-9)
    if shear == (0, 0) and scale == 1:
        turned = transforms.RandomRotation((-angle, -angle), mode, center=center)
        np.testing.assert_array_equal(turned.batch(FLOATS), transform.batch(FLOATS))


def test_rotations_equal_pillow():
    image = pytest.importorskip("PIL.Image")
    square = BYTES[0, :, :14]
    for angle in (90, 180, 17):
        expected = np.asarray(image.fromarray(square).rotate(angle, image.Resampling.NEAREST))
        found = transforms.RandomRotation((angle, angle))(square)
        assert (found == expected).mean() > 0.99  # which of two pixels is nearest is decided by rounding errors


def test_shifts_are_whole_pixels_within_their_limits():
    images = np.tile(np.arange(400.0).reshape(20, 20), (500, 1, 1))
    with reading(3, range(500)):
        moved = transforms.RandomAffine(0, translate=(0.1, 0.25), fill=-1).batch(images)
    seen = set()
    for one in moved:
        (y, x), *_ = np.argwhere(one >= 0)
        top, left = np.divmod(one[y, x], 20)
        shift = y - top, x - left
        seen.add(shift)
        expected = np.full((20, 20), -1.0)
        kept = images[0][
            max(0, -int(shift[0])) : 20 - max(0, int(shift[0])), max(0, -int(shift[1])) : 20 - max(0, int(shift[1]))
        ]
        expected[y : y + kept.shape[0], x : x + kept.shape[1]] = kept
        np.testing.assert_array_equal(one, expected)
    assert seen == {(dy, dx) for dy in range(-5, 6) for dx in range(-2, 3)}


def test_random_amounts_are_uniform():
    stats = pytest.importorskip("scipy.stats")
    ramp = np.tile(np.arange(-10.0, 11.0), (21, 1))  # under an affine map the slopes tell the matrix
    images = np.stack([ramp, ramp.T], -1)[None].repeat(600, 0)
    with reading(3, range(600)):
        turned = transforms.RandomRotation((20, 60), "bilinear").batch(images)
    x, y = np.moveaxis(turned[:, 10, 11] - turned[:, 10, 10], 1, 0)
    angles = np.degrees(np.arctan2(y, x))
    assert stats.kstest(angles, "uniform", (20, 40)).pvalue > 1e-3
    with reading(3, range(600)):
        scaled = transforms.RandomAffine(0, scale=(0.5, 2), interpolation="bilinear").batch(images)
    assert stats.kstest(1 / (scaled[:, 10, 11] - scaled[:, 10, 10])[:, 0], "uniform", (0.5, 1.5)).pvalue > 1e-3


# Distortion -----------------------------------------------------------------------------------------------------------


def test_elastic_distortion_is_blurred_noise():
    ndimage = pytest.importorskip("scipy.ndimage")
    for size in (3, 40):
        np.testing.assert_allclose(
            blur_matrix(size, 2.0), ndimage.gaussian_filter1d(np.eye(size), 2.0, 0, mode="mirror"), atol=1e-7
        )
    with reading(9, range(4, 7)):
        noise = [source.random((2, 14, 19), np.float32) * 2 - 1 for source in draw_generators(3)]
    with reading(9, range(4, 7)):
        found = transforms.ElasticTransform(alpha=30.0, sigma=3.0, fill=0.5).batch(FLOATS)
    rows, columns = np.mgrid[:14, :19]
    for image, one, (dx, dy) in zip(found, FLOATS, noise, strict=True):
        shift_y, shift_x = (15 * ndimage.gaussian_filter(each, 3.0, mode="mirror") for each in (dy, dx))
        assert np.abs(shift_y).max() > 0.5
        for channel in range(3):
            expected = ndimage.map_coordinates(
                one[:, :, channel], (rows + shift_y, columns + shift_x), order=1, mode="grid-constant", cval=0.5
            )
            np.testing.assert_allclose(image[:, :, channel], expected, atol=2e-5)
