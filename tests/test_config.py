"""Settings: where each comes from, and what is said when one is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mainspring.config import SETTINGS, Settings, check_listen
from mainspring.errors import ConfigError, NotAllowedError, NotFoundError


def load(root: Path, environment: dict[str, str] | None = None, **options: Any) -> Settings:
    return Settings.load(root, environment or {}, **options)


def test_each_layer_overrides_the_one_below_and_says_where_it_was_set(tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_text(
        "jobs = 2\nseed = 2\nthreads = 2\nlease_s = 2\n[profiles.fast]\nseed = 3\nthreads = 3\nlease_s = 3\n"
    )
    (tmp_path / "mainspring.local.toml").write_text("threads = 4\nlease_s = 4\n")
    settings = load(tmp_path, {"MAINSPRING_LEASE_S": "5"}, profile="fast", overrides={"name": "mine"})
    found = {name: settings.origins[name].value for name in ("jobs", "seed", "threads", "lease_s", "name", "runner")}
    assert found == {"jobs": 2, "seed": 3, "threads": 4, "lease_s": 5.0, "name": "mine", "runner": "auto"}
    origins = {name: settings.origins[name].origin for name in ("lease_s", "name", "runner")}
    assert origins == {"lease_s": "environment", "name": "command line", "runner": "default"}
    assert settings.origins["jobs"].origin.endswith("mainspring.toml:1")
    assert settings.origins["threads"].origin.endswith("mainspring.local.toml:1")


def test_a_pyproject_may_hold_the_settings(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n[tool.mainspring]\njobs = 3\n')
    assert load(tmp_path).jobs == 3
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    assert load(tmp_path).jobs == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 1\njob = 2\n", ":1: no setting `a`"),
        ("\njob = 2\n", ":2: no setting `job`. Nearest: jobs"),
        ('jobs = "many"\n', "expected a whole number"),
        ("jobs = true\n", "expected a whole number"),
        ("source = 3\n", "expected a list"),
        ("jobs = \n", "this is not TOML"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mainspring.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert said in str(caught.value)
    assert "mainspring.toml" in str(caught.value)


def test_a_wrong_variable_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="environment: `jobs = 'x'`"):
        load(tmp_path, {"MAINSPRING_JOBS": "x"})


def test_an_unknown_profile_is_named_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_text("[profiles.staging]\njobs = 2\n")
    with pytest.raises(NotFoundError, match=r"`stagin`.*staging"):
        load(tmp_path, profile="stagin")


def test_lists_come_from_variables_too(tmp_path: Path) -> None:
    assert load(tmp_path, {"MAINSPRING_SOURCE": "a:b"}).source == ["a", "b"]


def test_reading_settings_runs_no_code(tmp_path: Path) -> None:
    (tmp_path / "mainspring.py").write_text("raise RuntimeError")
    assert load(tmp_path).name == tmp_path.name


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1"])
def test_loopback_needs_no_token(host: str) -> None:
    check_listen(host, authenticated=False)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.2", "example.org", "", "127.0.0.1.example.org", "127.evil.example"]
)
def test_any_other_address_needs_one(host: str) -> None:
    with pytest.raises(NotAllowedError, match="authentication"):
        check_listen(host, authenticated=False)
    check_listen(host, authenticated=True)


def test_the_page_about_configuration_lists_every_setting() -> None:
    page = (Path(__file__).parents[1] / "docs" / "configuration.md").read_text()
    rows = [
        [cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in page.splitlines() if line[:3] == "| `"
    ]
    kinds = {str: "text", int: "whole number", float: "number", list: "list"}
    assert [row[0] for row in rows] == list(SETTINGS)
    for name, kind, default, _ in rows:
        setting = SETTINGS[name]
        assert kind == kinds[setting.kind]
        if setting.kind is list:
            assert json.loads(default) == list(setting.default)  # type: ignore[arg-type]  # a list's default is a tuple
        elif name != "name":
            assert default == str(setting.default)


def test_a_profile_may_have_tables_of_its_own(tmp_path: Path) -> None:
    text = "[approval.all]\n[profiles.development]\napproval = {}\nseed = 3\n"
    (tmp_path / "mainspring.toml").write_text(text)
    assert Settings.load(tmp_path, {}).tables["approval"] == {"all": {}}
    settings = Settings.load(tmp_path, {}, profile="development")
    assert (settings.tables["approval"], settings.seed) == ({}, 3)
