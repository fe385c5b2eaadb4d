"""Public tests: pytest exercises/07_training_loop [-k adamw]"""

import math

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.hints import called
from autograder.testing.strategies import given, leading_shapes, normal, seeds, settings, sizes

# What runs beside your module: each function gets it as its first argument.


def backward(module, logits, targets):
    """The gradient of the loss, by automatic differentiation."""
    logits = logits.clone().requires_grad_()
    module.cross_entropy(logits, targets).backward()
    return logits.grad


def optimise(module, name, values, gradients, lrs=(), **arguments):
    """The parameters after each step. A gradient of None stays None; lrs, where given, are set before the steps."""
    params = [torch.nn.Parameter(x.clone()) for x in values]
    optimizer = getattr(module, name)((p for p in params), **arguments)
    seen = []
    for i, new in enumerate(gradients):
        for p, gradient in zip(params, new):
            p.grad = None if gradient is None else gradient.clone()
        if lrs and hasattr(optimizer, "param_groups"):  # PyTorch's own keep it there
            optimizer.param_groups[0]["lr"] = lrs[i]
        if lrs:
            optimizer.lr = lrs[i]
        optimizer.step()
        seen.append([p.detach().clone() for p in params])
    return seen


def gradients_after(module, name):
    """The gradient that a step has seen, and the one after zero_grad."""
    p = torch.nn.Parameter(torch.ones(2))
    optimizer = getattr(module, name)([p], lr=0.1)
    p.grad = torch.tensor([1.0, 2.0])
    optimizer.step()
    seen = p.grad.clone()
    optimizer.zero_grad()
    return seen, p.grad


def go_back(module, name):
    """Three steps; back to the state after the first, and two steps again."""
    p = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = getattr(module, name)([p], lr=0.1)
    seen = []
    for i in range(5):
        if i == 1:
            value, state = p.detach().clone(), optimizer.state_dict()
        if i == 3:
            optimizer.load_state_dict(state)
            with torch.no_grad():
                p.copy_(value)
        p.grad = (p.detach() + (i if i < 3 else i - 2)).clone()
        optimizer.step()
        seen.append(p.detach().clone())
    return seen


def make(module, name, values, arguments):
    """An optimiser of these."""
    getattr(module, name)([torch.nn.Parameter(x) for x in values], **arguments)


def clip(module, gradients, max_norm):
    """(the norm, the gradients afterwards), the parameters coming from a generator."""
    params = [torch.nn.Parameter(torch.zeros(3 if g is None else g.shape, dtype=torch.float64)) for g in gradients]
    for p, gradient in zip(params, gradients):
        p.grad = None if gradient is None else gradient.clone()
    norm = float(module.clip_grad_norm((p for p in params), max_norm))
    return norm, [p.grad for p in params]


def batches(module, data, batch_size, context_length, seed, n=1):
    """n batches from one generator."""
    generator = torch.Generator().manual_seed(seed)
    return [module.get_batch(data, batch_size, context_length, generator) for _ in range(n)]


def vocabulary(module, text, encode=(), decode=()):
    """What a vocabulary of the text answers."""
    own = module.CharVocabulary(text)
    return len(own), own.chars, [own.encode(x) for x in encode], [own.decode(x) for x in decode]


