"""An answer against the tables of redfish_tables.py."""
import re
from datetime import datetime

from redfish_tables import COLLECTION, MESSAGE, TYPES


def is_moment(value):
    try:
        return bool(datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return False


KINDS = {
    "text": lambda v: isinstance(v, str),
    "flag": lambda v: isinstance(v, bool),
    "number": lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0,
    "path": lambda v: isinstance(v, str) and re.fullmatch(r"/redfish/v1/(?:[^/ ]+(?:/[^/ ]+)*)?", v),
    "url": lambda v: isinstance(v, str) and re.fullmatch(r"https?://redfish\.dmtf\.org/[\w./]+\.json", v),
    "any-url": lambda v: isinstance(v, str) and re.match(r"https?://.", v),
    "type": lambda v: isinstance(v, str) and re.fullmatch(r"#\w+(\.v\d+_\d+_\d+)?\.\w+", v),
    "etag": lambda v: isinstance(v, str) and re.fullmatch(r'"\w+"', v),
    "uuid": lambda v: isinstance(v, str) and re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", v),
    "time": lambda v: isinstance(v, str) and is_moment(v),
    "duration": lambda v: isinstance(v, str) and re.fullmatch(r"P(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?", v) and v[-1] not in "PT",
    "null": lambda v: v is None,
    "any": lambda v: isinstance(v, dict),
}


def faults(value, wanted, where):
    """What is not as the table has it."""
    if isinstance(wanted, dict):
        if not isinstance(value, dict):
            return [f"{where}: {value!r} is no object"]
        known = {name.lstrip("!"): kind for name, kind in wanted.items()}
        found = [f"{where}/{name}: is missing" for name in wanted if name[0] == "!" and name[1:] not in value]
        found += [f"{where}/{name}: is unknown" for name in value if name not in known]
        return found + [f for name in value if name in known for f in faults(value[name], known[name], f"{where}/{name}")]
    if isinstance(wanted, list):
        if not isinstance(value, list):
            return [f"{where}: {value!r} is no list"]
        return [f for n, item in enumerate(value) for f in faults(item, wanted[0], f"{where}/{n}")]
    if isinstance(wanted, tuple):
        return [] if value in wanted else [f"{where}: {value!r} is none of {wanted}"]
    if wanted[0] == "?" and value is None:
        return []
    return [] if KINDS[wanted.lstrip("?")](value) else [f"{where}: {value!r} is no {wanted}"]


def resource_faults(resource, where):
    name = resource.get("@odata.type", "").rpartition(".")[2]
    if name.endswith("Collection"):
        return faults(resource, COLLECTION, where)
    return faults(resource, TYPES[name], where) if name in TYPES else [f"{where}: type {name!r} has no table"]


def answer_faults(body, where):
    """Of a resource, of an error, or of what is neither."""
    if "error" in body:
        return faults(body["error"], {"!code": "text", "!message": "text", "!@Message.ExtendedInfo": [MESSAGE]}, where)
    return resource_faults(body, where) if "@odata.type" in body else []
