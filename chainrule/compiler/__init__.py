"""Where recorded tensors meet the compiler: running segments, the program cache, capturing functions."""
