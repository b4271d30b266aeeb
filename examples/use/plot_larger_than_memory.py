"""
A table larger than memory
==========================

All that a fit needs of the table are sums over its rows, block by block. So the same ``fit`` takes a memory map, or a
sequence of files, and never has the whole table in memory. This page writes a table to disk, fits it three ways, and
watches what each fit allocates.
"""

import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np

from skrelu import ProjectedReLURegressor
from skrelu.constraints import L0Ball
from skrelu.datasets import make_relu_regression

# %%
# The table
# ---------
#
# One ReLU with 10 nonzero weights of 128. X is drawn and written in 32 blocks of 2 MiB: once into one file,
# once into a file for each block. y, 1/128 of X, stays in memory.

d, rows, n_blocks, mebibyte = 128, 2048, 32, 2**20
_, _, teacher = make_relu_regression(2, d, n_nonzero=10, return_teacher=True, random_state=0)
rng = np.random.default_rng(0)
folder = TemporaryDirectory()
whole = Path(folder.name) / "X.npy"
pieces = [Path(folder.name) / f"X{i}.npy" for i in range(n_blocks)]


def write():
    X = np.lib.format.open_memmap(whole, mode="w+", dtype=np.float64, shape=(n_blocks * rows, d))
    y = []
    for i, piece in enumerate(pieces):
        block = rng.standard_normal((rows, d))
        X[i * rows : (i + 1) * rows] = block
        np.save(piece, block)
        y.append(teacher.predict(block))
    return np.concatenate(y)


y = write()

# %%
# Three ways to the rows
# ----------------------
#
# A sequence of blocks is any object with a length and items. This one opens a file when its block is asked for:


class Files:
    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        return np.load(self.paths[i])


# %%
# Each way gives the first k blocks.

sources = {
    "in memory": lambda k: np.array(np.load(whole, mmap_mode="r")[: k * rows]),
    "files": lambda k: Files(pieces[:k]),
    "memory map": lambda k: np.load(whole, mmap_mode="r")[: k * rows],
}

# %%
# The fits
# --------
#
# `tracemalloc` counts what Python and NumPy allocate, from the opening of X to the end of the fit. The pages of a map
# are not among it: they are a copy of the file that the system keeps while it has room, and drops when it has not.


def peak_and_weights(source, k):
    tracemalloc.start()
    model = ProjectedReLURegressor(L0Ball(10), fit_intercept=False).fit(source(k), y[: k * rows])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / mebibyte, model.coef_


counts = [1, 2, 4, 8, 16, 32]
fits = {name: [peak_and_weights(source, k) for k in counts] for name, source in sources.items()}
folder.cleanup()

print("MiB of X  ", *(f"{k * rows * d * 8 / mebibyte:5.0f}" for k in counts))
for name, results in fits.items():
    print(f"{name:10}", *(f"{peak:5.1f}" for peak, _ in results))
    coefs, in_memory = (np.array([coef for _, coef in fits[key]]) for key in (name, "in memory"))
    print(f"{'':10} weights: {np.abs(coefs - in_memory).max():.0e} from those in memory,", end=" ")
    print(f"{np.abs(coefs - teacher.coef_).max():.0e} from the planted ones")

# %%
# The picture
# -----------

sizes = np.array(counts) * rows * d * 8 / mebibyte
fig, ax = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
for (name, results), style in zip(fits.items(), ("ok-", "sC1--", "^C0-."), strict=True):
    ax.loglog(sizes, [peak for peak, _ in results], style, base=2, label=name)
for set_ticks in (ax.set_xticks, ax.set_yticks):
    set_ticks(sizes, [f"{size:g}" for size in sizes])
ax.set(xlabel="Size of X (MiB)", ylabel="Most memory allocated at a time (MiB)")
ax.grid(alpha=0.3)
ax.legend()
plt.show()

# %%
# What is seen
# ------------
#
# In memory a fit takes X and 2 MiB for its work on a block. Files take two blocks and the same 2 MiB: the block at
# work, and the next one, which a thread reads meanwhile. A map takes no block of its own: blocks are views of the pages
# of its file. What still grows are two numbers for each row, besides y, here 1 MiB at the end.
#
# All weights agree to rounding, and are the planted ones. The price is reading: each pass over the rows opens all files
# again. This fit makes 28 passes, a network of several units more
# (:ref:`sphx_glr_gallery_use_plot_dask.py` counts them). Other sources, Parquet and iterators among them:
# :doc:`/guide/large_data`.