def with_bigrams(module, task, **options):
    """One of the tasks below. A scenario travels alone, so the model and whatever else they share is within it."""
    import io
    import os
    import sys
    import tempfile

    class Bigrams(torch.nn.Module):
        """A language model that looks at the last token only, with dropout; it notes what it learns from."""

        def __init__(self, vocab, dropout=0.0, stop_at=None):
            super().__init__()
            generator = torch.Generator().manual_seed(vocab)
            self.table = torch.nn.Parameter(torch.randn(vocab, vocab, generator=generator, dtype=torch.float64))
            self.dropout = torch.nn.Dropout(dropout)
            self.stop_at, self.training_shapes = stop_at, []

        def forward(self, ids, targets=None):
            if self.training:
                if len(self.training_shapes) == self.stop_at:
                    raise KeyboardInterrupt
                self.training_shapes.append(tuple(ids.shape))
            logits = self.dropout(self.table[ids])
            if targets is None:
                return logits, None
            return logits, -logits.log_softmax(-1).gather(-1, targets[..., None]).mean()

    class Program:
        """Unpickling it makes a folder: it could as well do anything else."""

        def __init__(self, path):
            self.path = path

        def __reduce__(self):
            return os.mkdir, (self.path,)

    def folder():
        return tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR"))

    def run(seed, lr):
        """A model, an optimiser and a generator, and a function that makes n steps with them."""
        torch.manual_seed(seed)
        model, generator = Bigrams(5, dropout=0.5), torch.Generator().manual_seed(seed)
        optimizer = module.AdamW(model.parameters(), lr=lr)

        def steps(n):
            losses = []
            for _ in range(n):
                ids = torch.randint(5, (2, 3), generator=generator)
                loss = model(ids, ids.flip(1))[1]
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                losses.append(loss.item())
            return losses

        steps(3)
        return model, optimizer, generator, steps

    def raises(function, *arguments):
        """Whether a call raises an error."""
        try:
            function(*arguments)
        except NotImplementedError:
            raise
        except Exception:
            return True
        return False

    def resume():
        """Losses of a run after it was saved, of another one after loading, and the progress."""
        with folder() as home:
            path = os.path.join(home, "run.pt")
            model, optimizer, generator, steps = run(1, lr=0.1)
            module.save_checkpoint(path, model, optimizer, generator, {"step": 3, "losses": [0.1, 0.2]})
            expected = steps(3)
            model, optimizer, generator, steps = run(2, lr=0.5)
            progress = module.load_checkpoint(path, model, optimizer, generator)
            return expected, steps(3), progress

    def save():
        """The files in the folder after a save, after another one, and after one that cannot work; whether that one raised an
        error; whether the file is then still the second one; what who had opened the first one reads; the losses that follow."""
        with folder() as home:
            path = os.path.join(home, "run.pt")
            model, optimizer, generator, steps = run(1, lr=0.1)
            module.save_checkpoint(path, model, optimizer, generator, {"step": 3})
            listings = [os.listdir(home)]
            with open(path, "rb") as reader, open(path, "rb") as early:
                first = early.read()
                losses = steps(2)
                module.save_checkpoint(path, model, optimizer, generator, {"step": 5})
                listings.append(os.listdir(home))
                old_is_whole = reader.read() == first
            with open(path, "rb") as file:
                second = file.read()
            bad = {"step": 6, "not data": lambda: None}
            raised = raises(module.save_checkpoint, path, model, optimizer, generator, bad)
            listings.append(os.listdir(home))
            with open(path, "rb") as file:
                still_there = file.read() == second
            return listings, raised, still_there, old_is_whole, losses + steps(1), run(1, lr=0.1)[3](3)

    def load_a_program():
        """Whether loading a file with a program in it was an error, and whether the program ran."""
        with folder() as home:
            path, trace = os.path.join(home, "run.pt"), os.path.join(home, "trace")
            torch.save({"model": Program(trace)}, path)
            return raises(module.load_checkpoint, path, Bigrams(3)), os.path.exists(trace)

    def table():
        """The weights of a model of five tokens."""
        return Bigrams(5).table.detach()

    def evaluate(data, batch_size, context_length):
        """The loss of a model with dropout, and the model's modes afterwards."""
        model = Bigrams(5, dropout=0.5)
        model.dropout.eval()
        value = module.evaluate(model, data, batch_size, context_length)
        return value, [part.training for part in model.modules()]

    def train(config, dropout=0.0, terminal=False):
        """A run on a text of five tokens that follow each other in a circle: history, shapes, weights, what was printed."""
        data, streams, before = torch.arange(60) % 5, (io.StringIO(), io.StringIO()), (sys.stdout, sys.stderr)
        torch.manual_seed(0)
        model = Bigrams(5, dropout).eval()
        for stream in streams:
            stream.isatty = lambda: terminal
        sys.stdout, sys.stderr = streams
        try:
            history = module.train(model, (data, data[:21]), module.TrainConfig(**config))
        finally:
            sys.stdout, sys.stderr = before
        return history, model.training_shapes, model.table.detach(), [len(stream.getvalue()) for stream in streams]

    def break_off_and_go_on(config):
        """The history of a run that breaks off in its sixth step and is begun again, the steps that were left, the weights."""
        data = torch.arange(60) % 5
        with folder() as home:
            config = module.TrainConfig(**config, checkpoint_path=os.path.join(home, "run.pt"))
            torch.manual_seed(0)
            try:
                module.train(Bigrams(5, 0.5, stop_at=5), (data, data[:21]), config)
            except KeyboardInterrupt:
                pass
            torch.manual_seed(1)
            model = Bigrams(5, 0.5)
            history = module.train(model, (data, data[:21]), config)
            return history, len(model.training_shapes), model.table.detach()

    return locals()[task](**options)


