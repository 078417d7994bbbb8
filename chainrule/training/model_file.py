"""Saving and loading networks: alone, or with the preparation of their data and the history of their training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chainrule import models, nn
from chainrule.data.preparation import Preparation
from chainrule.data.target import TargetPreparation
from chainrule.devices import Device
from chainrule.errors import ModelFileError, StateDictError
from chainrule.files.architecture import build
from chainrule.files.archive import Archive, read_archive, unpack_archive, unpack_arrays
from chainrule.files.network import write_network
from chainrule.files.opened import File, name_of, read_bytes
from chainrule.files.pytorch import is_pytorch, read_pytorch
from chainrule.files.values import DOCUMENT as VALUES
from chainrule.files.values import read_values, write_values
from chainrule.files.weights import is_safetensors, read_weights, write_weights
from chainrule.memory import budget
from chainrule.tensor.creation import from_numpy
from chainrule.tensor.tensor import Tensor
from chainrule.text.vocabulary import Vocabulary
from chainrule.training.history import History

UNSTORED = 1 << 20
"""Bytes that the layers of a model file may take for what the file need not hold."""


@dataclass
class LoadedModel:
    """What a model file holds. ``metadata`` has ``versions`` of what wrote it and what was given as ``training``."""

    module: nn.Module
    preparation: Preparation | None = None
    target: TargetPreparation | None = None
    history: History | None = None
    vocabulary: Vocabulary | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


def save_model(
    path: File,
    module: nn.Module,
    *,
    preparation: Preparation | None = None,
    target: TargetPreparation | None = None,
    history: History | None = None,
    vocabulary: Vocabulary | None = None,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Save a network, and what belongs to it, in one file: JSON and safetensors in a zip, no pickle.

    ``training`` is any record in JSON types (loss, optimiser, seed ...). The file is written atomically: if the disk
    is full, the file that was there before is unchanged; a binary file that is open is written where it stands. Of
    layers that are not part of ``chainrule`` only the name and the weights are kept; see ``load_weights``.

    Raises ModelFileError where the file cannot be written.

    >>> save_model("network.chain", nn.Sequential(nn.Linear(8, 1)), training={"seed": 0})
    >>> load_model("network.chain").metadata["training"]
    {'seed': 0}
    """
    parts = {"preparation": preparation, "target": target, "history": history, "vocabulary": vocabulary}
    documents = {name: part.to_json() for name, part in parts.items() if part is not None}
    write_network(path, module, documents, training)


def load_model(path: File) -> LoadedModel:
    """Load what ``save_model`` saved; the network is in evaluation mode. Nothing in the file is executed.

    Raises ModelFileError for a file that is missing, foreign, truncated or changed, and for a network with layers that
    are not part of ``chainrule``: build that one in Python and give it ``load_weights(path)``.
    """
    return _loaded(name_of(path), read_archive(path))


def _loaded(path: str, archive: Archive) -> LoadedModel:
    documents = archive.documents
    if "architecture" not in documents:
        raise ModelFileError(f"{path} has no architecture: it is not a file that save_model wrote")
    classes = {
        name: value
        for name, value in (*vars(models).items(), *vars(nn).items())
        if isinstance(value, type) and issubclass(value, nn.Module)
    }
    stored = sum(array.nbytes for array in archive.arrays.values())
    try:
        with budget(UNSTORED + 4 * stored):  # twice for weights that are ones first, twice for float16
            module = build(documents["architecture"], classes)
    except MemoryError:
        raise ModelFileError(
            f"{path}: its layers would take much more memory than its weights, {stored} bytes. The file is damaged"
        ) from None
    try:
        module.load_state_dict(archive.arrays)
    except StateDictError as error:
        raise ModelFileError(f"{path}: the weights do not fit the architecture: {error}") from None
    module.eval()
    history = documents.get("history")
    preparation, target = documents.get("preparation"), documents.get("target")
    vocabulary = documents.get("vocabulary")
    return LoadedModel(
        module,
        None if preparation is None else Preparation.from_json(preparation),
        None if target is None else TargetPreparation.from_json(target),
        None if history is None else History.from_json(history),
        None if vocabulary is None else Vocabulary.from_json(vocabulary),
        _metadata(path, documents.get("metadata")),
    )


def save(obj: Any, f: File) -> None:
    """Save a network as a model file, a state dict (names and tensors) as a safetensors file, or nested values.

    Nested values, such as a checkpoint, are lists, tuples and dictionaries of tensors, arrays, numbers and text: JSON
    and safetensors in a zip. Parameters and views become tensors of their own.
    ``f`` is a path, under which the file appears whole or not at all, or a binary file that is open for writing, such
    as `io.BytesIO`, which is written where it stands.

    Raises ArgumentError for anything else, with its place, ModelFileError where the file cannot be written.

    >>> module = nn.Linear(8, 1)
    >>> save(module.state_dict(), "weights.safetensors")
    >>> sorted(load("weights.safetensors"))
    ['bias', 'weight']
    >>> save({"epoch": 3, "model": module.state_dict(), "best": (0.5, None)}, "checkpoint.pt")
    >>> load("checkpoint.pt")["best"]
    (0.5, None)
    """
    if isinstance(obj, nn.Module):
        save_model(f, obj)
    elif isinstance(obj, Mapping) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in obj.items()):
        write_weights(f, obj)
    else:
        write_values(f, obj, lambda value: isinstance(value, Tensor))


def load(f: File, map_location: Any = None, *, weights_only: bool = True) -> Any:
    """Load what ``save``, ``Module.save`` or ``Trainer.save`` wrote, or PyTorch's ``torch.save`` of tensors.

    The network, the state dict, or the nested values. Of PyTorch's files those of state dicts and checkpoints are read
    (not whole modules), without PyTorch: see `chainrule.files.pytorch`. Nothing in a file is executed, whatever
    ``weights_only`` says; ``map_location`` may be the CPU. Both are PyTorch's arguments, for its programs. A file that
    is open is read from where it stands to its end.

    Raises ModelFileError as ``load_model`` does, ArgumentError for another device.

    >>> import io
    >>> file = io.BytesIO()
    >>> save({"epoch": 3}, file)
    >>> file.seek(0)
    0
    >>> load(file)
    {'epoch': 3}
    """
    if map_location is not None:
        Device(map_location)
    found = load_anything(f)
    return found.module if isinstance(found, LoadedModel) else found


def load_anything(f: File) -> Any:
    """What ``load`` returns, but for a model file all that ``load_model`` does."""
    content, name = read_bytes(f), name_of(f)
    if is_safetensors(content):
        return _tensors(unpack_arrays(content, name))
    if is_pytorch(content):
        return read_pytorch(content, name, from_numpy)
    archive = unpack_archive(content, name)
    return read_values(archive, name, from_numpy) if VALUES in archive.documents else _loaded(name, archive)


def load_weights(f: File) -> dict[str, Tensor]:
    """Return the weights in a safetensors, PyTorch or model file as a state dict, whatever network they belong to.

    >>> module = nn.Linear(8, 1)
    >>> save(module, "network.chain")
    >>> module.load_state_dict(load_weights("network.chain"))
    <All keys matched successfully>
    """
    return _tensors(read_weights(f))


def _tensors(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: from_numpy(array) for name, array in arrays.items()}


def _metadata(path: str, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict) or not all(isinstance(found.get(name), dict) for name in ("versions", "training")):
        raise ModelFileError(f"{path}: metadata.json is damaged: expected versions and training")
    return found
