"""Wrong solutions: each a mistake that is really made, with the sentence that its maker should read."""

from autograder.testing.variants import edit, mutant

PRE_NORM = """            x = x + self.attention(self.norm_1(x), mask=mask)
            return x + self.feed_forward(self.norm_2(x))
"""
POST_NORM = """        x = self.norm_1(x + self.attention(x, mask=mask))
        return self.norm_2(x + self.feed_forward(x))
"""

MUTANTS = [
    # gelu
    edit(
        "root_two_forgotten",
        "gelu",
        "This is what you get with erf(x): the normal distribution's integral is erf(x / sqrt(2)).",
        ("torch.erf(x / math.sqrt(2))", "torch.erf(x)"),
    ),
    edit(
        "half_forgotten",
        "gelu",
        "The exact form lacks its factor 1/2: for large x GELU is x, not 2x.",
        ("0.5 * x * (1 + torch.erf", "x * (1 + torch.erf"),
    ),
    edit(
        "tanh_is_the_default",
        "gelu",
        'Without a second argument GELU is exact; the tanh form is for approximate="tanh".',
        ('approximate: str = "none"', 'approximate: str = "tanh"'),
    ),
    edit(
        "always_exact",
        "gelu",
        'approximate="tanh" gives the exact form: GPT-2\'s weights were trained with the approximation, which differs.',
        (
            '"tanh":\n        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))',
            '"tanh":\n        return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))',
        ),
    ),
    edit(
        "cubic_constant_misread",
        "gelu",
        "The constant of the cubic term is 0.044715, not 0.44715.",
        ("x + 0.044715 * x**3", "x + 0.44715 * x**3"),
    ),
    edit(
        "square_for_cube",
        "gelu",
        "The tanh form has x³; with x² it is not symmetric, and negative inputs come out wrong.",
        ("x**3", "x**2"),
    ),
    edit(
        "root_of_two_over_pi_without_root",
        "gelu",
        "The tanh form multiplies by sqrt(2 / pi), not by 2 / pi.",
        ("math.sqrt(2 / math.pi)", "(2 / math.pi)"),
    ),
    edit(
        "unknown_mode_taken_for_tanh",
        "gelu",
        'A misspelt `approximate` must be refused; here everything but "none" is taken for "tanh".',
        ('if approximate == "tanh":', "if True:"),
    ),
    edit(
        "computed_in_float64_and_left_there",
        "gelu",
        "The result has another dtype than x: cast it back, or never leave x's dtype.",
        (
            "0.5 * x * (1 + torch.erf(x / math.sqrt(2)))",
            "0.5 * x.double() * (1 + torch.erf(x.double() / math.sqrt(2)))",
        ),
    ),
    edit(
        "tanh_by_exponentials",
        "gelu",
        "tanh written with exp() overflows for large inputs and gives NaN: torch.tanh does not.",
        (
            '    if approximate == "tanh":\n'
            "        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))",
            '    if approximate == "tanh":\n'
            "        z = (2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)).exp()\n"
            "        return x * z / (z + 1)",
        ),
    ),
    edit(
        "gradient_cut_by_data",
        "gelu",
        "A part of the gradient is missing: something in the calculation is detached from the graph.",
        ("0.5 * x * (1 + torch.erf(x / math.sqrt(2)))", "0.5 * x * (1 + torch.erf(x.detach() / math.sqrt(2)))"),
    ),
    edit(
        "written_into_its_input",
        "gelu",
        "GELU writes into x: the caller's tensor is changed.",
        (
            "return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))",
            "x *= 0.5 * (1 + torch.erf(x / math.sqrt(2)))\n        return x",
        ),
    ),
    # LayerNorm
    edit(
        "unbiased_variance",
        "LayerNorm",
        "The variance divides by d_model - 1, as torch.var does by default: layer norm divides by d_model.",
        ("centred.square().mean(-1, keepdim=True)", "centred.square().sum(-1, keepdim=True) / (z.shape[-1] - 1)"),
    ),
    edit(
        "eps_outside_the_root",
        "LayerNorm",
        "eps is added to the standard deviation: it belongs to the variance, under the root.",
        ("centred * torch.rsqrt(variance + self.eps)", "centred / (variance.sqrt() + self.eps)"),
    ),
    edit(
        "eps_ignored",
        "LayerNorm",
        "The eps given is not used: the constructor's argument must reach the root.",
        ("self.eps = eps", "self.eps = 1e-5"),
    ),
    edit(
        "eps_default_of_rms_norm",
        "LayerNorm",
        "The default eps of layer norm is 1e-5.",
        ("eps: float = 1e-5", "eps: float = 1e-6"),
    ),
    edit(
        "eps_left_out",
        "LayerNorm",
        "Without eps a constant row is divided by zero.",
        ("torch.rsqrt(variance + self.eps)", "torch.rsqrt(variance)"),
    ),
    edit(
        "eps_is_a_floor",
        "LayerNorm",
        "eps is the least variance here: it is added to every variance, large or small.",
        ("torch.rsqrt(variance + self.eps)", "torch.rsqrt(variance.clamp(min=self.eps))"),
    ),
    edit(
        "mean_not_subtracted",
        "LayerNorm",
        "The mean is not subtracted: that would be RMS norm.",
        ("normal = centred *", "normal = z *"),
    ),
    edit(
        "root_forgotten",
        "LayerNorm",
        "Divide by the standard deviation, not by the variance: the root is missing.",
        ("centred * torch.rsqrt(variance + self.eps)", "centred / (variance + self.eps)"),
    ),
    edit(
        "normalised_over_everything",
        "LayerNorm",
        "Mean and variance run over all dimensions: each vector of the last dimension has its own.",
        ("z.mean(-1, keepdim=True)", "z.mean()"),
        ("centred.square().mean(-1, keepdim=True)", "centred.square().mean()"),
    ),
    edit(
        "normalised_over_positions",
        "LayerNorm",
        "Mean and variance run over the positions: that mixes vectors, and the future leaks into the past.",
        ("z.mean(-1, keepdim=True)", "z.mean(-2 if z.ndim > 1 else -1, keepdim=True)"),
        ("centred.square().mean(-1, keepdim=True)", "centred.square().mean(-2 if z.ndim > 1 else -1, keepdim=True)"),
    ),
    edit(
        "variance_in_one_pass",
        "LayerNorm",
        "mean(x²) - mean(x)² loses all digits when x is far from zero: subtract the mean first, then square.",
        (
            "centred.square().mean(-1, keepdim=True)",
            "(z.square().mean(-1, keepdim=True) - z.mean(-1, keepdim=True).square()).clamp(min=0)",
        ),
    ),
    edit(
        "bias_forgotten",
        "LayerNorm",
        "The bias is not added.",
        ("(normal * self.weight + self.bias)", "(normal * self.weight + 0 * self.bias)"),
    ),
    edit(
        "weight_scales_the_bias",
        "LayerNorm",
        "The weight multiplies the bias as well: scale first, shift afterwards.",
        ("(normal * self.weight + self.bias)", "((normal + self.bias) * self.weight)"),
    ),
    edit(
        "weight_starts_at_zero",
        "LayerNorm",
        "The weight starts at zero: a new layer norm would give nothing but zeros.",
        ("torch.ones(d_model)", "torch.zeros(d_model)"),
    ),
    edit(
        "parameters_are_plain_tensors",
        "LayerNorm",
        "weight and bias are plain tensors: nn.Parameter makes the optimiser and the state dict see them.",
        ("nn.Parameter(torch.ones(d_model))", "torch.ones(d_model)"),
        ("nn.Parameter(torch.zeros(d_model))", "torch.zeros(d_model)"),
    ),
    edit(
        "half_precision_squares",
        "LayerNorm",
        "The squares are taken in half precision, where they overflow: normalise in float32.",
        ("x.float() if x.dtype in HALF else x", "x"),
    ),
    edit(
        "float32_comes_back",
        "LayerNorm",
        "A half-precision input comes back as float32: cast the result to x's dtype.",
        ("(normal * self.weight + self.bias).to(x.dtype)", "(normal * self.weight + self.bias)"),
    ),
    edit(
        "everything_in_float32",
        "LayerNorm",
        "A float64 input is squeezed through float32: only half precision needs another dtype.",
        ("x.float() if x.dtype in HALF else x", "x.float()"),
    ),
    edit(
        "statistics_detached",
        "LayerNorm",
        "Mean and variance are detached: the gradient by x lacks the part that flows through them.",
        ("torch.rsqrt(variance + self.eps)", "torch.rsqrt(variance + self.eps).detach()"),
    ),
    edit(
        "centred_in_place",
        "LayerNorm",
        "x is centred in place: the caller's tensor is changed.",
        ("centred = z - z.mean(-1, keepdim=True)", "centred = z\n        centred -= z.mean(-1, keepdim=True)"),
    ),
    edit(
        "other_widths_broadcast",
        "LayerNorm",
        "An x of another width must be refused: a last dimension of 1 broadcasts without a word.",
        ("if x.shape[-1:] != self.weight.shape:", "if x.ndim == 0:"),
    ),
    edit(
        "squares_summed",
        "LayerNorm",
        "The squares are summed: the variance is their mean.",
        ("centred.square().mean(", "centred.square().sum("),
    ),
    # layer_norm_backward
    edit(
        "gradients_in_another_order",
        "layer_norm_backward",
        "The gradients come in another order: dx is the first, then dweight, then dbias.",
        (
            "return dx, (grad_output * normal).reshape(-1, d).sum(0), grad_output.reshape(-1, d).sum(0)",
            "return (grad_output * normal).reshape(-1, d).sum(0), grad_output.reshape(-1, d).sum(0), dx",
        ),
    ),
    edit(
        "variance_term_missing",
        "layer_norm_backward",
        "The term that comes from the variance is missing: x also moves the standard deviation.",
        (" - normal * (g * normal).mean(-1, keepdim=True))", ")"),
    ),
    edit(
        "mean_term_missing",
        "layer_norm_backward",
        "The term that comes from the mean is missing: x also moves the mean.",
        ("(g - g.mean(-1, keepdim=True) - normal", "(g - normal"),
    ),
    edit(
        "statistics_taken_for_constants",
        "layer_norm_backward",
        "Mean and variance are treated as constants: both depend on every entry of x.",
        (
            "inverse_std * (g - g.mean(-1, keepdim=True) - normal * (g * normal).mean(-1, keepdim=True))",
            "inverse_std * g",
        ),
    ),
    edit(
        "weight_left_out_of_dx",
        "layer_norm_backward",
        "dx does not know the weight: what reaches x̂ is grad_output * weight.",
        ("g = grad_output * weight", "g = grad_output"),
    ),
    edit(
        "weight_multiplied_at_the_end",
        "layer_norm_backward",
        "The weight multiplies dx at the end: it belongs to the gradient before the means are taken.",
        ("g = grad_output * weight", "g = grad_output"),
        ("return dx,", "return dx * weight,"),
    ),
    edit(
        "not_divided_by_the_deviation",
        "layer_norm_backward",
        "dx is not divided by the standard deviation.",
        ("dx = inverse_std * (", "dx = ("),
    ),
    edit(
        "unbiased_variance_backward",
        "layer_norm_backward",
        "The variance divides by d - 1: layer norm divides by d.",
        (
            "centred.square().mean(-1, keepdim=True)",
            "(centred.square().sum(-1, keepdim=True) / max(x.shape[-1] - 1, 1))",
        ),
    ),
    edit(
        "eps_left_out_backward",
        "layer_norm_backward",
        "eps is missing under the root: constant rows give NaN.",
        (".mean(-1, keepdim=True) + eps)", ".mean(-1, keepdim=True))"),
    ),
    edit(
        "eps_fixed_backward",
        "layer_norm_backward",
        "The eps given is not used.",
        (".mean(-1, keepdim=True) + eps)", ".mean(-1, keepdim=True) + 1e-5)"),
    ),
    edit(
        "variance_in_one_pass_backward",
        "layer_norm_backward",
        "mean(x²) - mean(x)² loses all digits when x is far from zero: subtract the mean first, then square.",
        (
            "centred.square().mean(-1, keepdim=True)",
            "(x.square().mean(-1, keepdim=True) - x.mean(-1, keepdim=True).square()).clamp(min=0)",
        ),
    ),
    edit(
        "dweight_uses_x",
        "layer_norm_backward",
        "dweight multiplies grad_output by x: what the weight scales is the normalised x.",
        ("(grad_output * normal).reshape(-1, d)", "(grad_output * x).reshape(-1, d)"),
    ),
    edit(
        "dweight_uses_the_weighted_gradient",
        "layer_norm_backward",
        "dweight contains the weight: y depends on the weight through x̂ alone.",
        ("(grad_output * normal).reshape", "(g * normal).reshape"),
    ),
    edit(
        "dbias_contains_the_weight",
        "layer_norm_backward",
        "dbias contains the weight: the bias is added after the scaling.",
        ("grad_output.reshape(-1, d).sum(0)", "g.reshape(-1, d).sum(0)"),
    ),
    edit(
        "parameters_averaged",
        "layer_norm_backward",
        "dweight and dbias are means: every vector that shares a parameter adds to its gradient.",
        ("(grad_output * normal).reshape(-1, d).sum(0)", "(grad_output * normal).reshape(-1, d).mean(0)"),
        (", grad_output.reshape(-1, d).sum(0)", ", grad_output.reshape(-1, d).mean(0)"),
    ),
    edit(
        "summed_over_the_batch_only",
        "layer_norm_backward",
        "dweight and dbias are summed over the first dimension only: all leading dimensions share the parameters.",
        ("(grad_output * normal).reshape(-1, d).sum(0)", "(grad_output * normal).sum(0)"),
        (", grad_output.reshape(-1, d).sum(0)", ", grad_output.sum(0)"),
    ),
    edit(
        "single_vector_summed_away",
        "layer_norm_backward",
        "For a single vector dweight and dbias come out as one number: sum(dim=()) sums over everything.",
        ("(grad_output * normal).reshape(-1, d).sum(0)", "(grad_output * normal).sum(tuple(range(x.ndim - 1)))"),
        (", grad_output.reshape(-1, d).sum(0)", ", grad_output.sum(tuple(range(x.ndim - 1)))"),
    ),
    edit(
        "gradient_scaled_in_place",
        "layer_norm_backward",
        "grad_output is scaled in place: the caller's gradient is changed.",
        ("g = grad_output * weight", "g, grad_output = grad_output.mul_(weight), grad_output.clone() / weight"),
    ),
    edit(
        "backward_in_float64",
        "layer_norm_backward",
        "float32 inputs give float64 gradients: keep x's dtype.",
        ("centred = x - x.mean(-1, keepdim=True)", "centred = x.double() - x.double().mean(-1, keepdim=True)"),
    ),
    # RMSNorm
    edit(
        "rms_of_centred_values",
        "RMSNorm",
        "The mean is subtracted: RMS norm leaves the mean where it is.",
        (
            "z = x.float() if x.dtype in HALF else x",
            "z = x.float() if x.dtype in HALF else x\n        z = z - z.mean(-1, keepdim=True)",
        ),
    ),
    edit(
        "rms_eps_outside_the_root",
        "RMSNorm",
        "eps is added to the root: it belongs under it.",
        (
            "z * torch.rsqrt(z.square().mean(-1, keepdim=True) + self.eps)",
            "z / (z.square().mean(-1, keepdim=True).sqrt() + self.eps)",
        ),
    ),
    edit(
        "eps_is_a_floor_of_rms",
        "RMSNorm",
        "eps is the least mean square here: it is added to every mean square, large or small.",
        (
            "torch.rsqrt(z.square().mean(-1, keepdim=True) + self.eps)",
            "torch.rsqrt(z.square().mean(-1, keepdim=True).clamp(min=self.eps))",
        ),
    ),
    edit(
        "rms_sum_for_mean",
        "RMSNorm",
        "The squares are summed: divide by the root of their mean, or the size depends on d_model.",
        ("z.square().mean(", "z.square().sum("),
    ),
    edit(
        "rms_eps_ignored",
        "RMSNorm",
        "The eps given is not used.",
        ("self.eps = eps", "self.eps = 1e-6"),
    ),
    edit(
        "rms_eps_default_of_layer_norm",
        "RMSNorm",
        "The default eps of RMS norm is 1e-6.",
        ("eps: float = 1e-6", "eps: float = 1e-5"),
    ),
    edit(
        "rms_root_forgotten",
        "RMSNorm",
        "Divide by the root of the mean square, not by the mean square.",
        (
            "z * torch.rsqrt(z.square().mean(-1, keepdim=True) + self.eps)",
            "z / (z.square().mean(-1, keepdim=True) + self.eps)",
        ),
    ),
    edit(
        "rms_weight_unused",
        "RMSNorm",
        "The weight is not used.",
        ("(normal * self.weight)", "(normal + 0 * self.weight)"),
    ),
    edit(
        "rms_with_a_bias",
        "RMSNorm",
        "RMS norm has no bias.",
        ("self.eps = eps", "self.eps = eps\n        self.bias = nn.Parameter(torch.zeros(d_model))"),
    ),
    edit(
        "rms_in_half_precision",
        "RMSNorm",
        "The squares are taken in half precision, where they overflow: normalise in float32.",
        ("x.float() if x.dtype in HALF else x", "x"),
    ),
    edit(
        "rms_float32_comes_back",
        "RMSNorm",
        "A half-precision input comes back as float32: cast the result to x's dtype.",
        ("return (normal * self.weight).to(x.dtype)", "return normal * self.weight"),
    ),
    edit(
        "rms_over_the_positions",
        "RMSNorm",
        "The squares are averaged over the wrong dimension: each vector of the last dimension has its own size.",
        ("z.square().mean(-1, keepdim=True)", "z.square().mean(0, keepdim=True)"),
    ),
    edit(
        "rms_root_detached",
        "RMSNorm",
        "The root is detached: the gradient by x lacks the part that flows through it.",
        (
            "torch.rsqrt(z.square().mean(-1, keepdim=True) + self.eps)",
            "torch.rsqrt(z.square().mean(-1, keepdim=True) + self.eps).detach()",
        ),
    ),
    edit(
        "rms_scaled_in_place",
        "RMSNorm",
        "x is scaled in place: the caller's tensor is changed.",
        ("normal = z * torch.rsqrt", "normal = z\n        normal *= torch.rsqrt"),
    ),
    edit(
        "rms_other_widths_broadcast",
        "RMSNorm",
        "An x of another width must be refused: a last dimension of 1 broadcasts without a word.",
        ("if x.shape[-1:] != self.weight.shape:", "if x.ndim == 0:"),
    ),
    # FeedForward
    edit(
        "activation_forgotten",
        "FeedForward",
        "There is no activation between the layers: two linear layers in a row are one linear layer.",
        ("self.w_out(self.activation(self.w_in(x)))", "self.w_out(self.w_in(x))"),
    ),
    edit(
        "activation_at_the_end",
        "FeedForward",
        "The activation comes after the second layer: it belongs between the two.",
        ("self.w_out(self.activation(self.w_in(x)))", "self.activation(self.w_out(self.w_in(x)))"),
    ),
    edit(
        "activation_twice",
        "FeedForward",
        "The activation is applied after the second layer as well: the output should be free to be negative.",
        ("self.w_out(self.activation(self.w_in(x)))", "self.activation(self.w_out(self.activation(self.w_in(x))))"),
    ),
    edit(
        "relu_by_default",
        "FeedForward",
        "The default activation is GELU, not ReLU.",
        ('activation: str = "gelu"', 'activation: str = "relu"'),
    ),
    edit(
        "gelu_means_tanh",
        "FeedForward",
        '"gelu" is the exact form; GPT-2\'s approximation is called "gelu_tanh".',
        ('{"gelu": gelu,', '{"gelu": functools.partial(gelu, approximate="tanh"),'),
    ),
    edit(
        "gelu_tanh_means_exact",
        "FeedForward",
        '"gelu_tanh" gives the exact form: pass approximate="tanh" on.',
        ('functools.partial(gelu, approximate="tanh")', "gelu"),
    ),
    edit(
        "activation_ignored",
        "FeedForward",
        "The activation asked for is not used.",
        ("self.activation = activations[activation]", "self.activation = gelu"),
    ),
    edit(
        "activation_refused_only_when_used",
        "FeedForward",
        "A misspelt activation is refused in forward, long after the layer was built: refuse it in __init__.",
        ("        if activation not in activations:\n", "        if False:\n"),
        ("self.activation = activations[activation]", "self.activations, self.activation = activations, activation"),
        (
            "        return self.w_out(self.activation(self.w_in(x)))",
            "        if self.activation not in self.activations:\n            raise ValueError(self.activation)\n"
            "        return self.w_out(self.activations[self.activation](self.w_in(x)))",
        ),
    ),
    edit(
        "unknown_activation_becomes_gelu",
        "FeedForward",
        "A misspelt activation is taken for GELU without a word: raise ValueError.",
        ("if activation not in activations:", "if False:"),
        ("activations[activation]", "activations.get(activation, gelu)"),
    ),
    edit(
        "feed_forward_without_bias",
        "FeedForward",
        "The layers lack their biases: only SwiGLU goes without.",
        ("nn.Linear(d_model, d_ff)", "nn.Linear(d_model, d_ff, bias=False)"),
    ),
    edit(
        "residual_inside",
        "FeedForward",
        "x is added inside the feed-forward layer: the block does that.",
        ("return self.w_out(", "return x + self.w_out("),
    ),
    edit(
        "dropout_between",
        "FeedForward",
        "Something is dropped at random: this layer has no dropout.",
        ("self.w_out(self.activation(", "self.w_out(F.dropout(self.activation("),
        ("self.w_in(x)))", "self.w_in(x)), 0.1, self.training))"),
    ),
    # SwiGLU
    edit(
        "wrong_branch_bent",
        "SwiGLU",
        "silu bends w_in(x) instead of the gate w_gate(x).",
        ("F.silu(self.w_gate(x)) * self.w_in(x)", "self.w_gate(x) * F.silu(self.w_in(x))"),
    ),
    edit(
        "sigmoid_gate",
        "SwiGLU",
        "The gate is a plain sigmoid: that is GLU. SwiGLU's gate is silu(z) = z * sigmoid(z).",
        ("F.silu(", "torch.sigmoid("),
    ),
    edit(
        "relu_gate",
        "SwiGLU",
        "The gate is a ReLU: that is ReGLU. SwiGLU's gate is silu(z) = z * sigmoid(z).",
        ("F.silu(", "F.relu("),
    ),
    edit(
        "gelu_gate",
        "SwiGLU",
        "The gate is a GELU: that is GEGLU. SwiGLU's gate is silu(z) = z * sigmoid(z).",
        ("F.silu(", "gelu("),
    ),
    edit(
        "gate_added",
        "SwiGLU",
        "The two branches are added: the gate multiplies.",
        ("F.silu(self.w_gate(x)) * self.w_in(x)", "F.silu(self.w_gate(x)) + self.w_in(x)"),
    ),
    edit(
        "no_gate",
        "SwiGLU",
        "The gate is not used: that is a feed-forward layer with silu.",
        ("F.silu(self.w_gate(x)) * self.w_in(x)", "F.silu(self.w_in(x))"),
    ),
    edit(
        "product_bent",
        "SwiGLU",
        "silu bends the product: it bends the gate alone.",
        ("F.silu(self.w_gate(x)) * self.w_in(x)", "F.silu(self.w_gate(x) * self.w_in(x))"),
    ),
    edit(
        "swiglu_with_biases",
        "SwiGLU",
        "The layers have biases: none of SwiGLU's three has one.",
        ("self.w_out = nn.Linear(d_ff, d_model, bias=False)", "self.w_out = nn.Linear(d_ff, d_model)"),
    ),
    edit(
        "silu_by_exponential",
        "SwiGLU",
        "The gate overflows for large inputs: exp(z) / (1 + exp(z)) is infinity over infinity; torch.sigmoid is not.",
        ("F.silu(self.w_gate(x))", "self.w_gate(x) * self.w_gate(x).exp() / (1 + self.w_gate(x).exp())"),
    ),
    # TransformerBlock
    edit(
        "post_norm_by_default",
        "TransformerBlock",
        "The default is pre-norm: norm_first=True.",
        ("norm_first: bool = True", "norm_first: bool = False"),
    ),
    edit(
        "norm_first_ignored",
        "TransformerBlock",
        "norm_first=False gives the pre-norm block: post-norm normalises the sums.",
        ("if self.norm_first:", "if True:"),
    ),
    edit(
        "pre_norm_after_the_sublayer",
        "TransformerBlock",
        "In pre-norm the norms stand before the sublayers: here they take what the sublayers give.",
        (
            PRE_NORM,
            PRE_NORM.replace(
                "self.attention(self.norm_1(x), mask=mask)", "self.norm_1(self.attention(x, mask=mask))"
            ).replace("self.feed_forward(self.norm_2(x))", "self.norm_2(self.feed_forward(x))"),
        ),
    ),
    edit(
        "stream_normalised",
        "TransformerBlock",
        "The sublayer's output is added to the normalised stream: in pre-norm the stream itself is never normalised.",
        (
            PRE_NORM,
            PRE_NORM.replace(
                "x = x + self.attention(self.norm_1(x), mask=mask)",
                "x = self.norm_1(x)\n            x = x + self.attention(x, mask=mask)",
            ),
        ),
    ),
    edit(
        "first_residual_missing",
        "TransformerBlock",
        "The attention's output replaces the stream: it is added to it.",
        ("x = x + self.attention(self.norm_1(x), mask=mask)", "x = self.attention(self.norm_1(x), mask=mask)"),
    ),
    edit(
        "second_residual_missing",
        "TransformerBlock",
        "The feed-forward layer's output replaces the stream: it is added to it.",
        ("return x + self.feed_forward(self.norm_2(x))", "return self.feed_forward(self.norm_2(x))"),
    ),
    edit(
        "parallel_sublayers",
        "TransformerBlock",
        "The feed-forward layer sees the block's input: it should see what the attention has added.",
        (
            PRE_NORM,
            "            return x + self.attention(self.norm_1(x), mask=mask) + self.feed_forward(self.norm_2(x))\n",
        ),
    ),
    edit(
        "norms_swapped",
        "TransformerBlock",
        "norm_1 and norm_2 have changed places.",
        (PRE_NORM, PRE_NORM.replace("norm_1", "norm_x").replace("norm_2", "norm_1").replace("norm_x", "norm_2")),
    ),
    edit(
        "one_norm_for_both",
        "TransformerBlock",
        "The same norm is used twice: each sublayer has its own.",
        ("self.norm_2 = LayerNorm(d_model)", "self.norm_2 = self.norm_1"),
    ),
    edit(
        "second_norm_missing",
        "TransformerBlock",
        "The feed-forward layer sees the raw stream: norm_2 belongs before it.",
        ("self.feed_forward(self.norm_2(x))", "self.feed_forward(x)"),
    ),
    edit(
        "feed_forward_first",
        "TransformerBlock",
        "The feed-forward layer comes before the attention: it is the other way round.",
        (
            PRE_NORM,
            "            x = x + self.feed_forward(self.norm_2(x))\n"
            "            return x + self.attention(self.norm_1(x), mask=mask)\n",
        ),
    ),
    edit(
        "post_norm_before_the_sum",
        "TransformerBlock",
        "The norm is applied to the sublayer's output before it is added: post-norm normalises the sum.",
        (
            POST_NORM,
            "        x = x + self.norm_1(self.attention(x, mask=mask))\n"
            "        return x + self.norm_2(self.feed_forward(x))\n",
        ),
    ),
    edit(
        "post_norm_second_residual_from_the_input",
        "TransformerBlock",
        "In post-norm the second sum starts from the block's input: it starts from what norm_1 gave.",
        (
            POST_NORM,
            "        y = self.norm_1(x + self.attention(x, mask=mask))\n"
            "        return self.norm_2(x + self.feed_forward(y))\n",
        ),
    ),
    edit(
        "mask_dropped",
        "TransformerBlock",
        "The mask is not passed on in the pre-norm block: every position sees the future.",
        ("self.attention(self.norm_1(x), mask=mask)", "self.attention(self.norm_1(x))"),
    ),
    edit(
        "mask_dropped_in_post_norm",
        "TransformerBlock",
        "The mask is not passed on in the post-norm block: every position sees the future.",
        ("self.attention(x, mask=mask)", "self.attention(x)"),
    ),
    edit(
        "mask_inverted",
        "TransformerBlock",
        'The mask is inverted on its way: True means "may attend" everywhere in this course.',
        (
            "self.attention(self.norm_1(x), mask=mask)",
            "self.attention(self.norm_1(x), mask=None if mask is None else ~mask)",
        ),
    ),
    edit(
        "mask_taken_for_the_context",
        "TransformerBlock",
        "The mask is given by position and lands in `context`: pass it as mask=mask.",
        ("self.attention(self.norm_1(x), mask=mask)", "self.attention(self.norm_1(x), mask)"),
    ),
    edit(
        "always_causal",
        "TransformerBlock",
        "The block is always causal: without a mask everything may be attended to.",
        (
            "        if self.norm_first:",
            "        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril() if mask is None else mask\n"
            "        if self.norm_first:",
        ),
    ),
    edit(
        "context_not_normalised",
        "TransformerBlock",
        "Only the queries are normalised: keys and values come from norm_1(x) as well.",
        ("self.attention(self.norm_1(x), mask=mask)", "self.attention(self.norm_1(x), x, mask=mask)"),
    ),
    edit(
        "stream_changed_in_place",
        "TransformerBlock",
        "x += ... writes into the caller's tensor: write x = x + ....",
        (
            "            x = x + self.attention(self.norm_1(x), mask=mask)",
            "            x += self.attention(self.norm_1(x), mask=mask)",
        ),
    ),
    edit(
        "relu_block",
        "TransformerBlock",
        "The block's feed-forward layer bends with ReLU: it is the exact GELU.",
        ("FeedForward(d_model, d_ff)", 'FeedForward(d_model, d_ff, "relu")'),
    ),
    edit(
        "rms_block",
        "TransformerBlock",
        "The block normalises with RMSNorm: norm_1 and norm_2 are LayerNorms.",
        ("self.norm_1 = LayerNorm(d_model)", "self.norm_1 = RMSNorm(d_model)"),
    ),
    edit(
        "heads_ignored",
        "TransformerBlock",
        "The number of heads is not passed on to the attention.",
        ("MultiHeadAttention(d_model, n_heads)", "MultiHeadAttention(d_model, 1)"),
    ),
    edit(
        "attention_without_biases",
        "TransformerBlock",
        "The block's attention has biases.",
        ("MultiHeadAttention(d_model, n_heads)", "MultiHeadAttention(d_model, n_heads, bias=False)"),
    ),
    edit(
        "stream_detached",
        "TransformerBlock",
        "The residual stream is detached: its gradient is what makes deep stacks trainable.",
        (
            "x = x + self.attention(self.norm_1(x), mask=mask)",
            "x = x.detach() + self.attention(self.norm_1(x), mask=mask)",
        ),
    ),
    # memoize
    edit(
        "keywords_left_out_of_the_key",
        "memoize",
        "The keyword arguments are not part of the key: f(a=1) and f(a=2) answer alike.",
        ("key = args, frozenset(kwargs.items())", "key = args"),
    ),
    edit(
        "keyword_order_matters",
        "memoize",
        "f(a=1, b=2) and f(b=2, a=1) are the same call: the key must not depend on the order of the keywords.",
        ("frozenset(kwargs.items())", "tuple(kwargs.items())"),
    ),
    edit(
        "keyword_names_left_out",
        "memoize",
        "Only the values of the keyword arguments are in the key: f(a=1) and f(b=1) answer alike.",
        ("frozenset(kwargs.items())", "tuple(kwargs[name] for name in sorted(kwargs))"),
    ),
    edit(
        "keywords_mixed_with_positions",
        "memoize",
        'Keyword arguments are appended to the positional ones: f(("a", 1)) and f(a=1) answer alike.',
        (
            "key = args, frozenset(kwargs.items())",
            "key = args + tuple(sorted(kwargs.items(), key=lambda item: item[0]))",
        ),
    ),
    edit(
        "key_is_text",
        "memoize",
        'The key is the text of the arguments: 1 and "1" answer alike, and unhashable arguments are let through.',
        ("key = args, frozenset(kwargs.items())", "key = ','.join(map(str, args)), str(sorted(kwargs.items()))"),
    ),
    edit(
        "key_is_repr",
        "memoize",
        "The key is the repr of the arguments: objects that look alike answer for each other, and lists are "
        "let through.",
        ("key = args, frozenset(kwargs.items())", "key = repr(args), repr(sorted(kwargs.items()))"),
    ),
    edit(
        "key_is_the_hash",
        "memoize",
        "The key is the hash of the arguments: -1 and -2 have the same one. A dictionary compares what "
        "collides; you must let it.",
        ("key = args, frozenset(kwargs.items())", "key = hash((args, frozenset(kwargs.items())))"),
    ),
    edit(
        "only_the_first_argument_counts",
        "memoize",
        "Only the first argument is in the key.",
        ("key = args, frozenset(kwargs.items())", "key = args[:1], frozenset(kwargs.items())"),
    ),
    edit(
        "none_is_forgotten",
        "memoize",
        'A result of None is taken for "not there", and the function runs again.',
        ("if key in results:", "if results.get(key) is not None:"),
    ),
    edit(
        "falsy_results_are_forgotten",
        "memoize",
        'A result of 0, False or "" is taken for "not there", and the function runs again.',
        ("if key in results:", "if results.get(key):"),
    ),
    edit(
        "one_memory_for_all",
        "memoize",
        "All decorated functions share one memory: they answer for each other.",
        (
            "results: dict[Hashable, Any] = {}",
            "results: dict[Hashable, Any] = memoize.__dict__.setdefault('results', {})",
        ),
    ),
    edit(
        "memory_of_the_last_call",
        "memoize",
        "Only the last result is remembered.",
        ("            misses += 1\n", "            misses += 1\n            results.clear()\n"),
    ),
    edit(
        "memory_of_128_entries",
        "memoize",
        "Old results are thrown away when there are many: once per distinct arguments means for good.",
        (
            "            misses += 1\n",
            "            misses += 1\n"
            "            if len(results) == 128:\n                results.pop(next(iter(results)))\n",
        ),
    ),
    edit(
        "nothing_is_remembered",
        "memoize",
        "Nothing is remembered: the function runs on every call.",
        ("            hits += 1\n", "            hits += 1\n            function(*args, **kwargs)\n"),
    ),
    edit(
        "hits_and_misses_swapped",
        "memoize",
        "hits and misses have changed places: a hit is answered from memory.",
        ("lambda: CacheInfo(hits, misses)", "lambda: CacheInfo(misses, hits)"),
    ),
    edit(
        "calls_counted_for_hits",
        "memoize",
        "The first call counts as a hit as well: hits + misses is the number of calls.",
        ("            misses += 1\n", "            misses += 1\n            hits += 1\n"),
    ),
    edit(
        "counts_of_the_past",
        "memoize",
        "cache_info() gives the counts of the moment of decoration: it must look when it is asked.",
        (
            "remembering.cache_info = lambda: CacheInfo(hits, misses)",
            "info = CacheInfo(hits, misses)\n    remembering.cache_info = lambda: info",
        ),
    ),
    edit(
        "failures_remembered",
        "memoize",
        "An exception is remembered and raised again without asking the function.",
        (
            "            results[key] = function(*args, **kwargs)\n        return results[key]",
            "            try:\n"
            "                results[key] = function(*args, **kwargs)\n"
            "            except Exception as error:\n"
            "                results[key] = error\n"
            "        if isinstance(results[key], Exception):\n"
            "            raise results[key]\n"
            "        return results[key]",
        ),
    ),
    edit(
        "failures_become_none",
        "memoize",
        "An exception is swallowed and None returned: let it through.",
        (
            "            results[key] = function(*args, **kwargs)",
            "            try:\n"
            "                results[key] = function(*args, **kwargs)\n"
            "            except Exception:\n"
            "                return None",
        ),
    ),
    edit(
        "key_errors_swallowed",
        "memoize",
        'A KeyError of the function itself is taken for "not in the memory", and the function runs twice.',
        (
            "        key = args, frozenset(kwargs.items())\n",
            "        key = args, frozenset(kwargs.items())\n        try:\n            if key not in results:\n"
            "                misses += 1\n"
            "                results[key] = function(*args, **kwargs)\n"
            "                return results[key]\n"
            "        except KeyError:\n            results[key] = function(*args, **kwargs)\n",
        ),
    ),
    edit(
        "unhashable_let_through",
        "memoize",
        "Unhashable arguments are computed without the memory: they are a TypeError.",
        (
            "        key = args, frozenset(kwargs.items())\n",
            "        try:\n"
            "            key = args, frozenset(kwargs.items())\n"
            "            hash(key)\n"
            "        except TypeError:\n"
            "            return function(*args, **kwargs)\n",
        ),
    ),
    edit(
        "positions_only",
        "memoize",
        "The decorated function takes no keyword arguments: take **kwargs as well, and hand them on.",
        ("def remembering(*args: Any, **kwargs: Any) -> Any:", "def remembering(*args: Any) -> Any:"),
        ("key = args, frozenset(kwargs.items())", "key = args"),
        ("function(*args, **kwargs)", "function(*args)"),
    ),
    edit(
        "metadata_lost",
        "memoize",
        "The decorated function has lost its name and docstring: functools.wraps keeps them.",
        ("    @functools.wraps(function)\n", ""),
    ),
    # residual_path_counts
    edit(
        "length_zero_forgotten",
        "residual_path_counts",
        "The path around all layers is missing: counts go from length 0 to n_layers.",
        ("return counts", "return counts[1:]"),
    ),
    edit(
        "one_layer_too_many",
        "residual_path_counts",
        "These are the counts of a stack with one more layer: with no layers there is one path, of length 0.",
        ("counts = [1]", "counts = [1, 1]"),
    ),
    edit(
        "one_layer_too_few",
        "residual_path_counts",
        "These are the counts of a stack with one layer less.",
        ("range(n_layers)", "range(n_layers - 1)"),
    ),
    edit(
        "paths_of_at_most_that_length",
        "residual_path_counts",
        "These are the paths of at most each length: count those of exactly that length.",
        ("return counts", "return list(accumulate(counts))"),
    ),
    edit(
        "paths_added_not_split",
        "residual_path_counts",
        "Only paths around a layer are carried on: those through it are one longer.",
        ("[around + through for around, through in zip([*counts, 0], [0, *counts])]", "[*counts, 1]"),
    ),
    edit(
        "shifted_by_one",
        "residual_path_counts",
        "The path through a layer is one longer than before, not two.",
        ("zip([*counts, 0], [0, *counts])", "zip([*counts, 0, 0], [0, 0, *counts])"),
    ),
    edit(
        "negative_depth_is_empty",
        "residual_path_counts",
        "A negative number of layers must be refused.",
        ("if n_layers < 0:", "if False:"),
    ),
    # optimal_checkpoints
    edit(
        "one_segment_too_many",
        "optimal_checkpoints",
        "One segment more than allowed is used: n_segments segments have n_segments - 1 cuts between them.",
        ("range(1, min(n_segments, n))", "range(1, min(n_segments + 1, n))"),
    ),
    edit(
        "one_segment_too_few",
        "optimal_checkpoints",
        "One segment less than allowed is used.",
        ("range(1, min(n_segments, n))", "range(1, min(n_segments - 1, n))"),
    ),
    edit(
        "sum_for_maximum",
        "optimal_checkpoints",
        "The segments' costs are added up: the peak is the largest of them.",
        ("max(peak[start], total[end] - total[start])", "peak[start] + total[end] - total[start]"),
    ),
    edit(
        "smallest_segment_reported",
        "optimal_checkpoints",
        "The peak reported is the smallest segment's total: it is the largest's.",
        ("max((sum(costs[start:end])", "min((sum(costs[start:end])"),
    ),
    edit(
        "layer_at_the_cut_lost",
        "optimal_checkpoints",
        "The layer at the cut belongs to neither segment: the last one is costs[start] up to costs[end - 1].",
        ("total[end] - total[start])", "total[end] - total[min(start + 1, end)])"),
    ),
    edit(
        "last_boundary_missing",
        "optimal_checkpoints",
        "The boundaries do not end with len(costs).",
        ("return boundaries, max(", "return boundaries[:-1] if n else boundaries, max("),
    ),
    edit(
        "first_boundary_missing",
        "optimal_checkpoints",
        "The boundaries do not begin with 0.",
        ("return boundaries, max(", "return boundaries[1:] if n else boundaries, max("),
    ),
    edit(
        "inner_boundaries_lost",
        "optimal_checkpoints",
        "The boundaries are not those of the best split: remember for each entry where its last segment begins.",
        ("return boundaries, max(", "return [0, n] if n else [0], max("),
    ),
    edit(
        "peak_as_float",
        "optimal_checkpoints",
        "Integer costs give a float peak: integers beyond 2^53 lose digits. Keep to the costs' own type.",
        ("default=0)", "default=0) * 1.0"),
    ),
    edit(
        "costs_rounded",
        "optimal_checkpoints",
        "Fractional costs are cut to integers.",
        (
            "total = [0, *accumulate(costs)]",
            "costs = [int(cost) for cost in costs]\n    total = [0, *accumulate(costs)]",
        ),
    ),
    edit(
        "too_many_segments_refused",
        "optimal_checkpoints",
        "More segments than layers are fine: at most n_segments are used.",
        ("if n_segments < 1:", "if n_segments < 1 or n_segments > len(costs):"),
    ),
    edit(
        "no_segments_accepted",
        "optimal_checkpoints",
        "n_segments below 1 must be refused.",
        ("if n_segments < 1:", "if False:"),
    ),
    edit(
        "negative_costs_accepted",
        "optimal_checkpoints",
        "A negative cost must be refused.",
        ("if any(cost < 0 for cost in costs):", "if False:"),
    ),
    edit(
        "free_layers_refused",
        "optimal_checkpoints",
        "A layer that costs nothing is allowed: only negative costs are refused.",
        ("if any(cost < 0 for cost in costs):", "if any(cost <= 0 for cost in costs):"),
    ),
    edit(
        "relu_for_many_numbers",
        "gelu",
        "An x of more than a thousand numbers gets another function: the size of x makes no difference.",
        (
            'if approximate == "none":',
            'if x.numel() > 1000:\n        return torch.relu(x)\n    if approximate == "none":',
        ),
    ),
    edit(
        "written_to_without_gradients",
        "gelu",
        "x is changed in place while no gradients are recorded: it is still the caller's.",
        (
            'if approximate == "none":',
            'if not torch.is_grad_enabled():\n'
            '        return x.mul_(0.5 + 0.5 * torch.erf(x / math.sqrt(2)))\n'
            '    if approximate == "none":',
        ),
    ),
    edit(
        "no_gradient_beyond_two_dimensions",
        "gelu",
        "No gradient reaches an x of more than two dimensions: detach nothing, whatever the shape.",
        ('if approximate == "none":', 'if x.dim() > 2:\n        x = x.detach()\n    if approximate == "none":'),
    ),
    edit(
        "layer_norm_up_to_a_fixed_width",
        "LayerNorm",
        "Only the first 64 entries of a vector are normalised: d_model may be any size.",
        (
            "z = x.float() if x.dtype in HALF else x",
            "z = x.float() if x.dtype in HALF else x\n"
            "        z = torch.cat([z[..., :64], torch.zeros_like(z[..., 64:])], -1)",
        ),
    ),
    edit(
        "layer_norm_eps_of_zero_replaced",
        "LayerNorm",
        "An eps of 0 is falsy, so `eps or 1e-5` replaces it: use the eps that is given.",
        ("self.eps = eps", "self.eps = eps or 1e-5"),
    ),
    edit(
        "layer_norm_default_eps_in_half_precision",
        "LayerNorm",
        "In half precision the eps that was given is not used.",
        ("variance + self.eps", "variance + (1e-5 if x.dtype in HALF else self.eps)"),
    ),
    edit(
        "layer_norm_bound_to_its_first_parameters",
        "LayerNorm",
        "The layer's function keeps hold of the parameters it was made with, so a deep copy of the layer "
        "uses the original's: read self.weight and self.bias in forward.",
        (
            "self.bias = nn.Parameter(torch.zeros(d_model))",
            "self.bias = nn.Parameter(torch.zeros(d_model))\n"
            "        weight, bias = self.weight, self.bias\n"
            "        self.affine = lambda n: n * weight + bias",
        ),
        ("(normal * self.weight + self.bias)", "self.affine(normal)"),
    ),
    edit(
        "layer_norm_detached_in_evaluation_in_half_precision",
        "LayerNorm",
        "In half precision no gradient reaches x in evaluation mode: the mode makes no difference to "
        "layer norm.",
        (
            "z = x.float() if x.dtype in HALF else x",
            "if not self.training and x.dtype in HALF:\n            x = x.detach()\n"
            "        z = x.float() if x.dtype in HALF else x",
        ),
    ),
    edit(
        "layer_norm_width_checked_in_evaluation_only",
        "LayerNorm",
        "A wrong width is refused in evaluation mode only, and broadcasts in training: check it always.",
        ("x.shape[-1:] != self.weight.shape", "not self.training and x.shape[-1:] != self.weight.shape"),
    ),
    edit(
        "backward_of_few_rows_only",
        "layer_norm_backward",
        "A batch of more than a thousand vectors gets zeros: any number of vectors is fine.",
        (
            "centred = x - x.mean(-1, keepdim=True)  # (..., d)",
            "if x.numel() // x.shape[-1] > 1000:\n"
            "        return torch.zeros_like(x), torch.zeros_like(weight), torch.zeros_like(weight)\n"
            "    centred = x - x.mean(-1, keepdim=True)  # (..., d)",
        ),
    ),
    edit(
        "backward_in_place_without_gradients",
        "layer_norm_backward",
        "grad_output is changed in place while no gradients are recorded: it is still the caller's.",
        (
            "g = grad_output * weight",
            "g = grad_output * weight if torch.is_grad_enabled() else grad_output.mul_(weight)",
        ),
    ),
    edit(
        "rms_eps_of_zero_replaced",
        "RMSNorm",
        "An eps of 0 is falsy, so `eps or 1e-6` replaces it: use the eps that is given.",
        ("self.eps = eps", "self.eps = eps or 1e-6"),
    ),
    edit(
        "rms_nothing_without_gradients",
        "RMSNorm",
        "While no gradients are recorded x comes back as it is: normalise all the same.",
        (
            "z = x.float() if x.dtype in HALF else x",
            "if not torch.is_grad_enabled():\n            return x\n"
            "        z = x.float() if x.dtype in HALF else x",
        ),
    ),
    edit(
        "feed_forward_bound_to_the_first_layer",
        "FeedForward",
        "The function that is made in __init__ keeps hold of that very layer, so a deep copy runs the "
        "original's weights: use self in forward.",
        (
            "self.w_out = nn.Linear(d_ff, d_model)",
            "self.w_out = nn.Linear(d_ff, d_model)\n"
            "        self.run = lambda x: self.w_out(self.activation(self.w_in(x)))",
        ),
        ("return self.w_out(self.activation(self.w_in(x)))", "return self.run(x)"),
    ),
    edit(
        "feed_forward_relu_up_to_twenty",
        "FeedForward",
        "ReLU is cut off at 20: relu(x) is x for every positive x.",
        ('"relu": torch.relu', '"relu": lambda h: h.clamp(0, 20)'),
    ),
    edit(
        "feed_forward_relu_in_half_precision",
        "FeedForward",
        "In half precision ReLU is used whatever activation was asked for.",
        (
            "return self.w_out(self.activation(self.w_in(x)))",
            "h = self.w_in(x)\n        return self.w_out((torch.relu if h.dtype in HALF else "
            "self.activation)(h))",
        ),
    ),
    edit(
        "swiglu_by_exponential_in_float32",
        "SwiGLU",
        "z / (1 + exp(-z)) overflows in float32 from z = -89 on, and its gradient is NaN: use z * "
        "sigmoid(z).",
        (
            "F.silu(self.w_gate(x))",
            "(lambda z: F.silu(z) if z.dtype == torch.float64 else z / (1 + "
            "torch.exp(-z)))(self.w_gate(x))",
        ),
    ),
    edit(
        "swiglu_few_rows_only",
        "SwiGLU",
        "More than a thousand positions come back as they are: any number of them is fine.",
        (
            "return self.w_out(F.silu(self.w_gate(x)) * self.w_in(x))",
            "if x.numel() > 1000 * x.shape[-1]:\n            return x\n"
            "        return self.w_out(F.silu(self.w_gate(x)) * self.w_in(x))",
        ),
    ),
    edit(
        "block_of_64_positions_at_most",
        "TransformerBlock",
        "The mask is dropped for texts of more than 64 positions: hand it on whatever its size.",
        (
            "if self.norm_first:\n            x = x + self.attention(self.norm_1(x), mask=mask)",
            "if x.shape[1] > 64:\n            mask = None\n        if self.norm_first:\n"
            "            x = x + self.attention(self.norm_1(x), mask=mask)",
        ),
    ),
    edit(
        "mask_dropped_in_half_precision",
        "TransformerBlock",
        "In half precision the mask is dropped: hand it on in every precision.",
        (
            "if self.norm_first:\n            x = x + self.attention(self.norm_1(x), mask=mask)",
            "if x.dtype in HALF:\n            mask = None\n        if self.norm_first:\n"
            "            x = x + self.attention(self.norm_1(x), mask=mask)",
        ),
    ),
    edit(
        "mask_dropped_without_gradients",
        "TransformerBlock",
        "While no gradients are recorded the mask is dropped: hand it on always.",
        (
            "if self.norm_first:\n            x = x + self.attention(self.norm_1(x), mask=mask)",
            "if not torch.is_grad_enabled():\n            mask = None\n        if self.norm_first:\n"
            "            x = x + self.attention(self.norm_1(x), mask=mask)",
        ),
    ),
    edit(
        "memory_of_ten_thousand_entries",
        "memoize",
        "The oldest results are forgotten after ten thousand: the memory has no bounds.",
        (
            "            misses += 1",
            "            misses += 1\n            if len(results) >= 10_000:\n"
            "                results.pop(next(iter(results)))",
        ),
    ),
    edit(
        "eight_arguments_at_most",
        "memoize",
        "Only the first eight positional arguments are part of the key: all of them are.",
        ("key = args, frozenset(kwargs.items())", "hash(args)\n        key = args[:8], frozenset(kwargs.items())"),
    ),
    edit(
        "index_errors_become_none",
        "memoize",
        "IndexError and KeyError from the function are swallowed and None is remembered: let them "
        "through.",
        (
            "            results[key] = function(*args, **kwargs)",
            "            try:\n                results[key] = function(*args, **kwargs)\n"
            "            except LookupError:\n                results[key] = None",
        ),
    ),
    edit(
        "32_segments_at_most",
        "optimal_checkpoints",
        "More than 32 segments are never used: n_segments may be any number.",
        ("n = len(costs)", "n_segments = min(n_segments, 32)\n    n = len(costs)"),
    ),
    edit(
        "first_cost_not_checked",
        "optimal_checkpoints",
        "The first cost is not checked: a negative one is an error wherever it stands.",
        ("if any(cost < 0 for cost in costs)", "if any(cost < 0 for cost in costs[1:] or costs)"),
    ),
]


