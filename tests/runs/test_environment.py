"""The environment's snapshot: what is installed, who requires whom, and when it is read again."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from mainspring.runs import environment
from mainspring.runs.environment import closure, distributions_of, installed, normalised, snapshot
from mainspring.store.stamps import real_time_ns


def install(site: Path, name: str, version: str, requires: tuple[str, ...] = (), modules: tuple[str, ...] = ()) -> None:
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {r}" for r in requires),
    ]
    (info / "METADATA").write_text("\n".join(lines) + "\n\nRequires-Dist: not-a-header\n")
    (info / "RECORD").write_text("\n".join(f"{module}/__init__.py,sha256=x,1" for module in modules))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    found = tmp_path / "site-packages"
    install(found, "numpy", "2.3.0", modules=("numpy",))
    install(
        found,
        "Scikit.Learn",
        "1.9.1",
        ("numpy >=2 ; python_version < '4'", "plots; extra == 'show'", "absent"),
        ("sklearn",),
    )
    install(found, "plots", "1.0", modules=("plots",))
    install(found, "app", "0.1", ("scikit_learn[show]",), ("app",))
    install(found, "mainspring", "0.1", ("plots",), ("mainspring",))
    return found


def test_the_closure_follows_requirements_and_only_extras_that_are_asked_for(site: Path) -> None:
    found = installed(paths=[str(site)])
    assert found.distributions_of(["sklearn", "json"]) == ("scikit-learn",)
    assert found.closure(["scikit-learn"]) == {"numpy": "2.3.0", "scikit-learn": "1.9.1"}
    assert found.closure(["app"]) == {"app": "0.1", "numpy": "2.3.0", "plots": "1.0", "scikit-learn": "1.9.1"}
    assert found.closure(["mainspring"]) == {}


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were read, some time after they were changed."""
    later = real_time_ns() + 10_000_000_000
    monkeypatch.setattr(environment, "real_time_ns", lambda: later)
    found: list[str] = []
    scan = environment._distributions

    def counted(folder: str) -> tuple[environment._Distribution, ...]:
        found.append(folder)
        return scan(folder)

    monkeypatch.setattr(environment, "_distributions", counted)
    return found


def test_an_upgrade_is_seen_though_the_snapshot_is_cached(site: Path, tmp_path: Path, scans: list[str]) -> None:
    old = snapshot([str(site)])
    known = installed(tmp_path / "cache", [str(site)])
    environment._kept_distributions.cache_clear()  # as in another process
    assert installed(tmp_path / "cache", [str(site)]) == known
    assert scans == [str(site)]
    (site / "numpy-2.3.0.dist-info").rename(site / "numpy-2.4.6.dist-info")
    assert installed(tmp_path / "cache", [str(site)]).versions["numpy"] == "2.4.6"
    new = snapshot([str(site)])
    assert new.distributions["numpy"] == "2.4.6"
    assert new.digest != old.digest


def test_a_snapshot_needs_no_more_than_the_names_of_what_is_installed(site: Path, scans: list[str]) -> None:
    assert snapshot([str(site)]).distributions == installed(paths=[str(site)]).versions
    assert scans == [str(site)]


def test_a_folder_is_read_once_for_all_workspaces_of_a_process(site: Path, tmp_path: Path, scans: list[str]) -> None:
    places = [tmp_path / "one", tmp_path / "two"]
    found = [installed(place, [str(place), str(site)]) for place in places]
    assert found[0] == found[1] == installed(paths=[str(site)])
    assert scans.count(str(site)) == 1


def test_what_a_folder_changed_just_now_holds_is_not_kept(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = max(site.stat().st_mtime_ns, site.stat().st_ctime_ns)
    monkeypatch.setattr(environment, "real_time_ns", lambda: changed + 1_000_000)
    installed(tmp_path / "cache", [str(site)])
    assert not (tmp_path / "cache").exists()


def test_a_corrupt_cache_is_read_anew(site: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "distributions.msgpack").write_bytes(b"x" * 100)
    assert installed(tmp_path / "cache", [str(site)]).versions["numpy"] == "2.3.0"


def test_the_first_of_two_copies_counts(site: Path, tmp_path: Path) -> None:
    install(tmp_path / "first", "numpy", "1.0", modules=("numpy",))
    paths = [str(tmp_path / "first"), str(site)]
    assert installed(paths=paths).versions["numpy"] == snapshot(paths).distributions["numpy"] == "1.0"


@pytest.mark.parametrize(
    ("text", "editable"), [('{"dir_info": {"editable": true}}', ("app",)), ('{"dir_info": {}}', ())]
)
def test_a_distribution_installed_for_editing_is_known(site: Path, text: str, editable: tuple[str, ...]) -> None:
    (site / "app-0.1.dist-info" / "direct_url.json").write_text(text)
    (site / "app-0.1.dist-info" / "RECORD").write_text("app/__init__.py,,\n__editable___app_0_1_finder.py,,\n")
    found = installed(paths=[str(site)])
    assert found.editable == editable
    assert found.modules_of("app") == ["app"]


def test_installed_distributions_agree_with_importlib_metadata() -> None:
    theirs = {normalised(each.metadata["Name"]): each.version for each in metadata.distributions()}
    ours = snapshot().distributions
    assert {name: ours.get(name) for name in theirs} == theirs


def test_scikit_learn_brings_numpy_scipy_joblib_and_threadpoolctl() -> None:
    found = closure(distributions_of(["sklearn"]))
    assert {"scikit-learn", "numpy", "scipy", "joblib", "threadpoolctl"} <= found.keys()
    assert found["numpy"] == metadata.version("numpy")
