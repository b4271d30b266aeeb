"""What goes wrong during a fit or a command: it is told, what was found so far is kept, and nothing is half done."""

import errno
import io
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from dask import delayed
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import skrelu
from skrelu import (
    OneHiddenLayerNet,
    OneHiddenLayerReLU,
    ProjectedReLURegressor,
    ProjectedReLURegressorCV,
    QuadraticNet,
    TwoLayerReLURecovery,
)
from skrelu.__main__ import main
from skrelu._cli import compare as compare_module
from skrelu._cli import models, outputs
from skrelu.constraints import L1Ball
from skrelu.rows import Rows, stored

RNG = np.random.RandomState(0)
X = RNG.standard_normal((60, 3))
Y = np.maximum(X @ [1, -1, 0.5], 0) + 0.7 * np.maximum(X @ [-1, 0.3, 0.5] + 0.3, 0) + 0.3 * RNG.standard_normal(60)
TABLE = np.column_stack([Y, Y**2 / 4 + 0.3 * RNG.standard_normal(60), X[:, 0]])
FEW = {"n_init": 2, "max_iter": 60, "random_state": 0}
# Every estimator by every way that its fit may take.
MODELS = {
    "projected": (ProjectedReLURegressor(max_iter=100), Y),
    "projected on a ball": (ProjectedReLURegressor(L1Ball(1.0), max_iter=100), Y),
    "projected, gd": (ProjectedReLURegressor(L1Ball(1.0), solver="gd", max_iter=60), Y),
    "sizes": (ProjectedReLURegressorCV(sizes=[0.5, 1.0], cv=2, max_iter=100), Y),
    "any sizes": (ProjectedReLURegressorCV(cv=2, max_iter=100), Y),
    "relu": (OneHiddenLayerReLU(**FEW), Y),
    "2 relus": (OneHiddenLayerReLU(2, **FEW), Y),
    "2 relus without decay": (OneHiddenLayerReLU(2, alpha=0, **FEW), Y),
    "relus without decay": (OneHiddenLayerReLU(alpha=0, **FEW), Y),
    "2 relus, gd": (OneHiddenLayerReLU(2, solver="gd", **FEW), Y),
    "softplus": (OneHiddenLayerNet(**FEW), Y),
    "2 softplus with decay": (OneHiddenLayerNet(2, alpha=0.1, **FEW), Y),
    "quadratic": (QuadraticNet(**FEW), Y),
    "1 square": (QuadraticNet(1, **FEW), Y),
    "quadratic with decay": (QuadraticNet(alpha=0.1, **FEW), Y),
    "quadratic without decay": (QuadraticNet(alpha=0, **FEW), Y),
    "quadratic, gd": (QuadraticNet(2, solver="gd", **FEW), Y),
    "two layers": (TwoLayerReLURecovery(**FEW), TABLE),
    "two layers of 2 without decay": (TwoLayerReLURecovery(2, alpha=0, **FEW), TABLE),
    "two layers and outliers": (TwoLayerReLURecovery(2, outliers="detect", **FEW), TABLE),
    "two layers of one output": (TwoLayerReLURecovery(**FEW), Y),
    "two layers, gd": (TwoLayerReLURecovery(2, solver="gd", **FEW), TABLE),
}
# A plain descent on one objective, whose best iterate is what an interruption returns.
DESCENTS = [
    *("projected", "projected on a ball", "projected, gd", "2 relus, gd", "quadratic, gd", "two layers, gd"),
]
# One of each estimator, of those that take less than half a second.
FAST = ["projected on a ball", "sizes", "2 relus without decay", "quadratic", "two layers of 2 without decay"]


@pytest.fixture
def interrupt(monkeypatch):
    """Return the function (k): the k-th pass over the rows from now on is interrupted, none for k = 0; its counts."""
    passes, sum_ = {"made": 0, "at": 0}, Rows.sum

    def counted(self, f, *parameters):
        passes["made"] += 1
        if passes["made"] == passes["at"]:
            raise KeyboardInterrupt
        return sum_(self, f, *parameters)

    monkeypatch.setattr(Rows, "sum", counted)

    def at(k):
        passes.update(made=0, at=k)
        return passes

    return at


