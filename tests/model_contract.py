"""What every client must do with the versions of models; see `tests.client_contract`."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import numpy as np
import pytest

from sim_clients import (
    InferenceFailed,
    ModelAbout,
    ModelMissing,
    ModelRejected,
    NameRefused,
    TensorError,
)
from sim_clients.registry import REPORTS_KEPT, newest, previous
from tests.field_contract import OpenClient


@dataclass(frozen=True)
class Networks:
    """Models in the form that a client's database loads."""

    doubles: bytes
    triples: bytes
    multiplies_matrices: bytes
    """Of two inputs: x @ y."""
    doubles_and_triples: bytes
    """Of one input and two outputs: 2 x, 3 x."""
    garbage: bytes = b"this is no network"


def field(shape: tuple[int, ...] = (3, 4), dtype: str = "float32") -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


class ModelContract:
    """Versions, which of them is live, and what is known and said of them."""

    def test_a_version_never_changes(self, open_client: OpenClient, networks: Networks) -> None:
        client = open_client("trainer")
        client.put_model("closure", networks.doubles, 1)
        client.put_model("closure", networks.triples, 2)
        client.promote("closure", 1)
        with pytest.raises(ModelRejected, match="there was a version 2 before, and a version never changes"):
            client.put_model("closure", networks.doubles, 2)
        np.testing.assert_allclose(client.infer("closure", field(), version=2), 3 * field())
        client.put_model("closure", networks.triples, 3)
        assert client.model_version("closure") == 3

    def test_a_version_that_is_only_stored_is_promoted_later(
        self, open_client: OpenClient, networks: Networks
    ) -> None:
        trainer, solver = open_client("trainer"), open_client("solver", 3)
        trainer.put_model("closure", networks.doubles, 1, promote=False)
        with pytest.raises(ModelMissing, match="'closure' yet"):
            solver.infer_versioned("closure", field())
        np.testing.assert_allclose(solver.infer("closure", field(), version=1), 2 * field())
        trainer.promote("closure", 1)
        trainer.put_model("closure", networks.triples, 2, promote=False)
        for version, factor in ((1, 2), (2, 3), (1, 2)):
            trainer.promote("closure", version)
            assert solver.model_version("closure") == version
            answer, answered = solver.infer_versioned("closure", field())
            assert answered == version
            np.testing.assert_allclose(answer, factor * field())

    def test_what_cannot_be_promoted_is_named_and_the_live_version_stays(
        self, open_client: OpenClient, networks: Networks
    ) -> None:
        client = open_client("trainer")
        client.put_model("closure", networks.doubles, 1)
        with pytest.raises(ModelMissing, match="version 7 of the model 'closure'") as caught:
            client.promote("closure", 7)
        assert (caught.value.name, caught.value.version) == ("closure", 7)
        with pytest.raises(ModelMissing, match="version 1 of the model 'other'"):
            client.promote("other", 1)
        with pytest.raises(ModelRejected, match="a version is a whole number"):
            client.promote("closure", 0)
        with pytest.raises(NameRefused):
            client.promote("clo{sure", 1)
        assert client.model_version("closure") == 1

    @pytest.mark.parametrize("name", ["flag.stop", "snapshots"])
    def test_a_model_takes_no_key_of_others(
        self, open_client: OpenClient, networks: Networks, name: str
    ) -> None:
        client = open_client("trainer")
        with pytest.raises(
            NameRefused, match=r"cannot name a model: the (keys of flags|stream of snapshots)"
        ):
            client.put_model(name, networks.doubles, 1)
        assert not client.stop_requested()
        client.put_snapshot(0, {"u": np.ones(3)})

    def test_what_is_known_of_a_version(self, open_client: OpenClient, networks: Networks) -> None:
        trainer, reader = open_client("trainer"), open_client("reader")
        assert reader.model_versions("closure") == []
        about = ModelAbout(
            0.02, {"bias": -1.5}, samples=640, steps=40, git_commit="3c07a0a", format="torchscript"
        )
        trainer.put_model("closure", networks.doubles, 1)
        trainer.put_model("closure", networks.triples, 4, about=about)
        first, second = reader.model_versions("closure")
        assert (first.version, first.state, first.live, first.was_live) == (1, "stored", False, True)
        assert (second.version, second.state, second.live, second.was_live) == (4, "stored", True, True)
        assert (first.about.parent, first.about.loss, first.about.bytes) == (
            None,
            None,
            len(networks.doubles),
        )
        assert first.about.unix_time is not None
        assert second.about.unix_time is not None
        assert 0 <= second.about.unix_time - first.about.unix_time < 600
        filled = {"parent": 1, "unix_time": second.about.unix_time, "bytes": len(networks.triples)}
        assert second.about == dataclasses.replace(about, **filled)

    def test_what_is_known_must_be_numbers(self, open_client: OpenClient, networks: Networks) -> None:
        client = open_client("trainer")
        with pytest.raises(ModelRejected, match="its loss is nan"):
            client.put_model("closure", networks.doubles, 1, about=ModelAbout(loss=float("nan")))
        with pytest.raises(ModelRejected, match="a ModelAbout, got dict"):
            client.put_model("closure", networks.doubles, 1, about={"loss": 1.0})  # type: ignore[arg-type]
        assert client.model_versions("closure") == []

    def test_a_refused_version_may_be_posted_again(self, open_client: OpenClient, networks: Networks) -> None:
        client = open_client("trainer")
        with pytest.raises(ModelRejected):
            client.put_model("closure", networks.garbage, 1)
        assert client.model_versions("closure") == []
        client.put_model("closure", networks.doubles, 1)
        assert [each.version for each in client.model_versions("closure")] == [1]

    def test_the_version_to_go_back_to(self, open_client: OpenClient, networks: Networks) -> None:
        """One goes back step by step; what was left for an earlier one is none to go back to."""
        client = open_client("trainer")

        def back() -> int | None:
            return previous(client.model_versions("closure"))

        for version in (1, 2, 3):
            client.put_model("closure", networks.doubles, version)
        client.put_model("closure", networks.doubles, 4, promote=False)
        assert back() == 2
        client.promote("closure", 2)
        assert back() == 1
        client.put_model("closure", networks.triples, 5)
        assert back() == 2
        client.remove_model_version("closure", 2)
        assert back() == 1
        client.promote("closure", 1)
        assert back() is None
        assert newest(client.model_versions("closure")) == 5

    def test_removing_versions(self, open_client: OpenClient, networks: Networks) -> None:
        client = open_client("trainer")
        about = ModelAbout(loss=0.5)
        client.put_model("closure", networks.doubles, 1, about=about)
        client.put_model("closure", networks.triples, 2)
        client.report_error("closure", 0.1, 1)
        with pytest.raises(ModelRejected, match="version 2 is live; promote another one"):
            client.remove_model_version("closure", 2)
        with pytest.raises(ModelMissing, match="version 7"):
            client.remove_model_version("closure", 7)
        client.remove_model_version("closure", 1)
        with pytest.raises(ModelMissing, match="version 1"):
            client.infer("closure", field(), version=1)
        with pytest.raises(ModelMissing, match="version 1"):
            client.promote("closure", 1)
        first, second = client.model_versions("closure")
        assert (first.state, first.about.loss, first.was_live) == ("removed", 0.5, False)
        assert (second.state, second.live) == ("stored", True)
        assert client.reported_errors("closure", 1) == []
        client.remove_model_version("closure", 1)  # twice is harmless
        np.testing.assert_allclose(client.infer("closure", field()), 3 * field())

    def test_a_version_that_a_trial_would_go_back_to_is_not_removed(
        self, open_client: OpenClient, networks: Networks
    ) -> None:
        trainer, other = open_client("trainer"), open_client("other")
        for version in (1, 2, 3):
            trainer.put_model("closure", networks.doubles, version)
        trainer.begin_trial("closure", 3, 2, 600.0)
        assert [each.fallback for each in other.model_versions("closure")] == [False, True, False]
        with pytest.raises(ModelRejected, match="the trial of version 3 would go back to version 2"):
            other.remove_model_version("closure", 2)
        other.remove_model_version("closure", 1)
        trainer.end_trial("closure", 2)  # of another version, which has no trial
        with pytest.raises(ModelRejected):
            other.remove_model_version("closure", 2)
        trainer.end_trial("closure", 3)
        other.remove_model_version("closure", 2)
        assert [each.state for each in other.model_versions("closure")] == ["removed", "removed", "stored"]

    def test_a_trial_holds_nothing_when_its_time_is_over_or_another_version_is_live(
        self, open_client: OpenClient, networks: Networks
    ) -> None:
        trainer = open_client("trainer")
        for version in (1, 2):
            trainer.put_model("closure", networks.doubles, version)
        trainer.begin_trial("closure", 2, 1, 600.0)
        trainer.put_model("closure", networks.triples, 3)
        trainer.remove_model_version("closure", 1)
        trainer.begin_trial("closure", 3, 2, 0.001)
        deadline = time.monotonic() + 30
        while any(each.fallback for each in trainer.model_versions("closure")):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        trainer.remove_model_version("closure", 2)
        for before, seconds in ((3, 1.0), (2, 0.0), (2, float("nan"))):
            with pytest.raises(ModelRejected, match="the trial of version 3"):
                trainer.begin_trial("closure", 3, before, seconds)
        trainer.begin_trial("closure", 3, 2, float("inf"))
        trainer.end_trial("closure", 3)
        assert [each.fallback for each in trainer.model_versions("closure")] == [False] * 3

    def test_a_report_of_a_version_that_is_not_there_is_not_kept(
        self, open_client: OpenClient, networks: Networks
    ) -> None:
        """Neither for the one that comes later, nor of one that has been removed."""
        client = open_client("trainer")
        client.report_error("closure", float("nan"), 1)
        client.put_model("closure", networks.doubles, 1)
        assert client.reported_errors("closure", 1) == []
        client.put_model("closure", networks.triples, 2)
        client.report_error("closure", 0.5, 1)
        assert len(client.reported_errors("closure", 1)) == 1
        client.remove_model_version("closure", 1)
        client.report_error("closure", 0.5, 1)
        assert client.reported_errors("closure", 1) == []

    def test_solvers_report_how_well_a_version_does(
        self, open_client: OpenClient, networks: Networks
    ) -> None:
        trainer, one, other = open_client("trainer"), open_client("heat_0"), open_client("heat_1", 2)
        trainer.put_model("closure", networks.doubles, 3)
        trainer.put_model("closure", networks.triples, 4)
        assert trainer.reported_errors("closure", 3) == []
        one.report_error("closure", 0.25, 3)
        other.report_error("closure", np.float32(0.5), 3)
        one.report_error("closure", float("nan"), 3)
        one.report_error("closure", float("-inf"), 4)
        first, second, third = trainer.reported_errors("closure", 3)
        assert first == (0.25, "heat_0", 0)
        assert second == (0.5, "heat_1", 2)
        assert np.isnan(third.value)
        assert trainer.reported_errors("closure", 4)[0].value == float("-inf")
        with pytest.raises(ModelRejected, match="an error is a number, got 'bad'"):
            one.report_error("closure", "bad", 3)  # type: ignore[arg-type]
        with pytest.raises(ModelRejected, match="a version is a whole number"):
            one.report_error("closure", 1.0, 0)

    def test_inference_that_fails_by_the_live_version(
        self, open_client: OpenClient, networks: Networks
    ) -> None:
        client = open_client("solver")
        client.put_model("product", networks.multiplies_matrices, 1)
        with pytest.raises(InferenceFailed, match="'product"):
            client.infer_versioned("product", field((3, 4)), field((3, 4)))
        with pytest.raises(TensorError, match="at least one input"):
            client.infer_versioned("product")
        answer, version = client.infer_versioned("product", field((3, 4)), field((4, 2)))
        assert (answer.shape, version) == ((3, 2), 1)

    def test_all_outputs_and_the_version_that_has_answered(
        self, open_client: OpenClient, networks: Networks
    ) -> None:
        client = open_client("solver")
        client.put_model("both", networks.doubles, 1)
        client.put_model("both", networks.doubles_and_triples, 4)
        (doubled, tripled), version = client.infer_outputs_versioned("both", field(), count=2)
        assert version == 4
        np.testing.assert_allclose(doubled, 2 * field())
        np.testing.assert_allclose(tripled, 3 * field())
        for count in (1, 3):
            with pytest.raises(InferenceFailed):
                client.infer_outputs_versioned("both", field(), count=count)
        with pytest.raises(TensorError, match="at least one output"):
            client.infer_outputs_versioned("both", field(), count=0)

    def test_a_swap_that_is_refused_leaves_no_version_that_has_lived(
        self, open_client: OpenClient, networks: Networks
    ) -> None:
        client = open_client("trainer")
        client.put_model("closure", networks.doubles, 1)
        client.put_model("closure", networks.triples, 2, promote=False)
        with pytest.raises(ModelMissing):
            client.promote("closure", 3)
        found = {each.version: each.was_live for each in client.model_versions("closure")}
        assert found == {1: True, 2: False}


class ReportsContract:
    """A thousand reports: of clients to which one call is not a connection to a whole cluster."""

    @pytest.mark.parametrize("word", ["nan", "-inf"])
    def test_a_report_that_is_not_finite_is_not_pushed_out_by_later_ones(
        self, open_client: OpenClient, networks: Networks, word: str
    ) -> None:
        client = open_client("heat_0")
        client.put_model("closure", networks.doubles, 1)
        for value in (0.25, float(word), *map(float, range(REPORTS_KEPT + 2))):
            client.report_error("closure", value, 1)
        first, *others = (each.value for each in client.reported_errors("closure", 1))
        assert str(first) == word
        assert others == [float(number) for number in range(3, REPORTS_KEPT + 2)]
