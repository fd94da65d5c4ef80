"""The Kubernetes example against the schemas of Kubernetes and KEDA, and against the settings.

Schemas: kubernetes-validate has those that Kubernetes publishes, unknown fields refused;
cloudcoil-models-keda has models made of KEDA's own. No cluster is asked.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from pydantic import SecretStr, ValidationError

from streams.settings import Settings
from streams.worker.stores import is_url

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
FILES = sorted(FOLDER.glob("*.yaml"))
DOCUMENTS: list[dict[str, Any]] = [
    document for file in FILES for document in yaml.safe_load_all(file.read_text())
]
VERSIONS = ("1.30", "1.33", "1.37")


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = [document for document in DOCUMENTS if document["kind"] == kind]
    return found


SETTINGS = of_kind("ConfigMap")["data"]
WORKERS = of_kind("StatefulSet")["spec"]
POD = WORKERS["template"]["spec"]
(WORKER,) = POD["containers"]
KUBERNETES = [document for document in DOCUMENTS if document["kind"] != "ScaledObject"]


def pods() -> list[dict[str, Any]]:
    return [document["spec"]["template"]["spec"]
            for document in DOCUMENTS if document["kind"] in ("Job", "StatefulSet")]  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", KUBERNETES, ids=lambda document: document["kind"])
def test_each_fits_the_schema_of_kubernetes(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_refused() -> None:
    wrong = of_kind("Service") | {"spec": {"selector": {}, "ports": [{"prot": 1}]}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def as_keda_reads(document: dict[str, Any]) -> dict[str, Any]:
    """What its schema knows of a document; a field that it does not know is gone."""
    from cloudcoil.models.keda import v1alpha1 as keda  # 2 s, and one test alone needs it

    made = keda.ScaledObject.model_validate(document)
    return made.model_dump(by_alias=True, exclude_unset=True, mode="json")


def test_scaling_fits_the_schema_of_keda() -> None:
    document = of_kind("ScaledObject")
    assert as_keda_reads(document) == document
    misspelt = document | {"spec": document["spec"] | {"maxReplicas": 3}}
    assert as_keda_reads(misspelt) != misspelt
    with pytest.raises(ValidationError):
        as_keda_reads(document | {"spec": {"triggers": []}})


def test_the_scaler_asks_for_the_group_and_topic_that_workers_have() -> None:
    spec = of_kind("ScaledObject")["spec"]
    assert spec["scaleTargetRef"]["kind"] == "StatefulSet"
    assert spec["scaleTargetRef"]["name"] == of_kind("StatefulSet")["metadata"]["name"]
    assert "replicas" not in WORKERS, "it would undo the scaler at each `kubectl apply`"
    (trigger,) = spec["triggers"]
    told = trigger["metadata"]
    assert told["bootstrapServers"] == SETTINGS["MILLRACE_BROKER__BOOTSTRAP"]
    assert told["consumerGroup"] == Settings().worker.group
    assert told["topic"] == Settings().topics.interactions
    assert spec["maxReplicaCount"] <= int(SETTINGS["MILLRACE_TOPICS__PARTITIONS"])
    assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"]


def test_each_variable_is_a_setting_and_takes_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {entry["name"]: entry.get("value", "a-token") for entry in WORKER["env"]}
    given = {k: v for k, v in (SETTINGS | own).items() if k.startswith("MILLRACE_")}
    given["MILLRACE_WEB__ADDRESS"] = given["MILLRACE_WEB__ADDRESS"].replace("$(POD_IP)", "10.1.2.3")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    for name, value in given.items():
        section, field = name.removeprefix("MILLRACE_").lower().split("__")
        taken = getattr(getattr(Settings(), section), field)
        assert str(taken.get_secret_value() if isinstance(taken, SecretStr) else taken) == value
    assert is_url(Settings().worker.checkpoints)
    assert Settings().web.host == "0.0.0.0"


def test_a_worker_is_reached_at_its_pod() -> None:
    names = [entry["name"] for entry in WORKER["env"]]
    assert names.index("POD_IP") < names.index("MILLRACE_WEB__ADDRESS"), "only then it is known"
    address = next(e["value"] for e in WORKER["env"] if e["name"] == "MILLRACE_WEB__ADDRESS")
    (port,) = WORKER["ports"]
    assert address == f"$(POD_IP):{port['containerPort']}"
    assert SETTINGS["MILLRACE_WEB__PORT"] == str(port["containerPort"])
    for probe, path in (("startup", "live"), ("liveness", "live"), ("readiness", "ready")):
        asked = WORKER[f"{probe}Probe"]["httpGet"]
        assert asked == {"path": f"/health/{path}", "port": port["name"]}
    startup = WORKER["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 300, "kernels take minutes"
    service = of_kind("Service")
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert WORKERS["serviceName"] == service["metadata"]["name"]
    labels = WORKERS["template"]["metadata"]["labels"]
    for selector in (
        WORKERS["selector"]["matchLabels"],
        service["spec"]["selector"],
        of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ):
        assert selector == labels
    assert of_kind("Job")["spec"]["template"]["metadata"]["labels"] != labels


def test_secrets_are_named_and_in_no_file() -> None:
    (token,) = [entry for entry in WORKER["env"] if entry["name"] == "MILLRACE_WEB__TOKEN"]
    assert token["valueFrom"]["secretKeyRef"] == {"name": "millrace-web", "key": "token"}
    assert {document["kind"] for document in DOCUMENTS}.isdisjoint({"Secret"})
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & SETTINGS.keys()
    page = (FOLDER.parents[1] / "docs" / "deploying.md").read_text()
    for name in ("millrace-web", "millrace-object-store"):
        assert f"kubectl create secret generic {name}" in page


def test_containers_may_do_no_more_than_they_need() -> None:
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"].keys() == {"requests", "limits"}
        assert "memory" in container["resources"]["limits"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in WORKERS["volumeClaimTemplates"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_it_is_the_image_of_the_dockerfile() -> None:
    dockerfile = (FOLDER.parents[1] / "Dockerfile").read_text()
    (uid,) = re.findall(r"--uid (\d+)", dockerfile)
    (state,) = re.findall(r"^VOLUME (\S+)$", dockerfile, re.MULTILINE)
    for pod in pods():
        assert str(pod["securityContext"]["runAsUser"]) == uid
        assert pod["containers"][0]["image"] == f"millrace:{_version()}"
    assert [m["mountPath"] for m in WORKER["volumeMounts"]] == [state, "/tmp"]
    assert WORKER["args"] == ["worker"]


def _version() -> str:
    project = (FOLDER.parents[1] / "pyproject.toml").read_text()
    (version,) = re.findall(r'^version = "(.+)"$', project, re.MULTILINE)
    return version