# Shared by several exercises


def ids(seed, high, *shape):
    """Random tokens."""
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed + 1))


def pytorchs_loss(logits, targets):
    """The oracle."""
    return torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def tensors(seed, *shapes):
    """One for each shape."""
    generator = torch.Generator().manual_seed(seed)
    return [normal(generator, *shape) for shape in shapes]


def steps(seed, n, *shapes):
    """n lists of gradients."""
    return [tensors(seed + i, *shapes) for i in range(n)]


# cross_entropy, cross_entropy_gradient


@exercise("cross_entropy")
def test_the_loss_of_two_rows(student):
    """Probabilities 1/2 and 1/4 of the targets: the mean of log 2 and log 4."""
    logits = torch.tensor([[1.0, 2.0, 1.0], [1.0, 1.0, 2.0]]).log()
    expected = torch.tensor((math.log(2) + math.log(4)) / 2)
    hint = "log-softmax over the last dimension, the target's entry, minus, mean"
    assert_close(student.cross_entropy(logits, torch.tensor([1, 0])), expected, what="the loss", hint=hint)


@exercise("cross_entropy")
@settings(max_examples=10)
@given(lead=leading_shapes(4, 2), vocab=sizes(1, 9), seed=seeds())
def test_the_loss_agrees_with_pytorchs(student, lead, vocab, seed):
    """Over all leading dimensions, for large logits too; its gradient flows."""
    logits, targets = normal(seed, *lead, vocab), ids(seed, vocab, *lead)
    for x in (logits, logits * 1000):
        assert_close(student.cross_entropy(x, targets), pytorchs_loss(x, targets), what="the loss")
    assert_inputs_untouched(student)
    x = logits.clone().requires_grad_()
    pytorchs_loss(x, targets).backward()
    assert_close(student.run(backward, logits, targets), x.grad, what="the gradient", hint="no detach, no item")


@exercise("cross_entropy")
def test_the_loss_of_logits_in_half_precision(student):
    """Logits of 200 and more in bfloat16 are whole numbers, and a loss is not."""
    logits = torch.tensor([[200.0, 201.0], [201.0, 201.0]], dtype=torch.bfloat16)
    expected = pytorchs_loss(logits.float(), torch.tensor([0, 1])).bfloat16()
    hint = "compute in float32, and round the result"
    assert_close(student.cross_entropy(logits, torch.tensor([0, 1])), expected, what="the loss", hint=hint, rtol=8e-3)


@exercise("cross_entropy")
def test_the_loss_refuses_targets_that_do_not_fit(student):
    """Another shape; an id that is none."""
    assert_refused(student.cross_entropy, torch.zeros(2, 3, 5), ids(1, 5, 3, 2), why="targets should have shape (2, 3)")
    assert_refused(student.cross_entropy, torch.zeros(2, 5), torch.tensor([0, -100]), why="-100 is no id")


@exercise("cross_entropy_gradient")
def test_predicted_less_observed(student):
    """Two rows, so each of them counts one half."""
    logits = torch.tensor([[1.0, 2.0, 1.0], [1.0, 1.0, 2.0]]).log()
    expected = torch.tensor([[0.25, -0.5, 0.25], [-0.75, 0.25, 0.5]]) / 2
    hint = "(softmax - one-hot) / number of targets"
    assert_close(student.cross_entropy_gradient(logits, torch.tensor([1, 0])), expected, what="the gradient", hint=hint)


