"""The example of the README's chapter on testing runs as it stands there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()


def test_readme_testing_example_runs(pytester: pytest.Pytester) -> None:
    chapter = README.partition("\n## Testing your broker\n")[2].partition("\n## ")[0]
    files = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", chapter, re.DOTALL | re.MULTILINE))
    assert files.keys() == {"conftest.py", "test_hello.py"}
    for name, source in files.items():
        (pytester.path / name).write_text(source)
    for name in ("hello.py", "catalog.yml"):
        shutil.copy(ROOT / "samples" / name, pytester.path)
    result = pytester.runpytest_subprocess("-v", "-W", "error", "-p", "no:hypothesispytest")
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["*SUBPASSED[[]R-PROV-3.again[]]*"])
