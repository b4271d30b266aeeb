"""The command line: which rows are held out."""

import json
from itertools import pairwise

import numpy as np
import pytest

from skrelu.__main__ import main
from skrelu._cli.console import InputError
from skrelu._cli.folds import make_folds
from skrelu._cli.tables import diabetes, read_csv


@pytest.fixture
def write(tmp_path):
    """Write columns to a file and return its path."""

    def write_file(**columns):
        rows = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
        path = tmp_path / "table.csv"
        path.write_text("\n".join(rows))
        return str(path)

    return write_file


def cells(table, folds, name):
    """Return the cells of a column for the training and the test rows of each fold."""
    return [(table.aside[name][train], table.aside[name][test]) for train, test in folds]


# Groups


@pytest.fixture
def patients(write):
    """Sixty rows of twelve patients, five each in a mixed order."""
    rng = np.random.RandomState(0)
    owner = rng.permutation(np.repeat(np.arange(12), 5))
    return write(x=rng.randn(60), patient=[f"p{i}" for i in owner], z=rng.randn(60), y=rng.randn(60))


def test_groups_are_held_out_as_a_whole(patients):
    table, folds, notes = make_folds(read_csv(patients, "y", ["patient"]), 4, groups="patient")
    assert table.names == ["x", "z"]
    assert table.n_columns == 2
    assert notes == []
    for train, test in cells(table, folds, "patient"):
        assert len(set(test)) == 3
        assert not set(train) & set(test)
        assert len(train) + len(test) == 60
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(60))


def test_rows_of_a_group_lie_side_by_side_for_inner_cross_validations(patients):
    table, _, _ = make_folds(read_csv(patients, "y", ["patient"]), 4, groups="patient")
    changes = sum(a != b for a, b in pairwise(table.aside["patient"]))
    assert changes == 11


def test_rows_keep_together_when_they_are_reordered(patients):
    read = read_csv(patients, "y", ["patient"])
    table, _, _ = make_folds(read, 4, seed=1, groups="patient")
    before, after = (sorted(zip(*t.X.T, t.y, t.aside["patient"], strict=True)) for t in (read, table))
    assert before == after
    assert list(read.y) != list(table.y)


def test_the_seed_draws_the_groups(patients):
    def tests(seed):
        table, folds, _ = make_folds(read_csv(patients, "y", ["patient"]), 4, seed, groups="patient")
        return [sorted(set(test)) for _, test in cells(table, folds, "patient")]

    assert tests(0) == tests(0)
    assert tests(0) != tests(1)


def test_groups_of_numbers(write):
    path = write(x=range(8), machine=[1, 1.0, "1e0", 2, 2, 2, 3, 3], y=range(8))
    table, folds, notes = make_folds(read_csv(path, "y", ["machine"]), groups="machine")
    assert [set(test) for _, test in cells(table, folds, "machine")].count({1.0}) == 1
    assert notes == ["3 groups of 'machine': 3 folds instead of 5"]


def test_scores_of_groups_are_those_of_unseen_groups(write, tmp_path):
    """The column `room` gives the group away, and y is a constant of the group: all that can be learnt is useless."""
    rng = np.random.RandomState(0)
    owner = np.repeat(np.arange(15), 8)
    y = rng.randn(15)[owner] + 0.1 * rng.randn(120)
    path = write(room=[f"r{i}" for i in owner], patient=owner, x=rng.randn(120), y=y)

    def r2(*options):
        main(["compare", path, "--models", "ridge", "--json", str(tmp_path / "out.json"), *options])
        content = json.loads((tmp_path / "out.json").read_text())
        return content["groups"], content["results"][0]["r2_mean"]

    assert r2() == (None, pytest.approx(0.98, abs=0.03))
    groups, score = r2("--groups", "patient")
    assert groups == "patient"
    assert score < 0.1


# Time


