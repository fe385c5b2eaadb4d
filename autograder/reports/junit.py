"""A result as JUnit XML, which most services that run tests can read."""

import re
from xml.etree import ElementTree

from autograder.reports.results import Results, TestResult

# XML 1.0, section 2.2: characters that no document may hold, not even escaped
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(results: Results) -> str:
    """One test suite for each module, one case for each test; `results` is what the reader may see."""
    root = ElementTree.Element("testsuites", name=_text(results.submission.name))
    for module in results.modules:
        suite = ElementTree.SubElement(root, "testsuite", name=_text(module.id))
        counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
        for exercise in module.exercises:
            for test in exercise.tests:
                owner = _text(f"{module.id}.{exercise.name}")
                case = ElementTree.SubElement(suite, "testcase", classname=owner, name=_text(test.name), time=f"{test.seconds:g}")
                counts["tests"] += 1
                if kind := _kind(test):
                    counts[{"failure": "failures", "error": "errors", "skipped": "skipped"}[kind]] += 1
                    first = (test.diagnosis or test.message or test.title).strip().partition("\n")[0]
                    told = ElementTree.SubElement(case, kind, message=_text(first or test.outcome))
                    told.text = _text("\n".join(part for part in (test.diagnosis, test.message) if part))
        for key, count in counts.items():
            suite.set(key, str(count))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _kind(test: TestResult) -> str:
    match test.outcome:
        case "passed":
            return ""
        case "failed":
            return "failure"
        case "todo":
            return "skipped"
        case _:
            return "error"


def _text(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
