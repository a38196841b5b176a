"""What cannot run here is refused, or told, of init containers as of the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from sandbox.capabilities import CAPABILITIES, bits
from sandbox.errors import SandboxError
from sandbox.linux import host
from sandbox.model import (
    Capabilities,
    Container,
    Pod,
    Resources,
    RestartPolicy,
    SeccompType,
    SecurityContext,
    VolumeMount,
)
from sandbox.pod import planning
from sandbox.pod.confinement import Policy
from sandbox.pod.planning import MAX_VOLUME_MOUNTS, Supplies
from sandbox.quantity import parse
from sandbox.status import OOM_SCORE_NOT_SET, REQUESTS_NOT_ENFORCED
from tests.sandbox.pod.world import FakeSlices

IMAGE = "rootfs:/"
FINE = Container("fine", IMAGE, ("true",))


def supplies(images: Path) -> Supplies:
    """Of a host without controllers and an engine that may not change the time."""
    held = bits(each for each in CAPABILITIES if each != "SYS_TIME")
    policy = Policy(held, SeccompType.UNCONFINED, images)
    return Supplies(images, cast(Any, None), cast(Any, FakeSlices()), policy, -1)


@pytest.mark.parametrize("policy", [None, RestartPolicy.ALWAYS])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image": "localhost/nope"}, 'image "localhost/nope" not found'),
        ({"image": "rootfs:/no/such"}, "/no/such is not a directory"),
        ({"command": ()}, 'container "c": no command'),
        ({"volume_mounts": (VolumeMount("v", "/v"),) * (MAX_VOLUME_MOUNTS + 1)}, 'container "c" has 225 volumeMounts'),
        ({"resources": Resources({"cpu": parse("1")})}, 'container "c": a limit of cpu needs'),
        (
            {"security_context": SecurityContext(capabilities=Capabilities(add=("SYS_TIME",)))},
            'container "c": capabilities.add needs CAP_SYS_TIME',
        ),
    ],
)
def test_what_an_init_container_needs_is_looked_for_before_anything_is_made(
    fields: dict[str, Any], message: str, policy: RestartPolicy | None, tmp_path: Path
) -> None:
    pod = Pod("web", init_containers=(FINE, replace(FINE, name="c", restart_policy=policy)), containers=(FINE,))
    planning.check(pod, supplies(tmp_path))
    first, last = pod.init_containers
    with pytest.raises(SandboxError, match=message):
        planning.check(replace(pod, init_containers=(first, replace(last, **fields))), supplies(tmp_path))


def test_what_of_its_resources_has_no_effect_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "lowest_oom_score_adj", lambda: 998)
    setup = replace(FINE, resources=Resources({}, {"memory": parse(str(host.memory() // 2))}))
    told = dict(planning.resource_warnings(Pod("web", init_containers=(setup,), containers=(FINE,)), lambda _: "none"))
    assert told[REQUESTS_NOT_ENFORCED] == "Requests of memory have no effect here: none"
    assert told[OOM_SCORE_NOT_SET].startswith("oom_score_adj is 998 instead of 500:")
