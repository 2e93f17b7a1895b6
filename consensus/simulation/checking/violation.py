"""The one error of all checkers."""


class Violation(Exception):
    """A property was broken; the text begins with its number."""