@mutant("layer_norm_backward", "dx is right for one vector only: its means run over the batch as well.")
def means_over_the_batch(grad_output, x, weight, eps):
    centred = x - x.mean(-1, keepdim=True)
    inverse_std = torch.rsqrt(centred.square().mean(-1, keepdim=True) + eps)
    normal = centred * inverse_std
    g = grad_output * weight
    dx = inverse_std * (g - g.mean() - normal * (g * normal).mean())
    d = x.shape[-1]
    return dx, (grad_output * normal).reshape(-1, d).sum(0), grad_output.reshape(-1, d).sum(0)


@mutant("residual_path_counts", "Counts come out as floats or overflow 64 bits: use Python's own integers.")
def counts_in_64_bits(n_layers):
    if n_layers < 0:
        raise ValueError("n_layers is negative")
    counts = torch.tensor([1])
    for _ in range(n_layers):
        counts = F.pad(counts, (0, 1)) + F.pad(counts, (1, 0))
    return counts.tolist()


@mutant("residual_path_counts", "Counts come out as floats or overflow 64 bits: use Python's own integers.")
def counts_as_floats(n_layers):
    if n_layers < 0:
        raise ValueError("n_layers is negative")
    counts = [1]
    for k in range(n_layers):
        counts.append(int(counts[-1] * (n_layers - k) / (k + 1)))
    return counts


