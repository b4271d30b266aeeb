"""Two layers whose output layer is given: those of one output that are an average of networks."""

from dataclasses import replace

from skrelu.networks.two_layer import TwoLayer


class GivenOutput(TwoLayer):
    """Two layers with this output layer in place of the best one for the hidden layer; not to be minimised.

    Parameters
    ----------
    network : TwoLayer
    output : ndarray of shape (n_outputs, n_hidden)
        In the user's units, as `intercept`.
    intercept : ndarray of shape (n_outputs,)
    """

    def __init__(self, network, output, intercept):
        super().__init__(network.rows, network.activation, network.whitening, network.n_hidden, **network.options)
        self._given = output, intercept

    def output(self, theta):
        """Return what is given."""
        return self._given

    def layer(self, theta, *, slopes=False):
        """Return the `OutputLayer` that is given, with the moments of the units; one pass."""
        output, intercept = self._given
        coef, intercept = (output / self._output_unit).T, (intercept - self.center) / self.target_scale
        return replace(super().layer(theta, slopes=slopes), coef=coef, intercept=intercept)
