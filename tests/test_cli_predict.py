"""The command line: a model saved by ``compare`` and its predictions."""

import csv
import errno
import io
import json
import os
import zipfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skrelu.__main__ import main
from skrelu._cli import models, outputs, saved
from skrelu._cli import predict as predict_module
from skrelu._cli.models import build_pipeline
from skrelu._cli.tables import read_csv


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """A table with numbers, gaps, categories that look like numbers, and a column of groups; a model of it."""
    folder = tmp_path_factory.mktemp("saved")
    rng = np.random.RandomState(0)
    lines = ["x,size,colour,site,same,y"]
    for i in range(60):
        x, size, colour = rng.randn(), rng.choice(["1", "2", "L"]), rng.choice(["red", "blue", ""])
        if i % 15 == 0:
            x = 0.0
        lines.append(f"{x or ''},{size},{colour},{i % 6},7,{3 * x + (size == '2') - (colour == 'red')}")
    table, model = folder / "table.csv", folder / "model.skops"
    table.write_text("\n".join(lines))
    arguments = ["--target", "y", "--models", "mean,ridge", "--groups", "site", "--save", str(model)]
    assert main(["compare", str(table), *arguments]) == 0
    return table, model


@pytest.fixture
def new(tmp_path):
    """Write a table and return its path."""

    def write(text, name="new.csv"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def refused(capsys, arguments, *messages):
    """Assert that a command ends with exit status 2 and one line on stderr that has all messages."""
    __tracebackhide__ = True
    assert main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("skrelu: error: ")
    assert err.count("\n") == 1
    for message in messages:
        assert message in err


def printed(capsys, *arguments):
    """Return the rows and the lines on stderr of a command that goes well."""
    assert main(["predict", *map(str, arguments)]) == 0
    out, err = capsys.readouterr()
    return list(csv.reader(io.StringIO(out))), err.splitlines()


# From table to predictions


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "name",
    [name if name != "projected-relu-cv" else pytest.param(name, marks=pytest.mark.slow) for name in models.MODELS],
)
def test_every_model_comes_back_to_the_last_bit(name, paths, tmp_path):
    table = read_csv(paths[0], "y", ["site"])
    fitted = build_pipeline(name, table, 0).fit(table.X, table.y)
    path = tmp_path / "model.skops"
    path.write_bytes(saved.dump(name, fitted, table))
    again = saved.load(str(path))
    X = np.vstack([table.X, [[np.nan, "", "unseen"], [1e3, "2", ""]]])
    np.testing.assert_array_equal(again.pipeline.predict(X), fitted.predict(X), strict=True)
    assert (again.name, again.target, again.columns) == (name, "y", ["x", "size", "colour"])
    assert (again.numeric, again.aside) == ([0], ["site"])
    assert again.versions == saved.VERSIONS


