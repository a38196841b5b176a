"""Seccomp profiles: RuntimeDefault, those of this machine's administrator, and the filters that are made of them.

A filter is put on by an op (sandbox.linux.ops.Seccomp); where in a list it stands is decided in sandbox.pod.privileges.
"""

from sandbox.linux.seccomp.default import default_profile
from sandbox.linux.seccomp.filter import compile_profile, library_version
from sandbox.linux.seccomp.localhost import read_localhost
from sandbox.linux.seccomp.oci import parse
from sandbox.linux.seccomp.profile import Action, Argument, Excluded, Host, Included, Profile, Rule

__all__ = [
    "Action",
    "Argument",
    "Excluded",
    "Host",
    "Included",
    "Profile",
    "Rule",
    "compile_profile",
    "default_profile",
    "library_version",
    "parse",
    "read_localhost",
]
