"""How long a pod takes, beside the kernel alone and beside other runtimes: `make bench`.

__main__.py    the rounds, and what comes of them
measure.py     a measurement, and what many of them say
targets.py     the ratios that are promised, as data
report.py      results as JSON in, Markdown and plain text out
contender.py   what is measured: its operations, its cgroup, its processes
seedpod.py     seedpod as library and as command line      library.py    the program that uses the library
floor.py       the kernel alone                            floor*.c      the program that asks it
peers.py       podman, runc, crun, bubblewrap              private.py    namespaces of theirs
loop.py        starts commands and measures them, in whatever namespaces and cgroup it is
busy_spawn.py  launches from a busy program, by itself
"""