def test_the_best_model_of_the_table_is_saved(paths, capsys, tmp_path):
    path = tmp_path / "model.skops"
    assert main(["compare", str(paths[0]), "--target", "y", "--models", "mean,ridge", "--save", str(path)]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == f"ridge, the first of the table, fitted on all 60 rows, is saved as {path}"
    model = saved.load(str(path))
    table = read_csv(paths[0], "y")
    assert model.name == "ridge"
    assert model.pipeline.score(table.X, table.y) > 0.98
    np.testing.assert_allclose(model.pipeline[0].named_transformers_["numeric"][-1].n_samples_seen_, 60)


def test_predictions_are_those_of_the_saved_model(paths, new, capsys):
    rows, err = printed(capsys, paths[1], new("x,size,colour\n1,2,red\n-0.5,L,\n"))
    X = np.array([[1.0, "2", "red"], [-0.5, "L", ""]], dtype=object)
    expected = saved.load(str(paths[1])).pipeline.predict(X)
    assert rows[0] == ["y"]
    assert [float(cell) for (cell,) in rows[1:]] == expected.tolist()
    assert err == []


def test_order_delimiter_and_surplus_of_columns_do_not_matter(paths, new, capsys):
    plain, _ = printed(capsys, paths[1], new("x,size,colour\n1.5,2,red\n"))
    text = "note;colour;site;y;size;x\nhello; red;3;;2;1,5\n"
    rows, err = printed(capsys, paths[1], new(text, "other.csv"))
    assert rows == plain
    assert err == ["skrelu: note: 1 column not used by the model: 'note'"]


def test_one_row_of_one_column(new, capsys, tmp_path):
    table, model = new("x,y\n1,1\n2,2.5\n4,4\n5,5\n", "table.csv"), tmp_path / "model.skops"
    assert main(["compare", table, "--models", "ridge", "--save", str(model)]) == 0
    capsys.readouterr()
    (header, (cell,)), err = printed(capsys, model, new("x\n3\n"))
    assert header == ["y"]
    assert float(cell) == pytest.approx(3.1, abs=0.2)
    assert err == []


def test_gaps_unseen_categories_and_categories_that_look_like_numbers(paths, new, capsys):
    rows, err = printed(capsys, paths[1], new("x,size,colour\n,1,green\n0,2,NA\n0,3,blue\n"))
    assert len(rows) == 4
    assert np.isfinite([float(cell) for (cell,) in rows[1:]]).all()
    assert float(rows[2][0]) == pytest.approx(1.0, abs=0.3)
    assert err == []


def test_output_file(paths, new, capsys, tmp_path):
    table, path = new("x,size,colour\n1,2,red\n"), tmp_path / "out.csv"
    path.write_text("old and longer than the new content")
    path.chmod(0o600)
    rows, _ = printed(capsys, paths[1], table)
    nothing, _ = printed(capsys, paths[1], table, "--output", path)
    assert nothing == []
    assert list(csv.reader(path.read_text().splitlines())) == rows
    assert path.stat().st_mode & 0o777 == 0o600


def test_names_with_commas_and_quotes(new, capsys, tmp_path):
    table, model = new('"x, ""m""","y, ""s"""\n1,1\n2,2\n4,4\n', "table.csv"), tmp_path / "model.skops"
    assert main(["compare", table, "--models", "ridge", "--save", str(model)]) == 0
    capsys.readouterr()
    assert printed(capsys, model, table)[0][0] == ['y, "s"']


def test_another_version_is_pointed_out(monkeypatch, paths, new, capsys):
    monkeypatch.setattr(saved, "VERSIONS", {"scikit-learn": "99.0"})
    _, (note,) = printed(capsys, paths[1], new("x,size,colour\n1,2,red\n"))
    assert note.startswith(f"skrelu: note: {paths[1]} was fitted by scikit-learn ")
    assert note.endswith(", this is 99.0")


# Standard deviations


class WithStd(RegressorMixin, BaseEstimator):
    """Predicts the first column, with a tenth of it as standard deviation."""

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict(self, X, return_std=False):
        return (X[:, 0], X[:, 0] / 10) if return_std else X[:, 0]


def pipeline_with_std(wrapped):
    X, y = np.arange(1.0, 9.0)[:, np.newaxis], np.arange(8.0) * 5 + 100
    last = TransformedTargetRegressor(WithStd(), transformer=StandardScaler()) if wrapped else WithStd()
    return make_pipeline(FunctionTransformer(), last).fit(X, y), np.std(y), np.mean(y)


@pytest.mark.parametrize("wrapped", [False, True])
def test_standard_deviations_in_units_of_the_target(wrapped):
    pipeline, scale, mean = pipeline_with_std(wrapped)
    prediction, std = predict_module.with_std(pipeline, np.array([[2.0], [4.0]]))
    np.testing.assert_allclose(prediction, [2 * scale + mean, 4 * scale + mean] if wrapped else [2, 4])
    np.testing.assert_allclose(std, [0.2 * scale, 0.4 * scale] if wrapped else [0.2, 0.4])


def test_std_on_the_command_line(monkeypatch, new, capsys):
    model = saved.SavedModel("some", pipeline_with_std(False)[0], "y", ["x"], [0], [], saved.VERSIONS)
    monkeypatch.setattr(saved, "load", lambda path: model)
    table = new("x\n2\n4\n")
    assert printed(capsys, "model.skops", table, "--std")[0] == [["y", "y_std"], ["2.0", "0.2"], ["4.0", "0.4"]]
    assert printed(capsys, "model.skops", table)[0] == [["y"], ["2.0"], ["4.0"]]


def test_a_model_without_std(paths, capsys):
    refused(capsys, ["predict", paths[1], paths[0], "--std"], "--std: ridge predicts no standard deviation")


# Tables that are refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("x,size,colour\n", "has 0 rows"),
        ("x,colour\n1,red\n", "lacks 1 column of the model: 'size'"),
        ("y\n1\n", "lacks 3 columns of the model: 'x', 'size', 'colour'"),
        ("x,size,colour\n1,2,red\n\none,2,red\n", "line 4: the column 'x' must be numeric, got 'one'"),
        ("x,size,colour\n1,2\n", "line 2: 2 fields"),
    ],
)
def test_bad_table(paths, new, capsys, text, message):
    refused(capsys, ["predict", paths[1], new(text)], message)