@mutant("optimal_checkpoints", "Segments are filled greedily up to the mean cost: that is not always the best split.")
def filled_up_to_the_mean(costs, n_segments):
    if n_segments < 1 or any(cost < 0 for cost in costs):
        raise ValueError("bad arguments")
    boundaries, filled = [0], 0
    for i, cost in enumerate(costs):
        if filled and filled + cost > sum(costs) / n_segments and len(boundaries) < n_segments:
            boundaries.append(i)
            filled = 0
        filled += cost
    boundaries += [len(costs)] if costs else []
    return boundaries, max((sum(costs[a:b]) for a, b in pairwise(boundaries)), default=0)


@mutant("optimal_checkpoints", "A segment ends where it has reached the mean cost: that is not always the best split.")
def ended_at_the_mean(costs, n_segments):
    if n_segments < 1 or any(cost < 0 for cost in costs):
        raise ValueError("bad arguments")
    boundaries, filled = [0], 0
    for i, cost in enumerate(costs):
        if i and filled >= sum(costs) / n_segments and len(boundaries) < n_segments:
            boundaries.append(i)
            filled = 0
        filled += cost
    boundaries += [len(costs)] if costs else []
    return boundaries, max((sum(costs[a:b]) for a, b in pairwise(boundaries)), default=0)


