"""``skrelu predict``: the predictions of a saved model for the rows of a table, as CSV."""

import csv
import inspect
import io
import warnings

import numpy as np
from sklearn.compose import TransformedTargetRegressor

from skrelu._cli import outputs, saved
from skrelu._cli.console import InputError, complain, one_line, say
from skrelu._cli.tables import read_features


def predict(arguments):
    """Run the command and return its exit status."""
    outputs.check(arguments, ("output",), {"the model": arguments.model, "the table": arguments.table})
    saved.check("predict")
    model = saved.load(arguments.model)
    if arguments.std and not has_std(model.pipeline):
        raise InputError(f"--std: {model.name} predicts no standard deviation")
    X, notes = read_features(arguments.table, model.columns, model.numeric, known=(model.target, *model.aside))
    for package, version in saved.VERSIONS.items():
        if model.versions.get(package) != version:
            notes.append(f"{arguments.model} was fitted by {package} {model.versions.get(package)}, this is {version}")
    columns, warned = _predict(model, X, arguments)
    for note in (*notes, *warned):
        complain("note", note)
    header = (model.target, f"{model.target}_std")[: len(columns)]
    content = _csv(header, zip(*columns, strict=True))
    if arguments.output is None:
        say(content.removesuffix("\n"))
    else:
        outputs.write(arguments.output, content.encode())
    return 0


def _predict(model, X, arguments):
    """Return a column of predictions, with --std one of standard deviations too, and the warnings, as notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = with_std(model.pipeline, X) if arguments.std else (model.pipeline.predict(X),)
            columns = [np.asarray(column, dtype=float).reshape(len(X)) for column in found]
        except Exception as failure:
            reason = one_line(f"{type(failure).__name__}: {failure}")
            raise InputError(f"{arguments.model} cannot predict the rows of {arguments.table}: {reason}") from failure
    notes = [f"{warning.category.__name__}: {warning.message}" for warning in caught]
    return columns, dict.fromkeys(notes)


def has_std(pipeline):
    """Whether the regressor of a fitted pipeline predicts a standard deviation too."""
    return "return_std" in inspect.signature(saved.innermost(pipeline).predict).parameters


def with_std(pipeline, X):
    """Return the predictions and standard deviations of a fitted pipeline, in units of the target.

    A `TransformedTargetRegressor` does not pass standard deviations on: its scaler multiplies them.
    """
    last = pipeline[-1]
    _, std = saved.innermost(pipeline).predict(pipeline[:-1].transform(X), return_std=True)
    scale = last.transformer_.scale_ if isinstance(last, TransformedTargetRegressor) else 1.0
    return pipeline.predict(X), std * scale


def _csv(header, rows):
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([repr(cell.item()) for cell in row] for row in rows)
    return content.getvalue()