def test_missing_files(paths, capsys):
    refused(capsys, ["predict", paths[1], "no-such-file.csv"], "cannot read no-such-file.csv: No such file")
    refused(capsys, ["predict", "no-such.skops", paths[0]], "cannot read no-such.skops: No such file")
    refused(capsys, ["predict", paths[0].parent, paths[0]], "cannot read", "Is a directory")
    refused(capsys, ["predict", paths[1]], "the following arguments are required: new.csv")


# Outputs that are refused, or fail


def test_inputs_are_never_overwritten(paths, capsys):
    before = [path.read_bytes() for path in paths]
    refused(capsys, ["predict", paths[1], paths[0], "--output", paths[0]], "is the table itself")
    refused(capsys, ["predict", paths[1], paths[0], "--output", paths[1]], "is the model itself")
    assert [path.read_bytes() for path in paths] == before


def test_bad_output(paths, capsys, tmp_path):
    refused(capsys, ["predict", paths[1], paths[0], "--output", tmp_path], "--output: ", "is a folder")
    refused(capsys, ["predict", paths[1], paths[0], "--output", "no/out.csv"], "--output: there is no folder no")


@pytest.mark.parametrize("command", ["predict", "compare"])
@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(monkeypatch, paths, tmp_path, command, existing, capsys):
    path = tmp_path / "out"
    if existing:
        path.write_text("old")
    whole = Path.write_bytes

    def until_full(self, content):
        whole(self, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", until_full)
    predict = ["predict", str(paths[1]), str(paths[0]), "--output", str(path)]
    compare = ["compare", str(paths[0]), "--target", "y", "--models", "mean", "--save", str(path)]
    assert main(predict if command == "predict" else compare) == 2
    assert capsys.readouterr().err.endswith(f"skrelu: error: cannot write {path}: No space left on device\n")
    assert [file.read_text() for file in tmp_path.iterdir()] == (["old"] if existing else [])


def test_links_and_devices_stay_what_they_are(tmp_path):
    link, file = tmp_path / "link", tmp_path / "file"
    file.write_text("old")
    link.symlink_to(file)
    outputs.write(str(link), b"new")
    assert link.is_symlink()
    assert file.read_bytes() == b"new"
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    outputs.check(Namespace(json=str(tmp_path / "dangling")), ["json"], {})
    outputs.write(os.devnull, b"new")
    assert not Path(os.devnull).is_file()


def test_a_model_that_fails_on_all_rows_is_not_saved(monkeypatch, paths, capsys, tmp_path):
    class Moody(WithStd):
        def fit(self, X, y):
            if len(X) == 60:
                raise RuntimeError("too many")
            return super().fit(X, y)

    monkeypatch.setitem(models.MODELS, "moody", lambda seed: Moody())
    path = tmp_path / "model.skops"
    assert main(["compare", str(paths[0]), "--target", "y", "--models", "moody", "--save", str(path)]) == 1
    assert "moody failed on all rows, nothing is saved: RuntimeError: too many" in capsys.readouterr().err
    assert not path.exists()


# Models that are refused


def content_of(path):
    """Return what `saved.dump` gave to skops."""
    return vars(saved.load(str(path)))


def test_files_of_another_kind(paths, new, capsys, tmp_path):
    whole = paths[1].read_bytes()
    for content in (b"", b"PK", b"\0" * 1000, whole[:-100], whole[: len(whole) // 2], whole[1000:], b"x,y\n1,2\n"):
        path = tmp_path / "model.skops"
        path.write_bytes(content)
        refused(capsys, ["predict", path, paths[0]], "is no model saved by skrelu compare, or is damaged")


def test_no_flipped_byte_ends_in_a_traceback(paths, capsys, tmp_path):
    whole, path = paths[1].read_bytes(), tmp_path / "model.skops"
    for place in np.random.RandomState(0).randint(len(whole), size=40):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        status = main(["predict", str(path), str(paths[0])])
        err = capsys.readouterr().err
        assert (status, err.count("\n")) in ((0, 0), (2, 1))


def test_an_unknown_type_is_refused_before_it_is_imported(monkeypatch, paths, capsys, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    marker = tmp_path / "marker"
    (tmp_path / "harmful.py").write_text(f"open({str(marker)!r}, 'w')\nclass Harmful: pass\n")
    schema = {
        "__class__": "Harmful",
        "__module__": "harmful",
        "__loader__": "ObjectNode",
        "__id__": 1,
        "protocol": 2,
    }
    path = tmp_path / "model.skops"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    refused(capsys, ["predict", path, paths[0]], "holds 1 unknown type, nothing is loaded: harmful.Harmful")
    assert not marker.exists()


@pytest.mark.parametrize("payload", [os.system, os.path.join, WithStd(), json.loads, io.BytesIO])
def test_functions_and_foreign_types_are_refused(paths, capsys, tmp_path, payload):
    path = tmp_path / "model.skops"
    path.write_bytes(skops.io.dumps({**content_of(paths[1]), "aside": [payload]}))
    refused(capsys, ["predict", path, paths[0]], "unknown type, nothing is loaded: ")


@pytest.mark.parametrize(
    "change",
    [
        {"pipeline": StandardScaler()},
        {"pipeline": make_pipeline(StandardScaler())},
        {"pipeline": make_pipeline(TransformedTargetRegressor())},
        {"columns": "x"},
        {"columns": []},
        {"columns": [1, 2, 3]},
        {"versions": None},
        {"name": 3},
        {"surplus": 1},
    ],
    ids=str,
)
def test_other_content_is_refused(paths, capsys, tmp_path, change):
    path = tmp_path / "model.skops"
    path.write_bytes(skops.io.dumps(content_of(paths[1]) | change))
    refused(capsys, ["predict", path, paths[0]], "is no model saved by skrelu compare")


def test_a_pipeline_that_does_not_fit_its_columns(paths, capsys, tmp_path):
    path = tmp_path / "model.skops"
    two = make_pipeline(LinearRegression().fit(np.eye(3), np.eye(3)[:, :2]))
    for change in ({"columns": ["x"]}, {"columns": ["x", "site", "same"], "numeric": [0, 1, 2], "pipeline": two}):
        path.write_bytes(skops.io.dumps(content_of(paths[1]) | change))
        refused(capsys, ["predict", path, paths[0]], "cannot predict the rows of")


def test_compressed_and_huge_files(monkeypatch, paths, capsys, tmp_path):
    path = tmp_path / "model.skops"
    path.write_bytes(skops.io.dumps(content_of(paths[1]), compression=zipfile.ZIP_DEFLATED))
    refused(capsys, ["predict", path, paths[0]], "is no model", "it is compressed")
    monkeypatch.setattr(saved, "MOST_BYTES", 10_000)
    refused(capsys, ["predict", paths[1], paths[0]], "has more than 10000 bytes")
    arguments = ["compare", str(paths[0]), "--target", "y", "--models", "mean", "--save", str(tmp_path / "big")]
    assert main(arguments) == 2
    assert "--save: mean takes" in capsys.readouterr().err
    assert not (tmp_path / "big").exists()


def nodes_of(name, pipeline):
    """Return the array of nodes of the first tree, and how to put another in its place."""
    if name == "boosting":
        tree = pipeline[-1]._predictors[0][0]
        return tree.nodes, lambda nodes: setattr(tree, "nodes", nodes)
    tree = pipeline[-1].estimators_[0].tree_
    state = tree.__getstate__()
    return state["nodes"], lambda nodes: tree.__setstate__({**state, "nodes": nodes})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        pytest.param("forest", {"left_child": 10_000}, marks=pytest.mark.slow),
        ("forest", {"right_child": 0}),
        pytest.param("forest", {"left_child": 10_000, "right_child": 10_000}, marks=pytest.mark.slow),
        ("forest", {"feature": -5}),
        ("boosting", {"left": 10_000}),
        pytest.param("boosting", {"right": 0}, marks=pytest.mark.slow),
        pytest.param("boosting", {"feature_idx": 99}, marks=pytest.mark.slow),
        ("boosting", {"is_categorical": 1}),
    ],
)
def test_trees_that_point_outside(paths, capsys, tmp_path, name, values):
    """scikit-learn would follow them out of the array, or for ever."""
    table = read_csv(paths[0], "y", ["site"])
    pipeline = build_pipeline(name, table, 0).fit(table.X, table.y)
    nodes, put = nodes_of(name, pipeline)
    changed = nodes.copy()
    for field, value in values.items():
        changed[field][0] = value
    put(changed)
    path = tmp_path / "model.skops"
    path.write_bytes(saved.dump(name, pipeline, table))
    refused(capsys, ["predict", path, paths[0]], "a tree")
