"""From requests and limits to the kernel's numbers: kubelet's rules, pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgroups import Cpu, Hugetlb, Knobs, Memory, Pids
from sandbox.errors import Unsupported
from sandbox.model import Container, Pod, QosClass, Resources, RestartPolicy
from sandbox.pod import resources
from sandbox.pod.resources import Means, Placement
from sandbox.quantity import Quantity, parse

ALL = Means(frozenset({"cpu", "hugetlb", "memory", "pids"}), (), swap=True)
GIB = 1 << 30
MIB = 1 << 20


def asking(limits: Mapping[str, str] | None = None, requests: Mapping[str, str] | None = None) -> Resources:
    """As the manifest's reader makes it: what has a limit alone requests that much."""
    said = {name: parse(text) for name, text in (limits or {}).items()}
    return Resources(said, {**said, **{name: parse(text) for name, text in (requests or {}).items()}})


def a_pod(*each: Resources) -> Pod:
    return Pod("web", containers=tuple(Container(f"c{index}", "i", resources=r) for index, r in enumerate(each)))


def values(knobs: tuple[Knobs, ...]) -> dict[str, str]:
    return {file: value for each in knobs for file, value in each.values().items()}


def of_pod(pod: Pod, means: Means = ALL, **options: Any) -> dict[str, str]:
    return values(resources.placement(pod, means, **options).knobs)


def of_container(pod: Pod, index: int = 0, means: Means = ALL) -> dict[str, str]:
    return values(resources.container_knobs(pod, pod.containers[index], means))


NOTHING = asking()
FULL = asking({"cpu": "500m", "memory": "64Mi"})
REQUESTS = asking(requests={"cpu": "250m", "memory": "32Mi"})

# ---- the numbers ----


@pytest.mark.parametrize(
    ("milli", "shares", "weight"),
    [
        *((0, 2, 1), (1, 2, 1), (3, 3, 2), (100, 102, 17), (250, 256, 35), (500, 512, 59), (1000, 1024, 100)),
        *((2000, 2048, 174), (64_000, 65536, 3023), (256_000, 262144, 10000), (10**9, 262144, 10000)),
    ],
)
def test_shares_and_weight_of_a_request(milli: int, shares: int, weight: int) -> None:
    assert (resources.shares(milli), resources.weight(milli)) == (shares, weight)


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_weights_are_what_the_kernel_takes_and_more_is_never_less(one: int, other: int) -> None:
    least, most = sorted((one, other))
    assert 1 <= resources.weight(least) <= resources.weight(most) <= 10000


@pytest.mark.parametrize(
    ("milli", "quota"),
    [(0, None), (1, 1000), (10, 1000), (11, 1100), (500, 50_000), (1000, 100_000), (2**63, resources.MAX_QUOTA)],
)
def test_the_quota_of_a_limit(milli: int, quota: int | None) -> None:
    assert resources.quota(milli) == quota


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (NOTHING, 1000),
        (FULL, -997),
        (asking(requests={"cpu": "1"}), 999),
        (asking(requests={"memory": "1"}), 999),
        (asking(requests={"memory": "1Gi"}), 750),
        (asking(requests={"memory": "3Gi"}), 250),
        (asking(requests={"memory": "4Gi"}), 3),
        (asking(requests={"memory": "9Gi"}), 3),
    ],
)
def test_the_place_in_the_queue_of_the_oom_killer_on_four_gibibytes(asked: Resources, expected: int) -> None:
    pod = a_pod(asked)
    assert resources.oom_score_adj(pod, pod.containers[0], 4 * GIB) == expected


@given(st.integers(1, 2**50), st.integers(MIB, 2**50))
def test_what_is_burstable_goes_after_best_effort_and_before_guaranteed(request: int, machine: int) -> None:
    pod = a_pod(Resources({}, {"memory": Quantity(Decimal(request))}))
    assert 3 <= resources.oom_score_adj(pod, pod.containers[0], machine) <= 999


# ---- a container ----


def test_a_pod_that_asks_for_nothing_is_given_nothing() -> None:
    pod = a_pod(NOTHING, NOTHING)
    assert resources.placement(pod, ALL) == Placement() == resources.NOTHING_ASKED
    assert of_container(pod) == {}


def test_a_container_with_limits() -> None:
    assert of_container(a_pod(FULL)) == {
        "cpu.weight": "59",
        "cpu.max": "50000 100000",
        "memory.max": str(64 * MIB),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
    }


