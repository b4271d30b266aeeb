"""Mutation testing: which changes of the sources do the tests not notice?

    python tests/mutation.py skrelu/constraints skrelu/whitening.py --sample 30 --seed 0

draws 30 mutants of each file at random, tells for each whether the tests that execute the changed lines find it, and
ends with a table and the changes that survived. Needs `pip install mutmut coverage`, and a system that forks.

The mutants are those of mutmut, in functions and methods, and in the numbers of a module; not counted are texts of
messages (strings with a space), docstrings, annotations, decorators and the arguments of len and isinstance. A mutant is
compiled in a forked process, no file is written. The tests that guard a room are tried first, those of its users on what
survives them; slow tests never.
"""

import argparse
import contextlib
import difflib
import importlib
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from importlib.machinery import SourceFileLoader
from pathlib import Path

import coverage
import hypothesis
import libcst as cst
import pytest
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.file_mutation import deep_replace
from mutmut.mutation.mutators import mutation_operators

ROOT = Path(__file__).parents[1]
LONGEST = 60.0  # seconds of the tests of the users, the quickest ones first
SILENT = (cst.Annotation, cst.Decorator, cst.Import, cst.ImportFrom)
# The test files that guard a room, and those of its users.
TESTS = {
    "rows": ("rows stored_blocks threads array_api dask", "whitening networks"),
    "activations": ("activations", "networks moments"),
    "constraints": ("constraints", "solvers projected_optimum"),
    "whitening": ("whitening", "moments quadratic_network"),
    "moments": ("moments", "tensors starts"),
    "output_moments": ("output_moments", "null_combinations starts"),
    "tensors": ("tensors", "starts one_hidden_layer_theory"),
    "joint_diagonalisation": ("output_moments", "starts two_layer_solvers"),
    "null_combinations": ("null_combinations", "two_layer_solvers"),
    "starts": ("starts", "hidden_layer_solvers quadratic_solvers two_layer_solvers"),
    "networks": (
        "networks one_hidden_layer_network quadratic_network two_layer_network units",
        "standard_errors solvers hidden_layer_solvers quadratic_solvers two_layer_solvers",
    ),
    "solvers": ("solvers hidden_layer_solvers quadratic_solvers two_layer_solvers two_layer_outliers", "automatic"),
    "certificates": ("certificates", "quadratic_network"),
    "standard_errors": ("standard_errors", "automatic"),
    "laplace": ("standard_errors", "automatic"),
    "criteria": ("automatic", "quadratic_auto two_layer_auto"),
}


class Mutants(cst.CSTVisitor):
    """The mutations of a module: pairs of nodes, and the lines that must be executed to notice."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self):
        super().__init__()
        self.found = []
        self.functions = []

    def on_visit(self, node):
        if isinstance(node, SILENT):
            return False
        if isinstance(node, cst.Call) and getattr(node.func, "value", None) in ("len", "isinstance"):
            return False
        if isinstance(node, cst.FunctionDef):
            self.functions.append(node)
        message = isinstance(node, cst.SimpleString) and " " in node.value
        if not message and (self.functions or isinstance(node, cst.BaseNumber)):
            where = self.get_metadata(PositionProvider, node)
            body = self.get_metadata(PositionProvider, self.functions[-1].body) if self.functions else None
            executed = [body if body and where.start.line < body.start.line else where]
            lines = [line for span in executed for line in range(span.start.line, span.end.line + 1)]
            for kind, operator in mutation_operators:
                if isinstance(node, kind):
                    self.found += [(node, mutated, lines if self.functions else []) for mutated in operator(node)]
        return True

    def on_leave(self, original_node):
        if self.functions and original_node is self.functions[-1]:
            self.functions.pop()


class Recorder:
    """Which lines of the package does each test execute, and for how long does it run?"""

    def __init__(self):
        self.coverage = coverage.Coverage(data_file=None, include=[f"{ROOT}/skrelu/*"])
        self.seconds, self.failed = {}, []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self.coverage.switch_context(item.nodeid)
        start = time.process_time()
        result = yield
        self.seconds[item.nodeid] = time.process_time() - start
        return result

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed.append(report.nodeid)


class Chosen:
    """Runs these tests only, in this order."""

    def __init__(self, names):
        self.names = names

    def pytest_collection_modifyitems(self, items):
        found = {item.nodeid: item for item in items}
        items[:] = [found[name] for name in self.names if name in found]


def in_a_fork(run, seconds):
    """Exit status of `run()` in a forked process that may take these seconds of its own time; negative: a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1,) * 2)
            signal.alarm(10 * int(seconds) + 10)  # for a mutant that waits for ever
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            os._exit(int(run()))
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(ProcessLookupError):  # processes that the tests started
        os.killpg(pid, signal.SIGKILL)
    return status