@exercise("cross_entropy_gradient")
@settings(max_examples=10)
@given(lead=leading_shapes(4, 2), vocab=sizes(1, 9), seed=seeds())
def test_the_closed_form_agrees_with_autograd(student, lead, vocab, seed):
    """Over all leading dimensions."""
    logits, targets = normal(seed, *lead, vocab), ids(seed, vocab, *lead)
    x = logits.clone().requires_grad_()
    pytorchs_loss(x, targets).backward()
    assert_close(student.cross_entropy_gradient(logits, targets), x.grad, what="the gradient")
    assert_inputs_untouched(student)


@exercise("cross_entropy_gradient")
def test_the_gradient_refuses_targets_that_do_not_fit(student):
    """As the loss does."""
    assert_refused(student.cross_entropy_gradient, torch.zeros(2, 5), torch.tensor([0, 5]), why="ids go from 0 to 4")


# SGD, AdamW


@exercise("SGD")
def test_two_steps_of_sgd_by_hand(student):
    """Gradient 1 twice: the velocity is 1, then 1.5."""
    seen = student.run(optimise, "SGD", [torch.tensor([10.0])], [[torch.tensor([1.0])]] * 2, lr=1.0, momentum=0.5)
    assert_close(seen, [[torch.tensor([9.0])], [torch.tensor([7.5])]], what="p after each step", hint="v = momentum * v + g")


@exercise("SGD")
@settings(max_examples=2)
@given(seed=seeds())
def test_sgd_agrees_with_pytorchs(student, seed):
    """Five steps, with and without momentum, with a learning rate that changes."""
    shapes = ((3,), (2, 2))
    for arguments in ({"lr": 0.1}, {"lr": 0.1, "momentum": 0.9}):
        for lrs in ((), (0.1, 0.5, 0.01, 0.3, 0.2)):
            values, gradients = tensors(seed, *shapes), steps(seed + 1, 5, *shapes)
            actual = student.run(optimise, "SGD", values, gradients, lrs, **arguments)
            expected = optimise(torch.optim, "SGD", values, gradients, lrs, **arguments)
            assert_close(actual, expected, what=f"the parameters after each step with {arguments}, lr {lrs or 'fixed'}")


@exercise("SGD")
def test_sgd_skips_what_has_no_gradient_and_leaves_gradients_alone(student):
    """zero_grad leaves None; a parameter without a gradient does not move."""
    gradients = [[torch.ones(2), None], [None, torch.ones(2)], [torch.ones(2)] * 2]
    actual = student.run(optimise, "SGD", [torch.ones(2)] * 2, gradients, lr=0.1, momentum=0.9)
    expected = optimise(torch.optim, "SGD", [torch.ones(2)] * 2, gradients, lr=0.1, momentum=0.9)
    assert_close(actual, expected, what="the parameters after each step")
    seen = student.run(gradients_after, "SGD")
    assert_equal(seen, (torch.tensor([1.0, 2.0]), None), what="the gradient (after step, after zero_grad)")


@exercise("SGD")
def test_sgd_can_go_back_and_refuses_nonsense(student):
    """Steps four and five, after going back, are steps two and three."""
    seen = student.run(go_back, "SGD")
    assert_equal(seen[3:], seen[1:3], what="the same two steps again", hint="state_dict is a copy")
    sgd = called("SGD", lambda values, **arguments: student.run(make, "SGD", values, arguments))
    assert_refused(sgd, [], lr=0.1, why="there are no parameters")
    assert_refused(sgd, [torch.ones(1)], lr=-1.0, why="lr is negative")
    assert_refused(sgd, [torch.ones(1)], lr=0.1, momentum=1.0, why="momentum is not below 1")


@exercise("AdamW")
def test_the_first_step_of_adamw_has_the_length_of_the_learning_rate(student):
    """Whatever the gradient is: that is what the correction of the means is for."""
    values, gradients = [torch.zeros(3)], [[torch.tensor([1e-3, -1.0, 1e3])]]
    seen = student.run(optimise, "AdamW", values, gradients, lr=0.1)
    hint = "m / (1 - beta_1 ** t) and s / (1 - beta_2 ** t), with t = 1 at the first step"
    assert_close(seen[0][0], torch.tensor([-0.1, 0.1, -0.1]), what="p after one step", hint=hint, rtol=2e-5)


