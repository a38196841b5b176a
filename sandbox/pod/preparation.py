"""What of a container takes the host's paths: its layer on disk, and its mounts as fds."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from pathlib import Path, PurePath

from sandbox.linux import devices, mounts
from sandbox.pod import messages, setting
from sandbox.pod.container import BindMount, ContainerSpec, Prepared
from sandbox.pod.files import make_directory
from sandbox.pod.ground import DEVICES
from sandbox.pod.memory import MemoryMount
from sandbox.pod.setting import Setting
from sandbox.pod.streams import Streams


def prepare(spec: ContainerSpec, directory: Path, streams: Streams, reaper: int | None, fds: ExitStack) -> Prepared:
    """Make the container's own `directory`, and its mounts, whose fds close with `fds`: attached or not, none stays."""
    upper, work = directory / "upper", directory / "work"
    make_directory(upper, exist_ok=True)
    make_directory(work)
    upper.chmod(0o755)  # it becomes the mode of the container's root directory
    setting.keep(directory, Setting(spec.env, spec.cwd, spec.privileges))
    rootfs = mounts.overlay(Path(spec.rootfs), upper, work, devices=spec.privileged)
    fds.callback(os.close, rootfs)
    attached = []
    for mount in (*spec.mounts, *_message_mount(spec, directory)):
        if isinstance(mount, MemoryMount):
            continue  # its container finds it in podmon's root
        fd = mounts.bind(Path(mount.source), read_only=mount.read_only, devices=spec.privileged)
        fds.callback(os.close, fd)
        attached.append((mount, fd, not stat.S_ISDIR(os.fstat(fd).st_mode)))
    return Prepared(
        rootfs,
        tuple(attached),
        streams.stdout,
        streams.stderr,
        stdin=streams.stdin,
        reaper=reaper,
        proc=mounts.open_proc(fds),
        devices=_devices(fds) if spec.privileged else None,
    )


def _message_mount(spec: ContainerSpec, directory: Path) -> list[BindMount]:
    """After the volumes: what of them has the same place does not hide it, as in kubelet."""
    if not spec.message_path:
        return []
    return [BindMount(messages.make_file(directory), spec.message_path, "terminationMessagePath")]


def _devices(fds: ExitStack) -> int:
    """The host's devices, and what of the ones that every container has it lacks itself."""
    nodes = devices.find()
    known = {str(node.path) for node in nodes}
    others = [
        devices.Node(PurePath(name), stat.S_IFCHR | 0o666, 0, 0, os.makedev(*numbers))
        for name, numbers in DEVICES.items()
        if name not in known
    ]
    fd = devices.filesystem([*nodes, *others])
    fds.callback(os.close, fd)
    return fd