def test_a_container_with_requests_alone_has_a_weight_and_no_bounds() -> None:
    pod = a_pod(REQUESTS, NOTHING)
    assert of_container(pod, 0) == {"cpu.weight": "35", "memory.swap.max": "0", "memory.oom.group": "1"}
    assert of_container(pod, 1) == {"cpu.weight": "1", "memory.swap.max": "0", "memory.oom.group": "1"}


def test_a_limit_of_zero_is_none() -> None:
    pod = a_pod(asking({"cpu": "0", "memory": "0"}), FULL)
    assert "cpu.max" not in of_container(pod)
    assert "memory.max" not in of_container(pod)
    assert of_pod(pod) == {"cpu.weight": "59"}


def test_where_the_kernel_cannot_swap_nothing_is_said_of_it() -> None:
    assert "memory.swap.max" not in of_container(a_pod(FULL), means=Means(ALL.controllers))


def test_fractions_are_rounded_up() -> None:
    pod = a_pod(asking({"cpu": "10.5m", "memory": "1.5"}))
    assert of_container(pod)["cpu.max"] == "1100 100000"
    assert of_container(pod)["memory.max"] == "2"


# ---- a pod ----


def test_a_pod_has_the_sums_where_every_container_has_a_limit() -> None:
    pod = a_pod(FULL, asking({"cpu": "1", "memory": "1Gi"}, {"cpu": "100m"}))
    assert of_pod(pod) == {"cpu.weight": "67", "cpu.max": "150000 100000", "memory.max": str(GIB + 64 * MIB)}
    assert resources.weight(600) == 67


def test_a_pod_is_not_bounded_where_one_container_is_not() -> None:
    pod = a_pod(FULL, asking({"memory": "1Gi"}))
    assert of_pod(pod) == {"cpu.weight": "59", "memory.max": str(GIB + 64 * MIB)}
    assert of_pod(a_pod(FULL, NOTHING)) == {"cpu.weight": "59"}


def test_a_pods_place_is_that_of_its_class() -> None:
    """Its containers' controllers are to be on, and what it requests counts for the class."""
    assert resources.placement(a_pod(FULL), ALL).qos is QosClass.GUARANTEED
    placed = resources.placement(a_pod(REQUESTS, FULL), ALL)
    assert (placed.qos, placed.cpu, placed.controllers) == (QosClass.BURSTABLE, 750, ("cpu", "memory"))


def test_only_the_controllers_that_there_are_get_knobs() -> None:
    means = Means(frozenset({"memory"}))
    placed = resources.placement(a_pod(REQUESTS), means)
    assert (placed.knobs, placed.controllers) == ((Memory(),), ("memory",))
    assert resources.placement(a_pod(FULL), Means(), pids_limit=10).knobs == ()
    assert of_container(a_pod(FULL), means=Means()) == {}


def test_the_limit_of_processes_is_every_pods() -> None:
    assert resources.placement(a_pod(NOTHING), ALL, 100).knobs == (Pids(100),)
    assert resources.placement(a_pod(NOTHING), ALL, 100).controllers == (), "its containers have none of their own"
    assert of_pod(a_pod(FULL), pids_limit=100)["pids.max"] == "100"
    assert of_pod(a_pod(FULL), pids_limit=-1).keys() & {"pids.max"} == set()


def test_huge_pages_are_limited_in_the_pod_and_in_each_container() -> None:
    pod = a_pod(asking({"cpu": "1", "hugepages-2Mi": "4Mi"}), asking({"cpu": "1", "hugepages-1Gi": "2Gi"}), NOTHING)
    bounds = [each for each in resources.placement(pod, ALL).knobs if isinstance(each, Hugetlb)]
    assert bounds == [Hugetlb({2 * MIB: 4 * MIB, GIB: 2 * GIB})]
    assert of_container(pod, 0)["hugetlb.2MB.max"] == of_container(pod, 0)["hugetlb.2MB.rsvd.max"] == str(4 * MIB)
    assert [of_container(pod, index)["hugetlb.1GB.max"] for index in range(3)] == ["0", str(2 * GIB), "0"]


def test_huge_pages_that_the_machine_has_reserved_are_for_those_who_ask() -> None:
    means = Means(ALL.controllers, (2 * MIB,))
    assert resources.placement(a_pod(NOTHING), means).knobs == (Hugetlb({2 * MIB: 0}),)
    assert resources.placement(a_pod(NOTHING), Means(frozenset(), (2 * MIB,))).knobs == ()


