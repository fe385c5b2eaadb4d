"""What a single call cannot show: figures as plain values, hashing with a generator. These hold no expected values."""

import torch

from autograder.testing.probes import Wrong, differences, require_in_any_layout, surroundings


def attend_after_an_update(module, q, k, v, mask):
    """The output of scaled_dot_product_attention once its caller has negated the keys of an earlier call in place."""
    module.scaled_dot_product_attention(q, k, v, mask)
    k.neg_()
    return module.scaled_dot_product_attention(q, k, v, mask)[0]


def unrecorded(module, name, args):
    """A call's (first) result with no gradients recorded, the tensors it was given as they are then, and whether any of all
    these requires a gradient. The very tensors held other numbers in an earlier call."""
    given = [x.clone() if isinstance(x, torch.Tensor) else x for x in args]
    with torch.no_grad():
        for x in args:
            if isinstance(x, torch.Tensor):
                x.copy_(x + 1 if x.is_floating_point() else x.flip(-1))
        getattr(module, name)(*args)
        for x, values in zip(args, given):
            if isinstance(x, torch.Tensor):
                x.copy_(values)
        result = getattr(module, name)(*args)
    output = result[0] if isinstance(result, tuple | list) else result
    tensors = [x for x in args if isinstance(x, torch.Tensor)]
    return output, tensors, any(x.requires_grad for x in (output, *tensors))


def drawn(module, weights, query_tokens, key_tokens=None, requires_grad=False):
    """Draw the weights and describe each heat map: its array, and the tick label that each row and column shows."""
    import matplotlib
    import numpy

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tokens = (query_tokens,) if key_tokens is None else (query_tokens, key_tokens)
    figure = module.plot_attention(weights.requires_grad_(requires_grad), *tokens)
    if type(figure).__name__.startswith("Axes"):
        raise Wrong("plot_attention should return a matplotlib Figure, and this is its Axes")
    panels = []
    for axes in figure.axes:
        if not axes.images:  # a colour bar, an empty place in a grid
            continue
        images = [numpy.ma.filled(numpy.ma.asarray(image.get_array(), float), numpy.nan) for image in axes.images]
        n_rows, n_columns = images[0].shape[:2]
        left, right, bottom, top = axes.images[0].get_extent()
        first, last = (bottom, top) if axes.images[0].origin == "lower" else (top, bottom)

        def labelled(labels, axis, n, start, end):  # ticks count where they stand at the centre of a row or column
            found = {}
            for label in labels:
                place = (label.get_position()[axis] - start) / (end - start) * n - 0.5
                if abs(place - round(place)) < 1e-3:
                    found[round(place)] = label.get_text().replace(r"\$", "$")  # a dollar that starts no formula
            return [found.get(i, "") for i in range(n)]

        (x_low, x_high), (y_low, y_high) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
        seen = x_low <= min(left, right), x_high >= max(left, right), y_low <= min(bottom, top), y_high >= max(bottom, top)
        panels.append(
            {
                "whole": all(seen),
                "images": [torch.from_numpy(image.copy()) for image in images],
                "rows": labelled(axes.get_yticklabels(which="both"), 1, n_rows, first, last),
                "columns": labelled(axes.get_xticklabels(which="both"), 0, n_columns, left, right),
            }
        )
    pyplot.close(figure)
    return panels