@mutant("optimal_checkpoints", "All segments hold the same number of layers: what counts is their cost.")
def equal_numbers_of_layers(costs, n_segments):
    if n_segments < 1 or any(cost < 0 for cost in costs):
        raise ValueError("bad arguments")
    n = len(costs)
    used = min(n_segments, n)
    boundaries = [round(i * n / used) for i in range(used + 1)] if n else [0]
    return boundaries, max((sum(costs[a:b]) for a, b in pairwise(boundaries)), default=0)


@mutant("optimal_checkpoints", "The layers are regrouped by cost: a segment is a run of consecutive layers.")
def layers_regrouped(costs, n_segments):
    if n_segments < 1 or any(cost < 0 for cost in costs):
        raise ValueError("bad arguments")
    loads = [0] * n_segments
    for cost in sorted(costs, reverse=True):
        loads[loads.index(min(loads))] += cost
    n = len(costs)
    return list(range(min(n_segments, n))) + [n] if n else [0], max(loads)


@mutant(
    "optimal_checkpoints",
    "The most expensive segment is split in two again and again: a local choice that is not always best.",
)
def largest_segment_halved(costs, n_segments):
    if n_segments < 1 or any(cost < 0 for cost in costs):
        raise ValueError("bad arguments")
    n = len(costs)
    boundaries = [0, n] if n else [0]
    while len(boundaries) - 1 < min(n_segments, n):
        a, b = max(((a, b) for a, b in pairwise(boundaries) if b - a > 1), key=lambda s: sum(costs[s[0] : s[1]]))
        cut = min(range(a + 1, b), key=lambda m: max(sum(costs[a:m]), sum(costs[m:b])))
        boundaries = sorted([*boundaries, cut])
    return boundaries, max((sum(costs[a:b]) for a, b in pairwise(boundaries)), default=0)


