import pytest

from plantain.operators.vocabulary import CLASSES, GROUPS, SYNONYMS, members_of


def ids(*names: str) -> frozenset[int]:
    return frozenset(CLASSES.index(name) for name in names)


def test_a_class_covers_itself() -> None:
    for name in CLASSES[1:]:
        assert CLASSES.index(name) in members_of(name)


@pytest.mark.parametrize("phrase", ["automobiles", "The Automobile", "sedan", "cars"])
def test_other_words_for_a_class_are_understood(phrase: str) -> None:
    assert members_of(phrase) == members_of("car")


def test_every_synonym_and_every_wider_word_is_known() -> None:
    for name, words in SYNONYMS.items():
        for word in words:
            assert CLASSES.index(name) in members_of(word), word
    for word, members in GROUPS.items():
        assert ids(*members) <= members_of(word), word


def test_markings_count_as_road_unless_they_are_asked_for() -> None:
    assert members_of("road") == ids("road", "lane marking", "crossing")
    assert members_of("road", ["road", "crosswalk"]) == ids("road", "lane marking")


def test_a_van_is_a_car_unless_vans_are_asked_for() -> None:
    assert members_of("car") == ids("car", "van")
    assert members_of("car", ["car", "van"]) == ids("car")


def test_a_wider_word_leaves_out_what_is_asked_for_itself() -> None:
    assert members_of("vehicle", ["vehicle", "bus"]) == ids("car", "van", "truck", "motorcycle", "bicycle")


def test_unknown_words_cover_nothing() -> None:
    assert members_of("zeppelin") == frozenset()
    assert members_of("") == frozenset()
