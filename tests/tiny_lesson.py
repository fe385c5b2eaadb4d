"""A lesson for the tiny course, with every kind of cell."""

LESSON = """\
# %% [markdown]
# # Twice and half
# $2x$

# %% given

# %% exercise double

# %%
ones = torch.ones(2)
print(double(ones))

# %% exercise Halver

# %%
print(Halver()(double(ones)).tolist())
"""
