"""One BLAS thread a test process: the processes of pytest-xdist would otherwise compete for the same cores."""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