def quietly_fitted(model, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return clone(model).fit(X, y)


def is_kept(name, passes):
    """Fit with an interruption; return whether a model comes back, after asserting that it is as promised."""
    model, y = MODELS[name]
    model = clone(model)
    before = dict(vars(model))
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        try:
            model.fit(X, y)
        except KeyboardInterrupt:
            assert vars(model) == before
            return False
    told = [str(warning.message) for warning in record if "interrupted by the user" in str(warning.message)]
    assert len(told) == 1
    assert "interrupted by the user" in model.stop_reason_
    assert not model.converged_
    assert passes["made"] <= passes["at"] + 20, "it goes on"
    errors = (model.predict(X) - y).reshape(len(y), -1)
    kept = ~getattr(model, "outlier_mask_", np.zeros(len(y), dtype=bool))
    assert model.loss_ == pytest.approx(0.5 * np.mean(np.sum(errors[kept] ** 2, axis=1)), rel=1e-9)
    assert model.n_iter_ == len(model.loss_curve_) >= 1
    if name in DESCENTS:
        assert model.loss_ <= min(model.loss_curve_) * (1 + 1e-9)
    return True


def assert_interruptions_are_kept(name, interrupt, places):
    model, y = MODELS[name]
    passes = interrupt(0)
    whole = quietly_fitted(model, y)
    n_passes = passes["made"]
    kept = [is_kept(name, interrupt(k)) for k in places(n_passes)]
    assert kept == sorted(kept), "once there are parameters they are kept"
    assert not kept[0]
    assert kept[-1]
    # In the last pass all is found.
    interrupt(n_passes)
    assert quietly_fitted(model, y).loss_ == whole.loss_


@pytest.mark.parametrize("name", FAST)
def test_an_interruption_at_some_passes_keeps_what_was_found(name, interrupt):
    assert_interruptions_are_kept(name, interrupt, lambda n: [1, n // 2, n])


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_an_interruption_at_any_pass_keeps_what_was_found(name, interrupt):
    """At each of the first and the last 25 passes, and at 50 between."""
    assert_interruptions_are_kept(
        name,
        interrupt,
        lambda n: sorted({*range(1, min(n, 26)), *range(1, n, n // 50 + 1), *range(max(1, n - 24), n + 1)}),
    )


def test_an_interruption_in_every_pass_ends_the_fit(monkeypatch):
    """The last passes are made again once, not for ever."""

    def never(self, f, *parameters):
        raise KeyboardInterrupt

    model = ProjectedReLURegressor(max_iter=50).fit(X, Y)
    before = dict(vars(model))
    monkeypatch.setattr(Rows, "sum", never)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)
    assert vars(model) == before


# Callbacks.


class Told:
    """A callback that counts what it is told, raises at a given place, or stops when its clock says so."""

    def __init__(self, raise_at=0, stop_when=bool):
        self.raise_at, self.stop_when, self.n_told, self.error = raise_at, stop_when, 0, RuntimeError("the callback")

    def _count(self):
        self.n_told += 1
        if self.n_told == self.raise_at:
            raise self.error

    def setup(self, estimator, context):
        self._count()

    def teardown(self, estimator, context):
        """Nothing to take down."""

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self._count()

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self._count()
        return self.stop_when()


def same_attributes(found, expected):
    return found.keys() == expected.keys() and all(found[key] is expected[key] for key in expected)


@pytest.mark.parametrize("name", FAST)
def test_what_a_callback_raises_is_heard_and_the_estimator_stays_what_it_was(name):
    model, y = MODELS[name]
    unfitted, fitted, counting = clone(model), clone(model), Told()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted.set_callbacks(counting).fit(X, y)
        for estimator, k in ((unfitted, 1), (unfitted, 3), (unfitted, counting.n_told - 1), (fitted, counting.n_told)):
            callback = Told(raise_at=k)
            before = dict(vars(estimator.set_callbacks(callback)))
            with pytest.raises(RuntimeError) as caught:
                estimator.fit(X, y)
            assert caught.value is callback.error
            assert same_attributes(vars(estimator), before)


@pytest.mark.parametrize(
    "name", ["projected, gd", "relu", "softplus", "quadratic, gd", "two layers of 2 without decay"]
)
def test_a_time_limit_returns_the_best_so_far_with_a_warning(name):
    """As the guide has it, by a clock that goes one second a task; the limit is the end of the second task."""
    model, y = MODELS[name]
    seconds = iter(range(1000))
    callback = Told(stop_when=lambda: next(seconds) >= 1)
    limited = clone(model).set_callbacks(callback)
    with pytest.warns(ConvergenceWarning, match="stopped by a callback"):
        limited.fit(X, y)
    assert "stopped by a callback" in limited.stop_reason_
    assert not limited.converged_
    # Nothing but the end of the fit is told after the end of the second task.
    assert next(seconds) <= 4
    errors = (limited.predict(X) - y).reshape(len(y), -1)
    assert limited.loss_ == pytest.approx(0.5 * np.mean(np.sum(errors**2, axis=1)), rel=1e-9)


# Rows that fail.


def test_a_chunk_that_raises_after_some_passes_is_heard_and_the_fit_undone(monkeypatch):
    reads, lock = [], threading.Lock()

    def load():
        with lock:
            reads.append(1)
        if len(reads) > 5:
            raise OSError("the server is gone")
        return X

    # Computed anew in every pass, as data larger than memory are.
    monkeypatch.setattr(skrelu.rows.partitions, "_held", lambda parts, n_bytes: parts)
    chunked = da.concatenate([da.from_array(X, chunks=(60, 3)), da.from_delayed(delayed(load)(), X.shape, X.dtype)])
    model = ProjectedReLURegressor()
    before = dict(vars(model))
    with pytest.raises(OSError, match="the server is gone"):
        model.fit(chunked, np.append(Y, Y))
    assert vars(model) == before


def test_a_chunk_of_another_width_than_it_says_is_told():
    wide = da.from_delayed(delayed(np.ones((60, 4))), (60, 3), X.dtype)
    model = ProjectedReLURegressor()
    before = dict(vars(model))
    with pytest.raises(ValueError, match="4"):
        model.fit(da.concatenate([da.from_array(X, chunks=(60, 3)), wide]), np.append(Y, Y))
    assert vars(model) == before


@pytest.mark.parametrize("kind", ["list", "iterator"])
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("fault", ["NaN", "columns", "text"])
def test_a_bad_block_is_told_by_its_number(fault, k, kind):
    bad = {"NaN": X * np.nan, "columns": X[:, :2], "text": X.astype(str).astype(object) + "x"}[fault]
    blocks = [bad if i == k else X for i in range(4)]
    model = ProjectedReLURegressor()
    before = dict(vars(model))
    with pytest.raises(ValueError, match=f"X: block {k}: "):
        model.fit(blocks if kind == "list" else iter(blocks), np.tile(Y, 4))
    assert vars(model) == before


class Files:
    """Blocks in .npy files, read anew in every pass; before the n-th something happens to one of them."""

    def __init__(self, folder, happening, n):
        self.paths = [folder / f"{i}.npy" for i in range(3)]
        for path in self.paths:
            np.save(path, X)
        self.happening, self.n, self.passes = happening, n, 0

    def __iter__(self):
        self.passes += 1
        if self.passes == self.n:
            self.happening(self.paths[1])
        return (np.load(path) for path in self.paths)


@pytest.mark.parametrize(
    ("happening", "error", "message"),
    [
        (Path.unlink, FileNotFoundError, "1.npy"),
        (lambda path: os.truncate(path, 1000), ValueError, "reshape|EOF|read"),
        (lambda path: os.truncate(path, 0), EOFError, "No data left in file"),
        (lambda path: np.save(path, X[:-1]), ValueError, re.escape("block 1 has the shape (59, 3)")),
        (lambda path: np.save(path, X[:, :2]), ValueError, re.escape("block 1 has the shape (60, 2)")),
    ],
    ids=["gone", "cut", "empty", "fewer rows", "fewer columns"],
)
def test_a_file_that_changes_between_passes_ends_the_fit_and_undoes_it(tmp_path, happening, error, message):
    model = OneHiddenLayerReLU(2, random_state=0)
    before = dict(vars(model))
    with pytest.raises(error, match=message):
        model.fit(Files(tmp_path, happening, 9), np.tile(Y, 3))
    assert vars(model) == before


def test_a_full_disk_under_the_copy_of_an_iterator_is_told(monkeypatch):
    class Full(io.BytesIO):
        def write(self, content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(stored, "TemporaryFile", Full)
    model = ProjectedReLURegressor()
    before = dict(vars(model))
    with pytest.raises(OSError, match="No space left on device"):
        model.fit(iter([X, X]), np.append(Y, Y))
    assert vars(model) == before


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what becomes of such a process is the system's")
def test_a_map_of_a_file_that_shrinks_ends_the_process_and_blocks_of_it_do_not(tmp_path):
    """What the guide says: the system kills who reads behind the end of a mapped file, and no program can tell."""
    code = """if True:
        import os, sys, numpy as np
        from skrelu import ProjectedReLURegressor
        from skrelu.rows import Rows
        path, way = sys.argv[1:]
        np.save(path, np.random.RandomState(0).standard_normal((40000, 4)))
        class Blocks:
            def __iter__(self):
                return iter([np.load(path)])
        X = np.load(path, mmap_mode="r") if way == "map" else Blocks()
        y, n = np.ones(40000), iter(range(100))
        sum_ = Rows.sum if way == "map" else None
        def shrinking(self, f, *parameters):
            if next(n) == 3:
                os.truncate(path, 4096)
            return sum_(self, f, *parameters)
        from skrelu.rows.stored import StoredRows
        kind = Rows if way == "map" else StoredRows
        sum_ = kind.sum
        kind.sum = shrinking
        ProjectedReLURegressor().fit(X, y)
    """
    runs = [child(code, str(tmp_path / "x.npy"), way) for way in ("map", "blocks")]
    assert runs[0].returncode == -signal.SIGBUS
    assert runs[1].returncode == 1
    assert "ValueError" in runs[1].stderr


# The command line.


def child(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(skrelu.__file__).parents[1])}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    np.savetxt(path, np.column_stack([X, Y]), delimiter=",", header="a,b,c,y", comments="")
    return path


SIGNALLED = """if True:
    import os, signal, sys
    from skrelu.__main__ import main
    from skrelu.rows import Rows
    sum_, n = Rows.sum, iter(range(10**9))
    def interrupted(self, f, *parameters):
        if next(n) == 100:
            os.kill(os.getpid(), signal.SIGINT)
        return sum_(self, f, *parameters)
    Rows.sum = interrupted
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["compare", "--models", "mean,one-hidden-layer-relu,ridge"], "interrupted: 1 of 3 models finished"),
        (["demo"], "interrupted"),
    ],
    ids=["compare", "demo"],
)
def test_the_signal_of_the_keyboard_ends_a_command_with_one_line(tmp_path, table, command, message):
    if command[0] == "compare":
        command = [*command, str(table), "--json", str(tmp_path / "out.json"), "--save", str(tmp_path / "out.skops")]
    run = child(SIGNALLED, *command)
    assert run.returncode == 130
    assert run.stderr.splitlines()[-1] == f"skrelu: error: {message}"
    assert "Traceback" not in run.stderr
    assert "Warning" not in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_an_interrupted_fit_of_ours_ends_the_comparison(monkeypatch, capsys, table, interrupt):
    """The fit returns with a warning: what follows must not run."""
    interrupt(100)
    monkeypatch.setitem(models.MODELS, "after", None)
    arguments = ["compare", str(table), "--models", "one-hidden-layer-relu,after", "--cv", "2"]
    assert main(arguments) == 130
    assert capsys.readouterr().err.endswith("skrelu: error: interrupted: 0 of 2 models finished\n")


DIED = "skrelu: error: --jobs: a process died, as where memory is short; fewer of them need less"


def test_a_process_that_dies_is_told_in_one_line(monkeypatch, capsys, table):
    def dying(*_):
        raise BrokenProcessPool("A worker process managed by the executor was unexpectedly terminated.")

    monkeypatch.setattr(compare_module, "cross_validate", dying)
    assert main(["compare", str(table), "--target", "y", "--jobs", "2"]) == 2
    assert capsys.readouterr().err == f"{DIED}\n"


@pytest.mark.slow
def test_a_process_that_is_killed_is_told(table):
    code = """if True:
        import os, signal, sys
        from concurrent.futures import ProcessPoolExecutor
        from skrelu._cli import crossval
        from skrelu.__main__ import main
        def deadly(*_):
            os.kill(os.getpid(), signal.SIGKILL)
        crossval.fit_fold = deadly
        sys.exit(main(sys.argv[1:]))
    """
    run = child(code, "compare", str(table), "--target", "y", "--models", "mean", "--jobs", "2")
    assert run.returncode == 2
    assert run.stderr.endswith(
        "skrelu: error: --jobs: a process died, as where memory is short; fewer of them need less\n"
    )
    assert "Traceback" not in run.stderr


OUTPUTS = {"--json": "out.json", "--plot": "out.png", "--save": "out.skops"}


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_a_full_disk_leaves_the_file_that_was_there(monkeypatch, capsys, table, tmp_path, option):
    path = tmp_path / OUTPUTS[option]
    path.write_text("old")

    def full(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(outputs.os, "replace", full)
    assert main(["compare", str(table), "--target", "y", "--models", "mean", "--cv", "2", option, str(path)]) == 2
    assert capsys.readouterr().err == f"skrelu: error: cannot write {path}: No space left on device\n"
    assert path.read_text() == "old"
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["table.csv", path.name])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_device_that_is_full_is_told(capsys, table):
    assert main(["compare", str(table), "--target", "y", "--models", "mean", "--cv", "2", "--json", "/dev/full"]) == 2
    assert capsys.readouterr().err == "skrelu: error: cannot write /dev/full: No space left on device\n"


@pytest.mark.slow
@pytest.mark.parametrize("option", OUTPUTS)
def test_a_file_that_may_grow_no_further_leaves_the_old_one(table, tmp_path, option):
    """A limit of the system, 100 bytes, cuts the real write in the middle."""
    pytest.importorskip("resource")
    path = tmp_path / OUTPUTS[option]
    path.write_text("old")
    code = """if True:
        import resource, sys
        from skrelu.__main__ import main
        import matplotlib.font_manager, skops.io
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        sys.exit(main(sys.argv[1:]))
    """
    run = child(code, "compare", str(table), "--target", "y", "--models", "mean", "--cv", "2", option, str(path))
    assert (run.returncode, run.stderr) == (2, f"skrelu: error: cannot write {path}: File too large\n")
    assert path.read_text() == "old"
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["table.csv", path.name])
