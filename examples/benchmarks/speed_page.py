"""The tables of docs/benchmarks.rst, written from the records: the page includes them."""

import numpy as np
from growth import exponents
from measure import group
from memory import LIMIT
from out_of_memory import DASK, MEMORY
from race import BOUNDS, OURS, OURS_PAPER, PARTS, ratios, seconds_per_success, spread

NETWORKS = {"net-pass": "one hidden layer", "quad-pass": "quadratic units", "two-pass": "two layers"}


def write(records, machine, options, path):
    """Write what the records allow: questions with targets, time to a given error, growth, and the machine."""
    questions = [*_passes(records), *_races(records), *_growths(records), *_memories(records), *_dask(records)]
    titles = ["question", "goal", "measured", "block of run.py"]
    text = _list_table("Questions, goals, measurements", titles, (40, 18, 30, 12), questions)
    fits = [r for r in records if r["block"] == "race"]
    if fits:
        titles = ["problem", "ours, s", "fastest peer to 1e-6", "ours / it", "told more", "MLPRegressor to 1e-2"]
        text += _list_table("Time of a success, restarts included", titles, (30, 10, 24, 16, 14, 16), _settings(fits))
    threaded = [r for r in records if r["block"] == "threads"]
    if threaded:
        titles = ["problem", "one thread, s", "two threads over blocks, as in a fit", "two threads of BLAS"]
        text += _list_table("Time of a fit with two threads", titles, (40, 16, 22, 22), map(_threads, threaded))
    single = [r for r in records if r["block"] == "precision"]
    if single:
        titles = ["problem", "error, float64", "error, float32", "time, float64 / float32"]
        cells = [[r["problem"], f"{r['double']:.0e}", f"{r['single']:.0e}", f"{r['ratio']:.1f}"] for r in single]
        text += _list_table("Single precision", titles, (43, 18, 18, 21), cells)
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items() if name != "skrelu")
    text += (
        f"Machine: {machine['cpu']}, {machine['cpus']} cores that others share, {options.threads} thread; "
        f"Python {machine['python']}, {packages}; {machine['time'][:10]}.\n"
    )
    with open(path, "w") as file:
        file.write(text)


def _threads(record):
    one, blocks, blas = (min(seconds) for seconds in record["seconds"].values())
    return [record["problem"], f"{one:.2f}", f"{blocks / one:.2f} of it", f"{blas / one:.2f} of it"]


def _list_table(title, columns, widths, rows):
    lines = [f".. list-table:: {title}", "   :header-rows: 1", "   :widths: " + " ".join(map(str, widths)), ""]
    for row in [columns, *rows]:
        lines += [f"   {'*' if i == 0 else ' '} - {cell}" for i, cell in enumerate(row)]
    return "\n".join(lines) + "\n\n"


def _passes(records):
    """Return the rows about passes: ratios of the fastest times."""
    fastest = {
        (r["block"], r["n"], r["d"], r.get("k"), r["dtype"]): {name: min(ms) for name, ms in r["ms"].items()}
        for r in records
        if r["block"] in ("pass", *NETWORKS)
    }
    one = {key: ms for key, ms in fastest.items() if key[0] == "pass"}
    rows = []
    if one:
        large = max(one, key=lambda key: (key[2], key[1], key[4] == "float64"))
        reads, bare = (one[large]["ours"] / one[large][name] for name in ("x @ x", "bare fused loop"))
        shape = f"{large[1]} x {large[2]}"
        rows.append([f"One ReLU, {shape}: a pass in reads of X?", "2.3", f"{reads:.2f}", "pass"])
        rows.append(["The same over a bare fused loop in NumPy?", "1.0", f"{bare:.2f}", "pass"])
    for block, name in NETWORKS.items():
        over = [ms["ours"] / ms["products"] for key, ms in fastest.items() if key[0] == block and key[4] == "float64"]
        if over:
            cell = f"{min(over):.2f} to {max(over):.2f}"
            rows.append([f"A pass of {name}, over its matrix products alone?", "1.2", cell, block])
    gains = [ms["ours"] / fastest[*key[:4], "float32"]["ours"] for key, ms in fastest.items() if key[4] == "float64"]
    if gains:
        blocks = ", ".join(dict.fromkeys(key[0] for key in fastest))
        cell = f"{np.median(gains):.2f} ({min(gains):.2f} to {max(gains):.2f})"
        rows.append(["How much faster is a pass in float32?", "1.8", cell, blocks])
    return rows


