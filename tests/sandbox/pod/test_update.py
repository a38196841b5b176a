"""What a new manifest changes of a pod, field by field, and what becomes of containers with another image (A26)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import manifest
from sandbox.manifest import moot
from sandbox.model import Container, Pod, RestartPolicy
from sandbox.pod import lifecycle, report
from sandbox.pod.lifecycle import Condemn, Start, decide
from sandbox.pod.state import BackOff, Condemned, ContainerState, Deletion, Hindrance, Stopping, new_state
from sandbox.pod.termination import Decision, Remove, Stop, TearDown
from sandbox.pod.update import Change, between, changed, is_outdated, new_images, with_images
from sandbox.status import Running
from tests.sandbox.pod.values import NOON, a_pod, a_record, a_state, after, ended, making, running, waiting

NONE, IN_PLACE, REPLACEMENT = Change
ALWAYS, ON_FAILURE, NEVER = RestartPolicy.ALWAYS, RestartPolicy.ON_FAILURE, RestartPolicy.NEVER
OLD, NEW = "localhost/busybox", "rootfs:/new"

WRITTEN: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {
        "activeDeadlineSeconds": 100,
        "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
        "initContainers": [
            {"name": "init", "image": OLD},
            {"name": "side", "image": OLD, "restartPolicy": "Always"},
        ],
        "containers": [
            {"name": "a", "image": OLD, "command": ["x"], "resources": {"limits": {"memory": "1Gi", "cpu": "500m"}}},
            {"name": "b", "image": OLD, "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        ],
    },
}  # fmt: skip
Edit = Callable[[dict[str, Any]], object]


def edited(*edits: Edit) -> dict[str, Any]:
    document = copy.deepcopy(WRITTEN)
    for edit in edits:
        edit(document)
    return document


def spec(**fields: Any) -> Edit:
    return lambda document: document["spec"].update(fields)


def metadata(**fields: Any) -> Edit:
    return lambda document: document["metadata"].update(fields)


def of(index: int, kind: str = "containers", **fields: Any) -> Edit:
    return lambda document: document["spec"][kind][index].update(fields)


def without(name: str) -> Edit:
    return lambda document: document["spec"].pop(name)


def other_order(document: dict[str, Any]) -> None:
    for each in (document, document["spec"], *document["spec"]["containers"]):
        for key in sorted(each):
            each[key] = each.pop(key)


EDITS: tuple[tuple[str, Change, Edit], ...] = (
    ("the order of keys", NONE, other_order),
    ("defaults of the pod", NONE, spec(restartPolicy="Always", terminationGracePeriodSeconds=30, hostNetwork=False)),
    ("defaults of a container", NONE, of(1, imagePullPolicy="Always", terminationMessagePolicy="File", tty=False)),
    ("the default namespace", NONE, metadata(namespace="default")),
    ("a null", NONE, spec(hostname=None)),
    ("other notations", NONE, of(0, resources={"limits": {"memory": "1024Mi", "cpu": 0.5}})),
    ("the requests that limits imply", NONE, of(0, resources={
        "limits": {"memory": "1Gi", "cpu": "500m"}, "requests": {"memory": "1Gi", "cpu": "500m"}
    })),
    ("another notation of a size", NONE, spec(volumes=[{"name": "v", "emptyDir": {"sizeLimit": "1048576Ki"}}])),
    ("an image", IN_PLACE, of(0, image=NEW)),
    ("the image of an init container", IN_PLACE, of(0, "initContainers", image=NEW)),
    ("the image of a sidecar", IN_PLACE, of(1, "initContainers", image=NEW)),
    ("another text for the same image", IN_PLACE, of(1, image=f"{OLD}:latest")),
    ("labels", IN_PLACE, metadata(labels={"app": "db"})),
    ("no labels", IN_PLACE, metadata(labels={})),
    ("annotations", IN_PLACE, metadata(annotations={"a": "b"})),
    ("a nearer deadline", IN_PLACE, spec(activeDeadlineSeconds=99)),
    ("a later deadline", REPLACEMENT, spec(activeDeadlineSeconds=101)),
    ("no deadline", REPLACEMENT, without("activeDeadlineSeconds")),
    ("a command", REPLACEMENT, of(0, command=["y"])),
    ("the order of env", REPLACEMENT, of(1, env=[{"name": "B", "value": "2"}, {"name": "A", "value": "1"}])),
    ("resources", REPLACEMENT, of(0, resources={"limits": {"memory": "2Gi", "cpu": "500m"}})),
    ("the name of a container", REPLACEMENT, of(0, name="c")),
    ("the order of containers", REPLACEMENT, lambda document: document["spec"]["containers"].reverse()),
    ("one container more", REPLACEMENT, lambda d: d["spec"]["containers"].append({"name": "c", "image": OLD})),
    ("one container less", REPLACEMENT, lambda document: document["spec"]["containers"].pop()),
    ("no init containers", REPLACEMENT, without("initContainers")),
    ("a sidecar that is none any more", REPLACEMENT, lambda d: d["spec"]["initContainers"][1].pop("restartPolicy")),
    ("the grace period", REPLACEMENT, spec(terminationGracePeriodSeconds=1)),  # the API server: only from below 0 to 1
    ("the restart policy", REPLACEMENT, spec(restartPolicy="Never")),
    ("the hostname", REPLACEMENT, spec(hostname="x")),
    ("a volume", REPLACEMENT, spec(volumes=[{"name": "v", "emptyDir": {"medium": "Memory"}}])),
    ("a probe", REPLACEMENT, of(0, livenessProbe={"exec": {"command": ["x"]}})),
    ("the security context", REPLACEMENT, spec(securityContext={"runAsUser": 1})),
)  # fmt: skip


def a_parsed(*edits: Edit) -> Pod:
    return manifest.from_dict(edited(*edits))


@pytest.mark.parametrize(("change", "edit"), [edit[1:] for edit in EDITS], ids=[edit[0] for edit in EDITS])
def test_what_a_field_changes(change: Change, edit: Edit) -> None:
    assert edited(edit) != WRITTEN or edit is other_order
    assert between(a_parsed(), a_parsed(edit)) is change


def test_a_deadline_may_be_set() -> None:
    assert between(a_parsed(without("activeDeadlineSeconds")), a_parsed()) is IN_PLACE


LIGHT = [each for each in EDITS if each[1] is not REPLACEMENT]
HEAVY = [each for each in EDITS if each[1] is REPLACEMENT]


@given(st.lists(st.sampled_from(LIGHT), max_size=6), st.lists(st.sampled_from(HEAVY), max_size=1))
def test_several_changes_are_what_the_weightiest_of_them_is(
    light: list[tuple[str, Change, Edit]], heavy: list[tuple[str, Change, Edit]]
) -> None:
    edits = [*light, *heavy]  # a heavy one comes last: none of the others undoes it
    before, after = a_parsed(), a_parsed(*(edit for _, _, edit in edits))
    assert between(before, after) is max((change for _, change, _ in edits), key=lambda each: each.value, default=NONE)
    assert between(after, after) is NONE


@given(st.lists(st.sampled_from([OLD, NEW, "rootfs:/x"]), min_size=4, max_size=4))
def test_images_alone_are_changed_in_place_and_those_that_differ_are_told(images: list[str]) -> None:
    edits = [of(n % 2, "containers" if n < 2 else "initContainers", image=image) for n, image in enumerate(images)]
    before, after = a_parsed(), a_parsed(*edits)
    assert between(before, after) is (NONE if set(images) == {OLD} else IN_PLACE)
    asked = dict(zip(("a", "b", "init", "side"), images, strict=True))
    assert {each.name for each in new_images(before, after)} == {name for name in asked if asked[name] != OLD}


def test_what_has_no_effect_here_is_compared_as_it_is_written() -> None:
    said = {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "a"}], "priority": 0, "schedulerName": ""}
    assert moot.said({**said, "hostname": "x"}) == {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "a"}]}


# ---- containers whose image is another ----


def with_image(pod: Pod, name: str, image: str) -> Pod:
    both = {
        kind: tuple(replace(each, image=image) if each.name == name else each for each in getattr(pod, kind))
        for kind in ("init_containers", "containers")
    }
    return replace(pod, **both)


def of_old(known: ContainerState) -> ContainerState:
    """Begun with the old image."""
    return known.changed(image=OLD)


@pytest.mark.parametrize("policy", RestartPolicy)
def test_one_that_runs_is_to_end_whatever_the_policy_and_no_other(policy: RestartPolicy) -> None:  # A26
    pod = a_pod("a", "b", policy=policy)
    state = a_state(of_old(running("a")), of_old(running("b")))
    assert decide(pod, state, NOON) == Decision()
    newer = with_image(pod, "a", NEW)
    assert decide(newer, state, NOON) == Decision(Condemn(newer.containers[0]))
    condemned = state.with_container(state.container("a").changed(condemned=Condemned("changed", 5, again=True)))
    assert decide(newer, condemned, NOON) == Decision(Stop(("a",), after(5)))
    gone = condemned.with_container(condemned.container("a").with_end(ended("a").ended))  # type: ignore[arg-type]
    assert isinstance(decide(newer, gone, NOON).action, Start)
    fresh = gone.container("a").begun("b" * 64, 2, None, 0, NEW).started(NOON).changed(hooked=True)
    assert decide(newer, gone.with_container(fresh), NOON) == Decision()


def test_one_that_is_being_made_is_to_end_too() -> None:
    state = a_state(of_old(making()))
    assert isinstance(decide(with_image(a_pod(), "app", NEW), state, NOON).action, Condemn)


@pytest.mark.parametrize(
    ("policy", "code", "again"), [(NEVER, 1, False), (ON_FAILURE, 0, False), (ON_FAILURE, 1, True)]
)
def test_one_that_has_ended_is_begun_anew_only_as_the_policy_says(
    policy: RestartPolicy, code: int, again: bool
) -> None:
    """kubelet's computePodActions compares images of what runs alone (containerChanged); of what has ended its
    ShouldContainerBeRestarted looks at the policy and the exit code."""
    pod = with_image(a_pod("a", "b", policy=policy), "a", NEW)
    state = a_state(of_old(ended("a", code)), of_old(running("b")))
    assert isinstance(decide(pod, state, NOON).action, Start) is again


@pytest.mark.parametrize("code", [0, 1])
def test_a_pod_that_has_finished_stays_finished(code: int) -> None:
    pod, state = with_image(a_pod(policy=NEVER), "app", NEW), a_state(of_old(ended(code=code)))
    assert decide(pod, state, NOON) == Decision(TearDown())


def test_a_back_off_is_the_old_images_alone() -> None:
    """kubelet's key of it has the image in it (getStableKey)."""
    crashed = replace(of_old(ended(code=1)), back_off=BackOff(160, NOON))
    pod, state = a_pod(), a_state(crashed)
    assert decide(pod, state, after(1)) == Decision(None, after(160))
    assert lifecycle.waits(pod, state, "app", after(1)) == 160
    newer = with_image(pod, "app", NEW)
    assert decide(newer, state, after(1)) == Decision(Start("app", BackOff(10, after(1))))
    assert lifecycle.waits(newer, state, "app", after(1)) is None


