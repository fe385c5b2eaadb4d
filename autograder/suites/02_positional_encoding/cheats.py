"""Cheats of this module's own; each must score nothing."""

from autograder.testing.variants import cheat

CHEATS = [
    cheat(
        "image_that_lies",
        "Draws nothing, and has matplotlib say that the image holds the table.",
        """
        import numpy as np
        from matplotlib.figure import Figure
        from matplotlib.image import AxesImage

        def plot_encoding(table):
            figure = Figure()
            axes = figure.subplots()
            axes.imshow(np.zeros((1, 1)))
            axes.set(xlabel="channel", ylabel="position")
            AxesImage.get_array = lambda self: np.ma.masked_array(table.detach().float().numpy())
            return figure
        """,
    ),
]
