"""The house rules of shared design: arrows run downwards, names are pinned, files and functions stay small."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import skrelu
from skrelu import activations, constraints, datasets, metrics, plotting

ROOT = Path(skrelu.__file__).parent
# The floors of the house, from the top; an entry stands for a module or a package with all its modules.
FLOORS = [
    ["__main__", "_cli"],
    ["__init__"],
    [
        *("plotting", "projected", "projected_cv", "one_hidden_layer", "one_hidden_layer_relu", "quadratic"),
        *("two_layer", "two_layer_fit"),
    ],
    ["quadratic_fit"],
    ["base"],
    ["solvers", "starts", "certificates", "null_combinations", "standard_errors", "laplace", "prediction_errors"],
    ["moments", "tensors", "output_moments", "joint_diagonalisation", "networks", "whitening"],
    ["rows", "activations", "criteria", "constraints", "_compat", "datasets", "metrics"],
]
LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 50


def module_name(path):
    """Return the dotted name of a file, ``skrelu.__init__`` for that of the package itself."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if len(parts) > 1 and parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(("skrelu", *parts))


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def imports(tree):
    """Yield (line, module, name or None, level) for every import of a module, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, None, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, node.module or "", alias.name, node.level) for alias in node.names)


def targets(tree):
    """Yield (line, module of skrelu) for every import of our own."""
    for line, module, name, _ in imports(tree):
        if module.split(".")[0] != "skrelu":
            continue
        if f"{module}.{name}" in MODULES:
            yield line, f"{module}.{name}"
        else:
            yield line, "skrelu.__init__" if module == "skrelu" else module


def floor(name):
    part = name.split(".")[1]
    floors = [i for i, parts in enumerate(FLOORS) if part in parts]
    assert floors, f"{name} has no floor: give it one in FLOORS"
    return floors[0]


def private_sklearn(tree):
    for line, module, name, _ in imports(tree):
        parts = [*module.split("."), *([name] if name else [])]
        if parts[0] == "sklearn" and any(part.startswith("_") for part in parts):
            yield f"{line}: {'.'.join(parts)}"


# arrows


def test_the_scan_sees_the_package():
    assert {"skrelu.__init__", "skrelu.rows", "skrelu.constraints", "skrelu.solvers.loop", "skrelu._cli.parser"} <= set(
        MODULES
    )
    assert (True, "skrelu.rows.read") in {(line > 0, target) for line, target in targets(TREES["skrelu.projected"])}


def test_imports_run_downwards():
    for name, tree in TREES.items():
        upward = [f"line {line}: {target}" for line, target in targets(tree) if floor(target) < floor(name)]
        assert not upward, f"{name} imports from above: {upward}"


def test_our_imports_exist():
    assert {target for tree in TREES.values() for _, target in targets(tree)} <= set(MODULES)


def test_there_is_no_import_cycle():
    graph = {name: {target for _, target in targets(tree)} - {name} for name, tree in TREES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_no_module_imports_itself():
    assert not [name for name, tree in TREES.items() if name in {target for _, target in targets(tree)}]


def test_no_relative_and_no_star_imports():
    for name, tree in TREES.items():
        assert not [line for line, _, imported, level in imports(tree) if level > 0 or imported == "*"], name


def test_only_compat_imports_private_names_of_sklearn():
    for name, tree in TREES.items():
        private = list(private_sklearn(tree))
        assert bool(private) == (name == "skrelu._compat"), f"{name}: {private}"


def test_only_tensors_imports_tensorly():
    for name, tree in TREES.items():
        users = [line for line, module, _, _ in imports(tree) if module.split(".")[0] == "tensorly"]
        assert not users or name == "skrelu.tensors", name


def test_no_dynamic_imports():
    """Imports that the scan cannot see are not allowed."""
    for name, tree in TREES.items():
        called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert not called & {"__import__", "import_module", "importlib.import_module", "exec", "eval"}, name


OPTIONAL = ["pandas", "matplotlib", "rich", "skops", "dask", "torch", "cupy", "tensorly", "cvxpy", "pytest"]


def at_import_time(tree):
    """Yield the nodes that run when a module is imported: all but the bodies of functions."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from at_import_time(node)