SIDE = (Container("init", OLD), Container("side", OLD, restart_policy=ALWAYS))


def test_a_sidecar_is_restarted_and_an_init_container_is_not() -> None:  # A26
    pod = a_pod("a", init_containers=SIDE)
    state = a_state(of_old(ended("init")), of_old(running("side")), of_old(running("a")))
    assert decide(with_image(pod, "init", NEW), state, NOON) == Decision()
    side = with_image(pod, "side", NEW)
    assert decide(side, state, NOON) == Decision(Condemn(side.init_containers[1]))
    runs = a_state(of_old(running("init")), waiting("side"), waiting("a"))
    assert decide(with_image(pod, "init", NEW), runs, NOON) == Decision(), "nor is one that runs"


def test_a_pod_that_is_to_end_only_ends() -> None:
    pod, deletion = with_image(a_pod(), "app", NEW), Deletion(NOON, 5)
    state = a_state(of_old(running()), deletion=deletion)
    assert decide(pod, state, NOON) == Decision(Stop(("app",), after(5)))
    assert decide(pod, a_state(of_old(ended()), deletion=deletion), NOON) == Decision(Remove())


def test_one_that_ends_already_for_another_reason_does_that() -> None:
    condemned = of_old(running()).changed(condemned=Condemned("failed liveness probe", 5))
    pod = with_image(a_pod(policy=NEVER), "app", NEW)
    assert decide(pod, a_state(condemned), NOON) == Decision(Stop(("app",), after(5)))
    begun = condemned.changed(stopping=Stopping(after(5), kill_at=after(5)))
    assert decide(pod, a_state(begun), NOON) == Decision(None, after(5))


