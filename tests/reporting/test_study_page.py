"""Pages of invented studies: what they say, that they say it of any study, and that they are safe."""

import re
import shutil
import time
import tomllib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import invented
import pytest
from html_reader import Reader
from invented import EFFECTS, HOSTILE
from markdown_it import MarkdownIt

from toynet.reporting import evidence, readings, reproduction, story, words
from toynet.reporting.study_page import study_page
from toynet.reporting.templating import Page
from toynet.stats.records import Caution
from toynet.studies import design, gather
from toynet.studies.analysis import Withheld
from toynet.studies.folder import Account
from toynet.studies.spec import StudySpec


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies")


@pytest.fixture(scope="module")
def plain(place: Path) -> Account:
    return invented.study(place, invented.spec(), EFFECTS, images=2000)


@pytest.fixture(scope="module")
def page(plain: Account) -> Page:
    return study_page(plain)


def test_the_question_and_the_answer_come_first(page: Page):
    html, markdown = Reader(page.html[page.html.index("<body") :]).plain, page.markdown
    question = "Which augmentations help to recognise everyday objects?"
    for text in (html, markdown):
        answer = re.search(r"One of four changes helps?: \**\s?shift", text)
        assert answer is not None
        assert text.index(question) < answer.start() < text.index("Margin")
    assert markdown.startswith(f"# {question}\n\nOne of four")


def test_all_that_issue_four_asks_for_is_there(page: Page):
    html = Reader(page.html)
    for name in ("effects", "seeds", "changes", "curves", "gap", "classes", "cost", "diagnosis", "reproduce"):
        assert name in html.names
    for text in ("+ 0.2", "38.4 M", "images/s", "73.7 T", "toynet study augmentations.toml", "torch 2.13.0"):
        assert text.replace("+ ", "") in html.plain
    assert html.tags.count("svg") >= 4 * (1 + 1 + 3)


def test_the_markdown_has_all_figures(plain: Account, page: Page):
    text = page.markdown.replace("\\", "")
    figures = text[text.index("## All figures") : text.index("## How to reproduce")]
    group = plain.findings.comparisons[0]
    assert group.sigma is not None
    assert group.rho is not None
    assert f"(sigma) {group.sigma:.3f} pp, correlation within a block (rho) {group.rho:.2f}" in figures
    for one in group.contrasts:
        row = next(line for line in figures.splitlines() if line.startswith(f"| {one.variant} |"))
        assert one.new_images is not None
        assert words.bounds(one.interval) in row
        assert words.bounds(one.new_images) in row
        assert f"| {100 * one.improvement:.0f} % [" in row
        assert f"| {one.smallest_visible:.2f} | 5 |" in row
    for arm in group.arms:
        assert re.search(rf"\| {arm.name} \| {arm.mean:.2f} \|.* \| 5 \| 0 \|", figures)
    assert "- flip: A mirrored car is a car, a mirrored 2 is no 2." in text


