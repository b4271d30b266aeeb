"""Docstrings of all that is public: complete, in step with the code, and on a page of the reference."""

import ast
import doctest
import inspect
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate

import skrelu
from skrelu import activations, constraints, datasets, metrics, plotting
from skrelu.constraints import base

DOCS = Path(skrelu.__file__).parents[1] / "docs"
CHECKED = {
    *("GL01", "GL02", "GL03", "GL05", "GL06", "GL07", "GL08", "GL09", "GL10"),  # layout and sections
    *("SS01", "SS02", "SS03", "SS04", "SS05", "SS06"),  # the summary
    *("PR01", "PR02", "PR03", "PR04", "PR05", "PR06", "PR07", "PR08", "PR09", "PR10"),  # parameters
    *("RT01", "RT02", "RT03", "RT04", "RT05", "YD01"),  # what is returned
    *("SA02", "SA03", "SA04"),  # entries of See Also
    "EX01",  # an example
}
LEFT_OUT = {
    "ES01": "no extended summary: one sentence may say all",
    "SA01": "no See Also: the reference stands in groups, and the text links to what it uses",
}
# A method of a class is shown in the example of its class.
LEFT_OUT_OF_METHODS = {"EX01"}


def own_members(cls):
    """Yield (name, member, function) for public methods and properties of ours: scikit-learn's are not our affair."""
    for name in dir(cls):
        member = inspect.getattr_static(cls, name)
        function = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
        if not name.startswith("_") and inspect.isfunction(function) and function.__module__.startswith("skrelu."):
            yield name, member, function


def public_objects():
    """Return the public classes and functions, and those that a set of one's own is made of, by dotted name."""
    objects = {"skrelu.constraints.base.Constraint": base.Constraint, "skrelu.constraints.base.Face": base.Face}
    for module in (skrelu, activations, constraints, datasets, metrics, plotting):
        names = getattr(module, "__all__", None) or [
            name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__
        ]
        objects |= {f"{module.__name__}.{name}": getattr(module, name) for name in names if not name.startswith("_")}
    return {name: value for name, value in objects.items() if inspect.isclass(value) or inspect.isfunction(value)}


OBJECTS = public_objects()
CLASSES = {name: value for name, value in OBJECTS.items() if inspect.isclass(value)}
ESTIMATORS = [name for name in skrelu.__all__ if isinstance(getattr(skrelu, name), type)]
METHODS = {
    f"{class_name}.{name}": function
    for class_name, cls in CLASSES.items()
    for name, member, function in own_members(cls)
    if not isinstance(member, property)
}
# Each function once, also where several classes inherit it. Without a docstring it has that of the one it overrides.
FIRST_NAMES = {function: name for name, function in reversed(METHODS.items()) if function.__doc__}
DESCRIBED = OBJECTS | {name: function for function, name in FIRST_NAMES.items()}


def test_the_scan_sees_what_is_public():
    assert {
        *("skrelu.QuadraticNet", "skrelu.activations.Activation", "skrelu.constraints.Box"),
        *("skrelu.datasets.QuadraticTeacher", "skrelu.metrics.match_units", "skrelu.plotting.WeightsDisplay"),
    } <= set(OBJECTS)
    assert {
        *("skrelu.QuadraticNet.fit", "skrelu.plotting.WeightsDisplay.from_estimator"),
        *("skrelu.constraints.base.Constraint.project", "skrelu.activations.Activation.hermite_coefficients"),
    } <= set(METHODS)
    assert not [name for name in METHODS if name.endswith(("set_params", "score", "set_fit_request"))]
    assert not CHECKED & set(LEFT_OUT)


@pytest.mark.parametrize("name", DESCRIBED)
def test_docstring_is_complete(name):
    checked = CHECKED - LEFT_OUT_OF_METHODS if name in METHODS else CHECKED
    assert [error for error in validate(name)["errors"] if error[0] in checked] == []


@pytest.mark.parametrize("name", CLASSES)
def test_every_method_has_a_docstring_its_own_or_that_of_the_one_it_overrides(name):
    cls = CLASSES[name]
    assert [member for member, *_ in own_members(cls) if not inspect.getdoc(getattr(cls, member))] == []


@pytest.mark.parametrize("name", OBJECTS)
def test_examples_are_found_by_doctest(name):
    doc = inspect.getdoc(OBJECTS[name])
    assert doctest.DocTestParser().get_examples(doc.partition("\nExamples\n--------\n")[2])


