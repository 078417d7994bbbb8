"""Native code through LLVM: the kernel language, vector maths, templates, compilation and the cache of object code."""
