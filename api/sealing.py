"""The sealer as a child of `run`: it is told where its key lies, and needs no settings."""

from pathlib import Path

from api import child
from projections.proofs.sealer import Sealer


def main() -> None:
    told = child.told()
    key_path, new_key_name = told.more
    assert key_path is not None
    Sealer(told.database_url, Path(key_path), new_key_name=new_key_name).run(told.stop)


if __name__ == "__main__":
    main()
