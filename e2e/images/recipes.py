"""What each image is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.places import REPOSITORY

PYTHON = ("python3", "python3-venv", "ca-certificates", "tzdata")


@dataclass(frozen=True)
class Recipe:
    """One image: its folder beside this file holds the Dockerfile.

    packages: Debian packages that the Dockerfile installs where the base lacks them.
    wheels: pip requirements collected outside the build and installed without a network.
    lock: the file that names these requirements instead, each by version and digest (`make lock`).
    sources: files and folders of the repository that the Dockerfile copies, under their own paths.
    """

    name: str
    packages: tuple[str, ...]
    wheels: tuple[str, ...] = ()
    lock: Path | None = None
    sources: tuple[str, ...] = ()
    base: str = ""

    @property
    def image(self) -> str:
        return f"localhost/pilotage/{self.name}:dev"

    @property
    def base_name(self) -> str:
        """Images of the same Debian packages share one base."""
        return self.base or self.name


def lock_of(name: str) -> Path:
    """What the project needs in that image. The project itself is copied, so its changes collect no wheels."""
    return REPOSITORY / "e2e/images" / name / "requirements.lock"


TRYTON_MODULES = (
    "party",
    "company",
    "country",
    "currency",
    "product",
    "account",
    "account-product",
    "account-invoice",
    "account-invoice-stock",
    "stock",
    "purchase",
    "sale",
)

RECIPES = (
    Recipe("postgresql", ("postgresql-15",)),
    Recipe(
        "tryton",
        PYTHON,
        wheels=(
            "trytond==8.2.*",
            *(f"trytond-{module}==8.2.*" for module in TRYTON_MODULES),
            "psycopg[binary,pool]",
            "setuptools",
        ),
        base="python",
    ),
    Recipe("nginx", ("nginx-light",)),
    Recipe("portal", ("tomcat10", "openjdk-17-jre-headless", "libpostgresql-jdbc-java")),
    Recipe(
        "engine",
        PYTHON,
        lock=lock_of("engine"),
        sources=("operator/pilotage", "e2e/data"),
        base="python",
    ),
    Recipe(
        "operator",
        PYTHON,  # setpriv comes with util-linux, which every Debian has
        lock=lock_of("operator"),
        sources=("operator/pilotage", "build/bin/helm"),
        base="python",
    ),
)


def recipes_named(names: list[str]) -> list[Recipe]:
    """The recipes of those names in the order of RECIPES, all when none is named; KeyError names an unknown one."""
    known = {recipe.name for recipe in RECIPES}
    for name in names:
        if name not in known:
            raise KeyError(name)
    return [recipe for recipe in RECIPES if not names or recipe.name in names]
