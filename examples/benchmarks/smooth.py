"""One hidden layer of each activation against its peers: recovery of the planted function, and time."""

from dataclasses import dataclass

import network_peers as peers
from measure import Block, Contender, Table, group, race, say, success_cells, time_ratio
from one_hidden_layer import NetworkProblem

from skrelu import OneHiddenLayerNet
from skrelu.activations import Activation, get_activation
from skrelu.datasets import make_one_hidden_layer

ACTIVATIONS = ("softplus", "tanh", "sigmoid", "erf", "gelu", "swish", "squared_relu", "leaky_relu", "relu")
OF_SCIKIT_LEARN = {"tanh": "tanh", "sigmoid": "logistic", "relu": "relu"}
SHAPE = (20, 4, 4_000)


@dataclass(frozen=True)
class SmoothProblem(NetworkProblem):
    """`NetworkProblem` with an activation."""

    @property
    def activation(self) -> Activation:
        return get_activation(self.teacher.activation)


def plant(activation, seed):
    """Return the problem of one seed: signed output weights, no biases."""
    d, k, n = SHAPE
    X, y, teacher = make_one_hidden_layer(n, d, k, activation=activation, return_teacher=True, random_state=seed)
    return SmoothProblem(X, y, teacher, seed)


def ours(**parameters):
    """Return the fit of `OneHiddenLayerNet` with the true number of units and activation, else default parameters."""

    def fit(problem):
        model = OneHiddenLayerNet(problem.n_hidden, activation=problem.activation, random_state=0, **parameters)
        return model.fit(problem.X, problem.y).predict

    return fit


def smooth(options):
    """Success and time with default parameters."""
    d, k, n = SHAPE
    table = Table(
        f"One hidden layer of each activation without noise, d = {d}, k = {k}, n = {n}, signed output weights",
        ["network", "method", "success", "< 1e-2", "seconds", "max", "a success", "ours / this, time"],
        note="Success: relative error of the predictions for 2000 new rows < 1e-6 / trials; then those < 1e-2. "
        "Seconds: median [quartiles], largest. A success: all seconds over the number of successes. Ratio: time of "
        "skrelu with biases over this method's on the problems that both solve, median [quartiles]. (*) is told the "
        "output weights and that there are no biases, and ends where skrelu ends, at rounding.",
    )
    records = []
    for activation in ACTIVATIONS:
        say(f"smooth: {activation}")
        contenders = [
            Contender("skrelu", ours(), ours=True),
            Contender("skrelu, no biases", ours(fit_intercept=False)),
            Contender("L-BFGS, 10 starts (*)", peers.lbfgs_smooth(10)),
        ]
        if activation in OF_SCIKIT_LEARN and not options.quick:
            mlp = peers.mlp(10, OF_SCIKIT_LEARN[activation])
            contenders.append(Contender("MLPRegressor, 10 starts", mlp, share=0.2))
        problems = [plant(activation, seed) for seed in range(options.seeds)]
        records += race(dict(block="smooth", network=activation), contenders, problems)
    for (activation,), members in group(records, "network").items():
        reference = [record for record in members if record["ours"]]
        for (method,), own in group(members, "method").items():
            ratio = "" if own[0]["ours"] else time_ratio(reference, own)
            table.rows.append([activation, method, *success_cells(own), ratio])
    return Block([table], records)
