"""Files of models and weights: written whole or not at all, checked when read, never executed."""
