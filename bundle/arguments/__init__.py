"""What a command line says: keys, values, overlays and folder names are checked before anything is loaded.

MONAI takes every `--key value` and merges it into the config, whether the config knows the key or not, and fire makes numbers,
tuples and shorter strings of the values. `check` is the first step of `initialize` in train.json and inference.json; it refuses
what would have no effect, in one line, and puts folder names back as they were typed.
"""

from bundle import own_code
from bundle.arguments import command_line
from bundle.arguments.mistakes import install

if command_line.of_monai():
    # a config's imports are the first of ours that MONAI runs: from here on a person's mistake is one line
    install()


def check() -> None:
    """Check the config that MONAI is evaluating, and the command line that it came from.

    It is the first step of `run` as well, because a word too many on the command line makes MONAI skip `initialize`.

    Values are put right where only one reading is possible ("true" for true, folder names as typed).

    Raises:
        UserError: an unknown key, a value that the key cannot have, overlays that do not combine, code of another bundle.
    """
    own_code.check()
    from bundle.arguments import keys, overlays, paths, values
    from bundle.arguments.config import current

    parser = current()
    if parser is None:
        return
    line = command_line.given()
    overlays.check(parser, line)
    keys.check(parser, line)
    paths.take(parser, line)
    values.check(parser, line)