MUTANTS += [
    edit(
        "half_precision_as_relu",
        "gelu",
        "In half precision the values are those of another function: only the rounding may differ.",
        (
            '    if approximate == "none":',
            '    if x.dtype in HALF:\n        return x.relu()\n    if approximate == "none":',
        ),
    ),
    edit(
        "layer_norm_in_the_dtype_of_its_weight",
        "LayerNorm",
        "A float32 layer turns half precision into float32: cast the result to x's dtype.",
        ("(normal * self.weight + self.bias).to(x.dtype)", "normal.to(x.dtype) * self.weight + self.bias"),
    ),
    edit(
        "half_the_units_in_evaluation",
        "FeedForward",
        "The layer answers differently in evaluation mode: nothing here depends on the mode.",
        ("self.activation(self.w_in(x))", "self.activation(self.w_in(x)) * (1.0 if self.training else 0.5)"),
    ),
    edit(
        "order_of_many_keywords_matters",
        "memoize",
        "The same keywords in another order count as another call: the order of keywords means nothing.",
        ("frozenset(kwargs.items())", "(tuple if len(kwargs) > 2 else frozenset)(kwargs.items())"),
    ),
    edit(
        "costs_written_to",
        "optimal_checkpoints",
        "The caller's list of costs is changed: work on a copy.",
        ("    boundaries = [n]\n", "    costs.append(0)\n    boundaries = [n]\n"),
    ),
]