def pytest_main(files, plugin, *options):
    options = *options, "-q", "-p", "no:cacheprovider", "-W", "ignore:Module already imported"
    return pytest.main([*options, *files], [plugin])


def record(names):
    """Seconds of each test of these files that passes, and the tests that execute each line of each source."""
    files = [str(ROOT / "tests" / f"test_{name}.py") for name in names.split()]

    def run():
        recorder = Recorder()
        recorder.coverage.start()
        pytest_main(files, recorder)
        recorder.coverage.stop()
        data = recorder.coverage.get_data()
        lines = {source: data.contexts_by_lineno(source) for source in data.measured_files()}
        modules = [name for name in sys.modules if not name.startswith(("skrelu", "tests", "test_", "conftest"))]
        seconds = {test: t for test, t in recorder.seconds.items() if test not in recorder.failed}
        Path(result.name).write_text(json.dumps((seconds, lines, modules, recorder.failed)))
        return 0

    with tempfile.NamedTemporaryFile() as result:
        in_a_fork(run, 1800)
        seconds, lines, modules, failed = json.load(result)
    for module in modules:  # once, for all the forks that follow
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    print(f"  {len(seconds)} tests of {names}, {sum(seconds.values()):.0f} s; failed: {failed}", flush=True)
    return seconds, lines


def outcome(path, code, lines, seconds, executed, longest):
    """`killed`, `timeout` or `survived`, of the tests that execute these lines (all of them for none)."""
    by_line = executed.get(str(path), {})
    tests = {test for line in lines for test in by_line.get(str(line), ())} if lines else set(seconds)
    chosen, total = [], 0.0
    for test in sorted(tests & set(seconds), key=seconds.get):
        total += seconds[test]
        if total <= longest:
            chosen.append(test)
    files = sorted({str(ROOT / test.split("::")[0]) for test in chosen})
    original = SourceFileLoader.get_code

    def get_code(self, name):
        return compile(code, self.path, "exec") if self.path == str(path) else original(self, name)

    def run():
        SourceFileLoader.get_code = get_code
        return pytest_main(files, Chosen(chosen), "-x")

    status = in_a_fork(run, 20 + 10 * min(total, longest)) if chosen else 0
    return "survived" if status == 0 else "timeout" if status < 0 else "killed"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sources", nargs="+", type=Path, help="files or folders of skrelu")
    parser.add_argument("--sample", type=int, default=30, help="mutants of a file, at most (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    args = parser.parse_args()
    os.environ |= {"SCIPY_ARRAY_API": "1", "OMP_NUM_THREADS": "1"}
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    quick = {"database": None, "deadline": None, "derandomize": True, "phases": list(hypothesis.Phase)[:3]}
    hypothesis.settings.register_profile("mutation", **quick)
    hypothesis.settings.load_profile("mutation")
    recorded, table, survivors = {}, [], []
    for path in [
        file for source in args.sources for file in sorted(source.resolve().rglob("*.py")) or [source.resolve()]
    ]:
        room = TESTS[path.relative_to(ROOT).with_suffix("").parts[1]]
        source = path.read_text()
        wrapper, visitor = MetadataWrapper(cst.parse_module(source)), Mutants()
        wrapper.visit(visitor)
        mutants = visitor.found
        drawn = random.Random(args.seed).sample(mutants, min(args.sample, len(mutants)))
        counts = Counter()
        for node, mutated, lines in drawn:
            code = deep_replace(wrapper.module, node, mutated).code
            diff = [line for line in difflib.unified_diff(source.split("\n"), code.split("\n"), n=0)][2:]
            for names, longest in zip(room, (float("inf"), LONGEST), strict=True):
                if names not in recorded:
                    recorded[names] = record(names)
                result = outcome(path, code, lines, *recorded[names], longest)
                if result != "survived":
                    break
            counts[result] += 1
            print(f"{result:9}{path.relative_to(ROOT)} " + "  ".join(diff), flush=True)
            if result == "survived":
                survivors.append("\n".join([str(path.relative_to(ROOT)), *diff]))
        table.append((str(path.relative_to(ROOT)), len(mutants), len(drawn), counts))
    print(f"\n{'file':44}{'mutants':>9}{'sampled':>9}{'killed':>9}{'timeout':>9}{'survived':>9}")
    for name, number, sampled, counts in table:
        print(f"{name:44}{number:9}{sampled:9}" + "".join(f"{counts[x]:9}" for x in ("killed", "timeout", "survived")))
    print("\n" + "\n\n".join(survivors))


if __name__ == "__main__":
    main()
