"""Milestones: work that is graded on a GPU, for what it computes and for how fast and how lean it is."""