def sections(value):
    return NumpyDocString(inspect.getdoc(value))


def documented(value, section):
    """Return {name: entry} of a section; entries of several names are split."""
    entries = sections(value)[section]
    return {name.strip(): entry for entry in entries for name in entry.name.split(",")}


# defaults


def written_default(entry):
    """Return the default that the type of a parameter names, `inspect.Parameter.empty` if none."""
    _, found, text = entry.type.partition("default=")
    if not found:
        return inspect.Parameter.empty
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return f"not a literal: {text}"


@pytest.mark.parametrize("name", DESCRIBED)
def test_defaults_are_those_of_the_signature(name):
    entries = documented(DESCRIBED[name], "Parameters")
    written = {parameter: written_default(entry) for parameter, entry in entries.items()}
    signature = inspect.signature(DESCRIBED[name]).parameters
    assert written == {
        **{parameter: inspect.Parameter.empty for parameter in written},
        **{parameter: value.default for parameter, value in signature.items() if parameter in written},
    }
    types = {parameter: type(value.default) for parameter, value in signature.items() if parameter in written}
    # 1 == True == 1.0: the kinds must agree, too.
    assert {parameter: type(written[parameter]) for parameter in types} == types


# attributes


@pytest.mark.parametrize("name", CLASSES)
def test_attributes_have_a_type_and_a_description(name):
    incomplete = [
        attribute
        for attribute, entry in documented(CLASSES[name], "Attributes").items()
        if not entry.type or not "".join(entry.desc).strip().endswith(".")
    ]
    assert incomplete == []


@pytest.mark.parametrize("name", CLASSES)
def test_properties_are_attributes(name):
    properties = {name for name, member, _ in own_members(CLASSES[name]) if isinstance(member, property)}
    if not issubclass(CLASSES[name], base.Constraint) or CLASSES[name] is base.Constraint:
        assert properties <= set(documented(CLASSES[name], "Attributes"))


@pytest.fixture(scope="module")
def table():
    """A table with names of columns, on which fits take a moment."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((40, 3)), columns=["a", "b", "c"])
    return X, np.maximum(X["a"] - X["b"], 0) + 0.1 * rng.standard_normal(40)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ESTIMATORS)
def test_attributes_are_those_that_a_fit_sets(name, table):
    estimator = getattr(skrelu, name)
    model = estimator(max_iter=5).fit(*table)
    fitted = {attribute for attribute in vars(model) if attribute.endswith("_") and not attribute.startswith("_")}
    assert fitted == set(documented(estimator, "Attributes"))


# the reference


def entries_of_the_reference():
    """Yield the dotted names in the tables of the reference."""
    module = ""
    in_table = False
    for line in (DOCS / "reference" / "index.rst").read_text().splitlines():
        directive = re.match(r"\.\. (?:current|auto)?module:: (\S+)", line)
        module = directive[1] if directive else module
        if line and not line.startswith(" "):
            in_table = line.startswith(".. autosummary::")
        elif in_table and re.fullmatch(r"   [\w.]+", line):
            yield f"{module}.{line.strip()}"


def test_the_reference_lists_every_public_name_and_no_other():
    listed = list(entries_of_the_reference())
    assert sorted(listed) == sorted(OBJECTS)


def test_the_table_of_activations_lists_every_one_and_no_other():
    names = re.findall(r"^``(\w+)``  ", inspect.getdoc(activations), flags=re.MULTILINE)
    assert names == [value.name for value in vars(activations).values() if isinstance(value, activations.Activation)]
    assert set(names) | {"Activation", "get_activation"} == set(activations.__all__)


def test_the_page_of_a_class_has_every_method_of_ours_and_no_other():
    template = (DOCS / "templates" / "autosummary" / "class.rst").read_text()
    listed = ast.literal_eval(re.search(r"own = (\[.*?\])", template, flags=re.DOTALL)[1])
    assert len(listed) == len(set(listed))
    # What every estimator has of scikit-learn, and one overrides, is described there.
    assert set(listed) == {name.rpartition(".")[2] for name in METHODS} - {"get_metadata_routing"}


def test_the_table_of_constraints_lists_every_set():
    names = re.findall(r"^``(\w+)\(", inspect.getdoc(constraints), flags=re.MULTILINE)
    assert sorted(names) == constraints.__all__