def _fastest_peer(methods, names):
    """Return the name among those with the fewest seconds for a success at 1e-6, None if none succeeds."""
    seconds = {name: seconds_per_success(methods[(name,)], BOUNDS[1]) for name in names}
    reached = {name: s for name, s in seconds.items() if np.isfinite(s)}
    return min(reached, key=reached.get) if reached else None


def _compared(members):
    """Return the fastest peer with our knowledge, the fastest of all, and MLPRegressor: (name, ratios) or None."""
    methods = group(members, "method")
    peers = [method for (method,) in methods if method not in (OURS, OURS_PAPER)]

    def against(name, bound):
        if name is None:
            return None
        own = methods[(name,)]
        values = ratios(methods[(own[0]["against"],)], own, bound)
        return (name, values) if values else None

    mlps = [name for name in peers if name.startswith("MLP")]
    seconds = {name: seconds_per_success(methods[(name,)], BOUNDS[0]) for name in mlps}
    mlp = min((name for name in mlps if np.isfinite(seconds[name])), key=seconds.get, default=None)
    told = [name for name in peers if name.endswith("(**)")]
    return (
        against(_fastest_peer(methods, [name for name in peers if name not in told]), BOUNDS[1]),
        against(_fastest_peer(methods, told), BOUNDS[1]),
        against(mlp, BOUNDS[0]),
    )


def _settings(records):
    rows = []
    for (part, setting), members in group(records, "part", "setting").items():
        own = [seconds_per_success(group(members, "method")[(OURS,)], BOUNDS[1])]
        equal, told, mlp = _compared(members)
        cells = [equal[0].removesuffix(" (*)"), spread(equal[1])] if equal else ["none succeeds", "0"]
        extra = [spread(pair[1]) if pair else "" for pair in (told, mlp)]
        rows.append([f"{PARTS[part]}: {setting}", f"{own[0]:.2g}", *cells, *extra])
    return rows


def _races(records):
    rows = []
    for (part,), members in group([r for r in records if r["block"] == "race"], "part").items():
        compared = [_compared(own) for own in group(members, "setting").values()]
        over = [np.median(equal[1]) if equal else 0.0 for equal, _, _ in compared]
        faster = sum(ratio <= 1 for ratio in over)
        cell = f"{min(over):.2g} to {max(over):.2g}; at most 1 in {faster} of {len(over)}"
        rows.append([f"{PARTS[part]}: time to 1e-6 over the fastest peer's of equal knowledge?", "1", cell, "race"])
        over = [np.median(mlp[1]) for _, _, mlp in compared if mlp]
        if over:
            cell = f"{min(over):.2g} to {max(over):.2g} in the {len(over)} of {len(compared)} that it solves"
            rows.append([f"{PARTS[part]}: over MLPRegressor's, where it reaches 1e-2?", "0.1", cell, "race"])
    return rows


def _growths(records):
    rows, own = [], [r for r in records if r["block"] == "growth" and r["method"] == "skrelu"]
    for axis, goal in (("n", "1"), ("d", "1"), ("k", ""), ("m", "")):
        found = group([r for r in own if r["axis"] == axis], "problem")
        if found:
            cell = ", ".join(f"{name} {exponents(members)[0]:.2f}" for (name,), members in found.items())
            rows.append([f"Time of a fit ~ {axis}\\ :sup:`p`: p?", goal, cell, "growth"])
    return rows


def _memories(records):
    rows = []
    for (source,), members in group([r for r in records if r["block"] == "memory"], "source").items():
        added = {r["method"]: r["peak"] - r["before"] for r in members}
        worst = max(added, key=added.get)
        size = members[0]["megabytes"] / 1e3
        question = f"X of {size:g} GB: {source}"
        cell = f"at most {added[worst]:.0f} MB of {len(added)} fits ({worst})"
        rows.append([f"{question}: memory that a fit adds?", f"{LIMIT} MB", cell, "memory"])
    return rows


def _dask(records):
    own, rows = [r for r in records if r["block"] == "dask"], []
    memory = {r["problem"]: r["seconds"] for r in own if r["source"] == MEMORY}
    for (source,), members in group(own, "source").items():
        if source == MEMORY:
            continue
        over = [np.median(np.array(r["seconds"]) / memory[r["problem"]]) for r in members]
        goal = "1.3" if source == DASK else ""
        cell = f"{min(over):.2f} to {max(over):.2f}"
        rows.append([f"Time of a fit, X: {source}, over that in memory?", goal, cell, "dask"])
    return rows
