"""What a command line ends with, for the tests of arguments."""

from command_lines import refused, typed, verb  # noqa: F401  fixtures
