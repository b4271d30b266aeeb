"""Targets that are exactly zero in many rows: docs/guide/censored.rst and its gallery page, recomputed.

``python tests/test_censored_regression.py`` prints the tables of the page, in about three minutes.
"""

import ast
import doctest
import functools
import re
import types
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import check_grad, linprog, minimize
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV, LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.preprocessing import StandardScaler

from skrelu import ProjectedReLURegressor, ProjectedReLURegressorCV
from skrelu.constraints import L0Ball, L1Ball, Monotone, Nonnegative, Simplex

pytest.importorskip("vega_datasets")

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "tables" / "plot_censored_regression.py"
PAGE = ROOT / "docs" / "guide" / "censored.rst"
QUANTILES = (np.arange(2000) + 0.5) / 2000
WEIGHTS = np.array([3, -2, 2, -1, 1, 0, 0, 0, 0, 0]) / np.sqrt(19)


def definitions(path, *names):
    """Return a module of the imports, functions and classes of a script, and of the assignments to names, in order."""
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    tree = ast.parse(path.read_text())
    tree.body = [
        node
        for node in tree.body
        if isinstance(node, kinds) or (isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) in names)
    ]
    module = types.ModuleType(path.stem)
    exec(compile(tree, path, "exec"), module.__dict__)
    return module


example = definitions(EXAMPLE, "regressors")
Tobit, tobit_loss = example.Tobit, example.tobit_loss


# Targets with a known mean.


def gaussian_rows(n, seed, d=10):
    random = np.random.default_rng(seed)
    return random.standard_normal((n, d)), random


def spread(X):
    return np.exp(X[:, 0] / 2)


AFTER = {
    "after: exponential factor": lambda z, random: np.maximum(z, 0) * random.exponential(size=len(z)),
    "after: factor 0 or 2": lambda z, random: np.maximum(z, 0) * random.choice([0.0, 2.0], len(z)),
    "after: N(0, 1/4) added": lambda z, random: np.maximum(z, 0) + random.standard_normal(len(z)) / 2,
}
INSIDE = {
    "inside: N(0, 0.09)": stats.norm(scale=0.3),
    "inside: N(0, 1)": stats.norm(),
    "inside: Student t, 2.5 degrees": stats.t(2.5),
    "inside: exponential less 1": stats.expon(loc=-1),
}
UNEQUAL = "inside: normal, spread depends on x"


def draw(noise, n, seed, weights=WEIGHTS):
    """Return X, y and the mean of y given each row."""
    X, random = gaussian_rows(n, seed, len(weights))
    z = X @ weights
    if noise in AFTER:
        return X, AFTER[noise](z, random), np.maximum(z, 0)
    distribution, factor = (stats.norm(), spread(X)) if noise == UNEQUAL else (INSIDE[noise], np.ones(n))
    y = np.maximum(z + factor * distribution.ppf(random.random(n)), 0)
    return X, y, factor * rectified_mean(z / factor, distribution)


def rectified_mean(z, distribution):
    """E max(0, z + e), on a grid of z."""
    grid = np.linspace(z.min(), z.max(), 400)
    return np.interp(z, grid, np.maximum(grid[:, None] + distribution.ppf(QUANTILES), 0).mean(axis=1))


def softplus_like(z, sigma):
    """The same for e ~ N(0, sigma^2), in closed form."""
    return sigma * (z / sigma * stats.norm.cdf(z / sigma) + stats.norm.pdf(z / sigma))


def distance(model, weights=WEIGHTS):
    return np.linalg.norm(model.coef_ - weights)


def explained(model, X, mean):
    """The share of the variance of the mean of y that the prediction, clipped at zero, explains."""
    return 1 - np.mean((np.maximum(model.predict(X), 0) - mean) ** 2) / np.var(mean)


# The tables of the page: each a dictionary from the name of a row to its entries.

PEERS = {"Least squares": LinearRegression(), "Tobit": Tobit(), "ReLU": ProjectedReLURegressor()}