# ---- what is known of instances ----


def test_what_an_older_engine_has_begun_has_the_image_that_the_pod_had() -> None:
    state = with_images(a_state(running("a"), of_old(running("b")), waiting("c")), a_pod("a", "b", "c"))
    images = [each.instance.image if each.instance else None for each in state.containers]
    assert images == [OLD, OLD, None]
    assert not is_outdated(Container("a", NEW), running("a")), "of which nothing is known"


def test_what_could_not_be_made_with_the_old_image_is_tried_at_once_with_the_new() -> None:
    hindered = Hindrance("CreateContainerConfigError", "it must not be root", NOON)
    state = new_state(("a", "b"))
    for each in state.containers:
        state = state.with_container(each.hindered(hindered))
    after_it = changed(state, a_pod("a", "b"), with_image(a_pod("a", "b"), "a", NEW))
    assert [each.waiting for each in after_it.containers] == [None, hindered]


def test_the_status_has_the_image_that_runs() -> None:
    pod = with_image(a_pod(), "app", NEW)
    status = report.status(pod, a_record(), a_state(of_old(running())), NOON)
    assert isinstance(status.containers[0].state, Running)
    assert status.containers[0].image == OLD
    assert report.status(pod, a_record(), a_state(), NOON).containers[0].image == NEW
