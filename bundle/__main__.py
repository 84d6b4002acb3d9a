"""`python -m bundle VERB ...`: the verbs, each one call into the packages. Arguments by fire: `python -m bundle VERB --help`."""

from __future__ import annotations

import io
import sys
from importlib import import_module

from bundle import later_imports, read_ahead
from bundle.arguments.mistakes import one_line
from bundle.errors import UserError

# verb -> ("module:function", what it does in one line)
VERBS: dict[str, tuple[str, str]] = {
    "run": ("bundle.arguments.front:run", "train or infer: monai.bundle run with this bundle's configs"),
    "phantom": ("bundle.data.synthetic.phantom:write_phantom", "write a data set of synthetic abdominal CT with labels"),
    "phantom-classes": ("bundle.data.synthetic.classes:phantom_classes", "write synthetic CT whose contrast phase or body region is known"),
    "head-neck": ("bundle.data.synthetic.head_neck:head_neck", "write a data set of synthetic heads and necks with CT and PET"),
    "check": ("bundle.data.checks.doctor:check", "check a data set: problems with their fixes, summary, picture"),
    "prepare": ("bundle.data.prepare.run:prepare", "bring a public data set, as downloaded, into the layout that training reads"),
    "synthesise": ("bundle.data.synthetic.synthesis:synthesise", "write CT synthesised from label maps: the training set of the weights"),
    "score": ("bundle.evaluation.score:score", "score label maps against references: metrics.csv, summary.json"),
    "merge": ("bundle.handlers.inference.merge:merge", "tables and page of a folder that several machines wrote results into"),
    "convert-authors": ("bundle.networks.weights.authors:convert_authors", "weights of the authors' own code, for this bundle"),
    "average": ("bundle.networks.weights.average:average", "the mean of the weights of several epochs"),
    "half-precision": ("bundle.networks.weights.half:half_precision", "weights at half their size, as they are shipped"),
    "narrow": ("bundle.networks.weights.narrow:narrow", "weights of a narrower network: a beginning for the training of a small one"),
    "table": ("bundle.quality.table_forms:table", "cases.csv with a row per case, or a row per value"),
    "ranges": ("bundle.quality.learn_ranges:ranges", "what is usual in a labelled data set: volumes, HU, positions"),
    "shapes": ("bundle.quality.learn_shapes:shapes", "volume, place and shape of structures in label maps: a shape prior"),
    "calibrate": ("bundle.evaluation.calibrate:calibrate", "expected Dice as it was in scored scans: a calibration"),
    "quickstart-report": ("bundle.evaluation.quickstart:quickstart_report", "table and paths at the end of make train"),
    "compare": ("bundle.evaluation.compare:compare", "compare scored runs: Table 1, paired tests, effect per case"),
    "misses": ("bundle.pictures.misses:misses", "picture of predictions against a reference, misses marked"),
    "gates": ("bundle.pictures.gates:gates", "picture of features before and after the gates of a trained network"),
    "attention": ("bundle.evaluation.attention:attention", "which organs each gate of a trained network looks at, as a table"),
    "diagrams": ("bundle.pictures.diagrams:diagrams", "draw the network and its gate, with their channels"),
    "experiment": ("bundle.evaluation.experiment:experiment", "train, predict and score all folds of a configuration"),
    "paper-tables": ("bundle.evaluation.paper_tables:paper_tables", "all of the paper's Tables 1 to 4: experiments and comparisons"),
    "monai-label": ("bundle.serving.monai_label:start", "serve to 3D Slicer or OHIF through MONAI Label"),
    "monai-label-install": ("bundle.serving.environment:install", "build the environment that MONAI Label needs"),
}


def main() -> int:
    """Run one verb; a person's mistake ends with one readable line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        # a console without Unicode shows "?" for a plus-minus sign, and does not end the verb
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    verb = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if verb in ("-h", "--help", "help"):
        print("usage: python -m bundle VERB [ARGUMENTS]   (python -m bundle VERB --help shows the arguments)\n")
        for name, (_, summary) in VERBS.items():
            print(f"  {name:20s} {summary}")
        return 0
    try:
        if verb == "run":
            # before anything that takes long to import
            read_ahead.begin(sys.argv[2:])
            with later_imports.deferred():
                import_module("monai.bundle")
        result = _call(verb, sys.argv[2:])
    except (Exception, KeyboardInterrupt) as error:
        known = one_line(error)
        if known is None:
            raise
        print(known[0], file=sys.stderr)
        return known[1]
    return result if isinstance(result, int) and not isinstance(result, bool) else 0


def _call(verb: str, words: list[str]) -> object:
    """What a verb returns for the words after it.

    Raises:
        UserError: the verb is unknown, or its arguments do not fit.
    """
    from bundle.arguments.verbs import HELP, call, did_you_mean

    if verb not in VERBS:
        problem = "there is no such verb" + did_you_mean(verb, list(VERBS))
        raise UserError(verb, problem, f"use one of {', '.join(VERBS)}")
    module, name = VERBS[verb][0].split(":")
    owner = import_module(module)
    function = getattr(owner, name)
    if verb != "run":
        return call(function, verb, words)
    if any(word in HELP for word in words):
        print(owner.usage())
        return 0
    return function(words)


if __name__ == "__main__":
    sys.exit(main())
