"""The command line: ``chainrule train``, ``tune``, ``predict``, ``evaluate``, ``inspect``, ``bench`` and ``check``."""

from .commands import main
