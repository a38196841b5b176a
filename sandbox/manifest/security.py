"""The tables of the two securityContexts, a pod's and a container's."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from sandbox import capabilities, model
from sandbox.errors import quoted
from sandbox.manifest import wording
from sandbox.manifest.cursor import Cursor
from sandbox.manifest.fields import Between, Choice, Flag, ListOf, Refused, Text
from sandbox.manifest.records import Field, Record
from sandbox.manifest.rules import no_backsteps

_ID = Between(0, model.MAX_ID)  # of a user or group


class _Capability(Text):
    """The name of a capability, or ALL.  One that the kernel does not have is a slip: dropped, it would stay."""

    def read(self, at: Cursor) -> str:
        written = super().read(at)
        name = capabilities.canonical(written)
        if name is None:
            near = wording.near(written.upper().removeprefix("CAP_"), capabilities.CAPABILITIES)
            at.refuse(wording.invalid(quoted(written), f"unknown capability{near}"))
            raise Refused
        return name


def _relative_path(text: str) -> Iterator[str]:
    if posixpath.isabs(text):
        yield "must be a relative path"


# ---- seccomp ----


def _path_of_localhost(profile: Cursor) -> None:
    path, of_localhost = profile.text("localhostProfile"), profile.text("type") == model.SeccompType.LOCALHOST
    field = profile.field("localhostProfile")
    if of_localhost and not field:
        where = wording.child(profile.path, "localhostProfile")
        profile.refuse(wording.required("must be set when seccomp type is Localhost"), at=profile.named, path=where)
    elif of_localhost and field and field.node.value == "":
        field.refuse(wording.required("must be set when seccomp type is Localhost"))
    elif field and not of_localhost:
        field.refuse(wording.invalid(quoted(path), "can only be set when seccomp type is Localhost"))


_SECCOMP_PROFILE = Record(
    "SeccompProfile",
    model.SeccompProfile,
    Field("type", Choice(*model.SeccompType), required="type is required when seccompProfile is set"),
    Field("localhostProfile", Text(_relative_path, no_backsteps)),
    rules=(_path_of_localhost,),
)

# Nothing of AppArmor is set up, which is what Unconfined asks for.
_APP_ARMOR_PROFILE: Record[dict[str, object]] = Record(
    "AppArmorProfile",
    dict,
    Field(
        "type",
        Choice("Unconfined", known=("Localhost", "RuntimeDefault")),
        required="type is required when appArmorProfile is set",
    ),
)

_EMPTY: Mapping[str, tuple[object, ...]] = {"seLinuxOptions": ({},), "windowsOptions": ({},)}

# ---- of a container ----


def _no_escalation_of_the_privileged(context: Cursor) -> None:
    allowed, privileged = context.field("allowPrivilegeEscalation"), context.field("privileged")
    if allowed is None or allowed.node.value is not False:
        return
    if privileged and privileged.node.value is True:
        _refuse_escalation(context, "`privileged` to true")
    added = context.field("capabilities")
    # The API server knows it by this name only.
    for name in added.each("add") if added else ():
        if name.node.value == "CAP_SYS_ADMIN":
            _refuse_escalation(context, "`capabilities.Add` CAP_SYS_ADMIN")


def _refuse_escalation(context: Cursor, other: str) -> None:
    context.refuse(wording.invalid("{…}", f"cannot set `allowPrivilegeEscalation` to false and {other}"))


_CAPABILITIES = Record(
    "Capabilities",
    model.Capabilities,
    Field("add", ListOf(_Capability())),
    Field("drop", ListOf(_Capability())),
)


OF_CONTAINER = Record(
    "SecurityContext",
    model.SecurityContext,
    Field("privileged", Flag()),
    Field("capabilities", _CAPABILITIES),
    Field("runAsUser", _ID),
    Field("runAsGroup", _ID),
    Field("runAsNonRoot", Flag()),
    Field("readOnlyRootFilesystem", Flag()),
    Field("allowPrivilegeEscalation", Flag()),
    Field("seccompProfile", _SECCOMP_PROFILE),
    settled=(
        Field("appArmorProfile", _APP_ARMOR_PROFILE),
        Field("procMount", Choice("Default", known=("Unmasked",))),
    ),
    idle=_EMPTY,
    rules=(_no_escalation_of_the_privileged,),
)

# ---- of a pod ----

OF_POD = Record(
    "PodSecurityContext",
    model.PodSecurityContext,
    Field("runAsUser", _ID),
    Field("runAsGroup", _ID),
    Field("runAsNonRoot", Flag()),
    Field("supplementalGroups", ListOf(_ID)),
    Field("fsGroup", _ID),
    Field("seccompProfile", _SECCOMP_PROFILE),
    settled=(
        Field("appArmorProfile", _APP_ARMOR_PROFILE),
        Field("fsGroupChangePolicy", Choice("Always", known=("OnRootMismatch",))),
        Field("seLinuxChangePolicy", Choice("MountOption", "Recursive")),  # nothing is labelled
        Field("supplementalGroupsPolicy", Choice("Merge", known=("Strict",))),
    ),
    idle=_EMPTY,
)
