"""The command line against hostile files: one line, status 2, none of their code runs, nothing unasked is written."""

import ast
import csv
import io
import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import skrelu
from skrelu.__main__ import main
from skrelu._cli import reading
from skrelu._cli.console import InputError
from skrelu._cli.tables import read_csv, read_features

ROOT = Path(skrelu.__file__).parent
RNG = np.random.RandomState(0)
CELLS = RNG.standard_normal((40, 3)).round(3)
CSV = "a,b,y\n" + "".join(f"{a},{b},{y}\n" for a, b, y in CELLS)
QUICK = ["--models", "mean,ridge", "--cv", "2"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The path of a table, and that of a model of it."""
    folder = tmp_path_factory.mktemp("saved")
    table, model = folder / "table.csv", folder / "model.skops"
    table.write_text(CSV)
    assert main(["compare", str(table), "--target", "y", *QUICK, "--save", str(model)]) == 0
    return table, model


def ends_well(capsys, *arguments):
    """Run a command; return its status and stderr, after asserting that there is no traceback and at most one error."""
    __tracebackhide__ = True
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    errors = [line for line in err.splitlines() if not line.startswith("skrelu: note: ")]
    assert status in (0, 1, 2)
    if status == 2:
        assert out == ""
        assert len(errors) == 1
        assert errors[0].startswith("skrelu: error: ")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f]", err + out), "control characters reach the terminal"
    return status, err


def refused(capsys, *arguments):
    __tracebackhide__ = True
    status, err = ends_well(capsys, *arguments)
    assert status == 2
    return err


# No code from files.

EXECUTE = {"pickle", "cPickle", "_pickle", "joblib", "cloudpickle", "dill", "marshal", "shelve", "yaml", "runpy"}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_module_imports_what_executes_files(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {(node.module or "").split(".")[0], *(alias.name for alias in node.names)}
        elif isinstance(node, ast.Call):
            assert "allow_pickle" not in {keyword.arg for keyword in node.keywords}
    assert not imported & EXECUTE


def test_nothing_is_unpickled_between_a_table_and_its_predictions(monkeypatch, capsys, saved, tmp_path):
    def forbidden(*_, **__):
        raise AssertionError("something is unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (joblib, "load")):
        monkeypatch.setattr(module, name, forbidden)
    table, _ = saved
    model = tmp_path / "model.skops"
    assert main(["compare", str(table), "--target", "y", *QUICK, "--save", str(model)]) == 0
    assert main(["predict", str(model), str(table)]) == 0


class Harmful:
    """An object whose pickle writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "harm")


def with_part(model, path, name, content):
    """Write the archive of a model with one part, named by its ending, replaced."""
    with zipfile.ZipFile(model) as source, zipfile.ZipFile(path, "w") as target:
        parts = source.namelist()
        assert any(part.endswith(name) for part in parts)
        for part in parts:
            target.writestr(part, content if part.endswith(name) else source.read(part))


def npy(shape, dtype="<f8", content=b""):
    """Return a file of numpy with this header."""
    head = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + content


