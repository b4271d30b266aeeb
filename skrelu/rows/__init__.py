"""Rows of a weighted data set, summed block by block: the only room that knows where the data live.

Every method of this package needs from the data nothing but sums over rows,

``sum_b f(X_b, y_b, s_b; parameters)``,

with a small result, so `Rows.sum` is all that networks, moments and solvers know of them; but for methods that weigh
rows one against another: these need a number for each row, `Rows.each`, and `Rows.reweighted`. Behind it stand arrays
and memory maps (`memory`), blocks that are read again in every pass (`stored`), dask partitions (`partitions`) and
arrays of a device (`device`); `read` tells which.
"""

from skrelu.rows.memory import BLOCK_BYTES, Rows, column_blocks

__all__ = ["BLOCK_BYTES", "Rows", "column_blocks"]
