"""The command line: ``chainrule train``, ``predict``, ``evaluate``, ``inspect``, ``bench`` and ``check``."""

from .main import main
