"""What deploy/ holds fits together and fits the binary. There is no container engine here, so the image is not built:
instead everything that it and compose.yaml name is looked up, and the programs of the host read what they can."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
SERVER = SERVICES["cost-exporter"]
CONFIG = tomllib.loads((DEPLOY / "apportion.toml").read_text())
CONTAINERFILE = [line for line in (DEPLOY / SERVER["build"]["dockerfile"].removeprefix("deploy/")).read_text().splitlines() if line]
UNIT = (DEPLOY / "systemd" / "apportion.service").read_text()
# The names that the requirement gives (S1-16, S1-17).
SEED_NAMES = {
    "VERCEL_API_TOKEN", "SUPABASE_ACCESS_TOKEN", "SUPABASE_PROJECT_REF", "WASABI_ACCESS_KEY", "WASABI_SECRET_KEY",
    "COST_REFRESH_INTERVAL_S",
}  # fmt: skip
SECRET = "canary-of-the-environment-7d2e"


def values(environment: dict[str, str]) -> dict[str, str]:
    """An environment of compose.yaml with something for every variable."""
    given = dict.fromkeys(SEED_NAMES, SECRET) | {"COST_REFRESH_INTERVAL_S": "21600", "SUPABASE_PROJECT_REF": "abcdefghijklmnopqrst"}
    replace = lambda found: given.get(found[1], f"{SECRET}{'0' * 20}")  # noqa: E731
    return {name: re.sub(r"\$\{(\w+)[^}]*\}", replace, str(value)) for name, value in environment.items()}


def run(binary: str, folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess:
    config = folder / "apportion.toml"
    shutil.copy(DEPLOY / "apportion.toml", config)
    return subprocess.run(
        [binary, "--config", str(config), *arguments], cwd=folder, env={"PATH": os.environ["PATH"], **environment},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def instructions(word: str) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in CONTAINERFILE if line.split(maxsplit=1)[0] == word]


def program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is missing; scripts/setup test installs it"
    return found


def test_every_file_and_volume_that_compose_names_is_there():
    used = set()
    for name, service in SERVICES.items():
        for mount in service.get("volumes", []):
            source, target, *mode = mount.split(":")
            if not source.startswith("./"):
                used.add(source)
                continue
            assert (DEPLOY / source).exists(), f"{name}: {source} is not in deploy/"
            assert target.startswith("/") and mode == ["ro"], f"{name}: {mount} could be written"
    assert used == set(COMPOSE["volumes"])
    assert (DEPLOY / SERVER["build"]["context"]).resolve() == REPOSITORY
    assert (REPOSITORY / SERVER["build"]["dockerfile"]).is_file()


def test_services_are_reached_from_this_machine_only_and_cannot_change_themselves():
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            address, outside, inside = port.split(":")
            assert address == "127.0.0.1" and outside == inside, f"{name}: {port}"
        image = service["image"]
        assert image == "apportion:local" or not image.endswith(":latest") and ":" in image.rsplit("/", 1)[1], image
        assert "no-new-privileges:true" in service["security_opt"], name
        assert set(service.get("depends_on", [])) <= set(SERVICES), name
        if name != "postgres":  # It changes users when it starts.
            assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name


def test_every_variable_of_compose_is_in_the_example_and_nothing_else_is():
    used = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    lines = [line for line in (DEPLOY / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    assert used == {line.split("=")[0] for line in lines} and SEED_NAMES <= used
    assert all(line.endswith("=") for line in lines), "an example has no secrets"
    ignored = (DEPLOY / ".gitignore").read_text().split()
    assert ".env" in ignored
    assert any(line.strip() in ("deploy/.env", "**/.env") for line in (REPOSITORY / ".dockerignore").read_text().splitlines())


def test_the_binary_takes_the_configuration_and_the_environment_of_the_container(binary, tmp_path):
    environment = values(SERVER["environment"]) | {"APPORTION__STORAGE__DATA": str(tmp_path / "data")}
    shown = run(binary, tmp_path, environment, "config", "show", "--origin")
    assert shown.returncode == 0, shown.stderr
    for name in set(SERVER["environment"]) - {"APPORTION_ADMIN_TOKEN"}:
        assert name in shown.stdout, f"{name} means nothing to the binary"
    assert SECRET not in shown.stdout + shown.stderr
    # Empty variables, as compose passes them on, switch nothing on.
    empty = environment | dict.fromkeys(SEED_NAMES, "")
    assert not any(name in run(binary, tmp_path, empty, "config", "show", "--origin").stdout for name in SEED_NAMES)
    checked = run(binary, tmp_path, {"APPORTION__STORAGE__DATA": str(tmp_path / "data")}, "check")
    assert checked.returncode == 0, checked.stderr


def test_the_image_runs_the_server_on_the_mounts_and_ports_of_compose(binary, tmp_path):
    [entry], [command] = ([json.loads(text) for text in instructions(word)] for word in ("ENTRYPOINT", "CMD"))
    assert run(binary, tmp_path, {}, *command, "--help").returncode == 0
    targets = {mount.split(":")[1] for mount in SERVER["volumes"]}
    assert entry[1] == "--config" and set(entry[2:]) | set(instructions("VOLUME")) == targets
    assert CONFIG["storage"]["data"] in targets
    copied = [text for text in instructions("COPY") if text.endswith(entry[0])]
    assert len(copied) == 1 and copied[0].split()[1] == f"/src/target/release/{Path(entry[0]).name}"
    assert instructions("USER") == ["65532:65532"] and CONTAINERFILE.index("USER 65532:65532") > CONTAINERFILE.index(
        next(line for line in CONTAINERFILE if line.startswith("FROM gcr.io/distroless/"))
    )
    ports = {address.rsplit(":", 1)[1] for address in (CONFIG["server"]["listen"], CONFIG["server"]["exporter_listen"])}
    published = {port.rsplit(":", 1)[1] for port in SERVER["ports"]}
    assert set(instructions("EXPOSE")[0].split()) == ports and ports <= published


def test_the_image_is_built_of_what_the_repository_has():
    stages = {name: image for image, name in re.findall(r"^FROM (\S+) AS (\S+)$", "\n".join(CONTAINERFILE), re.MULTILINE)}
    assert set(stages) == {"pages", "binary"}
    ignored = (REPOSITORY / ".dockerignore").read_text().split()
    for text in instructions("COPY"):
        *sources, _ = [part for part in text.split() if not part.startswith("--")]
        if stage := re.search(r"--from=(\S+)", text):
            assert stage[1] in stages, text
            continue
        for source in sources:
            assert (REPOSITORY / source).exists() and source not in ignored, source
    workspace = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["workspace"]["package"]
    assert f"/rust:{workspace['rust-version']}-bookworm" in stages["binary"]
    # What was linked with the libraries of Debian 12 runs with them.
    assert any("debian12" in text for text in instructions("FROM"))
    wanted = json.loads((REPOSITORY / "web" / "package.json").read_text())
    node = int(re.search(r"/node:(\d+)-", stages["pages"])[1])
    assert node >= int(re.search(r"\d+", wanted["engines"]["node"])[0])
    scripts = re.findall(r"npm run --prefix web (\w+)", "\n".join(CONTAINERFILE))
    assert scripts and set(scripts) <= set(wanted["scripts"])


def test_what_the_services_tell_each_other_leads_somewhere():
    ports = {name: [port.rsplit(":", 1)[1] for port in service.get("ports", [])] for name, service in SERVICES.items()}
    prometheus = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    [receiver] = prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    host, port = receiver.split(":")
    assert host in SERVICES and port in ports[host]
    # It shares the network of the server: the loopback is the server's, and so are its ports.
    assert SERVICES["prometheus"]["network_mode"] == "service:cost-exporter"
    [target] = prometheus["scrape_configs"][0]["static_configs"][0]["targets"]
    assert target == f"127.0.0.1:{CONFIG['server']['exporter_listen'].rsplit(':', 1)[1]}"
    listen = next(text for text in SERVICES["prometheus"]["command"] if text.startswith("--web.listen-address="))
    [source] = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == f"http://cost-exporter:{listen.rsplit(':', 1)[1]}"
    assert listen.rsplit(":", 1)[1] in ports["cost-exporter"]
    assert re.search(r"@(\w+)/", SERVER["environment"]["APPORTION__STORAGE__CATALOG"])[1] in SERVICES


def test_grafana_finds_the_dashboard_and_the_dashboard_its_data():
    folder = DEPLOY / "grafana/provisioning"
    mounts = dict(mount.split(":")[:2] for mount in SERVICES["grafana"]["volumes"])
    [provider] = yaml.safe_load((folder / "dashboards/dashboards.yaml").read_text())["providers"]
    inside = mounts["./grafana/provisioning"]
    assert (folder / Path(provider["options"]["path"]).relative_to(inside) / "costs.json").is_file()
    [source] = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text())["datasources"]
    text = (folder / "dashboards/costs.json").read_text()
    dashboard = json.loads(text)
    [variable] = [one for one in dashboard["templating"]["list"] if one["type"] == "datasource"]
    assert (dashboard["title"], variable["query"], source["type"], source["isDefault"]) == ("Costs", "prometheus", "prometheus", True)
    assert set(re.findall(r'"type": "prometheus",\s*"uid": "([^"]+)"', text)) == {f"${{{variable['name']}}}"}


def test_the_hosts_programs_take_the_files_of_prometheus_and_alertmanager():
    for command in (
        [program("promtool"), "check", "config", "prometheus/prometheus.yml"],
        [program("amtool"), "check-config", "alertmanager/alertmanager.yml"],
    ):
        done = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr


def test_systemd_takes_the_unit_and_calls_it_shut_in(binary, tmp_path):
    [command] = re.findall(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)
    installed, *arguments = command.split()
    assert arguments[0] == "--config" and run(binary, tmp_path, {}, *arguments[2:], "--help").returncode == 0
    data = dict(re.findall(r"^Environment=(\w+)=(\S+)$", UNIT, re.MULTILINE))
    shown = run(binary, tmp_path, data, "config", "show", "--origin")
    assert shown.returncode == 0 and "APPORTION__STORAGE__DATA" in shown.stdout, shown.stderr
    # Checked with the binary in its place: the one that it names is not installed here.
    unit = tmp_path / "apportion.service"
    unit.write_text(UNIT.replace(installed, os.path.abspath(binary)))
    analyze = program("systemd-analyze")
    checked = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True, timeout=120)
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stderr
    # 10 is a service that may do everything; most are above 9.
    secure = [analyze, "security", "--offline=true", "--threshold=20", "--no-pager", unit]
    shut = subprocess.run(secure, capture_output=True, text=True, timeout=120)
    assert shut.returncode == 0, shut.stdout[-2000:] + shut.stderr


def test_the_readme_names_files_that_are_there_and_commands_that_exist(binary, tmp_path):
    readme = (DEPLOY / "README.md").read_text()
    named = set(re.findall(r"`([\w.-][\w./-]*(?:\.(?:yaml|yml|toml|json)|/))`", readme))
    named |= set(re.findall(r"deploy/([\w./-]+\.service)", readme))
    assert named and [name for name in named if not (DEPLOY / name).exists() and not list(DEPLOY.rglob(name))] == []
    for command in set(re.findall(r"apportion (observability export \w+)", readme)):
        assert run(binary, tmp_path, {}, *command.split()).returncode == 0, command


@pytest.mark.parametrize("path", sorted((DEPLOY / "policies").glob("*.json")), ids=lambda path: path.stem)
def test_policies_are_valid_named_and_only_read(path):
    text = path.read_text()
    json.loads(text)
    pages = [(REPOSITORY / "docs" / "collectors.md").read_text(), (DEPLOY / "policies" / "README.md").read_text()]
    assert any(path.name in page for page in pages), "nobody points to it"
    writes = re.findall(r'"[\w.:/]*(?:Put|Delete|Create|Update|Write|POST|PUT|DELETE|setIam)[\w.:/*]*"', text)
    assert writes == [], writes


def test_policies_and_limits_use_the_words_of_the_collectors():
    page = (REPOSITORY / "docs" / "collectors.md").read_text()
    rights = set(re.findall(r"`(\w+_read)`", (DEPLOY / "policies" / "README.md").read_text()))
    assert rights and [right for right in rights if f"`{right}`" not in page] == [], "a right that no collector needs"
    resources = {limit["resource"] for limit in CONFIG["limit"]}
    assert resources and [name for name in resources if f"`{name}`" not in page] == [], "a limit that nothing is counted for"