def test_a_pickle_inside_a_model_is_not_executed(capsys, saved, tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "model.skops"
    content = npy((1,), "|O", pickle.dumps([Harmful(marker)]))
    pickle.loads(pickle.dumps(Harmful(tmp_path / "works")))
    assert (tmp_path / "works").exists()
    with_part(saved[1], path, ".npy", content)
    assert "is no model saved by skrelu compare, or is damaged" in refused(capsys, "predict", path, saved[0])
    assert not marker.exists()


@pytest.mark.parametrize(
    ("part", "content"),
    [
        (".npy", npy((10**13,))),
        (".npy", npy((2**62,))),
        (".npy", npy((-1,))),
        (".npy", b"\x93NUMPY\x09\x00"),
        (".npy", b""),
        ("schema.json", b"[" * 200_000),
        ("schema.json", b'{"__class__": "dict"' * 1000),
        ("schema.json", b"\xff\xfe"),
        ("schema.json", b"null"),
        ("schema.json", json.dumps({"__class__": "system", "__module__": "os", "__loader__": "FunctionNode"}).encode()),
    ],
    ids=["huge", "beyond addresses", "negative", "unknown", "empty", "deep", "open", "bytes", "null", "function"],
)
def test_a_model_with_a_part_replaced_is_refused(capsys, saved, tmp_path, part, content):
    path = tmp_path / "model.skops"
    with_part(saved[1], path, part, content)
    assert str(path) in refused(capsys, "predict", path, saved[0])


def test_an_archive_that_unpacks_to_more_than_it_holds_is_refused(capsys, saved, tmp_path):
    path = tmp_path / "model.skops"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("schema.json", b" " * 10**7)
    assert path.stat().st_size < 10**5
    assert "it is compressed" in refused(capsys, "predict", path, saved[0])


# Tables of any size, encoding and kind.

WHOLE = CSV.encode()
TABLES = {
    "mark": (b"\xef\xbb\xbf" + WHOLE, None),
    "carriage returns": (WHOLE.replace(b"\n", b"\r\n"), None),
    "old Macintosh": (WHOLE.replace(b"\n", b"\r"), None),
    "UTF-16": (CSV.encode("utf-16"), "is not UTF-8; save the table as UTF-8"),
    "UTF-32": (CSV.encode("utf-32"), "is not UTF-8; save the table as UTF-8"),
    "latin-1": ("é,b,y\n1,2,3\n2,1,4\n3,3,1\n".encode("latin-1"), "byte 0xe9 is not UTF-8"),
    "UTF-16 without mark": (CSV.encode("utf-16-le"), ""),
    "zeros": (WHOLE.replace(b"a", b"a\0").replace(b"1", b"1\0"), ""),
    "zeros only": (b"\0" * 1000, ""),
    "escapes": (b"\x1b[2Ja,\x1b]0;title\x07,y\n" + b"\x1b[31m1,2,3\n\x1b[0mx,3,1\n\x1b[7mz,4,2\n", None),
    "escapes in the target": (
        WHOLE.replace(b"y\n", b"y\n1,2,\x1b[31m\x9b\n".replace(b"\x9b", b"\xc2\x9b"), 1),
        "numeric",
    ),
    "empty": (b"", "is empty"),
    "line ends only": (b"\n\r\n\n", "is empty"),
    "names only": (b"a,b,y\n", "0 rows"),
    "ragged": (WHOLE + b"1,2\n", "line 42: 2 fields, but the first line names 3 columns"),
    "open quote": (WHOLE + b'1,"2,3\n1,2,3\n', "is a quote left open?"),
    "long field": (b"a,b,y\n1,2," + b"3" * 200_000 + b"\n", "field larger than field limit"),
    "long name": (b"n" * 100_000 + WHOLE[1:], None),
    "picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is not UTF-8"),
    "gzip": (b"\x1f\x8b\x08\0", "a gzip file"),
    "workbook": (b"PK\x03\x04", "an Excel workbook"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_any_encoding_is_read_or_refused_in_one_line(capsys, tmp_path, saved, name):
    content, message = TABLES[name]
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    status, err = ends_well(capsys, "compare", path, "--target", "y", "--models", "mean", "--cv", "2")
    if message is None:
        assert status == 0
    else:
        assert status == 2
        assert message in err
    ends_well(capsys, "predict", saved[1], path)
    refused(capsys, "predict", path, saved[0])


def is_there(path):
    return pytest.mark.skipif(not Path(path).exists(), reason=f"{path}, of some systems")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        pytest.param("/dev/null", "is empty", marks=is_there("/dev/null")),
        pytest.param("/proc/self/mem", "Input/output error", marks=is_there("/proc/self/mem")),
        (os.curdir, "cannot read"),
        ("no\0such", "cannot read"),
        ("x" * 5000, "File name too long"),
    ],
    ids=["null", "memory", "folder", "zero byte", "long"],
)
def test_what_is_no_file_is_refused(capsys, saved, path, message):
    assert message in refused(capsys, "compare", path)
    assert message in refused(capsys, "predict", saved[1], path)
    refused(capsys, "predict", path, saved[0])


def test_a_table_without_permission_is_refused(monkeypatch, capsys, saved):
    def denied(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert refused(capsys, "compare", saved[0]) == f"skrelu: error: cannot read {saved[0]}: Permission denied\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes, of some systems")
def test_a_named_pipe_is_read_to_its_end(capsys, tmp_path, saved):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(CSV,))
    writer.start()
    status, _ = ends_well(capsys, "predict", saved[1], path)
    writer.join()
    assert status == 0


def test_names_of_many_columns_are_not_compared_one_by_one(tmp_path):
    """Each of 10,000 with all others would be 10^8 comparisons; the line of names is longer than any field may be."""
    names = [f"{'long ' * 8}{i}" for i in range(10_000)]
    path = tmp_path / "wide.csv"
    path.write_text(",".join(names) + "\n" + ",".join(["1"] * len(names)))
    compared = 0

    class Counted(str):
        __slots__ = ()

        def __eq__(self, other):
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    counted = [Counted(name) for name in names]
    reading._check_names(str(path), counted)
    X, notes = read_features(str(path), counted, list(range(len(names))))
    assert X.shape == (1, len(names))
    assert not notes
    assert compared <= 4 * len(names)
    path.write_text(",".join([*names, names[-1]]) + "\n")
    with pytest.raises(InputError, match="two columns are named"):
        read_csv(str(path))


@pytest.mark.slow
def test_a_hundred_thousand_columns_and_a_million_rows(tmp_path):
    """Memory and time by the cell: at most 200 bytes and 20 microseconds."""
    code = """if True:
        import resource, sys, time
        from skrelu._cli.tables import read_csv
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        table = read_csv(sys.argv[1], "y")
        print(table.X.size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, time.process_time() - start)
    """
    for n, d in ((10, 100_000), (1_000_000, 4)):
        path = tmp_path / "table.csv"
        with path.open("w") as file:
            file.write(",".join([*(f"x{i}" for i in range(d)), "y"]) + "\n")
            for i in range(n):
                file.write(",".join([f"{i * 0.37 + j % 7:.3f}" for j in range(d)]) + f",{i % 10}\n")
        size, kilobytes, seconds = map(float, child(code, str(path)).stdout.split())
        assert size == n * d
        assert kilobytes * 1024 <= 200 * n * (d + 1)
        assert seconds <= 20e-6 * n * (d + 1)


