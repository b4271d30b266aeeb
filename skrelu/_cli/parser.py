"""The options of each command and their help."""

import argparse

import skrelu
from skrelu._cli.compare import compare
from skrelu._cli.console import InputError
from skrelu._cli.demo import demo
from skrelu._cli.models import MODELS
from skrelu._cli.predict import predict

COMPARE_HELP = f"""\
Cross-validate the estimators of skrelu beside standard regressors on one table, and print them ranked by R2.

The table is a CSV file in UTF-8 with column names in its first line, separated by commas, semicolons or tabs. A column
is numeric when each of its cells is a number or missing (empty, NA, N/A, NaN, null, None, ?, or infinite), else
categorical; with semicolons, 1,5 is a number too. Inside each fold, numeric columns are filled with the median
(and an indicator of what was missing) and standardised; categories are one-hot encoded, the rarer ones together.
Constant columns and rows without target are left out. Without a table: the diabetes data of scikit-learn.

Rows are held out at random, unless a column says better: with --groups, rows that share its value (a patient, a
machine) are held out together; with --time, each fold is tested on rows later than all it was trained on. That column
is no feature.

Models: {", ".join(MODELS)}."""

COMPARE_EXAMPLES = """\
examples:
  skrelu compare
  skrelu compare houses.csv --target price --plot houses.png
  skrelu compare houses.csv --models ridge,boosting,projected-relu-cv --cv 10 --jobs 4
  skrelu compare visits.csv --target score --groups patient
  skrelu compare sales.csv --target units --time week --save sales.skops"""

PREDICT_HELP = """\
Predict the rows of a table with a model that skrelu compare --save wrote, and print the predictions as CSV.

The table is read as by skrelu compare; it needs the columns of the model, in any order, and may have others. Missing
cells and categories not seen before are fine. The model is a file of skops (needs skops): no code in it is run, and
one with a type that is unknown here is refused as a whole."""

PREDICT_EXAMPLES = """\
examples:
  skrelu predict sales.skops next.csv
  skrelu predict sales.skops next.csv --output predicted.csv"""


class OneLineParser(argparse.ArgumentParser):
    """A parser whose complaint is one line, without the usage."""

    def parse_args(self, args=None, namespace=None):
        """Parse, and blame what is unknown on the options alone if there are any: a word left over may be a value."""
        namespace, unknown = self.parse_known_args(args, namespace)
        options = [argument.partition("=")[0] for argument in unknown if argument.startswith("-")]
        program = f"{self.prog} {namespace.command}" if namespace.command else self.prog
        if options:
            raise InputError(f"{program} has no option {', '.join(options)} (see {program} --help)")
        if unknown:
            raise InputError(f"{program} takes no further argument {', '.join(unknown)} (see {program} --help)")
        return namespace

    def error(self, message):
        """Raise the complaint instead of leaving the process."""
        raise InputError(f"{message} (see {self.prog} --help)")


def build_parser():
    """Return the parser of all commands; the parsed ``run`` is the function of the chosen one."""
    parser = OneLineParser(
        prog="skrelu",
        description="Shallow ReLU networks fitted by the algorithms that come with proofs.",
        epilog="skrelu COMMAND --help describes a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"skrelu {skrelu.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_compare(commands)
    _add_predict(commands)
    _add_demo(commands)
    return parser


def _add_compare(commands):
    parser = commands.add_parser(
        "compare",
        help="cross-validate the estimators beside standard regressors on a table",
        description=COMPARE_HELP,
        epilog=COMPARE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("table", nargs="?", metavar="table.csv", help="the table (default: the diabetes data)")
    parser.add_argument("--target", metavar="COLUMN", help="the column to predict (default: the last one left)")
    parser.add_argument(
        "--cv", type=_integer(2), metavar="K", help="number of folds (default: 5, or as many as there can be)"
    )
    held_out = parser.add_mutually_exclusive_group()
    held_out.add_argument("--groups", metavar="COLUMN", help="hold out rows with equal cells of this column together")
    held_out.add_argument(
        "--time", metavar="COLUMN", help="test on later rows only, by this column of numbers or ISO dates (2024-01-31)"
    )
    parser.add_argument("--models", default="all", metavar="A,B", help="names of models, or all (default)")
    parser.add_argument(
        "--plot",
        metavar="out.png",
        help="draw the scores of each fold, and what the best of our models makes of the columns that it needs most "
        "(needs matplotlib)",
    )
    parser.add_argument("--json", metavar="out.json", help="write the results as JSON")
    parser.add_argument(
        "--save", metavar="model.skops", help="fit the first of the table on all rows, and save it (needs skops)"
    )
    _add_seed(parser, "of the folds and the models")
    parser.add_argument(
        "--jobs", type=_jobs, default=1, metavar="N", help="fits at the same time; -1: one a core (default: 1)"
    )
    parser.set_defaults(run=compare)


def _add_predict(commands):
    parser = commands.add_parser(
        "predict",
        help="predict the rows of a table with a saved model",
        description=PREDICT_HELP,
        epilog=PREDICT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="model.skops", help="a model that skrelu compare --save wrote")
    parser.add_argument("table", metavar="new.csv", help="the table; it need not have the target")
    parser.add_argument("--output", metavar="out.csv", help="write to this file (default: print)")
    parser.add_argument(
        "--std", action="store_true", help="print a second column, the standard deviation of each prediction"
    )
    parser.set_defaults(run=predict)


def _add_demo(commands):
    parser = commands.add_parser(
        "demo",
        help="plant each network, recover it, and print the errors",
        description="Plant each network that has an estimator, recover its weights from noiseless samples, and print "
        "the relative errors.",
        allow_abbrev=False,
    )
    _add_seed(parser, "of the planted networks and the samples")
    parser.set_defaults(run=demo)


def _add_seed(parser, purpose):
    seed = _integer(0, 2**32 - 1)
    parser.add_argument("--seed", type=seed, default=0, metavar="S", help=f"random seed {purpose} (default: 0)")


def _integer(smallest, largest=None):
    """Return the argument type of integers from `smallest` on, up to `largest`."""

    def convert(text):
        bounds = f">= {smallest}" if largest is None else f"from {smallest} to {largest}"
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < smallest or (largest is not None and value > largest):
            raise argparse.ArgumentTypeError(f"must be an integer {bounds}, got {text!r}")
        return value

    return convert


def _jobs(text):
    return -1 if text == "-1" else _integer(1)(text)
