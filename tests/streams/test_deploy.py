"""The Dockerfile and the compose file against the settings and the pins. Neither is run here."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from pydantic import SecretStr

from streams.brokers.kafka import MESSAGE_BYTES
from streams.settings import Settings, WorkerSettings

ROOT = Path(__file__).parents[2]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def test_each_variable_of_compose_is_a_setting_and_takes_effect(monkeypatch):
    seen = 0
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if not name.startswith("MILLRACE_"):
                continue
            section, field = name.removeprefix("MILLRACE_").lower().split("__")
            given = "open-sesame" if value == f"${{{name}:-}}" else value  # handed on, or set
            monkeypatch.setenv(name, str(given))
            # a name that is no field of a section makes Settings() itself fail
            assert section in Settings.model_fields
            taken = getattr(getattr(Settings(), section), field)
            assert (taken.get_secret_value() if isinstance(taken, SecretStr) else taken) == given
            seen += 1
    assert seen == 4


def test_millrace_reaches_kafka_where_kafka_says_it_is():
    kafka = SERVICES["kafka"]["environment"]
    advertised = dict(
        listener.split("://") for listener in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")
    )
    for name in ("topics", "worker"):
        bootstrap = SERVICES[name]["environment"]["MILLRACE_BROKER__BOOTSTRAP"]
        assert bootstrap == advertised["INTERNAL"]
    assert advertised["HOST"] == Settings().broker.bootstrap
    assert SERVICES["kafka"]["ports"] == [f"{advertised['HOST']}:9092"]
    listening = {
        name: address.rpartition(":")[2]
        for name, address in (
            listener.split("://") for listener in kafka["KAFKA_LISTENERS"].split(",")
        )
    }
    assert {name: listening[name] for name in advertised} == {"INTERNAL": "19092", "HOST": "9092"}
    assert kafka["KAFKA_CONTROLLER_QUORUM_VOTERS"].endswith(f":{listening['CONTROLLER']}")
    assert SERVICES["kafka"]["healthcheck"]["test"][-1] == f"localhost:{listening['INTERNAL']}"
    assert kafka["KAFKA_MESSAGE_MAX_BYTES"] == MESSAGE_BYTES > Settings().topics.message_bytes


def test_the_worker_starts_after_the_topics_are_made():
    def waits(name: str) -> dict[str, Any]:
        return {on: how["condition"] for on, how in SERVICES[name]["depends_on"].items()}

    assert waits("topics") == {"kafka": "service_healthy"}
    assert waits("worker")["topics"] == "service_completed_successfully"
    assert SERVICES["topics"]["command"] == ["topics", "create"]


@pytest.mark.parametrize("name", ["topics", "worker", "prometheus", "grafana"])
def test_containers_may_do_no_more_than_they_need(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert not {"privileged", "user", "cap_add", "network_mode"} & service.keys()
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert ("ports" in service) == (name != "topics")


def test_each_worker_of_the_default_partitions_has_a_port_of_this_machine():
    [published] = SERVICES["worker"]["ports"]
    host, ports, inside = published.split(":")
    first, last = map(int, ports.split("-"))
    assert (host, int(inside)) == ("127.0.0.1", Settings().web.port)
    assert first == Settings().web.port
    assert last - first + 1 == Settings().topics.partitions


def test_the_worker_writes_to_its_volume_alone_and_is_asked_whether_it_is_ready() -> None:
    [(source, folder)] = [volume.split(":") for volume in SERVICES["worker"]["volumes"]]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert source in compose["volumes"]
    found = instructions()
    assert ("VOLUME", folder) in found
    variables = dict(
        pair.split("=") for verb, text in found if verb == "ENV" for pair in text.split()
    )
    assert variables.keys() == {"MILLRACE_WORKER__CHECKPOINTS", "NUMBA_CACHE_DIR"}
    assert all(value.startswith(f"{folder}/") for value in variables.values())
    assert "checkpoints" in WorkerSettings.model_fields
    assert any(verb == "RUN" and f"install -d -o millrace {folder}" in text for verb, text in found)
    command, *arguments = SERVICES["worker"]["healthcheck"]["test"]
    assert (command, arguments) == ("CMD", ["millrace", "health"])


def test_compose_and_maven_name_the_same_kafka():
    maven = {"m": "http://maven.apache.org/POM/4.0.0"}
    versions = {
        dependency.findtext("m:artifactId", namespaces=maven): dependency.findtext(
            "m:version", namespaces=maven
        )
        for dependency in ElementTree.parse(ROOT / "pom.xml").iterfind(".//m:dependency", maven)
    }
    assert SERVICES["kafka"]["image"].startswith(f"apache/kafka:{versions['kafka_2.13']}@")


def test_images_are_named_by_digest():
    images = {name: service["image"] for name, service in SERVICES.items() if "image" in service}
    assert images.keys() == {"kafka", "prometheus", "grafana"}
    [base] = [text for verb, text in instructions() if verb == "FROM"]
    for image in (*images.values(), base):
        assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+[a-z-]*@sha256:[0-9a-f]{64}", image)


def instructions() -> list[tuple[str, str]]:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    return [
        (line.split(maxsplit=1)[0], line.split(maxsplit=1)[1])
        for line in lines
        if line and not line.startswith("#")
    ]


def test_dockerfile_runs_a_worker_as_no_root_from_the_pins():
    found = instructions()
    verbs = [verb for verb, _ in found]
    assert found[0][0] == "FROM"
    assert found[0][1].startswith("python:3.11.")
    installs = [text for verb, text in found if verb == "RUN" and "pip install" in text]
    assert all("--require-hashes" in text or "--no-deps --no-build-isolation" in text
               for text in installs)  # fmt: skip
    assert any("--require-hashes --requirement requirements.txt" in text for text in installs)
    [user] = [text for verb, text in found if verb == "USER"]
    assert user != "root"
    assert verbs.index("USER") > max(i for i, verb in enumerate(verbs) if verb == "RUN")
    start = {verb: json.loads(text) for verb, text in found if verb in {"ENTRYPOINT", "CMD"}}
    assert start == {"ENTRYPOINT": ["millrace"], "CMD": ["worker"]}


@pytest.mark.parametrize("verb_and_text", [i for i in instructions() if i[0] == "COPY"])
def test_dockerfile_copies_what_is_there_and_not_ignored(verb_and_text):
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for source in re.split(r"\s+", verb_and_text[1])[:-1]:
        assert (ROOT / source).exists()
        assert f"!{source}" in ignored


# ------------------------------------------------------------------ the profile observability


def mounts(name: str) -> dict[str, str]:
    """What a container sees of our files: its path by ours; each is there, and read-only."""
    found = {}
    for volume in SERVICES[name]["volumes"]:
        source, target, *mode = volume.split(":")
        if source.startswith("./"):
            assert (ROOT / source).exists(), source
            assert mode == ["ro"]
            found[source.removeprefix("./")] = target
    return found


def test_prometheus_and_grafana_start_only_where_they_are_asked_for():
    for name in ("prometheus", "grafana"):
        assert SERVICES[name]["profiles"] == ["observability"]


def test_prometheus_finds_workers_rules_and_token_where_they_are():
    told = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())
    seen = mounts("prometheus")
    configuration = seen["deploy/prometheus.yml"]
    assert f"--config.file={configuration}" in SERVICES["prometheus"]["command"]
    folder = configuration.rpartition("/")[0]
    assert [f"{folder}/{name}" for name in told["rule_files"]] == [seen["deploy/alerts.yml"]]
    [job] = told["scrape_configs"]
    [names] = job["dns_sd_configs"]
    assert names["names"] == ["worker"]
    assert names["port"] == Settings().web.port
    assert SERVICES["worker"]["environment"]["MILLRACE_WEB__HOST"] == "0.0.0.0"
    [secret] = SERVICES["prometheus"]["secrets"]
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{secret}"
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    default = compose["secrets"][secret]["file"].removeprefix("${MILLRACE_TOKEN_FILE:-./")
    assert (ROOT / default.removesuffix("}")).read_text() == "none\n"


def test_grafana_finds_prometheus_and_the_dashboard():
    seen = mounts("grafana")
    folder = ROOT / "deploy/grafana/provisioning"
    assert seen["deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    [source] = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
    [published] = SERVICES["prometheus"]["ports"]
    assert source["url"] == f"http://prometheus:{published.rpartition(':')[2]}"
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/millrace.json").read_text())
    assert {p["datasource"]["uid"] for p in dashboard["panels"]} == {source["uid"]}
    [provider] = yaml.safe_load((folder / "dashboards/millrace.yml").read_text())["providers"]
    assert provider["options"]["path"] == seen["deploy/grafana/dashboards"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/millrace.json"
