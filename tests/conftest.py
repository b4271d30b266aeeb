"""One BLAS thread a test process: the processes of pytest-xdist would otherwise compete for the same cores.

Scikit-learn dispatches to other namespaces only if SCIPY_ARRAY_API was set before scipy was imported. Most users do not
set it, nor do these tests: `test_device` runs those of test_array_api.py in a process that does. Scikit-learn's checks
of other namespaces are among them; here they would skip themselves.
"""

import os

import pytest

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

elsewhere = [] if os.environ.get("SCIPY_ARRAY_API") else ["test_array_api.py"]
collect_ignore = ["mutation.py", *elsewhere]  # a script, which needs packages of its own


def pytest_collection_modifyitems(config, items):
    if elsewhere:
        config.hook.pytest_deselected(items=[item for item in items if "check_array_api_" in item.name])
        items[:] = [item for item in items if "check_array_api_" not in item.name]


@pytest.fixture(scope="session")
def least_successes():
    """Return the design of the counts over seeds: a claim, a number of seeds, the probability of a false alarm."""
    from scipy.stats import binom  # not before the threads are limited

    def least(n, p, failure=1e-6):
        """Return the largest m with ``P(fewer than m of n succeed) <= failure`` where each succeeds with p."""
        return int(binom.ppf(failure, n, p))

    return least
