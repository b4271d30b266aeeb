"""Constraint sets K of coefficient vectors w in R^d: small estimators with a projection onto K.

===================================  ==================================================================
set                                  K
===================================  ==================================================================
``L0Ball(n_nonzero)``                ``{w : |{i : w_i != 0}| <= n_nonzero}``
``NonnegativeSparse(n_nonzero)``     ``{w >= 0 : |{i : w_i > 0}| <= n_nonzero}``
``L1Ball(radius)``                   ``{w : sum_i |w_i| <= radius}``
``L2Ball(radius)``                   ``{w : (sum_i w_i^2)^(1/2) <= radius}``
``Simplex(radius)``                  ``{w >= 0 : sum_i w_i = radius}``
``GroupL0Ball(groups, n_groups)``    ``{w : |{g : w_g != 0}| <= n_groups}``
``GroupL1Ball(groups, radius)``      ``{w : sum_g |w_g|_2 <= radius}``
``Nonnegative()``                    ``{w : w_i >= 0}``
``Box(lower, upper)``                ``{w : lower_i <= w_i <= upper_i}``
``Subspace(basis)``                  ``{basis c : c in R^r}``
``Monotone(increasing=True)``        ``{w : w_1 <= ... <= w_d}`` (>= if not increasing)
``TotalVariationBall(radius)``       ``{w : sum_i |w_{i+1} - w_i| <= radius}``
``LowRank(shape, rank)``             ``{vec(W) : rank W <= rank}``
``NuclearBall(shape, radius)``       ``{vec(W) : sum of the singular values of W <= radius}``
===================================  ==================================================================

Each has three methods, whose contract `skrelu.constraints.base.Constraint` states: ``project(w)`` returns a nearest
point of K, ``face(w)`` the smooth piece of K around a point of K, and ``rescaled(scale)`` the set ``scale K`` of the
same class. Projections are exact: none iterates to a tolerance. As the parameters are plain estimator parameters, a
grid search over ``constraint__radius`` works.
"""

from skrelu.constraints.balls import L1Ball, L2Ball, Simplex
from skrelu.constraints.bounds import Box, Nonnegative, Subspace
from skrelu.constraints.groups import GroupL0Ball, GroupL1Ball
from skrelu.constraints.matrix import LowRank, NuclearBall
from skrelu.constraints.order import Monotone, TotalVariationBall
from skrelu.constraints.sparse import L0Ball, NonnegativeSparse

__all__ = [
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
