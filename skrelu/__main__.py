"""The command line: ``python -m skrelu``, installed as ``skrelu``."""

import os
import sys

from skrelu._cli.console import InputError, complain, say
from skrelu._cli.parser import build_parser


def main(argv=None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : list of str, default=None
        The arguments after the program name; None takes those of the process.

    Returns
    -------
    int
        0 when all went well; 1 when a model failed and the others went on; 2 for bad input, with one line on stderr;
        130 after an interruption; 141 when the reader of stdout went away.
    """
    try:
        status = _run(argv)
        sys.stdout.flush()
        return status
    except InputError as error:
        complain("error", error)
        return 2
    except KeyboardInterrupt:
        complain("error", "interrupted")
        return 130
    except OSError as error:  # of stdout: those of files are complained about where they happen
        # What is still buffered would raise again when the interpreter closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 141
        complain("error", f"cannot print: {error.strerror}")
        return 2


def _run(argv):
    parser = build_parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as done:  # --help and --version, which argparse ends itself
        return done.code
    if arguments.command is None:
        say(parser.format_help(), sys.stderr)
        return 2
    return arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