@exercise("AdamW")
@settings(max_examples=2)
@given(seed=seeds())
def test_adamw_agrees_with_pytorchs(student, seed):
    """Ten steps, with large decay, large eps, other betas, a learning rate that changes, and defaults."""
    shapes = ((3,), (2, 2))
    for arguments in ({}, {"lr": 0.1, "weight_decay": 0.9}, {"lr": 0.1, "eps": 0.3}, {"lr": 0.1, "betas": (0.5, 0.8)}):
        for lrs in ((), [0.1, 0.3] * 5):
            values, gradients = tensors(seed, *shapes), steps(seed + 1, 10, *shapes)
            actual = student.run(optimise, "AdamW", values, gradients, lrs, **arguments)
            expected = optimise(torch.optim, "AdamW", values, gradients, lrs, **arguments)
            what = f"the parameters after each step with {arguments or 'defaults'}, lr {lrs or 'fixed'}"
            assert_close(actual, expected, what=what, hint="decay, then the step; eps after the root")


@exercise("AdamW")
def test_adamw_skips_what_has_no_gradient_and_leaves_gradients_alone(student):
    """No decay either; each parameter counts its own steps."""
    gradients = [[torch.ones(2), None], [None, torch.ones(2)], [torch.ones(2) * 2] * 2]
    arguments = {"lr": 0.1, "weight_decay": 0.5}
    actual = student.run(optimise, "AdamW", [torch.ones(2)] * 2, gradients, **arguments)
    expected = optimise(torch.optim, "AdamW", [torch.ones(2)] * 2, gradients, **arguments)
    assert_close(actual, expected, what="the parameters after each step", hint="a count of steps for each parameter")
    seen = student.run(gradients_after, "AdamW")
    assert_equal(seen, (torch.tensor([1.0, 2.0]), None), what="the gradient (after step, after zero_grad)")


@exercise("AdamW")
def test_adamw_can_go_back_and_refuses_nonsense(student):
    """Steps four and five, after going back, are steps two and three."""
    seen = student.run(go_back, "AdamW")
    assert_equal(seen[3:], seen[1:3], what="the same two steps again", hint="means and counts of steps are state; copy them")
    one = [torch.ones(1)]
    adamw = called("AdamW", lambda values, **arguments: student.run(make, "AdamW", values, arguments))
    assert_refused(adamw, [], why="there are no parameters")
    assert_refused(adamw, one, lr=-1.0, why="lr is negative")
    assert_refused(adamw, one, eps=-1.0, why="eps is negative")
    assert_refused(adamw, one, betas=(0.9, 1.0), why="a beta is not below 1")


# clip_grad_norm, cosine_schedule


@exercise("clip_grad_norm")
def test_a_gradient_of_3_and_4_is_5_long(student):
    """Two parameters of one number each: together (3, 4)."""
    gradients = [torch.tensor(3.0, dtype=torch.float64), torch.tensor([4.0], dtype=torch.float64), None]
    norm, clipped = student.run(clip, gradients, 1.0)
    assert_close(norm, 5.0, what="the norm")
    wanted = [gradients[0] / 5, gradients[1] / 5, None]
    assert_close(clipped, wanted, what="the gradients, clipped to 1", hint="one factor for all of them", rtol=1e-6)
    norm, clipped = student.run(clip, gradients, 6.0)
    assert_equal(clipped, gradients, what="the gradients, clipped to 6", hint="short ones stay as they are")