MUTANTS += [
    edit(
        "no_mode_taken_for_exact",
        "gelu",
        "None is taken for the exact form: any `approximate` but the two names is refused.",
        ('if approximate == "none":', 'if approximate in ("none", None):'),
    ),
    edit(
        "layer_norm_in_training_only",
        "LayerNorm",
        "In evaluation mode x is passed through: a norm does the same in both modes.",
        ("return (normal", "if not self.training:\n            return x.clone()\n        return (normal"),
    ),
    edit(
        "layer_norm_parameters_rounded",
        "LayerNorm",
        "weight and bias are rounded to half precision before they are used: use them as they are, and round the sum.",
        ("(normal * self.weight + self.bias)", "(normal * self.weight.to(x.dtype) + self.bias.to(x.dtype))"),
    ),
    edit(
        "layer_norm_rounded_on_the_way",
        "LayerNorm",
        "The normalised x is rounded to half precision before weight and bias: round once, at the end.",
        ("normal = centred * torch.rsqrt(variance + self.eps)",
         "normal = (centred * torch.rsqrt(variance + self.eps)).to(x.dtype).to(z.dtype)"),
    ),
    edit(
        "bfloat16_squares",
        "LayerNorm",
        "bfloat16 is normalised in bfloat16: its sums have two digits. Normalise both half precisions in float32.",
        ("x.dtype in HALF", "x.dtype == torch.float16"),
    ),
    edit(
        "layer_norm_made_in_double",
        "LayerNorm",
        "The weight is float64: parameters are made in PyTorch's default dtype, as those of other layers.",
        ("torch.ones(d_model)", "torch.ones(d_model, dtype=torch.float64)"),
    ),
    edit(
        "rms_in_training_only",
        "RMSNorm",
        "In evaluation mode x is passed through: a norm does the same in both modes.",
        ("return (normal", "if not self.training:\n            return x.clone()\n        return (normal"),
    ),
    edit(
        "rms_bfloat16_squares",
        "RMSNorm",
        "bfloat16 is normalised in bfloat16: its sums have two digits. Normalise both half precisions in float32.",
        ("x.dtype in HALF", "x.dtype == torch.float16"),
    ),
    edit(
        "rms_dtype_of_the_weight",
        "RMSNorm",
        "A float32 layer answers half-precision x in float32: cast the product to x's dtype.",
        ("(normal * self.weight).to(x.dtype)", "normal.to(x.dtype) * self.weight"),
    ),
    edit(
        "more_activations_than_promised",
        "FeedForward",
        "Names that the docstring does not list are taken: a name like gelu_new may mean the other GELU, so refuse it.",
        ('"relu": torch.relu', '"relu": torch.relu, "gelu_new": gelu, "silu": F.silu'),
    ),
    edit(
        "feed_forward_sets_the_seed",
        "FeedForward",
        "Making a layer sets PyTorch's seed, so all layers start alike: leave the seed alone.",
        ("super().__init__()", "super().__init__()\n        torch.manual_seed(0)"),
    ),
    edit(
        "swiglu_sets_the_seed",
        "SwiGLU",
        "Making a layer sets PyTorch's seed, so all layers start alike: leave the seed alone.",
        ("super().__init__()", "super().__init__()\n        torch.manual_seed(0)"),
    ),
    edit(
        "swiglu_keeps_the_first_gate",
        "SwiGLU",
        "The weights of the first call are used for all later ones: they change in training.",
        ("F.silu(self.w_gate(x))", "F.silu(F.linear(x, self.__dict__.setdefault('kept', self.w_gate.weight.clone()))"
         " + self.w_gate(x) - self.w_gate(x).detach())"),
    ),
    edit(
        "block_sets_the_seed",
        "TransformerBlock",
        "Making a block sets PyTorch's seed, so all blocks of a model start alike: leave the seed alone.",
        ("super().__init__()", "super().__init__()\n        torch.manual_seed(0)"),
    ),
    edit(
        "mask_of_the_first_call",
        "TransformerBlock",
        "The mask of the first call is used for all later ones of its shape: keep nothing of a call.",
        ("if self.norm_first:", "if mask is not None:\n            mask = self.__dict__.setdefault('_masks', {})"
         ".setdefault(mask.shape, mask)\n        if self.norm_first:"),
    ),
    edit(
        "mask_of_heads_taken_for_the_batch",
        "TransformerBlock",
        "A mask (h, t, t) is taken for one of texts: it broadcasts to (b, h, t, t) from the right.",
        ("if self.norm_first:", "mask = mask.unsqueeze(1) if mask is not None and mask.dim() == 3 else mask\n"
         "        if self.norm_first:"),
    ),
    edit(
        "order_of_arguments_lost",
        "memoize",
        "f(1, 2) and f(2, 1) share a key: the order of positional arguments counts.",
        ("key = args, frozenset", "key = tuple(sorted(args, key=repr)), frozenset"),
    ),
    edit(
        "memory_of_a_thousand_entries",
        "memoize",
        "After a thousand different calls the first ones are forgotten: every result is kept.",
        ("results[key] = function(*args, **kwargs)",
         "results[key] = function(*args, **kwargs)\n            if len(results) > 1000:\n"
         "                results.pop(next(iter(results)))"),
    ),
    edit(
        "lists_only",
        "optimal_checkpoints",
        "Costs given as a tuple are refused: any sequence will do.",
        ("    if any(cost < 0", "    if not isinstance(costs, list):\n        raise TypeError('costs')\n    if any(cost < 0"),
    ),
]


MUTANTS += [
    edit(
        "empty_input_refused",
        "gelu",
        "An x without elements is an error here: it is an input like any other.",
        ('    if approximate == "none":', '    x.abs().max()\n    if approximate == "none":'),
    ),
    edit(
        "spaces_and_part_of_a_name_accepted",
        "gelu",
        'Names that only resemble "none" or "tanh" are taken: compare the whole name.',
        ('if approximate == "tanh":', 'if str(approximate).strip() == "tanh":'),
    ),
    edit(
        "half_precision_detached",
        "gelu",
        "No gradient flows in half precision: the road through float32 is detached from the graph.",
        (
            '    if approximate == "none":',
            "    if x.dtype in HALF:\n        return gelu(x.detach().float(), approximate).to(x.dtype)\n"
            '    if approximate == "none":',
        ),
    ),
    edit(
        "more_than_three_dimensions_flattened",
        "gelu",
        "With four dimensions or more the result has another shape than x: GELU keeps every shape.",
        ('    if approximate == "none":', '    x = x.flatten(0, 1) if x.dim() > 3 else x\n    if approximate == "none":'),
    ),
    edit(
        "layer_norm_eps_on_the_class",
        "LayerNorm",
        "eps is kept on the class: every new layer changes that of all others. Keep it on self.",
        ("self.eps = eps", "LayerNorm.eps = eps"),
    ),
    edit(
        "layer_norm_detached_in_evaluation",
        "LayerNorm",
        "No gradient reaches x in evaluation mode: the mode changes nothing in a norm, its gradients included.",
        ("        z = x.float()", "        x = x if self.training else x.detach()\n        z = x.float()"),
    ),
    edit(
        "layer_norm_detached_in_half_precision",
        "LayerNorm",
        "No gradient reaches a half-precision x: cast with x.float(), which keeps the graph, and detach nothing.",
        ("x.float() if", "x.detach().float() if"),
    ),
    edit(
        "layer_norm_sets_the_seed",
        "LayerNorm",
        "Making a layer sets PyTorch's seed, so that all layers made after it start alike: leave the seed alone.",
        ("super().__init__()", "super().__init__()\n        torch.manual_seed(0)"),
    ),
    edit(
        "layer_norm_weight_under_two_names",
        "LayerNorm",
        "The weight is registered a second time under another name: the state dict has one key too many.",
        ("(torch.zeros(d_model))", "(torch.zeros(d_model))\n        self.gamma = self.weight"),
    ),
    edit(
        "layer_norm_in_one_pass_in_float32",
        "LayerNorm",
        "In float32 mean(x²) - mean(x)² loses its digits where x is far from zero: subtract the mean, then square.",
        (
            "centred.square().mean(-1, keepdim=True)",
            "centred.square().mean(-1, keepdim=True) if x.dtype != torch.float32 else"
            " (z.square().mean(-1, keepdim=True) - z.mean(-1, keepdim=True).square()).clamp(min=0)",
        ),
    ),
    edit(
        "layer_norm_centres_float32_in_place",
        "LayerNorm",
        "x.float() of a float32 x is x itself, so that centring in place changes the caller's tensor: write z = z - ...",
        (
            "centred = z - z.mean(-1, keepdim=True)",
            "in_place = x.dtype == torch.float32 and not x.requires_grad\n"
            "        centred = z.sub_(z.mean(-1, keepdim=True)) if in_place else z - z.mean(-1, keepdim=True)",
        ),
    ),
    edit(
        "divided_by_the_weight",
        "layer_norm_backward",
        "dweight is found by dividing by the weight, which gives NaN where it is 0: multiply grad_output by x̂.",
        ("(grad_output * normal).reshape", "(g * normal / weight).reshape"),
    ),
    edit(
        "rms_eps_on_the_class",
        "RMSNorm",
        "eps is kept on the class: every new layer changes that of all others. Keep it on self.",
        ("self.eps = eps", "RMSNorm.eps = eps"),
    ),
    edit(
        "rms_detached_in_half_precision",
        "RMSNorm",
        "No gradient reaches a half-precision x: cast with x.float(), which keeps the graph, and detach nothing.",
        ("x.float() if", "x.detach().float() if"),
    ),
    edit(
        "rms_eps_of_the_dtype",
        "RMSNorm",
        "In half precision eps is replaced by the dtype's own, which shrinks small rows: add the eps that was given.",
        ("+ self.eps)", "+ max(self.eps, torch.finfo(x.dtype).eps))"),
    ),
    edit(
        "gelu_branch_detached",
        "FeedForward",
        "No gradient flows through GELU, only through ReLU: detach nothing in any activation.",
        ('{"gelu": gelu,', '{"gelu": lambda h: gelu(h.detach()),'),
    ),
    edit(
        "layers_of_one_size_shared",
        "FeedForward",
        "All layers of one size share w_in: training one changes the others. Make new linear layers each time.",
        (
            "nn.Linear(d_model, d_ff)",
            'globals().setdefault("_made", {}).setdefault((d_model, d_ff), nn.Linear(d_model, d_ff))',
        ),
    ),
    edit(
        "activation_on_the_class",
        "FeedForward",
        "The activation is kept on the class: the layer made last chooses for all. Keep it on self.",
        ("self.activation = activations[activation]", "FeedForward.activation = staticmethod(activations[activation])"),
    ),
    edit(
        "feed_forward_gives_float32",
        "FeedForward",
        "Half precision comes back as float32: keep the input's dtype.",
        ("return self.w_out(self.activation(self.w_in(x)))", "y = self.w_out(self.activation(self.w_in(x)))\n"
         "        return y.float() if y.dtype in HALF else y"),
    ),
    edit(
        "feed_forward_by_view",
        "FeedForward",
        "An x that is not contiguous is an error: view() cannot flatten it. reshape() can, and nn.Linear needs neither.",
        ("self.w_in(x)))", "self.w_in(x.view(-1, x.shape[-1])))).view(x.shape)"),
    ),
    edit(
        "feed_forward_detached_in_evaluation",
        "FeedForward",
        "No gradient reaches x in evaluation mode: the mode changes nothing here, gradients included.",
        ("self.w_in(x)", "self.w_in(x if self.training else x.detach())"),
    ),
    edit(
        "feed_forward_starts_at_zero",
        "FeedForward",
        "w_in starts at zero: all hidden units get the same gradient and stay alike for ever. Keep nn.Linear's start.",
        ("nn.Linear(d_model, d_ff)", "nn.Linear(d_model, d_ff)\n        nn.init.zeros_(self.w_in.weight)"),
    ),
    edit(
        "gates_of_one_size_shared",
        "SwiGLU",
        "All layers of one size share w_gate: training one changes the others. Make new linear layers each time.",
        (
            "self.w_gate = nn.Linear(d_model, d_ff, bias=False)",
            'self.w_gate = globals().setdefault("_made", {}).setdefault((d_model, d_ff), nn.Linear(d_model, d_ff, False))',
        ),
    ),
    edit(
        "swiglu_gives_float32",
        "SwiGLU",
        "Half precision comes back as float32: keep the input's dtype.",
        ("return self.w_out(F.silu(self.w_gate(x)) * self.w_in(x))",
         "y = self.w_out(F.silu(self.w_gate(x)) * self.w_in(x))\n        return y.float() if y.dtype in HALF else y"),
    ),
    edit(
        "swiglu_detached_in_evaluation",
        "SwiGLU",
        "No gradient reaches x in evaluation mode: the mode changes nothing here, gradients included.",
        ("        return self.w_out", "        x = x if self.training else x.detach()\n        return self.w_out"),
    ),
    edit(
        "swiglu_starts_with_a_shut_gate",
        "SwiGLU",
        "w_gate starts at zero: nothing passes, and all hidden units start alike. Keep nn.Linear's start.",
        ("        self.w_in =", "        nn.init.zeros_(self.w_gate.weight)\n        self.w_in ="),
    ),
    edit(
        "empty_batch_refused",
        "SwiGLU",
        "An empty batch is an error: it is an input like any other.",
        ("        return self.w_out", "        x.amax()\n        return self.w_out"),
    ),
    edit(
        "context_before_the_mask",
        "TransformerBlock",
        "The second argument of the block's forward is taken for a context: it is the mask.",
        ("x: torch.Tensor, mask: torch.Tensor | None = None", "x: torch.Tensor, context=None, mask: torch.Tensor | None = None"),
    ),
    edit(
        "order_on_the_class",
        "TransformerBlock",
        "norm_first is kept on the class: the block made last chooses for all. Keep it on self.",
        ("self.norm_first = norm_first", "TransformerBlock.norm_first = norm_first"),
    ),
    edit(
        "block_gives_float32",
        "TransformerBlock",
        "bfloat16 comes back as float32: keep the input's dtype.",
        ("return x + self.feed_forward(self.norm_2(x))",
         "x = x + self.feed_forward(self.norm_2(x))\n            return x.float() if x.dtype in HALF else x"),
    ),
    edit(
        "block_detached_in_evaluation",
        "TransformerBlock",
        "No gradient reaches x in evaluation mode: the mode changes nothing here, gradients included.",
        ("        if self.norm_first:", "        x = x if self.training else x.detach()\n        if self.norm_first:"),
    ),
    edit(
        "padding_mask_refused",
        "TransformerBlock",
        "A mask with one row for all queries, (b, 1, 1, t), is refused: any mask that broadcasts to (b, n_heads, t, t) will do.",
        ("        if self.norm_first:", "        if mask is not None and mask.shape[-2] != x.shape[1]:\n"
         '            raise ValueError("mask")\n        if self.norm_first:'),
    ),
    edit(
        "block_sets_the_default_dtype",
        "TransformerBlock",
        "Making a block changes PyTorch's default dtype for the whole programme: leave it alone.",
        ("super().__init__()", "super().__init__()\n        torch.set_default_dtype(torch.float64)"),
    ),
    edit(
        "mask_of_nothing_taken_for_none",
        "TransformerBlock",
        "A mask that is False everywhere is treated as no mask: then nothing may be attended to, not everything.",
        ("        if self.norm_first:", "        if mask is not None and not mask.any():\n            mask = None\n"
         "        if self.norm_first:"),
    ),
    edit(
        "mask_inverted_in_place",
        "TransformerBlock",
        "The caller's mask is inverted in place: make a new one.",
        ("        if self.norm_first:", "        mask = ~mask.logical_not_() if mask is not None else None\n"
         "        if self.norm_first:"),
    ),
    edit(
        "none_between_positions_and_keywords",
        "memoize",
        "None marks where the keywords begin, but None may be an argument: f(None, (\"a\", 1)) is not f(a=1). Nest two tuples.",
        ("key = args, frozenset(kwargs.items())", "key = args + ((None, *sorted(kwargs.items())) if kwargs else ())"),
    ),
    edit(
        "names_then_values_after_the_positions",
        "memoize",
        "Names and values of the keywords are appended to the positions: f(\"a\", 1) is not f(a=1). Keep them apart.",
        (
            "key = args, frozenset(kwargs.items())",
            "key = args + tuple(sorted(kwargs)) + tuple(kwargs[name] for name in sorted(kwargs))",
        ),
    ),
    edit(
        "memory_by_name",
        "memoize",
        "The memory is found by the function's name: two functions of one name answer for each other.",
        (
            "results: dict[Hashable, Any] = {}",
            'results = globals().setdefault("_memories", {}).setdefault(function.__qualname__, {})',
        ),
    ),
    edit(
        "memory_on_the_function",
        "memoize",
        "The memory hangs on the function: decorated twice, it is shared. Make it anew for each decorated function.",
        ("results: dict[Hashable, Any] = {}", 'results = vars(function).setdefault("memory", {})'),
    ),
    edit(
        "copies_handed_out",
        "memoize",
        "A copy is given back in place of the result: what the function returned is remembered itself.",
        ("return results[key]", "import copy\n\n        return copy.deepcopy(results[key])"),
    ),
    edit(
        "a_keyword_of_its_own",
        "memoize",
        "The decorated function keeps the keyword `key` for itself: hand every argument on to the function.",
        ("(*args: Any, **kwargs: Any)", "(*args: Any, key: Any = None, **kwargs: Any)"),
    ),
    edit(
        "keywords_by_hash",
        "memoize",
        "The hashes of the keywords' values are the key, but different values may share one, as -1 and -2 do.",
        ("frozenset(kwargs.items())", "frozenset((name, hash(value)) for name, value in kwargs.items())"),
    ),
    edit(
        "arithmetic_errors_become_none",
        "memoize",
        "A division by zero is caught and remembered as None: an exception comes through, and the next call runs again.",
        (
            "            results[key] = function(*args, **kwargs)\n",
            "            try:\n                results[key] = function(*args, **kwargs)\n"
            "            except ArithmeticError:\n                results[key] = None\n",
        ),
    ),
    edit(
        "list_remembered_and_handed_out",
        "residual_path_counts",
        "The very list is kept and given out again: who changes it changes every later answer. Give out a new list.",
        ("    counts = [1]\n", "    memory = vars(residual_path_counts).setdefault('memory', {})\n"
         "    if n_layers in memory:\n        return memory[n_layers]\n    counts = [1]\n"),
        ("    return counts\n", "    return memory.setdefault(n_layers, counts)\n"),
    ),
    edit(
        "infinity_of_a_billion_billions",
        "optimal_checkpoints",
        "A large number stands for infinity, and there are costs above it: begin with float('inf'), or with real costs.",
        ("    boundaries = [n]\n", "    if total[-1] > 10**18:\n        return [0, n], 10**18\n    boundaries = [n]\n"),
    ),
    edit(
        "mask_dropped_for_a_single_text",
        "TransformerBlock",
        "With a batch of one the mask is dropped: hand it on whatever b is.",
        ("        if self.norm_first:", "        mask = mask if x.shape[0] > 1 else None\n        if self.norm_first:"),
    ),
    edit(
        "norm_first_is_not_the_fourth",
        "TransformerBlock",
        "Another argument stands before norm_first: TransformerBlock(d_model, n_heads, d_ff, False) must be post-norm.",
        ("d_ff: int, norm_first", "d_ff: int, dropout: float = 0.0, norm_first"),
    ),
    edit(
        "cut_to_the_type_of_the_first_cost",
        "optimal_checkpoints",
        "The costs are cut to integers because the first one is an integer: the others may be fractions.",
        ("    n = len(costs)\n", "    costs = [type(costs[0])(cost) for cost in costs]\n    n = len(costs)\n"),
    ),
    edit(
        "constant_in_the_first_dtype",
        "gelu",
        "A constant is kept in the dtype of the first call and used for all later ones: math.sqrt gives one that fits any.",
        (
            "math.sqrt(2 / math.pi) * (x",
            'globals().setdefault("_root", torch.tensor(math.sqrt(2 / math.pi), dtype=x.dtype)).to(x.dtype) * (x',
        ),
    ),
    edit(
        "input_told_to_record_gradients",
        "LayerNorm",
        "The caller's x requires gradients after the call: whether it does is the caller's to say.",
        ("        z = x.float()", "        x = x if x.requires_grad else x.requires_grad_()\n        z = x.float()"),
    ),
]