@given(
    st.lists(
        st.builds(
            lambda limits, requests: Resources(limits, {**limits, **requests}),
            *[st.dictionaries(st.sampled_from(["cpu", "memory"]), st.builds(Quantity, st.decimals(0, 2**40)))] * 2,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_no_container_is_promised_less_than_in_its_pod(each: list[Resources]) -> None:
    """Whatever is asked: all values are numbers that the kernel takes, and the pod's bounds leave room for its
    containers'."""
    pod = a_pod(*each)
    whole = of_pod(pod)
    parts = [of_container(pod, index) for index in range(len(each))]
    for file in ("cpu.max", "memory.max"):
        bounds = [int(part[file].split()[0]) for part in parts if file in part]
        if file in whole:
            assert len(bounds) == len(parts)
            assert int(whole[file].split()[0]) >= max(bounds)
    assert all(
        int(word) >= 0
        for value in [*whole.values(), *(v for part in parts for v in part.values())]
        for word in value.split()
    )


# ---- init containers ----


def with_init(containers: list[Resources], *inits: tuple[Resources, bool]) -> Pod:
    """A pod with init containers as well: what each asks for, and whether it is a sidecar."""
    made = (
        Container(f"i{index}", "i", resources=asked, restart_policy=RestartPolicy.ALWAYS if sidecar else None)
        for index, (asked, sidecar) in enumerate(inits)
    )
    return replace(a_pod(*containers), init_containers=tuple(made))


def cpu(amount: str) -> Resources:
    return asking({"cpu": amount})


@pytest.mark.parametrize(
    ("containers", "inits", "milli"),
    [
        ([cpu("1"), cpu("2")], [], 3000),
        ([cpu("1"), cpu("2")], [(cpu("2"), False)], 3000),
        ([cpu("1"), cpu("2")], [(cpu("5"), False), (cpu("4"), False)], 5000),  # one after the other
        ([cpu("1")], [(cpu("2"), True)], 3000),  # side by side
        ([cpu("1")], [(cpu("2"), True), (cpu("3"), False)], 5000),  # the sidecar was there before
        ([cpu("1")], [(cpu("3"), False), (cpu("2"), True)], 3000),  # and here came after it
        ([cpu("1")], [(cpu("1"), True), (cpu("2"), True), (cpu("1"), False)], 4000),
        ([cpu("1")], [(cpu("1"), True), (cpu("3"), False), (cpu("2"), True), (cpu("500m"), False)], 4000),
    ],
)
def test_a_pod_has_what_is_used_at_a_time(
    containers: list[Resources], inits: list[tuple[Resources, bool]], milli: int
) -> None:  # A23
    pod = with_init(containers, *inits)
    assert resources.placement(pod, ALL).cpu == milli
    assert of_pod(pod)["cpu.max"] == f"{milli * 100} 100000"
    assert of_pod(pod)["cpu.weight"] == str(resources.weight(milli))


def test_the_most_is_found_for_each_resource_by_itself() -> None:
    pod = with_init([asking({"cpu": "1", "memory": "1Gi"})], (asking({"cpu": "500m", "memory": "2Gi"}), False))
    assert of_pod(pod) == {"cpu.weight": "100", "cpu.max": "100000 100000", "memory.max": str(2 * GIB)}


@pytest.mark.parametrize(
    ("inits", "bounded"),
    [
        ([(FULL, False)], True),
        ([(NOTHING, False)], False),
        ([(NOTHING, True)], False),
        ([(NOTHING, False), (FULL, True)], False),
        ([(FULL, True), (NOTHING, False)], True),  # kubelet sees the sidecar's limit beside it
    ],
)
def test_an_init_container_without_a_limit_leaves_the_pod_without_one(
    inits: list[tuple[Resources, bool]], bounded: bool
) -> None:
    whole = of_pod(with_init([FULL], *inits))
    assert ("cpu.max" in whole, "memory.max" in whole) == (bounded, bounded)


def test_the_class_is_by_all_containers() -> None:
    assert resources.placement(with_init([FULL], (FULL, False)), ALL).qos is QosClass.GUARANTEED
    assert resources.placement(with_init([FULL], (NOTHING, False)), ALL).qos is QosClass.BURSTABLE
    placed = resources.placement(with_init([NOTHING], (REQUESTS, False)), ALL)
    assert (placed.qos, placed.cpu, placed.controllers) == (QosClass.BURSTABLE, 250, ("cpu", "memory"))


def test_huge_pages_of_init_containers_count_as_their_memory_does() -> None:
    two, four = (asking({"cpu": "1", "hugepages-2Mi": f"{size}Mi"}) for size in (2, 4))
    pod = with_init([two], (two, True), (four, False))
    assert Hugetlb({2 * MIB: 6 * MIB}) in resources.placement(pod, ALL).knobs
    alone = with_init([NOTHING], (four, False))
    assert Hugetlb({2 * MIB: 4 * MIB}) in resources.placement(alone, ALL).knobs
    assert of_container(alone)["hugetlb.2MB.max"] == "0"


@pytest.mark.parametrize(
    ("sidecar", "own", "expected"),
    [(True, "1Gi", 500), (True, "3Gi", 250), (False, "1Gi", 750)],
)
def test_a_sidecar_goes_no_sooner_than_the_containers_it_serves(sidecar: bool, own: str, expected: int) -> None:
    asked = [asking(requests={"memory": size}) for size in ("2Gi", "3Gi")]
    pod = with_init(asked, (asking(requests={"memory": own}), sidecar))
    assert resources.oom_score_adj(pod, pod.init_containers[0], 4 * GIB) == expected
    assert resources.oom_score_adj(pod, pod.containers[0], 4 * GIB) == 500


def test_a_limit_or_request_of_an_init_container_that_cannot_be_held_is_told() -> None:
    assert 'container "i0": a limit of cpu needs' in str(refusal(with_init([NOTHING], (FULL, False)), "memory"))
    told = resources.unheld_requests(with_init([NOTHING], (REQUESTS, False)), why_not("cpu"))
    assert told == "Requests of memory have no effect here: no memory here: get one"


# ---- what a host cannot do ----


def why_not(*there: str) -> resources.Why:
    return lambda controller: None if controller in there else f"no {controller} here: get one"


def refusal(pod: Pod, *there: str, pids_limit: int = -1) -> Unsupported:
    with pytest.raises(Unsupported) as caught:
        resources.check(pod, why_not(*there), pids_limit=pids_limit, page_sizes=lambda: [2 * MIB])
    return caught.value


@pytest.mark.parametrize(
    ("asked", "there", "name", "controller"),
    [
        (FULL, ["memory"], "cpu", "cpu"),
        (FULL, ["cpu"], "memory", "memory"),
        (asking({"cpu": "1", "hugepages-2Mi": "2Mi"}), ["cpu", "memory"], "hugepages-2Mi", "hugetlb"),
    ],
)
def test_a_limit_without_its_controller_is_refused_by_name(
    asked: Resources, there: list[str], name: str, controller: str
) -> None:
    error = refusal(a_pod(NOTHING, asked), *there)
    assert str(error) == (
        f'pod "web", container "c1": a limit of {name} needs the cgroup v2 controller {controller}, '
        "which this host lacks"
    )
    assert error.hint == f"no {controller} here: get one"


def test_huge_pages_of_a_size_that_there_is_not_are_refused() -> None:
    error = refusal(a_pod(asking({"cpu": "1", "hugepages-1Gi": "1Gi"})), "cpu", "hugetlb")
    assert str(error) == (
        'pod "web", container "c0": a limit of huge pages needs such of 1073741824 bytes, which this host lacks'
    )


def test_a_limit_of_processes_without_its_controller_is_refused_for_every_pod() -> None:
    error = refusal(a_pod(NOTHING), "cpu", "memory", pids_limit=100)
    assert str(error) == 'pod "web": podPidsLimit needs the cgroup v2 controller pids, which this host lacks'


@pytest.mark.parametrize("asked", [NOTHING, REQUESTS, asking({"cpu": "0", "memory": "0"})])
def test_what_has_no_limit_is_not_refused(asked: Resources) -> None:
    resources.check(a_pod(asked), why_not(), pids_limit=-1, page_sizes=lambda: pytest.fail("nobody asks for any"))


def test_requests_that_cannot_be_held_are_told_each_reason_once() -> None:
    pod = a_pod(REQUESTS, FULL, NOTHING)
    assert resources.unheld_requests(pod, why_not("cpu", "memory")) is None
    assert resources.unheld_requests(pod, why_not("cpu")) == (
        "Requests of memory have no effect here: no memory here: get one"
    )
    assert resources.unheld_requests(pod, lambda controller: "get another host") == (
        "Requests of cpu and memory have no effect here: get another host"
    )
    assert resources.unheld_requests(a_pod(NOTHING), why_not()) is None
    assert resources.unheld_requests(a_pod(asking(requests={"cpu": "0", "ephemeral-storage": "1"})), why_not()) is None


def test_knobs_are_ours() -> None:
    assert resources.container_knobs(a_pod(FULL), a_pod(FULL).containers[0], ALL) == (
        Cpu(59, 50_000, 100_000),
        Memory(max=64 * MIB, swap_max=0, oom_group=True),
    )
