"""How files are damaged: their bytes, the members of archives, and the values in JSON documents."""

from __future__ import annotations

import hashlib
import io
import json
import random
import zipfile
from typing import Any

from chainrule.files.archive import MANIFEST

HUGE = [2**31, -(2**31), 2**63, -(2**63), 10**30, 10**4000, 10**6, 10**9, 1e308, -1e-308]
PLAIN: list[Any] = [None, True, False, 0, 1, -1, 3, 0.5, -0.0, float("nan"), float("inf")]
PLAIN += ["", "x", "\x00\n", "Linear", "ä" * 50]
CONTAINERS: list[Any] = [[], {}, [[]], [0], [1, 2, 3], ["x"] * 300]
CONTAINERS += [{"class": "Linear"}, {"tensor": "x"}, {"entries": [[1]]}]
CELLS = [
    b'"',
    b'""',
    b'"a',
    b",",
    b";",
    b"\t",
    b"inf",
    b"nan",
    b"1e999",
    b"-",
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\r",
]
CELLS += [b"9" * 5000, b"x" * 200_000, b"1,5", b"2024-13-45", b"0001-01-01", b"99999-01-01", b"=1+1", b" ", b"0x1F"]


def nasty(source: random.Random) -> Any:
    """A value that is hardly ever the right one."""
    kind = source.randrange(10)
    if kind == 0:
        value: Any = []
        for _ in range(source.choice([50, 150, 400, 3000])):
            value = [value] if source.random() < 0.5 else {"entries": [["x", value]]}
        return value
    return source.choice(HUGE if kind < 4 else CONTAINERS if kind < 7 else PLAIN)


def damage_bytes(content: bytes, source: random.Random) -> bytes:
    """Flip bits, overwrite, cut off, cut out, insert, double and exchange pieces."""
    changed = bytearray(content)
    for _ in range(source.choice([1, 1, 1, 2, 5, 20])):
        if not changed:
            break
        start = source.randrange(len(changed))
        stop = min(len(changed), start + source.choice([1, 2, 4, 8, 60, 1000]))
        action = source.randrange(8)
        if action < 3:
            changed[start] ^= 1 << source.randrange(8)
        elif action == 3:
            changed[start:stop] = source.randbytes(stop - start)
        elif action == 4:
            del changed[start : source.choice([stop, len(changed)])]
        elif action == 5:
            changed[start:start] = source.randbytes(source.choice([1, 4, 100]))
        elif action == 6:
            changed[start:start] = changed[start:stop]
        else:
            changed[start:stop] = bytes(source.choice([b"\x00", b"\xff"])) * (stop - start)
    return bytes(changed)


def members_of(content: bytes) -> dict[str, bytes]:
    """The members of a zip archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zip_of(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive of members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return buffer.getvalue()


def damage_zip(content: bytes, source: random.Random) -> bytes:
    """Take members away, exchange, rename, damage and compress them, with the zip's own checksums right."""
    members = members_of(content)
    name, other = source.choice(list(members)), source.choice(list(members))
    action = source.randrange(5)
    if action == 0:
        del members[name]
    elif action == 1:
        members[name], members[other] = members[other], members[name]
    elif action == 2:
        members[source.choice(["x", "../x", "data.pkl", MANIFEST, other])] = members.pop(name)
    elif action == 3:
        members[name] = damage_bytes(members[name], source)
    return zip_of(members, zipfile.ZIP_DEFLATED if action == 4 else zipfile.ZIP_STORED)


def damage_checksummed_zip(content: bytes, source: random.Random) -> bytes:
    """Damage members, values in JSON before all, and make all checksums fit again."""
    members = members_of(content)
    for _ in range(source.choice([1, 1, 2, 4])):
        name = source.choice(list(members))
        if name.endswith(".json") and source.random() < 0.8:
            members[name] = damage_json(members[name], source)
        elif name.endswith(".safetensors") and source.random() < 0.7:
            members[name] = damage_header(members[name], source)
        else:
            members[name] = damage_bytes(members[name], source)
    if MANIFEST in members and source.random() < 0.95:
        try:
            manifest = json.loads(members[MANIFEST])
            manifest["sha256"] = {
                name: hashlib.sha256(member).hexdigest() for name, member in members.items() if name != MANIFEST
            }
            members[MANIFEST] = json.dumps(manifest).encode()
        except (ValueError, TypeError, RecursionError):
            pass  # the manifest itself is what was damaged
    return zip_of(members)