@pytest.mark.parametrize(
    "moments",
    [
        list(range(7, 31)),  # 10 comes after 9
        [f"2024-{month:02d}-{day:02d}" for month in (9, 10) for day in range(1, 13)],
        [f"{year}-{month:02d}" for year in (2023, 2024) for month in range(1, 13)],
        # Half past midnight an hour east of Greenwich is the day before there.
        ["1999", "1999-02", "1999-03-01T00:30+01:00", "1999-03-01", "1999-03-01 12:00", *range(2000, 2019)],
    ],
    ids=["numbers", "dates", "months", "mixed"],
)
def test_later_rows_are_tested(write, moments):
    order = np.random.RandomState(0).permutation(24)
    path = write(x=order, when=[moments[i] for i in order], y=order)
    table, folds, notes = make_folds(read_csv(path, "y", ["when"]), time="when")
    assert table.names == ["x"]
    assert table.y.tolist() == list(range(24))
    assert notes == []
    assert len(folds) == 5
    for train, test in folds:
        assert train.tolist() == list(range(test[0]))
    assert np.concatenate([test for _, test in folds]).tolist() == list(range(4, 24))


def test_equal_times_are_never_on_both_sides(write):
    week = np.random.RandomState(0).randint(10, 20, size=200)
    path = write(x=range(200), week=week, y=np.arange(200) ** 0.5)
    table, folds, _ = make_folds(read_csv(path, "y", ["week"]), 4, time="week")
    for train, test in cells(table, folds, "week"):
        assert train.max() + 1 == test.min()
    assert table.y.tolist() != sorted(table.y.tolist())


def test_few_times(write):
    path = write(x=range(10), year=[1, 1, 1, 1, 1, 2, 3, 4, 5, 5], y=range(10))
    table, folds, notes = make_folds(read_csv(path, "y", ["year"]), time="year")
    assert [(set(train), set(test)) for train, test in cells(table, folds, "year")] == [
        ({1, 2}, {3}),
        ({1, 2, 3}, {4}),
        ({1, 2, 3, 4}, {5}),
    ]
    assert notes[0] == "5 different values of 'year': 3 folds instead of 5"


def test_time_on_the_command_line(capsys):
    assert main(["compare", "--time", "age", "--models", "ridge"]) == 0
    title = capsys.readouterr().out.splitlines()[0]
    assert title.endswith("9 columns (9 numeric, 0 categorical), target 'target', 5 folds tested on later 'age'")


# Refusals and defaults


@pytest.mark.parametrize(
    ("column", "option", "message"),
    [
        (["a", "", "b", "NA", "c", "d"], "groups", "--groups: 'key' misses 2 cells"),
        ([1, 2, "nan", 4, 5, 6], "time", "--time: 'key' misses 1 cell"),
        (["a"] * 6, "groups", "1 group of 'key': at least 2 are needed"),
        ([1, 2, 3, 3, 3, 3], "time", "3 different values of 'key': at least 4 are needed"),
        (["31.1.2024", *"234", "2024-01-31", "x"], "time", "--time: '31.1.2024' is neither a number nor an ISO date"),
        (["2024-02-30", *"23456"], "time", "'2024-02-30' is neither a number nor an ISO date"),
    ],
)
def test_refused_columns(write, column, option, message):
    table = read_csv(write(x=range(6), key=column, y=range(6)), "y", ["key"])
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        make_folds(table, **{option: "key"})


@pytest.mark.parametrize(("option", "most"), [({"groups": "age"}, 58), ({"time": "age"}, 56), ({}, 442)])
def test_most_folds(option, most):
    table = diabetes(aside=option.values())
    assert len(make_folds(table, most, **option)[1]) == most
    with pytest.raises(InputError, match=f", {most}, got {most + 1}"):
        make_folds(table, most + 1, **option)


def test_the_default_target_is_no_column_of_the_folds(write):
    assert read_csv(write(x=range(4), y=range(4), day=range(4)), aside=["day"]).target == "y"


def test_nothing_besides_groups_and_target(write):
    with pytest.raises(InputError, match="besides the target 'y' and 'g' is constant"):
        read_csv(write(g=range(4), y=range(4)), aside=["g"])
