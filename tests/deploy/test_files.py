"""What the image and the compose file promise, as far as it can be told without a container engine."""

from __future__ import annotations

import configparser
import importlib.metadata
import ipaddress
import json
import re
import subprocess
from typing import Any

import pytest
import yaml

from streamsim import config
from streamsim.config import OPTIONS
from tests.support import ROOT

NETWORK = re.compile(r"\$\{STREAMSIM_NETWORK:-([0-9.]+)\}")
COMPOSE = yaml.safe_load(NETWORK.sub(r"\1", (ROOT / "docker-compose.yml").read_text()))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVERS = {name: service for name, service in SERVICES.items() if name.startswith("streamsim")}
NGINX = (ROOT / "deploy" / "nginx.conf").read_text()


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) of the Dockerfile."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines if line.strip()]


def pinned() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_the_image_does_not_run_as_root_and_ends_by_the_signal_that_drains() -> None:
    final = instructions()[-([name for name, _ in reversed(instructions())].index("FROM") + 1) :]
    settings = dict(final)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", settings["USER"])
    assert settings["STOPSIGNAL"] == "SIGTERM"
    assert settings["ENTRYPOINT"] == '["streamsim"]'
    assert "/ready" in settings["HEALTHCHECK"]
    order = [name for name, _ in final]
    assert order.index("USER") < order.index("ENTRYPOINT")
    # It would leave a volume without a name behind with every container.
    assert "VOLUME" not in order


def test_libraries_and_the_service_are_layers_of_their_own() -> None:
    names = [name for name, _ in instructions()]
    final = instructions()[len(names) - 1 - names[::-1].index("FROM") :]
    copied = [arguments for name, arguments in final if name == "COPY"]
    assert copied == ["--from=libraries /opt/streamsim /opt/streamsim", "--from=application /wheels /wheels"]


def test_the_image_sets_only_options_that_exist() -> None:
    words = " ".join(arguments for name, arguments in instructions() if name == "ENV").split()
    given = dict(word.split("=", 1) for word in words if word.startswith("STREAMSIM_"))
    settings = config.load(environment=given)
    assert (settings.server.address, settings.server.port, settings.storage.data) == (
        "0.0.0.0",
        8080,
        "/data",
    )


def test_the_image_installs_pinned_versions_and_no_others() -> None:
    installs = [
        arguments for name, arguments in instructions() if name == "RUN" and "pip install" in arguments
    ]
    hashed = "--require-hashes --no-deps --requirement requirements.hashes"
    assert hashed in installs[0]
    wheel = "-m pip install --no-cache-dir --no-deps /wheels/*.whl"
    assert all(hashed in one or wheel in one for one in installs)
    assert all(re.fullmatch(r"[a-z0-9-]+", name) and version for name, version in pinned().items())


def test_every_locked_version_has_the_hashes_of_its_files() -> None:
    text = (ROOT / "requirements.hashes").read_text()
    found = re.findall(r"^(\S+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", text, re.MULTILINE)
    assert {name: version for name, version, _ in found} == pinned()
    # NumPy has a file for each Python and machine.
    assert next(hashes.count("--hash") for name, _, hashes in found if name == "numpy") == 6


def test_every_locked_version_is_listed_with_its_licence_for_people_and_machines() -> None:
    listed = json.loads((ROOT / "deploy" / "sbom.cdx.json").read_text())
    packages = [one for one in listed["components"] if one["purl"].startswith("pkg:pypi/")]
    assert {one["name"]: one["version"] for one in packages} == pinned()
    lock = json.loads((ROOT / "console" / "package-lock.json").read_text())["packages"]
    asked = lock[""]["dependencies"].keys() - {"esbuild"}
    bundled = {one["name"]: one["version"] for one in listed["components"] if one not in packages}
    assert asked <= bundled.keys()
    assert all(lock[f"node_modules/{name}"]["version"] == version for name, version in bundled.items())
    table = (ROOT / "docs" / "licences.md").read_text()
    assert all(f"| npm: {name} | {version} |" in table for name, version in bundled.items())
    rows = re.findall(r"^\| ([a-z0-9-]+) \| (\S+) \| (.+) \|$", table, re.MULTILINE)
    assert {name: version for name, version, _ in rows if name != "package"} == pinned()
    assert "not declared" not in table


