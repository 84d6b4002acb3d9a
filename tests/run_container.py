"""Runs the steps of Containerfile in a clean root file system, and then inference in it: `make test-container`, as root.

No engine for containers and no registry of images is needed: debootstrap makes what `FROM debian:bookworm-slim` would bring, chroot
runs the steps, and unshare takes the network away for the run. Folders that pip is configured to take packages from are shown to the
build, as the network is, and not to the run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# not shown under its own name, where the image's package of certificates puts its file
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SYSTEM = ("proc", "sys", "dev")


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Instruction and rest of each step, lines joined, comments left out."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n", " ", lines).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), rest.strip()


class Image:
    """A root file system with the environment, user and entry point that the steps left."""

    def __init__(self, folder: Path, arguments: dict[str, str]) -> None:
        self.folder, self.arguments = folder, arguments
        self.environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
        self.user, self.place, self.entry = "0:0", "/", []

    def build(self, text: str, shown: list[Path]) -> None:
        """Run every step; `shown` are files and folders of the host that pip takes packages from."""
        pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        if CERTIFICATES.is_file():
            pip["PIP_CERT"] = "/run/certificates.crt"
        for name, rest in steps(text):
            print(f"{name} {rest}", flush=True)
            if name == "ARG":
                key, _, value = rest.partition("=")
                self.environment[key] = self.arguments.get(key, value)
            elif name == "ENV":
                key, _, value = rest.partition("=")
                self.environment[key] = value
            elif name == "WORKDIR":
                self.place = rest
                self.inside(rest).mkdir(parents=True, exist_ok=True)
            elif name == "USER":
                self.user = rest
            elif name == "COPY":
                self.copy(rest.split())
            elif name == "ENTRYPOINT":
                self.entry = json.loads(rest)
            elif name == "RUN":
                self.run(
                    ["sh", "-ec", rest],
                    self.environment | pip,
                    [*shown, (CERTIFICATES, "/run/certificates.crt"), Path("/etc/resolv.conf")],
                    network=True,
                )
            elif name != "FROM":
                sys.exit(f"error: Containerfile: {name} is not understood here. Fix: extend tests/run_container.py")

    def copy(self, words: list[str]) -> None:
        *sources, target = words
        for source in sources:
            ignored = shutil.ignore_patterns("__pycache__")
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, self.inside(target), dirs_exist_ok=True, ignore=ignored)
            else:
                shutil.copy2(ROOT / source, self.inside(target) / source)

    def inside(self, path: str) -> Path:
        """A path of the image as the host sees it."""
        return self.folder / os.path.normpath(os.path.join(self.place, path)).lstrip("/")

    def run(self, command: list[str], environment: dict[str, str], mounts: list[Path | tuple[Path, str]], network: bool) -> int:
        """Run a command in the image, in mounts and processes of its own; gives its exit code, and ends where a step of the build fails."""
        lines = ["set -e"]
        for name in SYSTEM:
            lines.append(f"mkdir -p {self.folder}/{name}; mount --rbind /{name} {self.folder}/{name}")
        for mount in mounts:
            source, target = (mount, str(mount)) if isinstance(mount, Path) else mount
            there = f"{self.folder}{target}"
            make = f"mkdir -p {there}" if source.is_dir() else f"mkdir -p {os.path.dirname(there)}; touch {there}"
            lines.append(f"{make}; mount --bind {source} {there}")
        user = "" if self.user == "0:0" else f"--userspec={self.user} "
        chroot = shutil.which("chroot", path=os.defpath + ":/usr/sbin:/sbin")  # the image's own PATH may lack it
        inner = " ".join(shlex.quote(word) for word in command)
        lines.append(f"exec {chroot} {user}{self.folder} sh -c {shlex.quote(f'cd {self.place} && exec {inner}')}")
        unshare = ["unshare", "--mount", "--pid", "--fork", *([] if network else ["--net"])]
        code = subprocess.run([*unshare, "sh", "-c", "\n".join(lines)], env=environment).returncode
        if code and network:
            sys.exit(f"error: this step failed with exit code {code}")
        return code


def sources_of_pip() -> list[Path]:
    """Files and folders of this machine that pip reads its settings and packages from."""
    settings = [Path("/etc/pip.conf"), Path("/etc/xdg/pip")]
    told = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    named = re.findall(r"(?:file://)?(/[^\s'\",]+)", told)
    folders = [Path(name.removesuffix("/simple")) for name in named if Path(name).is_dir()]
    return [path for path in dict.fromkeys([*settings, *folders]) if path.exists()]


def main() -> int:
    """Build and run; the exit code is that of the run, or 1 where it wrote what it should not or wrote nothing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the root file system is made; kept, so that a second call only runs")
    parser.add_argument("--scans", type=Path, required=True, help="what /in is")
    parser.add_argument("--out", type=Path, required=True, help="what /out is; made for the user of the image")
    parser.add_argument("--mirror", default="", help="of Debian, for debootstrap; its own default otherwise")
    parser.add_argument("--base", type=Path, help="a root file system that debootstrap made before")
    parser.add_argument("--build-arg", action="append", default=[], help="NAME=VALUE")
    options, more = parser.parse_known_args()
    image = Image(options.folder.resolve(), dict(word.split("=", 1) for word in options.build_arg))
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    if not options.folder.exists():
        if options.base:
            subprocess.run(["cp", "-a", str(options.base), str(image.folder)], check=True)
        else:
            subprocess.run(
                ["debootstrap", "--variant=minbase", "bookworm", str(image.folder), *([options.mirror] if options.mirror else [])],
                check=True,
            )
        image.build(text, sources_of_pip())
    else:
        image.build("\n".join(f"{name} {rest}" for name, rest in steps(text) if name not in ("RUN", "COPY", "FROM")), [])
    options.out.mkdir(parents=True, exist_ok=True)
    os.chown(options.out, *map(int, image.user.split(":")))
    mounts = [(options.scans.resolve(), "/in"), (options.out.resolve(), "/out")]
    code = image.run([*image.entry, *more], image.environment, mounts, network=False)
    written = sorted(path.name for path in options.out.iterdir())
    owners = {path.stat().st_uid for path in options.out.iterdir()}
    size = subprocess.run(["du", "-sxm", str(image.folder)], capture_output=True, text=True).stdout.split()[0]
    print(f"exit code {code}; {len(written)} files in {options.out}, of user {owners}; the image has {size} MB")
    good = code == 0 and {"run.json", "cases.csv", "index.html"} <= set(written) and owners == {int(image.user.split(":")[0])}
    return code or int(not good)


if __name__ == "__main__":
    sys.exit(main())
