"""Training and evaluation on data sets and loaders, against the same batches as arrays, and a loop in PyTorch."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.data import DataLoader, Dataset, IterableDataset, TensorDataset
from chainrule.errors import ArgumentError, DataError, IndexOutOfRangeError
from chainrule.vision import transforms
from chainrule.vision.datasets import ImageDataset

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int64) + (X[:, 0] > 1)


class Net(nn.Module):
    """Code of the user's, which is captured without being known."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3))
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.layers(x)


def new_trainer():
    cr.manual_seed(3)
    return cr.Trainer(Net(), "cross_entropy", lambda p: cr.optim.SGD(p, lr=0.1), metrics=("accuracy", "f1"), seed=1)


def weights(trainer):
    return np.concatenate([p.detach().numpy().ravel() for p in trainer.model.parameters()])


def test_a_loader_in_order_trains_as_arrays_in_order():
    by_arrays, by_loader = new_trainer(), new_trainer()
    options = {"epochs": 3, "verbose": 0}
    expected = by_arrays.fit(X, Y, batch_size=16, shuffle=False, validation_data=(X[:9], Y[:9]), **options)
    data = TensorDataset(cr.tensor(X), cr.tensor(Y))
    held = TensorDataset(cr.tensor(X[:9]), cr.tensor(Y[:9]))
    found = by_loader.fit(DataLoader(data, 16), validation_data=DataLoader(held, 4), **options)
    np.testing.assert_array_equal(weights(by_loader), weights(by_arrays))
    for name in ("loss", "accuracy", "val_loss", "val_accuracy", "val_f1"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)
    assert by_loader.steps_per_epoch == by_arrays.steps_per_epoch == 4
    assert by_loader.model.calls < 12  # captured once per shape and mode, not in every step
    np.testing.assert_allclose(by_loader.predict(data), by_arrays.predict(X), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        by_loader.predict(DataLoader(TensorDataset(cr.tensor(X)), 7)), by_arrays.predict(X), rtol=1e-6, atol=1e-6
    )
    assert by_loader.evaluate(data) == pytest.approx(by_arrays.evaluate(X, Y), rel=1e-6)
    assert by_loader.evaluate(DataLoader(data, 13)) == pytest.approx(by_arrays.evaluate(X, Y), rel=1e-6)


def test_a_loader_trains_as_a_loop_in_pytorch():
    torch = pytest.importorskip("torch")
    trainer = new_trainer()
    twin = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    twin.load_state_dict(
        {k.removeprefix("layers."): torch.tensor(v.numpy()) for k, v in trainer.model.state_dict().items()}
    )
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    trainer.fit(DataLoader(TensorDataset(cr.tensor(X), cr.tensor(Y)), 8), epochs=5, verbose=0)
    for _ in range(5):
        for start in range(0, 50, 8):
            optimizer.zero_grad()
            output = twin(torch.tensor(X[start : start + 8]))
            torch.nn.functional.cross_entropy(output, torch.tensor(Y[start : start + 8])).backward()
            optimizer.step()
    expected = torch.cat([p.detach().flatten() for p in twin.parameters()]).numpy()
    np.testing.assert_allclose(weights(trainer), expected, rtol=1e-4, atol=1e-6)


def test_the_same_seed_gives_the_same_bits_whatever_the_workers_and_fits():
    data = TensorDataset(cr.tensor(X), cr.tensor(Y))
    trainers = []
    for workers, fits in ((0, [4]), (2, [4]), (0, [1, 3])):
        cr.manual_seed(5)
        model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.3), nn.Linear(8, 3))
        trainer = cr.Trainer(model, "cross_entropy", "adam", seed=2)
        for epochs in fits:
            trainer.fit(DataLoader(data, 16, shuffle=True, num_workers=workers), epochs=epochs, verbose=0)
        trainers.append(trainer)
    for other in trainers[1:]:
        np.testing.assert_array_equal(weights(trainers[0]), weights(other))


def test_transforms_draw_anew_in_every_epoch_and_order_is_shuffled():
    seen = []

    class Noted(Dataset):
        def __len__(self):
            return 12

        def __getitem__(self, index):
            seen.append(index)
            return np.float32([index]), np.float32(index)

    trainer = cr.Trainer(nn.Linear(1, 1), optimizer=lambda p: cr.optim.SGD(p, lr=0.0), seed=0)
    trainer.fit(Noted(), epochs=3, batch_size=5, verbose=0)
    epochs = np.array(seen).reshape(3, 12)
    assert (np.sort(epochs, 1) == np.arange(12)).all() and len(np.unique(epochs, axis=0)) == 3
    seen.clear()
    trainer.fit(Noted(), epochs=1, shuffle=False, verbose=0)
    assert seen == list(range(12))

    class Pictures(ImageDataset):
        classes = ("first", "second")

        def __init__(self):
            crop = transforms.RandomCrop(4)
            super().__init__(".", transforms.Compose([crop, transforms.ToTensor()]), None)
            self.data, self.targets = RNG.integers(0, 256, (20, 8, 8), dtype=np.uint8), np.arange(20) % 2

    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    trainer = cr.Trainer(model, "cross_entropy", lambda p: cr.optim.SGD(p, lr=0.0), seed=0)
    losses = trainer.fit(Pictures(), epochs=4, batch_size=8, verbose=0)["loss"]
    assert len(set(losses)) == 4  # the weights stay, the crops change


