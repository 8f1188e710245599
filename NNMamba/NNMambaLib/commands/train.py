"""``nnmamba train``: a folder of cases to a model package."""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec

from NNMambaLib.commands.console import print_notices, print_table, progress_display
from NNMambaLib.errors import TrainingError

_NEEDED = ("monai", "matplotlib", "scipy")
# Stands for the settings in the parser, which are imported when help is asked for.
_SETTINGS = "settings"


class _WithSettings(argparse.RawDescriptionHelpFormatter):
    """Help that ends with the settings."""

    def add_text(self, text: str | None) -> None:
        if text == _SETTINGS:
            from NNMambaLib.training.setting_words import settings_help

            text = settings_help()
        super().add_text(text)


def add_parser(commands) -> None:
    parser = commands.add_parser(
        "train",
        help="train a model on your own cases; a run that was killed is resumed",
        formatter_class=_WithSettings,
        epilog=_SETTINGS,
    )
    parser.add_argument("task", choices=["segmentation", "landmarks", "classification"])
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="segmentation: a raw data folder of nnU-Net v2; landmarks: volumes, each with a .mrk.json of the same "
        "name; classification: volumes and a CSV file, case,class; with subjects.csv (case,subject) the split between "
        "training and validation goes by subject",
    )
    parser.add_argument(
        "--output", metavar="DIR", help="folder for the model and all about its training (not with --plan-only)"
    )
    parser.add_argument(
        "--plan-only", action="store_true", help="print what would be done, and how long it would take; write nothing"
    )
    parser.add_argument("--config", metavar="FILE", help="settings, .json or .toml")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting, in place of what the file says, such as steps=1000; may be given several times",
    )
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="print the settings, with comments, as a file for --config, and train nothing",
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1")
    parser.add_argument("--backend", default="auto", help="selective scan: auto (default), torch, numba, mamba-ssm")
    parser.add_argument("--overwrite", action="store_true", help="remove an earlier training from the output folder")
    parser.add_argument(
        "--overwrite-report", action="store_true", help="replace the report of --json if it exists; the training stays"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise TrainingError(f"Training needs {', '.join(missing)}: install nnmamba with the extra train.")
    from NNMambaLib.training.configuration import as_json, read_configuration

    configuration = read_configuration(arguments.config, arguments.set)
    if arguments.print_config:
        from NNMambaLib.training.setting_words import settings_file

        print(settings_file(configuration))
        return {"configuration": as_json(configuration)}
    if arguments.data is None:
        raise TrainingError("There are no data to train on: give their folder by --data.")
    from NNMambaLib.training.plan_words import plan_json, plan_rows
    from NNMambaLib.training.train_folder import plan_folder, train_folder

    if arguments.plan_only:
        means = {"device": arguments.device, "backend": arguments.backend}
        with progress_display() as show:
            plan, seconds = plan_folder(arguments.task, arguments.data, configuration, **means, on_progress=show)
        print_table([f"plan: {plan.task}", ""], plan_rows(plan, seconds))
        print_notices(plan.warnings)
        return {"plan": plan_json(plan, seconds)}
    if arguments.output is None:
        raise TrainingError("There is no folder for the training: give one by --output, or ask for --plan-only.")

    def train(on_progress, on_notice, on_plan):
        return train_folder(
            arguments.task,
            arguments.data,
            arguments.output,
            configuration,
            overwrite=arguments.overwrite,
            device=arguments.device,
            backend=arguments.backend,
            on_progress=on_progress,
            on_notice=on_notice,
            on_plan=on_plan,
        )

    # Of several processes that torchrun started, the first speaks.
    if os.environ.get("RANK", "0") != "0":
        outcome = train(lambda progress: None, lambda notice: None, lambda plan: None)
    else:
        with progress_display() as show:
            outcome = train(
                show,
                lambda notice: print_notices([notice]),
                lambda plan: print_table([f"plan: {plan.task}", ""], plan_rows(plan)),
            )
        if outcome.metrics:
            print_table(["validation", ""], [[name, f"{value:.3f}"] for name, value in outcome.metrics.items()])
        print(f"Wrote {', '.join(str(path) for path in outcome.outputs)}.")
    return {
        "outputs": [str(path) for path in outcome.outputs],
        "metrics": outcome.metrics,
        "notices": list(outcome.notices),
    }
