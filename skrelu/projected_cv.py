"""The size of the structured set, by cross-validation: `ProjectedReLURegressorCV`."""

import warnings
from numbers import Integral
from typing import ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import check_cv
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.parallel import Parallel, delayed

from skrelu._compat import FitTasks, Interval, StrOptions, whole_fit
from skrelu.constraints import L1Ball
from skrelu.constraints.extended import WholeSpace
from skrelu.networks import SingleReLU
from skrelu.projected import ProjectedReLURegressor, Sets
from skrelu.rows.device import follow
from skrelu.rows.read import read
from skrelu.solvers.loop import INTERRUPTED

N_FOLDS = 5  # by default, or one a row where there are fewer rows
N_SIZES = 20  # of the automatic grid
# Ends of the automatic grid, relative to the radius of the fit without a constraint. At that radius itself the
# constraint is neither active nor inactive and the solution badly determined; a little beyond it is inactive.
SMALLEST_RADIUS, LARGEST_RADIUS = 1e-3, 1.1
MARGIN = 1e-6  # a larger size wins only by a relative gain in score above this, far above the solver's accuracy


class ProjectedReLURegressorCV(ProjectedReLURegressor):
    """One ReLU whose weights lie in a structured set, the size of the set chosen by cross-validation.

    For each size r of a grid solves the problem of `ProjectedReLURegressor`::

        min_{w in K(r), b}  1/(2 sum_i s_i) sum_i s_i (max(0, <w, x_i> + b) - y_i)^2

    on each training fold, by a path from small to large sizes in which each fit starts from the one before; scores it
    by the mean squared error on the test fold; and fits the chosen size to all rows.

    Everything is weighted: an integer weight of a row equals that many copies of it in the same fold.

    Parameters
    ----------
    constraint : object of `skrelu.constraints` with a size, or None, default=None
        The family of sets; its own size is ignored. A size is the radius of a ball, the number of nonzero entries or
        groups, or the rank. None: the l1 ball.
    sizes : "auto" or array-like, default="auto"
        Sizes to try. "auto": 20 sizes in geometric progression, for numbers from 1 to that of the fit without a
        constraint, for radii from a thousandth of that of this fit to 1.1 times it.
    cv : int, splitter or iterable of (train, test) indices, default=None
        None: five consecutive folds, or one a row where there are fewer rows. `fit` hands groups to a splitter.
    selection : {"min", "one_se"}, default="min"
        "min": the smallest size whose mean squared error is within a relative 1e-6 of the lowest. "one_se": the
        smallest whose error is within one standard error (over folds) of the lowest.
    n_jobs : int or None, default=None
        Folds fitted in parallel.
    solver : {"auto", "gd"}, default="auto"
        As in `ProjectedReLURegressor`, like all that follow.
    step_size : float or "auto", default="auto"
        A number multiplies the steps of the paper and selects "gd".
    fit_intercept : bool, default=True
        Whether there is b.
    max_iter : int, default=1000
        Largest number of iterations of each fit.
    tol : float, default=1e-10
        When each fit stops.
    random_state : int, RandomState instance or None, default=None
        Accepted for uniformity; nothing is drawn. A splitter has a seed of its own.
    warm_start : bool, default=False
        Start the last fit, that of the chosen size, from the weights of the previous one.
    verbose : int, default=0
        Print every iteration of the last fit whose number is a multiple of ``10 / verbose``.

    Attributes
    ----------
    best_constraint_ : object of `skrelu.constraints`
        The chosen set.
    sizes_ : ndarray of shape (n_sizes,)
        Sizes tried, increasing.
    cv_results_ : dict of ndarrays
        ``param_<size>``, ``split<k>_test_score``, ``mean_test_score``, ``std_test_score``, ``rank_test_score`` as in
        `sklearn.model_selection.GridSearchCV`; scores are negative mean squared errors. Means and deviations weigh each
        fold by the sum of its test weights.
    coef_ : ndarray of shape (n_features,)
        The weights w, a point of `best_constraint_`. This and the next seven are those of the last fit, of the chosen
        size to all rows, as in `ProjectedReLURegressor`.
    intercept_ : float
        The intercept b.
    loss_ : float
        Half the weighted mean squared error on all rows.
    loss_curve_ : list of float
        Objective after each iteration.
    optimality_ : float
        Length of a projected gradient step, ``|w - P_K(w - g)|_2``.
    n_iter_ : int
        Iterations run.
    converged_ : bool
        Whether the solver came to its goal.
    stop_reason_ : str
        Why it stopped, a sentence; and in how many rows y is negative where that may be more than noise.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns of X; only when they are all strings.

    Warns
    -----
    ConvergenceWarning
        As `ProjectedReLURegressor`, and when fits on the path did not reach their goal.

    See Also
    --------
    ProjectedReLURegressor : One set of given size.

    Notes
    -----
    The theorem of `ProjectedReLURegressor` assumes that K is the smallest set of its family that contains the planted
    weights; a cross-validated size has no such guarantee.

    Examples
    --------
    >>> from skrelu import ProjectedReLURegressorCV, constraints, datasets
    >>> X, y = datasets.make_relu_regression(
    ...     n_samples=200, n_features=30, n_nonzero=3, noise=0.01, random_state=0)
    >>> model = ProjectedReLURegressorCV(
    ...     constraints.L0Ball(), sizes=[1, 2, 3, 6, 12], selection="one_se").fit(X, y)
    >>> model.best_constraint_
    L0Ball(n_nonzero=3)
    """

    _parameter_constraints: ClassVar[dict] = {
        **ProjectedReLURegressor._parameter_constraints,
        "constraint": [Sets(["project", "resized", "size_of"]), None],
        "sizes": [StrOptions({"auto"}), "array-like"],
        "cv": ["cv_object"],
        "selection": [StrOptions({"min", "one_se"})],
        "n_jobs": [Interval(Integral, None, None, closed="neither"), None],
    }

    def __init__(
        self,
        constraint=None,
        *,
        sizes="auto",
        cv=None,
        selection="min",
        n_jobs=None,
        solver="auto",
        step_size="auto",
        fit_intercept=True,
        max_iter=1000,
        tol=1e-10,
        random_state=None,
        warm_start=False,
        verbose=0,
    ):
        super().__init__(
            constraint,
            solver=solver,
            step_size=step_size,
            fit_intercept=fit_intercept,
            max_iter=max_iter,
            tol=tol,
            random_state=random_state,
            warm_start=warm_start,
            verbose=verbose,
        )
        self.sizes = sizes
        self.cv = cv
        self.selection = selection
        self.n_jobs = n_jobs

    @whole_fit
    def fit(self, X, y=None, sample_weight=None, **params):
        """Choose the size and fit the weights.

        Parameters
        ----------
        X : {ndarray, memory map, CSR/CSC matrix or array} of shape (n_samples, n_features)
            Or a dask array or dataframe, or blocks of rows: an iterable of such matrices, or of pairs (X_b, y_b) or
            triples (X_b, y_b, s_b), s the weights; with `array_api_dispatch` an array of torch or CuPy.
            float32 and float64 are kept; never copied, not even for the folds.
        y : array-like of shape (n_samples,), default=None
            None if it comes with the blocks of X.
        sample_weight : array-like of shape (n_samples,), default=None
            Frequency weights, used in the fits and in the scores.
        **params : dict
            For the splitter: ``groups``, an array-like of shape (n_samples,), if it takes them.

        Returns
        -------
        object
            The estimator itself.

        Raises
        ------
        ValueError
            As `ProjectedReLURegressor.fit`; if the constraint has no size, or a size is not one that it accepts; if a
            fold has no training row of positive weight, or there is only one row.
        TypeError
            If the splitter does not take what there is for it.
        """
        splits = process_routing(self, "fit", **params).splitter.split
        rows, data = read(self, X, y, sample_weight)
        family = L1Ball() if self.constraint is None else self.constraint
        if family.size_parameter is None:
            raise ValueError(f"constraint: a set with a size is needed, such as L1Ball or L0Ball, got {family!r}")
        folds = self._folds(rows, data, splits)
        tasks = FitTasks(self, data, n_named=len(folds))
        with np.errstate(over="ignore", invalid="ignore"):
            self._choose_size(rows, family, folds, tasks)
            self._fit_set(rows, self.best_constraint_, tasks)
        follow(self, data["X"])
        tasks.end(dict)
        return self

    def get_metadata_routing(self):
        """Return what `fit` takes itself, and what it hands to the splitter.

        Returns
        -------
        MetadataRouter
            As scikit-learn asks for.
        """
        to_splitter = MethodMapping().add(caller="fit", callee="split")
        return MetadataRouter(self).add_self_request(self).add(splitter=check_cv(self.cv), method_mapping=to_splitter)

    def _choose_size(self, rows, family, folds, tasks):
        """Choose the size over the folds, pairs of rows."""
        self.sizes_ = self._grid(rows, family)
        solver = ProjectedReLURegressor(
            solver=self.solver,
            step_size=self.step_size,
            fit_intercept=self.fit_intercept,
            max_iter=self.max_iter,
            tol=self.tol,
        )
        results = Parallel(n_jobs=self.n_jobs if rows.travels else None, return_as="generator")(
            delayed(_fold_errors)(solver, family, self.sizes_, *fold) for fold in folds
        )
        errors, fold_weights, n_failed = [], [], 0
        for k in range(len(folds)):
            tasks.begin(f"fold {k}")
            fold_errors, fold_weight, failed = next(results)
            tasks.finish(dict)
            errors.append(fold_errors)
            fold_weights.append(fold_weight)
            n_failed += failed
        if n_failed:
            n_fits = len(folds) * len(self.sizes_)
            message = f"{n_failed} of {n_fits} fits on the path did not converge. Raise max_iter or tol."
            warnings.warn(message, ConvergenceWarning, stacklevel=5)
        best = self._choose(np.array(errors), np.array(fold_weights), family)
        self.best_constraint_ = family.resized(self.sizes_[best].item())

    def _folds(self, rows, data, splits):
        """Return (training rows, test rows) of the folds that have a test row of positive weight; `splits` has groups.

        Rows outside a fold have weight zero: no fold copies X.
        """
        n_samples = rows.n_samples
        if n_samples < 2:
            raise ValueError(f"cross-validation needs at least two rows, got n_samples={n_samples}")
        splitter, folds = check_cv(min(N_FOLDS, n_samples) if self.cv is None else self.cv), []
        X, y = (data["X"], data["y"]) if rows.travels else (np.empty((n_samples, 0)), None)
        for k, (train, test) in enumerate(splitter.split(X, y, **splits)):
            train, test = (np.bincount(fold, minlength=n_samples).astype(rows.dtype) for fold in (train, test))
            if not np.any(rows.relative_weights * test):
                continue
            if not np.any(rows.relative_weights * train):
                raise ValueError(f"cv: fold {k} has no training row of positive weight")
            folds.append((rows.reweighted(train), rows.reweighted(test)))
        if not folds:
            raise ValueError("cv: no fold has a test row of positive weight")
        return folds

    def _grid(self, rows, family):
        """Return the sizes to try, increasing."""
        if isinstance(self.sizes, str):
            objective = self._objective(rows, WholeSpace())
            start = objective.parameters(np.zeros(rows.n_features, dtype=rows.dtype), 0.0)
            free, _ = self._solve(objective, WholeSpace(), start)
            if free.stop_reason == INTERRUPTED:
                raise KeyboardInterrupt
            largest = family.size_of(objective.coefficients(free.parameters)[0])
            if isinstance(largest, Integral):
                return np.unique(np.round(np.geomspace(1, max(1, int(largest)), N_SIZES)).astype(int))
            return np.geomspace(SMALLEST_RADIUS, LARGEST_RADIUS, N_SIZES) * largest if largest > 0 else np.zeros(1)
        sizes = np.asarray(self.sizes)
        if sizes.ndim != 1 or len(sizes) == 0 or sizes.dtype.kind not in "fiu":
            raise ValueError(f"sizes: one or more numbers are needed, got {self.sizes!r}")
        return np.unique(sizes)

    def _choose(self, errors, fold_weights, family):
        """Store `cv_results_` and return the index of the chosen size; errors (n_splits, n_sizes)."""
        shares = (fold_weights / fold_weights.sum())[:, None]
        mean = (shares * errors).sum(axis=0)
        std = np.sqrt((shares * (errors - mean) ** 2).sum(axis=0))
        self.cv_results_ = {
            f"param_{family.size_parameter}": self.sizes_,
            **{f"split{k}_test_score": -fold for k, fold in enumerate(errors)},
            "mean_test_score": -mean,
            "std_test_score": std,
            "rank_test_score": np.searchsorted(np.sort(mean), mean).astype(int) + 1,
        }
        lowest = int(np.argmin(mean))
        slack = std[lowest] / np.sqrt(len(errors)) if self.selection == "one_se" else 0.0
        return int(np.argmax(mean <= mean[lowest] * (1 + MARGIN) + slack))


def _fold_errors(solver, family, sizes, train_rows, test_rows):
    """Return the test error of each size, the weight of the test fold, and how many fits failed."""
    objective = solver._objective(train_rows, family)
    theta = objective.parameters(np.zeros(train_rows.n_features, dtype=train_rows.dtype), 0.0)
    planes, n_failed = [], 0
    for size in sizes:
        result, as_it_should = solver._solve(objective, family.resized(size.item()), theta)
        if result.stop_reason == INTERRUPTED:
            raise KeyboardInterrupt
        theta = result.parameters
        n_failed += not as_it_should
        planes.append(objective.coefficients(theta))
    plain = SingleReLU(test_rows, fit_intercept=solver.fit_intercept)
    errors = 2 * plain.values([plain.parameters(w, b) for w, b in planes])
    return errors, test_rows.weight_sum, n_failed
