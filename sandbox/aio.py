"""The library for programs that use asyncio: the names of `sandbox`, whatever waits being a coroutine.

    async with sandbox.aio.Pod.from_manifest("pod.yaml") as pod:
        await pod.wait_ready(timeout=10)
        result = await pod["app"].exec(["cat", "/data/index.html"])
        async for line in pod["app"].logs(follow=True):
            ...

Properties that ask the engine are coroutines too: `await pod.status`.  What is cancelled is undone.
"""

from sandbox.library.boxes import PodSandbox, SandboxContainer
from sandbox.library.containers import Container
from sandbox.library.lines import Lines
from sandbox.library.pods import Pod
from sandbox.library.streams import Input, Output
from sandbox.pod.container import BindMount, ContainerSpec
from sandbox.pod.programs import Completed
from sandbox.status import ExitStatus

__all__ = [
    "BindMount",
    "Completed",
    "Container",
    "ContainerSpec",
    "ExitStatus",
    "Input",
    "Lines",
    "Output",
    "Pod",
    "PodSandbox",
    "SandboxContainer",
]
