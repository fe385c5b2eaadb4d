# %% [markdown]
# # The training loop
#
# Placeholder until the merge.

# %% exercise cosine_schedule
