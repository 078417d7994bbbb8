"""The model file: one zip of JSON documents and weights in safetensors, with a checksum of each.

    manifest.json          {"format": "chainrule model", "version": 1, "chainrule": "0.1.0", "sha256": {member: digest}}
    architecture.json      any number of documents
    weights.safetensors    arrays by name (huggingface.co/docs/safetensors)
    state.safetensors      more arrays, for those who ask: any number of such parts

Members are stored uncompressed: nothing can unpack to more than the file's own size. Equal contents give equal bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import ArgumentError, ModelFileError
from chainrule.files.opened import File, name_of, read_bytes, write_bytes
from chainrule.files.zipped import StoredZip

FORMAT = "chainrule model"
VERSION = 1
MANIFEST, WEIGHTS, ARRAYS = "manifest.json", "weights.safetensors", ".safetensors"
RESERVED = "__metadata__"

Arrays = dict[str, NDArray[Any]]

_ELEMENTS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "BOOL": "?",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip
_EPOCH = (1980, 1, 1, 0, 0, 0)
_FOREIGN_STARTS = {
    b"\x80\x02": "a pickle (an old PyTorch file?)",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle (joblib or pickle?)",
    b"\x80\x05": "a pickle (joblib or pickle?)",
    b"\x89HDF": "an HDF5 file (a Keras model?)",
    b"\x93NUM": "a NumPy array",
    b"\x08": "perhaps an ONNX model",
}


@dataclass(frozen=True)
class Archive:
    """What a model file holds: JSON documents by name (without ``.json``), arrays by name, and parts: more of these."""

    documents: dict[str, Any]
    arrays: Arrays
    chainrule_version: str
    parts: dict[str, Arrays]


def write_archive(
    file: File,
    documents: Mapping[str, Any],
    arrays: Arrays,
    version: str,
    parts: Mapping[str, Arrays] | None = None,
) -> None:
    """Write a model file, atomically under a name; ``version`` is that of the chainrule that writes it.

    Raises ModelFileError where it cannot be written; an older file of that name is then unchanged.
    """
    members = {f"{name}.json": _to_json(name, document) for name, document in documents.items()}
    members[WEIGHTS] = pack_arrays(arrays)
    members.update({f"{name}{ARRAYS}": pack_arrays(part) for name, part in (parts or {}).items()})
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    manifest = {"format": FORMAT, "version": VERSION, "chainrule": version, "sha256": digests}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {MANIFEST: _to_json("manifest", manifest), **members}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    write_bytes(file, buffer.getvalue())


def read_archive(file: File) -> Archive:
    """Read a model file and check it.

    Raises ModelFileError for a file that is missing, of another format, of a newer version, truncated or changed.
    """
    return unpack_archive(read_bytes(file), name_of(file))


def unpack_archive(content: bytes, path: str | os.PathLike[str]) -> Archive:
    """What ``read_archive`` returns, of the content of a file; ``path`` is for messages."""
    if not content.startswith(b"PK"):
        raise ModelFileError(f"{path} is not a chainrule model file{_what_else(content)}")
    archive = StoredZip(content, path)
    manifest = _read_manifest(path, archive)
    members = {name: archive.read(name) for name in manifest["sha256"]}
    for name, digest in manifest["sha256"].items():
        if hashlib.sha256(members[name]).hexdigest() != digest:
            raise ModelFileError(f"{path}: {name} was changed or damaged after saving (its checksum differs)")
    weights = members.pop(WEIGHTS, None)
    if weights is None:
        raise ModelFileError(f"{path} has no weights: its manifest does not name {WEIGHTS}")
    packed = {name: members.pop(name) for name in list(members) if name.endswith(ARRAYS)}
    documents = {name.removesuffix(".json"): _from_json(path, name, text) for name, text in members.items()}
    parts = {name.removesuffix(ARRAYS): unpack_arrays(content, path) for name, content in packed.items()}
    return Archive(documents, unpack_arrays(weights, path), str(manifest["chainrule"]), parts)


def pack_arrays(arrays: Arrays) -> bytes:
    """Return arrays in the safetensors format; each is copied into C order, as the format stores them.

    Raises ArgumentError for the one name that the format has for itself.
    """
    from safetensors.numpy import save

    if RESERVED in arrays:
        raise ArgumentError(f"{RESERVED!r} cannot be the name of a tensor: files of weights have it for themselves")
    return bytes(save({name: np.array(array, order="C") for name, array in arrays.items()}))


def unpack_arrays(content: bytes, path: str | os.PathLike[str]) -> Arrays:
    """Inverse of ``pack_arrays``, with bfloat16 as float32; ``path`` is for the message of ModelFileError."""
    from safetensors import SafetensorError, deserialize

    try:
        return {name: _unpacked(name, entry) for name, entry in deserialize(content)}
    except (SafetensorError, ValueError, KeyError) as error:
        if isinstance(error, ModelFileError):
            raise ModelFileError(f"{path}: {error}") from None
        raise ModelFileError(f"{path}: the weights are truncated or damaged: {error!s:.300}") from None


def from_bfloat16(halves: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The values of bfloat16 numbers, given by their bits: these are the upper half of a float32.

    >>> from_bfloat16(np.array([0x3FC0], np.uint16))
    array([1.5], dtype=float32)
    """
    return (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _unpacked(name: str, entry: Mapping[str, Any]) -> NDArray[Any]:
    kind = entry["dtype"]
    if kind not in _ELEMENTS:
        raise ModelFileError(f"{name!r:.80} has elements of type {kind}, expected one of {', '.join(_ELEMENTS)}")
    array = np.frombuffer(entry["data"], _ELEMENTS[kind]).reshape(entry["shape"])
    return from_bfloat16(array) if kind == "BF16" else array


def _read_manifest(path: str | os.PathLike[str], archive: StoredZip) -> dict[str, Any]:
    if MANIFEST not in archive.names:
        hint = " (a PyTorch file?)" if any(name.endswith("data.pkl") for name in archive.names) else ""
        raise ModelFileError(f"{path} is a zip archive{hint}, but not a chainrule model file: it has no {MANIFEST}")
    manifest = _from_json(path, MANIFEST, archive.read(MANIFEST))
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ModelFileError(f"{path} is not a chainrule model file: {MANIFEST} does not say {FORMAT!r}")
    version = manifest.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise ModelFileError(
            f"{path} has version {version!s:.40} of the model format, written by chainrule "
            f"{manifest.get('chainrule')!s:.40}; "
            f"this one reads versions up to {VERSION}: install a newer chainrule"
        )
    if not isinstance(manifest.get("sha256"), dict) or "chainrule" not in manifest:
        raise ModelFileError(f"{path}: {MANIFEST} is damaged: it lacks checksums or the version of chainrule")
    return manifest


def _to_json(name: str, document: Any) -> bytes:
    try:
        return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"the model cannot be saved: its {name} does not fit into JSON: {error}") from None


def _from_json(path: str | os.PathLike[str], name: str, text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: {name} is not valid JSON: {error}") from None


def _what_else(content: bytes) -> str:
    for start, meaning in _FOREIGN_STARTS.items():
        if content.startswith(start):
            return f": it looks like {meaning}"
    header = int.from_bytes(content[:8], "little")
    if 0 < header < len(content) and content[8:9] == b"{":
        return ": it holds weights alone (safetensors); read it with chainrule.load_weights"
    if b"\x00" not in content[:1000]:
        return ": it is a text file"
    return ""
