"""The picture of hosts and cores."""

from __future__ import annotations

from orchestrator import Resources
from orchestrator.hosts import Host, Inventory, parse_hosts
from orchestrator.picture import Shown, label, picture
from orchestrator.placement import Placement
from orchestrator.placing import place


def test_picture_shows_every_host_and_who_holds_which_core() -> None:
    inventory = Inventory((Host("a", tuple(range(18)), (0, 1), 64.0), Host("b", (2, 3))))
    asked = {
        "heat": Resources(ranks=2, cores_per_rank=8, gpus=1),
        "trainer": Resources(cores=2, exclusive=True),
        "alone": Resources(ranks=3, exclusive_hosts=True, cores_per_rank=1),
    }
    taken: list[Placement] = []
    for name, resources in asked.items():
        taken.append(place(name, resources, inventory, taken))
    shown = [Shown("database_0", None), *(Shown(placement.program, placement) for placement in taken)]
    assert picture(inventory, shown).splitlines() == [
        "a  18 cores, GPUs 0-1, 64.0 GB",
        "     0 | B B B B B B B B B B B B B B B B",
        "    16 | C C",
        "b  2 cores",
        "     2 | + +",
        "",
        "   A  database_0  any core of the driver's host",
        "   B  heat        a 0-7/gpu0 8-15/gpu1  2 ranks",
        "   C  trainer     a 16-17  for itself",
        "   D  alone       b 2-3 ×3  3 ranks  hosts for itself",
        "   .  free    + shared",
    ]


def test_a_bound_core_that_others_share_says_both() -> None:
    inventory = parse_hosts("h:2,i:1")
    taken: list[Placement] = []
    for name, cores in (("x", 1), ("y", 2)):
        taken.append(place(name, Resources(cores=cores), Inventory(inventory.hosts[:1]), taken))
    lines = picture(inventory, [Shown(placement.program, placement) for placement in taken]).splitlines()
    assert lines[:4] == ["h  2 cores", "     0 | A+ +", "i  1 core", "     0 | ."]
    assert lines[-2] == "   B  y  h 0-1  shared"


def test_labels_never_run_out() -> None:
    assert [label(number) for number in (0, 25, 26, 27, 701, 702)] == ["A", "Z", "AA", "AB", "ZZ", "AAA"]
    assert len({label(number) for number in range(2000)}) == 2000
