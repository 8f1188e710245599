"""The commands that run a model on a volume, one a task: ``nnmamba segment``, ``landmarks``, ``classify``."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from NNMambaLib.commands.arguments import add_engine_arguments, make_engine
from NNMambaLib.commands.console import print_estimate, print_notices, print_table, progress_display
from NNMambaLib.commands.json_report import write_report
from NNMambaLib.files import check_writable, files_together
from NNMambaLib.inference.task import Option, OutputFile, Task
from NNMambaLib.inference.tasks import TASKS
from NNMambaLib.models.catalogue import find_package
from NNMambaLib.results import RESEARCH_USE


def add_parsers(commands) -> None:
    """Add a command for each task, with the task's options and files."""
    for task in TASKS.values():
        parser = commands.add_parser(task.command, help=task.summary)
        parser.add_argument(
            "input",
            nargs="+",
            metavar="INPUT",
            help="a volume (NRRD, NIfTI, MetaImage, or a folder with one DICOM series); for a model with several "
            "channels one volume each, in the model's order",
        )
        parser.add_argument("--model", required=True, help="name of an installed model, or path of a package")
        parser.add_argument("--overwrite", action="store_true", help="replace output files that exist")
        add_engine_arguments(parser)
        for option in task.options:
            add_option(parser, option)
        for kind in task.files:
            _add_file(parser, kind, required=kind is task.files[0])
        parser.set_defaults(run=partial(run, task), files=tuple(kind.name for kind in task.files))


def run(task: Task[Any], arguments: argparse.Namespace) -> None:
    """Run a task on the inputs, once it is sure that its outputs can be written; they appear with the report."""
    from NNMambaLib.inference.memory_plan import usable_memory
    from NNMambaLib.volumes.files import read_volume

    files = {kind.name: path for kind in task.files if (path := getattr(arguments, kind.name))}
    options = task_options(task, arguments, files)
    task.check_files(files, options)
    for path in files.values():
        check_writable(path, arguments.overwrite)
    engine = make_engine(arguments)
    package = find_package(arguments.model)
    package.require_task(task.name)
    volumes = [read_volume(path, check=False) for path in arguments.input]
    free = usable_memory(engine.device, engine.memory_limit)
    with progress_display() as show:
        result = engine.run(
            task.name, volumes, package, show, on_estimate=lambda need: print_estimate(need, free), **options
        )
    print_notices(result.provenance.notices)
    paths = list(files.values())
    with files_together():
        notices = task.write(result, files, volumes[0])
        provenance = result.provenance.as_dict()
        provenance["notices"] = [*provenance["notices"], *notices]
        write_report(arguments, {"outputs": paths, **task.report(result), "provenance": provenance})
    print_notices(notices)
    print_table(*task.table(result))
    print(RESEARCH_USE)
    print(f"Wrote {', '.join(paths)} in {result.provenance.seconds['total']:.1f} s.")


def task_options(task: Task[Any], arguments: argparse.Namespace, files: dict[str, str]) -> dict[str, Any]:
    """Return the options of a task that the arguments and the files that are asked for give."""
    options = {option.name: getattr(arguments, option.name) for option in task.options if option.help is not None}
    return options | {kind.asks_for: kind.name in files for kind in task.files if kind.asks_for is not None}


def add_option(parser: argparse.ArgumentParser, option: Option) -> None:
    """Add an option of a task, unless an output file asks for it."""
    if option.help is None:
        return
    name = f"--{option.name.replace('_', '-')}"
    if option.kind is bool:
        parser.add_argument(name, action=argparse.BooleanOptionalAction, default=option.default, help=option.help)
    else:
        parser.add_argument(name, type=option.kind, default=option.default, help=option.help, metavar=option.metavar)


def _add_file(parser: argparse.ArgumentParser, kind: OutputFile, required: bool) -> None:
    names = [f"--{name}" for name in (kind.name, kind.former_name) if name]
    parser.add_argument(*names, required=required, metavar="FILE", help=kind.help)
