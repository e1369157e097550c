"""What is published about the format is true: the schema, the documentation, the example files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from clusterboot.disk import topology_file
from clusterboot.topology import OWN_SETTINGS, load
from clusterboot.topology.schema import SECTIONS, json_schema

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "topology.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
FILES = sorted((ROOT / "topologies").glob("*.yaml"))


def test_the_published_schema_is_current() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "clusterboot.topology"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    published = (ROOT / "docs" / "topology.schema.json").read_text()
    assert published == printed, "run: python -m clusterboot.topology > docs/topology.schema.json"
    assert json.loads(published) == json_schema()


def test_the_schema_describes_every_key_and_takes_no_null() -> None:
    schema = json_schema()
    for part in (schema, *schema["$defs"].values()):
        assert part["additionalProperties"] is False
        for key, says in part["properties"].items():
            assert says.get("description") or "$ref" in says, key
    assert "null" not in json.dumps(schema)
    assert schema["required"] == ["version", "nodes"]


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_of_the_documentation_loads(text: str) -> None:
    assert load(text, "docs/topology.md").warnings == ()


def test_the_documentation_names_every_key() -> None:
    for form in SECTIONS.values():
        for key in form.model_fields:
            assert re.search(rf"^\|[^|]*`{key}`", DOCUMENT, re.MULTILINE), key
    for setting in OWN_SETTINGS:
        assert f"`{setting}`" in DOCUMENT


@pytest.mark.parametrize(
    "short", [text.strip('"') for text in re.findall(r"^\| `([^`]*:[0-9][^`]*)` \|", DOCUMENT, re.MULTILINE)]
)
def test_every_short_form_of_the_documentation_loads(short: str) -> None:
    load(yaml.safe_dump({"version": 1, "nodes": [short]}), "docs/topology.md")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_example_file_loads_without_a_warning(file: Path) -> None:
    topology = topology_file.read(file)
    assert topology.name == file.stem
    assert topology.warnings == ()


def test_all_example_files_are_found() -> None:
    assert {"local", "chain", "bus-port", "zones", "weights", "tls", "credentials"} <= {
        file.stem for file in FILES
    }
    assert len(EXAMPLES) >= 7


def test_the_types_alone_do_not_import_yaml_or_pydantic() -> None:
    code = (
        "import sys, clusterboot.topology, clusterboot.disk.topology_file; "
        "print(sorted({'yaml', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
