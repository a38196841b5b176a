from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from sandbox.errors import NotFound, SandboxError
from sandbox.front.errors import Usage
from sandbox.front.naming import Wanted, container, find_one, names, single
from sandbox.model import Container, RestartPolicy
from tests.sandbox.front.pods import running, status


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], ()),
        (["pod"], ()),
        (["pods"], ()),
        (["po"], ()),
        (["Pod"], ()),
        (["web"], ("web",)),
        (["pod", "web", "db"], ("web", "db")),
        (["pod", "pod"], ("pod",)),
        (["pod/web", "po/db", "x"], ("web", "db", "x")),
        (["web", "pod"], ("web", "pod")),
    ],
)
def test_a_kind_may_stand_before_names(words: Sequence[str], named: tuple[str, ...]) -> None:
    assert names(words) == named


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["svc/web"], 'there is no resource type "svc"'),
        (["pod/"], "arguments in resource/name form must have a single resource and name"),
        (["/web"], "arguments in resource/name form must have a single resource and name"),
        (["pod/a/b"], "arguments in resource/name form may not have more than one slash"),
        (["pod", "pod/a"], "there is no need for a kind as a word of its own before names in the form kind/name"),
    ],
)
def test_names_that_are_none_are_refused(words: Sequence[str], message: str) -> None:
    with pytest.raises(Usage) as caught:
        names(words)
    assert str(caught.value) == message


def test_one_pod_may_be_called_pod() -> None:
    assert [single(words) for words in (["web"], ["pod", "web"], ["pod/web"], ["pod"])] == ["web", "web", "web", "pod"]
    with pytest.raises(Usage, match="the name of a pod is missing"):
        single([])
    with pytest.raises(Usage, match="one pod at a time, not 2"):
        single(["a", "b"])


def test_pods_are_those_of_the_namespace() -> None:
    pods = [status(running(), namespace="a"), status(running(), namespace="b")]
    assert find_one(pods, "b", "web") is pods[1]
    assert Wanted([], "a").of(pods).pods == [pods[0]]
    assert Wanted([], "a", all_namespaces=True).of(pods).pods == pods
    with pytest.raises(NotFound, match='pods "web" not found'):
        find_one(pods, "c", "web")


def test_pods_come_in_the_order_of_their_names() -> None:
    pods = [status(running(), name="a"), status(running(), name="b")]
    chosen = Wanted(["b", "x", "a"], "default").of(pods)
    assert chosen.pods == [pods[1], pods[0]]
    assert [error.name for error in chosen.missing] == ["x"]


ANNOTATION = "kubectl.kubernetes.io/default-container"


@pytest.mark.parametrize(
    ("annotations", "asked", "name", "said"),
    [
        ({}, None, "a", 'Defaulted container "a" out of: a, b\n'),
        ({}, "", "a", 'Defaulted container "a" out of: a, b\n'),
        ({}, "b", "b", ""),
        ({ANNOTATION: "b"}, None, "b", ""),
        ({ANNOTATION: "b"}, "a", "a", ""),
        (
            {ANNOTATION: "x"},
            None,
            "a",
            'Default container name "x" not found in pod web\nDefaulted container "a" out of: a, b\n',
        ),
    ],
)
def test_the_container_is_the_one_that_kubectl_would_take(
    annotations: dict[str, str], asked: str | None, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = status(running("a"), running("b"), annotations=annotations).pod
    assert container(pod, asked).name == name
    assert capsys.readouterr().err == said


INITS = (Container("setup", "i"), Container("proxy", "i", restart_policy=RestartPolicy.ALWAYS))


@pytest.mark.parametrize(
    ("annotations", "asked", "name", "said"),
    [
        ({}, None, "a", 'Defaulted container "a" out of: a, setup (init), proxy (init)\n'),
        ({}, "setup", "setup", ""),
        ({}, "proxy", "proxy", ""),
        ({ANNOTATION: "proxy"}, None, "proxy", ""),
    ],
)
def test_an_init_container_is_taken_where_it_is_named(
    annotations: dict[str, str], asked: str | None, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = replace(status(running("a"), annotations=annotations).pod, init_containers=INITS)
    assert container(pod, asked).name == name
    assert capsys.readouterr().err == said
    with pytest.raises(SandboxError) as caught:
        container(pod, "x")
    assert caught.value.hint == "one of: a, setup, proxy"


def test_the_only_container_needs_no_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert container(status(running()).pod, None).name == "app"
    assert capsys.readouterr().err == ""


def test_a_container_that_the_pod_lacks_is_refused() -> None:
    with pytest.raises(SandboxError) as caught:
        container(status(running("a"), running("b")).pod, "x")
    assert (str(caught.value), caught.value.hint) == ("container x is not valid for pod web", "one of: a, b")
