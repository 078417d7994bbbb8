"""Loaders against PyTorch's, with and without workers; and what is a function of the seed."""

import collections
import gc
import threading
import time

import numpy as np
import pytest

import chainrule as cr
from chainrule.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    Subset,
    TensorDataset,
    default_collate,
    default_convert,
    random_split,
)
from chainrule.data.collation import new_tensor
from chainrule.errors import ArgumentError, DTypeError, ShapeError

WORKERS = pytest.mark.parametrize("workers", [0, 1, 3])


class Rows(Dataset):
    """Row i is (a vector of i, i): read row by row."""

    def __init__(self, count=10):
        self.count = count
        self.reads = []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.reads.append(index)
        return np.full(3, index, np.float32), index


class Stream(IterableDataset):
    def __init__(self, count=10):
        self.count = count

    def __iter__(self):
        return (np.full(2, number, np.float32) for number in range(self.count))


def tensors(count=10):
    return TensorDataset(cr.arange(2.0 * count).reshape(count, 2), cr.arange(count))


def values(batches):
    return [[column.tolist() for column in batch] for batch in batches]


@WORKERS
@pytest.mark.parametrize("options", [{}, {"batch_size": 4}, {"batch_size": 4, "drop_last": True}, {"batch_size": 10}])
def test_batches_equal_pytorch(options, workers):
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.arange(20.0).reshape(10, 2), torch.arange(10))
    expected = torch.utils.data.DataLoader(data, **options)
    for dataset in (tensors(), Subset(tensors(), range(10)), ConcatDataset([tensors()])):
        loader = DataLoader(dataset, num_workers=workers, **options)
        assert len(loader) == len(expected) == len(list(loader))
        assert len(loader.dataset) == 10
        assert values(loader) == values(expected)
        assert all(type(batch) is list and batch[0].dtype is cr.float32 for batch in loader)


