"""Runs steps by a launcher of SmartSim: the one file that knows it. A program, in SmartSim's own Python.

Its argument is auto, local, lsf, sge or pals.

It is asked by lines of JSON on its standard input, and tells by such lines on its standard output. When its
input ends, be it that its driver was killed, it stops what still runs and leaves. SmartSim's launchers are
asked again and again how their steps are: they tell nobody by themselves.

Standard library and SmartSim only: Penstock need not be installed in this Python, which may be 3.9.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from smartsim._core.launcher import LocalLauncher, LSFLauncher, PBSLauncher, SGELauncher
from smartsim.error.errors import ShellError
from smartsim.settings import JsrunSettings, PalsMpiexecSettings
from smartsim.settings.base import RunSettings
from smartsim.settings.settings import create_run_settings
from smartsim.status import TERMINAL_STATUSES, SmartSimStatus
from smartsim.wlm import detect_launcher

INTERVAL_S = 0.1
AT_ONCE = "Command failed immediately"
"""So begins what SmartSim raises, without the exit code, where a program fails in its first 0.2 s."""
LAUNCHERS = {"local": LocalLauncher, "lsf": LSFLauncher, "sge": SGELauncher, "pals": PBSLauncher}
Message = dict[str, Any]


class Steps:
    """The steps of one driver.

    Args:
        scheduler: whose launcher of SmartSim's runs them.
        out: where answers go.
    """

    def __init__(self, scheduler: str, out: TextIO) -> None:
        self.scheduler = scheduler
        self._out = out
        self._launcher = LAUNCHERS[scheduler]()
        self._names: dict[str, str] = {}  # SmartSim's name of each step that runs, by ours

    def tell(self, **facts: Any) -> None:
        """Write a line."""
        self._out.write(json.dumps(facts) + "\n")
        self._out.flush()

    def hear(self, message: Message) -> None:
        """Do what is asked; what goes wrong there is the answer."""
        key = message["key"]
        try:
            if message["do"] == "start":
                self._start(key, message)
            elif message["do"] == "show":
                self.tell(key=key, command=self._step(message).get_launch_cmd())
            elif key in self._names:
                self._launcher.stop(self._names[key])
        except Exception as error:  # noqa: BLE001 (at the edge: SmartSim raises what it likes)
            told = f"{type(error).__name__}: {error}"
            self.tell(key=key, do=message["do"], name=message["name"], error=told)

    def look(self) -> None:
        """Tell of the steps that have ended."""
        manager = self._launcher.task_manager
        if self._names and not manager.actively_monitoring:
            manager.start()  # it may have gone to sleep just as the last step came
        keys = {name: key for key, name in self._names.items()}
        for name, info in self._launcher.get_step_update(list(keys)):
            if info is not None and self._is_over(name, info):
                del self._names[keys[name]]
                completed = info.status == SmartSimStatus.STATUS_COMPLETED
                self.tell(key=keys[name], ended=True, returncode=info.returncode, completed=completed)

    def stop_all(self) -> None:
        """Stop what runs."""
        for key in list(self._names):
            self.hear({"do": "stop", "key": key, "name": self._names[key]})

    def _start(self, key: str, message: Message) -> None:
        step = self._step(message)
        try:
            self._launcher.run(step)
        except ShellError as error:
            if not str(error).startswith(AT_ONCE):
                raise
            self.tell(key=key, started=True, pid=None)
            self.tell(key=key, ended=True, returncode=None, completed=False)
            return
        self._names[key] = step.name
        task = self._launcher.step_mapping[step.name].task_id
        self.tell(key=key, started=True, pid=int(task) if task is not None else None)

    def _step(self, message: Message) -> Any:
        (program, *arguments), environment = message["command"], message["environment"]
        if message["ranks"] is None:
            settings = RunSettings(program, arguments, env_vars=environment)
        else:
            settings = create_run_settings(self.scheduler, program, arguments, env_vars=environment)
            _place(settings, message)
        step = self._launcher.create_step(message["name"], message["directory"], settings)
        step.meta["status_dir"] = str(Path(message["directory"]) / "smartsim")
        return step

    def _is_over(self, name: str, info: Any) -> bool:
        """A process that has ended is a zombie at first, which SmartSim calls completed without a code."""
        managed = self._launcher.step_mapping[name].managed
        return info.status in TERMINAL_STATUSES and (managed or info.returncode is not None)


def _place(settings: RunSettings, message: Message) -> None:
    """Say how many ranks there are, and what each has, as far as SmartSim has words for it."""
    ranks, per_host = message["ranks"], message["ranks_per_host"]
    if isinstance(settings, JsrunSettings):  # a resource set for each
        settings.set_num_rs(ranks)
        settings.set_tasks_per_rs(1)
        settings.set_cpus_per_rs(message["cores_per_rank"])
        if message["gpus_per_rank"]:  # SmartSim would write a 0 as a flag without a value
            settings.set_gpus_per_rs(message["gpus_per_rank"])
        if per_host is not None:
            settings.set_rs_per_host(per_host)
        return
    settings.set_tasks(ranks)
    if not isinstance(settings, PalsMpiexecSettings):
        settings.set_cpus_per_task(message["cores_per_rank"])
    if per_host is not None:
        settings.set_tasks_per_node(per_host)


def main(scheduler: str) -> None:
    """Serve until the input ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what else prints here, SmartSim and the commands it runs, is no answer
    chosen = detect_launcher() if scheduler == "auto" else scheduler
    if chosen not in LAUNCHERS:
        json.dump({"refused": f"SmartSim finds {chosen!r} here, which Penstock drives itself"}, out)
        return
    steps = Steps(chosen, out)
    steps.tell(scheduler=chosen)
    messages: queue.Queue[Message | None] = queue.Queue()
    threading.Thread(target=_read, args=(messages,), daemon=True).start()
    _serve(steps, messages)
    steps.stop_all()


def _serve(steps: Steps, messages: queue.Queue[Message | None]) -> None:
    """Do what is asked, and look at the steps in between: also while one message follows another."""
    looked = time.monotonic()
    while True:
        try:
            message = messages.get(timeout=INTERVAL_S)
            if message is None:
                return
            steps.hear(message)
        except queue.Empty:
            pass
        if time.monotonic() - looked >= INTERVAL_S:
            steps.look()
            looked = time.monotonic()


def _read(messages: queue.Queue[Message | None]) -> None:
    for line in sys.stdin:
        messages.put(json.loads(line))
    messages.put(None)


if __name__ == "__main__":
    main(sys.argv[1])
