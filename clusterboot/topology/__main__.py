"""Print the JSON Schema of a topology file: `python -m clusterboot.topology > docs/topology.schema.json`."""

from __future__ import annotations

import json

from clusterboot.topology.schema import json_schema

print(json.dumps(json_schema(), indent=2))