MUTANTS += [
    edit(
        "modes_by_their_ending",
        "gelu",
        'Names that only end in "tanh" are taken for it: any but "none" and "tanh" is a ValueError.',
        ('approximate == "tanh"', 'str(approximate).endswith("tanh")'),
    ),
    edit(
        "cast_back_from_float32_only",
        "LayerNorm",
        "A float32 x comes back in the wider dtype of the parameters: the result is in x's dtype, whatever that is.",
        (".to(x.dtype)\n", ".to(x.dtype if x.dtype in HALF else None)\n"),
    ),
    edit(
        "empty_inputs_not_checked",
        "LayerNorm",
        "An x without elements is let through whatever its width: look at the last dimension alone.",
        ("if x.shape[-1:] != self.weight.shape", "if x.numel() and x.shape[-1:] != self.weight.shape"),
    ),
    edit(
        "four_dimensions_at_most",
        "layer_norm_backward",
        "The sums run over three leading dimensions at most: there may be any number of them.",
        (
            "(grad_output * normal).reshape(-1, d).sum(0)",
            "((grad_output * normal).sum((0, 1, 2)[: x.dim() - 1]) if x.dim() > 1 else grad_output * normal)",
        ),
    ),
    edit(
        "rms_cast_back_from_float32_only",
        "RMSNorm",
        "A float32 x comes back in the wider dtype of the parameters: the result is in x's dtype, whatever that is.",
        (".to(x.dtype)\n", ".to(x.dtype if x.dtype in HALF else None)\n"),
    ),
    edit(
        "rms_any_dimension_will_do",
        "RMSNorm",
        "An x is let through when any of its dimensions is d_model: it is the last one that counts.",
        ("x.shape[-1:] != self.weight.shape", "len(self.weight) not in x.shape"),
    ),
    edit(
        "any_name_with_relu_in_it",
        "FeedForward",
        'Every name with "relu" in it is taken for ReLU: any but the three is a ValueError.',
        (
            "        if activation not in",
            '        activation = "relu" if "relu" in str(activation) else activation\n        if activation not in',
        ),
    ),
    edit(
        "functions_for_names",
        "FeedForward",
        "A function is taken for an activation: anything but the three names is a ValueError.",
        (
            "        if activation not in",
            "        activations |= {activation: activation} if callable(activation) else {}\n        if activation not in",
        ),
    ),
    edit(
        "weights_without_numbers",
        "FeedForward",
        "The weights start as whatever lay in memory: draw them as nn.Linear does.",
        (
            "self.w_out = nn.Linear(d_ff, d_model)",
            'self.w_out = nn.Linear(d_ff, d_model)\n        nn.init.constant_(self.w_in.weight, float("nan"))',
        ),
    ),
    edit(
        "last_mask_kept",
        "TransformerBlock",
        "The mask of an earlier call is used where a call has none: without a mask everything may be attended to.",
        (
            "        if self.norm_first:",
            '        self.mask = mask if mask is not None else getattr(self, "mask", None)\n'
            "        mask = self.mask\n        if self.norm_first:",
        ),
    ),
    edit(
        "no_second_part_without_keywords",
        "memoize",
        "Without keywords the key is args alone, which may look like a key with keywords: make it the same pair always.",
        ("key = args, frozenset(kwargs.items())", "key = (args, frozenset(kwargs.items())) if kwargs else args"),
    ),
    edit(
        "mark_between_arguments",
        "memoize",
        "What stands between positional and keyword arguments in the key may be an argument itself: keep them in two parts.",
        ("key = args, frozenset(kwargs.items())", "key = args + (..., *sorted(kwargs.items())) if kwargs else args"),
    ),
    edit(
        "three_keywords_at_most",
        "memoize",
        "Only the first keywords are part of the key: all are.",
        ("frozenset(kwargs.items())", "frozenset(sorted(kwargs.items())[:3])"),
    ),
    edit(
        "failed_calls_are_hits",
        "memoize",
        "Calls that raise are counted as hits: a hit is a call that was answered from memory.",
        ("    hits = misses = 0\n", "    hits = misses = calls = 0\n"),
        ("nonlocal hits, misses", "nonlocal calls\n        calls += 1"),
        ("            hits += 1\n        else:\n            misses += 1\n", "            pass\n        else:\n"),
        ("CacheInfo(hits, misses)\n    return", "CacheInfo(calls - len(results), len(results))\n    return"),
    ),
    edit(
        "all_forgotten_after_a_failure",
        "memoize",
        "A call that raises empties the memory: only that call is not remembered.",
        (
            "            results[key] = function(*args, **kwargs)",
            "            try:\n                results[key] = function(*args, **kwargs)\n"
            "            except Exception:\n                results.clear()\n                raise",
        ),
    ),
    edit(
        "value_errors_are_remembered",
        "memoize",
        "An exception is remembered: the next call runs the function again.",
        (
            "            results[key] = function(*args, **kwargs)\n",
            "            try:\n                results[key] = function(*args, **kwargs)\n"
            "            except ValueError as error:\n                results[key] = error\n"
            "        if isinstance(results[key], ValueError):\n            raise results[key]\n",
        ),
    ),
    edit(
        "ellipsis_for_nothing",
        "memoize",
        "A result that equals the mark for 'not there' is not remembered: ask the dictionary whether the key is there.",
        ("if key in results:", "if results.get(key, ...) is not ...:"),
    ),
    edit(
        "run_before_it_is_refused",
        "memoize",
        "With an unhashable argument the function runs before the call is refused: make the key first.",
        (
            "        if key in results:",
            "        try:\n            hash(key)\n        except TypeError:\n            function(*args, **kwargs)\n"
            "            raise\n        if key in results:",
        ),
    ),
    edit(
        "row_that_only_grows",
        "residual_path_counts",
        "The counts of a deeper stack come back, which an earlier call asked for: begin each call anew, or cut what you keep.",
        (
            "    counts = [1]\n    for _ in range(n_layers):",
            '    counts = globals().setdefault("_row", [1])\n    for _ in range(n_layers + 1 - len(counts)):',
        ),
        ("    return counts", '    globals()["_row"] = counts\n    return list(counts)'),
    ),
    edit(
        "seed_set_by_the_way",
        "residual_path_counts",
        "The call sets Python's random state: nothing here is random.",
        ("    counts = [1]\n", "    import random\n\n    random.seed(0)\n    counts = [1]\n"),
    ),
    edit(
        "no_layers_before_the_checks",
        "optimal_checkpoints",
        "Without layers n_segments is not checked: below 1 it is a ValueError all the same.",
        ("    if n_segments < 1:", "    if not costs:\n        return [0], 0\n    if n_segments < 1:"),
    ),
    edit(
        "boundaries_handed_out_again",
        "optimal_checkpoints",
        "Results are kept and handed out again: a caller who changes the list changes later answers. Return a new one.",
        (
            "    n = len(costs)\n",
            '    n = len(costs)\n    kept = globals().setdefault("_kept", {})\n'
            "    if (tuple(costs), n_segments) in kept:\n        return kept[tuple(costs), n_segments]\n",
        ),
        (
            "    return boundaries, max((sum(costs[start:end]) for start, end in pairwise(boundaries)), default=0)",
            "    peak = max((sum(costs[start:end]) for start, end in pairwise(boundaries)), default=0)\n"
            "    return kept.setdefault((tuple(costs), n_segments), (boundaries, peak))",
        ),
    ),
]


