"""The projector as a child of `run`."""

import gc

from api import child
from projections.read_model import Projector

GC_THRESHOLDS = (200_000, 100, 1_000)  # Rows make no cycles: looking for some costs a fifth of the time.


def main() -> None:
    told = child.told()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    Projector(told.database_url, told.master_key).run(told.stop)


if __name__ == "__main__":
    main()
