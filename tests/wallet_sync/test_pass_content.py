"""What a holder reads, card by card."""

from dataclasses import replace

import pytest

from tests.wallet_sync.passes import BEANS, CAKE, TEXTS, TOKEN, TRANSLATED, card, content, points_program, program
from wallet_sync.pass_content import FRONT_LINES_MAX, SENTENCES, Line, PassContent, Progress
from wallet_sync.revisions import content_digest


def front(shown: PassContent) -> dict[str, str]:
    return {line.key: line.value for line in shown.front}


def back(shown: PassContent) -> dict[str, str]:
    return {line.key: line.value for line in shown.back}


def test_a_stamp_card_says_how_many_of_how_many_and_what_for() -> None:
    shown = content()
    assert shown.balance == Line("stamps", "Stamps", "7 / 10", "Now on the card: %@")
    assert front(shown) == {"reward": "A coffee of your choice", "rewards": "0", "member": "Anna"}
    assert shown.progress == Progress(7, 10, "stamps")


@pytest.mark.parametrize(("held", "drawn"), [(25, 10), (10, 10), (0, 0), (-3, 0)])
def test_more_stamps_than_a_reward_costs_are_a_full_strip_and_a_debt_an_empty_one(held: int, drawn: int) -> None:
    shown = content(card(stamp_count=held))
    assert (shown.balance.value, shown.progress) == (f"{held} / 10", Progress(drawn, 10, "stamps"))


def test_a_point_card_says_what_comes_next() -> None:
    shown = content(card(stamps_target=None, points_balance=30), points_program())
    assert (shown.balance.key, shown.balance.value) == ("points", "30")
    assert front(shown)["next"] == "500 · A bag of beans"
    assert back(shown)["offers"] == "20 · A slice of cake\n500 · A bag of beans"


@pytest.mark.parametrize(
    ("points", "offers", "progress"),
    [
        (0, [CAKE], Progress(0, 100, "percent")),
        (19, [CAKE], Progress(95, 100, "percent")),
        (20, [CAKE], Progress(100, 100, "percent")),
        (499, [CAKE, BEANS], Progress(99, 100, "percent")),
        (-5, [CAKE], Progress(0, 100, "percent")),
        (7, [], None),
    ],
)
def test_the_bar_is_full_only_when_there_is_nothing_left_to_reach(
    points: int, offers: list[dict[str, object]], progress: Progress | None
) -> None:
    shown = content(card(stamps_target=None, points_balance=points), points_program(points_rewards=offers))
    assert shown.progress == progress


def test_a_hybrid_shows_both_balances_and_rings_for_one() -> None:
    shown = content(card(points_balance=12), program(loyalty_type="hybrid", points_rewards=[CAKE]))
    assert (shown.balance.value, front(shown)["points"]) == ("7 / 10", "12")
    assert [line.key for line in (shown.balance, *shown.front) if line.change] == ["stamps", "rewards"]


@pytest.mark.parametrize("status", ["suspended", "closed", "replaced"])
def test_a_card_that_cannot_be_used_says_so_and_cannot_be_scanned(status: str) -> None:
    shown = content(card(status=status))
    assert shown.is_voided and shown.barcode is None
    assert shown.front[0].key == "status" and shown.front[0].value in SENTENCES
    assert len(shown.front) <= FRONT_LINES_MAX


def test_an_active_card_shows_its_code_and_its_number_in_groups() -> None:
    shown = content()
    assert (shown.is_voided, shown.barcode, shown.barcode_text) == (False, TOKEN, "9278 2651 0269")


def test_the_back_says_whom_to_turn_to_and_what_the_program_has_to_say() -> None:
    said = back(content(program_=program(terms_text="One stamp a visit.", privacy_url="https://a.example/privacy")))
    assert said["issuer"] == "Café Beim Rousegäertchen\nhello@cafe.example"
    assert (said["terms"], said["privacy"]) == ("One stamp a visit.", "https://a.example/privacy")
    assert said["number"] == "9278 2651 0269"


def test_without_a_name_terms_or_offers_there_are_no_empty_lines() -> None:
    shown = content(card(customer={}), program(stamps_reward_description=None))
    assert front(shown) == {"rewards": "0"}
    assert set(back(shown)) == {"number", "issuer"}


def test_email_and_phone_are_on_no_pass() -> None:
    assert "anna@example.com" not in repr(content())


def test_keys_are_unique_and_labels_are_sentences_of_ours_in_every_language() -> None:
    for status in ("active", "suspended"):
        shown = content(card(status=status), program(loyalty_type="hybrid", points_rewards=[CAKE], terms_text="T"))
        lines = [shown.balance, *shown.front, *shown.back]
        assert len({line.key for line in lines}) == len(lines)
        said = {line.label for line in lines} | {line.change for line in lines if line.change}
        assert shown.texts.keys() == TEXTS.keys()
        for texts in shown.texts.values():
            assert said | {shown.description} <= texts.keys() <= set(SENTENCES)


def test_the_cards_own_name_comes_before_the_programs() -> None:
    assert content(program_=program(card_name="Rousekaart")).title == "Rousekaart"
    assert content().title == "Coffee card"


def test_the_same_facts_make_the_same_content() -> None:
    assert content() == content()


def test_words_in_other_languages_are_told_by_the_line_they_stand_in() -> None:
    shown = content(card(points_balance=12), TRANSLATED)
    assert (shown.title, front(shown)["reward"]) == ("Kaffiskaart", "E Kaffi no Wiel")
    assert shown.words == {
        "fr": {
            "title": "Carte café",
            "reward": "Un café au choix",
            "about_reward": "Un café au choix",
            "offers": "20 · Une part de gâteau\n500 · A bag of beans",
            "terms": "Une par visite.\nPas d’espèces.",
        },
        "de": {"reward": "Ein Kaffee nach Wahl", "about_reward": "Ein Kaffee nach Wahl"},
        "en": {"title": "Coffee card"},
    }


def test_the_next_reward_of_a_point_card_is_told_in_other_languages() -> None:
    shown = content(card(stamps_target=None, points_balance=3), {**TRANSLATED, "loyalty_type": "points"})
    assert (front(shown)["next"], shown.words["fr"]["next"]) == ("20 · A slice of cake", "20 · Une part de gâteau")


def test_words_that_are_the_plain_ones_or_on_no_line_make_the_same_content() -> None:
    same = {"fr": {"card_name": "Coffee card", "stamps_reward_description": "A coffee of your choice"}}
    assert content(program_=program(translations=same)) == content()
    voided = content(card(status="erased"), program(translations={"fr": {"stamps_reward_description": "Un café"}}))
    assert voided.words == {"fr": {"about_reward": "Un café"}}


def test_what_says_nothing_in_other_languages_has_the_digest_it_had_before_there_were_any() -> None:
    said = replace(content(card(id="x", customer={"name": "Anna"})), texts={})
    assert content_digest(said).hex() == "f19594332def6c683ae3a1a3acf728d7108391bfda13c62b87d08102dc2f9d31"
    assert content_digest(replace(said, words={"fr": {"title": "Carte"}})) != content_digest(said)
