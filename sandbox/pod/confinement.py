"""From a pod's security contexts to what a container's program is and may do.  Pure: what is asked for, not what is.

A field of the container's context comes before the pod's (as kubelet's DetermineEffectiveSecurityContext has it).
"""

from __future__ import annotations

from dataclasses import dataclass

from sandbox import capabilities
from sandbox.errors import Hindered, Unsupported
from sandbox.linux.ops import Seccomp
from sandbox.model import Container, Pod, SeccompProfile, SeccompType
from sandbox.pod.privileges import Privileges
from sandbox.pod.users import User

CONFIG_ERROR = "CreateContainerConfigError"  # kubelet's word for what a manifest asks for and cannot have


@dataclass(frozen=True)
class Asked:
    """Who a container's program is to be, as the manifest says it; None where it leaves that to the image."""

    uid: int | None
    gid: int | None
    groups: tuple[int, ...]  # beside the user's own
    non_root: bool


def asked(pod: Pod, container: Container) -> Asked:
    """Who the container's program is to be."""
    of_pod, own = pod.security_context, container.security_context
    fs_group = () if of_pod.fs_group is None else (of_pod.fs_group,)
    non_root = of_pod.run_as_non_root if own.run_as_non_root is None else own.run_as_non_root
    return Asked(
        uid=of_pod.run_as_user if own.run_as_user is None else own.run_as_user,
        gid=of_pod.run_as_group if own.run_as_group is None else own.run_as_group,
        groups=(*fs_group, *of_pod.supplemental_groups),
        non_root=bool(non_root),
    )


def require_non_root(pod: Pod, container: Container, *, image_uid: int, full_name: str) -> None:
    """Raises Hindered, in kubelet's words, where the container would run as root and must not.

    `image_uid` is the image's user, `full_name` the pod's: `web_default(<uid>)`.
    """
    who = asked(pod, container)
    if not who.non_root or (image_uid if who.uid is None else who.uid) != 0:
        return
    what = "container has runAsNonRoot and image will run as root"
    if who.uid is not None:
        what = "container's runAsUser breaks non-root policy"
    hint = "set runAsUser to another user than 0, or runAsNonRoot to false"
    raise Hindered(f'{what} (pod: "{full_name}", container: {container.name})', reason=CONFIG_ERROR, hint=hint)


# ---- capabilities ----


def bounding(container: Container, held: int) -> int:
    """The bits of the capabilities that the container has, where `held` are those that can be given."""
    context = container.security_context
    if context.privileged:
        return held
    return capabilities.granted(context.capabilities.add, context.capabilities.drop, held)


def check_capabilities(container: Container, held: int) -> None:
    """Raises Unsupported where a capability is asked for by name and cannot be given (SEMANTICS A44)."""
    if container.security_context.privileged:
        return
    lacking = capabilities.names(bounding(container, held) & ~held)
    if lacking:
        needs = ", ".join(f"CAP_{name}" for name in lacking)
        raise Unsupported(
            f'container "{container.name}": capabilities.add',
            needs=f"{needs} in seedpod's own bounding set",
            hint=f"run seedpod where it has {needs} (see `seedpod info`), or do not add it",
        )


def lacking(container: Container, held: int) -> tuple[str, ...]:
    """What a container that asks for all capabilities does not get, as seedpod has it not itself."""
    context = container.security_context
    if not context.privileged and capabilities.ALL not in context.capabilities.add:
        return ()
    every = capabilities.bits(capabilities.CAPABILITIES)
    wanted = every if context.privileged else bounding(container, every)
    return capabilities.names(wanted & ~held)


# ---- all together ----


def seccomp_profile(pod: Pod, container: Container, *, default: SeccompType) -> SeccompProfile:
    """The container's profile; none holds a privileged one, whatever is asked for (SEMANTICS A43)."""
    if container.security_context.privileged:
        return SeccompProfile(SeccompType.UNCONFINED)
    own = container.security_context.seccomp_profile or pod.security_context.seccomp_profile
    return own or SeccompProfile(default)


def privileges(container: Container, user: User, *, held: int, seccomp: Seccomp | None) -> Privileges:
    """What the container's program is, may become, and may ask the kernel for.

    A capability reaches a user other than root by a file that has it, and no other way: permitted and effective are
    empty, as are ambient and inheritable (SEMANTICS A43).
    """
    bits = bounding(container, held)
    return Privileges(
        uid=user.uid,
        gid=user.gid,
        groups=user.groups,
        bounding=bits,
        permitted=0 if user.uid else bits,
        no_new_privs=not container.security_context.allow_privilege_escalation,
        filter=seccomp,
    )
