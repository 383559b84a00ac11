from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

MIT = """\
The MIT License (MIT)

Copyright (c) {year} {holder}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or
substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT
OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Lays a distribution down the way pip does, in a folder of its own per test."""

    def install(
        name: str, files: Mapping[str, str | bytes], *, version: str = "1.0", metadata: bool = True
    ) -> Path:
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        record = [f"{folder.name}/METADATA,,", f"{folder.name}/RECORD,,"]
        if metadata:
            lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", ""]
            (folder / "METADATA").write_text("\n".join(lines), encoding="utf-8")
        for path, content in files.items():
            target = tmp_path / path if "/" in path else folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content if isinstance(content, bytes) else content.encode())
            record.append(f"{target.relative_to(tmp_path).as_posix()},,")
        (folder / "RECORD").write_text("\n".join([*record, ""]), encoding="utf-8")
        return tmp_path

    return install


@pytest.fixture
def environment(install: Install) -> Path:
    """Six distributions under the same licence, with their own holders and years."""
    for number, name in enumerate(("acorn", "birch", "cedar", "drift", "elm", "fern")):
        install(name, {"LICENSE": MIT.format(year=2015 + number, holder=f"The {name} developers")})
    return install("acorn-data", {"LICENSE": MIT.format(year=2015, holder="The acorn developers")})