def noise_row(noise):
    """Median over ten draws of 10 000 rows: errors of the weights, then explained shares of the mean."""
    figures = []
    for seed in range(10):
        X, y, _ = draw(noise, 10_000, seed)
        X_new, _, mean = draw(noise, 10_000, seed + 1000)
        # Tobit knows no negative y.
        fits = [model.fit(X, np.maximum(y, 0) if name == "Tobit" else y) for name, model in PEERS.items()]
        figures.append([distance(fit) for fit in fits] + [explained(fit, X_new, mean) for fit in fits])
    return np.median(figures, axis=0)


def noise_table():
    return {noise: noise_row(noise) for noise in (*AFTER, *INSIDE, UNEQUAL)}


def fitted(model, X, y):
    """Fit without warnings of the lasso, and of the one ReLU in a thousand on 50 rows whose path does not converge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, y)


def likelihood_is_unbounded(X, y):
    """Whether some hyperplane meets all positive y and is nowhere positive where y = 0 (a linear program)."""
    A, positive = np.column_stack([X, np.ones(len(y))]), y > 0
    program = linprog(
        np.zeros(A.shape[1]), A[~positive], np.zeros(np.sum(~positive)), A[positive], y[positive], bounds=(None, None)
    )
    return program.status == 0


def sparse_weights(seed, d=100, s=5):
    random = np.random.default_rng(seed + 10_000)
    weights = np.zeros(d)
    weights[random.choice(d, s, replace=False)] = random.choice([-1, 1], s) / np.sqrt(s)
    return weights


FEW_ROWS = {
    "Tobit": Tobit(),
    "ReLU": ProjectedReLURegressor(),
    "ReLU, l1": ProjectedReLURegressorCV(),
    "ReLU, l0": ProjectedReLURegressorCV(L0Ball(), sizes=range(1, 11)),
    "LassoCV": LassoCV(),
}


def few_rows(n):
    """Median over five draws with d = 100: share of unbounded likelihoods, then explained shares of the mean."""
    figures = []
    for seed in range(5):
        weights = sparse_weights(seed)
        X, y, _ = draw("inside: N(0, 0.09)", n, seed, weights)
        X_new, _, mean = draw("inside: N(0, 0.09)", 4000, seed + 1000, weights)
        shares = [explained(fitted(model, X, y), X_new, mean) for model in FEW_ROWS.values()]
        figures.append([likelihood_is_unbounded(X, y), *shares])
    return np.append(np.mean(figures, axis=0)[0], np.median(figures, axis=0)[1:])


def few_rows_table():
    return {f"{n} rows": few_rows(n) for n in (50, 100, 150, 200, 400, 800)}


DECREASING = 0.7 ** np.arange(10) / np.linalg.norm(0.7 ** np.arange(10))
SETS = {
    "Least squares": LinearRegression(),
    "Tobit": Tobit(),
    "ReLU": ProjectedReLURegressor(),
    "Nonnegative": ProjectedReLURegressor(Nonnegative()),
    "Monotone": ProjectedReLURegressor(Monotone(increasing=False)),
    "Simplex": ProjectedReLURegressor(Simplex(DECREASING.sum())),
    "L1Ball": ProjectedReLURegressor(L1Ball(DECREASING.sum())),
    "L1Ball by CV": ProjectedReLURegressorCV(),
}


def sets_row(model, sizes=(50, 100, 300, 1000), n_draws=50):
    """Median error of the weights over draws, for each number of rows."""

    def error(n, seed):
        X, y, _ = draw("after: exponential factor", n, seed, DECREASING)
        return distance(fitted(model, X, y), DECREASING)

    return np.array([np.median([error(n, seed) for seed in range(n_draws)]) for n in sizes])


def sets_table():
    return {name: sets_row(model) for name, model in SETS.items()}


def trees(window):
    X, y, dates = example.rain_table(window)
    model = HistGradientBoostingRegressor(learning_rate=0.03, max_leaf_nodes=8, random_state=0)
    return cross_val_predict(model, X, y, groups=dates.year, cv=LeaveOneGroupOut())


def rain_table():
    """R2 over all left-out days, for windows of 0, 1, 3 and 7 days before and after."""
    columns = []
    for window in (0, 1, 3, 7):
        y, predictions, _ = example.held_out(window)
        columns.append({name: r2_score(y, p) for name, p in (predictions | {"Boosted trees": trees(window)}).items()})
    return {name: np.array([column[name] for column in columns]) for name in columns[0]}


TABLES = {"noise": noise_table, "rain": rain_table, "few rows": few_rows_table, "sets": sets_table}


# The Tobit reference.


def tobit_problem(n=60, seed=0):
    X, y, _ = draw("inside: N(0, 1)", n, seed)
    return np.column_stack([X, np.ones(n)]), y


@pytest.mark.parametrize("seed", range(5))
def test_gradient_of_the_tobit_likelihood(seed):
    A, y = tobit_problem(seed=seed)
    theta = np.append(np.random.default_rng(seed).standard_normal(A.shape[1]), 0.5 + seed)
    scale = np.linalg.norm(tobit_loss(theta, A, y)[1])
    assert check_grad(lambda t: tobit_loss(t, A, y)[0], lambda t: tobit_loss(t, A, y)[1], theta) < 1e-5 * (1 + scale)


def test_tobit_likelihood_is_concave_in_the_parameters_of_olsen():
    A, y = tobit_problem()
    random = np.random.default_rng(0)
    for _ in range(100):
        ends = np.column_stack([random.standard_normal((2, A.shape[1])), random.exponential(size=2)])
        values = [tobit_loss(theta, A, y)[0] for theta in (*ends, ends.mean(axis=0))]
        assert values[2] <= np.mean(values[:2])


def test_tobit_against_the_likelihood_in_its_usual_parameters():
    """Written down a second time, and maximised without derivatives from the solution: nothing is gained."""
    X, y, _ = draw("inside: N(0, 1)", 300, 0)
    model = Tobit().fit(10 + 3 * X, 7 * y)

    def loss(theta):
        z, sigma = (10 + 3 * X) @ theta[:-2] + theta[-2], np.exp(theta[-1])
        terms = np.where(y > 0, stats.norm.logpdf(7 * y, z, sigma), stats.norm.logcdf(-z / sigma))
        return -terms.mean()

    found = np.append(model.coef_, [model.intercept_, np.log(model.sigma_)])
    gradient = minimize(loss, found, method="BFGS", options={"maxiter": 0}).jac
    assert np.max(np.abs(gradient)) < 1e-6
    assert minimize(loss, found, method="Powell").fun > loss(found) - 1e-9


def test_tobit_predicts_the_mean():
    model = Tobit()
    model.coef_, model.intercept_, model.sigma_ = np.array([1.0]), 0.5, 0.8
    z = np.linspace(-3, 3, 7)
    mean = rectified_mean(z + 0.5, stats.norm(scale=0.8))
    np.testing.assert_allclose(model.predict(z[:, None]), mean, atol=2e-3)
    np.testing.assert_allclose(model.predict(z[:, None]), softplus_like(z + 0.5, 0.8), rtol=1e-12)


# Noise after the rectifier: the ReLU is consistent, at the rate that the formula of the page says.


@functools.cache
def errors(name, noise, n, n_draws=12):
    """Root mean square over draws."""

    def error(seed):
        X, y, _ = draw(noise, n, seed)
        return distance(PEERS[name].fit(X, np.maximum(y, 0) if name == "Tobit" else y))

    return np.sqrt(np.mean([error(seed) ** 2 for seed in range(n_draws)]))


VARIANCES = {
    "after: exponential factor": lambda z: z**2,
    "after: factor 0 or 2": lambda z: z**2,
    "after: N(0, 1/4) added": lambda z: np.full(len(z), 0.25),
}


def asymptotic_error(noise, n):
    """Root of the trace of H^-1 G H^-1 / n, over the weights; H and G of the page, by a large sample."""
    X, _ = gaussian_rows(400_000, 1)
    z = X @ WEIGHTS
    A = np.column_stack([X, np.ones(len(X))])[z > 0]
    H_inverse = np.linalg.inv(A.T @ A / len(X))
    G = (A * VARIANCES[noise](z[z > 0])[:, None]).T @ A / len(X)
    return np.sqrt(np.trace((H_inverse @ G @ H_inverse)[:-1, :-1]) / n)


after = pytest.mark.parametrize(
    "noise", [noise if "exponential" in noise else pytest.param(noise, marks=pytest.mark.slow) for noise in AFTER]
)


@after
def test_with_noise_after_the_rectifier_the_error_is_that_of_the_formula(noise):
    for n in (3000, 12_000):
        assert errors("ReLU", noise, n) == pytest.approx(asymptotic_error(noise, n), rel=0.3)


@after
def test_with_noise_after_the_rectifier_the_others_keep_a_bias(noise):
    for name in ("Least squares", "Tobit"):
        small, large = (errors(name, noise, n, 6) for n in (3000, 12_000))
        assert large > max(0.4, 5 * errors("ReLU", noise, 12_000))
        assert large > 0.85 * small


def reweighted(model, X, y):
    """Return the fit, and a second one with the weights of the page, for noise in proportion to the mean."""
    first = clone(model).fit(X, y)
    return first, clone(model).fit(X, y, 1 / np.maximum(first.predict(X), y.mean() / 2) ** 2)


def test_weights_for_a_factor_as_noise():
    for n, expected in ((1000, (0.16, 0.09)), (10_000, (0.057, 0.019))):
        fits = [reweighted(ProjectedReLURegressor(), *draw("after: exponential factor", n, s)[:2]) for s in range(20)]
        medians = np.median([[distance(fit) for fit in pair] for pair in fits], axis=0)
        np.testing.assert_allclose(medians, expected, rtol=0.05)


# Noise inside: Tobit is consistent, the ReLU ends at the best rectified line.


def best_rectified_line(sigma):
    """Slope along w, intercept and unexplained share of the mean: least squares on z ~ N(0, 1), by quadrature."""
    nodes, node_weights = np.polynomial.legendre.leggauss(60)

    def expectation(f, *ends):
        pieces = [((b - a) / 2, (a + b) / 2 + (b - a) / 2 * nodes) for a, b in pairwise((-9, *ends, 9))]
        return sum(half * node_weights @ (f(z) * stats.norm.pdf(z)) for half, z in pieces)

    def error(line):
        slope, kink = line
        return expectation(lambda z: (slope * np.maximum(z - kink, 0) - softplus_like(z, sigma)) ** 2, kink)

    slope, kink = minimize(error, [1.0, -0.1], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-15}).x
    mean = expectation(lambda z: softplus_like(z, sigma), 0)
    variance = expectation(lambda z: (softplus_like(z, sigma) - mean) ** 2, 0)
    return slope, -slope * kink, error((slope, kink)) / variance


def test_with_noise_inside_tobit_is_consistent():
    small, large = (errors("Tobit", "inside: N(0, 1)", n) for n in (1000, 16_000))
    assert large == pytest.approx(small / 4, rel=0.35)
    assert large < 0.04


@pytest.mark.parametrize(
    ("noise", "sigma"), [("inside: N(0, 1)", 1.0), pytest.param("inside: N(0, 0.09)", 0.3, marks=pytest.mark.slow)]
)
def test_with_noise_inside_the_relu_ends_at_the_best_rectified_line(noise, sigma):
    slope, intercept, unexplained = best_rectified_line(sigma)
    X, y, mean = draw(noise, 200_000, 0)
    model = ProjectedReLURegressor().fit(X, y)
    np.testing.assert_allclose(model.coef_, slope * WEIGHTS, atol=0.015)
    assert model.intercept_ == pytest.approx(intercept, abs=0.015)
    assert 1 - explained(model, X, mean) == pytest.approx(unexplained, rel=0.1)


def test_the_figures_of_the_best_rectified_line():
    np.testing.assert_allclose(best_rectified_line(1.0), [0.727, 0.413, 0.026], atol=5e-4)
    np.testing.assert_allclose(best_rectified_line(0.3), [0.961, 0.052, 0.0023], atol=5e-4)


@pytest.mark.parametrize("noise", ["after: exponential factor", "inside: N(0, 1)"])
def test_least_squares_find_w_times_the_share_of_positive_rows(noise):
    X, y, _ = draw(noise, 200_000, 0)
    np.testing.assert_allclose(LinearRegression().fit(X, y).coef_, np.mean(y > 0) * WEIGHTS, atol=0.015)


def test_where_least_squares_predict_nothing_negative_the_relu_is_least_squares():
    X, random = gaussian_rows(200, 0)
    y = np.maximum(X @ WEIGHTS + 6, 0) * random.choice([0.0, 2.0], len(X))
    linear = LinearRegression().fit(X, y)
    assert np.mean(y == 0) > 0.3
    assert linear.predict(X).min() > 0
    model = ProjectedReLURegressor().fit(X, y)
    np.testing.assert_allclose(model.coef_, linear.coef_, rtol=1e-8, atol=1e-8)
    assert model.intercept_ == pytest.approx(linear.intercept_)


# More columns than rows.


def test_with_few_rows_the_tobit_likelihood_has_no_maximum_and_a_set_is_enough():
    weights = sparse_weights(0)
    X, y, _ = draw("inside: N(0, 0.09)", 80, 0, weights)
    assert likelihood_is_unbounded(X, y)
    # Along the ray gamma (w, b, 1) through such a hyperplane it grows without bound, as log gamma.
    A, positive = np.column_stack([X, np.ones(80)]), y > 0
    free = linprog(
        np.zeros(101), A[~positive], -np.ones(np.sum(~positive)), A[positive], y[positive], bounds=(None, None)
    )
    values = [tobit_loss(gamma * np.append(free.x, 1), A, y)[0] for gamma in 10.0 ** np.arange(1, 6)]
    np.testing.assert_allclose(np.diff(values)[1:], -np.log(10) * positive.mean(), rtol=1e-3)

    X_new, _, mean = draw("inside: N(0, 0.09)", 4000, 1000, weights)
    tobit = Tobit().fit(X, y)
    assert tobit.sigma_ < 1e-6
    assert explained(tobit, X_new, mean) < 0.6
    sparse = ProjectedReLURegressorCV(L0Ball(), sizes=[1, 2, 3, 5, 8]).fit(X, y)
    assert explained(sparse, X_new, mean) > 0.9
    assert set(np.flatnonzero(weights)) <= set(np.flatnonzero(sparse.coef_))


def test_with_many_rows_the_likelihood_has_a_maximum():
    X, y, _ = draw("inside: N(0, 0.09)", 300, 0, sparse_weights(0))
    assert not likelihood_is_unbounded(X, y)
    assert Tobit().fit(X, y).sigma_ > 0.1


# Sets.


def test_sets_help_where_rows_are_few():
    """Ratios of medians of other 12 draws at 100 rows: 0.62 to 0.90, 0.43 to 0.67 and 0.35 to 0.54."""
    free, *structured = (sets_row(SETS[name], [100], 12)[0] for name in ("ReLU", "Nonnegative", "Monotone", "Simplex"))
    assert np.all(structured / free < [1.0, 0.8, 0.65])


# Rain.


@functools.cache
def rain():
    return example.held_out(3)


def test_the_table_of_rain():
    X, y, dates = example.rain_table(3)
    assert X.shape == (1455, 27)
    assert y.min() == 0
    assert np.mean(y == 0) == pytest.approx(0.573, abs=5e-4)
    # Day by day: the shifted columns are those of the neighbours, and the rain of the day itself is not among them.
    days = example.local_data.seattle_weather().set_index("date")
    day = dates[700]
    expected = [
        days.loc[day + np.timedelta64(k, "D"), column]
        for k in range(-3, 4)
        for column in ("precipitation", "temp_max", "temp_min", "wind")
        if (k, column) != (0, "precipitation")
    ]
    np.testing.assert_array_equal(X[700], expected)
    assert y[700] == days.loc[day, "precipitation"]


@pytest.mark.slow
def test_what_the_gallery_says_about_rain():
    y, predictions, dates = rain()
    relu, clipped = predictions["ReLU, l1 ball by CV"], predictions["Least squares, clipped"]
    scores = {name: r2_score(y, predicted) for name, predicted in predictions.items()}
    assert max(scores, key=scores.get) == "ReLU, l1 ball by CV"
    assert min(scores, key=scores.get) == "Tobit"
    assert scores["ReLU"] < scores["Least squares, clipped"]
    assert np.mean((y - clipped) ** 2) == pytest.approx(34, abs=0.5)
    for reference, gain, deviation in (("Least squares, clipped", -0.44, 0.14), ("LassoCV, clipped", -0.32, 0.16)):
        measured = example.over_months((y - relu) ** 2 - (y - predictions[reference]) ** 2, dates)
        np.testing.assert_allclose(measured, (gain, deviation), atol=0.015)
    ratios = {name: predicted.mean() / y.mean() for name, predicted in predictions.items()}
    assert ratios["Least squares, clipped"] == pytest.approx(1.07, abs=0.005)
    assert ratios["Tobit"] == pytest.approx(1.12, abs=0.005)
    assert ratios["ReLU, l1 ball by CV"] == pytest.approx(1, abs=0.01)
    assert min(ratios, key=lambda name: abs(ratios[name] - 1)) == "ReLU, l1 ball by CV"
    assert example.over_months((relu - y) / y.mean(), dates)[1] == pytest.approx(0.05, abs=0.005)
    wettest = np.argsort(predictions["Tobit"])[-242:]
    assert np.mean((y - predictions["Tobit"])[wettest]) < -1
    assert abs(np.mean((y - relu)[np.argsort(relu)[-242:]])) < 0.5


@pytest.mark.slow
def test_weights_on_rain():
    X, y, dates = example.rain_table(3)
    predicted = np.zeros((2, len(y)))
    for train, test in LeaveOneGroupOut().split(X, y, dates.year):
        scaler = StandardScaler().fit(X[train])
        fits = reweighted(ProjectedReLURegressorCV(), scaler.transform(X[train]), y[train])
        predicted[:, test] = [fit.predict(scaler.transform(X[test])) for fit in fits]
    np.testing.assert_allclose([r2_score(y, p) for p in predicted], [0.246, 0.258], atol=0.003)
    np.testing.assert_allclose(predicted.mean(axis=1) / y.mean(), [1.0, 0.86], atol=0.01)


def test_the_standard_error_over_months():
    """The formula of a sum over 48 blocks."""
    _, y, dates = example.rain_table(3)
    squared = (y - y.mean()) ** 2
    mean, deviation = example.over_months(squared, dates)
    months = np.array([squared[(dates.year == year) & (dates.month == month)].sum() for year, month in MONTHS])
    assert mean == pytest.approx(squared.mean())
    assert deviation == pytest.approx(np.sqrt(48) * months.std(ddof=1) / len(y))


MONTHS = [(year, month) for year in range(2012, 2016) for month in range(1, 13)]


# The page.


@pytest.mark.slow
def test_the_code_of_the_page_runs():
    assert doctest.testfile(str(PAGE), module_relative=False).failed == 0


def tables_of_the_page():
    """Return the tables with numbers: for each, a dictionary from the name of a row to its entries."""
    tables = []
    for text in re.split(r"^=+(?: +=+)+$", PAGE.read_text(), flags=re.MULTILINE):
        lines = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line]
        if all(len(line) > 2 and re.fullmatch(r"[\d.-]+", line[-1]) for line in lines[1:]) and len(lines) > 2:
            tables.append({name: np.array(entries, dtype=float) for name, *entries in lines})
    return tables


@pytest.mark.slow
@pytest.mark.parametrize(("name", "index"), [(name, index) for index, name in enumerate(TABLES)])
def test_the_tables_of_the_page(name, index):
    page, recomputed = tables_of_the_page()[index], TABLES[name]()
    assert list(page) == list(recomputed)
    for row, entries in recomputed.items():
        np.testing.assert_allclose(page[row], entries, rtol=0.03, atol=0.015, err_msg=row)


def test_the_page_has_the_tables():
    shapes = {"noise": (8, 6), "rain": (6, 4), "few rows": (6, 6), "sets": (8, 4)}
    found = {name: np.shape(list(table.values())) for name, table in zip(TABLES, tables_of_the_page(), strict=True)}
    assert found == shapes


if __name__ == "__main__":
    for title, table in TABLES.items():
        print(f"\n{title}")
        for row, entries in table().items():
            print(f"{row:38}", *(f"{entry:7.3f}" for entry in entries))
