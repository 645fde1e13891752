"""Upload and download 2 GiB in a process of its own, and print how much its memory grew.

python transfer_two_gib.py <artifact root> <folder>
"""

import json
import resource
import sys
from pathlib import Path

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

MIB = 2**20
SIZE = 2048 * MIB


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    root, folder = sys.argv[1], Path(sys.argv[2])
    repository = get_artifact_repository(root)
    there = folder / "there"
    there.mkdir()
    # Everything is imported and connected before memory is looked at.
    (folder / "small").write_bytes(b"x")
    repository.log_artifact(folder / "small")
    repository.download_artifacts("small", str(there))

    file = folder / "large"
    with file.open("wb") as content:
        for number in range(SIZE // MIB):
            content.write(number.to_bytes(8, "big") * (MIB // 8))
    before = peak_mib()
    repository.log_artifact(file)
    uploaded = peak_mib()
    found = Path(repository.download_artifacts("large", str(there)))
    downloaded = peak_mib()

    with file.open("rb") as one, found.open("rb") as other:
        same = all(one.read(MIB) == other.read(MIB) for _ in range(SIZE // MIB + 1))
    print(json.dumps({"same": same, "upload": uploaded - before, "download": downloaded - before}))


if __name__ == "__main__":
    main()
