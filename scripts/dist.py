"""Build wheels and sdists of the three distributions into dist/, and check what is in them.

Run it with `make dist`. A wheel holds its package, `py.typed` and the licence files, and nothing
else; its metadata carries the version that all three share; the sdist builds the same wheel.
"""

from __future__ import annotations

import email
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
PACKAGES = {
    "ctxguard": ROOT,
    "ctxguard_langchain": ROOT / "integrations/langchain",
    "ctxguard_llamaindex": ROOT / "integrations/llamaindex",
}


def build(folder: Path, target: Path, *kinds: str) -> None:
    """Build the distribution in a folder with the hatchling of this environment."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target)]
    command += [argument for kind in kinds for argument in ("-t", kind)]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{folder}: {done.stderr}")


def contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel by name, without its list of files."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/RECORD")]
        return {name: archive.read(name) for name in names}


def rebuilt(sdist: Path) -> dict[str, bytes]:
    """The files of the wheel that an sdist builds."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (source,) = Path(folder).iterdir()
        build(source, source / "dist", "wheel")
        (wheel,) = (source / "dist").glob("*.whl")
        return contents(wheel)


def faults(package: str, wheel: Path, sdist: Path) -> list[str]:
    """What is wrong with the two files of one distribution."""
    files = contents(wheel)
    info = next(name.partition("/")[0] for name in files if ".dist-info/" in name)
    found = [
        f"{name} is missing"
        for name in (
            f"{package}/__init__.py",
            f"{package}/py.typed",
            f"{info}/licenses/LICENSE",
            f"{info}/licenses/NOTICE",
        )
        if name not in files
    ]
    found += [
        f"{name} does not belong here"
        for name in files
        if not name.startswith((f"{package}/", f"{info}/")) or "/tests/" in name
    ]
    metadata = email.message_from_bytes(files[f"{info}/METADATA"])
    if metadata["License-Expression"] != "Apache-2.0" or not metadata.get_payload():
        found.append("the metadata lacks its licence or its description")
    if rebuilt(sdist) != files:
        found.append("the sdist builds another wheel")
    return found


def main() -> int:
    """Build and check all; the number of faults is the exit code."""
    shutil.rmtree(DIST, ignore_errors=True)
    versions: set[str] = set()
    count = 0
    for package, folder in PACKAGES.items():
        build(folder, DIST, "wheel", "sdist")
        prefix = "ctxguard_core" if package == "ctxguard" else package
        (wheel,), (sdist,) = DIST.glob(f"{prefix}-*.whl"), DIST.glob(f"{prefix}-*.tar.gz")
        versions.add(wheel.name.split("-")[1])
        for file in (wheel, sdist):
            print(f"{file.name:<48}{file.stat().st_size / 1024:>8.0f} KiB")
        for fault in faults(package, wheel, sdist):
            count += 1
            print(f"  {fault}", file=sys.stderr)
    if len(versions) > 1:
        count += 1
        print(f"versions differ: {sorted(versions)}", file=sys.stderr)
    return count


if __name__ == "__main__":
    sys.exit(main())
