"""Mutation testing: which changes of the sources do the tests not notice?

    python tests/mutation.py skrelu/constraints skrelu/whitening.py --sample 30 --seed 0

draws 30 mutants of each file at random, tells for each whether the tests that execute the changed lines fail, and ends
with a table, and the changes that survived. Needs `pip install mutmut coverage`, and a system that forks.

The mutants are those of mutmut, in functions and methods. Not counted are the texts of messages (strings with a space),
docstrings, annotations, decorators, and the arguments of len and isinstance. The code of a mutant replaces that of the
functions in a forked process: no file is written. The tests that guard a room are tried first, then those of its users;
slow tests and scikit-learn's checks never.
"""

import argparse
import contextlib
import difflib
import gc
import os
import pickle
import random
import resource
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FunctionType

import coverage
import hypothesis
import libcst as cst
import pytest
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.file_mutation import deep_replace
from mutmut.mutation.mutators import mutation_operators

ROOT = Path(__file__).parents[1]
LONGEST = 60.0  # seconds of the tests of one mutant, the quickest first
MANY = "hidden_layer_solvers quadratic_solvers two_layer_solvers"
# The test files that guard a room, and those of its users.
TESTS = {
    "rows": ("rows stored_blocks dask", "two_layer_outliers device array_api threads"),
    "activations": ("activations", "networks moments"),
    "constraints": ("constraints", "solvers projected_bad_input"),
    "whitening": ("whitening output_moments", "moments quadratic_network"),
    "moments": ("moments", "tensors starts"),
    "output_moments": ("output_moments", "null_combinations starts"),
    "tensors": ("tensors", "starts one_hidden_layer_theory"),
    "joint_diagonalisation": ("output_moments", "starts two_layer_solvers"),
    "null_combinations": ("null_combinations", "two_layer_solvers"),
    "starts": ("starts tensors output_moments quadratic_network", "two_layer_solvers"),
    "networks": (
        "networks one_hidden_layer_network quadratic_network two_layer_network units",
        f"standard_errors solvers automatic quadratic_auto two_layer_auto {MANY}",
    ),
    "solvers": (f"solvers {MANY} two_layer_outliers", "automatic quadratic_auto two_layer_auto"),
    "certificates": ("certificates", "quadratic_network"),
    "standard_errors": ("standard_errors", "automatic"),
    "laplace": ("standard_errors", "automatic"),
    "criteria": ("automatic", "quadratic_auto two_layer_auto"),
}


@dataclass
class Mutant:
    """A changed source; `lines` are those of which a test must execute one to notice."""

    path: Path
    code: str
    diff: list
    lines: range
    result: str = "survived"

    @property
    def room(self):
        return self.path.relative_to(ROOT / "skrelu").with_suffix("").parts[0]


def mutations(node, positions, body):
    """Yield, of a node and those below, itself, a mutation and the lines; body is that of the function around it."""
    counted = isinstance(node, cst.Call) and getattr(node.func, "value", None) in ("len", "isinstance")
    if counted or isinstance(node, cst.Annotation | cst.Decorator):
        return
    body = node.body if isinstance(node, cst.FunctionDef) else body
    if body is not None and not (isinstance(node, cst.SimpleString) and " " in node.value):
        in_body = positions[node].start.line >= positions[body].start.line  # else a default
        span = positions[node if in_body else body]
        for kind, operator in mutation_operators:
            if isinstance(node, kind):
                for mutated in operator(node):
                    yield node, mutated, range(span.start.line, span.end.line + 1)
    for child in node.children:
        yield from mutations(child, positions, body)


def mutants(path, number, seed):
    """Return how many mutants a file has, and so many of them drawn at random."""
    source = path.read_text()
    wrapper = MetadataWrapper(cst.parse_module(source))
    found = list(mutations(wrapper.module, wrapper.resolve(PositionProvider), None))
    drawn = []
    for node, mutated, lines in random.Random(seed).sample(found, min(number, len(found))):
        code = deep_replace(wrapper.module, node, mutated).code
        drawn.append(Mutant(path, code, [*difflib.unified_diff(source.split("\n"), code.split("\n"), n=0)][2:], lines))
    return len(found), drawn


