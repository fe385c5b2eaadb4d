"""From a solution to everything that is made from it."""