@exercise("clip_grad_norm")
@settings(max_examples=6)
@given(seed=seeds(), n=sizes(1, 4))
def test_clipping_agrees_with_pytorchs(student, seed, n):
    """Parameters come from a generator, which can be read once."""
    gradients = tensors(seed, *[(i + 1, 2) for i in range(n)])
    norm, clipped = student.run(clip, gradients, 0.5)
    params = [torch.nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for p, gradient in zip(params, gradients):
        p.grad = gradient.clone()
    expected = torch.nn.utils.clip_grad_norm_(params, 0.5).item()
    assert_close(norm, expected, what="the norm", rtol=1e-6)
    assert_close(clipped, [p.grad for p in params], what="the gradients", hint="make a list first", rtol=4e-6)


@exercise("clip_grad_norm")
def test_nothing_to_clip(student):
    """Zeros stay zeros, no gradients have norm 0, a negative max_norm is refused."""
    zeros = [torch.zeros(3, dtype=torch.float64)]
    assert_equal(student.run(clip, zeros, 0.0), (0.0, zeros), what="(norm, gradients) of zeros", hint="no 0 / 0")
    assert_equal(student.run(clip, [None], 1.0), (0.0, [None]), what="(norm, gradients) of no gradient")
    clip_grad_norm = called("clip_grad_norm", lambda **max_norm: student.run(clip, zeros, **max_norm)[0])
    assert_refused(clip_grad_norm, max_norm=-1.0, why="max_norm is negative")


@exercise("cosine_schedule")
def test_the_schedule_of_a_run_of_eight_steps(student):
    """Three of them warm-up; then from 1 down to 0.2."""
    expected = [0.25, 0.5, 0.75, 1.0, 0.92360679775, 0.72360679775, 0.47639320225, 0.27639320225, 0.2, 0.2]
    actual = [student.cosine_schedule(step, 3, 8, 1.0, 0.2) for step in range(10)]
    hint = "(step + 1) / (warmup_steps + 1), then half a cosine over the steps that are left, then min_lr"
    assert_close(actual, expected, what="the rates of steps 0 to 9", hint=hint, rtol=1e-6)


@exercise("cosine_schedule")
@settings(max_examples=4)
@given(warmup=sizes(0, 5), more=sizes(0, 8))
def test_the_ends_of_the_stretches(student, warmup, more):
    """max_lr where the warm-up ends, min_lr at the end, the mean halfway; no division by 0 at any step."""
    total = warmup + more
    rates = [student.cosine_schedule(step, warmup, total, 1.0, 0.5) for step in range(total + 2)]
    assert_close(rates[total:], [0.5, 0.5], what=f"the rates at and after step {total}")
    if more:
        assert_close(rates[warmup], 1.0, what=f"the rate at step {warmup}")
    if more and more % 2 == 0:
        assert_close(rates[warmup + more // 2], 0.75, what="the rate halfway down")
    assert_refused(student.cosine_schedule, -1, warmup, total, 1.0, 0.5, why="the first step is step 0")
    assert_refused(student.cosine_schedule, 0, total + 1, total, 1.0, 0.5, why="the warm-up is longer than the run")


# get_batch, CharVocabulary


@exercise("get_batch")
@settings(max_examples=8)
@given(spare=sizes(0, 9), batch_size=sizes(1, 6), context_length=sizes(1, 6), seed=seeds())
def test_rows_are_pieces_of_the_text(student, spare, batch_size, context_length, seed):
    """In a text 0, 1, 2, ... every piece counts upwards, and y is x + 1."""
    data = torch.arange(context_length + 1 + spare)
    ((x, y),) = student.run(batches, data, batch_size, context_length, seed)
    expected = x[:, :1] + torch.arange(context_length)
    assert_equal(tuple(x.shape), (batch_size, context_length), what="the shape of x")
    assert_equal(x, expected, what="x", hint="a row is a piece of the text as it stands there")
    assert_equal(y, x + 1, what="y", hint="the same piece, one token further on")
    assert int(y.max()) < len(data) and int(x.min()) >= 0, "a piece goes beyond the text"


@exercise("get_batch")
def test_every_place_comes_up_and_the_generator_decides(student):
    """Four places, 200 rows; the same seed gives the same, the next call something else."""
    data = torch.arange(6)
    one, again = (student.run(batches, data, 200, 2, 7, 2) for _ in range(2))
    assert_equal(sorted(set(one[0][0][:, 0].tolist())), [0, 1, 2, 3], what="the places that come up in 200 rows")
    assert_equal(again, one, what="the batches from a generator of the same seed", hint="generator=generator")
    assert not torch.equal(one[0][0], one[1][0]), "two calls with one generator gave the same batch"


@exercise("get_batch")
def test_batches_of_bytes_are_int64_and_short_texts_are_refused(student):
    """A text may be uint8 to save memory; context_length + 1 tokens are the least."""
    ((x, y),) = student.run(batches, torch.arange(9, dtype=torch.uint8), 2, 8, 1)
    assert_equal((x.dtype, y.dtype), (torch.int64, torch.int64), what="the dtypes of x and y")
    get_batch = called("get_batch", lambda data, **sizes: student.run(batches, data, seed=1, **sizes)[0])
    why = "there is no target for the last token"
    assert_refused(get_batch, torch.arange(8), batch_size=2, context_length=8, why=why)


@exercise("CharVocabulary")
def test_the_vocabulary_of_a_word(student):
    """Sorted characters, ids from 0."""
    seen = student.run(vocabulary, "hello\n", ["hole\n"], [torch.tensor([1, 4, 3, 3, 2])])
    assert_equal(seen[:2], (5, "\nehlo"), what="(len, chars)", hint="sorted(set(text))")
    assert_equal(seen[2], [torch.tensor([2, 4, 3, 1, 0])], what="encode('hole\\n')")
    assert_equal(seen[3], ["eollh"], what="decode([1, 4, 3, 3, 2])")


@exercise("CharVocabulary")
def test_what_is_not_in_the_vocabulary_is_refused(student):
    """A character, an id that is too large, one that is negative; nothing at all is fine."""
    encode = called("CharVocabulary('abc').encode", lambda text: student.run(vocabulary, "abc", [text])[2][0])
    assert_refused(encode, "abcd", why="d is unknown")
    decode = called("CharVocabulary('abc').decode", lambda ids: student.run(vocabulary, "abc", [], [ids])[3][0])
    for bad in (3, -1):
        assert_refused(decode, torch.tensor([0, bad]), why="ids go from 0 to 2")
    nothing = torch.zeros(0, dtype=torch.int64)
    assert_equal(student.run(vocabulary, "abc", [""], [nothing])[2:], ([nothing], [""]), what="nothing, encoded and decoded")


# save_checkpoint, load_checkpoint


@exercise("save_checkpoint")
def test_a_checkpoint_replaces_the_one_before_in_one_piece(student):
    """Who has the old file open reads on in the old file; saving leaves nothing else in the folder, and the run as it was."""
    listings, _, _, old_is_whole, losses, undisturbed = student.run(with_bigrams, "save")
    assert_equal(listings[:2], [["run.pt"]] * 2, what="the files in the folder after each of two saves")
    hint = "write under another name beside it, then os.replace"
    assert_equal(old_is_whole, True, what="whether who had opened the first file could read on in it", hint=hint)
    assert_equal(losses, undisturbed, what="the losses of a run that is saved twice", hint="saving changes nothing")


@exercise("save_checkpoint")
def test_a_save_that_fails_leaves_the_old_checkpoint(student):
    """A function cannot be saved as plain data; the file from before is still there, and nothing else."""
    listings, raised, still_there, *_ = student.run(with_bigrams, "save")
    assert raised, "the save should have raised an error"
    hint = "write under another name, os.replace when it is complete, clear up in a finally"
    what = "(the files in the folder, whether the old one is whole)"
    assert_equal((listings[2], still_there), (["run.pt"], True), what=what, hint=hint)


@exercise("load_checkpoint")
def test_a_saved_run_goes_on_bit_for_bit(student):
    """In another model, with another optimiser, another generator and another global random state."""
    expected, actual, progress = student.run(with_bigrams, "resume")
    hint = "weights, optimiser, generator, and torch.get_rng_state(), from which dropout draws"
    assert_equal(actual, expected, what="the losses of three steps after loading", hint=hint)
    assert_equal(progress, {"step": 3, "losses": [0.1, 0.2]}, what="progress")


@exercise("load_checkpoint")
def test_loading_a_program_is_an_error_and_does_not_run_it(student):
    """Weights come from strangers."""
    seen = student.run(with_bigrams, "load_a_program")
    assert_equal(seen, (True, False), what="(an error was raised, the program ran)", hint="weights_only=True")


# evaluate, train


@exercise("evaluate")
@settings(max_examples=6)
@given(n=sizes(2, 30), batch_size=sizes(1, 4), context_length=sizes(1, 9), seed=seeds())
def test_every_token_but_the_first_counts_once(student, n, batch_size, context_length, seed):
    """For a model that looks at one token only, windows make no difference: the loss over the whole text."""
    data = ids(seed, 5, n)
    sizes_given = {"batch_size": batch_size, "context_length": context_length}
    value, modes = student.run(with_bigrams, "evaluate", data=data, **sizes_given)
    expected = pytorchs_loss(student.run(with_bigrams, "table")[data[:-1]], data[1:]).item()
    hint = "no dropout, all windows, the last one shorter, and each loss times its number of targets"
    assert_close(value, expected, what=f"the loss of {n} tokens in windows of {context_length}", hint=hint, rtol=2e-6)
    assert_equal(modes, [True, False], what="training modes afterwards", hint="put back each module's own mode")


@exercise("evaluate")
def test_a_text_of_one_token_is_refused(student):
    """There is nothing to predict in it."""
    one = {"data": torch.tensor([3]), "batch_size": 1, "context_length": 4}
    evaluate = called("evaluate", lambda **arguments: student.run(with_bigrams, "evaluate", **arguments))
    assert_refused(evaluate, **one, why="there is one token only")


CONFIG = {"context_length": 4, "n_steps": 8, "batch_size": 4, "eval_every": 4, "max_lr": 0.5, "min_lr": 0.1, "warmup_steps": 2}


@exercise("train")
def test_a_run_learns_what_follows_what(student):
    """In a circle of five tokens everything can be known; the history says how the run got there."""
    history, shapes, _, printed = student.run(with_bigrams, "train", config=CONFIG)
    assert_equal(sorted(history), ["grad_norm", "loss", "lr", "validation_loss", "validation_step"], what="the history's keys")
    assert_equal(shapes, [(4, 4)] * 8, what="the shapes that the model saw in training mode", hint="model.train()")
    assert_equal(history["validation_step"], [0, 4, 8], what="validation_step", hint="before step 0, every 4, after the last")
    assert_close(
        history["lr"][:3], [0.5 / 3, 1 / 3, 0.5], what="the first learning rates", hint="set optimizer.lr before the step"
    )
    before, _, after = history["validation_loss"]
    assert after < before - 0.5, f"the validation loss went from {before:.3f} to {after:.3f} only"
    assert_equal(printed, [0, 0], what="characters printed on (stdout, stderr) that are no terminals")


@exercise("train")
def test_passes_add_up_to_the_large_batch(student):
    """One pass of four sequences, two of two, four of one: the same run."""
    one, _, weights, _ = student.run(with_bigrams, "train", config=CONFIG)
    for n in (2, 4):
        history, shapes, same, _ = student.run(with_bigrams, "train", config=CONFIG | {"accumulation_steps": n})
        assert_equal(shapes, [(4 // n, 4)] * 8 * n, what=f"the shapes that the model saw with accumulation_steps={n}")
        hint = "each pass counts 1 / accumulation_steps; zero_grad, clip and step once for each batch"
        assert_close(history, one, what=f"the history with accumulation_steps={n}", hint=hint, rtol=2e-6)
        assert_close(same, weights, what=f"the weights with accumulation_steps={n}", hint=hint, rtol=1e-8)


@exercise("train")
def test_evaluating_more_often_changes_nothing(student):
    """Dropout's dice fall the same, to the last bit."""
    seldom, often = (student.run(with_bigrams, "train", config=CONFIG | {"eval_every": n}, dropout=0.5) for n in (100, 1))
    assert_equal(often[0]["loss"], seldom[0]["loss"], what="the losses of a run that is evaluated after every step")
    assert_equal(often[2], seldom[2], what="the weights")


@exercise("train")
def test_an_interrupted_run_goes_on_from_its_checkpoint(student):
    """Broken off in step 5, with a checkpoint every 2 steps: 4 are done, 4 are left."""
    config = CONFIG | {"checkpoint_every": 2}
    expected, _, weights, _ = student.run(with_bigrams, "train", config=config, dropout=0.5)
    history, n_left, same = student.run(with_bigrams, "break_off_and_go_on", config=config)
    assert_equal(n_left, 4, what="the steps that were left", hint="begin with the step that comes after the checkpoint's last")
    assert_equal(history, expected, what="the history in the end", hint="load history, weights, optimiser and generator")
    assert_equal(same, weights, what="the weights in the end")


@exercise("train")
def test_a_terminal_shows_a_progress_bar(student):
    """On stderr."""
    *_, (_, shown) = student.run(with_bigrams, "train", config=CONFIG, terminal=True)
    assert shown > 0, "sys.stderr.isatty() is True, and nothing was written to sys.stderr"
