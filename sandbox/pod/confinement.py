"""From a pod's security contexts to what a container's program is and may do.

Nothing is asked of the machine but the seccomp profiles of its administrator.

A field of the container's context comes before the pod's (as kubelet's DetermineEffectiveSecurityContext has it).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sandbox import capabilities
from sandbox.errors import Hindered, NotFound, SandboxError, Unsupported, quoted
from sandbox.linux import seccomp
from sandbox.linux.ops import Seccomp
from sandbox.model import Container, Pod, SeccompProfile, SeccompType
from sandbox.pod.privileges import Privileges
from sandbox.pod.users import User

# kubelet's words for what a manifest asks for and cannot have, and for what the runtime says no to.
CONFIG_ERROR = "CreateContainerConfigError"
CREATE_ERROR = "CreateContainerError"

IMAGE_USER = 0  # whom a container runs as that names none: no image here has a user of its own


@dataclass(frozen=True)
class Policy:
    """What an engine can give: the bits of the capabilities that it holds, the seccomp profile of those that name none,
    and the directory of the Localhost ones."""

    held: int
    seccomp_default: SeccompType
    profiles: Path


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


def require_non_root(pod: Pod, container: Container, full_name: str) -> None:
    """Raises Hindered, in kubelet's words, where the container would run as root and must not.

    `full_name` is the pod's: `web_default(<uid>)`.
    """
    who = asked(pod, container)
    if not who.non_root or who.uid or (who.uid is None and IMAGE_USER):
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


def check(pod: Pod, policy: Policy) -> None:
    """Raises Unsupported where a container asks for what this engine cannot give (SEMANTICS A44)."""
    for container in pod.all_containers:
        _check_capabilities(container, policy.held)
        if seccomp_profile(pod, container, default=policy.seccomp_default).type is not SeccompType.UNCONFINED:
            seccomp.library_version()


def _check_capabilities(container: Container, held: int) -> None:
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


# ---- seccomp ----


def seccomp_profile(pod: Pod, container: Container, *, default: SeccompType) -> SeccompProfile:
    """The container's profile; none holds a privileged one, whatever is asked for (SEMANTICS A43)."""
    if container.security_context.privileged:
        return SeccompProfile(SeccompType.UNCONFINED)
    own = container.security_context.seccomp_profile or pod.security_context.seccomp_profile
    return own or SeccompProfile(default)


def seccomp_filter(pod: Pod, container: Container, policy: Policy) -> Seccomp | None:
    """The filter of the container's system calls, made of its profile.

    Raises Hindered where there is no such profile, or none can be made of what is there.
    """
    asked = seccomp_profile(pod, container, default=policy.seccomp_default)
    if asked.type is SeccompType.UNCONFINED:
        return None
    name = asked.localhost_profile or str(asked.type)
    had = frozenset(capabilities.names(bounding(container, policy.held)))
    try:
        of_file = seccomp.read_localhost(policy.profiles, name) if asked.localhost_profile else None
        profile = of_file or seccomp.default_profile()
        return Seccomp(seccomp.compile_profile(profile, had), name, profile.flag_bits)
    except SandboxError as error:
        path = str(policy.profiles / name) if asked.localhost_profile else name
        why = "no such file or directory" if isinstance(error, NotFound) else error.message
        message = f"cannot load seccomp profile {quoted(path)}: {why}"
        raise Hindered(message, reason=CREATE_ERROR, hint=error.hint) from None


# ---- all together ----


def privileges(container: Container, user: User, *, held: int, system_calls: Seccomp | None) -> Privileges:
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
        filter=system_calls,
    )
