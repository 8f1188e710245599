"""The time left of a training, and how it is told."""

from NNMambaLib.commands.console import progress_display
from NNMambaLib.progress import Progress
from NNMambaLib.training import stage


def test_the_time_left_leaves_out_the_first_step_which_compiles(monkeypatch):
    now, events = [0.0], []
    monkeypatch.setattr(stage.time, "perf_counter", lambda: now[0])
    training = stage.Stage("Training", 300, events.append, done=100)
    for seconds in (120.0, 2.0, 4.0):
        now[0] += seconds
        training.step()
    assert [(event.done, event.seconds_left) for event in events] == [
        (100, None),
        (101, None),
        (102, 198 * 2.0),
        (103, 197 * 3.0),
    ]


def test_the_time_left_is_told_in_the_units_in_which_people_count_it(capsys):
    for stage_name, seconds in (("a", 0.2), ("b", 90), ("c", 91), ("d", 14_594), ("e", 200_000)):
        with progress_display() as show:
            show(Progress(stage_name, 8, 300, seconds))
    assert capsys.readouterr().err.splitlines() == [
        "a 8/300 1 s left",
        "b 8/300 90 s left",
        "c 8/300 2 min left",
        "d 8/300 4 h 4 min left",
        "e 8/300 2 days 8 h left",
    ]
