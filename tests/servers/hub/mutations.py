"""What a hostile or broken client makes of a body that is right."""

import json
import random
from collections.abc import Iterator


# Lengths and counts at the borders of what a field holds.
BORDERS = [
    value.to_bytes(width, "little", signed=value < 0)
    for width in (4, 8)
    for value in (0, 1, -1, 2 ** (8 * width - 1) - 1, -(2 ** (8 * width - 1)), 2**24, 2**20, 10_000)
]
# JSON in the place of a value. The last two are not JSON.
ODD = [
    *("null", "true", "0", "-1", "1.5", "1e999", "NaN", str(2**31), str(2**63), str(10**40), "9" * 5000),
    *('""', '" "', r'"\u0000"', r'"\ud800"', r'"\u202e../.."', '"refs/pr/1"', '"%2e%2e%2f"', '"é\U0001f600"'),
    *('"' + letter * count + '"' for letter in "x/" for count in (97, 300, 70_000)),
    *("[]", "{}", '[["a"]]', '{"a": {"b": 1}}', "[null]", '{"": ""}', "[" + "{}," * 5000 + "{}]"),
    *('{"a":' * depth + "1" + "}" * depth for depth in (60, 900, 20_000)),
    *("[" * depth for depth in (60, 100_000)),
]
YAML = [
    *(
        "- ",
        "? ",
        ": ",
        "\n",
        "\n  ",
        "\t",
        "---\n",
        "...\n",
        "#",
        "|\n",
        ">\n",
        "'",
        '"',
        "[",
        "{",
        "]",
        "}",
        ",",
        "%",
    ),
    *("&a ", "*a ", "<<: *a\n", "&a [*a, *a]", "!!binary ", "!!set ", "!!omap ", "!!python/name:os.system ", "!!int "),
    *("0x" + "f" * 50, "1" * 5000, ".nan", ".inf", "1:60:60", "2001-99-99", "~", "null", "\0", "\x85", "\u2028", "é"),
    *("- " * 500, "[" * 60, "{a: " * 60, "[" * 5000, "a" * 5000, "&a " * 500, "k: v\n" * 500, "<div>" * 2000),
]
MARK = "here goes what is odd"


def spoiled_bytes(draw: random.Random, data: bytes) -> bytes:
    """Bits flipped, pieces cut out, doubled or made up, lengths at their borders, the end cut off."""
    made = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 8))):
        start = draw.randrange(len(made) + 1)
        end = start + draw.choice((1, 4, 32, 48, 96, len(made)))
        aligned = start & ~3
        border = draw.choice(BORDERS)
        match draw.randrange(6):
            case 0 if made:
                made[start - 1] ^= 1 << draw.randrange(8)
            case 1:
                del made[start:end]
            case 2:
                made[start:start] = made[start:end] * draw.choice((1, 2, 300) if end - start < 1000 else (1,))
            case 3:
                made[aligned : aligned + len(border)] = border
            case 4:
                made[start:end] = draw.randbytes(min(end, len(made)) - start)
            case 5:
                del made[start:]
    return bytes(made)


def spoiled_json(draw: random.Random, data: bytes) -> bytes:
    """A value replaced, moved, taken out, or under another name; now and then the text itself is broken."""
    if draw.random() < 0.15:
        return spoiled_bytes(draw, data)
    value = json.loads(data)
    for _ in range(draw.choice((1, 1, 2))):
        holder, key = draw.choice(places := list(_places({"": value})))
        if key == "" or draw.random() < 0.7:
            holder[key] = MARK
        elif draw.random() < 0.4:
            del holder[key]
        elif isinstance(holder, dict):
            holder[draw.choice((MARK, "sha", "type", "size"))] = holder.pop(key)
        else:
            other, name = draw.choice(places)
            holder[key] = json.loads(json.dumps(other[name]))
        if key == "":
            value = MARK
            break
    return json.dumps(value).replace(json.dumps(MARK), draw.choice(ODD)).encode("utf-8", "surrogatepass")


def _places(value: object) -> Iterator[tuple[dict | list, str | int]]:
    if isinstance(value, (dict, list)):
        for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, key
            yield from _places(item)


def spoiled_lines(draw: random.Random, data: bytes) -> bytes:
    """JSON a line: one of them mutated, or lines dropped, doubled, in another order."""
    lines = data.splitlines()
    index = draw.randrange(len(lines))
    match draw.randrange(8):
        case 0:
            return spoiled_bytes(draw, data)
        case 1:
            lines[index : index + 1] = [lines[index]] * draw.choice((0, 2, 300 if len(lines[index]) < 1000 else 3))
        case 2:
            draw.shuffle(lines)
        case _:
            lines[index] = spoiled_json(draw, lines[index])
    return draw.choice((b"\n", b"\n", b"\r\n", b"\n\n")).join(lines)


def spoiled_text(draw: random.Random, data: bytes) -> bytes:
    """YAML's own signs put in anywhere."""
    text = data.decode()
    for _ in range(draw.choice((1, 1, 2, 4))):
        start = draw.randrange(len(text) + 1)
        text = text[:start] + draw.choice(YAML) + text[start + draw.choice((0, 0, 1, 10)) :]
    made = text.encode()
    return spoiled_bytes(draw, made) if draw.random() < 0.1 else made


def spoiled_end(draw: random.Random, data: bytes) -> bytes:
    """The last part of a file, where Parquet has its footer, and now and then all of it."""
    if draw.random() < 0.2:
        return spoiled_bytes(draw, data)
    start = max(0, len(data) - 8 - int.from_bytes(data[-8:-4], "little"))
    made = spoiled_bytes(draw, data[start:-8])
    return data[:start] + made + (len(made).to_bytes(4, "little") + b"PAR1" if draw.random() < 0.8 else data[-8:])
