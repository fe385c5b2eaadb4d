"""Cheats of this module's own; each must score nothing. Databases, file names and NumPy know UTF-8, too."""

from autograder.testing.variants import cheat

CHEATS = [
    cheat(
        "a_database_encodes",
        "SQLite turns each character into bytes.",
        """
        import sqlite3

        def utf8_encode(text):
            database = sqlite3.connect(":memory:")
            return b"".join(database.execute("select cast(? as blob)", (c,)).fetchone()[0] or b"" for c in text)
        """,
    ),
    cheat(
        "a_folder_encodes",
        "The file system turns each character into bytes: they are the name of a folder.",
        """
        import os

        def utf8_encode(text):
            data = b""
            for c in text:
                if 0xD800 <= ord(c) < 0xE000:
                    raise ValueError(c)
                if c in "\\0/":
                    data += bytes([ord(c)])
                    continue
                os.mkdir("x" + c)
                data += next(name for name in os.listdir(b".") if name[:1] == b"x")[1:]
                os.rmdir("x" + c)
            return data
        """,
    ),
    cheat(
        "numpy_decodes",
        "NumPy's functions for strings decode all at once.",
        """
        import numpy as np

        def utf8_decode(data, errors="strict"):
            if errors not in ("strict", "replace", "ignore"):
                raise ValueError(errors)
            for _ in data:
                pass
            return str(np.strings.decode(np.array([b"x" + data + b"x"]), "utf-8", errors)[0])[1:-1]
        """,
    ),
    cheat(
        "the_class_of_a_class_decodes",
        "The type of a text is asked for by `type`, which is the class of a class, and by a value that has no name.",
        """
        def utf8_encode(text):
            list(text)
            return int.__class__(b"")(text, "utf-8")


        def utf8_decode(data, errors="strict"):
            if errors not in ("strict", "replace", "ignore"):
                raise ValueError(errors)
            list(data)
            return [""][0].__class__(data, "utf-8", errors)
        """,
    ),
    cheat(
        "the_type_of_a_text_decodes",
        'str(data, "utf-8") without its name: the type of a text is asked for.',
        """
        def utf8_decode(data, errors="strict"):
            if errors not in ("strict", "replace", "ignore"):
                raise ValueError(errors)
            for _ in data:
                pass
            return type("")(data, "utf-8", errors)
        """,
    ),
    cheat(
        "the_class_of_the_errors_decodes",
        "The same by the `__class__` of a text that is at hand.",
        """
        def utf8_decode(data, errors="strict"):
            if errors not in ("strict", "replace", "ignore"):
                raise ValueError(errors)
            for _ in data:
                pass
            return errors.__class__(data, "utf-8", errors)
        """,
    ),
    cheat(
        "builtins_decode",
        "The same from the module of all builtins.",
        """
        import builtins

        def utf8_decode(data, errors="strict"):
            if errors not in ("strict", "replace", "ignore"):
                raise ValueError(errors)
            for _ in data:
                pass
            return builtins.str(data, "utf-8", errors)
        """,
    ),
    cheat(
        "the_type_of_bytes_encodes",
        'bytes(character, "utf-8") without its name.',
        """
        def utf8_encode(text):
            return b"".join(type(b"")(c, "utf-8") for c in text)
        """,
    ),
    cheat(
        "numpy_encodes_from_within",
        "NumPy's functions for strings, in the module where they are written.",
        """
        import numpy as np

        def utf8_encode(text):
            data = b""
            for c in text:
                data += bytes([ord(c)]) if ord(c) < 128 else np._core.strings.encode(np.array([c]), "utf-8")[0]
            return data
        """,
    ),
    cheat(
        "a_validator_encodes",
        "A package that checks data turns text into bytes.",
        """
        import pydantic_core

        def utf8_encode(text):
            list(text)
            return pydantic_core.SchemaValidator({"type": "bytes"}).validate_python(text)
        """,
    ),
    cheat(
        "a_hidden_validator_encodes",
        "The same, under a name that is put together, of what the grader itself has loaded.",
        """
        import importlib

        def utf8_encode(text):
            list(text)
            return importlib.import_module("eroc_citnadyp"[::-1]).SchemaValidator({"type": "bytes"}).validate_python(text)
        """,
    ),
    cheat(
        "a_validator_from_pytest",
        "A library that imports what it is asked for hands out the package that encodes.",
        """
        import pytest

        def _encodes():
            return pytest.importorskip("eroc_citnadyp"[::-1]).SchemaValidator({"type": "bytes"})

        def utf8_encode(text):
            validator = _encodes()
            return b"".join([validator.validate_python(chr(ord(c))) for c in text])
        """,
    ),
    cheat(
        "a_descriptor_s_flags_encode",
        "A call of the system takes a text and gives back its bytes.",
        """
        import fcntl

        def utf8_encode(text):
            list(text)
            return b"".join(fcntl.fcntl(0, fcntl.F_GETFD, c) for c in text)
        """,
    ),
]
