"""Only jars with the listed hashes are believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.jars import JarError, check, listed

# SHA-256 of b"one" and b"two", as `printf one | sha256sum` prints them.
ONE = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
TWO = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "jars" / "spark").mkdir(parents=True)
    (tmp_path / "jars" / "spark" / "one.jar").write_bytes(b"one")
    return tmp_path / "jars"


def test_the_listed_jars_pass(folder: Path, tmp_path: Path) -> None:
    """A folder that holds what the list says raises nothing."""
    listing = tmp_path / "jars.sha256"
    listing.write_text(f"{ONE}  spark/one.jar\n")
    check(folder, listing)


def test_every_difference_is_named_with_both_hashes(folder: Path, tmp_path: Path) -> None:
    """A missing, an unlisted and a changed jar stand in one message, which says what to do."""
    (folder / "spark" / "two.jar").write_bytes(b"two")
    listing = tmp_path / "jars.sha256"
    listing.write_text(f"{TWO}  spark/one.jar\n{ONE}  broker/gone.jar\n")
    with pytest.raises(JarError) as raised:
        check(folder, listing)
    assert str(raised.value).splitlines() == [
        "The jars that were fetched are not those of jars.sha256:",
        "  broker/gone.jar: missing",
        f"  spark/two.jar: not listed; its SHA-256 is {TWO}",
        f"  spark/one.jar: SHA-256 is {ONE}, expected {TWO}",
        "Run the command again to fetch them anew. If it stays so, whoever serves the jars has changed them: "
        "trust none that differs.",
        f"If you changed conf/ivy.xml, write the new hashes to {listing}.",
    ]


def test_a_list_that_is_none_is_refused(tmp_path: Path) -> None:
    """The line that cannot be read is named."""
    listing = tmp_path / "jars.sha256"
    listing.write_text(f"{ONE}  one.jar\nnonsense\n")
    with pytest.raises(JarError) as raised:
        listed(listing)
    assert str(raised.value) == f"{listing}, line 2: expected a SHA-256, two spaces and a path"
