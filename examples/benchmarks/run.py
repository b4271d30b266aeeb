"""One ReLU, one hidden layer, quadratic networks, two layers, and real tables, against their peers.

One command: ``python examples/benchmarks/run.py`` (see README.md).
"""

import argparse
import json
import os
import sys
import time

import cover
import numpy as np
import one_hidden_layer
import quadratic
import real_tables
import single_relu
import smooth
import speed_page
import two_layer
from device import device
from growth import growth
from measure import machine, say
from memory import memory
from out_of_memory import out_of_memory
from passes import network_passes, passes, quadratic_passes, two_layer_passes
from precision import precision
from race import race
from race_picture import draw, traces
from report import curves, plot, show
from threadpoolctl import threadpool_limits
from threads import threads

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
    "race": race,
    "growth": growth,
    "dask": out_of_memory,
    "precision": precision,
    "threads": threads,
    "device": device,
    "tables": real_tables.real_tables,
}
# They need packages of data, or dask, or long: an hour, three quarters, ten minutes, a quarter, ten minutes.
ON_REQUEST = ("tables", "race", "growth", "memory", "dask", "device")


def parse(arguments=None):
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, help="trials a setting (default 20; with --quick 3)")
    default = [name for name in BLOCKS if name not in ON_REQUEST]
    parser.add_argument(
        "--only",
        nargs="*",
        choices=BLOCKS,
        default=default,
        help=f"blocks to run (default all but {', '.join(ON_REQUEST)})",
        metavar="NAME",
    )
    parser.add_argument("--threads", type=int, default=1, help="of the linear algebra (default 1)")
    parser.add_argument("--quick", action="store_true", help="less of everything, in about four minutes")
    parser.add_argument("--json", help="file for all records, with versions and the machine")
    parser.add_argument("--keep", action="store_true", help="keep the records of other blocks in the file of --json")
    parser.add_argument("--rst", help="file for the tables of docs/benchmarks.rst, from all records")
    parser.add_argument("--plot", help="file for the picture: success rate against n")
    parser.add_argument("--race-plot", help="file for the picture: error against time of the block race")
    parser.add_argument("--cover", help="file for the picture of the front page; needs --results, see block tables")
    real_tables.add_options(parser)
    options = parser.parse_args(arguments)
    if options.seeds is None:
        options.seeds = 3 if options.quick else 20
    if options.keep and not options.json:
        parser.error("--keep needs --json")
    if options.cover and not options.results:
        parser.error("--cover needs --results")
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
            save(options, metadata, records)
        if options.plot:
            points = curves(options)
            plot(points, options.plot)
            records += points
        if options.race_plot:
            races = traces(options)
            draw(races, options.race_plot)
            records += races
        if options.cover:
            panels = cover.cover(options)
            cover.draw(panels, options.cover, options.results)
            records += panels
    records = save(options, metadata, records)
    if options.rst:
        speed_page.write(records, metadata, options, options.rst)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    say(f"done in {time.perf_counter() - start:.0f} s, NumPy {np.__version__}{load}")
    return 0


def save(options, metadata, records):
    """Write the file of --json, with --keep also its records of other blocks; return all of them."""
    if options.keep:
        records = kept(options.json, records) + records
    if options.json:
        content = {"machine": metadata, "options": vars(options), "records": records}
        with open(options.json, "w") as file:
            json.dump(content, file, indent=1, default=float)
    return records


def kept(path, records):
    """Return the records of a file whose blocks are not among the new ones."""
    if not os.path.exists(path):
        return []
    with open(path) as file:
        old = json.load(file)["records"]
    new = {record["block"] for record in records}
    return [record for record in old if record["block"] not in new]


if __name__ == "__main__":
    sys.exit(main())
