from __future__ import annotations

import os
import threading
from pathlib import Path
from types import ModuleType

import pytest

import rootfs
from rootfs import busybox
from sandbox.errors import NotFound
from sandbox.pod import images


def test_busybox_has_its_applets_and_the_least_of_etc(busybox: Path) -> None:
    assert (busybox / "bin" / "sh").readlink() == Path("/bin/busybox")
    assert (busybox / "bin" / "busybox").stat().st_mode & 0o777 == 0o755
    assert (busybox / "etc" / "passwd").read_text().startswith("root:x:0:0:")
    assert (busybox / "tmp").stat().st_mode & 0o7777 == 0o1777


def test_an_image_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = images.find("localhost/busybox", tmp_path)
    monkeypatch.setattr(busybox, "build", lambda target: pytest.fail("built again"))
    assert images.find("localhost/busybox:latest", tmp_path) == first


def test_another_fingerprint_is_another_image_and_the_old_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = images.find("localhost/busybox", tmp_path).rootfs
    monkeypatch.setattr(busybox, "fingerprint", lambda: "other")
    new = images.find("localhost/busybox", tmp_path).rootfs
    assert new.name == "other"
    assert old.is_dir()


def test_a_build_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(target: Path) -> None:
        (target / "half").write_text("")
        raise OSError("no more")

    monkeypatch.setattr(busybox, "build", half)
    with pytest.raises(OSError, match="no more"):
        images.find("localhost/busybox", tmp_path)
    assert list((tmp_path / "localhost" / "busybox").iterdir()) == []


def test_what_a_killed_builder_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "localhost" / "busybox" / ".new-left"
    (left / "bin").mkdir(parents=True)
    images.find("localhost/busybox", tmp_path)
    assert not left.exists()


def test_builders_that_race_make_one_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds = []
    build = busybox.build
    monkeypatch.setattr(busybox, "build", lambda target: (builds.append(target), build(target)))
    threads = [threading.Thread(target=images.find, args=("localhost/busybox", tmp_path)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1


def test_a_recipe_whose_package_is_not_installed_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busybox, "BUSYBOX", Path("/no/busybox"))
    with pytest.raises(NotFound, match="/no/busybox is missing") as error:
        images.find("localhost/busybox", tmp_path)
    assert error.value.hint == "apt-get install busybox-static"


@pytest.mark.parametrize("reference", ["busybox", "localhost/busybox:1.36", "docker.io/library/busybox", "localhost/"])
def test_what_is_not_there_is_not_found(tmp_path: Path, reference: str) -> None:
    with pytest.raises(NotFound, match="not found"):
        images.find(reference, tmp_path)


def test_every_recipe_has_what_a_recipe_needs() -> None:
    for recipe in rootfs.RECIPES.values():
        assert isinstance(recipe, ModuleType)
        assert recipe.PACKAGE
        assert os.fspath(recipe.fingerprint())
        assert callable(recipe.build)
        assert recipe.COMMAND
