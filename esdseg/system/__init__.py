"""The machine: files, locks, processes, memory and cores, Dask, and memory and threads of PyTorch."""