def test_predictions_are_numbers_and_nothing_else(capsys, saved, tmp_path):
    """A cell that a spreadsheet would take for a formula can come from the name of the target alone."""
    path = tmp_path / "new.csv"
    path.write_text('a,b,note\n1,2,=cmd()\n3,4,"@SUM(A1)"\n')
    assert main(["predict", str(saved[1]), str(path)]) == 0
    header, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert header == ["y"]
    assert len(rows) == 2
    assert all(re.fullmatch(r"-?\d+(\.\d+)?(e[+-]\d+)?", cell) for row in rows for cell in row)


# Random files.

NEARLY_CSV = st.text(alphabet=' ,;\t\n\r"0123456789.-eENAya\0\x1bé=', max_size=200).map(lambda text: text.encode())
RANDOM = st.one_of(
    st.binary(max_size=300),
    NEARLY_CSV,
    NEARLY_CSV.map(lambda rows: b"a,b,y\n1,2,3\n2,1,1\n3,5,2\n" + rows),
    st.tuples(st.integers(0, len(WHOLE)), st.binary(min_size=1, max_size=8)).map(
        lambda change: WHOLE[: change[0]] + change[1] + WHOLE[change[0] :]
    ),
)


def assert_random_files_end_well(capsys, saved, tmp_path, n_examples):
    path = tmp_path / "random"

    @settings(
        max_examples=n_examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(content=RANDOM)
    def check(content):
        path.write_bytes(content)
        ends_well(capsys, "compare", path, "--models", "mean", "--cv", "2")
        ends_well(capsys, "predict", saved[1], path)
        refused(capsys, "predict", path, saved[0])

    check()


def test_random_files_end_in_a_result_or_in_one_line(capsys, saved, tmp_path):
    assert_random_files_end_well(capsys, saved, tmp_path, 12)


@pytest.mark.slow
def test_many_random_files_end_in_a_result_or_in_one_line(capsys, saved, tmp_path):
    assert_random_files_end_well(capsys, saved, tmp_path, 1000)


@pytest.mark.slow
def test_damaged_models_end_in_predictions_or_in_one_line(capsys, saved, tmp_path):
    whole, path = saved[1].read_bytes(), tmp_path / "model.skops"

    @settings(max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(place=st.integers(0, len(whole) - 1), n=st.integers(0, 20), content=st.binary(max_size=20))
    def check(place, n, content):
        path.write_bytes(whole[:place] + content + whole[place + n :])
        ends_well(capsys, "predict", path, saved[0])

    check()


# What is written.


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_only_what_is_asked_for_is_written(monkeypatch, capsys, tmp_path, saved):
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(elsewhere))
    table, model = map(str, saved)
    assert main(["compare", table, "--target", "y", *QUICK]) == 0
    assert main(["predict", model, table]) == 0
    assert files_below(here) == []
    assert main(["compare", table, "--target", "y", *QUICK, "--json", "a.json", "--save", "b.skops"]) == 0
    assert main(["predict", "b.skops", table, "--output", "c.csv"]) == 0
    assert files_below(here) == ["a.json", "b.skops", "c.csv"]
    assert files_below(elsewhere) == []


WATCHED = """if True:
    import os, sys, warnings
    written = []
    def watch(event, arguments):
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            written.append(arguments[0])
        elif event in ("os.mkdir", "os.rename", "os.symlink", "os.link", "os.truncate"):
            written.append(arguments[0])
    import numpy as np
    import skrelu.__main__
    sys.addaudithook(watch)
    warnings.simplefilter("ignore")
    X, Y = np.random.RandomState(0).standard_normal((60, 3)), np.random.RandomState(1).standard_normal((60, 2))
    for name in skrelu.__all__:
        if name[0].isupper():
            estimator = getattr(skrelu, name)()
            y = Y if name == "TwoLayerReLURecovery" else Y[:, 0]
            estimator.fit(X, y).predict(X)
            estimator.fit([X[:30], X[30:]], y).predict(iter([X]))
    assert skrelu.__main__.main(["demo"]) == 0
    assert skrelu.__main__.main(["compare", "--models", "mean,quadratic-net", "--cv", "2"]) == 0
    unasked = [str(path) for path in written if str(path) != os.devnull]
    print("unasked", unasked, file=sys.stderr)
"""


def child(code, *arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=600, **options)


@pytest.mark.slow
def test_no_fit_and_no_command_opens_a_file_to_write(tmp_path):
    """Seen by Python itself: every open to write, new folder and change of name of a process."""
    run = child(WATCHED, cwd=tmp_path)
    assert run.stderr.splitlines()[-1] == "unasked []"
    assert files_below(tmp_path) == []
