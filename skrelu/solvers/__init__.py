"""Solvers: methods are generators of iterates, one file each; `loop.iterate` runs any of them."""
