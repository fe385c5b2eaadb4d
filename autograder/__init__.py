"""The machine around the course: it makes stubs from solutions and grades what students hand in."""

__version__ = "0.1.0"
