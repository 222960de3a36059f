"""docker-compose.yml and the image keep their promises, as far as files can tell."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from typer.testing import CliRunner

from consumer.cli import app

ROOT: Final = Path(__file__).parents[3]
TEXT: Final = (ROOT / "docker-compose.yml").read_text("utf-8")
STACK: Final[dict[str, Any]] = yaml.safe_load(TEXT)
SERVICES: Final[dict[str, dict[str, Any]]] = STACK["services"]
OURS: Final = [name for name, one in SERVICES.items() if "build" in one]
DOCKERFILE: Final = (ROOT / "Dockerfile").read_text("utf-8")
SCHEMA: Final = ROOT / "schemas" / "purchase.avsc"


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of this environment at the project's root."""
    command = [str(Path(sys.executable).with_name(name)), *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_it_is_as_the_compose_specification_wants_it() -> None:
    """Checked against the specification's own schema."""
    kind = ("--builtin-schema", "vendor.compose-spec")
    done = tool("check-jsonschema", *kind, "docker-compose.yml")
    assert done.returncode == 0, done.stdout


def test_composes_own_config_command_takes_it() -> None:
    """Where there is a docker with compose; it needs no engine."""
    docker = shutil.which("docker")
    has = docker and subprocess.run(
        [docker, "compose", "version"], capture_output=True, check=False
    )
    if not docker or not has or has.returncode != 0:
        pytest.skip("there is no docker compose here")
    done = subprocess.run(
        [docker, "compose", "config", "--quiet"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_everything_of_the_issue_is_there() -> None:
    """Two consumers, what they need, and who watches them."""
    assert SERVICES.keys() == {
        *("kafka", "registry", "target", "purchases", "topics"),
        *("consumer-1", "consumer-2", "prometheus", "alertmanager", "grafana"),
    }


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_bounded_and_watched(name: str) -> None:
    """A version, a memory limit, a health check, and ports on loopback only."""
    one = SERVICES[name]
    tag = one["image"].rpartition(":")[2]
    assert re.fullmatch(r"v?\d+\.\d+\.\d+|local", tag)
    assert ("build" in one) is (tag == "local")
    assert re.fullmatch(r"\d+[mg]", one["mem_limit"])
    assert "healthcheck" in one or "HEALTHCHECK" in DOCKERFILE
    for port in one.get("ports", []):
        assert port.startswith("127.0.0.1:")
    for needed, how in one.get("depends_on", {}).items():
        done = "service_completed_successfully" if needed == "topics" else None
        assert how["condition"] == (done or "service_healthy")
    for volume in one.get("volumes", []):
        source, _, _ = volume.partition(":")
        known = (ROOT / source).exists() if source[0] == "." else None
        assert known or source in STACK["volumes"]


@pytest.mark.parametrize("name", OURS)
def test_our_containers_can_write_nowhere_but_to_their_state(name: str) -> None:
    """Read-only root, no capabilities, no new privileges; another user than root."""
    one = SERVICES[name]
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    user = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    assert user[-1][0] != "0"


@pytest.mark.parametrize("name", OURS)
def test_our_containers_run_commands_that_exist(name: str) -> None:
    """The command line takes them, options and all."""
    words = [str(word) for word in SERVICES[name]["command"]]
    done = CliRunner().invoke(app, [*words, "--help"])
    assert done.exit_code == 0, done.output


def test_the_configuration_is_right() -> None:
    """`pos-consumer check` takes it, against the generator's schema."""
    config = str(ROOT / "deploy" / "compose" / "pos-consumer.toml")
    words = ["--config", config, "check", "--schema", str(SCHEMA)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output


def test_prometheus_scrapes_both_and_has_the_rules() -> None:
    """What its configuration names is mounted, and listens where it looks."""
    folder = ROOT / "deploy" / "compose"
    config = yaml.safe_load((folder / "prometheus.yml").read_text("utf-8"))
    (job,) = config["scrape_configs"]
    assert re.fullmatch(".*pos-consumer.*", job["job_name"]), "PosConsumerDown asks so"
    (targets,) = job["static_configs"]
    consumers = [name for name in SERVICES if name.startswith("consumer-")]
    assert targets["targets"] == [f"{name}:9464" for name in consumers]
    assert "EXPOSE 9464" in DOCKERFILE
    mounts = SERVICES["prometheus"]["volumes"]
    for rules in config["rule_files"]:
        assert f"./dashboards/alerts/{rules}:/etc/prometheus/{rules}:ro" in mounts
    ((alertmanager,),) = (
        one["targets"]
        for known in config["alerting"]["alertmanagers"]
        for one in known["static_configs"]
    )
    assert alertmanager.partition(":")[0] in SERVICES


def test_grafana_finds_its_source_and_its_dashboards() -> None:
    """Everything is provisioned: nobody clicks anything together."""
    provisioning = ROOT / "deploy" / "compose" / "provisioning"
    (source,) = provisioning.glob("datasources/*.yml")
    (found,) = yaml.safe_load(source.read_text("utf-8"))["datasources"]
    assert found["url"].partition("//")[2].partition(":")[0] in SERVICES
    assert found["isDefault"] is True
    (provider,) = provisioning.glob("dashboards/*.yml")
    (one,) = yaml.safe_load(provider.read_text("utf-8"))["providers"]
    grafana = SERVICES["grafana"]
    path = one["options"]["path"]
    assert f"./dashboards:{path}:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / "dashboards" / Path(home).relative_to(path)).is_file()


def test_hadolint_finds_nothing() -> None:
    """The linter of Dockerfiles, with all its rules."""
    done = tool("hadolint", "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_the_image_is_made_of_what_its_build_may_see() -> None:
    """Two stages on pinned bases; what is copied is let in by .dockerignore."""
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.\d+-slim-\w+", base) for base in bases)
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    let_in = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert {name for names in copied for name in names.split()} == let_in
    assert ignored[0] == "*"
    assert "--require-hashes" in DOCKERFILE