def test_every_direct_dependency_is_pinned_within_its_bounds() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    header = (ROOT / "requirements.lock").read_text().splitlines()[0]
    chosen = header[header.index("[") + 1 : header.index("]")].split(",")
    assert set(chosen) == set(extras) - {"bench", "client", "docs", "test"}  # those are not for serving
    wanted = "\n".join([setup["options"]["install_requires"], *(extras[name] for name in chosen)])
    found = re.findall(r"^([A-Za-z0-9-]+) >= (\S+)$", wanted, re.MULTILINE)
    assert len(found) >= 13
    for name, bound in found:
        version = pinned()[name.lower()]
        assert [int(part) for part in version.split(".")[:2]] >= [int(part) for part in bound.split(".")[:2]]


def test_make_installs_the_locked_versions_of_all_that_the_readme_promises() -> None:
    ran = subprocess.run(
        ["make", "--dry-run", "--always-make", "serve", "VENV=elsewhere"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    installs = [line for line in ran.stdout.splitlines() if " pip " in line]
    assert all("--constraint requirements.lock" in line for line in installs)
    assert "--require-hashes --requirement elsewhere/serving.hashes" in installs[-2]
    assert "--editable '.[bptk,pysd,plots]' --editable ./client" in installs[-1]
    # Nothing that runs here is another version than the lock file's, whatever extras are beside it.
    for name, version in pinned().items():
        assert importlib.metadata.version(name) == version, name


def test_base_images_have_a_version() -> None:
    base = dict(arguments.split("=") for name, arguments in instructions() if name == "ARG")["BASE"]
    bases = {arguments.split()[0] for name, arguments in instructions() if name == "FROM"}
    assert bases == {"${BASE}", "libraries"}
    assert re.search(r":\d+\.\d+\.\d+", base), base
    images = [service["image"] for name, service in SERVICES.items() if name not in SERVERS]
    for image in images:
        assert re.search(r":\d+\.\d+", image), image


def test_the_builder_gets_what_it_copies_and_nothing_private() -> None:
    allowed = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = [
        source
        for name, arguments in instructions()
        if name == "COPY" and not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    ]
    assert {source.removeprefix("./") for source in copied} == set(allowed)
    assert all((ROOT / source).exists() for source in allowed)
    assert (ROOT / ".dockerignore").read_text().split("\n")[1] == "*"


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_restarted_and_says_whether_it_is_well(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert "healthcheck" in service or service in SERVERS.values()  # theirs is in the image
    for other in service.get("depends_on", {}).values():
        assert other == {"condition": "service_healthy"}


def test_what_is_stored_is_on_volumes_and_redis_writes_before_it_answers() -> None:
    redis, mongo = SERVICES["redis"], SERVICES["mongo"]
    command = redis["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "always"
    assert options["--maxmemory-policy"] == "noeviction"
    volumes = [service["volumes"][0].split(":") for service in (redis, mongo)]
    assert [target for _, target in volumes] == ["/data", "/data/db"]
    assert options["--dir"] == "/data"
    assert {name for name, _ in volumes} == set(COMPOSE["volumes"])


def test_two_or_more_servers_are_configured_alike_and_given_no_privilege() -> None:
    assert len(SERVERS) >= 2
    for service in SERVERS.values():
        environment = {name: str(text) for name, text in service["environment"].items()}
        assert {name for name in environment if name != "STREAMSIM_ADMIN_PASSWORD"} <= {
            option.environment for option in OPTIONS.values()
        }
        settings = config.load(environment=environment)
        # Compose starts nothing before both passwords are given.
        assert re.match(r"redis://:\$\{REDIS_PASSWORD:\?.+\}@redis:", settings.storage.redis)
        assert re.match(r"mongodb://streamsim:\$\{MONGO_PASSWORD:\?.+\}@mongo:", settings.storage.mongo)
        assert service["cap_drop"] == ["ALL"]
        assert not service.keys() & {"privileged", "cap_add", "devices", "pid", "ports", "user"}
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert int(service["stop_grace_period"].removesuffix("s")) > settings.server.drain_s
    ports = {name: service.get("ports") for name, service in SERVICES.items()}
    assert [name for name, published in ports.items() if published] == ["nginx"]


def test_redis_and_mongodb_ask_for_passwords_that_stand_in_no_file_of_ours() -> None:
    example = dict(
        line.split("=", 1)
        for line in (ROOT / "deploy" / "env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    text = (ROOT / "docker-compose.yml").read_text()
    assert set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", text)) == example.keys()
    assert {name for name in example if name.endswith("PASSWORD") and example[name]} == set()
    redis, mongo = SERVICES["redis"], SERVICES["mongo"]
    assert redis["command"][-2:] == ["--requirepass", "${REDIS_PASSWORD}"]
    assert mongo["environment"]["MONGO_INITDB_ROOT_PASSWORD"] == "${MONGO_PASSWORD}"
    assert "--keyFile" in mongo["entrypoint"][-1]
    assert ".env" in (ROOT / ".gitignore").read_text().split()


def test_nginx_knows_every_server_and_every_server_knows_nginx() -> None:
    assert set(re.findall(r"server (\S+):8080 ", NGINX)) == set(SERVERS)
    (network,) = COMPOSE["networks"].values()
    subnet = ipaddress.ip_network(network["ipam"]["config"][0]["subnet"])
    dynamic = ipaddress.ip_network(network["ipam"]["config"][0]["ip_range"])
    fixed = {
        name: ipaddress.ip_address(service["networks"]["inside"]["ipv4_address"])
        for name, service in SERVICES.items()
        if isinstance(service["networks"], dict)
    }
    assert fixed.keys() == {"nginx", *SERVERS}
    assert len(set(fixed.values())) == len(fixed)
    assert all(address in subnet and address not in dynamic for address in fixed.values())
    for service in SERVERS.values():
        assert service["environment"]["STREAMSIM_SERVER_TRUSTED_PROXIES"] == str(fixed["nginx"])


def test_another_network_is_one_variable_and_the_image_is_built_once() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert "172.28." not in NETWORK.sub("", text)
    assert [name for name, service in SERVICES.items() if "build" in service] == ["streamsim-1"]
    assert len({service["image"] for service in SERVERS.values()}) == 1
    # No registry has it.
    assert all("build" in service or service["pull_policy"] == "never" for service in SERVERS.values())


def test_nginx_lets_through_what_a_server_takes() -> None:
    defaults = config.Settings().server
    megabytes = re.search(r"client_max_body_size (\d+)m;", NGINX)
    logs = re.search(r"location ~\* \^/eval/ \{\s+client_max_body_size (\d+)m;", NGINX)
    header = re.search(r"large_client_header_buffers \d+ (\d+)k;", NGINX)
    assert megabytes is not None
    assert header is not None
    assert logs is not None
    assert int(megabytes[1]) << 20 >= defaults.max_body_bytes
    assert int(logs[1]) << 20 > config.Settings().evaluation.log_bytes
    assert int(header[1]) << 10 >= defaults.max_header_bytes


def test_the_operations_guide_names_metrics_and_options_that_exist() -> None:
    guide = (ROOT / "docs" / "operations.md").read_text()
    source = "".join(file.read_text() for file in (ROOT / "streamsim").rglob("*.py"))
    metrics = set(re.findall(r"streamsim_[a-z]+(?:_[a-z]+)+", guide))
    assert metrics == set(re.findall(r'"(streamsim_[a-z]+(?:_[a-z]+)+)"', source))
    sections = "|".join(config.SECTIONS)
    options = set(re.findall(rf"`((?:{sections})\.[a-z_]+)[`:]", guide))
    assert len(options) > 10
    assert options <= OPTIONS.keys()
    for target in re.findall(r"\]\(([^)#:]+)\)", guide):
        assert (ROOT / "docs" / target).exists(), target
