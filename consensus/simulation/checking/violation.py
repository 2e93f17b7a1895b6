"""The one error that all checkers raise."""


class Violation(Exception):
    """A property was broken; the text begins with its number."""