def test_optional_packages_are_imported_inside_functions_only():
    for name, tree in TREES.items():
        early = [node for node in at_import_time(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        packages = {module.split(".")[0] for _, module, _, _ in imports(ast.Module(early, []))}
        assert not packages & (set(OPTIONAL) - ({"tensorly"} if name == "skrelu.tensors" else set())), name


@pytest.mark.parametrize("modules", [["skrelu"], [name.removesuffix(".__init__") for name in MODULES]])
def test_the_package_imports_without_the_optional_packages(modules):
    """As on a machine that lacks them (scikit-learn itself uses pandas and rich where they are found)."""
    code = f"""
import importlib, sys
class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {[name for name in OPTIONAL if name != "tensorly"]}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Lacking())
for name in {modules}:
    importlib.import_module(name)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent)
    assert run.returncode == 0, run.stderr


# names


def public_names(module):
    """Return the names that a package lists, or that a module defines itself and does not hide."""
    if hasattr(module, "__path__"):
        return set(module.__all__)
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }


def test_public_names_of_the_package():
    assert skrelu.__all__ == [
        "OneHiddenLayerNet",
        "OneHiddenLayerReLU",
        "ProjectedReLURegressor",
        "ProjectedReLURegressorCV",
        "QuadraticNet",
        "TwoLayerReLURecovery",
        "activations",
        "constraints",
        "datasets",
        "metrics",
        "plotting",
    ]
    for name in skrelu.__all__:
        assert getattr(skrelu, name) is not None


def test_public_names_of_the_rooms():
    assert constraints.__all__ == [
        "Box",
        "GroupL0Ball",
        "GroupL1Ball",
        "L0Ball",
        "L1Ball",
        "L2Ball",
        "LowRank",
        "Monotone",
        "Nonnegative",
        "NonnegativeSparse",
        "NuclearBall",
        "Simplex",
        "Subspace",
        "TotalVariationBall",
    ]
    assert public_names(activations) == {
        "Activation",
        "get_activation",
        *("relu", "leaky_relu", "squared_relu", "softplus", "tanh", "sigmoid", "erf", "gelu", "swish"),
    }
    assert public_names(metrics) == {"match_units", "recovery_error", "support_score"}
    assert public_names(datasets) == {
        *("make_relu_regression", "make_one_hidden_layer", "make_quadratic", "make_two_layer_relu"),
        *("ReLUTeacher", "OneHiddenLayerTeacher", "QuadraticTeacher", "TwoLayerTeacher"),
    }
    assert public_names(plotting) == {"ConvergenceDisplay", "RecoveryDisplay", "WeightsDisplay"}


# Before the star positional, after it keyword only.
COMMON = "fit_intercept=True, max_iter=1000, tol=1e-10, random_state=None, warm_start=False, verbose=0"
SIGNATURES = {
    "ProjectedReLURegressor": f"(constraint=None, *, solver='auto', step_size='auto', {COMMON})",
    "ProjectedReLURegressorCV": (
        "(constraint=None, *, sizes='auto', cv=None, selection='min', n_jobs=None, "
        f"solver='auto', step_size='auto', {COMMON})"
    ),
    "OneHiddenLayerNet": (
        "(n_hidden='auto', *, activation='softplus', init='tensor', output_weights='signed', alpha='auto', "
        "solver='auto', step_size='auto', fit_intercept=True, max_iter=1000, tol=1e-10, random_state=None, n_init=10, "
        "warm_start=False, verbose=0)"
    ),
    "OneHiddenLayerReLU": (
        "(n_hidden='auto', *, init='tensor', output_weights='signed', alpha='auto', solver='auto', step_size='auto', "
        "fit_intercept=True, max_iter=1000, tol=1e-10, random_state=None, n_init=10, warm_start=False, verbose=0)"
    ),
    "TwoLayerReLURecovery": (
        "(n_hidden='auto', *, activation='relu', outliers='none', alpha='auto', solver='auto', step_size='auto', "
        "fit_intercept=True, max_iter=1000, tol=1e-10, random_state=None, n_init=10, warm_start=False, verbose=0)"
    ),
    "QuadraticNet": (
        "(n_hidden=None, *, init='spectral', output_weights='signed', alpha='auto', fit_linear=True, solver='auto', "
        "step_size='auto', fit_intercept=True, max_iter=1000, tol=1e-08, random_state=None, n_init=10, "
        "warm_start=False, verbose=0)"
    ),
    "constraints.Box": "(lower=0.0, upper=1.0)",
    "constraints.GroupL0Ball": "(groups, n_groups=1)",
    "constraints.GroupL1Ball": "(groups, radius=1.0)",
    "constraints.L0Ball": "(n_nonzero=1)",
    "constraints.L1Ball": "(radius=1.0)",
    "constraints.L2Ball": "(radius=1.0)",
    "constraints.LowRank": "(shape, rank=1)",
    "constraints.Monotone": "(increasing=True)",
    "constraints.Nonnegative": "()",
    "constraints.NonnegativeSparse": "(n_nonzero=1)",
    "constraints.NuclearBall": "(shape, radius=1.0)",
    "constraints.Simplex": "(radius=1.0)",
    "constraints.Subspace": "(basis)",
    "constraints.TotalVariationBall": "(radius=1.0)",
    "activations.Activation.hermite_coefficients": "(self, order, *, scale=1.0, bias=0.0)",
    "activations.get_activation": "(activation)",
    "metrics.match_units": "(coef_true, coef, *, sign_invariant=False)",
    "metrics.recovery_error": "(coef_true, coef, *, sign_invariant=False, scale_invariant=False)",
    "metrics.support_score": "(coef_true, coef, *, threshold=0.0)",
    "datasets.make_relu_regression": (
        "(n_samples=100, n_features=100, *, n_nonzero=10, coef=None, bias=0.0, noise=0.0, "
        "return_teacher=False, random_state=None)"
    ),
    "datasets.make_one_hidden_layer": (
        "(n_samples=1000, n_features=20, n_hidden=5, *, activation='relu', output_weights='signed', coef=None, "
        "output_coef=None, bias=0.0, output_bias=0.0, noise=0.0, return_teacher=False, random_state=None)"
    ),
    "datasets.make_quadratic": (
        "(n_samples=1000, n_features=20, n_hidden=3, *, output_weights='signed', coef=None, output_coef=None, "
        "linear_coef=None, output_bias=0.0, noise=0.0, return_teacher=False, random_state=None)"
    ),
    "datasets.make_two_layer_relu": (
        "(n_samples=1000, n_features=20, n_hidden=5, n_outputs=8, *, activation='relu', coef=None, output_coef=None, "
        "bias=0.0, output_bias=0.0, noise=0.0, return_teacher=False, random_state=None)"
    ),
}


def resolve(name):
    value = skrelu
    for part in name.split("."):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    value = resolve(name)
    if isinstance(value, type) and value.__init__ is object.__init__:
        assert SIGNATURES[name] == "()"
    else:
        assert str(inspect.signature(value)) == SIGNATURES[name]


PUBLIC = [
    *(name for name in skrelu.__all__ if isinstance(getattr(skrelu, name), type)),
    "activations.Activation.hermite_coefficients",
    *(f"constraints.{name}" for name in constraints.__all__),
    *(
        f"{module.__name__.removeprefix('skrelu.')}.{name}"
        for module in (activations, datasets, metrics, plotting)
        for name in sorted(public_names(module))
        if not isinstance(getattr(module, name), activations.Activation)
    ),
]


def test_every_public_callable_has_a_pinned_signature():
    displays_and_records = {
        *(f"plotting.{name}" for name in plotting.__all__),
        *("datasets.ReLUTeacher", "datasets.OneHiddenLayerTeacher", "datasets.QuadraticTeacher"),
        "datasets.TwoLayerTeacher",
        "activations.Activation",
    }
    assert set(PUBLIC) - displays_and_records == set(SIGNATURES)


def test_every_module_says_what_it_is():
    for name, tree in TREES.items():
        doc = ast.get_docstring(tree)
        assert doc, name
        assert doc.split("\n")[0].endswith((".", "`.", ":")), name


def test_modules_on_disk_are_those_that_python_finds():
    found = {"skrelu.__init__", *(module.name for module in pkgutil.walk_packages(skrelu.__path__, "skrelu."))}
    assert found == set(MODULES)
    for name in MODULES:
        assert importlib.util.find_spec(name.removesuffix(".__init__")) is not None


# sizes


def test_no_file_is_long():
    lengths = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name: length for name, length in lengths.items() if length > LINES_OF_A_FILE} == {}


def length_without_docstring(function):
    doc = function.body[0] if ast.get_docstring(function) else None
    return function.end_lineno - function.lineno + 1 - (doc.end_lineno - doc.lineno + 1 if doc else 0)


def test_no_function_is_long():
    """Without docstring and decorators; signature, comments and blank lines count."""
    long = {
        f"{name}.{node.name}": length_without_docstring(node)
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and length_without_docstring(node) > LINES_OF_A_FUNCTION
    }
    assert long == {}
