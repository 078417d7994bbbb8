"""Running programs: the thread pool, buffers and executables."""
