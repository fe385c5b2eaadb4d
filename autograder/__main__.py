"""`autograder` and `python -m autograder`: the command line."""

import signal


def main() -> None:
    """The console script. What the command line consists of takes a moment to import: until then, Control-C ends all at once."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a command in the background may be told to ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from autograder import cli

    cli.main()


if __name__ == "__main__":
    main()