def drawn_after_another(module, first, first_queries, first_keys, second, second_tokens):
    """Draw twice and then count the heat maps of either figure."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figures = {"first": module.plot_attention(first, first_queries, first_keys)}
    figures["second"] = module.plot_attention(second, second_tokens)
    panels = {name: sum(bool(axes.images) for axes in figure.axes) for name, figure in figures.items()}
    pyplot.close("all")
    return panels


def figure_made(module, weights, query_tokens, key_tokens):
    """Whether the result is a matplotlib Figure that can be saved, and what else the call did: shown it, changed things."""
    import io

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    shown, before = [], (weights.clone(), list(query_tokens), list(key_tokens))
    weights.requires_grad_()
    matplotlib.rcParams["lines.linewidth"] = 3.25  # the settings are the caller's own, and not matplotlib's defaults
    other, settings = pyplot.figure(), dict(matplotlib.rcParams)
    other.add_subplot().set_title("other")
    around = surroundings()
    shows = pyplot.show, Figure.show
    pyplot.show = Figure.show = lambda *args, **kwargs: shown.append(True)
    try:
        figure = module.plot_attention(weights, query_tokens, key_tokens)
    finally:
        pyplot.show, Figure.show = shows
    changed = sorted(name for name, value in matplotlib.rcParams.items() if value != settings[name])
    changed = [name for name in changed if name not in ("backend", "interactive")] + differences(around)
    kept = pyplot.fignum_exists(other.number) and pyplot.figure(other.number) is other
    kept = kept and [axes.get_title() for axes in other.axes] == ["other"]
    same = {
        "weights": weights.requires_grad and torch.equal(weights, before[0]),
        "query_tokens": list(query_tokens) == before[1],
        "key_tokens": list(key_tokens) == before[2],
    }
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=40)
    pyplot.close("all")
    return {
        "is a Figure": isinstance(figure, Figure),
        "saved as PNG": file.getvalue()[:4] == b"\x89PNG",
        "was shown": bool(shown),
        "arguments changed": [name for name, is_same in same.items() if not is_same],
        "settings changed": changed,
        "other figures closed or changed": not kept,
    }


def buckets(module, x, n_buckets, seed):
    """lsh_buckets with a generator of this seed."""
    return module.lsh_buckets(x, n_buckets, torch.Generator().manual_seed(seed))


def buckets_many(module, x, n_buckets, seeds):
    """lsh_buckets once for each seed, stacked in front."""
    return torch.stack([buckets(module, x, n_buckets, seed) for seed in seeds])


def buckets_twice(module, x, n_buckets, seed):
    """Two calls in a row with one generator, and a third with a fresh one; what global state the two changed."""
    generator = torch.Generator().manual_seed(seed)
    before = surroundings()
    first = module.lsh_buckets(x, n_buckets, generator)
    second = module.lsh_buckets(x, n_buckets, generator=generator)
    changed = differences(before)
    return {"first": first, "second": second, "again": buckets(module, x, n_buckets, seed), "changed": changed}


def buckets_of_strided(module, x, n_buckets, seed):
    """lsh_buckets of a view with other strides, of its copy, of one that requires grad, and with no gradients recorded; whether
    x stayed as it was."""
    view, before = torch.empty(*x.shape[:-2], x.shape[-1], x.shape[-2], dtype=x.dtype).mT.copy_(x), x.clone()
    with torch.no_grad():
        unrecorded = buckets(module, x, n_buckets, seed)
    return {
        "under no_grad": unrecorded,
        "view": buckets(module, view, n_buckets, seed),
        "copy": buckets(module, x, n_buckets, seed),
        "requires grad": buckets(module, x.clone().requires_grad_(), n_buckets, seed),
        "changed": not torch.equal(x, before),
    }


def attend(module, q, k, v, n_buckets, seed, **options):
    """lsh_attention with a generator of this seed."""
    return module.lsh_attention(q, k, v, n_buckets, generator=torch.Generator().manual_seed(seed), **options)


def attend_by_position(module, q, k, v, n_buckets, n_rounds, causal, seed):
    """lsh_attention with all arguments by position."""
    return module.lsh_attention(q, k, v, n_buckets, n_rounds, causal, torch.Generator().manual_seed(seed))


def attend_many(module, q, k, v, n_buckets, seeds, **options):
    """lsh_attention once for each seed, stacked in front."""
    return torch.stack([attend(module, q, k, v, n_buckets, seed, **options) for seed in seeds])


def attend_checked(module, q, k, v, n_buckets, seed, **options):
    """A run, the negated result of another from the same seed, of negated values while no gradients are recorded, and runs
    without a seed; whether random states and inputs are as they have to be afterwards."""
    before, copies = surroundings(), [x.clone() for x in (q, k, v)]
    first = attend(module, q, k, v, n_buckets, seed, **options)
    around = differences(before)
    with torch.no_grad():
        v.neg_()
        again = -attend(module, q, k, v, n_buckets, seed, **options)
        v.neg_()
    changed = [name for name, x, copy in zip("qkv", (q, k, v), copies) if x.requires_grad or not torch.equal(x, copy)]
    result = {"first": first, "again": again, "around": around, "changed": changed}
    given = {"given": {"generator": torch.Generator().manual_seed(seed)}, "None": {"generator": None}, "none": {}}
    for name, drawn_from in given.items():
        generator = drawn_from.get("generator")
        states = [(generator or torch.default_generator).get_state()]
        for _ in range(2):
            module.lsh_attention(q, k, v, n_buckets, **drawn_from, **options)
            states.append((generator or torch.default_generator).get_state())
        result[name] = not torch.equal(*states[:2]) and not torch.equal(*states[1:])
    return result


def attend_gradients(module, q, k, v, n_buckets, seed, cotangent, only=None, **options):
    """The output of lsh_attention and the gradients of (output · cotangent) with respect to q, k and v, or one of them."""

    def pulled(laid_out):
        inputs = [laid_out(x.clone()).requires_grad_(only in (None, i)) for i, x in enumerate((q, k, v))]
        output = attend(module, *inputs, n_buckets, seed, **options)
        if output.requires_grad:
            (output * cotangent).sum().backward()
        return output, [x.grad for x in inputs]

    output, found = pulled(lambda x: x)
    require_in_any_layout("lsh_attention", lambda laid_out: pulled(laid_out)[1], found, range(3))
    return {"output": output, "gradients": found}


def attend_strided(module, q, k, v, n_buckets, seed, **options):
    """lsh_attention of views with other strides."""
    views = [torch.empty(*x.shape[:-2], x.shape[-1], x.shape[-2], dtype=x.dtype).mT.copy_(x) for x in (q, k, v)]
    return attend(module, *views, n_buckets, seed, **options)