def replace_functions(mutant):
    """Give the functions of a module the code and the defaults of its mutant, wherever they are known."""
    module = {"__name__": "mutant"}
    exec(compile(mutant.code, mutant.path, "exec"), module)
    every = [f for f in gc.get_objects() if isinstance(f, FunctionType) and f.__code__.co_filename == str(mutant.path)]
    mutated = {f.__code__.co_qualname: f for f in every if f.__globals__ is module}
    for f in every:
        g = mutated.get(f.__code__.co_qualname, f)
        if len(f.__code__.co_freevars) == len(g.__code__.co_freevars):  # else it cannot be told
            f.__code__, f.__defaults__, f.__kwdefaults__ = g.__code__, g.__defaults__, g.__kwdefaults__


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
            os._exit(run())
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(ProcessLookupError):  # processes that the tests started
        os.killpg(pid, signal.SIGKILL)
    return status


class Judge:
    """Runs the tests that pytest has collected on each mutant, in a fork, instead of once."""

    def __init__(self, mutants):
        self.mutants, self.failed = mutants, []

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed.append(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        items = {item.nodeid: item for item in session.items}
        with tempfile.NamedTemporaryFile() as file:
            in_a_fork(lambda: Path(file.name).write_bytes(pickle.dumps(self.record(items))) * 0, 3600)
            seconds, executed = pickle.load(file)
        print(f"{len(items)} tests, {len(seconds)} of them pass, in {sum(seconds.values()):.0f} s", flush=True)
        for mutant in self.mutants:
            at = executed.get(str(mutant.path), {})
            tests = {test for line in mutant.lines for test in at.get(line, ())} & set(seconds)
            total = 0.0
            chosen = [test for test in sorted(tests, key=seconds.get) if (total := total + seconds[test]) < LONGEST]
            status = in_a_fork(partial(self.fails, mutant, [items[test] for test in chosen]), 20 + 10 * total)
            mutant.result = "survived" if status == 0 else "timeout" if status < 0 else "killed"
            print(f"{mutant.result:9}{mutant.path.relative_to(ROOT)} {'  '.join(mutant.diff)}", flush=True)
        return True

    def fails(self, mutant, items):
        replace_functions(mutant)
        return int(any(self.run(item) or self.failed for item in items))

    def run(self, item):
        item.ihook.pytest_runtest_protocol(item=item, nextitem=None)

    def record(self, items):
        """Seconds of each test that passes, and the tests that execute each line of each source."""
        recorder, seconds = coverage.Coverage(data_file=None, config_file=False, include=[f"{ROOT}/skrelu/*"]), {}
        recorder.start()
        for name, item in items.items():
            recorder.switch_context(name)
            start = time.process_time()
            self.run(item)
            seconds[name] = time.process_time() - start
        recorder.stop()
        data = recorder.get_data()
        passed = {name: seconds[name] for name in seconds if name not in self.failed}
        return passed, {path: data.contexts_by_lineno(path) for path in data.measured_files()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sources", nargs="+", type=Path, help="files or folders of skrelu")
    parser.add_argument("--sample", type=int, default=30, help="mutants of a file, at most (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    args = parser.parse_args()
    os.environ |= {"SCIPY_ARRAY_API": "1", "OMP_NUM_THREADS": "1"}
    paths = [file for path in args.sources for file in (sorted(path.resolve().rglob("*.py")) or [path.resolve()])]
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    # Failing examples of a mutant are neither made small nor remembered.
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile("mutation", database=None, deadline=None, derandomize=True, phases=phases)
    hypothesis.settings.load_profile("mutation")
    numbers, samples = zip(*(mutants(path, args.sample, args.seed) for path in paths), strict=True)
    every = [mutant for sample in samples for mutant in sample]
    options = ["-s", "-p", "no:terminal", "-p", "no:cacheprovider", "-W", "ignore:Module already imported"]
    for room, stages in TESTS.items():
        for names in stages:
            files = [str(ROOT / "tests" / f"test_{name}.py") for name in names.split()]
            left = [mutant for mutant in every if mutant.room == room and mutant.result == "survived"]
            if left:
                pytest.main([*options, "-k", "not scikit_learn", *files], [Judge(left)])
    print(f"\n{'file':40}   mutants   sampled    killed   timeout  survived")
    for path, number, sample in zip(paths, numbers, samples, strict=True):
        counts = [sum(mutant.result == kind for mutant in sample) for kind in ("killed", "timeout", "survived")]
        print(f"{path.relative_to(ROOT)!s:40}" + "".join(f"{count:10}" for count in (number, len(sample), *counts)))
    for mutant in every:
        if mutant.result == "survived":
            print("", mutant.path.relative_to(ROOT), *mutant.diff, sep="\n")


if __name__ == "__main__":
    main()