def test_averaged_weights_get_statistics_from_the_loader():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    trainer = cr.Trainer(model, "cross_entropy", "sgd", callbacks=[cr.training.EMA(0.5)], seed=0)
    trainer.fit(DataLoader(TensorDataset(cr.tensor(X), cr.tensor(Y)), 25), epochs=2, verbose=0)
    mean = np.mean([(X[i : i + 25] @ model[0].weight.detach().numpy().T).mean(0) for i in (0, 25)], 0)
    np.testing.assert_allclose(
        model[1].running_mean.numpy(), mean + model[0].bias.detach().numpy(), rtol=1e-4, atol=1e-6
    )


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


DATA = TensorDataset(cr.tensor(X), cr.tensor(Y))


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda t: t.fit(DATA, Y), ArgumentError, "a TensorDataset gives inputs and targets. fix: no y"),
        (lambda t: t.fit(DATA, validation_split=0.2), ArgumentError, "are for arrays.*random_split"),
        (lambda t: t.fit(DataLoader(DATA, 5), class_weight="balanced"), ArgumentError, "are for arrays"),
        (lambda t: t.evaluate(DATA, sample_weight=[1] * 50), ArgumentError, "is for arrays"),
        (lambda t: t.fit(TensorDataset(cr.tensor(X))), DataError, r"\(inputs, targets\).*batch 0 is 1 values"),
        (lambda t: t.fit(DataLoader(Stream(), 5)), ArgumentError, "how many batches an epoch has"),
        (lambda t: t.fit(DataLoader(DATA, 64, drop_last=True)), DataError, "the loader gave no batches"),
        (lambda t: t.predict(DataLoader(DATA, 64, drop_last=True)), DataError, "the loader gave no batches"),
        (lambda t: t.fit(TensorDataset(cr.tensor(X * np.nan), cr.tensor(Y))), DataError, "X of batch 0 contains NaN"),
        (lambda t: t.fit(TensorDataset(cr.tensor(X), cr.tensor(Y + 7))), IndexOutOfRangeError, "label 9 in row 0"),
        (lambda t: t.fit(X), DataError, "y is missing"),
    ],
)
def test_what_does_not_fit_is_named(run, error, message):
    with pytest.raises(error, match=message):
        run(new_trainer())


def test_streams_can_be_evaluated_and_predicted():
    trainer = new_trainer()
    assert trainer.evaluate(DataLoader(Stream(), 8)) == pytest.approx(trainer.evaluate(X, Y), rel=1e-6)
    np.testing.assert_allclose(trainer.predict(Stream()), trainer.predict(X), rtol=1e-6, atol=1e-6)


class CountedStream(Stream):
    def __len__(self):
        return len(X)


def test_an_iterable_data_set_trains_in_its_own_order():
    ours, wanted = new_trainer(), new_trainer()
    ours.fit(CountedStream(), epochs=2, batch_size=16, validation_data=CountedStream(), verbose=0)
    wanted.fit(X, Y, epochs=2, batch_size=16, shuffle=False, verbose=0)
    np.testing.assert_array_equal(weights(ours), weights(wanted))


def test_whole_batches_of_a_stream_are_used_unless_its_rows_were_changed():
    class Batches(CountedStream):
        def __iter__(self):
            return super().__iter__()

        def batches(self, size):
            self.was_asked = True
            return ([cr.tensor(X[n : n + size]), cr.tensor(Y[n : n + size])] for n in range(0, len(X), size))

    class Changed(Batches):
        def __iter__(self):
            return iter(zip(-X, Y, strict=True))

    for drop_last in (False, True):
        for dataset, sign, asked in ((Batches(), 1, True), (Changed(), -1, False)):
            found = list(DataLoader(dataset, batch_size=16, drop_last=drop_last))
            wanted = list(DataLoader(TensorDataset(sign * X, Y), batch_size=16, drop_last=drop_last))
            assert len(found) == len(wanted) == (3 if drop_last else 4)
            for batch, same in zip(found, wanted, strict=True):
                for part, other in zip(batch, same, strict=True):
                    np.testing.assert_array_equal(part.numpy(), other.numpy())
            assert hasattr(dataset, "was_asked") == asked


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_frames_of_numbers_train_as_arrays(kind):
    library = pytest.importorskip(kind)
    columns = {name: X[:, number] for number, name in enumerate("abc")}
    frame = library.table(columns) if kind == "pyarrow" else library.DataFrame(columns)
    ours, wanted = new_trainer(), new_trainer()
    ours.fit(frame, library.array(Y) if kind == "pyarrow" else library.Series(Y), epochs=2, verbose=0)
    wanted.fit(X, Y, epochs=2, verbose=0)
    np.testing.assert_array_equal(weights(ours), weights(wanted))
    np.testing.assert_array_equal(ours.predict(frame), wanted.predict(X))
