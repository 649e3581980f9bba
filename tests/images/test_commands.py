"""The commands of an image are the scripts of its project."""

import commands

PROJECT = """\
[project.scripts]
hello = "hello.__main__:main"
bye = "hello.bye:leave"
"""


def test_each_script_is_a_command_and_the_first_is_what_a_container_runs():
    made = commands.commands(PROJECT, "/opt/venv/bin/python3")
    assert list(made) == ["hello", "bye", "serve"]
    assert made["serve"] == made["hello"]
    assert made["bye"] == ("#!/opt/venv/bin/python3\nfrom hello.bye import leave\n\nleave()\n")
