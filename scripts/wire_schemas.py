"""Write the schemas of the messages that travel, docs/schema/wire/KIND.json, from the models. Owns nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from exchange.alerts import json_schema, schema_kinds

_DIRECTORY = Path(__file__).parent.parent / "docs" / "schema" / "wire"

if __name__ == "__main__":
    for name in schema_kinds():
        text = json.dumps(json_schema(name, as_sent=True), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        (_DIRECTORY / f"{name}.json").write_text(text)
