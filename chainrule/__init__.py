"""chainrule: neural networks as one recorded graph and one native program."""

__version__ = "0.1.0"
