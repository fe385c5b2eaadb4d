"""One result, in the forms that people and machines read."""
