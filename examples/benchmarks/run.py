"""One ReLU, one hidden layer, quadratic networks, two layers, and real tables, against their peers.

One command: ``python examples/benchmarks/run.py`` (see README.md).
"""

import argparse
import json
import os
import sys
import time

import numpy as np
import one_hidden_layer
import quadratic
import real_tables
import single_relu
import smooth
import two_layer
from measure import machine, say
from memory import memory
from passes import network_passes, passes, quadratic_passes, two_layer_passes
from report import curves, plot, show
from threadpoolctl import threadpool_limits

BLOCKS = {
    "l0": single_relu.l0,
    "l1": single_relu.l1,
    "dense": single_relu.dense,
    "noise": single_relu.noise,
    "step": single_relu.step,
    "pass": passes,
    "memory": memory,
    "net-start": one_hidden_layer.net_start,
    "net": one_hidden_layer.net,
    "net-noise": one_hidden_layer.net_noise,
    "net-pass": network_passes,
    "quad": quadratic.quad,
    "smooth": smooth.smooth,
    "quad-pass": quadratic_passes,
    "two": two_layer.two,
    "two-noise": two_layer.two_noise,
    "two-pass": two_layer_passes,
    "tables": real_tables.real_tables,
}
ON_REQUEST = ("tables",)  # needs packages of data, and an hour


def parse(arguments=None):
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, help="trials a setting (default 20; with --quick 3)")
    default = [name for name in BLOCKS if name not in ON_REQUEST]
    parser.add_argument(
        "--only",
        nargs="+",
        choices=BLOCKS,
        default=default,
        help="blocks to run (default all but tables)",
        metavar="NAME",
    )
    parser.add_argument("--threads", type=int, default=1, help="of the linear algebra (default 1)")
    parser.add_argument("--quick", action="store_true", help="less of everything, in about four minutes")
    parser.add_argument("--json", help="file for all records, with versions and the machine")
    parser.add_argument("--plot", help="file for the picture: success rate against n")
    real_tables.add_options(parser)
    options = parser.parse_args(arguments)
    if options.seeds is None:
        options.seeds = 3 if options.quick else 20
    if options.seeds < 1 or options.threads < 1:
        parser.error("--seeds and --threads must be at least 1")
    return options


def main():
    """Run the blocks, print their tables, write the files."""
    options, start, records = parse(), time.perf_counter(), []
    with threadpool_limits(options.threads):
        metadata = machine()
        for name in options.only:
            block = BLOCKS[name](options)
            records += block.records
            for table in block.tables:
                show(table)
        if options.plot:
            points = curves(options)
            plot(points, options.plot)
            records += points
    if options.json:
        content = {"machine": metadata, "options": vars(options), "records": records}
        with open(options.json, "w") as file:
            json.dump(content, file, indent=1, default=float)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    say(f"done in {time.perf_counter() - start:.0f} s, NumPy {np.__version__}{load}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
