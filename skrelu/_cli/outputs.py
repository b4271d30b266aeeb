"""The files that a command writes: refused before the work where they cannot be written, never left half written."""

import os
import secrets
import shutil
from pathlib import Path

from skrelu._cli.console import InputError


def check(arguments, options, inputs):
    """Refuse, before any work, files that cannot be written, that are read, or that two options name.

    Parameters
    ----------
    arguments : argparse.Namespace
    options : sequence of str
        Names of the options, whose values are paths or None.
    inputs : dict of str to (str or None)
        What is read, and where.
    """
    taken = {_identity(path): what for what, path in inputs.items() if path is not None}
    for option in options:
        path = getattr(arguments, option)
        if path is None:
            continue
        _check_writable(f"--{option}", Path(path))
        what = taken.setdefault(_identity(path), f"the file of --{option}")
        if what != f"the file of --{option}":
            raise InputError(f"--{option}: {path} is {what} itself")


def _check_writable(option, path):
    folder = path.parent
    if path.is_dir():
        raise InputError(f"{option}: {path} is a folder")
    if not folder.is_dir():
        raise InputError(f"{option}: there is no folder {folder}")
    needed = ([path] if path.exists() else []) + ([] if _in_place(path) else [folder])
    if not all(os.access(place, os.W_OK) for place in needed):
        raise InputError(f"{option}: no permission to write {path}")


def _identity(path):
    """Return what two names of the same file have in common."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return os.path.abspath(path)
    return found.st_dev, found.st_ino


def _in_place(path):
    """Whether a file is written where it is: a device or a link, which a new file would put out of use."""
    return path.is_symlink() or (path.exists() and not path.is_file())


def write(path, content):
    """Write bytes to a file, as a whole or not at all: they go to a new file that then takes the place of the old."""
    target = Path(path)
    scratch = target if _in_place(target) else target.with_name(f".skrelu-{secrets.token_hex(8)}")
    try:
        scratch.write_bytes(content)
        if scratch is not target:
            if target.exists():
                shutil.copymode(target, scratch)
            os.replace(scratch, target)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    finally:
        if scratch is not target:
            scratch.unlink(missing_ok=True)
