"""Writing a network, with whatever belongs to it, as a model file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainrule.files.architecture import describe
from chainrule.files.archive import Arrays, write_archive
from chainrule.files.opened import File
from chainrule.files.provenance import versions
from chainrule.files.weights import as_arrays


def write_network(
    file: File,
    module: Any,
    documents: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    parts: Mapping[str, Arrays] | None = None,
) -> None:
    """Write a module's architecture and weights, further JSON documents, a record of its training, and parts: arrays.

    The document ``metadata`` says which versions wrote the file. Raises ModelFileError where it cannot be written.
    """
    everything = {
        "architecture": describe(module),
        "metadata": {"versions": versions(), "training": dict(training or {})},
        **(documents or {}),
    }
    write_archive(file, everything, as_arrays(module.state_dict()), versions()["chainrule"], parts)
