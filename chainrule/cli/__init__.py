"""The command line: ``chainrule train``, ``predict``, ``evaluate``, ``inspect``, ``bench`` and ``check``."""

from .commands import main
