"""What the workflows run: take in a pull request, grade it, post what came of it. Staff side only."""
