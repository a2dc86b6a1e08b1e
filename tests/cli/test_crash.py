"""``demo --crash``: a process is really killed, and a second one repeats one step only."""

import io

from flow_core.cli.main import main
from flow_core.demo.crash import FATAL, STEPS, crash_demo


def test_only_what_was_not_recorded_runs_again():
    told = io.StringIO()
    assert crash_demo(told) == 1
    lines = told.getvalue().splitlines()
    table = {line.split()[0]: line for line in lines if line.split() and line.split()[0] in STEPS}
    again = [step for step, line in table.items() if "run again" in line]
    assert again == [FATAL]
    assert [step for step, line in table.items() if line.split()[1] == "1"] == ["reserve", FATAL]
    assert sum("the order is SUCCESS" in line for line in lines) == 1


def test_as_a_command(capfd):
    assert main(["demo", "--crash"]) == 0
    assert "1 of 5 steps ran again" in capfd.readouterr().out
