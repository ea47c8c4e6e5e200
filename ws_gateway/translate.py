"""Protobuf message to JSON-ready Python value, by functions compiled once per message descriptor.

Owns how each kind of field looks in JSON. Never parses, never touches JSON text, knows no type of ours but PoolState.
"""

import functools
import keyword
import re
import struct
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

__all__ = ["MAX_STRUCT_DEPTH", "Json", "Translator", "rfc3339", "rfc3339_from_unix"]

Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | bool | None
"""What JSON can hold. No NaN and no infinity."""

MAX_STRUCT_DEPTH = 16
"""Objects and lists inside one another in free data; the same depth that a browser's message may have."""

_UPPER_CASE_ENUMS = frozenset({"engine_events.v1.PoolState"})
"""Enums whose JSON is upper case: storage people know their pool states by no other spelling."""

_NOT_OBJECTS = frozenset({"google.protobuf.Timestamp", "google.protobuf.ListValue", "google.protobuf.Value"})

_EPOCH = datetime(1970, 1, 1)  # naive on purpose: arithmetic in UTC, the Z is appended
_MIN_UNIX_S, _MAX_UNIX_S = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, the range of google.protobuf.Timestamp."""

_EXACT_INTEGER = 2.0**53
"""Up to here every whole double is one integer, in Python and in a browser alike."""

_NULL, _NUMBER, _TEXT, _BOOL, _OBJECT, _LIST = 0x08, 0x11, 0x1A, 0x20, 0x2A, 0x32
"""Tags of the kinds of a google.protobuf.Value, fields 1 to 6."""
_read_double = struct.Struct("<d").unpack_from


def rfc3339(seconds: int, nanos: int = 0) -> str | None:
    """A time as RFC 3339 text, in UTC, cut to milliseconds. None: outside the years 1 to 9999."""
    if not (_MIN_UNIX_S <= seconds <= _MAX_UNIX_S and 0 <= nanos < 1_000_000_000):
        return None
    return f"{_to_the_second(seconds)}.{nanos // 1_000_000:03d}Z"


@functools.lru_cache(maxsize=64)
def _to_the_second(seconds: int) -> str:
    """Times come in order, many of them within one second."""
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()


def rfc3339_from_unix(unix_s: float) -> str | None:
    """The same for Unix seconds, rounded to milliseconds (cutting a double could be one millisecond off)."""
    if not _MIN_UNIX_S <= unix_s < _MAX_UNIX_S + 1:  # nor is NaN
        return None
    seconds, milliseconds = divmod(round(unix_s * 1000), 1000)
    return rfc3339(seconds, milliseconds * 1_000_000)


class Translator:
    """Translates messages, and counts what it had to leave out. Not for several threads at once.

    Fields keep their names from the proto, and all of them are there; numbers stay numbers.

    =========================================  =================================================================
    NaN, infinity                              None
    `optional` or message field that is unset  None
    enum                                       its name without the enum's prefix, in lower case (PoolState: upper);
                                               "unspecified" for a number that has no name
    map                                        object
    bytes                                      base64 text
    google.protobuf.Timestamp                  RFC 3339 text; None outside the years 1 to 9999
    google.protobuf.Struct, Value, ListValue   what they hold; whole numbers as integers; None below MAX_STRUCT_DEPTH
    =========================================  =================================================================
    """

    def __init__(self) -> None:
        self.unknown_enum_count = 0
        """Enum numbers that have no name."""
        self.too_deep_count = 0
        """Objects and lists in free data that lay too deep and became None."""
        self._objects: dict[Descriptor, Callable[[Any], Any]] = {}
        self._names: dict[Descriptor | EnumDescriptor, str] = {}
        self._namespace: dict[str, Any] = {
            "base64_text": _base64_text,
            "unknown_enum": self._unknown_enum,
            "unknown_upper_case_enum": self._unknown_upper_case_enum,
        }
        self._well_known: Mapping[str, Callable[[Any], Any]] = {
            "google.protobuf.Timestamp": _timestamp,
            "google.protobuf.Struct": self._struct,
            "google.protobuf.ListValue": self._list_value,
            "google.protobuf.Value": self._value,
        }

    def translate(self, message: Message) -> dict[str, Json]:
        """The message as an object. TypeError: its JSON is none (a Timestamp, Value or ListValue by itself)."""
        descriptor: Any = message.DESCRIPTOR  # typed as one of two classes, of which only one exists at a time
        function = self._objects.get(descriptor)
        if function is None:
            if descriptor.full_name in _NOT_OBJECTS:
                raise TypeError(f"{descriptor.full_name} is not an object in JSON")
            self._name_of_message(descriptor)
            function = self._objects[descriptor]
        result: dict[str, Json] = function(message)
        return result

    # Compiling: one Python function per message type, whose body is one dictionary display. Closures (a loop over pairs
    # of name and getter) took 1.2 to 2.1 times as long. The source is made of descriptors only, never of data.

    def _name_of_message(self, descriptor: Descriptor) -> str:
        """The name by which the functions reach each other; compiles first where needed. Recursive types work."""
        name = self._names.get(descriptor)
        if name is not None:
            return name
        name = self._names[descriptor] = f"message_{len(self._names)}"
        function = self._well_known.get(descriptor.full_name)
        if function is not None:
            self._namespace[name] = function
        else:
            items = "".join(f"{field.name!r}: {self._expression(field)},\n" for field in descriptor.fields)
            function = self._define(name, "m", f"{{\n{items}}}")
        if descriptor.full_name not in _NOT_OBJECTS:
            self._objects[descriptor] = function
        return name

    def _define(self, name: str, parameter: str, expression: str) -> Callable[[Any], Any]:
        source = f"def {name}({parameter}):\n return {expression}"
        exec(compile(source, f"<{__name__} {name}>", "exec"), self._namespace)  # noqa: S102 - descriptors only, see above
        function: Callable[[Any], Any] = self._namespace[name]
        return function

    def _name_of_enum(self, enum: EnumDescriptor) -> str:
        """The name of the table from number to text."""
        name = self._names.get(enum)
        if name is None:
            name = self._names[enum] = f"enum_{len(self._names)}"
            prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"
            texts = {number: value.name.removeprefix(prefix) for number, value in enum.values_by_number.items()}
            if enum.full_name not in _UPPER_CASE_ENUMS:
                texts = {number: text.lower() for number, text in texts.items()}
            self._namespace[name] = texts
        return name

    def _expression(self, field: FieldDescriptor) -> str:
        """Python source of the value of one field of the message `m`."""
        attribute = f"getattr(m, {field.name!r})" if keyword.iskeyword(field.name) else f"m.{field.name}"
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
            # a function of its own, since the container is needed twice: iterating over items() is slower
            name = self._names[entry] = f"map_{len(self._names)}"
            self._define(name, "c", f"{{{_map_key(key)}: {self._element('c[k]', value)} for k in c}}")
            return f"{name}({attribute})"
        if field.is_repeated:
            if self._element("v", field) == "v":
                return f"{attribute}[:]"
            return f"[{self._element('v', field)} for v in {attribute}]"
        if entry is not None:
            return f"{self._name_of_message(entry)}({attribute}) if m.HasField({field.name!r}) else None"
        value_source = self._element(attribute, field)
        if field.has_presence:
            # only a zero needs the second, slower question: whatever else was read must have been set
            return f"({self._element('v', field)}) if (v := {attribute}) or m.HasField({field.name!r}) else None"
        return value_source

    def _element(self, source: str, field: FieldDescriptor) -> str:
        """Python source of one element of a field, which `source` reads."""
        if field.message_type is not None:
            return f"{self._name_of_message(field.message_type)}({source})"
        if field.enum_type is not None:
            unknown = "unknown_upper_case_enum" if field.enum_type.full_name in _UPPER_CASE_ENUMS else "unknown_enum"
            return f"{self._name_of_enum(field.enum_type)}.get({source}) or {unknown}()"
        if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
            return "(v if v - v == 0.0 else None)" if source == "v" else f"(v if (v := {source}) - v == 0.0 else None)"
        if field.type == FieldDescriptor.TYPE_BYTES:
            return f"base64_text({source})"
        return source

    def _unknown_enum(self) -> str:
        self.unknown_enum_count += 1
        return "unspecified"

    def _unknown_upper_case_enum(self) -> str:
        return self._unknown_enum().upper()

    # Free data is read from its wire format (protobuf.dev/programming-guides/encoding). Writing it takes C half a
    # microsecond, while every look at a google.protobuf.Value from Python makes objects: asking each for its kind took
    # 1.3 times as long for mixed data, 2 to 4 times for flags and nested objects. What is read here was written by the
    # protobuf library, never by a peer: it is well-formed, and every tag is one byte. For that, what the library does
    # not know has to go first: it writes such fields, and a whole entry that holds one, as they came.

    def _struct(self, message: Message) -> Any:
        data = _known(message)
        return self._object(data, 0, len(data), MAX_STRUCT_DEPTH)

    def _list_value(self, message: Message) -> Any:
        data = _known(message)
        return self._list(data, 0, len(data), MAX_STRUCT_DEPTH)

    def _value(self, message: Message) -> Any:
        data = _known(message)
        return self._any(data, 0, MAX_STRUCT_DEPTH + 1) if data else None

    def _object(self, data: bytes, at: int, end: int, depth: int) -> Any:
        """Struct: entries (field 1) of a name (1) and a value (2)."""
        if depth == 0:
            self.too_deep_count += 1
            return None
        result: dict[str, Json] = {}
        while at < end:
            length = data[at + 1]
            if length < 128:  # so are the lengths of what is in it
                stop = at + 2 + length
                value = at + 4 + data[at + 3]
                name = data[at + 4 : value].decode()
                value += 2
            else:
                length, at = _varint(data, at + 1)
                stop = at + length
                length, at = _varint(data, at + 1)
                name = data[at : at + length].decode()
                _, value = _varint(data, at + length + 1)
            # as `_any` does, spelled out: calls would cost a tenth of all this
            if value == stop:
                result[name] = None
            elif (kind := data[value]) == _NUMBER:
                number = _read_double(data, value + 1)[0]
                if number % 1 == 0 and -_EXACT_INTEGER <= number <= _EXACT_INTEGER:
                    result[name] = int(number)
                else:
                    result[name] = number if number - number == 0.0 else None
            elif kind == _TEXT and data[value + 1] < 128:
                result[name] = data[value + 2 : stop].decode()
            elif kind == _BOOL:
                result[name] = data[value + 1] != 0
            else:
                result[name] = self._any(data, value, depth)
            at = stop
        return result

    def _list(self, data: bytes, at: int, end: int, depth: int) -> Any:
        """ListValue: values (field 1)."""
        if depth == 0:
            self.too_deep_count += 1
            return None
        result: list[Json] = []
        while at < end:
            length, at = data[at + 1], at + 2
            if length > 127:
                length, at = _varint(data, at - 1)
            result.append(self._any(data, at, depth) if length else None)
            at += length
        return result

    def _any(self, data: bytes, at: int, depth: int) -> Any:
        """Value: its first field is the one of its kinds that is set; `depth` is what its parent had."""
        kind = data[at]
        if kind == _NUMBER:
            number = _read_double(data, at + 1)[0]
            if number % 1 == 0 and -_EXACT_INTEGER <= number <= _EXACT_INTEGER:
                return int(number)
            return number if number - number == 0.0 else None
        if kind == _BOOL:
            return data[at + 1] != 0
        if kind in (_TEXT, _OBJECT, _LIST):
            length, at = data[at + 1], at + 2
            if length > 127:
                length, at = _varint(data, at - 1)
            if kind == _TEXT:
                return data[at : at + length].decode()
            return (self._object if kind == _OBJECT else self._list)(data, at, at + length, depth - 1)
        return None


def _known(message: Message) -> bytes:
    message.DiscardUnknownFields()
    return message.SerializeToString()


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends."""
    number = shift = 0
    while (byte := data[at]) > 127:
        number |= (byte & 127) << shift
        shift += 7
        at += 1
    return number | byte << shift, at + 1


def _timestamp(timestamp: Any) -> str | None:
    return rfc3339(timestamp.seconds, timestamp.nanos)


def _base64_text(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def _map_key(key: FieldDescriptor) -> str:
    """Python source of a map's key `k` as text."""
    if key.type == FieldDescriptor.TYPE_STRING:
        return "k"
    return "('true' if k else 'false')" if key.type == FieldDescriptor.TYPE_BOOL else "str(k)"
