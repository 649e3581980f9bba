"""`kotatsu-feed import`: the pets of the first version, from an export of its table."""

import asyncio
import gzip
import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from feed.conftest import NOON
from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_feed.__main__ import main
from kotatsu_feed.domain.merge import merged
from kotatsu_feed.domain.pet import Pet
from kotatsu_feed.importing import export
from kotatsu_feed.importing.export import NotAnExportError
from kotatsu_feed.importing.users import NoPetError, brought
from kotatsu_feed.storage.bring import Tally, bring
from kotatsu_feed.storage.database import Database
from kotatsu_feed.storage.pets import PetStore

TODAY = date(2026, 11, 25)
AVATAR = "https://avatars.githubusercontent.com/u/7?v=4"
ITEM: dict[str, Any] = {
    "userId": {"S": "7"},
    "userName": {"S": "bird"},
    "avatarUrl": {"S": AVATAR},
    "characterName": {"S": "ぴよ"},
    "characterLevel": {"N": "3"},
    "characterExperience": {"N": "120"},
    "characterClothes": {"S": "冬"},
    "characterBackground": {"S": "summer"},
    "feedCount": {"N": "4"},
    "feededCount": {"N": "2"},
    "lastFeedDate": {"S": "2026-11-25"},
    "created_at": {"S": "2024-10-19T13:00:00.123456+09:00"},
    "gsiPk": {"S": "RANK"},
}
"""As the first version wrote it: https://github.com/shinonome-inc/tokyo-flutter-hackathon-2024-team-PlayGround,
backend/lambda/auth/get_token.py; clothes and background are what the app sent."""
PET = Pet(
    *(7, "bird", AVATAR, "ぴよ"),
    experience=120,
    clothes="winter",
    background="summer",
    fed_on=TODAY,
    fed_count=2,
)


def item(**attributes: Any) -> dict[str, Any]:
    return {**ITEM, **attributes}


def user(number: int, **attributes: Any) -> dict[str, Any]:
    return item(userId={"S": str(number)}, **attributes)


# An item


def test_an_item_is_the_same_pet() -> None:
    found = brought(ITEM, NOON, TODAY)
    assert found.pet == PET
    assert found.created_at == datetime(2024, 10, 19, 4, 0, 0, 123456, tzinfo=UTC)
    assert found.notices == ()


def test_an_item_with_nothing_but_a_user_is_a_new_pet() -> None:
    """The first version changed clothes of users whom it had not saved yet."""
    found = brought({"userId": {"S": "7"}}, NOON, TODAY)
    avatar = "https://avatars.githubusercontent.com/u/7"
    assert found.pet == Pet(7, "user-7", avatar)
    assert found.created_at == NOON


@each(
    "attribute, value, field, kept",
    [
        ("characterName", "\x00", "name", "DASH"),
        ("characterName", "あ" * 51, "name", "DASH"),
        ("characterClothes", "crown", "clothes", "normal"),
        ("characterBackground", "\ud800", "background", "spring"),
        ("userName", "a b", "login", "user-7"),
        ("userName", "a\r\nX-User-Id: 1", "login", "user-7"),
        ("avatarUrl", "javascript:alert(1)", "avatar_url", AVATAR.partition("?")[0]),
    ],
)
def test_what_can_not_be_kept_is_replaced_and_reported(
    attribute: str, value: str, field: str, kept: str
) -> None:
    found = brought(item(**{attribute: {"S": value}}), NOON, TODAY)
    assert getattr(found.pet, field) == kept
    (notice,) = found.notices
    assert notice.startswith(f"{attribute} is ")
    assert notice.isprintable()


@each(
    "attributes",
    [
        {"userId": None},
        {"userId": {"S": "None"}},
        {"userId": {"S": "9" * 19}},
        {"userId": {"N": "7"}},
        {"characterExperience": {"N": "-10"}},
        {"characterExperience": {"N": "9" * 5000}},
        {"feededCount": {"N": "NaN"}},
        {"characterName": {"M": {}}},
    ],
)
def test_an_item_without_a_user_or_with_a_wrong_number_is_refused(
    attributes: dict[str, Any],
) -> None:
    with pytest.raises(NoPetError) as caught:
        brought(item(**attributes), NOON, TODAY)
    assert next(iter(attributes)) in str(caught.value)
    assert len(str(caught.value)) < 150


