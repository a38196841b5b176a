"""How a class for asyncio gets a face that blocks: a table with a row for each of its names, and nothing said twice.

    class Pod(ContextFace[pods.Pod]):
        uid = plain(pods.Pod.uid)                   # a property that does not wait
        status = waiting(pods.Pod.status)           # one that is a coroutine
        wait_ready = blocking(pods.Pod.wait_ready)  # a method that is one
        run = giving(pods.Pod.run, Container._of)   # and whose result needs a face itself
        get = made(pods.Pod.get)                    # a class method that is one and gives one of the class
        from_manifest = found(pods.Pod.from_manifest)  # one that does not wait

Signature, documentation and types are those of the original.  All is done on the loop, whichever thread asks.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar

from sandbox.library.lines import Lines
from sandbox.library.loop import LOOP, require_own

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")  # a class for asyncio
F = TypeVar("F")  # its face


class _Entered(Protocol):
    """What every class for asyncio has that is a context manager."""

    async def __aenter__(self) -> Any: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


E = TypeVar("E", bound=_Entered)


class Face(Generic[A]):
    """A face of something that lives on the loop of all that blocks."""

    _inner: A
    _owner: int

    @classmethod
    def _of(cls, inner: A) -> Self:
        """The face of this one."""
        self = cls.__new__(cls)
        self._become(inner)
        return self

    def _become(self, inner: A) -> None:
        self._inner = inner
        self._owner = LOOP.owner

    def _ours(self) -> A:
        """What is behind it.  Raises WrongState in a forked child."""
        require_own(self._owner, self)
        return self._inner

    def __repr__(self) -> str:
        return repr(self._inner)


class ContextFace(Face[E]):
    """One that is a context manager.  In a forked child the end of the block ends nothing."""

    def __enter__(self) -> Self:
        inner = self._ours()

        async def leave(_: object) -> None:
            await inner.__aexit__(None, None, None)

        LOOP.run(inner.__aenter__(), leave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._owner == LOOP.owner:
            LOOP.run(self._inner.__aexit__(kind, error, trace))


# ---- rows ----


class _Row:
    """A row bears the documentation of what it is made of."""

    def __init__(self, original: Any) -> None:
        self.__doc__ = original.__doc__
        self._original = original


class plain(_Row, Generic[R]):
    """A property that does not wait."""

    def __init__(self, original: Callable[[Any], R]) -> None:
        """`original` is a property, as its class has it: for type checkers that is a function."""
        super().__init__(original)

    def __get__(self, face: Face[Any], owner: type) -> R:
        if face is None:
            return self  # for help()
        inner = face._ours()
        got: R = LOOP.call(lambda: self._original.__get__(inner))
        return got


class waiting(_Row, Generic[R]):
    """A property that is a coroutine."""

    def __init__(self, original: Callable[[Any], Coroutine[Any, Any, R]]) -> None:
        super().__init__(original)

    def __get__(self, face: Face[Any], owner: type) -> R:
        if face is None:
            return self  # for help()
        got: R = LOOP.run(self._original.__get__(face._ours()))
        return got


class calling(_Row, Generic[P, R]):
    """A method that does not wait."""

    def __init__(self, original: Callable[Concatenate[Any, P], R]) -> None:
        super().__init__(original)

    def __get__(self, face: Face[Any], owner: type) -> Callable[P, R]:
        @functools.wraps(self._original)
        def method(face: Face[Any], /, *args: P.args, **kwargs: P.kwargs) -> R:
            inner = face._ours()
            done: R = LOOP.call(lambda: self._original(inner, *args, **kwargs))
            return done

        return _bound(method, face)


class blocking(_Row, Generic[P, R]):
    """A method that is a coroutine."""

    def __init__(self, original: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> None:
        super().__init__(original)

    def __get__(self, face: Face[Any], owner: type) -> Callable[P, R]:
        @functools.wraps(self._original)
        def method(face: Face[Any], /, *args: P.args, **kwargs: P.kwargs) -> R:
            done: R = LOOP.run(self._original(face._ours(), *args, **kwargs))
            return done

        return _bound(method, face)


class giving(_Row, Generic[P, F]):
    """A method that is a coroutine, and whose result has a face: `undo` does away with one that nobody waits for."""

    def __init__(
        self,
        original: Callable[Concatenate[Any, P], Coroutine[Any, Any, A]],
        face: Callable[[A], F],
        undo: Callable[[A], Awaitable[object]] | None = None,
    ) -> None:
        super().__init__(original)
        self._face: Callable[[Any], F] = face
        self._undo: Callable[[Any], Awaitable[object]] | None = undo

    def __get__(self, face: Face[Any], owner: type) -> Callable[P, F]:
        @functools.wraps(self._original)
        def method(face: Face[Any], /, *args: P.args, **kwargs: P.kwargs) -> F:
            return self._face(LOOP.run(self._original(face._ours(), *args, **kwargs), self._undo))

        return _bound(method, face)


class made(_Row, Generic[P]):
    """A class method that is a coroutine and gives one of the class; `undo` as with `giving`."""

    def __init__(
        self,
        original: Callable[P, Coroutine[Any, Any, A]],
        undo: Callable[[A], Awaitable[object]] | None = None,
    ) -> None:
        super().__init__(original)
        self._undo: Callable[[Any], Awaitable[object]] | None = undo

    def __get__(self, face: object, owner: type[F]) -> Callable[P, F]:
        @functools.wraps(self._original)
        def method(*args: P.args, **kwargs: P.kwargs) -> F:
            of: Callable[[Any], F] = owner._of  # type: ignore[attr-defined]  # it is a Face
            return of(LOOP.run(self._original(*args, **kwargs), self._undo))

        return method


class shared(_Row, Generic[P, R]):
    """A class method that is a coroutine."""

    def __init__(self, original: Callable[P, Coroutine[Any, Any, R]]) -> None:
        super().__init__(original)

    def __get__(self, face: object, owner: type) -> Callable[P, R]:
        @functools.wraps(self._original)
        def method(*args: P.args, **kwargs: P.kwargs) -> R:
            done: R = LOOP.run(self._original(*args, **kwargs))
            return done

        return method


class found(_Row, Generic[P]):
    """A class method that does not wait and gives one of the class."""

    def __init__(self, original: Callable[P, Any]) -> None:
        super().__init__(original)

    def __get__(self, face: object, owner: type[F]) -> Callable[P, F]:
        @functools.wraps(self._original)
        def method(*args: P.args, **kwargs: P.kwargs) -> F:
            of: Callable[[Any], F] = owner._of  # type: ignore[attr-defined]  # it is a Face
            return of(self._original(*args, **kwargs))

        return method


class reading(_Row, Generic[P]):
    """A method that gives Lines: an iterator of them."""

    def __init__(self, original: Callable[Concatenate[Any, P], Lines]) -> None:
        super().__init__(original)

    def __get__(self, face: Face[Any], owner: type) -> Callable[P, Iterator[str]]:
        @functools.wraps(self._original)
        def method(face: Face[Any], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[str]:
            return _read(self._original(face._ours(), *args, **kwargs))

        return _bound(method, face)


def _read(lines: Lines) -> Iterator[str]:
    try:
        while batch := LOOP.run(lines.batch()):
            yield from batch
    finally:
        lines.close()


def _bound(method: Callable[Concatenate[Any, P], R], face: Face[Any] | None) -> Callable[P, R]:
    """As a method of the face; without one, as functions in classes are."""
    if face is None:
        return method  # type: ignore[return-value]
    return method.__get__(face)  # type: ignore[no-any-return]
