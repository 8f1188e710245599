"""``nnmamba info``: versions, devices, memory and scan backends of this machine."""

from __future__ import annotations

import argparse

from NNMambaLib.commands.console import print_table
from NNMambaLib.support.machine_report import backend_states, form_states, machine_report


def add_parser(commands) -> None:
    parser = commands.add_parser("info", help="versions, devices, memory and scan backends")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict:
    report = machine_report()
    print_table(["package", "version"], [list(entry) for entry in report["versions"].items()])
    print()
    devices = report["devices"] | report["unavailable_devices"]
    print_table(["device", ""], [list(entry) for entry in devices.items()])
    print()
    print_table(["scan backend", ""], [list(entry) for entry in backend_states(report).items()])
    print()
    print_table(["network", ""], [list(entry) for entry in form_states(report).items()])
    print("--precision bfloat16 puts convolutions in bfloat16 to use.")
    return report
