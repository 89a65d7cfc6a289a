"""The command line of spark-submit.sh is split where spark-submit itself would split it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.arguments import SWITCHES, VALUED, UsageError, find_script, settings_in, split

words = st.text(min_size=1, max_size=12)
options = st.one_of(
    st.tuples(st.sampled_from(sorted(VALUED)), words),
    st.tuples(st.sampled_from(sorted(SWITCHES))),
)
scripts = words.filter(lambda word: not word.startswith("-"))


@given(st.lists(options), scripts, st.lists(words))
def test_whatever_stands_on_either_side_of_the_script_stays_there(
    before: list[tuple[str, ...]], script: str, after: list[str]
) -> None:
    """Options, script and job arguments come apart as they were put together, whatever the values look like."""
    arguments = split([*(word for option in before for word in option), script, *after])
    assert (list(arguments.options), arguments.script, list(arguments.job)) == (before, script, after)
    assert arguments.flat() == [word for option in before for word in option]


def test_a_value_may_follow_an_equals_sign() -> None:
    """`--master=local[1]` is `--master local[1]`, and only the first sign counts."""
    assert split(["--conf=spark.a=b", "job.py"]).options == (("--conf", "spark.a=b"),)


@pytest.mark.parametrize(
    ("line", "is_local", "is_one_process"),
    [
        ("job.py", True, True),
        ("--master local[2] job.py", True, True),
        ("--master local-cluster[2,1,1024] job.py", True, False),
        ("--master spark://host:7077 job.py", False, False),
        ("--conf spark.master=spark://host:7077 job.py", False, False),
        ("--conf spark.master=spark://host:7077 --master local job.py", True, True),
        ("job.py --master spark://host:7077", True, True),
    ],
)
def test_it_knows_where_spark_runs(line: str, is_local: bool, is_one_process: bool) -> None:
    """The last --master counts, before spark.master; the job's arguments do not."""
    given = split(line.split())
    assert (given.is_local, given.is_one_process) == (is_local, is_one_process)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--foo job.py", "--foo is no option of spark-submit's (options of the job come after the script)"),
        ("--master", "--master wants a value, and nothing follows it"),
    ],
)
def test_what_it_does_not_understand_it_says(line: str, message: str) -> None:
    """A wrong option is named, with what was expected."""
    with pytest.raises(UsageError) as raised:
        split(line.split())
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("line", "whose"), [("--help", "ours"), ("-h job.py", "ours"), ("job.py --help", "job"), ("job.py", "")]
)
def test_help_belongs_to_the_side_it_stands_on(line: str, whose: str) -> None:
    """Before the script it is ours, after it the job's."""
    assert split(line.split()).help == whose


def test_a_script_is_looked_for_at_the_caller_and_then_in_the_project(tmp_path: Path) -> None:
    """The caller's folder wins; both places are named when neither has it."""
    caller, root = tmp_path / "caller", tmp_path / "root"
    for folder in (caller, root):
        folder.mkdir()
    (root / "job.py").touch()
    assert find_script("job.py", caller=caller, root=root) == str(root / "job.py")
    (caller / "job.py").touch()
    assert find_script("job.py", caller=caller, root=root) == str(caller / "job.py")
    assert find_script("s3a://bucket/job.py", caller=caller, root=root) == "s3a://bucket/job.py"
    with pytest.raises(UsageError) as raised:
        find_script("x.py", caller=caller, root=root)
    assert str(raised.value) == f"there is no x.py; looked for {caller}/x.py and {root}/x.py"


def test_settings_among_the_job_options_are_found() -> None:
    """Both spellings count, the last wins, and what is no setting is left to the job."""
    job = ["--available-now", "--kafka-port", "1", "--symbols=A,B", "--kafka-port=2", "--source"]
    assert settings_in(job, {"KAFKA_PORT", "SYMBOLS", "SOURCE"}) == {"KAFKA_PORT": "2", "SYMBOLS": "A,B"}
