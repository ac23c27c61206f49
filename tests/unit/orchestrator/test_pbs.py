"""What PBS prints is read, and what a job's hosts are."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from orchestrator import LaunchOptions
from orchestrator.errors import PbsError, UsageError
from orchestrator.hosts import Host, is_here, parse_hosts
from orchestrator.launchers.local import LocalLauncher
from orchestrator.launchers.pbs import PbsLauncher
from orchestrator.launchers.table import find_launcher
from orchestrator.schedulers.base import JobStatus
from orchestrator.schedulers.pbs import PbsScheduler, hosts_of_job, read_end, read_hosts, read_jobs

TOLD = """Job Id: 12.pbs01
    Job_Name = heat
    job_state = Q
    Resource_List.walltime = 01:00:00
    comment = Not Running: Insufficient amount of resource: ncpus (R: 128 A: 64
\t T: 256)
    Variable_List = PBS_O_HOME=/home/me,PBS_O_PATH=/usr/bin:/bin,
\tPBS_O_WORKDIR=/home/me

Job Id: 13[].pbs01
    job_state = R
    stime = Mon Sep 14 10:00:05 2026
    Resource_List.walltime = 100:30:10
    comment = Job run at Mon Sep 14 at 10:00 on (n1:ncpus=64)

"""


def test_jobs_are_read() -> None:
    jobs = read_jobs(TOLD)
    assert list(jobs) == ["12.pbs01", "13[].pbs01"]
    assert jobs["12.pbs01"]["comment"].endswith("ncpus (R: 128 A: 64 T: 256)")
    assert jobs["12.pbs01"]["Variable_List"].endswith("/bin,PBS_O_WORKDIR=/home/me")
    assert read_jobs("") == {}


def test_a_job_ends_its_walltime_after_its_start() -> None:
    jobs = read_jobs(TOLD)
    assert read_end(jobs["12.pbs01"]) is None
    began = time.mktime(time.strptime("2026-09-14 10:00:05", "%Y-%m-%d %H:%M:%S"))
    assert read_end(jobs["13[].pbs01"]) == began + 361810
    assert read_end({"stime": "Mon Sep 14 10:00:05 2026"}) is None


@pytest.mark.parametrize(("limit", "seconds"), [("100", 100), ("01:40", 100), ("1:00:00:00", 86400)])
def test_a_walltime_may_have_other_units(limit: str, seconds: int) -> None:
    began = time.mktime(time.strptime("2026-09-14 10:00:05", "%Y-%m-%d %H:%M:%S"))
    facts = {"stime": "Mon Sep 14 10:00:05 2026", "Resource_List.walltime": limit}
    assert read_end(facts) == began + seconds


@pytest.mark.parametrize(
    "wrong", [{"Resource_List.walltime": text} for text in ("x", "1::2", "-5")] + [{"stime": "yesterday"}]
)
def test_an_end_that_cannot_be_read_is_told(commands: Path, wrong: dict[str, str]) -> None:
    facts = {"stime": "Mon Sep 14 10:00:05 2026", "Resource_List.walltime": "100", **wrong}
    lines = "".join(f"    {name} = {text}\\n" for name, text in facts.items())
    write(commands / "qstat", f"printf 'Job Id: 12.pbs01\\n{lines}'")
    (name, text) = next(iter(wrong.items()))
    with pytest.raises(PbsError, match=f"when the job 12.pbs01 ends is not told: its {name} is {text!r}"):
        PbsScheduler().end_of("12.pbs01")


def test_a_node_file_that_is_no_text_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "nodes").write_bytes(b"\xff\xfe\n")
    monkeypatch.setenv("PBS_NODEFILE", str(tmp_path / "nodes"))
    with pytest.raises(PbsError, match="the hosts of this job cannot be read from PBS_NODEFILE"):
        hosts_of_job()


def test_a_host_has_as_many_cores_as_it_is_named() -> None:
    assert read_hosts("a\na\nb.x.org\na\n").hosts == (Host("a", (0, 1, 2)), Host("b.x.org", (0,)))
    assert read_hosts("a\na\n", "2").hosts == (Host("a", (0, 1), (0, 1)),)


@pytest.mark.parametrize(
    ("text", "gpus", "named"), [("", "0", "names no host"), ("a\n", "four", "'four' is no number")]
)
def test_hosts_that_cannot_be_known_are_told(text: str, gpus: str, named: str) -> None:
    with pytest.raises(PbsError, match=named):
        read_hosts(text, gpus)


@pytest.mark.parametrize("file", ["", "/nowhere/nodes"])
def test_a_missing_node_file_is_told(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    monkeypatch.setenv("PBS_NODEFILE", file)
    with pytest.raises(PbsError, match=f"read from PBS_NODEFILE='{file}': .* --hosts"):
        hosts_of_job()


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of stand-ins that come before all others on PATH; it has a qselect that lists two jobs."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    write(tmp_path / "qselect", "echo 12.pbs01; echo 13[].pbs01")
    return tmp_path


def write(program: Path, does: str) -> None:
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o755)


def test_jobs_of_a_user_are_listed_and_asked_for(commands: Path) -> None:
    (commands / "told").write_text(TOLD)
    write(commands / "qstat", f'test "$*" = "-f 12.pbs01 13[].pbs01" && cat {commands}/told')
    waiting, running = PbsScheduler().jobs().values()
    why = "Not Running: Insufficient amount of resource: ncpus (R: 128 A: 64 T: 256)"
    assert (waiting, running) == (JobStatus("QUEUED", why), JobStatus("RUNNING", "", True))
    write(commands / "qselect", "true")
    assert PbsScheduler().jobs() == {}


def test_a_job_that_ends_between_the_two_is_not_an_error(commands: Path) -> None:
    gone = f"touch {commands}/asked; echo 'qstat: 12.pbs01 Job has finished, use -x or -H' >&2; exit 35"
    told = "echo 'Job Id: 13[].pbs01'; echo '    job_state = R'"
    write(commands / "qselect", f"test -e {commands}/asked || echo 12.pbs01; echo 13[].pbs01")
    write(commands / "qstat", f"test -e {commands}/asked || {{ {gone}; }}; {told}")
    assert list(PbsScheduler().jobs()) == ["13[].pbs01"]
    write(commands / "qstat", "echo 'qstat: cannot connect to server pbs01 (errno=111)' >&2; exit 111")
    with pytest.raises(PbsError, match="cannot connect to server") as caught:
        PbsScheduler().jobs()
    assert caught.value.command[0] == "qstat"


@pytest.mark.parametrize(
    "told",
    [
        "true",
        "echo 'Job Id: 12.pbs01'; echo '    job_state = R'",
        "printf 'Job Id: 12.pbs01\\n    job_state = R\\nJob Id: 13[].pbs01\\n'",
    ],
)
def test_a_job_that_is_listed_and_not_told_of_has_not_ended(commands: Path, told: str) -> None:
    write(commands / "qstat", told)
    with pytest.raises(
        PbsError, match=r"`qstat -f` does not tell of jobs that `qselect` lists: .*13\[\]\.pbs01"
    ):
        PbsScheduler().jobs()


def test_colours_do_not_hide_a_job(commands: Path) -> None:
    write(commands / "qselect", "echo 12.pbs01")
    write(commands / "qstat", r"printf '\033[1mJob Id: 12.pbs01\033[0m\n    job_state = R\n'")
    assert PbsScheduler().jobs() == {"12.pbs01": JobStatus("RUNNING", "", True)}


def test_its_version_is_what_it_says(commands: Path) -> None:
    write(commands / "qstat", 'test "$*" = --version && echo pbs_version = 23.06.06')
    assert PbsScheduler().version() == "pbs_version = 23.06.06"


def test_without_pbs_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PbsError, match="no qsub on PATH: this host has no PBS"):
        PbsScheduler().check("")


def test_the_launcher_belongs_into_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PBS_JOBID", raising=False)
    assert find_launcher("auto") is LocalLauncher
    with pytest.raises(UsageError, match="this is none: get one with qsub -I"):
        PbsLauncher()
    monkeypatch.setenv("PBS_JOBID", "7.pbs01")
    assert find_launcher("auto") is PbsLauncher


def test_idle_cores_are_told_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "nodes").write_text("a\nb\n")
    write(tmp_path / "mpiexec", "echo mpiexec version 1.2.12")
    for name, text in (("PBS_JOBID", "7"), ("PBS_NODEFILE", str(tmp_path / "nodes")), ("NCPUS", "64")):
        monkeypatch.setenv(name, text)
    options = LaunchOptions("pbs", mpiexec=tmp_path / "mpiexec")
    launcher = PbsLauncher(options=options)
    launcher.close()
    assert launcher.inventory().core_count == 2
    assert launcher.shown == "pbs (pals 1.2.12), job 7"
    assert "one core of each is used; ask for mpiprocs=64 too" in capsys.readouterr().err
    given = LaunchOptions("pbs", parse_hosts("a:64,b:64"), mpiexec=tmp_path / "mpiexec")
    launcher = PbsLauncher(options=given)
    launcher.close()
    assert launcher.inventory().core_count == 128 and capsys.readouterr().err == ""


def test_this_host_may_be_named_with_its_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    class Name:
        nodename = "n1"

    monkeypatch.setattr("os.uname", Name)
    assert [is_here(name) for name in ("n1", "n1.hsn.site.org", "n11", "n11.site.org", "n2")] == [
        True,
        True,
        False,
        False,
        False,
    ]
