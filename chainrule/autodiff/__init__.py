"""Reverse-mode differentiation: graph to graph with gradients."""