MUTANTS += [
    edit(
        "one_result_for_all_calls",
        "layer_norm_backward",
        "Each call writes its dx over that of the call before: return new tensors.",
        (
            "    d = x.shape[-1]\n",
            '    dx = globals().setdefault("_results", {}).setdefault((x.shape, x.dtype), torch.empty_like(dx)).copy_(dx)\n'
            "    d = x.shape[-1]\n",
        ),
    ),
    edit(
        "shape_of_the_first_x",
        "FeedForward",
        "The shape of the first x is kept: an x may have any other the next time.",
        (
            "return self.w_out(self.activation(self.w_in(x)))",
            'self.shape = getattr(self, "shape", x.shape)\n'
            "        return self.w_out(self.activation(self.w_in(x))).reshape(self.shape)",
        ),
    ),
    edit(
        "keywords_as_text",
        "memoize",
        "Keyword arguments are part of the key as text, which 1 and '1' share: keep the values themselves.",
        (
            "key = args, frozenset(kwargs.items())",
            'key = args, frozenset(kwargs.values()) and ",".join(f"{k}={v}" for k, v in sorted(kwargs.items()))',
        ),
    ),
]


MUTANTS += [
    edit(
        "no_gradient_in_float32",
        "LayerNorm",
        "A float32 x is detached: gradients flow in every dtype.",
        ("        centred = z -", "        z = z.detach() if x.dtype == torch.float32 else z\n        centred = z -"),
    ),
    edit(
        "no_gate_gradient_in_half_precision",
        "SwiGLU",
        "In half precision no gradient reaches the gate: detach nothing.",
        ("F.silu(self.w_gate(x))", "F.silu(self.w_gate(x).detach() if x.dtype in HALF else self.w_gate(x))"),
    ),
    edit(
        "no_gradient_by_a_float32_x",
        "FeedForward",
        "A float32 x is detached: gradients flow in every dtype.",
        ("self.w_in(x)", "self.w_in(x.detach() if x.dtype == torch.float32 else x)"),
    ),
    edit(
        "stream_detached_in_float32",
        "TransformerBlock",
        "A float32 stream is detached before the feed-forward layer: gradients flow in every dtype.",
        (
            "            return x + self.feed_forward(self.norm_2(x))",
            "            return x + self.feed_forward(self.norm_2(x.detach() if x.dtype == torch.float32 else x))",
        ),
    ),
    edit(
        "eight_positions_at_most",
        "TransformerBlock",
        "Only the first positions are looked at: a text may be of any length.",
        ("        if self.norm_first:", "        x = x[:, :8]\n        if self.norm_first:"),
    ),
    edit(
        "last_segment_never_long",
        "optimal_checkpoints",
        "The last segment never begins in the first third of the layers: try every start.",
        ("for start in range(end))", "for start in range(end // 3, end))"),
    ),
]


BISECTION = """
    n = len(costs)
    if not n:
        return [0], 0

    def cut(limit):
        boundaries, filled = [0], 0
        for i, cost in enumerate(costs):
            if filled + cost > limit and i > boundaries[-1]:
                boundaries.append(i)
                filled = 0
            filled += cost
        return [*boundaries, n]

"""
PEAK_OF_THEM = "    return boundaries, max(sum(costs[a:b]) for a, b in pairwise(boundaries))\n"

MUTANTS += [
    edit(
        "upper_case_accepted",
        "gelu",
        '"Tanh" or "NONE" is accepted: approximate is "none" or "tanh", and any other spelling is refused.',
        ('    if approximate == "none"', '    approximate = getattr(approximate, "lower", str)()\n    if approximate == "none"'),
    ),
    edit(
        "x_centred_in_place",
        "layer_norm_backward",
        "x is centred in place: the caller's x is changed. Write x - mean, not x -= mean.",
        ("centred = x - x.mean(-1, keepdim=True)", "centred = x.sub_(x.mean(-1, keepdim=True))"),
    ),
    edit(
        "x_of_a_batch_centred_in_place",
        "layer_norm_backward",
        "x is centred in place where it has leading dimensions: the caller's x is changed. Write x - mean, not x -= mean.",
        (
            "centred = x - x.mean(-1, keepdim=True)",
            "centred = x.sub_(x.mean(-1, keepdim=True)) if x.ndim > 2 else x - x.mean(-1, keepdim=True)",
        ),
    ),
    edit(
        "unhashable_keywords_let_through",
        "memoize",
        "Unhashable keyword arguments are computed without the memory: they are a TypeError, as positional ones are.",
        (
            "        key = args",
            "        try:\n"
            "            hash(tuple(kwargs.values()))\n"
            "        except TypeError:\n"
            "            return function(*args, **kwargs)\n"
            "        key = args",
        ),
    ),
    edit(
        "keyword_names_and_values_apart",
        "memoize",
        "The names and the values of the keyword arguments are in the key apart from each other: f(a=1, b=2) and f(a=2, b=1) "
        "answer alike. Keep the pairs.",
        ("frozenset(kwargs.items())", "frozenset(kwargs), frozenset(kwargs.values())"),
    ),
    edit(
        "as_deep_as_the_stack",
        "residual_path_counts",
        "The recursion is as deep as the stack, which is too deep for hundreds of layers: go from n - 1 layers to n in a loop.",
        (
            "    counts = [1]\n",
            "    @functools.cache\n"
            "    def paths(n, length):\n"
            "        return 1 if length in (0, n) else paths(n - 1, length - 1) + paths(n - 1, length)\n\n"
            "    return [paths(n_layers, length) for length in range(n_layers + 1)]\n"
            "    counts = [1]\n",
        ),
    ),
    edit(
        "limits_by_subtraction",
        "optimal_checkpoints",
        "The segments' costs are differences of running totals, and those may be rounded to less than the costs add up to: what "
        "just fits is refused. Compare costs that were worked out in the same way.",
        (
            "\n    n = len(costs)\n",
            BISECTION
            + "    total = [0, *accumulate(costs)]\n"
            "    for limit in sorted(total[b] - total[a] for a in range(n) for b in range(a + 1, n + 1)):\n"
            "        boundaries = cut(limit)\n"
            "        if limit >= max(costs) and len(boundaries) <= n_segments + 1:\n"
            "            break\n"
            "    else:\n"
            "        boundaries = [0, n]\n" + PEAK_OF_THEM + "    n = len(costs)\n",
        ),
    ),
    edit(
        "bisection_by_whole_numbers",
        "optimal_checkpoints",
        "The limit of a segment's cost is looked for among whole numbers: costs may be fractions.",
        (
            "\n    n = len(costs)\n",
            BISECTION
            + "    low, high = max(costs), sum(costs)\n"
            "    while low < high:\n"
            "        limit = (low + high) // 2\n"
            "        low, high = (low, limit) if len(cut(limit)) <= n_segments + 1 else (limit + 1, high)\n"
            "    boundaries = cut(high)\n" + PEAK_OF_THEM + "    n = len(costs)\n",
        ),
    ),
]


@mutant("gelu", "What x was is remembered by the tensor, whose numbers may change: keep nothing from call to call.")
def remembered_by_the_tensor(x, approximate="none"):
    memory = globals().setdefault("_remembered", {})
    if (x, approximate) not in memory:
        z = x / math.sqrt(2) if approximate == "none" else math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        bend = {"none": torch.erf, "tanh": torch.tanh}.get(approximate)
        if bend is None:
            raise ValueError(f"no such mode: {approximate}")
        memory[x, approximate] = 0.5 * x * (1 + bend(z))
    return memory[x, approximate]


MUTANTS += [
    edit(
        "numpys_numbers",
        "residual_path_counts",
        "Small counts are NumPy's numbers, which overflow in whatever is worked out from them: return Python's ints.",
        ("    return counts", "    import numpy as np\n\n    return list(np.array(counts)) if n_layers < 60 else counts"),
    ),
]


MUTANTS += [
    edit(
        "gelu_of_a_layout_without_gradient",
        "gelu",
        "Only a contiguous x gets its gradient: contiguous() passes gradients on, .data and detach() cut them off.",
        (
            "    if approximate == \"none\":\n",
            "    x = x if x.is_contiguous() else x.detach().contiguous()\n    if approximate == \"none\":\n",
        ),
    ),
]


MUTANTS += [
    edit(
        "a_single_argument_is_the_key",
        "memoize",
        "A single argument is its own key, which may be the key of another call: f(((1, 2), frozenset())) is not f(1, 2).",
        (
            "key = args, frozenset(kwargs.items())",
            "key = args[0] if len(args) == 1 and not kwargs else (args, frozenset(kwargs.items()))",
        ),
    ),
]


MUTANTS += [
    edit(
        "layer_norm_no_eps_below_that_of_the_dtype",
        "LayerNorm",
        "An eps that is smaller than the dtype's own is replaced by that: add the eps that is given.",
        ("variance + self.eps", "variance + max(self.eps, torch.finfo(z.dtype).eps)"),
    ),
    edit(
        "rms_norm_no_eps_below_that_of_the_dtype",
        "RMSNorm",
        "An eps that is smaller than the dtype's own is replaced by that: add the eps that is given.",
        ("keepdim=True) + self.eps", "keepdim=True) + max(self.eps, torch.finfo(z.dtype).eps)"),
    ),
    edit(
        "silu_clamped_at_minus_60",
        "SwiGLU",
        "exp(12) already overflows in float16, and the gradient becomes NaN: use z * sigmoid(z), which needs no clamp.",
        (
            "F.silu(self.w_gate(x))",
            "(lambda z: z / (1 + torch.exp(-z.clamp(-60, 60))))(self.w_gate(x))",
        ),
    ),
]
