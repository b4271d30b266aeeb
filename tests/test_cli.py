"""The command line: what it reads, what it prints, and how it refuses."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression

import skrelu
from skrelu.__main__ import main
from skrelu._cli import compare as compare_module
from skrelu._cli import models, outputs
from skrelu._cli.crossval import FoldResult, rank
from skrelu._cli.demo import EXPERIMENTS
from skrelu._cli.folds import make_folds
from skrelu._cli.tables import diabetes, read_csv

FAST = ["--models", "ridge,lasso"]


@pytest.fixture
def write(tmp_path):
    """Write text (or bytes) to a file and return its path."""

    def write_file(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write_file


@pytest.fixture
def mixed(write):
    """Numbers with gaps, categories with gaps, an identifier, constants; y is 3 x plus an effect of the category."""
    rng = np.random.RandomState(0)
    lines = ["x,colour,id,same,never,y"]
    for i in range(60):
        x, colour = rng.randn(), rng.choice(["red", "blue", "green"])
        y = 3 * x + {"red": 5, "blue": 0, "green": -5}[colour]
        shown_x = "" if i % 15 == 0 else f"{x:.6f}"
        shown_colour = "NA" if i % 20 == 1 else colour
        lines.append(f"{shown_x},{shown_colour},row {i},7,,{'' if i in (4, 9) else y}")
    return write("\n".join(lines))


def run_json(tmp_path, *arguments):
    """Run compare and return the exit status and the strictly parsed JSON file."""
    path = tmp_path / "out.json"

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    status = main(["compare", *arguments, "--json", str(path)])
    return status, json.loads(path.read_text(), parse_constant=refuse)


def r2(content):
    return {result["model"]: result["r2_folds"] for result in content["results"]}


# What is printed and written


def test_diabetes_is_the_default(capsys):
    assert main(["compare", "--models", "mean,ridge,lasso"]) == 0
    out, err = capsys.readouterr()
    title, header, rule, *rows = out.splitlines()
    assert title == "diabetes: 442 rows, 10 columns (10 numeric, 0 categorical), target 'target', 5 folds"
    assert header.split() == ["model", "R2", "mean", "R2", "std", "fit", "seconds", "per", "fold"]
    assert set(rule) == {"-", " "}
    scores = [float(row.split()[1]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.4
    assert rows[-1].split()[0] == "mean"
    assert err == ""


def test_any_column_of_the_default_table_can_be_the_target(capsys):
    assert main(["compare", "--target", "bmi", *FAST]) == 0
    assert "target 'bmi'" in capsys.readouterr().out


def test_mixed_table(mixed, capsys, tmp_path):
    status, content = run_json(tmp_path, mixed, "--target", "y", "--models", "ridge,mean")
    out, err = capsys.readouterr()
    assert status == 0
    assert "58 rows, 5 columns (1 numeric, 2 categorical, 2 constant, left out)" in out
    dropped, identifier = err.splitlines()
    assert dropped == "skrelu: note: 2 rows without a value of the target 'y' left out"
    assert identifier.startswith("skrelu: note: 'id' is taken as categories")
    assert content["results"][0]["model"] == "ridge"
    assert content["results"][0]["r2_mean"] > 0.7


def test_json(tmp_path, mixed):
    _, content = run_json(tmp_path, mixed, "--target", "y", "--cv", "4", "--seed", "3", "--models", "ridge")
    assert {key: content[key] for key in ("table", "n_rows", "n_columns", "target", "cv", "seed")} == {
        "table": "table.csv",
        "n_rows": 58,
        "n_columns": 5,
        "target": "y",
        "cv": 4,
        "seed": 3,
    }
    (result,) = content["results"]
    assert result["r2_mean"] == pytest.approx(np.mean(result["r2_folds"]))
    assert result["r2_std"] == pytest.approx(np.std(result["r2_folds"]))
    assert len(result["r2_folds"]) == 4
    assert result["fit_seconds"] > 0
    assert content["versions"]["skrelu"] == skrelu.__version__


def test_same_seed_same_scores(tmp_path):
    arguments = ["--models", "ridge,forest", "--cv", "2", "--target", "bmi", "--seed"]
    first, again, other = (r2(run_json(tmp_path, *arguments, seed)[1]) for seed in "001")
    assert first == again
    assert first != other


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_jobs_do_not_change_the_scores(tmp_path, backend):
    with joblib.parallel_config(backend=backend):
        (_, alone), (_, together) = (run_json(tmp_path, *FAST, "--jobs", jobs) for jobs in "12")
    assert r2(alone) == r2(together)


def test_our_estimators(tmp_path):
    status, content = run_json(tmp_path, "--cv", "2", "--models", ",".join(models.OURS))
    assert status == 0
    assert {result["model"] for result in content["results"]} == set(models.OURS)
    assert min(result["r2_mean"] for result in content["results"]) > 0.4


def test_demo(capsys):
    assert main(["demo", "--seed", "1"]) == 0
    out, err = capsys.readouterr()
    rows = out.splitlines()[-len(EXPERIMENTS) :]
    errors = [float(row.split()[-2]) for row in rows]
    networks = ["OneHiddenLayerReLU", "OneHiddenLayerNet", "QuadraticNet", "TwoLayerReLURecovery"]
    assert [row.split("(")[0].split()[-1] for row in rows] == [*["ProjectedReLURegressor"] * 2, *networks]
    assert max(errors) < 1e-3
    assert max(errors[2:]) < 1e-10
    assert err == ""


@pytest.mark.slow
def test_weight_decay_keeps_networks_from_fitting_the_noise_of_a_wide_table(write, tmp_path):
    """Three weights of the quadratic network a row; y is a product of two columns, a third, and noise."""
    rng = np.random.RandomState(0)
    X = rng.randn(80, 20)
    y = X[:, 0] * X[:, 1] + X[:, 2] + 0.3 * rng.randn(80)
    lines = [",".join([f"x{j}" for j in range(20)] + ["y"])]
    lines += [",".join(f"{cell:.6f}" for cell in (*x, target)) for x, target in zip(X, y, strict=True)]
    path = write("\n".join(lines))
    _, content = run_json(tmp_path, path, "--models", "quadratic-net,one-hidden-layer-net,ridge")
    scores = {result["model"]: result["r2_mean"] for result in content["results"]}
    assert min(scores["quadratic-net"], scores["one-hidden-layer-net"]) > scores["ridge"]


# Small and large tables


@pytest.mark.parametrize("target", [(1, 2, 4), pytest.param((0, 0, 1), marks=pytest.mark.slow)])
def test_three_rows(write, capsys, tmp_path, target):
    path = write("a,b,y\n" + "".join(f"{a},{b},{y}\n" for a, b, y in zip((1, 1, 2), "uuv", target, strict=True)))
    peers = [name for name in models.MODELS if name not in models.OURS]
    status, content = run_json(tmp_path, path, "--target", "y", "--models", ",".join(peers))
    assert status == 0
    assert "3 rows: 3 folds instead of 5" in capsys.readouterr().err
    assert len(content["results"]) == len(peers)
    for result in content["results"]:
        assert result["r2_mean"] is not None
        assert (result["r2_std"], result["r2_folds"]) == (None, [])


def test_twenty_thousand_rows(write, tmp_path, capsys):
    rng = np.random.RandomState(0)
    X = rng.randn(20_001, 8)
    text = "\n".join(",".join(map(repr, [*row, sum(row)])) + f",name {i}" for i, row in enumerate(X.tolist()))
    path = write("a,b,c,d,e,f,g,h,y,name\n" + text)
    _, content = run_json(tmp_path, path, "--target", "y", "--models", "ridge", "--cv", "2")
    assert content["n_rows"] == len(X)
    assert content["results"][0]["r2_mean"] > 0.999


def test_kernel_methods_stay_out_of_large_tables():
    assert "svr" in models.default_names(models.MAX_KERNEL_ROWS)[0]
    names, (note,) = models.default_names(models.MAX_KERNEL_ROWS + 1)
    assert set(models.MODELS) - set(names) == {"svr"}
    assert "svr" in note


# Reading


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_quotes_and_byte_order_mark(write, delimiter):
    rows = [["a", '"the, ""b""; c"', "y"], ["1", '"u, v; w"', "1e0"], [" 2", "u", "-2"], ["3", '"u\nu"', " 3 "]]
    text = "\ufeff" + "\r\n".join(delimiter.join(row) for row in rows) + "\r\n\r\n"
    table = read_csv(write(text), "y")
    assert (table.numeric, table.categorical) == ([0], [1])
    assert table.X.tolist() == [[1.0, "u, v; w"], [2.0, "u"], [3.0, "u\nu"]]
    assert table.y.tolist() == [1.0, -2.0, 3.0]


def test_missing_and_infinite_cells(write):
    missing = ["", " ", "NA", "n/a", "NaN", "null", "None", "?", "inf", "-Infinity", "1e400", "-1e200"]
    table = read_csv(write("x,y\n" + "".join(f"{cell},{i}\n" for i, cell in enumerate([*missing, "5", "6"]))), "y")
    assert table.numeric == [0]
    assert np.isnan(table.X[: len(missing), 0]).all()
    assert table.X[len(missing) :, 0].tolist() == [5.0, 6.0]


def test_infinite_target_is_missing(write):
    table = read_csv(write("x,y\n1,1\n2,inf\n3,3\n4,NaN\n5,5\n"), "y")
    assert table.y.tolist() == [1.0, 3.0, 5.0]
    assert table.notes == ["2 rows without a value of the target 'y' left out"]


def test_decimal_comma_only_between_semicolons(write):
    assert read_csv(write("x;y\n1,5;1\n2,5;2\n3;3\n"), "y").X[:, 0].tolist() == [1.5, 2.5, 3.0]
    assert read_csv(write("x\ty\n1,5\t1\n2,5\t2\n3\t3\n"), "y").categorical == [0]


def test_codes_with_underscores_are_text(write):
    assert read_csv(write("x,y\n2024_01,1\n2024_02,2\n2024_03,3\n"), "y").categorical == [0]


def test_last_column_is_the_default_target(write):
    table = read_csv(write("y,x\n1,2\n2,3\n3,5\n"))
    assert table.target == "x"
    assert table.notes == ["no --target given: the last column, 'x', is the target"]


def test_numbers_as_column_names_are_pointed_out(write):
    assert "all of them are numbers" in read_csv(write("1,2\n1,2\n2,3\n3,5\n"), "2").notes[0]


# Cross-validation


def test_preprocessing_sees_training_rows_only():
    table, folds, _ = make_folds(diabetes(), 2, 0)
    train, test = folds[0]
    fitted = models.build_pipeline("ridge", table, 0).fit(table.X[train], table.y[train])
    scaler = fitted[0].named_transformers_["numeric"][-1]
    np.testing.assert_allclose(scaler.mean_, table.X[train].mean(axis=0))
    assert sorted([*train, *test]) == list(range(442))


def test_unseen_category_and_new_gaps(write):
    table = read_csv(write("x,c,y\n" + "".join(f"{i},{'uv'[i % 2]},{i}\n" for i in range(8))), "y")
    fitted = models.build_pipeline("ridge", table, 0).fit(table.X, table.y)
    assert np.isfinite(fitted.predict(np.array([[np.nan, "unseen"], [1.0, ""]], dtype=object))).all()


def test_identifiers_become_few_columns(write):
    table = read_csv(write("c,y\n" + "".join(f"id {i},{i}\n" for i in range(100))), "y")
    assert models.build_pipeline("ridge", table, 0)[0].fit_transform(table.X).shape == (100, models.MAX_CATEGORIES)


def test_r2_is_pooled_when_a_fold_has_one_target_value(write):
    table, folds, notes = make_folds(read_csv(write("x,y\n1,1\n2,2\n3,4\n"), "y"), None, 0)
    shift = [0.5, -0.5, 1.0]
    results = [
        FoldResult("ridge", table.y[test] + e, 0.1, None, True, ()) for (_, test), e in zip(folds, shift, strict=True)
    ]
    (score,) = rank(table, folds, results)
    assert score.r2_mean == pytest.approx(1 - np.sum(np.square(shift)) / np.sum((table.y - table.y.mean()) ** 2))
    assert np.isnan(score.r2_std)
    assert any("held-out predictions together" in note for note in notes)


class Broken(RegressorMixin, BaseEstimator):
    """A regressor whose fit raises the given exception."""

    def __init__(self, exception):
        self.exception = exception

    def fit(self, X, y):
        raise self.exception


def test_a_failing_model_does_not_stop_the_others(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(models.MODELS, "broken", lambda seed: Broken(RuntimeError("no luck\nat all")))
    picture, model = tmp_path / "out.png", tmp_path / "out.skops"
    outputs = ["--plot", str(picture), "--save", str(model)]
    status, content = run_json(tmp_path, "--models", "broken,ridge", *outputs)
    out, err = capsys.readouterr()
    assert status == 1
    assert [row.split()[0] for row in out.splitlines()[-3:-1]] == ["ridge", "broken"]
    assert out.splitlines()[-2].split() == ["broken", "failed"]
    assert out.splitlines()[-1].startswith("ridge, the first of the table")
    assert err == "skrelu: error: broken failed: RuntimeError: no luck\n"
    assert content["results"][1]["r2_mean"] is None
    assert content["results"][1]["error"] == "RuntimeError: no luck"
    assert picture.exists()
    assert model.exists()


def test_all_models_fail(monkeypatch, tmp_path):
    monkeypatch.setitem(models.MODELS, "broken", lambda seed: Broken(RuntimeError()))
    outputs = ["--plot", str(tmp_path / "out.png"), "--save", str(tmp_path / "out.skops")]
    assert main(["compare", "--models", "broken", *outputs]) == 1
    assert list(tmp_path.iterdir()) == []


class Diverging(LinearRegression):
    """A regressor whose predictions are not finite."""

    def predict(self, X):
        return np.full(len(X), np.nan)


def test_predictions_that_are_not_finite_are_a_failure(monkeypatch, capsys):
    monkeypatch.setitem(models.MODELS, "diverging", lambda seed: Diverging())
    assert main(["compare", "--models", "diverging"]) == 1
    assert "finite" in capsys.readouterr().err


def test_interruption_prints_what_is_finished(monkeypatch, capsys):
    monkeypatch.setitem(models.MODELS, "broken", lambda seed: Broken(KeyboardInterrupt()))
    assert main(["compare", "--models", "ridge,broken,lasso"]) == 130
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("ridge")
    assert err == "skrelu: error: interrupted: 1 of 3 models finished\n"


def test_an_interruption_before_any_model_is_finished_prints_no_table(monkeypatch, capsys):
    monkeypatch.setitem(models.MODELS, "broken", lambda seed: Broken(KeyboardInterrupt()))
    assert main(["compare", "--models", "broken"]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "skrelu: error: interrupted: 0 of 1 models finished\n"


def test_an_interruption_of_anything_else_is_told(monkeypatch, capsys):
    monkeypatch.setattr(compare_module, "_read", _interrupted)
    assert main(["compare"]) == 130
    assert capsys.readouterr().err == "skrelu: error: interrupted\n"


def _interrupted(arguments):
    raise KeyboardInterrupt


class Warns(LinearRegression):
    """A regressor whose fit warns."""

    def __init__(self, message=""):
        super().__init__()
        self.message = message

    def fit(self, X, y):
        warnings.warn(self.message, UserWarning, stacklevel=2)
        return super().fit(X, y)


def test_a_model_that_ends_its_fit_on_an_interruption_ends_the_comparison(monkeypatch, capsys):
    """As those of scikit-learn that go on with what they have, and warn."""
    monkeypatch.setitem(models.MODELS, "broken", lambda seed: Warns("Training interrupted by user."))
    assert main(["compare", "--models", "ridge,broken,lasso"]) == 130
    assert capsys.readouterr().err == "skrelu: error: interrupted: 1 of 3 models finished\n"


def test_warnings_of_a_model_are_told_once_and_leave_its_scores(monkeypatch, capsys):
    monkeypatch.setitem(models.MODELS, "warning", lambda seed: Warns("mind\nthe gap"))
    assert main(["compare", "--models", "warning"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("warning")
    assert err == "skrelu: note: warning: UserWarning: mind the gap\n"


def test_all_models_are_compared_unless_some_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(models, "MODELS", {name: models.MODELS[name] for name in ("ridge", "mean")})
    status, content = run_json(tmp_path)
    assert status == 0
    assert {result["model"] for result in content["results"]} == {"ridge", "mean"}


def test_models_that_did_not_converge_are_marked(capsys):
    assert main(["compare", "--models", "mlp,mean", "--cv", "2"]) == 0
    out, err = capsys.readouterr()
    assert "mlp*" in out
    assert out.splitlines()[-1] == "* did not converge: mlp in 2 of 2 folds"
    assert err == ""


# Without the packages of the extra `cli`


class Uninstalled:
    """An import finder to which some packages are not installed."""

    def __init__(self, packages):
        self.packages = packages

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.packages:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.fixture
def bare(monkeypatch):
    """Let the packages of the extra look as if they were not installed."""
    packages = ("rich", "pandas", "matplotlib", "skops")
    for name in [name for name in sys.modules if name.split(".")[0] in packages]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Uninstalled(packages), *sys.meta_path])


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("terminal", [False, True])
def test_without_the_extra(monkeypatch, capsys, mixed, terminal):
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: terminal)
    assert main(["compare", mixed, "--target", "y", *FAST]) == 0
    out, err = capsys.readouterr()
    assert [row.split()[0] for row in out.splitlines()[-2:]] in (["ridge", "lasso"], ["lasso", "ridge"])
    assert ("[9/10] lasso" in err) == terminal


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    ("arguments", "package"),
    [
        (["compare", "--plot", "out.png"], "--plot needs matplotlib"),
        (["compare", "--save", "out.skops"], "--save needs skops"),
        (["predict", "model.skops", "table.csv"], "predict needs skops"),
    ],
)
def test_what_needs_the_extra(monkeypatch, capsys, arguments, package):
    monkeypatch.setattr(compare_module, "cross_validate", None)
    assert main(arguments) == 2
    assert capsys.readouterr().err == f'skrelu: error: {package}: pip install "skrelu[cli]"\n'


def test_rich_table_and_progress_on_a_terminal(monkeypatch, capsys):
    pytest.importorskip("rich")
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    assert main(["compare", *FAST]) == 0
    out, _ = capsys.readouterr()
    assert all(word in out for word in ("model", "R2 mean", "ridge", "lasso"))
    assert "-----" not in out


# Refusals: one line on stderr, exit status 2, before any fit

BAD_TABLES = {
    "": "is empty",
    "x,y\n": "has 0 rows",
    "x,y\n1,2\n2,3\n": "has 2 rows",
    "y\n1\n2\n3\n": "has one column",
    "x,x\n1,2\n2,3\n3,4\n": "two columns are named 'x'",
    ",x,y\n0,1,2\n1,2,3\n2,3,4\n": "column 1 of 3 has no name",
    "x,y\n1,2\n2\n3,4\n": "line 3: 1 field, but the first line names 2 columns",
    "x,y\n1,2\n2,3,4\n3,4\n": "line 3: 3 fields",
    'x,y\n1,2\n2,"3\n3,4\n': "is a quote left open",
    'x,y\n1,2\n2,"' + "long " * 50_000: "field larger than field limit",
    "x,y\n1,2\n2,\n3,?\n4,4\n": "2 rows with a value of the target 'y'",
    "x,y\n1,2\n2,three\n3,4\n": "line 3: the target column 'y' must be numeric, got 'three'",
    "x,y\n1,2\n2,2\n3,2\n": "the target column 'y' is constant",
    "x,z,y\n1,,2\n1,,3\n1,,4\n": "every column besides the target 'y' is constant",
    "x,name,y,\n1,a,2,\n1,b,3,\n1,c,4,\n": "column 4 of 4 has no name",
    b"x,y\n1,2\n\xe9,3\n3,4\n": "line 3: byte 0xe9 is not UTF-8",
    b"\x89PNG\r\n\x1a\n\x00\x00": "byte 0x89 is not UTF-8",
}


def assert_refused(capsys, arguments, message):
    __tracebackhide__ = True
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("skrelu: error: ")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("content", "message"), BAD_TABLES.items(), ids=BAD_TABLES.values())
def test_bad_table(write, capsys, content, message):
    assert_refused(capsys, ["compare", write(content), *FAST], message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "no-such-file.csv"], "cannot read no-such-file.csv: No such file"),
        (["compare", "."], "cannot read .: "),
        (["compare", "a\0b.csv"], "cannot read"),
        (["compare", "--target", "bmx"], "diabetes has no column 'bmx'; did you mean 'bmi'?"),
        (["compare", "--target", "price"], "diabetes has no column 'price'; it has 'age'"),
        (["compare", "--cv", "1"], "--cv: must be an integer >= 2, got '1'"),
        (["compare", "--cv", "five"], "--cv: must be an integer >= 2, got 'five'"),
        (["compare", "--cv", "443"], "--cv must not exceed the number of rows, 442, got 443"),
        (["compare", "--models", "ridge,trees"], "unknown model 'trees', accepted are all, projected-relu"),
        (["compare", "--models", ""], "unknown model ''"),
        (["compare", "--seed", "-1"], "--seed: must be an integer from 0"),
        (["compare", "--jobs", "0"], "--jobs: must be an integer >= 1"),
        (["compare", "--json", "no-such-folder/out.json"], "--json: there is no folder no-such-folder"),
        (["compare", "--json", "."], "--json: . is a folder"),
        (["compare", "--plot", "out.csv"], "--plot: out.csv must end in one of"),
        (["compare", "--save", "."], "--save: . is a folder"),
        (["compare", "--json", "out.x", "--save", "./out.x"], "--save: ./out.x is the file of --json itself"),
        (["compare", "--groups", "sexe"], "diabetes has no column 'sexe'; did you mean 'sex'?"),
        (["compare", "--time", "week"], "diabetes has no column 'week'; it has 'age'"),
        (["compare", "--groups", "sex", "--time", "age"], "--time: not allowed with argument --groups"),
        (["compare", "--groups", "target"], "'target' is the target, it cannot decide the folds too"),
        (["compare", "--groups", "sex", "--cv", "3"], "number of groups of 'sex', 2, got 3"),
        (["compare", "--time", "sex"], "2 different values of 'sex': at least 4 are needed"),
        (["compare", "--colour"], "skrelu compare has no option --colour (see skrelu compare --help)"),
        (["compare", "a.csv", "b.csv"], "skrelu compare takes no further argument b.csv"),
        (["collect"], "invalid choice: 'collect'"),
    ],
    ids=lambda value: " ".join(value).replace("\0", "NUL") if isinstance(value, list) else "",
)
def test_bad_arguments(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(compare_module, "cross_validate", None)
    assert_refused(capsys, arguments, message)


@pytest.mark.parametrize("option", ["--json", "--save"])
def test_the_table_is_never_overwritten(write, capsys, tmp_path, option):
    path = write("x,y\n1,2\n2,3\n3,4\n")
    link = tmp_path / "link"
    link.symlink_to(path)
    assert_refused(capsys, ["compare", path, option, str(link)], "is the table itself")


# The program


def test_a_file_that_may_not_be_written_is_refused_before_any_fit(monkeypatch, capsys, tmp_path):
    path = tmp_path / "out.json"
    monkeypatch.setattr(outputs.os, "access", lambda place, mode: False)
    assert_refused(capsys, ["compare", *FAST, "--json", str(path)], f"--json: no permission to write {path}")


def test_no_command_prints_help(capsys):
    assert main([]) == 2
    assert "compare" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--help"], *([command, "--help"] for command in ("compare", "predict", "demo"))]
)
def test_help(capsys, arguments):
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("usage: skrelu")


def test_help_names_every_model(capsys):
    main(["compare", "--help"])
    out = capsys.readouterr().out
    assert all(name in out for name in models.MODELS)


@pytest.mark.slow
def test_version_of_the_module():
    run = subprocess.run([sys.executable, "-m", "skrelu", "--version"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, f"skrelu {skrelu.__version__}\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_full_disk_behind_stdout():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "skrelu", "compare", "--models", "mean"]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (run.returncode, run.stderr) == (2, "skrelu: error: cannot print: No space left on device\n")


def test_a_closed_pipe_is_silent():
    command = [sys.executable, "-m", "skrelu", "compare", "--models", "mean"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        run.stdout.close()
        assert run.stderr.read() == b""
    assert run.returncode == 141
