"""Cards are written anew; what their author wrote stays, where it stood."""

from qvec_hub.hub.cards.sections import MARK, join_card, merge_sections, split_card, split_sections


def generated(title: str, **bodies: str) -> dict[str, str]:
    """Heading -> section as the package writes it; ``""`` is what comes before the first heading."""
    return {"": f"# x\n\n{MARK}\n{title}"} | {name: f"## {name}\n\n{MARK}\n{body}" for name, body in bodies.items()}


NEW = generated(title="new title", Use="new use", Results="new results", Cite="new cite")


def test_without_an_older_card_the_generated_one_stands_alone() -> None:
    assert merge_sections("", NEW) == "\n\n".join(NEW.values())


def test_generated_sections_are_replaced() -> None:
    old = "\n\n".join(generated(title="old title", Use="old use", Results="old results").values())
    assert merge_sections(old, NEW) == "\n\n".join(NEW.values())


def test_a_section_of_the_authors_stays_after_the_one_it_stood_behind() -> None:
    old = generated(title="t", Use="u", Results="r")
    text = "\n\n".join([old[""], old["Use"], "## My notes\n\nhand-made", old["Results"], "## Thanks\n\nto all"])
    merged = merge_sections(text, NEW)
    assert list(split_sections(merged)) == ["", "Use", "My notes", "Results", "Thanks", "Cite"]
    assert "hand-made" in merged
    assert "to all" in merged
    assert merge_sections(merged, NEW) == merged


def test_taking_the_mark_away_keeps_the_text() -> None:
    mine = "## Use\n\nmy own way"
    merged = merge_sections("\n\n".join([NEW[""], mine, NEW["Cite"]]), NEW)
    assert mine in merged
    assert "new use" not in merged
    assert "new results" in merged


def test_a_foreign_card_is_kept_as_the_beginning() -> None:
    foreign = "# My model\n\nWritten long ago.\n\n## Usage\n\n```python\n## not a heading\n```"
    merged = merge_sections(foreign, NEW)
    assert merged.startswith("# My model\n\nWritten long ago.")
    assert split_sections(merged)["Usage"].endswith("## not a heading\n```")
    assert "new title" not in merged


def test_a_heading_that_occurs_twice_is_not_lost() -> None:
    text = "## Notes\n\none\n\n## Notes\n\ntwo"
    merged = merge_sections(text, NEW)
    assert merged.index("one") < merged.index("two")
    assert merge_sections(merged, NEW) == merged


def test_fences_of_both_kinds_and_lengths_hide_headings() -> None:
    text = "## A\n\n~~~~\n## no\n~~~\n## no\n~~~~\n\n## B\n\n````\n```\n## no\n````\n## C"
    assert [heading for heading in split_sections(text) if heading] == ["A", "B", "C"]


def test_front_matter_is_told_from_rules_in_the_text() -> None:
    assert split_card("---\na: 1\n---\n# t\n\n---\nb") == ("a: 1\n", "# t\n\n---\nb")
    assert split_card("# t\n\n---\na: 1\n---\n") == ("", "# t\n\n---\na: 1\n---\n")
    assert split_card("\ufeff---\r\na: 1\r\n---\r\ntext") == ("a: 1\r\n", "text")
    assert split_card("---\n---\ntext") == ("", "text")
    front, text = split_card(join_card("a: 1", "# t"))
    assert (front, text.strip()) == ("a: 1\n", "# t")
