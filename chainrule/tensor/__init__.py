"""Tensors: recording what Python does as vertices of a graph."""
