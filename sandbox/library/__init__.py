"""The library's own part: what `import sandbox` and `sandbox.aio` give to other programs.

    engine.py       the engine of a root, asked with asyncio
    lines.py        lines of a log, as they are written
    pods.py         a pod, and its containers
    places.py       where a sandbox without an engine stands: directory, cgroup, lock
    boxes.py        a sandbox without an engine, and its containers
    streams.py      what its containers read and write
    faces.py        how the classes above become ones that block; blocking.py has those

All is written once, with asyncio.  It prints nothing, takes no signals, and knows no command line.
"""
