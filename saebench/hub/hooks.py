"""Whether an SAE's files say which hook it reads."""

from typing import Any

from saebench.catalogue.layouts import FORMATS
from saebench.catalogue.layouts.format import filled
from saebench.catalogue.spec import SAESpec
from saebench.hub.files import file_of, format_of, place_of
from saebench.record.json_files import read_json


def unsaid(spec: SAESpec) -> bool:
    """Whether neither its name nor its files say which hook an SAE reads; False where only loading it can tell."""
    form = format_of(spec) if spec.hook is None and spec.loader == "files" else None
    if form is None:
        return False

    def read(file: str) -> dict[str, Any]:
        path = file_of(spec, filled(file, place_of(spec)))
        return read_json(path) if path is not None else {}

    return FORMATS[form].unsaid(place_of(spec), read)
