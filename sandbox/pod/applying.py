"""One pod of a request to `apply`: what it takes to have there be what its manifest says.  Changes nothing.

A pod that is being deleted is none that could be changed: another is made once it is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sandbox.manifest import moot
from sandbox.model import Container, Pod
from sandbox.pod import update
from sandbox.pod.requests import AppliedPod, Word
from sandbox.pod.state import PodRecord
from sandbox.pod.update import Change
from sandbox.pod.worker import Worker


@dataclass(frozen=True)
class Step:
    """A pod as it is asked for, the one of its name that is `there`, and what is to be done with that.

    `done`: an engine that was killed had come so far with this very wish.
    """

    uid: str  # of the pod, if one is made; it names the wish too
    manifest: Mapping[str, Any]
    pod: Pod
    there: Worker | None
    word: Word
    done: bool = False

    @property
    def creates(self) -> bool:
        """Whether the pod is made now."""
        return self.word is Word.CREATED and self.there is None and not self.done

    @property
    def waits(self) -> bool:
        """Whether it is made once the one that is there is gone."""
        return self.there is not None and self.word in (Word.CREATED, Word.REPLACED)

    @property
    def change(self) -> tuple[Worker, PodRecord, Pod] | None:
        """The pod that is there, with its record and what is asked of it as they become; of one that is replaced only
        this wish is noted."""
        if self.there is None or self.done or self.word not in (Word.CONFIGURED, Word.REPLACED):
            return None
        record = replace(self.there.record, applied=self.uid)
        if self.word is Word.REPLACED:
            return self.there, record, self.there.pod
        return self.there, replace(record, manifest=self.manifest), self.pod

    @property
    def new_images(self) -> tuple[Container, ...]:
        """The containers of a changed pod that have another image than before."""
        if self.change is None:
            return ()
        there, _, pod = self.change
        return update.new_images(there.pod, pod)

    def answer(self) -> AppliedPod:
        if self.there is None:
            return AppliedPod(self.uid, self.word)
        uid = self.there.record.uid
        return AppliedPod(self.uid, self.word, before=uid) if self.waits else AppliedPod(uid, self.word)


def step(uid: str, written: Mapping[str, Any], pod: Pod, there: Worker | None) -> Step:
    """What is to be done to have there be `pod`, as it is `written`."""
    if there is None:
        return Step(uid, written, pod, None, Word.CREATED)
    asked_before = there.record.applied == uid
    if there.state.deletion:
        return Step(uid, written, pod, there, Word.REPLACED if asked_before else Word.CREATED, done=True)
    word = _word(there, pod, written)
    if word is Word.UNCHANGED and asked_before:
        return Step(uid, written, pod, there, Word.CONFIGURED, done=True)
    return Step(uid, written, pod, there, word)


def _word(there: Worker, pod: Pod, written: Mapping[str, Any]) -> Word:
    match update.between(there.pod, pod):
        case Change.REPLACEMENT:
            return Word.REPLACED
        case Change.NONE if moot.said(there.record.manifest["spec"]) == moot.said(written["spec"]):
            return Word.UNCHANGED
        case _:  # what has no effect here is written down all the same
            return Word.CONFIGURED
