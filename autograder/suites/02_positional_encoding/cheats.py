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
    cheat(
        "rotation_by_onnx",
        "Computes the angles and leaves the turning to PyTorch's rotary embedding for ONNX, under a name made at run time.",
        """
        import torch

        def apply_rope(x, positions, base=10000.0):
            d = x.shape[-1]
            if d % 2:
                raise ValueError("d")
            work = torch.promote_types(x.dtype, torch.float32)
            angles = positions[..., None].double() * base ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
            angles = angles.expand(*x.shape[:-1], d // 2).reshape(1, -1, d // 2)
            rotate = getattr(torch.ops, "on" + "nx").RotaryEmbedding.opset23
            pairs = x.reshape(1, 1, -1, d).to(work)
            return rotate(pairs, angles.cos().to(work), angles.sin().to(work), interleaved=True).reshape(x.shape).to(x.dtype)
        """,
    ),
]
