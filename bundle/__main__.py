"""`python -m bundle VERB ...`: the verbs, each one call into the packages. Arguments by fire: `python -m bundle VERB --help`."""

from __future__ import annotations

import sys
from importlib import import_module

from bundle.errors import UserError

# verb -> ("module:function", what it does in one line)
VERBS: dict[str, tuple[str, str]] = {
    "phantom": ("bundle.data.phantom:phantom", "write a data set of synthetic abdominal CT with labels"),
    "check": ("bundle.data.doctor:check", "a doctor for a data set: problems with their fixes, summary, picture"),
    "prepare": ("bundle.data.prepare.run:prepare", "bring a public data set, as downloaded, into the layout that training reads"),
    "synthesise": ("bundle.data.synthesis:synthesise", "write CT synthesised from label maps: the training set of the weights"),
    "score": ("bundle.reports.score:score", "score label maps against references: metrics.csv, summary.json"),
    "convert-authors": ("bundle.networks.weights.authors:convert_authors", "weights of the authors' own code, for this bundle"),
    "average": ("bundle.networks.weights.average:average", "the mean of the weights of several epochs"),
    "ranges": ("bundle.reports.learn_ranges:ranges", "what is usual in a labelled data set: volumes, HU, positions"),
    "quickstart-report": ("bundle.reports.quickstart:quickstart_report", "table and paths at the end of make train"),
    "compare": ("bundle.reports.compare:compare", "compare scored runs: Table 1, paired tests, effect per case"),
    "misses": ("bundle.reports.misses:misses", "picture of predictions against a reference, misses marked"),
    "gates": ("bundle.reports.gates:gates", "picture of features before and after the gates of a trained network"),
    "diagrams": ("bundle.pictures.diagrams:diagrams", "draw the network and its gate, with their channels"),
    "experiment": ("bundle.reports.experiment:experiment", "train, predict and score all folds of a configuration"),
    "monai-label": ("bundle.serving.monai_label:start", "serve to 3D Slicer or OHIF through MONAI Label"),
    "monai-label-install": ("bundle.serving.environment:install", "build the environment that MONAI Label needs"),
}


def main() -> int:
    """Run one verb; a user's mistake ends with one readable line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        # a console without Unicode shows "?" for a plus-minus sign, and does not end the verb
        stream.reconfigure(errors="replace")
    verb = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if verb in ("-h", "--help", "help"):
        print("usage: python -m bundle VERB [ARGUMENTS]   (python -m bundle VERB --help tells the arguments)\n")
        for name, (_, summary) in VERBS.items():
            print(f"  {name:18s} {summary}")
        return 0
    if verb not in VERBS:
        print(f"'{verb}' is no verb of this bundle. There are: {', '.join(VERBS)}", file=sys.stderr)
        return 2
    import fire

    module, function = VERBS[verb][0].split(":")
    # behind "--" it is fire's own: a verb that takes any key would take "help" as one
    words = ["--", "--help"] if {"-h", "--help"} & set(sys.argv[2:]) else sys.argv[2:]
    try:
        result = fire.Fire(getattr(import_module(module), function), command=words, name=f"bundle {verb}", serialize=lambda _: None)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return result if isinstance(result, int) and not isinstance(result, bool) else 0


if __name__ == "__main__":
    sys.exit(main())
