"""The manifests are valid, and fit the service and each other."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from consumer.cli import app

FOLDER: Final = Path(__file__).parents[3] / "deploy" / "kubernetes"
DOCUMENTS: Final[list[dict[str, Any]]] = [
    document
    for path in sorted(FOLDER.glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text("utf-8"))
]
BY_KIND: Final = {f"{one['kind']}/{one['metadata']['name']}": one for one in DOCUMENTS}
STATEFUL: Final = BY_KIND["StatefulSet/pos-consumer"]["spec"]
POD: Final = STATEFUL["template"]["spec"]
(CONTAINER,) = POD["containers"]
LABELS: Final = STATEFUL["template"]["metadata"]["labels"]


@pytest.mark.parametrize("name", BY_KIND)
@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_it_is_as_kubernetes_wants_it(name: str, version: str) -> None:
    """Against Kubernetes' own schemas, strictly: no field that it does not know."""
    if name.startswith("ServiceMonitor"):
        pytest.skip("of the Prometheus operator: Kubernetes has no schema of it")
    kubernetes_validate.validate(BY_KIND[name], version, strict=True)


def test_the_state_comes_back_with_its_replica() -> None:
    """A volume for each replica, mounted where the image keeps the state."""
    (claim,) = STATEFUL["volumeClaimTemplates"]
    mounts = {one["name"]: one["mountPath"] for one in CONTAINER["volumeMounts"]}
    assert mounts[claim["metadata"]["name"]] == "/var/lib/pos-consumer"
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    volumes = {one["name"] for one in POD["volumes"]} | {claim["metadata"]["name"]}
    assert mounts.keys() == volumes


def test_probes_ask_what_they_should() -> None:
    """/livez kills, /readyz holds a rollout; both on the port that is named."""
    (port,) = CONTAINER["ports"]
    for probe, path in (
        ("startupProbe", "/livez"),
        ("livenessProbe", "/livez"),
        ("readinessProbe", "/readyz"),
    ):
        asked = CONTAINER[probe]["httpGet"]
        assert (asked["path"], asked["port"]) == (path, port["name"])


def test_it_may_write_nowhere_but_to_its_volumes() -> None:
    """Not root, read-only, without capabilities, within a memory limit."""
    assert POD["securityContext"]["runAsNonRoot"] is True
    rights = CONTAINER["securityContext"]
    assert rights["readOnlyRootFilesystem"] is True
    assert rights["allowPrivilegeEscalation"] is False
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert "memory" in CONTAINER["resources"]["limits"]
    assert POD["automountServiceAccountToken"] is False


def test_what_belongs_together_selects_the_same_labels() -> None:
    """Service, disruption budget and monitor all mean the StatefulSet's pods."""
    service = BY_KIND["Service/pos-consumer"]
    monitor = BY_KIND["ServiceMonitor/pos-consumer"]["spec"]
    assert service["spec"]["selector"] == LABELS
    assert STATEFUL["selector"]["matchLabels"] == LABELS
    budget = BY_KIND["PodDisruptionBudget/pos-consumer"]["spec"]
    assert budget["selector"]["matchLabels"] == LABELS
    assert monitor["selector"]["matchLabels"] == service["metadata"]["labels"]
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in {one["name"] for one in service["spec"]["ports"]}
    assert STATEFUL["serviceName"] == service["metadata"]["name"]


def test_the_configuration_is_right(tmp_path: Path) -> None:
    """`pos-consumer check` takes it, and it drains before it is killed."""
    text = BY_KIND["ConfigMap/pos-consumer"]["data"]["pos-consumer.toml"]
    config = tmp_path / "pos-consumer.toml"
    config.write_text(text, "utf-8")
    schema = tmp_path / "1.avsc"
    schema.write_text(BY_KIND["ConfigMap/pos-consumer-schemas"]["data"]["1.avsc"])
    words = ["--config", str(config), "check", "--schema", str(schema)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    drain = int(tomllib.loads(text)["drain_timeout"].removesuffix("s"))
    assert drain < POD["terminationGracePeriodSeconds"]


def test_it_runs_a_command_that_exists() -> None:
    """The command line takes it."""
    done = CliRunner().invoke(app, [*CONTAINER["args"], "--help"])
    assert done.exit_code == 0, done.output