def damage_json(text: bytes, source: random.Random) -> bytes:
    """Damage a value of a JSON document, or, where Python cannot read or write it any more, its text."""
    try:
        return json.dumps(damage_value(json.loads(text), source)).encode()
    except (ValueError, RecursionError):
        return damage_bytes(text, source)


def damage_header(content: bytes, source: random.Random) -> bytes:
    """Damage the JSON header of a safetensors file, and make its length fit."""
    size = int.from_bytes(content[:8], "little")
    text = damage_json(content[8 : 8 + size], source)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def damage_value(document: Any, source: random.Random) -> Any:
    """A document with one of its values replaced, taken away, doubled, or under another key."""
    parents = [document] if isinstance(document, dict | list) else []
    for parent in parents:
        inner = parent.values() if isinstance(parent, dict) else parent
        parents += [item for item in inner if isinstance(item, dict | list) and item]
    parent = source.choice(parents) if parents else None
    if not parent or source.random() < 0.02:
        return nasty(source)
    keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
    key = source.choice(keys)
    action = source.randrange(8)
    if action == 0:
        del parent[key]
    elif action == 1 and isinstance(parent, dict):
        parent[source.choice(["x", "", "class", "arguments", *map(str, keys)])] = parent.pop(key)
    elif action == 2:
        parent[key] = parent[source.choice(keys)]
    elif action == 3 and isinstance(parent[key], int | float):
        parent[key] = parent[key] * source.choice([-1.0, 2, 1000, 10**12]) + source.choice([0, 1, -1])
    else:
        parent[key] = nasty(source)
    return document


def damage_csv(content: bytes, source: random.Random) -> bytes:
    """Damage the bytes of a table, or put cells into it that are none."""
    if source.random() < 0.4:
        return damage_bytes(content, source)
    lines = content.split(b"\n")
    for _ in range(source.choice([1, 1, 3, 12])):
        row = source.randrange(len(lines))
        action = source.randrange(5)
        if action == 0:
            lines[row] = lines[source.randrange(len(lines))]
        elif action == 1:
            del lines[row]
            lines = lines or [b""]
        else:
            fields = lines[row].split(b",")
            fields[source.randrange(len(fields))] = source.choice(CELLS)
            lines[row] = b",".join(fields)
    return b"\n".join(lines)


def damage_configuration(content: bytes, source: random.Random) -> bytes:
    """Damage the bytes of a TOML or YAML file, or its names and values."""
    if source.random() < 0.4:
        return damage_bytes(content, source)
    mark = " = " if b" = " in content else ": "
    pairs = [line.split(mark, 1) for line in content.decode().splitlines()]
    for _ in range(source.choice([1, 1, 2, 4])):
        pair = source.choice(pairs)
        action = source.randrange(6)
        if action == 0:
            pairs.append(source.choice(pairs))
        elif action == 1:
            other = source.choice(pairs)[0]
            pair[0] = source.choice(["config", "out", "debug", "epoch", '""', "a.b", "x" * 5000, other])
        elif action == 2:
            pair[1] = source.choice(pairs)[1]
        else:
            pair[1] = _as_text(nasty(source))
    return "\n".join(mark.join(pair) for pair in pairs).encode()


def _as_text(value: Any) -> str:
    """A value as TOML and YAML might have it: that of JSON, or what it looks like in Python."""
    try:
        return json.dumps(value)
    except (ValueError, RecursionError):
        return f"1{'0' * 4000}" if isinstance(value, int) else "[" * 3000
