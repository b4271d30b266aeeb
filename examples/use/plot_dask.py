"""
The same fit on dask arrays
===========================

The partitions of a dask array may lie on many machines. What a fit needs of them are sums over rows: each machine adds
up its own, and only sums travel. This page fits a network to arrays in memory and to the same arrays as dask arrays,
with dask's threads in place of a cluster, and listens to dask: how many graphs are computed, and how large are their
results?
"""

import dask
import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
from dask.callbacks import Callback
from dask.sizeof import sizeof

from skrelu import OneHiddenLayerReLU
from skrelu.datasets import make_one_hidden_layer

n, d, k = 50_000, 20, 3
X, y = make_one_hidden_layer(n, d, k, random_state=0)
model = OneHiddenLayerReLU(k, random_state=0)
in_memory = model.fit(X, y).hidden_coef_

# %%
# A listener
# ----------
#
# dask tells a callback when it begins a graph and when a task has ended. A list for each graph, of the bytes of the
# results of its tasks:


class Listener(Callback):
    def __init__(self):
        self.graphs = []

    def _start(self, graph):
        self.graphs.append([])

    def _posttask(self, key, result, graph, state, worker):
        self.graphs[-1].append(sizeof(result))


# %%
# The fits
# --------
#
# The same lines as in memory, for 1 to 64 partitions. Arrays in files come by ``da.from_zarr``, a cluster by
# ``dask.distributed.Client`` (:doc:`/guide/large_data`).

graphs = {}
for n_partitions in (1, 4, 16, 64):
    rows = -(-n // n_partitions)
    X_dask, y_dask = da.from_array(X, chunks=(rows, d)), da.from_array(y, chunks=rows)
    with Listener() as listener, dask.config.set(scheduler="threads"):
        model.fit(X_dask, y_dask)
    graphs[n_partitions] = loading, *passes = [sum(sizes) for sizes in listener.graphs if sizes]
    difference = np.abs(model.hidden_coef_ - in_memory).max()
    print(f"{n_partitions:2} partitions: {len(passes)} passes, {sum(passes) / 1e6:.2f} MB of sums, ", end="")
    print(f"weights {difference:.0e} from those in memory")

# %%
# Predictions are dask arrays: nothing is computed before somebody asks.

with Listener() as listener:
    predictions = model.predict(X_dask)
print(predictions)
print(f"graphs so far: {len(listener.graphs)}")
print(f"computed: {np.abs(predictions.compute() - model.predict(X)).max():.0e} from those in memory")

# %%
# The picture
# -----------
#
# The first graph, numbered 0, reads the partitions, which then stay where they are. Each of the others is a pass over
# all rows. Drawn are the bytes of all its sums: of each partition, and of eight such sums, and so on.

fig, ax = plt.subplots(figsize=(7.6, 4.4), layout="constrained")
styles = [("o", "0.0"), ("s", "0.3"), ("D", "0.5"), ("^", "0.65")]
for (n_partitions, sizes), (marker, shade) in zip(graphs.items(), styles, strict=True):
    label = f"{n_partitions} partition{'s' * (n_partitions > 1)}"
    ax.semilogy(sizes, marker, color=shade, markersize=4, label=label)
ax.axhline(X.nbytes, color="C1", linestyle="--", label="X")
ax.set(xlabel="Graph", ylabel="Bytes of the results of its tasks", ylim=(30, 1e8))
ax.grid(alpha=0.3)
ax.legend(ncols=5, loc="upper center", columnspacing=1.0, handletextpad=0.4)
plt.show()

# %%
# What is seen
# ------------
#
# A pass takes 80 to 840 bytes from a partition, about as many numbers as the network has weights, for loss and
# gradient. Only two are larger, d times d matrices of second moments that the start needs. None of it grows with the
# rows: with ten times as many, the dashed line moves up, and nothing else. It grows with the number of partitions, so
# they should be large. The weights differ by the order of additions alone.
#
# The number of passes is that of the fit in memory, and a cluster takes about a tenth of a second to answer one. Here y
# has no noise. With ``noise=0.1`` the default, which searches for a weight decay then, makes 1534 passes over these
# rows, ``alpha=0`` 789.
