"""The counter of changes to modules, which lies in `chainrule.tensor.structure` so that optimisers can raise it too."""

from ..tensor.structure import note_change, structure

__all__ = ["note_change", "structure"]