def test_types_of_batches_equal_pytorch():
    torch = pytest.importorskip("torch")
    Point = collections.namedtuple("Point", "x y")
    rows = [
        lambda library, k: (1.5 * k, k, k > 1, "text", b"bytes"),
        lambda library, k: {"a": np.full((2, 1), k, np.float32), "b": [k, (k, 2.0)]},
        lambda library, k: Point(np.float32(k), np.int64(k)),
        lambda library, k: library.tensor([[k, 2], [3, 4]]),
        lambda library, k: np.array(k),
    ]

    def describe(value):
        if isinstance(value, dict):
            return {key: describe(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [type(value).__name__, *map(describe, value)]
        return value if isinstance(value, str | bytes) else (str(value.dtype).split(".")[-1], value.tolist())

    for row in rows:
        ours = default_collate([row(cr, k) for k in range(3)])
        theirs = torch.utils.data.default_collate([row(torch, k) for k in range(3)])
        assert describe(ours) == describe(theirs)
    assert default_convert([np.zeros(2), "a", {"b": (np.ones(1),)}])[2]["b"][0].tolist() == [1.0]


def test_shuffling_is_a_function_of_the_seed():
    def order(**options):
        return [
            row for batch in DataLoader(tensors(), batch_size=3, shuffle=True, **options) for row in batch[1].tolist()
        ]

    cr.manual_seed(1)
    first, second = order(), order()
    cr.manual_seed(1)
    assert [order(), order(num_workers=2)] == [first, second]
    assert sorted(first) == list(range(10)) and first != second
    own = [order(generator=cr.Generator().manual_seed(5)) for _ in range(2)]
    state = cr.get_rng_state()["numpy"]["state"]["counter"].tolist()
    assert own[0] == own[1] == order(generator=cr.Generator().manual_seed(5))
    assert cr.get_rng_state()["numpy"]["state"]["counter"].tolist() == state


@WORKERS
def test_whole_batches_are_what_rows_give(workers):
    class RowByRow(TensorDataset):
        reads = 0

        def __getitem__(self, index):
            type(self).reads += 1
            return super().__getitem__(index)

    loaders = []
    for kind in (TensorDataset, RowByRow):
        data = Subset(kind(*tensors(50).tensors), list(range(49, 9, -1)))
        generator = cr.Generator().manual_seed(3)
        loaders.append(DataLoader(data, batch_size=8, shuffle=True, generator=generator, num_workers=workers))
    assert values(loaders[0]) == values(loaders[1])
    assert RowByRow.reads == 40


def test_gradients_reach_the_tensors_of_a_data_set():
    weights = cr.ones(4, 2, requires_grad=True)
    for (batch,) in DataLoader(TensorDataset(weights), batch_size=3):
        (batch * 2).sum().backward()
    assert weights.grad.tolist() == [[2.0, 2.0]] * 4


def test_batches_do_not_share_memory_with_the_data():
    data = tensors(4)
    (batch,) = DataLoader(data, batch_size=4)
    batch[0].add_(100)
    assert data.tensors[0].max().item() == 7


@WORKERS
def test_samplers_and_no_batches(workers):
    loader = DataLoader(Rows(), batch_size=4, sampler=[7, 1, 5, 2, 2], num_workers=workers)
    assert [batch[1].tolist() for batch in loader] == [[7, 1, 5, 2], [2]]
    batches = BatchSampler(SequentialSampler(range(5)), 2, drop_last=True)
    loader = DataLoader(Rows(), batch_sampler=batches, num_workers=workers)
    assert [batch[1].tolist() for batch in loader] == [[0, 1], [2, 3]] and len(loader) == 2
    loader = DataLoader(Rows(3), batch_size=None, num_workers=workers)
    assert [(row[0].tolist(), row[1]) for row in loader] == [([k] * 3, k) for k in range(3)] and len(loader) == 3
    loader = DataLoader(Rows(4), batch_size=3, collate_fn=lambda rows: sum(row[1] for row in rows), num_workers=workers)
    assert list(loader) == [3, 3]


def test_rows_of_anything_with_numbers():
    """Tensors, arrays and lists are data sets, and so are row numbers in a tensor an order."""
    for data in (cr.arange(5), np.arange(5), list(range(5))):
        assert [batch.tolist() for batch in DataLoader(data, batch_size=3)] == [[0, 1, 2], [3, 4]]
    for data in (tensors(), Subset(tensors(), cr.arange(10)), Rows()):
        (batch,) = DataLoader(data, batch_size=3, sampler=cr.tensor([4, 0, 2]))
        assert batch[1].tolist() == [4, 0, 2]
        loader = DataLoader(data, batch_sampler=cr.tensor([[4, 0], [2, 3]]))
        assert [batch[1].tolist() for batch in loader] == [[4, 0], [2, 3]]


@WORKERS
def test_no_batch_at_all(workers):
    torch = pytest.importorskip("torch")
    for options in ({"batch_size": 20, "drop_last": True}, {"sampler": []}, {"batch_sampler": []}):
        loader = DataLoader(tensors(), num_workers=workers, **options)
        assert len(loader) == len(torch.utils.data.DataLoader(range(10), **options)) == 0
        assert list(loader) == []


@WORKERS
def test_streams(workers):
    for options, expected in [
        ({"batch_size": 4}, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]),
        ({"batch_size": 4, "drop_last": True}, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        ({"batch_size": None}, list(range(10))),
    ]:
        loader = DataLoader(Stream(), num_workers=workers, **options)
        assert [batch[..., 0].tolist() for batch in loader] == expected
    assert list(DataLoader(Stream(0), batch_size=2, num_workers=workers)) == []
    with pytest.raises(TypeError):
        len(DataLoader(Stream()))


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"batch_size": None, "drop_last": True},
        {"shuffle": True, "sampler": [0]},
        {"batch_sampler": [[0]], "shuffle": True},
        {"batch_sampler": [[0]], "batch_size": 2},
        {"num_workers": -1},
        {"persistent_workers": True},
    ],
    ids=str,
)
def test_contradictions_are_refused_as_in_pytorch(options):
    with pytest.raises(ArgumentError):
        DataLoader(Rows(), **options)
    torch = pytest.importorskip("torch")
    with pytest.raises((ValueError, TypeError)):
        torch.utils.data.DataLoader(range(10), **options)


def test_a_stream_has_its_own_order():
    with pytest.raises(ArgumentError, match="no shuffle, sampler or batch_sampler"):
        DataLoader(Stream(), shuffle=True)
    with pytest.raises(ArgumentError, match="num_samples"):
        DataLoader(Rows(0), shuffle=True)
    assert list(DataLoader(Rows(0))) == []


@WORKERS
def test_an_error_names_its_row(workers):
    class Broken(Rows):
        def __getitem__(self, index):
            if index == 6:
                raise KeyError("no such picture")
            return super().__getitem__(index)

    batches = iter(DataLoader(Broken(), batch_size=2, num_workers=workers))
    assert [next(batches)[1].tolist() for _ in range(3)] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(KeyError, match="no such picture") as caught:
        next(batches)
    assert caught.value.__notes__ == ["while a DataLoader read row 6 of Broken"]
    with pytest.raises(IndexError, match="there is no row 10 in a data set of 10 rows") as caught:
        list(DataLoader(tensors(), batch_sampler=[[0, 10]], num_workers=workers))
    assert caught.value.__notes__ == ["while a DataLoader read rows [0, 10] of TensorDataset"]


@WORKERS
def test_an_error_in_a_stream_names_its_row(workers):
    class Broken(IterableDataset):
        def __iter__(self):
            yield 1
            raise OSError("connection lost")

    with pytest.raises(OSError, match="connection lost") as caught:
        list(DataLoader(Broken(), batch_size=2, num_workers=workers))
    assert caught.value.__notes__ == ["while a DataLoader read row 1 of Broken"]


