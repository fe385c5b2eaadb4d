"""The student's day: how they stand, what to do next, hints, and tests that run as they save."""
