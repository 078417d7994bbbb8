"""What runs programs: native code, XLA. PyTorch's names for its own backends tell that they are not here."""

from ..devices import cuda, cudnn, mps

__all__ = ["cuda", "cudnn", "mps"]
