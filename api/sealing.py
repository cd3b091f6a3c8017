"""The sealer as a child of `run`, and as the settings have it."""

from api import child
from api.settings import Settings, read_settings
from projections.proofs.sealer import Sealer


def sealer(settings: Settings, database_url: str) -> Sealer:
    """With the embedded database the first key is made by itself; with one of your own, by whoever keeps the keys."""
    return Sealer(
        database_url,
        settings.sealing_key_path,
        new_key_name=settings.checkpoint_name if settings.is_embedded else None,
    )


def main() -> None:
    database_url, _, stop = child.told()
    sealer(read_settings(), database_url).run(stop)


if __name__ == "__main__":
    main()