def test_a_page_is_whole_and_well_formed(page: Page):
    html = Reader(page.html)
    assert "script" not in html.tags
    assert len(html.names) == len(set(html.names)), "names are unique"
    levels = [int(tag[1]) for tag in html.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(address.startswith(("#", "data:")) for address in html.addresses)
    assert {address[1:] for address in html.addresses if len(address) > 1 and address[0] == "#"} <= set(
        html.names
    )
    assert "style-src &#39;sha256-" in page.html
    assert "unsafe-inline" not in page.html
    assert " style=" not in page.html
    assert "significant" not in html.plain.lower()


def test_equal_input_gives_an_equal_page(plain: Account, page: Page):
    again = study_page(plain)
    assert (again.html, again.markdown) == (page.html, page.markdown)


def test_warnings_say_what_to_do(place: Path):
    wanted = invented.spec("warned", metric="best_val_accuracy", seeds=3)
    page = study_page(invented.study(place, wanted, EFFECTS, seeds=3, images=500, folders=False))
    for text in (page.markdown, Reader(page.html).plain):
        assert "The best epoch is scored" in text
        assert 'Take metric = "val' in text.replace("\\", "")
        assert "Too few seeds" in text
        assert "description only" in text
        assert "best validation accuracy" in text


def test_deleted_run_folders_leave_a_page_that_says_so(place: Path):
    account = invented.study(place, invented.spec("deleted"), EFFECTS, images=500)
    shutil.rmtree(next(iter(account.runs.values())).path.parent)
    page = study_page(replace(account, runs={}))
    html = Reader(page.html)
    assert "run folders of this study are gone" in html.plain
    assert "run folders of this study are gone" in page.markdown
    assert "gap" not in html.names
    assert "classes" not in html.names
    assert "One of four changes helps" in html.plain


def test_a_damaged_run_is_told_and_left_out(place: Path):
    account = invented.study(place, invented.spec("damaged"), EFFECTS, images=500)
    run = account.runs["flip", 1]
    (run.path / "metrics.jsonl").write_text('{"epoch": "one"}\n')
    assert "1 of 25 run folders are gone or cannot be read" in study_page(account).markdown


def test_diverged_runs_count_in_no_mean(place: Path):
    account = invented.study(
        place, invented.spec("lost", seeds=6), EFFECTS, seeds=6, images=500, diverged=[("flip", 2)]
    )
    page = study_page(account)
    assert "flip, seed 2: diverged: the loss was not finite at step 812" in page.markdown
    assert "29 finished runs, 1 failed one" in page.markdown
    found = evidence.gaps(account.plan.arms, readings.read(account, "val"))
    assert {gap.arm: gap.runs for gap in found} == {
        "control": 6, "shift": 6, "flip": 5, "dropout": 6, "tiny_rotation": 6
    }  # fmt: skip
    assert "The run diverged" in page.markdown


def test_an_arm_without_a_verdict_says_why(place: Path):
    account = invented.study(place, invented.spec("unequal"), EFFECTS, images=500, larger=["flip"])
    page = study_page(account)
    assert "there is no verdict on **flip**" in page.markdown
    assert "unequal budgets: macs 38,400,000 and 76,800,000" in page.markdown
    assert "flip" in [row.arm.name for row in story.tell(account).rows if row.pairs], "its seeds are drawn"


def test_a_chain_compares_with_the_step_before(place: Path):
    account = invented.study(place, invented.spec("chain", chain=True), {"shift": 2.0}, images=2000)
    page = study_page(account)
    assert "4 arms, each with the one before" in page.markdown
    assert "One of four steps helps: **shift**" in page.markdown
    assert [row.against for row in story.tell(account).rows] == ["control", "shift", "flip", "dropout"]


FACTORS = {"model.dropout": [0.0, 0.4], "augment.flip": ["none", "random"], "augment.shift": [0.0, 0.2]}


@pytest.fixture(scope="module")
def half(place: Path) -> Account:
    """Half of all combinations: each main effect is that of the two others together as well."""
    wanted = invented.spec(
        "half", variant={}, factors=FACTORS, generated={"augment.shift": ["model.dropout", "augment.flip"]}
    )
    return invented.study(place, wanted, {"model.dropout": 2.0}, images=2000)


def test_factors_are_told_by_main_effects_and_interactions(place: Path):
    account = invented.study(
        place,
        invented.spec("factors", variant={}, factors=FACTORS),
        {"model.dropout": 2.0, "augment.shift": -1.5, "model.dropout x augment.shift": 1.2},
        images=2000,
    )
    text = study_page(account).markdown.replace("\\", "")
    assert re.search(r"One of three factors helps: \*\*model.dropout\*\* \(\+2\.\d", text)
    assert "**augment.shift** hurts" in text or "augment.shift** hurt" in text
    assert "Together these do more than their effects add up to: **augment.shift × model.dropout**" in text


def test_figures_of_factors_are_in_the_markdown_too(half: Account):
    text, found = study_page(half).markdown.replace("\\", ""), half.findings.factorial
    assert found is not None
    assert f"residual {found.sigma:.3f} pp with {found.df} degrees of freedom, over 5 seeds" in text
    first = found.effects[0]
    assert re.search(rf"\| {first.name} \|.*\| {first.f:.2f} \| {first.p:.2g} \| {first.aliases[0]} \|", text)


def awaited(account: Account, **update: object) -> Account:
    """As if twice the seeds were planned."""
    plan = account.plan.model_copy(update={"spec": account.plan.spec.model_copy(update={"seeds": 10})})
    findings = account.findings.model_copy(
        update={"next_look": 10, "running": ("control", "shift"), **update}
    )
    return replace(account, plan=plan, findings=findings)


def test_before_the_first_look_there_are_figures_and_no_verdicts(plain: Account):
    page = study_page(awaited(plain))
    lead = page.markdown[: page.markdown.index("## Every seed")]
    assert "Before the study has ended there is no verdict, only a description of **shift** (+" in lead
    assert "no verdict yet" in lead
    assert "helps" not in lead
    for text in (page.markdown, Reader(page.html).plain):
        assert "The study has not ended" in text
        assert "he plan goes on to 10 seeds of control and shift." in text


def test_an_unfinished_study_is_told_once(plain: Account):
    caution = Caution(code="unfinished", text="25 of 50 planned runs have yet to be made")
    told = story.tell(awaited(plain, cautions=(caution,)))
    assert [one.texts for one in told.warnings if one.title == "The study has not ended"] == [
        ("25 of 50 planned runs have yet to be made.",)
    ]


def test_arms_without_a_verdict_are_told_apart_by_what_can_be_done(plain: Account):
    held = (
        Withheld(arm="shift", reason="4 of 5 runs of control failed, so there is nothing to compare with"),
        Withheld(arm="flip", reason="unequal budgets: epochs 8 and 16"),
    )
    told = story.tell(
        replace(plain, findings=plain.findings.model_copy(update={"withheld": held, "comparisons": ()}))
    )
    texts = {one.title: one.texts for one in told.warnings}
    assert texts["Nothing to compare with"] == (f"shift: {held[0].reason}.",)
    assert texts["Not a fair comparison"] == (f"flip: {held[1].reason}.",)


def test_aliases_are_named_in_the_answer(half: Account):
    text = study_page(half).markdown.replace("\\", "")
    assert re.search(r"\*\*model.dropout\*\* \(\+[^)]*, or it is -?augment.flip × augment.shift\)", text)


def test_hostile_names_are_text(place: Path):
    account = invented.hostile(place)
    page = study_page(account)
    html = Reader(page.html)
    assert "img" not in html.tags
    assert "script" not in html.tags
    assert HOSTILE in html.plain
    assert "{{ 7 * 7 }}" in html.plain
    rendered = MarkdownIt("commonmark").enable("table").render(page.markdown)
    found = Reader(rendered)
    assert not {"img", "script", "a", "style"} & set(found.tags)
    assert HOSTILE in found.plain
    assert "a|b`c`*d*_e_" in found.plain
    rows = [line for line in page.markdown.splitlines() if line.startswith("| a\\|b")]
    assert rows
    assert len({re.sub(r"\\\|", "", row).count("|") for row in rows[:1]}) == 1


@pytest.mark.parametrize("seeds", ["auto", "open-ended"])
def test_plans_with_looks_say_what_is_still_to_come(place: Path, seeds: str):
    account = invented.study(
        place, invented.spec(f"plan-{seeds}", seeds=seeds), EFFECTS, images=2000, seeds=5
    )
    page = study_page(account)
    assert "The study has not ended" in page.markdown
    assert "at every look" in Reader(page.html).plain


def test_one_variant_without_a_question_gets_one(place: Path):
    wanted = invented.spec("one", question="", variant={"dropout": {"model.dropout": 0.4}})
    page = study_page(invented.study(place, wanted, {"dropout": 3.0}, images=2000))
    assert page.markdown.startswith("# Does dropout help?\n\n**dropout** helps (+")


def test_the_study_file_on_the_page_is_the_study():
    for wanted in (
        invented.spec(),
        invented.spec(
            "x", chain=True, unequal=["macs"], margin=0.4, metric="best_val_accuracy", seeds="auto"
        ),
        invented.spec(
            "y", variant={}, factors=FACTORS, generated={"augment.shift": ["model.dropout", "augment.flip"]}
        ),
        invented.spec("z", set={"data.name": "glyphs:2000", "train.epochs": 4}),
    ):
        assert StudySpec.from_table(wanted.name, tomllib.loads(reproduction.study_file(wanted))) == wanted


def test_recipes_that_the_study_names_by_path_are_on_the_page(place: Path):
    base, other = place / "base.toml", place / "other.toml"
    base.write_text('extends = "quick"\n[optim]\nlr = 0.005\n')
    other.write_text('extends = "quick"\n[model]\ndropout = 0.1\n')
    variants = {"dropout": {"model.dropout": 0.4}, "other": {"recipe": str(other)}}
    account = invented.study(place, invented.spec("own", recipe=str(base), variant=variants), {}, images=500)
    page = study_page(account)
    before = [arm.recipe for arm in account.plan.arms]
    for name, text in reproduction.recipe_files(account):
        assert f"{name}:" in page.markdown
        assert f"A recipe that it names, <code>{name}</code>" in page.html
        Path(name).write_text(text)
    read = StudySpec.from_table("own", tomllib.loads(reproduction.study_file(account.plan.spec)))
    again = [arm.recipe for arm in design.arms(read)]
    assert [recipe.settings() for recipe in again] == [recipe.settings() for recipe in before]


def test_a_setting_that_is_taken_away_has_a_word_in_the_study_file():
    wanted = invented.spec(
        "n", set={"train.micro_batch": None}, factors={"train.small": [None, {"side_px": 24}]}, variant={}
    )
    read = StudySpec.from_table("n", tomllib.loads(reproduction.study_file(wanted)))
    assert [arm.recipe for arm in design.arms(read)] == [arm.recipe for arm in design.arms(wanted)]


def test_ten_arms_and_twenty_seeds_take_less_than_ten_seconds_of_processor(place: Path):
    variants = {f"smoothing_{k}": {"loss.label_smoothing": 0.02 * k} for k in range(1, 10)}
    account = invented.study(
        place, invented.spec("wide", seeds=20, variant=variants), {}, seeds=20, images=1000
    )
    begun = time.process_time()
    page = study_page(account)
    assert time.process_time() - begun < 10
    assert page.html.count('<svg class="plot"') == 9 * 3


def test_a_final_claim_speaks_of_test_images(place: Path):
    wanted = invented.spec("quickstart/final-shift", seeds=5, variant={"shift": {"augment.shift": 0.2}})
    wanted = wanted.model_copy(update={"metric": "test_accuracy", "first_seed": 20})
    account = invented.study(place, wanted, EFFECTS, images=2000)
    account = replace(account, plan=account.plan.model_copy(update={"test_reads": 1}))
    page = study_page(account)
    assert "test accuracy, in percent" in page.markdown
    assert "toynet final quickstart --variant shift --seeds 5" in page.markdown
    assert "toynet study" not in page.markdown
    html = Reader(page.html).plain
    assert "- Test set: read 1 time from here" in page.markdown
    assert "Test set read 1 time from here" in html
    assert "on these test images" in html
    assert "ToyNet final claim" in html
    assert "each class's test images" in html


def test_a_claim_is_made_again_by_the_name_of_its_study_folder(place: Path):
    wanted = invented.spec("digits/final-shift", seeds=5, variant={"shift": {"augment.shift": 0.2}})
    wanted = wanted.model_copy(update={"metric": "test_accuracy", "first_seed": 20})
    account = invented.study(place, wanted, EFFECTS, images=500, folders=False)
    moved = replace(account, path=place / "my digits" / "final-shift")
    assert reproduction.command(moved) == "toynet final 'my digits' --variant shift --seeds 5"
    assert story.tell(account).facts == story.tell(moved).facts


def test_runs_gathered_into_a_comparison_have_a_page_of_their_own(place: Path):
    account = invented.study(place / "runs", invented.spec("source"), {"shift": 2.0}, images=500)
    runs = [run for (arm, seed), run in sorted(account.runs.items()) if (arm, seed) != ("flip", 1)]
    gathered = gather.gather([run for run in runs if run.name[:4] in ("cont", "shif", "flip")])
    page = study_page(gathered, "toynet compare a b c")
    assert "ToyNet comparison" in Reader(page.html).plain
    assert "toynet compare a b c" in page.markdown
    for row in story.tell(gathered).rows:
        assert row.contrast is not None
        assert row.pairs is not None
        assert [pair.seed for pair in row.pairs.pairs] == [0, 2, 3, 4]


def test_a_study_that_has_only_been_planned_has_a_page(place: Path):
    account = invented.study(place, invented.spec("planned"), EFFECTS, seeds=0)
    page = study_page(account)
    assert "Too few runs for a verdict" in page.markdown
    assert "No run has ended yet" in page.markdown
    assert "There is no verdict on **shift**" in page.markdown