@each("day", ["2026-11-26", "9999-12-31", "yesterday", ""])
def test_a_day_that_is_still_to_come_stops_no_meal(day: str) -> None:
    pet = brought(item(lastFeedDate={"S": day}), NOON, TODAY).pet
    assert (pet.fed_on, pet.fed_count) == (None, 0)


# Files


def entries(data: bytes) -> list[tuple[str, bool, str]]:
    found = export.read(io.BytesIO(data)).entries
    return [(entry.where, entry.item is not None, entry.problem) for entry in found]


def lines(*items: Any) -> bytes:
    return b"".join(json.dumps({"Item": item}).encode() + b"\n" for item in items)


def test_a_scan_and_an_export_to_s3_are_read_packed_or_not() -> None:
    scan = json.dumps({"Items": [ITEM, ITEM], "Count": 2, "ConsumedCapacity": None}, indent=4)
    both = [("item 1", True, ""), ("item 2", True, "")]
    assert entries(scan.encode()) == both
    assert entries(gzip.compress(scan.encode())) == both
    assert entries(lines(ITEM, ITEM)) == [("line 1", True, ""), ("line 2", True, "")]
    assert entries(b"\xef\xbb\xbf" + lines(ITEM)) == [("line 1", True, "")]


def test_a_line_that_is_wrong_is_named_and_the_others_are_read() -> None:
    data = lines(ITEM) + b"{\n\n" + b"[" * 100_000 + b"\n" + b'{"Keys": {}}\n' + lines(3)
    assert entries(data) == [
        ("line 1", True, ""),
        ("line 2", False, "is not JSON"),
        ("line 4", False, "is not JSON"),
        ("line 5", False, 'has no "Item"'),
        ("line 6", False, "is not an object"),
    ]


@each(
    "data, why",
    [
        (b"", "neither"),
        (b"userId,userName\n7,bird\n", "neither"),
        (b'{"Items": 3}', "neither"),
        (b"[" * 100_000, "neither"),
        (lines(ITEM) + b"\xff", "not UTF-8: line 2"),
        (b"\x1f\x8bnonsense", "damaged gzip"),
        (gzip.compress(b"x" * 100)[:-10], "damaged gzip"),
        (b" " * (export.MAX_BYTES + 1), "more than 16 MiB"),
        (gzip.compress(b" " * (export.MAX_BYTES + 1)), "more than 16 MiB"),
        (gzip.compress(b'{"Items":[' + b"{}," * 500_000 + b"{}]}"), "more than 1000000 values"),
        (gzip.compress(b"0\n" * 1_000_001), "more than 1000000 values"),
    ],
)
def test_a_file_that_is_no_export_says_so(data: bytes, why: str) -> None:
    with pytest.raises(NotAnExportError, match=why):
        export.read(io.BytesIO(data))


def test_a_scan_that_ended_early_says_so() -> None:
    scan = {"Items": [ITEM], "NextToken": "eyJ"}
    assert not export.read(io.BytesIO(json.dumps(scan).encode())).is_whole


# Pets that are here already

PETS = st.builds(
    Pet,
    user_id=st.just(7),
    login=st.just("bird"),
    avatar_url=st.just(AVATAR),
    name=st.sampled_from(["DASH", "ぴよ", "Tori"]),
    experience=st.integers(0, 100).map(lambda n: n * 10),
    clothes=st.sampled_from(["normal", "winter"]),
    background=st.sampled_from(["spring", "autumn"]),
    fed_on=st.none() | st.dates(date(2026, 11, 20), TODAY),
    fed_count=st.integers(0, 5),
)


@given(PETS, PETS)
def test_a_merge_loses_nothing_and_a_second_one_changes_nothing(here: Pet, other: Pet) -> None:
    both = merged(here, other)
    assert both.experience == max(here.experience, other.experience)
    assert both.fed(TODAY) == max(here.fed(TODAY), other.fed(TODAY))
    assert merged(both, other) == both
    for chosen, default in (("name", "DASH"), ("clothes", "normal"), ("background", "spring")):
        mine, theirs = getattr(here, chosen), getattr(other, chosen)
        assert getattr(both, chosen) == (theirs if mine == default else mine)


