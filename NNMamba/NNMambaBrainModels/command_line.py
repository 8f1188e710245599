"""What the command lines of this package share."""

import argparse


def command_parser(docstring: str | None) -> argparse.ArgumentParser:
    """Return a parser that describes a command by the first line of its module's docstring."""
    return argparse.ArgumentParser(description=(docstring or "").partition("\n")[0])
