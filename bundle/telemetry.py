"""Nothing that the bundle starts reports its use: it is switched off in packages that do so by default, before they are imported."""

from __future__ import annotations

import os
import sys
from types import ModuleType

# child processes inherit them; whoever has set one keeps it
VARIABLES = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "HF_HUB_DISABLE_TELEMETRY": "1"}


def switch_off() -> None:
    """Tell MLflow and others not to report, also where MONAI has imported MLflow already; called when `bundle` is imported."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    mlflow = sys.modules.get("mlflow.telemetry")
    if mlflow is not None and hasattr(mlflow, "set_telemetry_client"):
        # asks the variables again: the client that MLflow's import has made would connect with the first run
        mlflow.set_telemetry_client()


def quiet_openvino() -> ModuleType:
    """OpenVINO, imported without its reports.

    `import openvino` itself sends an event and leaves an identification of the machine in the home folder, by the package
    `openvino_telemetry`; where that cannot be imported OpenVINO takes a stub that does nothing. That is so from here on.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    loaded = [module for name, module in sys.modules.items() if name.startswith("openvino.tools.ovc.") and hasattr(module, "tm")]
    if loaded:
        from openvino.tools.ovc import telemetry_stub

        for module in loaded:  # where something else had imported OpenVINO before
            vars(module)["tm"] = telemetry_stub
    return openvino