async def test_every_pet_is_there_and_a_second_import_changes_nothing(
    database: Database, store: PetStore
) -> None:
    pets = [(replace(PET, user_id=n, experience=n * 10), NOON) for n in range(1, 1202)]
    assert await bring(database, pets, dry_run=False) == Tally(new=1201)
    assert [pet.user_id for pet in await store.ranking(3)] == [1201, 1200, 1199]
    assert await bring(database, pets, dry_run=False) == Tally(unchanged=1201)


async def test_a_pet_that_was_fed_here_keeps_its_meals_and_choices(
    database: Database, store: PetStore
) -> None:
    await store.see(7, "renamed", AVATAR, NOON)
    await store.feed(7, TODAY, 5, now=NOON, key=None)
    await store.change(7, name="Tori")
    assert await bring(database, [(PET, NOON)], dry_run=False) == Tally(changed=1)
    pet = await store.see(7, "renamed", AVATAR, NOON)
    assert (pet.name, pet.login, pet.clothes) == ("Tori", "renamed", "winter")
    assert (pet.experience, pet.fed_count) == (120, 2)


async def test_a_user_twice_in_an_export_is_one_pet(database: Database, store: PetStore) -> None:
    twice = [(PET, NOON), (replace(PET, experience=200), NOON)]
    assert await bring(database, twice, dry_run=False) == Tally(new=1)
    assert [pet.experience for pet in await store.ranking()] == [200]


# The command


class Run:
    """The command on a database of its own, in a thread: it has an event loop itself."""

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.capsys, self.folder = capsys, folder

    async def __call__(self, *arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            await asyncio.to_thread(main, ["import", *arguments])
        out, err = self.capsys.readouterr()
        return int(caught.value.code or 0), out, err

    def file(self, name: str, data: bytes) -> str:
        (self.folder / name).write_bytes(data)
        return str(self.folder / name)


@pytest.fixture
def run(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    monkeypatch.setenv("KOTATSU_DATABASE_URL", url)
    return Run(capsys, tmp_path)


async def test_first_a_dry_run_then_the_import(run: Run, store: PetStore) -> None:
    file = run.file("users.json.gz", gzip.compress(lines(user(1), user(2))))
    assert await run("--dry-run", file) == (
        0,
        "would be imported: 2 new pets, 0 merged with those here, 0 already the same\n",
        f"{file}: 2 pets\n",
    )
    assert await store.ranking() == []
    code, out, _ = await run("-o", "json", file)
    assert code == 0
    assert json.loads(out) == {
        "dryRun": False,
        "new": 2,
        "changed": 0,
        "unchanged": 0,
        "skipped": 0,
    }
    assert len(await store.ranking()) == 2


async def test_a_wrong_line_stops_all_unless_it_is_skipped(run: Run, store: PetStore) -> None:
    file = run.file("users.json", lines(user(1), {"userId": {"S": "None"}}, user(3)))
    code, out, err = await run(file)
    assert (code, out) == (1, "")
    assert f'error: {file}, line 2: userId is "None"' in err
    assert await store.ranking() == []
    code, out, _ = await run("--skip", file)
    assert (code, out.split(":")[0], out.split(", ")[-1]) == (0, "imported", "1 skipped\n")
    assert len(await store.ranking()) == 2


async def test_a_thousand_wrong_lines_are_a_few_sentences(run: Run) -> None:
    file = run.file("users.json", lines(user(1), *({} for _ in range(1000))))
    _, _, err = await run(file)
    assert len(err.splitlines()) < 30
    assert "error: 980 more" in err


async def test_a_file_that_is_not_there_and_one_that_is_no_export(run: Run) -> None:
    code, _, err = await run("/nowhere/users.json")
    assert (code, err) == (2, "/nowhere/users.json: No such file or directory\n")
    code, _, err = await run(run.file("users.csv", b"userId"))
    assert code == 1
    assert "aws dynamodb scan" in err