def test_rows_that_cannot_be_joined():
    for rows, error, message in [
        ([np.zeros(2), np.zeros(3)], ShapeError, r"\(2,\) in its row 0, \(3,\) in its row 1"),
        ([(1, 2), (1,)], ShapeError, "different numbers of values"),
        ([object()], DTypeError, "rows of type object"),
        ([None], DTypeError, "rows of type NoneType"),
    ]:
        with pytest.raises(error, match=message):
            default_collate(rows)


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_workers_read_ahead_but_not_everything():
    data = Rows(100)
    batches = iter(DataLoader(data, batch_size=1, num_workers=2))
    next(batches)
    wait_until(lambda: len(data.reads) == 5)  # two batches ahead for each of two workers
    assert next(batches)[1].item() == 1
    wait_until(lambda: len(data.reads) == 6)
    del batches
    gc.collect()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("DataLoader")])
    assert len(data.reads) == 6


def test_workers_are_initialised_once_each():
    for persistent, starts in ((False, 2), (True, 1)):
        numbers = []
        loader = DataLoader(Rows(), num_workers=1, worker_init_fn=numbers.append, persistent_workers=persistent)
        assert [batch[1].item() for _ in range(2) for batch in loader] == 2 * list(range(10))
        assert numbers == [0] * starts

    def refuse(number):
        raise RuntimeError(f"worker {number} has no licence")

    with pytest.raises(RuntimeError, match="worker 0 has no licence"):
        list(DataLoader(Rows(), num_workers=1, worker_init_fn=refuse))


@WORKERS
def test_rows_computed_with_tensors(workers):
    """What a worker records has its values when the batch arrives, whatever joins the rows."""

    class Computed(Rows):
        def __getitem__(self, index):
            return cr.ones(2) * index + 1

    for collate in (None, list, cr.stack):
        loader = DataLoader(Computed(4), batch_size=2, num_workers=workers, collate_fn=collate)
        found = [[float(value) for row in batch for value in row * 1] for batch in loader]
        assert found == [[1, 1, 2, 2], [3, 3, 4, 4]]


@pytest.mark.parametrize("lengths", [[7, 3], [0.75, 0.25], [0.35, 0.35, 0.3], [0.1] * 10, [10, 0], [1 / 3] * 3])
def test_random_split_has_the_sizes_of_pytorch(lengths):
    parts = random_split(range(10), lengths, cr.Generator().manual_seed(2))
    assert sorted(row for part in parts for row in part) == list(range(10))
    again = random_split(range(10), lengths, cr.Generator().manual_seed(2))
    assert [list(part) for part in parts] == [list(part) for part in again]
    torch = pytest.importorskip("torch")
    assert list(map(len, parts)) == list(map(len, torch.utils.data.random_split(range(10), lengths)))


@pytest.mark.parametrize("lengths", [[7, 2], [0.5, 0.6], [11, -1], [1.5, -0.5], [7.5, 2.5], []])
def test_random_split_refuses_lengths_that_do_not_add_up(lengths):
    with pytest.raises(ArgumentError, match="do not add up to the data set's 10 rows"):
        random_split(range(10), lengths)


def test_data_sets_joined_and_refused():
    joined = Rows(3) + Rows(2)
    assert [joined[k][1] for k in range(-5, 5)] == [0, 1, 2, 0, 1] * 2 and len(joined) == 5
    with pytest.raises(IndexError, match="there is no row 5"):
        joined[5]
    for wrong in ([], [Stream()]):
        with pytest.raises(ArgumentError):
            ConcatDataset(wrong)
    for wrong in ((), (cr.ones(2), cr.ones(3)), (cr.tensor(1.0),)):
        with pytest.raises(ShapeError, match="equally many rows"):
            TensorDataset(*wrong)
    for method in ("__getitem__(0)", "__iter__()"):
        with pytest.raises(NotImplementedError):
            eval(f"IterableDataset().{method}")


def test_the_name_of_pytorch():
    from chainrule.utils.data import DataLoader as Same

    assert Same is DataLoader and cr.utils.data is cr.data


def test_the_memory_of_a_batch_serves_again_only_when_nobody_looks_into_it():
    def address_of_next():
        tensor, array = new_tensor((5000,), cr.float32)
        array[...] = 0
        return tensor._storage.address

    tensor, array = new_tensor((5000,), cr.float32)
    array[...] = 3
    address = tensor._storage.address
    views = [array, tensor, tensor.numpy()[5:], np.from_dlpack(tensor)[3:], tensor[2:]]
    del tensor, array
    while views:
        assert address_of_next() != address
        assert views[-1][-1] == 3
        views.pop()
    assert address_of_next() == address
